//! A proxy with the embedded server's switches, for tests against a server of another make.
//!
//! It sits between a real client and a real server, passes requests and answers on as they are,
//! and counts them. A rule makes it keep a request from the server, or its answer from the
//! client. Signatures stay valid since the `Host` header passes through, too.

mod batch;
mod serve;
mod sign;
mod target;
mod upstream;
mod xml;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

pub use sign::Credentials;

use crate::fit::Place;
use crate::listen::Listener;
use crate::switches::Switches;
use upstream::Upstream;

/// The handle that disturbs and observes a proxy.
pub type ProxyControl = Switches;

/// What a proxy is started with.
#[derive(Debug, Clone)]
pub struct ProxyOptions {
    /// The address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The server to pass requests on to, such as `http://127.0.0.1:8333`.
    pub upstream: String,
    /// How long every request waits before anything else happens.
    pub latency: Duration,
    /// What to sign with a DeleteObjects from which a rule has taken keys. Without them,
    /// [`Action::KeyError`] before the work can only be for all keys.
    ///
    /// [`Action::KeyError`]: crate::Action::KeyError
    pub credentials: Option<Credentials>,
}

impl ProxyOptions {
    /// A proxy to this server on a free port of this machine.
    pub fn to(upstream: impl Into<String>) -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            upstream: upstream.into(),
            latency: Duration::ZERO,
            credentials: None,
        }
    }
}

/// A running proxy. Dropping it stops it without waiting.
#[derive(Debug)]
pub struct Proxy {
    listener: Listener,
    control: ProxyControl,
}

impl Proxy {
    /// Binds the address and serves on the current runtime. Nobody is asked whether the server
    /// is there: while it is not, connections are closed without an answer.
    ///
    /// Fails if the address cannot be bound or the upstream is no plain `http` endpoint.
    pub async fn start(options: ProxyOptions) -> io::Result<Self> {
        let signs = options.credentials.is_some();
        let control = Switches::new(Place::Proxy { signs }, options.latency);
        let upstream = Arc::new(Upstream::new(&options.upstream)?);
        let host = serve::Way {
            upstream,
            switches: control.clone(),
            credentials: options.credentials.map(Arc::new),
        };
        let listener = Listener::start(options.listen, host, control.0.bandwidth.clone()).await?;
        Ok(Self { listener, control })
    }

    /// The address that was bound.
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// The endpoint for clients, such as `http://127.0.0.1:9000`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address())
    }

    /// The handle that disturbs and observes this proxy.
    pub fn control(&self) -> ProxyControl {
        self.control.clone()
    }

    /// Stops listening, gives requests under way a moment to end, and drops the rest.
    pub async fn stop(self) {
        self.listener.stop().await;
    }
}

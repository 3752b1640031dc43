//! Listening, serving and stopping.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use s3s::auth::SimpleAuth;
use s3s::path::check_bucket_name;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, HttpResponse, StdError};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::api::Api;
use crate::control::{Control, Shared};
use crate::options::Options;
use crate::store::Store;
use crate::{gate, plane};

/// How long a stop waits for requests under way; stalled ones are dropped at once.
const GRACE: Duration = Duration::from_secs(2);

/// How long accepting pauses after a failure, such as no file descriptors being left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// A running server. Dropping it stops it without waiting.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    control: Control,
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Server {
    /// Binds the address and serves on the current runtime.
    ///
    /// Fails if the address cannot be bound or a bucket's name is none.
    pub async fn start(options: Options) -> io::Result<Self> {
        if let Some(name) = options.buckets.iter().find(|name| !check_bucket_name(name)) {
            let message = format!("{name:?} is no name for a bucket");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let listener = TcpListener::bind(options.listen).await?;
        let address = listener.local_addr()?;
        let control = Control(Arc::new(Shared::new(Store::new(&options))));
        control.set_latency(options.latency);
        let mut builder = S3ServiceBuilder::new(Api::new(Arc::clone(&control.0), &options));
        builder.set_auth(SimpleAuth::from_single(options.access_key, options.secret_key));
        builder.set_access(gate::Warden(control.clone()));
        let stop = CancellationToken::new();
        let host = Host { service: builder.build(), control: control.clone(), stop: stop.clone() };
        let task = tokio::spawn(accept(listener, host));
        Ok(Self { address, control, stop, task: Some(task) })
    }

    /// The address that was bound.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The endpoint for clients, such as `http://127.0.0.1:9000`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The handle that disturbs and observes this server.
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Stops listening, gives requests under way a moment to end, and drops the rest.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if let Some(task) = self.task.take() {
            // A panic in there has been printed already; there is nothing left to stop.
            let _ = task.await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// What every connection needs.
#[derive(Clone)]
struct Host {
    service: S3Service,
    control: Control,
    stop: CancellationToken,
}

async fn accept(listener: TcpListener, host: Host) {
    let graceful = GracefulShutdown::new();
    let dropped = CancellationToken::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = host.stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => connect(stream, peer, &host, &graceful, &dropped),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let _ = tokio::time::timeout(GRACE, graceful.shutdown()).await;
    dropped.cancel();
}

fn connect(
    stream: TcpStream,
    peer: SocketAddr,
    host: &Host,
    graceful: &GracefulShutdown,
    dropped: &CancellationToken,
) {
    // Small answers would otherwise wait for the acknowledgement of earlier ones.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let (owner, dropped) = (host.clone(), dropped.clone());
    let service = service_fn(move |request| answer(request, owner.clone(), peer));
    let builder = auto::Builder::new(TokioExecutor::new()).http1_only();
    let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    let connection = graceful.watch(connection);
    tokio::spawn(async move {
        tokio::select! {
            ended = connection => if let Err(error) = ended {
                tracing::debug!(error, "connection ended");
            },
            () = dropped.cancelled() => {}
        }
    });
}

async fn answer(request: Request<Incoming>, host: Host, peer: SocketAddr) -> Result<HttpResponse, StdError> {
    let request = request.map(Body::from);
    if request.uri().path().starts_with(plane::PREFIX) {
        return Ok(plane::serve(request, &host.control, peer.ip().to_canonical().is_loopback()).await);
    }
    gate::serve(request, &host.service, &host.control, &host.stop).await
}

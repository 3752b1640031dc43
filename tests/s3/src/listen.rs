//! Listening, serving connections and stopping, for the server and the proxy alike.

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
use s3s::{HttpResponse, StdError};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::bandwidth::Bandwidth;
use crate::wire::{Flushes, Wire};

/// How long a stop waits for requests under way; stalled ones are dropped at once.
const GRACE: Duration = Duration::from_secs(20);

/// How long accepting pauses after a failure, such as no file descriptors being left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// What answers requests. An error closes the connection without an answer.
pub(crate) trait Host: Clone + Send + Sync + 'static {
    fn answer(
        self,
        request: Request<Incoming>,
        caller: Caller,
    ) -> impl Future<Output = Result<HttpResponse, StdError>> + Send;
}

/// The client's side of a request.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) loopback: bool,
    pub(crate) flushes: Arc<Flushes>,
    pub(crate) stop: CancellationToken,
}

/// A listener at work. Dropping it stops it without waiting.
#[derive(Debug)]
pub(crate) struct Listener {
    address: SocketAddr,
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Listener {
    pub(crate) async fn start(listen: SocketAddr, host: impl Host, bandwidth: Bandwidth) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let task = tokio::spawn(accept(listener, host, bandwidth, stop.clone()));
        Ok(Self { address, stop, task: Some(task) })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops listening, gives requests under way a moment to end, and drops the rest.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        if let Some(task) = self.task.take() {
            // A panic in there has been printed already; there is nothing left to stop.
            let _ = task.await;
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn accept(listener: TcpListener, host: impl Host, bandwidth: Bandwidth, stop: CancellationToken) {
    let graceful = GracefulShutdown::new();
    let dropped = CancellationToken::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                hurry(&stream);
                let wire = Wire::new(stream, &bandwidth);
                let loopback = peer.ip().to_canonical().is_loopback();
                let caller = Caller { loopback, flushes: wire.flushes(), stop: stop.clone() };
                connect(wire, caller, host.clone(), &graceful, &dropped);
            }
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
    wire: Wire,
    caller: Caller,
    host: impl Host,
    graceful: &GracefulShutdown,
    dropped: &CancellationToken,
) {
    let dropped = dropped.clone();
    let service = service_fn(move |request| host.clone().answer(request, caller.clone()));
    let builder = auto::Builder::new(TokioExecutor::new()).http1_only();
    let connection = builder.serve_connection(TokioIo::new(wire), service).into_owned();
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

/// Small answers would otherwise wait for the acknowledgement of earlier ones.
fn hurry(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
}

//! Bounds on connections: how many there are, and how long a client may take.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};

/// Most connections at once; more of them wait to be accepted.
const MAX_CONNECTIONS: usize = 64;

/// How long a client may take.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    /// From the first byte of a request to the first of its answer.
    request: Duration,
    /// Between requests, and for every write.
    idle: Duration,
}

impl Patience {
    const USUAL: Self = Self { request: Duration::from_secs(10), idle: Duration::from_mins(1) };

    #[cfg(test)]
    pub(super) const SHORT: Self =
        Self { request: Duration::from_millis(200), idle: Duration::from_millis(400) };
}

/// A listener whose connections are bounded.
pub(super) struct Bounded {
    listener: TcpListener,
    room: Arc<Semaphore>,
    patience: Patience,
}

impl Bounded {
    pub(super) fn new(listener: TcpListener) -> Self {
        Self::with_patience(listener, Patience::USUAL)
    }

    pub(super) fn with_patience(listener: TcpListener, patience: Patience) -> Self {
        Self { listener, room: Arc::new(Semaphore::new(MAX_CONNECTIONS)), patience }
    }
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        // The semaphore is never closed; without a permit the connection is merely not counted.
        let permit = self.room.clone().acquire_owned().await.ok();
        let (stream, address) = Listener::accept(&mut self.listener).await;
        let deadline = Box::pin(sleep(self.patience.idle));
        let connection =
            Connection { stream, deadline, patience: self.patience, in_request: false, _permit: permit };
        (connection, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that ends with an error when its client takes too long.
pub(super) struct Connection {
    stream: TcpStream,
    deadline: Pin<Box<Sleep>>,
    patience: Patience,
    /// Has a request begun that is not answered yet? Its deadline is not moved by more of its bytes.
    in_request: bool,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Connection {
    fn wait_no_longer_than(&mut self, patience: Duration) {
        self.deadline.as_mut().reset(Instant::now() + patience);
    }

    /// Pending until the deadline, then an error.
    fn poll_deadline<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        self.deadline.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    fn wrote(
        &mut self,
        written: Poll<io::Result<usize>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(result) => {
                self.in_request = false;
                self.wait_no_longer_than(self.patience.idle);
                Poll::Ready(result)
            }
            Poll::Pending => self.poll_deadline(context),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.stream).poll_read(context, buffer) {
            Poll::Ready(result) => {
                if !self.in_request && buffer.filled().len() > before {
                    self.in_request = true;
                    let patience = self.patience.request;
                    self.wait_no_longer_than(patience);
                }
                Poll::Ready(result)
            }
            Poll::Pending => self.poll_deadline(context),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wrote(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.wrote(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

//! Bounds on connections: how long a client may take, and who has to go where there are too many.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tracing::{info, warn};

use super::room::{Guest, Room, Served};

/// After an error of `accept`, such as no file descriptor being left.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

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
    room: Room,
    patience: Patience,
    told: Told,
}

impl Bounded {
    pub(super) fn new(listener: TcpListener) -> Self {
        Self::with_patience(listener, Patience::USUAL)
    }

    pub(super) fn with_patience(listener: TcpListener, patience: Patience) -> Self {
        Self { listener, room: Room::default(), patience, told: Told::default() }
    }

    /// The next connection.
    pub(super) async fn accept(&self) -> Connection {
        let stream = self.stream().await;
        let (guest, cut) = self.room.enter(Instant::now());
        Connection {
            stream,
            deadline: Box::pin(sleep(self.patience.idle)),
            cut: Box::pin(cut.cancelled_owned()),
            patience: self.patience,
            in_request: false,
            guest,
        }
    }

    async fn stream(&self) -> TcpStream {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    if self.told.ended() {
                        info!("http.listen: connections are taken again");
                    }
                    return stream;
                }
                Err(error) => {
                    if self.told.begins(error.kind()) {
                        warn!(%error, "http.listen: no connection can be taken; trying again until one can");
                    }
                    sleep(ACCEPT_AGAIN).await;
                }
            }
        }
    }

    #[cfg(test)]
    pub(super) fn address(&self) -> std::net::SocketAddr {
        self.listener.local_addr().unwrap()
    }
}

/// Whether it was told that no connection can be taken: a trouble that lasts is one line.
#[derive(Debug, Default)]
struct Told(AtomicBool);

impl Told {
    /// Is this error to be told? Not where one client is gone already: nothing is wrong here.
    fn begins(&self, error: io::ErrorKind) -> bool {
        use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
        let of_a_client = matches!(error, ConnectionAborted | ConnectionRefused | ConnectionReset);
        !of_a_client && !self.0.swap(true, Ordering::Relaxed)
    }

    /// A connection was taken. Is that the end of what was told?
    fn ended(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

/// A connection that ends with an error when its client takes too long.
pub(super) struct Connection {
    stream: TcpStream,
    deadline: Pin<Box<Sleep>>,
    /// Ends where others need the place.
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    patience: Patience,
    /// Has a request begun that is not answered yet? Its deadline is not moved by more of its bytes.
    in_request: bool,
    guest: Guest,
}

impl Connection {
    /// For whoever answers its questions.
    pub(super) fn served(&self) -> Served {
        self.guest.served()
    }

    fn wait_no_longer_than(&mut self, patience: Duration) {
        self.deadline.as_mut().reset(Instant::now() + patience);
    }

    /// Pending until the deadline, or until others need the place; then an error.
    fn poll_end<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if self.cut.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
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
                self.guest.is_asking(false, Instant::now());
                self.wait_no_longer_than(self.patience.idle);
                Poll::Ready(result)
            }
            Poll::Pending => self.poll_end(context),
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
                    self.guest.is_asking(true, Instant::now());
                    let patience = self.patience.request;
                    self.wait_no_longer_than(patience);
                }
                Poll::Ready(result)
            }
            Poll::Pending => self.poll_end(context),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_that_lasts_is_told_once_and_again_after_a_connection_was_taken() {
        let (told, no_descriptors) = (Told::default(), io::Error::from_raw_os_error(24).kind());
        assert!(!told.ended(), "nothing was told");
        assert!(!told.begins(io::ErrorKind::ConnectionAborted), "a client's own end");
        assert!(told.begins(no_descriptors) && !told.begins(no_descriptors));
        assert!(!told.begins(io::ErrorKind::OutOfMemory), "the trouble is the same: none can be taken");
        assert!(told.ended() && !told.ended());
        assert!(told.begins(no_descriptors));
    }
}

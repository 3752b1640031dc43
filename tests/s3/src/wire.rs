//! A connection that tells when all that was written to it has gone out, and keeps to a bandwidth.
//!
//! Without the first, a body that ends in an error takes along what the HTTP layer has not sent yet,
//! the answer's headers for one.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::bandwidth::{Bandwidth, Gate};

/// How often a connection has been flushed.
#[derive(Debug, Default)]
pub(crate) struct Flushes {
    number: AtomicU64,
    waiting: AtomicWaker,
}

impl Flushes {
    pub(crate) fn number(&self) -> u64 {
        self.number.load(Ordering::Acquire)
    }

    /// Ready once there have been more than so many.
    pub(crate) fn poll_beyond(&self, number: u64, cx: &Context<'_>) -> Poll<()> {
        self.waiting.register(cx.waker());
        if self.number() > number { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// The connection. The HTTP layer flushes it only when its own buffer is empty.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    flushes: Arc<Flushes>,
    received: Gate,
    sent: Gate,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream, bandwidth: &Bandwidth) -> Self {
        let (received, sent) = bandwidth.gates();
        Self { stream, flushes: Arc::default(), received, sent }
    }

    pub(crate) fn flushes(&self) -> Arc<Flushes> {
        Arc::clone(&self.flushes)
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.received.poll_open(cx));
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.received.passed(buffer.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.sent.poll_open(cx));
        let piece = &bytes[..self.sent.piece(bytes.len())];
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, piece))?;
        self.sent.passed(written);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bytes = slices.iter().map(|slice| slice.len()).sum();
        if self.sent.piece(bytes) < bytes {
            let first = slices.iter().find(|slice| !slice.is_empty());
            return self.poll_write(cx, first.map_or(&[], |slice| &**slice));
        }
        ready!(self.sent.poll_open(cx));
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, slices))?;
        self.sent.passed(written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.flushes.number.fetch_add(1, Ordering::Release);
        self.flushes.waiting.wake();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

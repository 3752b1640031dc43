//! An answer's body of which only the beginning arrives.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use s3s::{Body, StdError};
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::listen::Caller;
use crate::wire::Flushes;

/// What comes after the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    Silence,
    Cut,
}

/// The beginning of a body, and how it goes on.
pub(crate) struct Partial {
    body: Body,
    left: u64,
    then: Then,
    flushes: Arc<Flushes>,
    /// The connection's flushes when the last byte had been handed over.
    over_at: Option<u64>,
    stopped: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Partial {
    /// So many bytes of the body. One that is shorter ends as ever.
    pub(crate) fn wrap(body: Body, bytes: u64, then: Then, caller: &Caller) -> Body {
        let flushes = Arc::clone(&caller.flushes);
        let stopped = Box::pin(caller.stop.clone().cancelled_owned());
        Body::http_body_unsync(Self { body, left: bytes, then, flushes, over_at: None, stopped })
    }

    /// Ready when the connection is to be closed.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.then {
            Then::Silence => self.stopped.as_mut().poll(cx),
            Then::Cut => {
                let at = *self.over_at.get_or_insert_with(|| self.flushes.number());
                self.flushes.poll_beyond(at, cx)
            }
        }
    }
}

impl HttpBody for Partial {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        if self.left == 0 {
            ready!(self.poll_over(cx));
            return Poll::Ready(Some(Err(io::Error::other("cut off by a rule").into())));
        }
        let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(cx)?) else {
            return Poll::Ready(None);
        };
        let frame = match frame.into_data() {
            Ok(mut data) => {
                let left = usize::try_from(self.left).unwrap_or(usize::MAX);
                data.truncate(left);
                self.left -= data.len() as u64;
                Frame::data(data)
            }
            Err(frame) => frame,
        };
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.left > 0 && self.body.is_end_stream()
    }

    /// The whole body's, so that the answer promises all of it.
    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

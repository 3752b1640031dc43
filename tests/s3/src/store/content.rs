//! Content as a chain of shared pieces, so that copying and joining cost no memory.

use std::collections::VecDeque;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use md5::{Digest, Md5};
use s3s::dto::StreamingBlob;
use s3s::stream::{ByteStream, RemainingLength};
use s3s::{Body, StdError};

/// An MD5 sum.
pub(crate) type Md5Sum = [u8; 16];

/// Immutable content; cloning shares it.
#[derive(Debug, Clone)]
pub(crate) struct Content {
    pieces: Arc<[Bytes]>,
    length: u64,
}

impl From<Bytes> for Content {
    fn from(bytes: Bytes) -> Self {
        Self::from_pieces(vec![bytes])
    }
}

impl Content {
    pub(crate) fn from_pieces(pieces: Vec<Bytes>) -> Self {
        let length = pieces.iter().map(|piece| piece.len() as u64).sum();
        Self { pieces: pieces.into(), length }
    }

    /// The contents one after the other.
    pub(crate) fn join<'a>(contents: impl IntoIterator<Item = &'a Self>) -> Self {
        let pieces = contents.into_iter().flat_map(|content| content.pieces.iter().cloned());
        Self::from_pieces(pieces.collect())
    }

    pub(crate) fn len(&self) -> u64 {
        self.length
    }

    pub(crate) fn pieces(&self) -> &[Bytes] {
        &self.pieces
    }

    /// A part of the content; what lies beyond its end is left out.
    pub(crate) fn slice(&self, range: Range<u64>) -> Self {
        let mut pieces = Vec::new();
        let mut start = 0;
        for piece in &*self.pieces {
            let end = start + piece.len() as u64;
            let (from, to) = (range.start.max(start), range.end.min(end));
            if from < to {
                pieces.push(piece.slice(index(from - start)..index(to - start)));
            }
            start = end;
        }
        Self::from_pieces(pieces)
    }

    pub(crate) fn md5(&self) -> Md5Sum {
        let mut hasher = Md5::new();
        for piece in &*self.pieces {
            hasher.update(piece);
        }
        hasher.finalize().into()
    }

    pub(crate) fn to_vec(&self) -> Vec<u8> {
        self.pieces.concat()
    }

    /// The content as the body of an answer.
    pub(crate) fn into_blob(self) -> StreamingBlob {
        match &*self.pieces {
            [piece] => StreamingBlob::from(Body::from(piece.clone())),
            pieces => StreamingBlob::new(Pieces(pieces.iter().cloned().collect())),
        }
    }
}

/// An offset within a piece, which is in memory and so fits.
fn index(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

/// Pieces on their way out, with a length that is known in advance.
struct Pieces(VecDeque<Bytes>);

impl Stream for Pieces {
    type Item = Result<Bytes, StdError>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }
}

impl ByteStream for Pieces {
    fn remaining_length(&self) -> RemainingLength {
        RemainingLength::new_exact(self.0.iter().map(Bytes::len).sum())
    }
}

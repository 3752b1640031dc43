//! Reading an object: its content, piece by piece, only if it is still the one that was looked at.

use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use tokio::time::timeout;

use super::error::Asked;
use super::multipart::Whole;
use super::{ETag, Head, Kind, Operation, Side, Storage, StorageError};
use crate::file::ObjectKey;

/// A body on its way in.
pub struct Content<'a> {
    asked: Asked<'a>,
    body: ByteStream,
    /// What has arrived and was not taken yet.
    pub(super) chunk: Bytes,
    /// How long one piece may take.
    patience: Duration,
}

/// A small object, read in one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Small {
    /// There is none.
    Nothing,
    /// Its ETag and all of it.
    Whole(ETag, Bytes),
    /// It is larger than what was asked for; nothing of it was read.
    Larger,
}

impl Storage {
    /// Opens the object that `head` describes. [`Kind::PreconditionFailed`] and [`Kind::NotFound`] say that it is another
    /// one by now, or none.
    pub async fn open<'a>(
        &self,
        side: Side,
        key: &'a ObjectKey,
        head: &Head,
    ) -> Result<Content<'a>, StorageError> {
        let asked = Asked { operation: Operation::GetObject, side, key: Some(key.as_str()) };
        let request = self
            .client()
            .get_object()
            .bucket(self.bucket(side))
            .key(key.as_str())
            .if_match(head.etag.as_sent());
        let output = self.send(asked, || request.send()).await?;
        Ok(Content { asked, body: output.body, chunk: Bytes::new(), patience: self.patience() })
    }

    /// Reads whatever is under the key, if it is no larger than `most` bytes: of a larger one nothing is read.
    pub async fn read_small(&self, side: Side, key: &ObjectKey, most: u64) -> Result<Small, StorageError> {
        let asked = Asked { operation: Operation::GetObject, side, key: Some(key.as_str()) };
        let request = self.client().get_object().bucket(self.bucket(side)).key(key.as_str());
        let output = match self.send(asked, || request.send()).await {
            Ok(output) => output,
            Err(error) if error.kind == Kind::NotFound => return Ok(Small::Nothing),
            Err(error) => return Err(error),
        };
        let bad = |what: &str| StorageError::new(asked, Kind::BadAnswer, what);
        let etag = output.e_tag().filter(|etag| !etag.is_empty()).map(ETag::new);
        let etag = etag.ok_or_else(|| bad("without an ETag"))?;
        let length = output.content_length().and_then(|length| u64::try_from(length).ok());
        let length = length.ok_or_else(|| bad("without a size"))?;
        if length > most {
            return Ok(Small::Larger);
        }
        let mut content =
            Content { asked, body: output.body, chunk: Bytes::new(), patience: self.patience() };
        let mut whole = bytes::BytesMut::with_capacity(usize::try_from(length).unwrap_or_default());
        while let Some(chunk) = content.next().await? {
            whole.extend_from_slice(&chunk);
        }
        if whole.len() as u64 != length {
            return Err(bad("shorter than it says"));
        }
        Ok(Small::Whole(etag, whole.freeze()))
    }

    /// The lengths of an object's parts, where it has several and the server tells of them: what its ETag is made of.
    pub async fn part_lengths(
        &self,
        side: Side,
        key: &ObjectKey,
        head: &Head,
    ) -> Result<Option<Vec<u64>>, StorageError> {
        let Some(count) = head.etag.parts().filter(|count| *count > 1) else { return Ok(None) };
        let whole = Whole { side, key: key.as_str(), version: None, size: head.size };
        self.own_lengths(whole, count).await
    }
}

impl Content<'_> {
    /// The next piece; nothing at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, StorageError> {
        let length = self.fill().await?;
        Ok((length > 0).then(|| std::mem::take(&mut self.chunk)))
    }

    /// Waits until something has arrived that was not taken yet; 0 at the end.
    pub(super) async fn fill(&mut self) -> Result<usize, StorageError> {
        while self.chunk.is_empty() {
            let next = timeout(self.patience, self.body.next()).await;
            let late = |_| StorageError::new(self.asked, Kind::Timeout, "in the middle of the answer");
            let Some(chunk) = next.map_err(late)? else { return Ok(0) };
            self.chunk =
                chunk.map_err(|_| StorageError::new(self.asked, Kind::Connection, "the answer broke off"))?;
        }
        Ok(self.chunk.len())
    }
}

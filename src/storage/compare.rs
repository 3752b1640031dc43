//! Reading two objects side by side: the proof that is left where ETags and checksums say nothing.

use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use futures_util::future::try_join;
use tokio::time::timeout;

use super::error::Asked;
use super::{Head, Kind, Operation, Side, Storage, StorageError};
use crate::file::ObjectKey;

impl Storage {
    /// Are the objects under this key in both buckets equal, byte for byte? Both are read, in flat memory, each
    /// only if it is still the one described.
    ///
    /// [`Kind::PreconditionFailed`] and [`Kind::NotFound`] say that one of them is not any more.
    pub async fn same_bytes(
        &self,
        key: &ObjectKey,
        source: &Head,
        copy: &Head,
    ) -> Result<bool, StorageError> {
        // The semaphore is never closed. Without a permit there would only be more in memory.
        let _permit = self.comparing().acquire().await.ok();
        let asked = Asked { operation: Operation::GetObject, side: Side::Recycle, key: Some(key.as_str()) };
        // A mebibyte each second is the least; slower than that it is silence.
        let enough = self.patience() * 2 + Duration::from_secs(source.size >> 20);
        let late = |_| StorageError::new(asked, Kind::Timeout, "in the middle of the answer");
        timeout(enough, self.compare(key, source, copy)).await.map_err(late)?
    }

    async fn compare(&self, key: &ObjectKey, source: &Head, copy: &Head) -> Result<bool, StorageError> {
        let (mut source, mut copy) =
            try_join(self.read(Side::Object, key, source), self.read(Side::Recycle, key, copy)).await?;
        loop {
            let (one, other) = try_join(source.fill(), copy.fill()).await?;
            let length = one.min(other);
            if length == 0 {
                return Ok(one == other);
            }
            if source.chunk.split_to(length) != copy.chunk.split_to(length) {
                return Ok(false);
            }
        }
    }

    async fn read<'a>(
        &self,
        side: Side,
        key: &'a ObjectKey,
        head: &Head,
    ) -> Result<Reading<'a>, StorageError> {
        let asked = Asked { operation: Operation::GetObject, side, key: Some(key.as_str()) };
        let request = self
            .client()
            .get_object()
            .bucket(self.bucket(side))
            .key(key.as_str())
            .if_match(head.etag.as_sent());
        let output = self.send(asked, || request.send()).await?;
        Ok(Reading { asked, body: output.body, chunk: Bytes::new(), patience: self.patience() })
    }
}

/// A body on its way in.
struct Reading<'a> {
    asked: Asked<'a>,
    body: ByteStream,
    /// What has arrived and is not compared yet.
    chunk: Bytes,
    /// How long one piece may take.
    patience: Duration,
}

impl Reading<'_> {
    /// Waits until there is something to compare; 0 at the end.
    async fn fill(&mut self) -> Result<usize, StorageError> {
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

//! Reading two objects side by side: the proof that is left where ETags and checksums say nothing.

use std::time::Duration;

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
            try_join(self.open(Side::Object, key, source), self.open(Side::Recycle, key, copy)).await?;
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
}

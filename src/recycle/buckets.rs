//! What a move asks of the two buckets: each a step that is safe by itself. The storage does them for real; a
//! test may stand in for it.

use std::future::Future;

use crate::file::ObjectKey;
use crate::storage::{Capabilities, Copied, Deleted, ETag, Head, Over, Side, Storage, StorageError};

/// The two buckets, as a move sees them.
pub trait Buckets: Send + Sync + 'static {
    /// The object under this key, or nothing; see [`Storage::head`].
    fn head(
        &self,
        side: Side,
        key: &ObjectKey,
    ) -> impl Future<Output = Result<Option<Head>, StorageError>> + Send;

    /// Copies over nothing, without a look; see [`Storage::copy_unseen`].
    fn copy_unseen(&self, key: &ObjectKey) -> impl Future<Output = Result<Copied, StorageError>> + Send;

    /// Copies what was looked at; see [`Storage::copy_to_recycle`].
    fn copy_to_recycle(
        &self,
        key: &ObjectKey,
        source: &Head,
        over: &Over,
        server: &Capabilities,
    ) -> impl Future<Output = Result<Copied, StorageError>> + Send;

    /// Reads and compares both; see [`Storage::same_bytes`].
    fn same_bytes(
        &self,
        key: &ObjectKey,
        source: &Head,
        copy: &Head,
    ) -> impl Future<Output = Result<bool, StorageError>> + Send;

    /// Copies back over nothing; see [`Storage::copy_back`].
    fn copy_back(
        &self,
        key: &ObjectKey,
        copy: &Head,
        server: &Capabilities,
    ) -> impl Future<Output = Result<Copied, StorageError>> + Send;

    /// Deletes sources that are unchanged; see [`Storage::delete_sources`].
    fn delete_sources(
        &self,
        sources: &[(ObjectKey, ETag)],
        server: &Capabilities,
    ) -> impl Future<Output = Vec<Result<Deleted, StorageError>>> + Send;

    /// Do both buckets answer? See [`Storage::check`].
    fn check(&self) -> impl Future<Output = Result<(), StorageError>> + Send;

    /// Whose trouble is an error? See [`Storage::judge`].
    fn judge(&self, error: StorageError) -> impl Future<Output = StorageError> + Send;
}

impl Buckets for Storage {
    async fn head(&self, side: Side, key: &ObjectKey) -> Result<Option<Head>, StorageError> {
        self.head(side, key).await
    }

    async fn copy_unseen(&self, key: &ObjectKey) -> Result<Copied, StorageError> {
        self.copy_unseen(key).await
    }

    async fn copy_to_recycle(
        &self,
        key: &ObjectKey,
        source: &Head,
        over: &Over,
        server: &Capabilities,
    ) -> Result<Copied, StorageError> {
        self.copy_to_recycle(key, source, over, server).await
    }

    async fn same_bytes(&self, key: &ObjectKey, source: &Head, copy: &Head) -> Result<bool, StorageError> {
        self.same_bytes(key, source, copy).await
    }

    async fn copy_back(
        &self,
        key: &ObjectKey,
        copy: &Head,
        server: &Capabilities,
    ) -> Result<Copied, StorageError> {
        self.copy_back(key, copy, server).await
    }

    async fn delete_sources(
        &self,
        sources: &[(ObjectKey, ETag)],
        server: &Capabilities,
    ) -> Vec<Result<Deleted, StorageError>> {
        self.delete_sources(sources, server).await
    }

    async fn check(&self) -> Result<(), StorageError> {
        self.check().await
    }

    async fn judge(&self, error: StorageError) -> StorageError {
        self.judge(error).await
    }
}

//! The throw-away object of a probe, and the requests that are made on it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{StorageClass, Tag, Tagging};
use futures_util::future::join;
use uuid::Uuid;

use crate::file::OWN_PREFIX;
use crate::storage::copy::copy_source;
use crate::storage::error::Asked;
use crate::storage::{ETag, Head, Kind, Operation, Side, Storage, StorageError};

/// An ETag that no object of ours has.
pub(super) const WRONG_ETAG: &str = "\"00000000000000000000000000000000\"";

/// A condition that does not hold, on one request.
pub(super) enum Wrong {
    CopySource,
    CopyOverNothing,
    CopyOverOther,
    PutOverNothing,
    PutOverOther,
}

/// One throw-away object, under the same key in both buckets.
pub(super) struct Probe<'a> {
    pub(super) storage: &'a Storage,
    pub(super) key: String,
    pub(super) body: Vec<u8>,
    /// Versions that were made, to be removed one by one.
    versions: Mutex<Vec<(Side, String)>>,
}

impl<'a> Probe<'a> {
    pub(super) fn new(storage: &'a Storage) -> Self {
        let id = Uuid::new_v4();
        let key = format!("{OWN_PREFIX}probe-{id}");
        Self { storage, key, body: id.to_string().into_bytes(), versions: Mutex::default() }
    }

    /// The first version that was made in this bucket, where the server named one.
    pub(super) fn first_version(&self, side: Side) -> Option<String> {
        self.lock().iter().find(|(of, _)| *of == side).map(|(_, version)| version.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Side, String)>> {
        // A list of names is whole whatever panicked.
        self.versions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn asked(&self, operation: Operation, side: Side) -> Asked<'_> {
        Asked { operation, side, key: Some(&self.key) }
    }

    pub(super) async fn head(&self, side: Side) -> Result<Option<Head>, StorageError> {
        self.storage.head_raw(side, &self.key).await
    }

    /// A HEAD that has to find the object.
    pub(super) async fn found(&self, side: Side) -> Result<Head, StorageError> {
        let gone =
            || StorageError::new(self.asked(Operation::HeadObject, side), Kind::BadAnswer, "just written");
        self.head(side).await?.ok_or_else(gone)
    }

    pub(super) async fn put(&self, wrong: Option<&Wrong>) -> Result<(), StorageError> {
        self.put_as(wrong, None).await
    }

    pub(super) async fn put_in_class(&self, class: StorageClass) -> Result<(), StorageError> {
        self.put_as(None, Some(class)).await
    }

    async fn put_as(&self, wrong: Option<&Wrong>, class: Option<StorageClass>) -> Result<(), StorageError> {
        let side = Side::Object;
        let request = self
            .storage
            .client()
            .put_object()
            .bucket(self.storage.bucket(side))
            .key(&self.key)
            .body(ByteStream::from(self.body.clone()))
            .set_storage_class(class)
            .set_if_none_match(matches!(wrong, Some(Wrong::PutOverNothing)).then(|| "*".to_owned()))
            .set_if_match(matches!(wrong, Some(Wrong::PutOverOther)).then(|| WRONG_ETAG.to_owned()));
        let output = self.storage.send(self.asked(Operation::PutObject, side), || request.send()).await?;
        self.lock().extend(output.version_id.filter(|id| id != "null").map(|id| (side, id)));
        Ok(())
    }

    pub(super) async fn copy(&self, wrong: Option<&Wrong>) -> Result<(), StorageError> {
        let side = Side::Recycle;
        let request = self
            .storage
            .client()
            .copy_object()
            .copy_source(copy_source(self.storage.bucket(Side::Object), &self.key))
            .bucket(self.storage.bucket(side))
            .key(&self.key)
            .set_copy_source_if_match(matches!(wrong, Some(Wrong::CopySource)).then(|| WRONG_ETAG.to_owned()))
            .set_if_none_match(matches!(wrong, Some(Wrong::CopyOverNothing)).then(|| "*".to_owned()))
            .set_if_match(matches!(wrong, Some(Wrong::CopyOverOther)).then(|| WRONG_ETAG.to_owned()));
        let output = self.storage.send(self.asked(Operation::CopyObject, side), || request.send()).await?;
        self.lock().extend(output.version_id.filter(|id| id != "null").map(|id| (side, id)));
        Ok(())
    }

    /// May these credentials read and write tags? A copy carries its source's along, and would fail at the
    /// first file that has some. A server without tags has none to lose.
    pub(super) async fn tags(&self) -> Result<(), StorageError> {
        if self.read_tags(Side::Object).await? { self.write_tags(Side::Recycle).await } else { Ok(()) }
    }

    /// Reads the tags in this bucket; `false` where the server has none.
    pub(super) async fn read_tags(&self, side: Side) -> Result<bool, StorageError> {
        let asked = self.asked(Operation::GetObjectTagging, side);
        let read =
            self.storage.client().get_object_tagging().bucket(self.storage.bucket(side)).key(&self.key);
        match self.storage.send(asked, || read.send()).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind == Kind::NotImplemented => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Tags the object in this bucket.
    pub(super) async fn write_tags(&self, side: Side) -> Result<(), StorageError> {
        let asked = self.asked(Operation::PutObjectTagging, side);
        let built = |_| StorageError::new(asked, Kind::BadRequest, "cannot be built");
        let tag = Tag::builder().key("file-recycler").value("probe").build().map_err(built)?;
        let tags = Tagging::builder().tag_set(tag).build().map_err(built)?;
        let write = self.storage.client().put_object_tagging().bucket(self.storage.bucket(side));
        match self.storage.send(asked, || write.key(&self.key).tagging(tags).send()).await {
            Err(error) if error.kind != Kind::NotImplemented => Err(error),
            _ => Ok(()),
        }
    }

    pub(super) async fn delete(&self, side: Side, etag: Option<&ETag>) -> Result<(), StorageError> {
        let none = ETag::new("");
        let keys = HashMap::from([(self.key.as_str(), etag.unwrap_or(&none))]);
        let answers = self.storage.delete_keys(side, &keys, etag.is_some()).await?;
        answers.into_values().try_for_each(|answer| answer.map(drop))
    }

    /// Removes the object from both buckets, with the request that the moves use.
    pub(super) async fn remove(&self) -> Result<(), StorageError> {
        let (object, recycle) = self.remove_from_both().await;
        object.and(recycle)
    }

    /// The same, with an answer for each bucket.
    pub(super) async fn remove_from_both(&self) -> (Result<(), StorageError>, Result<(), StorageError>) {
        let both = join(self.delete(Side::Object, None), self.delete(Side::Recycle, None)).await;
        // Versions are removed as far as the credentials reach: a move does not need that right.
        let versions = std::mem::take(&mut *self.lock());
        for (side, version) in &versions {
            let asked = self.asked(Operation::DeleteObject, *side);
            let request = self
                .storage
                .client()
                .delete_object()
                .bucket(self.storage.bucket(*side))
                .key(&self.key)
                .version_id(version);
            if let Err(error) = self.storage.send(asked, || request.send()).await {
                tracing::debug!(%error, "a version of a probe object stays behind");
            }
        }
        both
    }
}

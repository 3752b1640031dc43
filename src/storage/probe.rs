//! What can this server do? Found out with throw-away objects, because a server that ignores a condition
//! does not say so.

use std::collections::HashMap;

use aws_sdk_s3::primitives::ByteStream;
use md5::{Digest, Md5};
use serde::Serialize;
use uuid::Uuid;

use super::copy::copy_source;
use super::error::Asked;
use super::{ETag, Kind, Operation, Side, Storage, StorageError};
use crate::file::OWN_PREFIX;

/// What a server does with a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Support {
    /// It keeps it.
    Honoured,
    /// It takes no notice and says nothing.
    Ignored,
    /// It refuses the request.
    Refused,
}

/// What the server and the two buckets can do, as the probe saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[allow(clippy::struct_excessive_bools, reason = "independent findings, not states of one thing")]
pub struct Capabilities {
    /// CopyObject with `If-None-Match: *`.
    pub copy_if_none_match: Support,
    /// CopyObject with `If-Match` (on the destination).
    pub copy_if_match: Support,
    /// CopyObject with `x-amz-copy-source-if-match`.
    pub copy_source_if_match: Support,
    /// DeleteObjects with an ETag per key.
    pub delete_if_match: Support,
    /// PutObject with `If-None-Match: *`.
    pub put_if_none_match: Support,
    /// PutObject with `If-Match`.
    pub put_if_match: Support,
    /// Are ETags MD5s, and has a copy its source's ETag?
    pub copy_keeps_etag: bool,
    /// Is every key its own, also those with empty and dot segments and backslashes? Some servers read
    /// `a//b` as `a/b`: there, a key like that names another file's object.
    pub exact_keys: bool,
    /// Does the object bucket keep versions?
    pub object_versioned: bool,
    /// Does the recycle bucket keep versions?
    pub recycle_versioned: bool,
}

/// An ETag that no object of ours has.
const WRONG_ETAG: &str = "\"00000000000000000000000000000000\"";

/// A condition that does not hold, on one request.
enum Wrong {
    CopySource,
    CopyOverNothing,
    CopyOverOther,
    PutOverNothing,
    PutOverOther,
}

/// One throw-away object, under the same key in both buckets.
struct Probe<'a> {
    storage: &'a Storage,
    key: String,
    body: Vec<u8>,
    /// Versions that were made, to be removed one by one.
    versions: Vec<(Side, String)>,
}

impl Storage {
    /// Finds out what the server can do, and with it whether these credentials may read, write and delete
    /// in both buckets. What it wrote it removes again, also when it fails.
    pub async fn probe(&self) -> Result<Capabilities, StorageError> {
        // Some servers make a bucket that is not there at the first write.
        self.check().await?;
        let mut probe = Probe::new(self);
        let result = probe.capabilities().await;
        let removed = probe.remove().await;
        let capabilities = result?;
        removed.map(|()| capabilities)
    }

    /// Every kind of request that a move needs, on a throw-away object: the control question.
    pub(super) async fn rehearse(&self) -> Result<(), StorageError> {
        let mut probe = Probe::new(self);
        let result = probe.rehearse().await;
        let removed = probe.remove().await;
        result.and(removed)
    }
}

impl<'a> Probe<'a> {
    fn new(storage: &'a Storage) -> Self {
        let id = Uuid::new_v4();
        let key = format!("{OWN_PREFIX}probe-{id}");
        Self { storage, key, body: id.to_string().into_bytes(), versions: Vec::new() }
    }

    fn asked(&self, operation: Operation, side: Side) -> Asked<'_> {
        Asked { operation, side, key: Some(&self.key) }
    }

    async fn head(&self, side: Side) -> Result<Option<ETag>, StorageError> {
        Ok(self.storage.head_raw(side, &self.key).await?.map(|head| head.etag))
    }

    /// A HEAD that has to find the object.
    async fn found(&self, side: Side) -> Result<ETag, StorageError> {
        let gone =
            || StorageError::new(self.asked(Operation::HeadObject, side), Kind::BadAnswer, "just written");
        self.head(side).await?.ok_or_else(gone)
    }

    async fn rehearse(&mut self) -> Result<(), StorageError> {
        // Of objects that do not exist, too: credentials that may not list get 403 for those.
        self.head(Side::Object).await?;
        self.head(Side::Recycle).await?;
        self.put(None).await?;
        self.found(Side::Object).await?;
        self.copy(None).await?;
        self.found(Side::Recycle).await?;
        Ok(())
    }

    async fn capabilities(&mut self) -> Result<Capabilities, StorageError> {
        self.head(Side::Object).await?;
        self.put(None).await?;
        let exact_keys = self.exact_keys().await?;
        if self.head(Side::Recycle).await?.is_some() {
            let asked = self.asked(Operation::HeadObject, Side::Recycle);
            return Err(StorageError::new(asked, Kind::SameBucket, "an object put in one is in the other"));
        }
        let source = self.found(Side::Object).await?;
        let copy_source_if_match = self.support(&Wrong::CopySource).await?;
        self.copy(None).await?;
        let copy = self.found(Side::Recycle).await?;
        let md5 = <[u8; 16]>::from(Md5::digest(&self.body));
        Ok(Capabilities {
            copy_source_if_match,
            copy_if_none_match: self.support(&Wrong::CopyOverNothing).await?,
            copy_if_match: self.support(&Wrong::CopyOverOther).await?,
            put_if_none_match: self.support(&Wrong::PutOverNothing).await?,
            put_if_match: self.support(&Wrong::PutOverOther).await?,
            exact_keys,
            copy_keeps_etag: source == copy && source.md5() == Some(md5),
            object_versioned: self.keeps_versions(Side::Object).await?,
            recycle_versioned: self.keeps_versions(Side::Recycle).await?,
            // The last one: it deletes.
            delete_if_match: self.delete_support().await?,
        })
    }

    /// Looks for the object under keys that are not its own, but come near.
    async fn exact_keys(&self) -> Result<bool, StorageError> {
        let (folder, name) = self.key.rsplit_once('/').unwrap_or(("", &self.key));
        for key in [
            format!("{folder}//{name}"),
            format!("{folder}/./{name}"),
            format!("{folder}/x/../{name}"),
            format!("{folder}\\{name}"),
            format!("/{folder}/{name}"),
            format!("{folder}/{name}/"),
        ] {
            match self.storage.head_raw(Side::Object, &key).await {
                Ok(None) => {}
                Ok(Some(_)) => return Ok(false),
                Err(error) => match error.kind {
                    Kind::Timeout | Kind::Connection | Kind::SlowDown => return Err(error),
                    // A key that the server will not hear of.
                    _ => return Ok(false),
                },
            }
        }
        Ok(true)
    }

    /// Does the bucket keep versions? That an answer names one says nothing: Garage names one for every object
    /// and keeps none. So the object is written again, and the first version asked for. Credentials that may
    /// not read versions find none: then nothing is written on top of other content.
    async fn keeps_versions(&mut self, side: Side) -> Result<bool, StorageError> {
        let first = self.versions.iter().find(|(of, _)| *of == side).map(|(_, version)| version.clone());
        let Some(first) = first else { return Ok(false) };
        match side {
            Side::Object => self.put(None).await?,
            Side::Recycle => self.copy(None).await?,
        }
        let request = self
            .storage
            .client()
            .head_object()
            .bucket(self.storage.bucket(side))
            .key(&self.key)
            .version_id(&first);
        match self.storage.send(self.asked(Operation::HeadObject, side), request.send()).await {
            Ok(output) => Ok(output.version_id() == Some(&first)),
            Err(error) => match error.kind {
                Kind::Timeout | Kind::Connection | Kind::SlowDown | Kind::ServerError => Err(error),
                _ => Ok(false),
            },
        }
    }

    /// Sends a request whose condition does not hold, and sees what the server makes of it.
    async fn support(&mut self, wrong: &Wrong) -> Result<Support, StorageError> {
        let result = match wrong {
            Wrong::PutOverNothing | Wrong::PutOverOther => self.put(Some(wrong)).await,
            Wrong::CopySource | Wrong::CopyOverNothing | Wrong::CopyOverOther => self.copy(Some(wrong)).await,
        };
        match result {
            Ok(()) => Ok(Support::Ignored),
            Err(error) => refusal(error),
        }
    }

    async fn delete_support(&mut self) -> Result<Support, StorageError> {
        match self.delete(Side::Object, Some(&ETag::new(WRONG_ETAG))).await {
            // It says that it deleted: then it ignored the condition, or it tells what is not so.
            Ok(()) => return Ok(Support::Ignored),
            Err(error) => match refusal(error)? {
                Support::Honoured => {}
                other => return Ok(other),
            },
        }
        // A condition that is never met is not kept either: with the right ETag it has to go.
        let right = self.found(Side::Object).await?;
        match self.delete(Side::Object, Some(&right)).await {
            Ok(()) if self.head(Side::Object).await?.is_none() => Ok(Support::Honoured),
            Ok(()) => Ok(Support::Refused),
            Err(error) => match refusal(error)? {
                Support::Honoured | Support::Refused | Support::Ignored => Ok(Support::Refused),
            },
        }
    }

    async fn put(&mut self, wrong: Option<&Wrong>) -> Result<(), StorageError> {
        let side = Side::Object;
        let request = self
            .storage
            .client()
            .put_object()
            .bucket(self.storage.bucket(side))
            .key(&self.key)
            .body(ByteStream::from(self.body.clone()))
            .set_if_none_match(matches!(wrong, Some(Wrong::PutOverNothing)).then(|| "*".to_owned()))
            .set_if_match(matches!(wrong, Some(Wrong::PutOverOther)).then(|| WRONG_ETAG.to_owned()));
        let output = self.storage.send(self.asked(Operation::PutObject, side), request.send()).await?;
        self.versions.extend(output.version_id.filter(|id| id != "null").map(|id| (side, id)));
        Ok(())
    }

    async fn copy(&mut self, wrong: Option<&Wrong>) -> Result<(), StorageError> {
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
        let output = self.storage.send(self.asked(Operation::CopyObject, side), request.send()).await?;
        self.versions.extend(output.version_id.filter(|id| id != "null").map(|id| (side, id)));
        Ok(())
    }

    async fn delete(&self, side: Side, etag: Option<&ETag>) -> Result<(), StorageError> {
        let none = ETag::new("");
        let keys = HashMap::from([(self.key.as_str(), etag.unwrap_or(&none))]);
        let answers = self.storage.delete_keys(side, &keys, etag.is_some()).await?;
        answers.into_values().try_for_each(|answer| answer.map(drop))
    }

    /// Removes the object from both buckets, with the request that the moves use.
    async fn remove(&self) -> Result<(), StorageError> {
        let mut result = Ok(());
        for side in [Side::Object, Side::Recycle] {
            result = result.and(self.delete(side, None).await);
        }
        // Versions are removed as far as the credentials reach: a move does not need that right.
        for (side, version) in &self.versions {
            let asked = self.asked(Operation::DeleteObject, *side);
            let request = self
                .storage
                .client()
                .delete_object()
                .bucket(self.storage.bucket(*side))
                .key(&self.key)
                .version_id(version);
            if let Err(error) = self.storage.send(asked, request.send()).await {
                tracing::debug!(%error, "a version of a probe object stays behind");
            }
        }
        result
    }
}

/// Is the error the condition's, or a refusal of conditions? Anything else says nothing about either.
fn refusal(error: StorageError) -> Result<Support, StorageError> {
    match error.kind {
        Kind::PreconditionFailed => Ok(Support::Honoured),
        Kind::NotImplemented | Kind::BadRequest => Ok(Support::Refused),
        _ => Err(error),
    }
}

//! Writing an object of the caller's own content: only where there is none, and only what the server itself has checked
//! against its digest.

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;

use super::error::Asked;
use super::head::{MIGRATED, MIGRATED_IN};
use super::{Capabilities, ETag, Kind, Operation, Side, Storage, StorageError, Support};
use crate::failpoint;
use crate::file::ObjectKey;

/// Size of the parts of a large object, in bytes; the last one is shorter. It is the least that a part may have (Amazon S3
/// user guide, "multipart upload limits"): with 10,000 of them an object is far larger than a value of a database.
pub const PART: usize = 5 * 1024 * 1024;

/// Who writes an object: noted in its metadata ([`super::Head::migrated_by`], [`super::Head::migrated_in`]).
#[derive(Clone, Debug)]
pub struct Mark {
    /// The environment.
    pub environment: String,
    /// The run.
    pub run: String,
}

/// An object that is written part by part.
#[derive(Debug)]
pub struct Upload<'a> {
    key: &'a ObjectKey,
    id: String,
}

impl Storage {
    /// Writes an object where there is none; its ETag.
    ///
    /// The server compares the content with its MD5, which is given (`Content-MD5`), before it keeps anything.
    /// [`Kind::PreconditionFailed`] says that there is an object; where the server does not keep the condition, a HEAD
    /// right before stands in for it.
    pub async fn put_new(
        &self,
        key: &ObjectKey,
        mark: &Mark,
        (content, md5): (Bytes, [u8; 16]),
        server: &Capabilities,
    ) -> Result<ETag, StorageError> {
        let asked = asked(Operation::PutObject, key);
        self.look_before_putting(asked, key, server).await?;
        let request = self
            .client()
            .put_object()
            .bucket(self.bucket(Side::Object))
            .key(key.as_str())
            .metadata(MIGRATED, &mark.environment)
            .metadata(MIGRATED_IN, &mark.run)
            .set_if_none_match(star(server))
            .content_md5(BASE64_STANDARD.encode(md5))
            .body(ByteStream::from(content));
        let output = self.send(asked, || request.send()).await?;
        written(asked, output.e_tag())
    }

    /// Begins an object of parts. What an earlier run began under this key and did not finish is aborted first.
    pub async fn begin_new<'a>(&self, key: &'a ObjectKey, mark: &Mark) -> Result<Upload<'a>, StorageError> {
        self.abort_uploads(key).await?;
        let asked = asked(Operation::CreateMultipartUpload, key);
        let request = self
            .client()
            .create_multipart_upload()
            .bucket(self.bucket(Side::Object))
            .key(key.as_str())
            .metadata(MIGRATED, &mark.environment)
            .metadata(MIGRATED_IN, &mark.run);
        let output = self.send(asked, || request.send()).await?;
        let id = output.upload_id.filter(|id| !id.is_empty());
        let id = id.ok_or_else(|| StorageError::new(asked, Kind::BadAnswer, "without an upload's id"))?;
        failpoint::reach("migrate::upload_begun");
        if let Err(error) = self.note_upload(key, &id).await {
            // Nobody would find it.
            drop(self.abort_upload(key, &id).await);
            return Err(error);
        }
        Ok(Upload { key, id })
    }

    /// Writes one part, from number 1 on; its ETag. The server compares it with its MD5.
    pub async fn put_part(
        &self,
        upload: &Upload<'_>,
        number: i32,
        (content, md5): (Bytes, [u8; 16]),
    ) -> Result<ETag, StorageError> {
        let asked = asked(Operation::UploadPart, upload.key);
        let request = self
            .client()
            .upload_part()
            .bucket(self.bucket(Side::Object))
            .key(upload.key.as_str())
            .upload_id(&upload.id)
            .part_number(number)
            .content_md5(BASE64_STANDARD.encode(md5))
            .body(ByteStream::from(content));
        let output = self.send(asked, || request.send()).await?;
        written(asked, output.e_tag())
    }

    /// Makes the object of its parts, where there is still none; its ETag. As [`Storage::put_new`].
    pub async fn complete_new(
        &self,
        upload: &Upload<'_>,
        parts: &[ETag],
        server: &Capabilities,
    ) -> Result<ETag, StorageError> {
        let asked = asked(Operation::CompleteMultipartUpload, upload.key);
        let completed = parts
            .iter()
            .zip(1..)
            .map(|(etag, number)| CompletedPart::builder().part_number(number).e_tag(etag.as_sent()).build());
        // Whether this request keeps a condition is not known of every server.
        if !failpoint::removed("protection::condition_on_put")
            && self.head_raw(Side::Object, upload.key.as_str()).await?.is_some()
        {
            return Err(StorageError::new(asked, Kind::PreconditionFailed, "by a HEAD before it"));
        }
        let request = self
            .client()
            .complete_multipart_upload()
            .bucket(self.bucket(Side::Object))
            .key(upload.key.as_str())
            .upload_id(&upload.id)
            .multipart_upload(
                CompletedMultipartUpload::builder().set_parts(Some(completed.collect())).build(),
            )
            .set_if_none_match(star(server));
        let request = request.customize().config_override(self.copying());
        let output = self.send(asked, || request.send()).await?;
        let etag = written(asked, output.e_tag())?;
        self.forget_upload(upload.key, &upload.id).await;
        Ok(etag)
    }

    /// Drops what was begun. Best effort: what stays behind is noted, and swept up later.
    pub async fn abort_new(&self, upload: &Upload<'_>) {
        if let Err(error) = self.abort_upload(upload.key, &upload.id).await {
            tracing::info!(%error, key = %upload.key, "an unfinished upload stays behind");
        }
    }

    async fn look_before_putting(
        &self,
        asked: Asked<'_>,
        key: &ObjectKey,
        server: &Capabilities,
    ) -> Result<(), StorageError> {
        let kept = server.put_if_none_match == Support::Honoured;
        if kept || failpoint::removed("protection::condition_on_put") {
            return Ok(());
        }
        match self.head_raw(Side::Object, key.as_str()).await? {
            None => Ok(()),
            Some(_) => Err(StorageError::new(asked, Kind::PreconditionFailed, "by a HEAD before it")),
        }
    }
}

fn asked(operation: Operation, key: &ObjectKey) -> Asked<'_> {
    Asked { operation, side: Side::Object, key: Some(key.as_str()) }
}

/// The condition that there is nothing, for a server that keeps it.
fn star(server: &Capabilities) -> Option<String> {
    let kept = server.put_if_none_match == Support::Honoured;
    (kept && !failpoint::removed("protection::condition_on_put")).then(|| "*".to_owned())
}

/// An answer of success that does not say what was written is no success.
fn written(asked: Asked<'_>, etag: Option<&str>) -> Result<ETag, StorageError> {
    let etag = etag.filter(|etag| !etag.is_empty()).map(ETag::new);
    etag.ok_or_else(|| StorageError::new(asked, Kind::BadAnswer, "without the object's ETag"))
}

//! Copying an object in parts: the only way above 5 GiB, and the only one that gives a multipart object's
//! copy the same ETag again.

mod plan;
mod unfinished;

use std::time::Duration;

use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use tokio::time::Instant;

use self::plan::Part;
use self::unfinished::Parts;
use super::copy::{Transfer, copied};
use super::error::Asked;
use super::{Capabilities, Copied, ETag, Kind, Operation, Over, Side, Storage, StorageError};
use crate::failpoint;
use crate::outcome::Advice;
use crate::retry::{Pauses, Schedule};

pub(super) use plan::Whole;
pub use unfinished::{Leftovers, UnfinishedCopy};

/// Parts of one object that are copied at the same time.
const PARTS_AT_ONCE: usize = 8;
/// How often one part is tried again by itself: the parts that are there already are worth it.
const PART_TRIES: Schedule = Schedule {
    first: Duration::from_millis(100),
    longest: Duration::from_secs(2),
    count: Some(3),
    total: None,
};
/// How often a long copy says how far it has come.
const PROGRESS: Duration = Duration::from_secs(30);

impl Storage {
    /// Copies part by part, every part under the condition that the source is still what it was; goes on where
    /// an earlier try was cut off.
    ///
    /// What this try began is aborted on failure, except in an outage: then nothing is wrong with it, and it could
    /// not be aborted either.
    pub(super) async fn copy_in_parts(
        &self,
        transfer: &Transfer<'_>,
        server: &Capabilities,
    ) -> Result<Copied, StorageError> {
        let parts = self.plan(transfer).await?;
        let (upload, done, begun) = self.resume_or_begin(transfer).await?;
        let error = match self.fill(transfer, &upload, parts, done, server).await {
            Ok(copied) => {
                if transfer.to == Side::Recycle {
                    self.forget(transfer.key, &upload).await;
                }
                return Ok(copied);
            }
            Err(error) => self.judge(error).await,
        };
        match error.advice() {
            Advice::Outage(_) | Advice::SlowDown | Advice::Hold => {}
            Advice::Retry | Advice::GiveUp(_) if failpoint::removed("protection::abort_of_parts") => {}
            // Another worker may go on with what this one only took over.
            Advice::Retry | Advice::GiveUp(_) if !begun => {}
            Advice::Retry | Advice::GiveUp(_) => self.drop_upload(transfer, &upload).await,
        }
        Err(error)
    }

    /// The upload with the parts that it has, and whether it was begun here.
    async fn resume_or_begin(&self, transfer: &Transfer<'_>) -> Result<(String, Parts, bool), StorageError> {
        // A copy back is rare and urgent: it begins anew.
        let resumes = transfer.to == Side::Recycle;
        if resumes && let Some((upload, parts)) = self.unfinished(transfer).await? {
            tracing::info!(key = transfer.key, parts = parts.len(), "going on with a copy in parts");
            return Ok((upload, parts, false));
        }
        let upload = self.begin(transfer).await?;
        if resumes && let Err(error) = self.write_note(transfer, &upload).await {
            // The copy is worth more than its note.
            tracing::info!(%error, "a copy in parts without a note: it cannot be resumed");
        }
        Ok((upload, Parts::new(), true))
    }

    async fn begin(&self, transfer: &Transfer<'_>) -> Result<String, StorageError> {
        let asked = transfer.asked(Operation::CreateMultipartUpload);
        let tags = self.tags(transfer).await?;
        let attributes = &transfer.source.attributes;
        let mut request = self
            .client()
            .create_multipart_upload()
            .bucket(self.bucket(transfer.to))
            .key(transfer.key)
            .set_storage_class(transfer.class.clone())
            .set_tagging(tags)
            .set_metadata(Some(transfer.metadata()))
            .set_cache_control(attributes.cache_control.clone())
            .set_content_disposition(attributes.content_disposition.clone())
            .set_content_encoding(attributes.content_encoding.clone())
            .set_content_language(attributes.content_language.clone())
            .set_content_type(attributes.content_type.clone())
            .set_expires(attributes.expires)
            .set_website_redirect_location(attributes.website_redirect.clone());
        if let Some((encryption, key)) = &attributes.kms {
            request = request.server_side_encryption(encryption.clone()).set_ssekms_key_id(key.clone());
        }
        let output = self.send(asked, || request.send()).await?;
        match output.upload_id {
            Some(upload) if !upload.is_empty() => Ok(upload),
            _ => Err(StorageError::new(asked, Kind::BadAnswer, "without an upload's id")),
        }
    }

    async fn fill(
        &self,
        transfer: &Transfer<'_>,
        upload: &str,
        parts: Vec<Part>,
        done: Parts,
        server: &Capabilities,
    ) -> Result<Copied, StorageError> {
        let mut progress = Progress::new(transfer);
        let there = |part: &Part| done.get(&part.number).filter(|(_, size)| *size == part.length());
        let mut copying = stream::iter(parts)
            .map(|part| async move {
                let etag = match there(&part) {
                    Some((etag, _)) => etag.clone(),
                    None => self.copy_part(transfer, upload, part, server).await?,
                };
                Ok::<_, StorageError>((part, etag))
            })
            .buffer_unordered(PARTS_AT_ONCE);
        let mut completed = Vec::new();
        while let Some((part, etag)) = copying.try_next().await? {
            progress.add(part.length());
            completed.push(CompletedPart::builder().part_number(part.number).e_tag(etag.as_sent()).build());
        }
        completed.sort_by_key(CompletedPart::part_number);
        failpoint::reach("storage::before_complete");
        self.look_before_completing(transfer).await?;
        let asked = transfer.asked(Operation::CompleteMultipartUpload);
        let parts = CompletedMultipartUpload::builder().set_parts(Some(completed)).build();
        let request = self
            .client()
            .complete_multipart_upload()
            .bucket(self.bucket(transfer.to))
            .key(transfer.key)
            .upload_id(upload)
            .multipart_upload(parts)
            .set_if_none_match(transfer.over.if_none_match(server))
            .set_if_match(transfer.over.if_match(server));
        let request = request.customize().config_override(self.copying());
        let output = self.send(asked, || request.send()).await?;
        copied(asked, output.e_tag())
    }

    /// A long time has passed since the look that the copy rests on, and whether this request keeps a condition is
    /// not known of every server.
    async fn look_before_completing(&self, transfer: &Transfer<'_>) -> Result<(), StorageError> {
        let there = self.head_raw(transfer.to, transfer.key).await?.map(|head| head.etag);
        let as_known = match transfer.over {
            Over::Nothing => there.is_none(),
            Over::Known(etag) => there.as_ref() == Some(etag),
        };
        if as_known {
            return Ok(());
        }
        let asked = transfer.asked(Operation::CompleteMultipartUpload);
        Err(StorageError::new(asked, Kind::PreconditionFailed, "by a HEAD before it"))
    }

    /// Copies one part; what may pass within seconds is tried again here, so that it does not cost the others.
    async fn copy_part(
        &self,
        transfer: &Transfer<'_>,
        upload: &str,
        part: Part,
        server: &Capabilities,
    ) -> Result<ETag, StorageError> {
        let mut pauses = Pauses::system(PART_TRIES);
        loop {
            let error = match self.try_part(transfer, upload, part, server).await {
                Ok(etag) => return Ok(etag),
                Err(error) => error,
            };
            let Some(pause) = pauses.next().filter(|_| error.may_pass()) else { return Err(error) };
            tokio::time::sleep(pause).await;
        }
    }

    async fn try_part(
        &self,
        transfer: &Transfer<'_>,
        upload: &str,
        part: Part,
        server: &Capabilities,
    ) -> Result<ETag, StorageError> {
        let asked = transfer.asked(Operation::UploadPartCopy);
        let request = self
            .client()
            .upload_part_copy()
            .copy_source(self.copy_source(transfer))
            .copy_source_range(format!("bytes={}-{}", part.first, part.last))
            .set_copy_source_if_match(transfer.pin(server))
            .bucket(self.bucket(transfer.to))
            .key(transfer.key)
            .upload_id(upload)
            .part_number(part.number)
            .customize()
            .config_override(self.copying());
        let output = self.send(asked, || request.send()).await?;
        failpoint::reach("storage::after_part");
        Ok(copied(asked, output.copy_part_result().and_then(|result| result.e_tag()))?.etag)
    }

    /// Best effort: what stays behind costs space and nothing else, and is swept later.
    async fn drop_upload(&self, transfer: &Transfer<'_>, upload: &str) {
        match self.abort(transfer.asked(Operation::AbortMultipartUpload), upload).await {
            Ok(()) => {}
            // Gone already: finished by a request whose answer was lost, or aborted.
            Err(error) if matches!(error.kind, Kind::ConcurrentRequest | Kind::NotFound) => {}
            Err(error) => {
                tracing::warn!(%error, upload, "an unfinished multipart copy stays behind");
                return;
            }
        }
        if transfer.to == Side::Recycle {
            self.forget(transfer.key, upload).await;
        }
    }

    async fn abort(&self, asked: Asked<'_>, upload: &str) -> Result<(), StorageError> {
        let request = self
            .client()
            .abort_multipart_upload()
            .bucket(self.bucket(asked.side))
            .set_key(asked.key.map(str::to_owned))
            .upload_id(upload);
        self.send(asked, || request.send()).await.map(drop)
    }

    /// The source's tags, as a query string; nothing where there are none or the server has none at all.
    async fn tags(&self, transfer: &Transfer<'_>) -> Result<Option<String>, StorageError> {
        let asked =
            Asked { operation: Operation::GetObjectTagging, side: transfer.from, key: Some(transfer.key) };
        let request = self.client().get_object_tagging().bucket(self.bucket(transfer.from)).key(transfer.key);
        let request = request.set_version_id(transfer.version.map(str::to_owned));
        let output = match self.send(asked, || request.send()).await {
            Ok(output) => output,
            Err(error) if error.kind == Kind::NotImplemented => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for tag in output.tag_set() {
            query.append_pair(tag.key(), tag.value());
        }
        Ok(Some(query.finish()).filter(|tags| !tags.is_empty()))
    }
}

/// How far a long copy has come, told now and then.
struct Progress<'a> {
    key: &'a str,
    size: u64,
    done: u64,
    told: Instant,
}

impl<'a> Progress<'a> {
    fn new(transfer: &Transfer<'a>) -> Self {
        Self { key: transfer.key, size: transfer.source.size, done: 0, told: Instant::now() }
    }

    fn add(&mut self, bytes: u64) {
        self.done += bytes;
        if self.told.elapsed() >= PROGRESS {
            self.told = Instant::now();
            tracing::info!(key = self.key, bytes = self.done, of = self.size, "copying in parts");
        }
    }
}

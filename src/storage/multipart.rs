//! Copying an object in parts: the only way above 5 GiB, and the only one that gives a multipart object's
//! copy the same ETag again.

use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::copy::{Transfer, copied};
use super::error::Asked;
use super::{Capabilities, Copied, Kind, Operation, Storage, StorageError};

/// Parts of one object that are copied at the same time.
const PARTS_AT_ONCE: usize = 8;
/// Most parts of an object (Amazon S3 user guide, "multipart upload limits").
const MAX_PARTS: u64 = 10_000;
/// Size of a part where the source's own parts are not known, in bytes.
const PART_SIZE: u64 = 256 * 1024 * 1024;

/// One part of the source: its number from 1, its first and its last byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    number: i32,
    first: u64,
    last: u64,
}

impl Storage {
    /// Copies part by part, every part under the condition that the source is still what it was. What was
    /// begun is aborted on failure.
    pub(super) async fn copy_in_parts(
        &self,
        transfer: &Transfer<'_>,
        server: &Capabilities,
    ) -> Result<Copied, StorageError> {
        let parts = self.parts(transfer).await?;
        let upload = self.begin(transfer).await?;
        match self.fill(transfer, &upload, parts, server).await {
            Ok(copied) => Ok(copied),
            Err(error) => {
                self.abort(transfer, &upload).await;
                Err(error)
            }
        }
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
        let output = self.send(asked, request.send()).await?;
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
        server: &Capabilities,
    ) -> Result<Copied, StorageError> {
        let mut done: Vec<CompletedPart> = stream::iter(parts)
            .map(|part| self.copy_part(transfer, upload, part))
            .buffer_unordered(PARTS_AT_ONCE)
            .try_collect()
            .await?;
        done.sort_by_key(CompletedPart::part_number);
        let asked = transfer.asked(Operation::CompleteMultipartUpload);
        let parts = CompletedMultipartUpload::builder().set_parts(Some(done)).build();
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
        let output = self.send(asked, request.send()).await?;
        copied(asked, output.e_tag())
    }

    async fn copy_part(
        &self,
        transfer: &Transfer<'_>,
        upload: &str,
        part: Part,
    ) -> Result<CompletedPart, StorageError> {
        let asked = transfer.asked(Operation::UploadPartCopy);
        let request = self
            .client()
            .upload_part_copy()
            .copy_source(self.copy_source(transfer))
            .copy_source_range(format!("bytes={}-{}", part.first, part.last))
            .copy_source_if_match(transfer.source.etag.as_sent())
            .bucket(self.bucket(transfer.to))
            .key(transfer.key)
            .upload_id(upload)
            .part_number(part.number)
            .customize()
            .config_override(self.copying());
        let output = self.send(asked, request.send()).await?;
        let etag = copied(asked, output.copy_part_result().and_then(|result| result.e_tag()))?.etag;
        Ok(CompletedPart::builder().part_number(part.number).e_tag(etag.as_sent()).build())
    }

    /// Best effort: what stays behind costs space and nothing else.
    async fn abort(&self, transfer: &Transfer<'_>, upload: &str) {
        let asked = transfer.asked(Operation::AbortMultipartUpload);
        let request = self
            .client()
            .abort_multipart_upload()
            .bucket(self.bucket(transfer.to))
            .key(transfer.key)
            .upload_id(upload);
        match self.send(asked, request.send()).await {
            Ok(_) => {}
            // Gone already: finished by a request whose answer was lost, or aborted.
            Err(error) if error.kind == Kind::ConcurrentRequest => {}
            Err(error) => {
                tracing::warn!(%error, upload, "an unfinished multipart copy stays behind");
            }
        }
    }

    /// The source's tags, as a query string; nothing where there are none or the server has none at all.
    async fn tags(&self, transfer: &Transfer<'_>) -> Result<Option<String>, StorageError> {
        let asked =
            Asked { operation: Operation::GetObjectTagging, side: transfer.from, key: Some(transfer.key) };
        let request = self.client().get_object_tagging().bucket(self.bucket(transfer.from)).key(transfer.key);
        let output = match self.send(asked, request.send()).await {
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

    /// The boundaries of the source's own parts, where it has some and the server tells.
    async fn parts(&self, transfer: &Transfer<'_>) -> Result<Vec<Part>, StorageError> {
        let source = transfer.source;
        let Some(count) = source.etag.parts().filter(|count| *count > 1) else {
            return Ok(even(source.size, part_size(source.size)));
        };
        // Uploaders cut even parts, so the first one tells about all; if not, the copy's ETag comes out
        // different and the note in its metadata is the proof.
        let first = self.part_length(transfer, 1).await?;
        match first.filter(|first| source.size.div_ceil(*first) == u64::from(count)) {
            Some(first) => Ok(even(source.size, first)),
            None => Ok(even(source.size, part_size(source.size))),
        }
    }

    /// The length of one part of the source in bytes; nothing where the server does not tell.
    ///
    /// Without a condition: some servers answer with the part's own ETag and compare that. It is a hint; what
    /// is copied is under the condition of every part.
    async fn part_length(&self, transfer: &Transfer<'_>, number: i32) -> Result<Option<u64>, StorageError> {
        let asked = Asked { operation: Operation::HeadObject, side: transfer.from, key: Some(transfer.key) };
        let request = self
            .client()
            .head_object()
            .bucket(self.bucket(transfer.from))
            .key(transfer.key)
            .part_number(number);
        match self.send(asked, request.send()).await {
            Ok(output) => Ok(output
                .content_length()
                .and_then(|length| u64::try_from(length).ok())
                .filter(|length| *length > 0)),
            Err(error) if matches!(error.kind, Kind::NotImplemented | Kind::BadRequest) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The size of even parts of our own choice, such that there are not too many.
fn part_size(size: u64) -> u64 {
    PART_SIZE.max(size.div_ceil(MAX_PARTS))
}

/// `size` bytes in parts of `length`, the last one shorter.
fn even(size: u64, length: u64) -> Vec<Part> {
    let firsts = (0..size).step_by(usize::try_from(length).unwrap_or(usize::MAX));
    firsts
        .zip(1..)
        .map(|(first, number)| Part { number, first, last: (first + length).min(size) - 1 })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_parts_cover_every_byte_once() {
        for (size, length) in [(1, 1), (10, 3), (9, 3), (5, 10), (3 * PART_SIZE + 1, PART_SIZE)] {
            let parts = even(size, length);
            assert_eq!(parts[0].first, 0);
            assert_eq!(parts[parts.len() - 1].last, size - 1);
            assert!(parts.windows(2).all(|pair| pair[0].last + 1 == pair[1].first));
            assert!(parts.windows(2).all(|pair| pair[0].number + 1 == pair[1].number));
        }
    }

    #[test]
    fn the_largest_object_has_no_more_parts_than_allowed() {
        const TIB: u64 = 1 << 40;
        for size in [5 << 30, 5 * TIB, 50 * TIB] {
            assert!(even(size, part_size(size)).len() as u64 <= MAX_PARTS, "{size}");
        }
    }
}

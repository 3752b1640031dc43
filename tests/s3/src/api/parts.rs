//! Parts of an upload: UploadPart and ListParts.

use s3s::dto::{
    Checksum, ListPartsInput, ListPartsOutput, Part, StorageClass, UploadPartInput, UploadPartOutput,
};
use s3s::{S3Error, S3Request, S3Response, S3Result, s3_error};

use super::checksums::{Sent, receive};
use super::{Api, etag, signed};
use crate::store::{Bucket, Upload, UploadedPart, now};

/// The highest part number.
const MAX_PART: i32 = 10_000;

/// The most parts in one answer.
const MAX_LISTED: i32 = 1_000;

pub(super) async fn upload(
    api: &Api,
    request: S3Request<UploadPartInput>,
) -> S3Result<S3Response<UploadPartOutput>> {
    let input = request.input;
    check_number(input.part_number)?;
    let at = (input.key, input.upload_id);
    upload_of(super::bucket(&api.store.lock(), &input.bucket)?, &at)?;
    let sent = Sent {
        length: input.content_length,
        md5: input.content_md5,
        checksum: Checksum {
            checksum_crc32: input.checksum_crc32,
            checksum_crc32c: input.checksum_crc32c,
            checksum_crc64nvme: input.checksum_crc64nvme,
            checksum_sha1: input.checksum_sha1,
            checksum_sha256: input.checksum_sha256,
            checksum_type: None,
        },
        trailers: request.trailing_headers,
    };
    let received = receive(input.body, sent).await?;
    let part = UploadedPart {
        content: received.content,
        md5: received.md5,
        etag: api.store.etag(received.md5),
        modified: now(),
        checksum: received.checksum,
    };
    let sums = part.checksum.clone();
    let output = UploadPartOutput {
        checksum_crc32: sums.checksum_crc32,
        checksum_crc32c: sums.checksum_crc32c,
        checksum_crc64nvme: sums.checksum_crc64nvme,
        checksum_sha1: sums.checksum_sha1,
        checksum_sha256: sums.checksum_sha256,
        e_tag: Some(etag(&part.etag)),
        ..UploadPartOutput::default()
    };
    store(api, &input.bucket, &at, input.part_number, part)?;
    Ok(S3Response::new(output))
}

pub(super) fn list(api: &Api, request: S3Request<ListPartsInput>) -> S3Result<S3Response<ListPartsOutput>> {
    let input = request.input;
    let marker = input.part_number_marker.unwrap_or(0);
    let max_parts = input.max_parts.unwrap_or(MAX_LISTED).clamp(0, MAX_LISTED);
    let limit = usize::try_from(max_parts).unwrap_or(0);
    let at = (input.key, input.upload_id);
    let buckets = api.store.lock();
    let upload = upload_of(super::bucket(&buckets, &input.bucket)?, &at)?;
    let mut rest = upload.parts.range(marker.saturating_add(1)..);
    let parts: Vec<Part> = rest.by_ref().take(limit).map(listed).collect();
    let standard = || StorageClass::from_static(StorageClass::STANDARD);
    Ok(S3Response::new(ListPartsOutput {
        bucket: Some(input.bucket),
        is_truncated: Some(rest.next().is_some()),
        max_parts: Some(max_parts),
        next_part_number_marker: parts.last().and_then(|part| part.part_number),
        part_number_marker: Some(marker),
        parts: Some(parts),
        storage_class: Some(upload.storage_class.clone().unwrap_or_else(standard)),
        key: Some(at.0),
        upload_id: Some(at.1),
        ..ListPartsOutput::default()
    }))
}

fn listed((number, part): (&i32, &UploadedPart)) -> Part {
    let sums = part.checksum.clone();
    Part {
        checksum_crc32: sums.checksum_crc32,
        checksum_crc32c: sums.checksum_crc32c,
        checksum_crc64nvme: sums.checksum_crc64nvme,
        checksum_sha1: sums.checksum_sha1,
        checksum_sha256: sums.checksum_sha256,
        e_tag: Some(etag(&part.etag)),
        last_modified: Some(part.modified.into()),
        part_number: Some(*number),
        size: Some(signed(part.content.len())),
    }
}

pub(super) fn check_number(number: i32) -> S3Result<()> {
    if (1..=MAX_PART).contains(&number) {
        return Ok(());
    }
    Err(s3_error!(InvalidArgument, "Part number must be an integer between 1 and 10000, inclusive"))
}

pub(super) fn upload_of<'a>(bucket: &'a Bucket, at: &(String, String)) -> S3Result<&'a Upload> {
    bucket.uploads.get(at).ok_or_else(no_such_upload)
}

pub(super) fn no_such_upload() -> S3Error {
    s3_error!(
        NoSuchUpload,
        "The specified upload does not exist. The upload ID may be invalid, or the upload may \
         have been aborted or completed."
    )
}

/// Keeps a part, in place of an earlier one of its number.
pub(super) fn store(
    api: &Api,
    bucket: &str,
    at: &(String, String),
    number: i32,
    part: UploadedPart,
) -> S3Result<()> {
    let mut buckets = api.store.lock();
    let bucket = super::bucket_mut(&mut buckets, bucket)?;
    let upload = bucket.uploads.get_mut(at).ok_or_else(no_such_upload)?;
    upload.parts.insert(number, part);
    Ok(())
}

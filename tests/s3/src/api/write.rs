//! PutObject.

use s3s::dto::{Checksum, PutObjectInput, PutObjectOutput, Tag};
use s3s::{S3Request, S3Response, S3Result};

use super::checksums::{Sent, receive};
use super::conditions::Writing;
use super::{Api, etag, signed, tags};
use crate::store::{Described, Object};

pub(super) async fn put(
    api: &Api,
    request: S3Request<PutObjectInput>,
) -> S3Result<S3Response<PutObjectOutput>> {
    let input = request.input;
    let store = &api.store;
    let conditions = Writing { if_match: input.if_match, if_none_match: input.if_none_match };
    let tags: Vec<Tag> = tags::parse_header(input.tagging.as_deref())?;
    super::bucket(&store.lock(), &input.bucket)?;
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
    let mut object = Object::whole(received.content, received.md5, store);
    object.checksum = received.checksum;
    object.storage_class = input.storage_class;
    object.described = Described {
        cache_control: input.cache_control,
        content_disposition: input.content_disposition,
        content_encoding: input.content_encoding.and_then(|it| of_content(&it)),
        content_language: input.content_language,
        content_type: input.content_type,
        expires: input.expires,
        metadata: input.metadata,
        website_redirect_location: input.website_redirect_location,
    };
    let mut output = answer(&object);
    let mut buckets = store.lock();
    let bucket = super::bucket_mut(&mut buckets, &input.bucket)?;
    conditions.check(bucket, &input.key)?;
    output.version_id = store.written(bucket.insert(&input.key, object, tags));
    Ok(S3Response::new(output))
}

/// The encoding of the content itself: `aws-chunked` is only how it travels.
fn of_content(header: &str) -> Option<String> {
    let encodings = header.split(',').map(str::trim);
    let kept: Vec<&str> = encodings.filter(|it| !it.is_empty() && *it != "aws-chunked").collect();
    (!kept.is_empty()).then(|| kept.join(","))
}

fn answer(object: &Object) -> PutObjectOutput {
    let sums = object.checksum.clone();
    PutObjectOutput {
        e_tag: Some(etag(&object.etag)),
        size: Some(signed(object.content.len())),
        checksum_crc32: sums.checksum_crc32,
        checksum_crc32c: sums.checksum_crc32c,
        checksum_crc64nvme: sums.checksum_crc64nvme,
        checksum_sha1: sums.checksum_sha1,
        checksum_sha256: sums.checksum_sha256,
        checksum_type: sums.checksum_type,
        ..PutObjectOutput::default()
    }
}

//! CopyObject, and finding the source of any copy.
//!
//! The source is read under one lock and the destination written under another, so that a sum
//! that has to be taken is not taken under either. Conditions on the destination are checked in
//! the same lock in which it is written.

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::header::{HeaderName, IF_MATCH, IF_NONE_MATCH};
use s3s::dto::{
    CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopySource, ETagCondition, MetadataDirective,
    TaggingDirective,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::conditions::{Outcome, Reading, Writing, failed};
use super::{Api, Found, checksums, etag, find, no_such_key, readable, tags};
use crate::gate::Ticket;
use crate::store::{Content, Described, Object};

pub(super) fn object(
    api: &Api,
    request: S3Request<CopyObjectInput>,
) -> S3Result<S3Response<CopyObjectOutput>> {
    let ordered = request.extensions.get::<Ticket>().and_then(Ticket::take_content);
    let input = request.input;
    // Version 0.14 of the S3 layer does not know these for a copy, so they come from the headers.
    let given = Writing {
        if_match: condition(&request.headers, &IF_MATCH)?,
        if_none_match: condition(&request.headers, &IF_NONE_MATCH)?,
    };
    let given = if api.honours(given.any())? { given } else { Writing::default() };
    super::bucket(&api.store.lock(), &input.bucket)?;
    let conditions = Reading {
        if_match: input.copy_source_if_match.as_ref(),
        if_none_match: input.copy_source_if_none_match.as_ref(),
        if_modified_since: input.copy_source_if_modified_since.as_ref(),
        if_unmodified_since: input.copy_source_if_unmodified_since.as_ref(),
    };
    let source = source(api, &input.copy_source, &conditions)?;
    if source.object.content.len() > api.max_copy_size {
        return Err(too_large(api));
    }
    refuse_self_copy(&input)?;
    let mut tags = source.entry.tags.clone();
    if replaces_tags(&input) {
        tags = tags::parse_header(input.tagging.as_deref())?;
    }
    let mut copy = build(api, &source.object, &input);
    if let Some(content) = ordered {
        replace(api, &mut copy, content, &input);
    }
    let result = answer(&copy);
    let mut buckets = api.store.lock();
    let bucket = super::bucket_mut(&mut buckets, &input.bucket)?;
    given.check(bucket, &input.key)?;
    let version_id = api.store.written(bucket.insert(&input.key, copy, tags));
    let modified = bucket.latest(&input.key).map(|entry| entry.modified.into());
    Ok(S3Response::new(CopyObjectOutput {
        copy_object_result: Some(CopyObjectResult { last_modified: modified, ..result }),
        copy_source_version_id: source.version,
        version_id,
        ..CopyObjectOutput::default()
    }))
}

fn condition(headers: &HeaderMap, name: &HeaderName) -> S3Result<Option<ETagCondition>> {
    let Some(value) = headers.get(name) else {
        return Ok(None);
    };
    let parsed = ETagCondition::parse_http_header(value.as_bytes());
    parsed.map(Some).map_err(|error| s3_error!(error, InvalidArgument, "invalid header: {name}"))
}

/// Reads the source; which conditions it has to meet, the request says.
pub(super) fn source(api: &Api, source: &CopySource, conditions: &Reading<'_>) -> S3Result<Found> {
    let CopySource::Bucket { bucket, key, version_id } = source else {
        return Err(s3_error!(NotImplemented, "Copying from access points is not implemented"));
    };
    let found = {
        let buckets = api.store.lock();
        let bucket = super::bucket(&buckets, bucket)?;
        if let Some(version) = version_id
            && bucket.version(key, version).is_ok_and(|entry| entry.object.is_none())
        {
            return Err(s3_error!(
                InvalidRequest,
                "The source of a copy request may not specifically refer to a delete marker by \
                 version id."
            ));
        }
        if version_id.is_none() && bucket.current(key).is_none() {
            return Err(no_such_key());
        }
        find(bucket, key, version_id.as_deref())?
    };
    match conditions.check(&found.object, &found.entry.modified.into()) {
        Outcome::Proceed => readable(&found).map(|()| found),
        Outcome::Unchanged | Outcome::Failed => Err(failed()),
    }
}

/// A copy onto itself has to change something; one of an older version does.
fn refuse_self_copy(input: &CopyObjectInput) -> S3Result<()> {
    let CopySource::Bucket { bucket, key, version_id: None } = &input.copy_source else {
        return Ok(());
    };
    let itself = **bucket == *input.bucket && **key == *input.key;
    let changes = replaces_metadata(input)
        || input.storage_class.is_some()
        || input.website_redirect_location.is_some()
        || input.server_side_encryption.is_some();
    if itself && !changes {
        return Err(s3_error!(
            InvalidRequest,
            "This copy request is illegal because it is trying to copy an object to itself \
             without changing the object's metadata, storage class, website redirect location or \
             encryption attributes."
        ));
    }
    Ok(())
}

fn replaces_metadata(input: &CopyObjectInput) -> bool {
    let directive = input.metadata_directive.as_ref().map(MetadataDirective::as_str);
    directive == Some(MetadataDirective::REPLACE)
}

fn replaces_tags(input: &CopyObjectInput) -> bool {
    let directive = input.tagging_directive.as_ref().map(TaggingDirective::as_str);
    directive == Some(TaggingDirective::REPLACE)
}

/// The copy: always in one piece with a plain ETag, however the source was uploaded. The storage
/// class is never the source's, but the one asked for or else STANDARD.
fn build(api: &Api, source: &Object, input: &CopyObjectInput) -> Object {
    let mut copy = source.copied(&api.store);
    copy.storage_class.clone_from(&input.storage_class);
    copy.checksum = match &input.checksum_algorithm {
        Some(algorithm) => checksums::by_algorithm(&source.content, algorithm),
        None => source.checksum.clone(),
    };
    copy.described = if replaces_metadata(input) {
        Described {
            cache_control: input.cache_control.clone(),
            content_disposition: input.content_disposition.clone(),
            content_encoding: input.content_encoding.clone(),
            content_language: input.content_language.clone(),
            content_type: input.content_type.clone(),
            expires: input.expires.clone(),
            metadata: input.metadata.clone(),
            website_redirect_location: None,
        }
    } else {
        source.described.clone()
    };
    // This one is never copied.
    copy.described.website_redirect_location.clone_from(&input.website_redirect_location);
    copy
}

/// Puts other content in place of the source's; the copy says so itself.
fn replace(api: &Api, copy: &mut Object, content: String, input: &CopyObjectInput) {
    let mut other = Object::simple(Content::from(Bytes::from(content)), &api.store);
    if let Some(algorithm) = &input.checksum_algorithm {
        other.checksum = checksums::by_algorithm(&other.content, algorithm);
    }
    other.storage_class = copy.storage_class.take();
    other.described = std::mem::take(&mut copy.described);
    *copy = other;
}

fn answer(copy: &Object) -> CopyObjectResult {
    let sums = copy.checksum.clone();
    CopyObjectResult {
        checksum_crc32: sums.checksum_crc32,
        checksum_crc32c: sums.checksum_crc32c,
        checksum_crc64nvme: sums.checksum_crc64nvme,
        checksum_sha1: sums.checksum_sha1,
        checksum_sha256: sums.checksum_sha256,
        checksum_type: sums.checksum_type,
        e_tag: Some(etag(&copy.etag)),
        last_modified: None,
    }
}

pub(super) fn too_large(api: &Api) -> s3s::S3Error {
    s3_error!(
        InvalidRequest,
        "The specified copy source is larger than the maximum allowable size for a copy source: \
         {}",
        api.max_copy_size
    )
}

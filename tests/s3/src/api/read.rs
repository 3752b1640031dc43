//! GetObject and HeadObject, whole, by range or by part.

use std::ops::Range;

use hyper::header::{ETAG, HeaderMap, HeaderName, HeaderValue};
use s3s::dto::{
    GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput, Range as RangeHeader, StorageClass,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use time::format_description::well_known::Rfc2822;

use super::conditions::{Outcome, Reading, failed};
use super::{Api, Found, etag, find, no_such_key, readable, signed, small};
use crate::store::{Entry, Object, Recall};

const DELETE_MARKER: HeaderName = HeaderName::from_static("x-amz-delete-marker");
const VERSION_ID: HeaderName = HeaderName::from_static("x-amz-version-id");

/// What of an object is asked for.
struct Asked<'a> {
    bucket: &'a str,
    key: &'a str,
    version: Option<&'a str>,
    conditions: Reading<'a>,
    range: Option<RangeHeader>,
    part: Option<i32>,
}

pub(super) fn get(api: &Api, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
    let input = &request.input;
    let asked = Asked {
        bucket: &input.bucket,
        key: &input.key,
        version: input.version_id.as_deref(),
        conditions: Reading {
            if_match: input.if_match.as_ref(),
            if_none_match: input.if_none_match.as_ref(),
            if_modified_since: input.if_modified_since.as_ref(),
            if_unmodified_since: input.if_unmodified_since.as_ref(),
        },
        range: input.range,
        part: input.part_number,
    };
    let (found, range, mut output) = look(api, &asked)?;
    readable(&found)?;
    output.body = Some(found.object.content.slice(range).into_blob());
    Ok(S3Response::new(output))
}

pub(super) fn head(api: &Api, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
    let input = &request.input;
    let asked = Asked {
        bucket: &input.bucket,
        key: &input.key,
        version: input.version_id.as_deref(),
        conditions: Reading {
            if_match: input.if_match.as_ref(),
            if_none_match: input.if_none_match.as_ref(),
            if_modified_since: input.if_modified_since.as_ref(),
            if_unmodified_since: input.if_unmodified_since.as_ref(),
        },
        range: input.range,
        part: input.part_number,
    };
    let (_, _, output) = look(api, &asked)?;
    Ok(S3Response::new(without_body(output)))
}

fn look(api: &Api, asked: &Asked<'_>) -> S3Result<(Found, Range<u64>, GetObjectOutput)> {
    let found = {
        let buckets = api.store.lock();
        let version = api.store.asked(asked.version);
        find(super::bucket(&buckets, asked.bucket)?, asked.key, version)?
    };
    let object = &found.object;
    match asked.conditions.check(object, &found.entry.modified.into()) {
        Outcome::Proceed => {}
        Outcome::Unchanged => return Err(unchanged(object)),
        Outcome::Failed => return Err(failed()),
    }
    let whole = 0..object.content.len();
    let range = match (asked.range, asked.part) {
        (None, None) => None,
        (Some(range), None) => Some(range.check(whole.end)?),
        (None, Some(part)) => Some(part_range(object, part)?),
        (Some(_), Some(_)) => {
            return Err(s3_error!(
                InvalidRequest,
                "Cannot specify both Range header and partNumber query parameter"
            ));
        }
    };
    let mut output = describe(&found);
    if let Some(range) = &range {
        output.content_length = Some(signed(range.end - range.start));
        // An empty object has one part and no byte that a range could name.
        if !range.is_empty() {
            let (first, last) = (range.start, range.end - 1);
            output.content_range = Some(format!("bytes {first}-{last}/{}", whole.end));
        }
    }
    if asked.part.is_some() && !object.parts.is_empty() {
        output.parts_count = Some(small(object.parts.len()));
    }
    Ok((found, range.unwrap_or(whole), output))
}

fn part_range(object: &Object, part: i32) -> S3Result<Range<u64>> {
    if object.parts.is_empty() && part == 1 {
        return Ok(0..object.content.len());
    }
    let mut start = 0;
    // Parts are asked for by their place; the numbers they were uploaded under may have gaps.
    for (place, stored) in (1..).zip(&object.parts) {
        if place == part {
            return Ok(start..start + stored.size);
        }
        start += stored.size;
    }
    let mut error = S3Error::with_message(
        S3ErrorCode::Custom("InvalidPartNumber".into()),
        "The requested partnumber is not satisfiable",
    );
    error.set_status_code(hyper::StatusCode::RANGE_NOT_SATISFIABLE);
    Err(error)
}

fn describe(found: &Found) -> GetObjectOutput {
    let object = &found.object;
    let said = object.described.clone();
    let sums = object.checksum.clone();
    let tags = found.entry.tags.len();
    GetObjectOutput {
        accept_ranges: Some("bytes".to_owned()),
        cache_control: said.cache_control,
        checksum_crc32: sums.checksum_crc32,
        checksum_crc32c: sums.checksum_crc32c,
        checksum_crc64nvme: sums.checksum_crc64nvme,
        checksum_sha1: sums.checksum_sha1,
        checksum_sha256: sums.checksum_sha256,
        checksum_type: sums.checksum_type,
        content_disposition: said.content_disposition,
        content_encoding: said.content_encoding,
        content_language: said.content_language,
        content_length: Some(signed(object.content.len())),
        content_type: said.content_type.or_else(|| Some("binary/octet-stream".to_owned())),
        e_tag: Some(etag(&object.etag)),
        expires: said.expires,
        last_modified: Some(found.entry.modified.into()),
        metadata: said.metadata,
        restore: found.entry.recall.as_ref().map(recall),
        storage_class: object.storage_class.clone().filter(|it| it.as_str() != standard()),
        tag_count: (tags > 0).then(|| small(tags)),
        version_id: found.version.clone(),
        website_redirect_location: said.website_redirect_location,
        ..GetObjectOutput::default()
    }
}

/// How far an object on its way out of the archive is, as the header says it.
fn recall(recall: &Recall) -> String {
    match recall {
        Recall::Ongoing { .. } => r#"ongoing-request="true""#.to_owned(),
        Recall::Until(until) => {
            let date = until.format(&Rfc2822).unwrap_or_default().replace("+0000", "GMT");
            format!(r#"ongoing-request="false", expiry-date="{date}""#)
        }
    }
}

/// The class that S3 does not name in answers about one object.
const fn standard() -> &'static str {
    StorageClass::STANDARD
}

fn without_body(output: GetObjectOutput) -> HeadObjectOutput {
    HeadObjectOutput {
        accept_ranges: output.accept_ranges,
        cache_control: output.cache_control,
        checksum_crc32: output.checksum_crc32,
        checksum_crc32c: output.checksum_crc32c,
        checksum_crc64nvme: output.checksum_crc64nvme,
        checksum_sha1: output.checksum_sha1,
        checksum_sha256: output.checksum_sha256,
        checksum_type: output.checksum_type,
        content_disposition: output.content_disposition,
        content_encoding: output.content_encoding,
        content_language: output.content_language,
        content_length: output.content_length,
        content_range: output.content_range,
        content_type: output.content_type,
        e_tag: output.e_tag,
        expires: output.expires,
        last_modified: output.last_modified,
        metadata: output.metadata,
        parts_count: output.parts_count,
        restore: output.restore,
        storage_class: output.storage_class,
        version_id: output.version_id,
        website_redirect_location: output.website_redirect_location,
        ..HeadObjectOutput::default()
    }
}

fn unchanged(object: &Object) -> S3Error {
    let mut error = S3Error::new(S3ErrorCode::NotModified);
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_str(&format!("\"{}\"", object.etag)) {
        headers.insert(ETAG, value);
    }
    error.set_headers(headers);
    error
}

/// The answer where a delete marker stands: there is no key, or, if the marker was asked for by
/// its id, this is nothing that could be read.
pub(super) fn is_marker(by_id: bool, entry: &Entry) -> S3Error {
    let mut error = if by_id {
        s3_error!(MethodNotAllowed, "The specified method is not allowed against this resource.")
    } else {
        no_such_key()
    };
    let mut headers = HeaderMap::new();
    headers.insert(DELETE_MARKER, HeaderValue::from_static("true"));
    if let Ok(value) = HeaderValue::from_str(entry.version_name()) {
        headers.insert(VERSION_ID, value);
    }
    error.set_headers(headers);
    error
}

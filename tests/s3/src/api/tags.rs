//! Object tags, from a header or from a document of their own.

use s3s::dto::{
    DeleteObjectTaggingInput, DeleteObjectTaggingOutput, GetObjectTaggingInput, GetObjectTaggingOutput,
    PutObjectTaggingInput, PutObjectTaggingOutput, Tag,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::{Api, find, no_such_key};

/// The most tags that an object can have.
const MAX_TAGS: usize = 10;

pub(super) fn get(
    api: &Api,
    request: S3Request<GetObjectTaggingInput>,
) -> S3Result<S3Response<GetObjectTaggingOutput>> {
    let input = request.input;
    let buckets = api.store.lock();
    let bucket = super::bucket(&buckets, &input.bucket)?;
    let found = find(bucket, &input.key, input.version_id.as_deref())?;
    Ok(S3Response::new(GetObjectTaggingOutput { tag_set: found.entry.tags, version_id: found.version }))
}

pub(super) fn put(
    api: &Api,
    request: S3Request<PutObjectTaggingInput>,
) -> S3Result<S3Response<PutObjectTaggingOutput>> {
    let input = request.input;
    check(&input.tagging.tag_set)?;
    let tags = input.tagging.tag_set;
    let version_id = replace(api, &input.bucket, &input.key, input.version_id.as_deref(), tags)?;
    Ok(S3Response::new(PutObjectTaggingOutput { version_id }))
}

pub(super) fn delete(
    api: &Api,
    request: S3Request<DeleteObjectTaggingInput>,
) -> S3Result<S3Response<DeleteObjectTaggingOutput>> {
    let input = request.input;
    let version = input.version_id.as_deref();
    let version_id = replace(api, &input.bucket, &input.key, version, Vec::new())?;
    Ok(S3Response::new(DeleteObjectTaggingOutput { version_id }))
}

fn replace(
    api: &Api,
    bucket: &str,
    key: &str,
    version: Option<&str>,
    tags: Vec<Tag>,
) -> S3Result<Option<String>> {
    let mut buckets = api.store.lock();
    let bucket = super::bucket_mut(&mut buckets, bucket)?;
    let shown = find(bucket, key, version)?.version;
    bucket.entry_mut(key, version).ok_or_else(no_such_key)?.tags = tags;
    Ok(shown)
}

/// The tags in a header, written like a query string.
pub(super) fn parse_header(header: Option<&str>) -> S3Result<Vec<Tag>> {
    let pairs = header.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    let tags: Option<Vec<Tag>> = pairs
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some(Tag { key: Some(decode(key)?), value: Some(decode(value)?) })
        })
        .collect();
    let tags = tags.ok_or_else(|| s3_error!(InvalidArgument, "x-amz-tagging is not URL-encoded"))?;
    check(&tags)?;
    Ok(tags)
}

fn check(tags: &[Tag]) -> S3Result<()> {
    if tags.len() > MAX_TAGS {
        return Err(s3_error!(InvalidTag, "Object tags cannot be greater than 10"));
    }
    let doubled = |at: usize, tag: &Tag| tags[..at].iter().any(|other| other.key == tag.key);
    if tags.iter().enumerate().any(|(at, tag)| doubled(at, tag)) {
        return Err(s3_error!(InvalidTag, "Cannot provide multiple Tags with the same key"));
    }
    Ok(())
}

/// Undoes form encoding: `+` is a space, `%41` is an A.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'%', [high, low, after @ ..]) => {
                let digit = |digit: u8| char::from(digit).to_digit(16);
                bytes.push(u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()?);
                rest = after;
            }
            (b'%', _) => return None,
            (b'+', _) => bytes.push(b' '),
            (byte, _) => bytes.push(*byte),
        }
    }
    String::from_utf8(bytes).ok()
}

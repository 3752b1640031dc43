//! Uploads in parts: create, complete, abort, list.

use std::collections::BTreeMap;

use md5::{Digest, Md5};
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput,
    CompleteMultipartUploadOutput, CompletedPart, CreateMultipartUploadInput, CreateMultipartUploadOutput,
    ListMultipartUploadsInput, ListMultipartUploadsOutput, MultipartUpload, StorageClass,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::conditions::Writing;
use super::list::{Cursor, Encoding, Item, walk};
use super::parts::{no_such_upload, upload_of};
use super::{Api, etag, signed, small, tags};
use crate::store::{Content, Described, Object, Part, Store, Upload, UploadedPart, now, random_id};

pub(super) fn create(
    api: &Api,
    request: S3Request<CreateMultipartUploadInput>,
) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
    let input = request.input;
    let upload = Upload {
        initiated: now(),
        described: Described {
            cache_control: input.cache_control,
            content_disposition: input.content_disposition,
            content_encoding: input.content_encoding,
            content_language: input.content_language,
            content_type: input.content_type,
            expires: input.expires,
            metadata: input.metadata,
            website_redirect_location: input.website_redirect_location,
        },
        storage_class: input.storage_class,
        tags: tags::parse_header(input.tagging.as_deref())?,
        parts: BTreeMap::new(),
    };
    let id = random_id();
    let mut buckets = api.store.lock();
    let bucket = super::bucket_mut(&mut buckets, &input.bucket)?;
    bucket.uploads.insert((input.key.clone(), id.clone()), upload);
    Ok(S3Response::new(CreateMultipartUploadOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(id),
        ..CreateMultipartUploadOutput::default()
    }))
}

pub(super) fn complete(
    api: &Api,
    request: S3Request<CompleteMultipartUploadInput>,
) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
    let input = request.input;
    let conditions = Writing { if_match: input.if_match, if_none_match: input.if_none_match };
    let named = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
    let at = (input.key, input.upload_id);
    let mut buckets = api.store.lock();
    let bucket = super::bucket_mut(&mut buckets, &input.bucket)?;
    let parts = choose(&upload_of(bucket, &at)?.parts, &named, api.min_part_size)?;
    conditions.check(bucket, &at.0)?;
    let mut object = assemble(&parts, &api.store);
    if input.mpu_object_size.is_some_and(|size| size != signed(object.content.len())) {
        return Err(s3_error!(
            InvalidRequest,
            "The provided 'x-amz-mp-object-size' header does not match what was computed"
        ));
    }
    let upload = bucket.uploads.remove(&at).ok_or_else(no_such_upload)?;
    object.described = upload.described;
    object.storage_class = upload.storage_class;
    let e_tag = Some(etag(&object.etag));
    let version_id = bucket.insert(&at.0, object, upload.tags);
    Ok(S3Response::new(CompleteMultipartUploadOutput {
        location: Some(format!("/{}/{}", input.bucket, at.0)),
        bucket: Some(input.bucket),
        key: Some(at.0),
        e_tag,
        version_id,
        ..CompleteMultipartUploadOutput::default()
    }))
}

/// The parts that the client names, if they are there, in order, and large enough.
fn choose(
    stored: &BTreeMap<i32, UploadedPart>,
    named: &[CompletedPart],
    min_size: u64,
) -> S3Result<Vec<(i32, UploadedPart)>> {
    if named.is_empty() {
        return Err(s3_error!(MalformedXML, "You must specify at least one part"));
    }
    let number = |part: &CompletedPart| part.part_number.unwrap_or(0);
    if named.windows(2).any(|pair| number(&pair[0]) >= number(&pair[1])) {
        return Err(s3_error!(
            InvalidPartOrder,
            "The list of parts was not in ascending order. Parts must be ordered by part number."
        ));
    }
    let mut chosen = Vec::with_capacity(named.len());
    for part in named {
        let found = stored
            .get(&number(part))
            .filter(|found| part.e_tag.as_ref().is_some_and(|given| given.value() == found.etag));
        let Some(found) = found else {
            return Err(s3_error!(
                InvalidPart,
                "One or more of the specified parts could not be found. The part may not have \
                 been uploaded, or the specified entity tag may not match the part's entity tag."
            ));
        };
        chosen.push((number(part), found.clone()));
    }
    let all_but_last = chosen.iter().take(chosen.len() - 1);
    if all_but_last.into_iter().any(|(_, part)| part.content.len() < min_size) {
        return Err(s3_error!(
            EntityTooSmall,
            "Your proposed upload is smaller than the minimum allowed size"
        ));
    }
    Ok(chosen)
}

/// Joins the parts; the ETag is the sum over the parts' sums with their number behind it.
fn assemble(parts: &[(i32, UploadedPart)], store: &Store) -> Object {
    let mut sums = Md5::new();
    for (_, part) in parts {
        sums.update(part.md5);
    }
    let etag = format!("{}-{}", store.etag(sums.finalize().into()), parts.len());
    let content = Content::join(parts.iter().map(|(_, part)| &part.content));
    let mut object = Object::unsummed(content, etag);
    object.parts = parts
        .iter()
        .map(|(number, part)| Part {
            number: *number,
            size: part.content.len(),
            checksum: part.checksum.clone(),
        })
        .collect();
    object
}

pub(super) fn abort(
    api: &Api,
    request: S3Request<AbortMultipartUploadInput>,
) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
    let input = request.input;
    let mut buckets = api.store.lock();
    let bucket = super::bucket_mut(&mut buckets, &input.bucket)?;
    match bucket.uploads.remove(&(input.key, input.upload_id)) {
        Some(_) => Ok(S3Response::new(AbortMultipartUploadOutput::default())),
        None => Err(no_such_upload()),
    }
}

pub(super) fn list(
    api: &Api,
    request: S3Request<ListMultipartUploadsInput>,
) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
    let input = request.input;
    let encoding = Encoding::of(input.encoding_type.as_ref());
    let prefix = input.prefix.clone().unwrap_or_default();
    let key_marker = input.key_marker.clone().unwrap_or_default();
    let id_marker = input.upload_id_marker.clone().unwrap_or_default();
    let buckets = api.store.lock();
    let bucket = super::bucket(&buckets, &input.bucket)?;
    // Uploads of one key count one by one, so they are walked by key and id together.
    let entries = bucket.uploads.iter().filter(|((key, id), _)| match &*id_marker {
        "" => *key > key_marker || key_marker.is_empty(),
        marker => (key, id.as_str()) > (&key_marker, marker),
    });
    let keyed = entries.map(|((key, id), upload)| (key.as_str(), (id, upload)));
    let page = walk(keyed, &Cursor::new(&prefix, input.delimiter.as_deref(), input.max_uploads));
    let (mut uploads, mut prefixes) = (Vec::new(), Vec::new());
    let (mut next_key, mut next_id) = (None, None);
    for item in page.items {
        match item {
            Item::Key(key, (id, upload)) => {
                (next_key, next_id) = (Some(encoding.apply(key)), Some(id.clone()));
                uploads.push(listed(encoding.apply(key), id, upload));
            }
            Item::Prefix(common) => {
                (next_key, next_id) = (Some(encoding.apply(&common)), None);
                prefixes.push(encoding.common(&common));
            }
        }
    }
    Ok(S3Response::new(ListMultipartUploadsOutput {
        bucket: Some(input.bucket),
        common_prefixes: (!prefixes.is_empty()).then_some(prefixes),
        delimiter: input.delimiter.map(|it| encoding.apply(&it)),
        encoding_type: input.encoding_type,
        is_truncated: Some(page.truncated),
        key_marker: Some(encoding.apply(&key_marker)),
        max_uploads: Some(small(page.limit)),
        next_key_marker: next_key.filter(|_| page.truncated),
        next_upload_id_marker: next_id.filter(|_| page.truncated),
        prefix: Some(encoding.apply(&prefix)),
        upload_id_marker: input.upload_id_marker,
        uploads: Some(uploads),
        ..ListMultipartUploadsOutput::default()
    }))
}

fn listed(key: String, id: &str, upload: &Upload) -> MultipartUpload {
    let standard = || StorageClass::from_static(StorageClass::STANDARD);
    MultipartUpload {
        initiated: Some(upload.initiated.into()),
        key: Some(key),
        storage_class: Some(upload.storage_class.clone().unwrap_or_else(standard)),
        upload_id: Some(id.to_owned()),
        ..MultipartUpload::default()
    }
}

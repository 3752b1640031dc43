//! ListObjectVersions.

use std::ops::Bound;

use s3s::dto::{
    DeleteMarkerEntry, ListObjectVersionsInput, ListObjectVersionsOutput, ObjectVersion,
    ObjectVersionStorageClass,
};
use s3s::{S3Request, S3Response, S3Result};

use super::list::{Cursor, Encoding, Item, walk};
use super::{Api, etag, signed, small};
use crate::store::{Bucket, Entry, Object};

pub(super) fn list(
    api: &Api,
    request: S3Request<ListObjectVersionsInput>,
) -> S3Result<S3Response<ListObjectVersionsOutput>> {
    let input = request.input;
    let encoding = Encoding::of(input.encoding_type.as_ref());
    let prefix = input.prefix.clone().unwrap_or_default();
    let key_marker = input.key_marker.clone().unwrap_or_default();
    let buckets = api.store.lock();
    let bucket = super::bucket(&buckets, &input.bucket)?;
    let entries = behind(bucket, &key_marker, input.version_id_marker.as_deref());
    let cursor = Cursor::new(&prefix, input.delimiter.as_deref(), input.max_keys);
    let page = walk(entries, &cursor.after(&key_marker));
    let (mut versions, mut markers, mut prefixes) = (Vec::new(), Vec::new(), Vec::new());
    let (mut next_key, mut next_version) = (None, None);
    for item in page.items {
        match item {
            Item::Key(key, (entry, is_latest)) => {
                let key = encoding.apply(key);
                next_key = Some(key.clone());
                next_version = Some(entry.version_name().to_owned());
                match entry.object.as_deref() {
                    Some(object) => versions.push(version(key, entry, object, is_latest)),
                    None => markers.push(marker(key, entry, is_latest)),
                }
            }
            Item::Prefix(common) => {
                (next_key, next_version) = (Some(encoding.apply(&common)), None);
                prefixes.push(encoding.common(&common));
            }
        }
    }
    Ok(S3Response::new(ListObjectVersionsOutput {
        common_prefixes: (!prefixes.is_empty()).then_some(prefixes),
        delete_markers: (!markers.is_empty()).then_some(markers),
        delimiter: input.delimiter.map(|it| encoding.apply(&it)),
        encoding_type: input.encoding_type,
        is_truncated: Some(page.truncated),
        key_marker: Some(encoding.apply(&key_marker)),
        max_keys: Some(small(page.limit)),
        name: Some(input.bucket),
        next_key_marker: next_key.filter(|_| page.truncated),
        next_version_id_marker: next_version.filter(|_| page.truncated),
        prefix: Some(encoding.apply(&prefix)),
        version_id_marker: input.version_id_marker,
        versions: (!versions.is_empty()).then_some(versions),
        ..ListObjectVersionsOutput::default()
    }))
}

/// All versions behind the markers: keys in order, of each key the newest version first.
fn behind<'a>(
    bucket: &'a Bucket,
    key_marker: &'a str,
    version_marker: Option<&'a str>,
) -> impl Iterator<Item = (&'a str, (&'a Entry, bool))> {
    let keys = bucket.keys.range::<str, _>((Bound::Included(key_marker), Bound::Unbounded));
    keys.flat_map(move |(key, entries)| {
        let at_marker = key == key_marker && !key_marker.is_empty();
        // How many of the newest versions have been listed before.
        let skip = match version_marker {
            _ if !at_marker => 0,
            None => entries.len(),
            Some(version) => {
                let place = entries.iter().rev().position(|it| it.version_name() == version);
                place.map_or(entries.len(), |place| place + 1)
            }
        };
        let newest_first = entries.iter().rev().enumerate().skip(skip);
        newest_first.map(move |(place, entry)| (key.as_str(), (entry, place == 0)))
    })
}

fn version(key: String, entry: &Entry, object: &Object, is_latest: bool) -> ObjectVersion {
    let class = object.storage_class.as_ref();
    let class = class.map_or(ObjectVersionStorageClass::STANDARD, |it| it.as_str());
    ObjectVersion {
        e_tag: Some(etag(&object.etag)),
        is_latest: Some(is_latest),
        key: Some(key),
        last_modified: Some(entry.modified.into()),
        size: Some(signed(object.content.len())),
        storage_class: Some(ObjectVersionStorageClass::from(class.to_owned())),
        version_id: Some(entry.version_name().to_owned()),
        ..ObjectVersion::default()
    }
}

fn marker(key: String, entry: &Entry, is_latest: bool) -> DeleteMarkerEntry {
    DeleteMarkerEntry {
        is_latest: Some(is_latest),
        key: Some(key),
        last_modified: Some(entry.modified.into()),
        owner: None,
        version_id: Some(entry.version_name().to_owned()),
    }
}

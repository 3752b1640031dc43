//! ListObjectsV2, and the walk over keys that all listings share.

use std::ops::Bound;

use s3s::dto::{
    CommonPrefix, EncodingType, ListObjectsV2Input, ListObjectsV2Output, Object as Listed, ObjectStorageClass,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::{Api, etag, signed, small};
use crate::store::{Bucket, Entry, Object, hex};

/// The most entries in one answer.
const MAX_KEYS: i32 = 1_000;

/// Which keys to list, and how many.
pub(super) struct Cursor<'a> {
    prefix: &'a str,
    delimiter: Option<&'a str>,
    /// A common prefix that the page before ended with, so that it is not listed again.
    after: &'a str,
    limit: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(prefix: &'a str, delimiter: Option<&'a str>, limit: Option<i32>) -> Self {
        let limit = limit.unwrap_or(MAX_KEYS).clamp(0, MAX_KEYS);
        let delimiter = delimiter.filter(|it| !it.is_empty());
        Self { prefix, delimiter, after: "", limit: usize::try_from(limit).unwrap_or(0) }
    }

    pub(super) fn after(mut self, after: &'a str) -> Self {
        self.after = after;
        self
    }

    /// The beginning of a key up to the first delimiter behind the prefix.
    fn common<'k>(&self, key: &'k str) -> Option<&'k str> {
        let delimiter = self.delimiter?;
        let at = key[self.prefix.len()..].find(delimiter)?;
        Some(&key[..self.prefix.len() + at + delimiter.len()])
    }
}

/// One line of a listing.
pub(super) enum Item<'k, T> {
    Key(&'k str, T),
    Prefix(String),
}

/// One page of a listing.
pub(super) struct Page<'k, T> {
    pub(super) items: Vec<Item<'k, T>>,
    pub(super) truncated: bool,
    pub(super) limit: usize,
}

/// Lists entries that come in the order of their keys and begin behind the marker.
pub(super) fn walk<'k, T>(entries: impl Iterator<Item = (&'k str, T)>, cursor: &Cursor<'_>) -> Page<'k, T> {
    let mut page = Page { items: Vec::new(), truncated: false, limit: cursor.limit };
    if cursor.limit == 0 {
        return page;
    }
    let mut last_common = cursor.after;
    for (key, entry) in entries {
        if !key.starts_with(cursor.prefix) {
            if key > cursor.prefix {
                break;
            }
            continue;
        }
        let common = cursor.common(key);
        if common.is_some_and(|common| common == last_common) {
            continue;
        }
        if page.items.len() == cursor.limit {
            page.truncated = true;
            break;
        }
        match common {
            Some(common) => {
                last_common = common;
                page.items.push(Item::Prefix(common.to_owned()));
            }
            None => page.items.push(Item::Key(key, entry)),
        }
    }
    page
}

/// How keys are written into an answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Encoding {
    url: bool,
}

impl Encoding {
    pub(super) fn of(asked: Option<&EncodingType>) -> Self {
        Self { url: asked.is_some_and(|it| it.as_str() == EncodingType::URL) }
    }

    pub(super) fn apply(self, text: &str) -> String {
        if !self.url {
            return text.to_owned();
        }
        let mut encoded = String::with_capacity(text.len());
        for byte in text.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'*' | b'/' => {
                    encoded.push(char::from(byte));
                }
                b' ' => encoded.push('+'),
                _ => {
                    encoded.push('%');
                    encoded.push_str(&hex(&[byte]).to_ascii_uppercase());
                }
            }
        }
        encoded
    }

    pub(super) fn common(self, prefix: &str) -> CommonPrefix {
        CommonPrefix { prefix: Some(self.apply(prefix)) }
    }
}

pub(super) fn objects(
    api: &Api,
    request: S3Request<ListObjectsV2Input>,
) -> S3Result<S3Response<ListObjectsV2Output>> {
    let input = request.input;
    let encoding = Encoding::of(input.encoding_type.as_ref());
    let prefix = input.prefix.clone().unwrap_or_default();
    let after = match &input.continuation_token {
        Some(token) => from_token(token)?,
        None => input.start_after.clone().unwrap_or_default(),
    };
    let buckets = api.store.lock();
    let bucket = super::bucket(&buckets, &input.bucket)?;
    let live = live(bucket, &prefix, &after);
    let cursor = Cursor::new(&prefix, input.delimiter.as_deref(), input.max_keys).after(&after);
    let page = walk(live, &cursor);
    let count = page.items.len();
    let (mut contents, mut prefixes, mut last) = (Vec::new(), Vec::new(), String::new());
    for item in page.items {
        match item {
            Item::Key(key, (entry, object)) => {
                key.clone_into(&mut last);
                contents.push(listed(encoding.apply(key), entry, object));
            }
            Item::Prefix(common) => {
                prefixes.push(encoding.common(&common));
                last = common;
            }
        }
    }
    Ok(S3Response::new(ListObjectsV2Output {
        common_prefixes: (!prefixes.is_empty()).then_some(prefixes),
        contents: Some(contents),
        continuation_token: input.continuation_token,
        delimiter: input.delimiter.map(|it| encoding.apply(&it)),
        encoding_type: input.encoding_type,
        is_truncated: Some(page.truncated),
        key_count: Some(small(count)),
        max_keys: Some(small(page.limit)),
        name: Some(input.bucket),
        next_continuation_token: page.truncated.then(|| hex(last.as_bytes())),
        prefix: Some(encoding.apply(&prefix)),
        start_after: input.start_after.map(|it| encoding.apply(&it)),
        ..ListObjectsV2Output::default()
    }))
}

/// The current objects behind a key, from the first that can have the prefix.
pub(super) fn live<'a>(
    bucket: &'a Bucket,
    prefix: &str,
    after: &str,
) -> impl Iterator<Item = (&'a str, (&'a Entry, &'a Object))> {
    let start =
        if after >= prefix && !after.is_empty() { Bound::Excluded(after) } else { Bound::Included(prefix) };
    let entries = bucket.keys.range::<str, _>((start, Bound::Unbounded));
    entries.filter_map(|(key, entries)| {
        let entry = entries.last()?;
        Some((key.as_str(), (entry, entry.object.as_deref()?)))
    })
}

pub(super) fn listed(key: String, entry: &Entry, object: &Object) -> Listed {
    let class = object.storage_class.as_ref().map_or(ObjectStorageClass::STANDARD, |it| it.as_str());
    Listed {
        e_tag: Some(etag(&object.etag)),
        key: Some(key),
        last_modified: Some(entry.modified.into()),
        size: Some(signed(object.content.len())),
        storage_class: Some(ObjectStorageClass::from(class.to_owned())),
        ..Listed::default()
    }
}

/// The key or common prefix that the page before ended with.
fn from_token(token: &str) -> S3Result<String> {
    let digits: Option<Vec<u32>> = token.chars().map(|digit| digit.to_digit(16)).collect();
    let bytes = digits
        .filter(|digits| digits.len() % 2 == 0)
        .and_then(|digits| digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).ok()).collect());
    bytes
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| s3_error!(InvalidArgument, "The continuation token provided is incorrect"))
}

//! ListObjects in its first version, which older tools still use.

use s3s::dto::{ListObjectsInput, ListObjectsOutput};
use s3s::{S3Request, S3Response, S3Result};

use super::list::{Cursor, Encoding, Item, listed, live, walk};
use super::{Api, small};

pub(super) fn objects(
    api: &Api,
    request: S3Request<ListObjectsInput>,
) -> S3Result<S3Response<ListObjectsOutput>> {
    let input = request.input;
    let encoding = Encoding::of(input.encoding_type.as_ref());
    let prefix = input.prefix.clone().unwrap_or_default();
    let marker = input.marker.clone().unwrap_or_default();
    let buckets = api.store.lock();
    let bucket = super::bucket(&buckets, &input.bucket)?;
    let cursor = Cursor::new(&prefix, input.delimiter.as_deref(), input.max_keys).after(&marker);
    let page = walk(live(bucket, &prefix, &marker), &cursor);
    let (mut contents, mut prefixes, mut last) = (Vec::new(), Vec::new(), None);
    for item in page.items {
        match item {
            Item::Key(key, (entry, object)) => {
                last = Some(encoding.apply(key));
                contents.push(listed(encoding.apply(key), entry, object));
            }
            Item::Prefix(common) => {
                last = Some(encoding.apply(&common));
                prefixes.push(encoding.common(&common));
            }
        }
    }
    // Without a delimiter the last key serves as the next marker, and S3 names none.
    let folds = input.delimiter.is_some();
    Ok(S3Response::new(ListObjectsOutput {
        common_prefixes: (!prefixes.is_empty()).then_some(prefixes),
        contents: Some(contents),
        delimiter: input.delimiter.map(|it| encoding.apply(&it)),
        encoding_type: input.encoding_type,
        is_truncated: Some(page.truncated),
        marker: Some(encoding.apply(&marker)),
        max_keys: Some(small(page.limit)),
        name: Some(input.bucket),
        next_marker: last.filter(|_| page.truncated && folds),
        prefix: Some(encoding.apply(&prefix)),
        ..ListObjectsOutput::default()
    }))
}

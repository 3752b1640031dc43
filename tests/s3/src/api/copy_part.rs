//! UploadPartCopy.

use s3s::dto::{Checksum, CopyPartResult, Range, UploadPartCopyInput, UploadPartCopyOutput};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::conditions::Reading;
use super::copy::{source, too_large};
use super::{Api, etag, parts};
use crate::store::{Md5Sum, UploadedPart, now};

pub(super) fn copy(
    api: &Api,
    request: S3Request<UploadPartCopyInput>,
) -> S3Result<S3Response<UploadPartCopyOutput>> {
    let input = request.input;
    parts::check_number(input.part_number)?;
    let at = (input.key.clone(), input.upload_id.clone());
    parts::upload_of(super::bucket(&api.store.lock(), &input.bucket)?, &at)?;
    let conditions = Reading {
        if_match: input.copy_source_if_match.as_ref(),
        if_none_match: input.copy_source_if_none_match.as_ref(),
        if_modified_since: input.copy_source_if_modified_since.as_ref(),
        if_unmodified_since: input.copy_source_if_unmodified_since.as_ref(),
    };
    let source = source(api, &input.copy_source, &conditions)?;
    let whole = source.object.content.len();
    let range = match &input.copy_source_range {
        None => 0..whole,
        Some(header) => part_range(header, whole)?,
    };
    if range.end - range.start > api.max_copy_size {
        return Err(too_large(api));
    }
    let entire = range == (0..whole);
    let content = source.object.content.slice(range);
    let md5 = match (api.store.sums(), entire) {
        (false, _) => Md5Sum::default(),
        (true, true) => source.object.md5(),
        (true, false) => content.md5(),
    };
    let etag_value = api.store.etag(md5);
    let result = CopyPartResult {
        e_tag: Some(etag(&etag_value)),
        last_modified: Some(now().into()),
        ..CopyPartResult::default()
    };
    let part =
        UploadedPart { content, md5, etag: etag_value, modified: now(), checksum: Checksum::default() };
    parts::store(api, &input.bucket, &at, input.part_number, part)?;
    Ok(S3Response::new(UploadPartCopyOutput {
        copy_part_result: Some(result),
        copy_source_version_id: source.version,
        ..UploadPartCopyOutput::default()
    }))
}

/// Unlike a read's, this range must name both ends and lie within the source.
fn part_range(header: &str, whole: u64) -> S3Result<std::ops::Range<u64>> {
    match Range::parse(header) {
        Ok(Range::Int { first, last: Some(last) }) if last < whole => Ok(first..last + 1),
        Ok(Range::Int { last: Some(_), .. }) => {
            Err(s3_error!(InvalidArgument, "Range specified is not valid for source object of size: {whole}"))
        }
        _ => Err(s3_error!(
            InvalidArgument,
            "The x-amz-copy-source-range value must be of the form bytes=first-last"
        )),
    }
}

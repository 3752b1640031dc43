//! RestoreObject: an object of an archive class becomes readable for some days, when a test says that it has come.

use s3s::dto::{RestoreObjectInput, RestoreObjectOutput};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::{Api, no_such_key};
use crate::store::Recall;

pub(super) fn object(
    api: &Api,
    request: S3Request<RestoreObjectInput>,
) -> S3Result<S3Response<RestoreObjectOutput>> {
    let input = request.input;
    let wanted = input.restore_request.and_then(|wanted| wanted.days);
    let Some(days) = wanted.filter(|days| *days > 0) else {
        return Err(s3_error!(MalformedXML, "Days is required, and at least 1."));
    };
    let mut buckets = api.store.lock();
    let bucket = super::bucket_mut(&mut buckets, &input.bucket)?;
    let entry = bucket.entry_mut(&input.key, input.version_id.as_deref()).ok_or_else(no_such_key)?;
    if entry.object.is_none() {
        return Err(no_such_key());
    }
    if !entry.in_archive() {
        return Err(s3_error!(
            InvalidObjectState,
            "Restore is not allowed for the object's current storage class"
        ));
    }
    match entry.recall {
        Some(Recall::Ongoing { .. }) => {
            return Err(s3_error!(RestoreAlreadyInProgress, "Object restore is already in progress"));
        }
        // The S3 layer answers 200 for both; Amazon says 202 for the first.
        Some(Recall::Until(_)) => entry.recall = Some(Recall::of_days(days)),
        None => entry.recall = Some(Recall::Ongoing { days }),
    }
    Ok(S3Response::new(RestoreObjectOutput::default()))
}

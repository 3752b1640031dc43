//! DeleteObject and DeleteObjects, with conditions on what is deleted.
//!
//! A condition on a key that has no current object is answered with 404, and in a batch with
//! NoSuchKey for that key. AWS's guide, "How to perform conditional deletes", names 404 Not Found
//! for a key that is gone by then and 412 only for another ETag; observations of the service
//! (ministackorg/ministack#1458) show 404 for absent keys and for delete markers alike.

use s3s::dto::{
    DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject,
    ETagCondition, Error, ObjectIdentifier,
};
use s3s::{S3Error, S3Request, S3Response, S3Result, s3_error};

use super::Api;
use super::conditions::Writing;
use crate::faults::KeyFault;
use crate::gate::Ticket;
use crate::rule::When;
use crate::store::{Bucket, Deletion};

/// The most keys in one request.
const MAX_KEYS: usize = 1_000;

/// The longest key in bytes; for keys in the path the S3 layer sees to it.
const MAX_KEY: usize = 1_024;

pub(super) fn one(
    api: &Api,
    request: S3Request<DeleteObjectInput>,
) -> S3Result<S3Response<DeleteObjectOutput>> {
    let input = request.input;
    let honoured = api.honours(input.if_match.is_some())?;
    let conditions = Writing { if_match: input.if_match.filter(|_| honoured), if_none_match: None };
    let mut buckets = api.store.lock();
    let bucket = super::bucket_mut(&mut buckets, &input.bucket)?;
    conditions.check(bucket, &input.key)?;
    let done = bucket.delete(&input.key, input.version_id.as_deref());
    Ok(S3Response::new(DeleteObjectOutput {
        delete_marker: done.marker.then_some(true),
        version_id: done.version,
        ..DeleteObjectOutput::default()
    }))
}

pub(super) fn many(
    api: &Api,
    request: S3Request<DeleteObjectsInput>,
) -> S3Result<S3Response<DeleteObjectsOutput>> {
    let input = request.input;
    let objects = input.delete.objects;
    if objects.is_empty() || objects.len() > MAX_KEYS {
        return Err(s3_error!(
            MalformedXML,
            "The XML you provided was not well-formed or did not validate against our published \
             schema"
        ));
    }
    let honoured = api.honours(objects.iter().any(|id| id.e_tag.is_some()))?;
    let faults = request.extensions.get::<Ticket>().map(Ticket::take_key_faults);
    let faults = faults.unwrap_or_default();
    let (mut deleted, mut errors) = (Vec::new(), Vec::new());
    {
        let mut buckets = api.store.lock();
        let bucket = super::bucket_mut(&mut buckets, &input.bucket)?;
        for id in objects {
            match delete(bucket, &id, honoured, &faults) {
                Ok(done) => deleted.push(report(id, done)),
                Err(error) => errors.push(complaint(id, &error)),
            }
        }
    }
    let quiet = input.delete.quiet.unwrap_or(false);
    Ok(S3Response::new(DeleteObjectsOutput {
        deleted: (!quiet).then_some(deleted),
        errors: Some(errors),
        request_charged: None,
    }))
}

fn delete(
    bucket: &mut Bucket,
    id: &ObjectIdentifier,
    honoured: bool,
    faults: &[KeyFault],
) -> S3Result<Deletion> {
    let met = |fault: &&KeyFault| fault.key.as_ref().is_none_or(|key| *key == id.key);
    let fault = faults.iter().find(met);
    if let Some(fault) = fault.filter(|fault| fault.when == When::Before) {
        return Err(made_by_rule(fault));
    }
    if id.key.len() > MAX_KEY {
        return Err(s3_error!(KeyTooLongError, "Your key is too long"));
    }
    let wanted = id.e_tag.clone().filter(|_| honoured).map(|etag| match etag.value() {
        "*" => ETagCondition::Any,
        _ => ETagCondition::ETag(etag),
    });
    Writing { if_match: wanted, if_none_match: None }.check(bucket, &id.key)?;
    let done = bucket.delete(&id.key, id.version_id.as_deref());
    match fault {
        Some(fault) => Err(made_by_rule(fault)),
        None => Ok(done),
    }
}

fn made_by_rule(fault: &KeyFault) -> S3Error {
    let code = s3s::S3ErrorCode::from_bytes(fault.code.as_bytes());
    let code = code.unwrap_or(s3s::S3ErrorCode::InternalError);
    S3Error::with_message(code, "Made by a rule")
}

fn report(id: ObjectIdentifier, done: Deletion) -> DeletedObject {
    let marker_id = done.version.filter(|_| done.marker);
    DeletedObject {
        delete_marker: done.marker.then_some(true),
        delete_marker_version_id: marker_id,
        key: Some(id.key),
        version_id: id.version_id,
    }
}

fn complaint(id: ObjectIdentifier, error: &S3Error) -> Error {
    Error {
        code: Some(error.code().as_str().to_owned()),
        key: Some(id.key),
        message: error.message().map(str::to_owned),
        version_id: id.version_id,
    }
}

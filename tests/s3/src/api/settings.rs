//! A bucket's settings: versioning, and a lifecycle that is kept but never carried out.

use s3s::dto::{
    DeleteBucketLifecycleInput, DeleteBucketLifecycleOutput, GetBucketLifecycleConfigurationInput,
    GetBucketLifecycleConfigurationOutput, GetBucketVersioningInput, GetBucketVersioningOutput,
    PutBucketLifecycleConfigurationInput, PutBucketLifecycleConfigurationOutput, PutBucketVersioningInput,
    PutBucketVersioningOutput,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::Api;

pub(super) fn get_versioning(
    api: &Api,
    request: S3Request<GetBucketVersioningInput>,
) -> S3Result<S3Response<GetBucketVersioningOutput>> {
    let buckets = api.store.lock();
    let status = super::bucket(&buckets, &request.input.bucket)?.versioning.clone();
    Ok(S3Response::new(GetBucketVersioningOutput { mfa_delete: None, status }))
}

pub(super) fn put_versioning(
    api: &Api,
    request: S3Request<PutBucketVersioningInput>,
) -> S3Result<S3Response<PutBucketVersioningOutput>> {
    let Some(status) = request.input.versioning_configuration.status else {
        return Err(s3_error!(IllegalVersioningConfigurationException, "A status is needed"));
    };
    let mut buckets = api.store.lock();
    super::bucket_mut(&mut buckets, &request.input.bucket)?.versioning = Some(status);
    Ok(S3Response::new(PutBucketVersioningOutput {}))
}

pub(super) fn get_lifecycle(
    api: &Api,
    request: S3Request<GetBucketLifecycleConfigurationInput>,
) -> S3Result<S3Response<GetBucketLifecycleConfigurationOutput>> {
    let buckets = api.store.lock();
    let Some(kept) = super::bucket(&buckets, &request.input.bucket)?.lifecycle.clone() else {
        return Err(s3_error!(NoSuchLifecycleConfiguration, "The lifecycle configuration does not exist"));
    };
    Ok(S3Response::new(GetBucketLifecycleConfigurationOutput {
        rules: Some(kept.rules),
        transition_default_minimum_object_size: None,
    }))
}

pub(super) fn put_lifecycle(
    api: &Api,
    request: S3Request<PutBucketLifecycleConfigurationInput>,
) -> S3Result<S3Response<PutBucketLifecycleConfigurationOutput>> {
    let mut buckets = api.store.lock();
    let bucket = super::bucket_mut(&mut buckets, &request.input.bucket)?;
    bucket.lifecycle = request.input.lifecycle_configuration;
    Ok(S3Response::new(PutBucketLifecycleConfigurationOutput::default()))
}

pub(super) fn delete_lifecycle(
    api: &Api,
    request: S3Request<DeleteBucketLifecycleInput>,
) -> S3Result<S3Response<DeleteBucketLifecycleOutput>> {
    let mut buckets = api.store.lock();
    super::bucket_mut(&mut buckets, &request.input.bucket)?.lifecycle = None;
    Ok(S3Response::new(DeleteBucketLifecycleOutput {}))
}

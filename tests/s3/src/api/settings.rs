//! A bucket's settings: versioning, and what is kept but never carried out: lifecycle, Object Lock, encryption.

use s3s::dto::{
    BucketVersioningStatus, DeleteBucketLifecycleInput, DeleteBucketLifecycleOutput,
    GetBucketEncryptionInput, GetBucketEncryptionOutput, GetBucketLifecycleConfigurationInput,
    GetBucketLifecycleConfigurationOutput, GetBucketVersioningInput, GetBucketVersioningOutput,
    GetObjectLockConfigurationInput, GetObjectLockConfigurationOutput, PutBucketEncryptionInput,
    PutBucketEncryptionOutput, PutBucketLifecycleConfigurationInput, PutBucketLifecycleConfigurationOutput,
    PutBucketVersioningInput, PutBucketVersioningOutput, PutObjectLockConfigurationInput,
    PutObjectLockConfigurationOutput, ServerSideEncryption, ServerSideEncryptionByDefault,
    ServerSideEncryptionConfiguration, ServerSideEncryptionRule,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

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

/// Amazon encrypts every bucket's new objects by SSE-S3, where nothing else is set.
pub(super) fn get_encryption(
    api: &Api,
    request: S3Request<GetBucketEncryptionInput>,
) -> S3Result<S3Response<GetBucketEncryptionOutput>> {
    let buckets = api.store.lock();
    let kept = super::bucket(&buckets, &request.input.bucket)?.encryption.clone();
    let by_default = || {
        let algorithm = ServerSideEncryption::from_static(ServerSideEncryption::AES256);
        let rule = ServerSideEncryptionRule {
            apply_server_side_encryption_by_default: Some(ServerSideEncryptionByDefault {
                kms_master_key_id: None,
                sse_algorithm: algorithm,
            }),
            bucket_key_enabled: Some(false),
        };
        ServerSideEncryptionConfiguration { rules: vec![rule] }
    };
    Ok(S3Response::new(GetBucketEncryptionOutput {
        server_side_encryption_configuration: Some(kept.unwrap_or_else(by_default)),
    }))
}

pub(super) fn put_encryption(
    api: &Api,
    request: S3Request<PutBucketEncryptionInput>,
) -> S3Result<S3Response<PutBucketEncryptionOutput>> {
    let mut buckets = api.store.lock();
    let bucket = super::bucket_mut(&mut buckets, &request.input.bucket)?;
    bucket.encryption = Some(request.input.server_side_encryption_configuration);
    Ok(S3Response::new(PutBucketEncryptionOutput {}))
}

pub(super) fn get_object_lock(
    api: &Api,
    request: S3Request<GetObjectLockConfigurationInput>,
) -> S3Result<S3Response<GetObjectLockConfigurationOutput>> {
    let buckets = api.store.lock();
    let Some(kept) = super::bucket(&buckets, &request.input.bucket)?.object_lock.clone() else {
        let code = S3ErrorCode::ObjectLockConfigurationNotFoundError;
        return Err(S3Error::with_message(code, "Object Lock configuration does not exist for this bucket"));
    };
    Ok(S3Response::new(GetObjectLockConfigurationOutput { object_lock_configuration: Some(kept) }))
}

/// Object Lock is for buckets that keep versions.
pub(super) fn put_object_lock(
    api: &Api,
    request: S3Request<PutObjectLockConfigurationInput>,
) -> S3Result<S3Response<PutObjectLockConfigurationOutput>> {
    let mut buckets = api.store.lock();
    let bucket = super::bucket_mut(&mut buckets, &request.input.bucket)?;
    if bucket.versioning.as_ref().is_none_or(|status| status.as_str() != BucketVersioningStatus::ENABLED) {
        return Err(s3_error!(
            InvalidBucketState,
            "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration"
        ));
    }
    bucket.object_lock = request.input.object_lock_configuration;
    Ok(S3Response::new(PutObjectLockConfigurationOutput::default()))
}

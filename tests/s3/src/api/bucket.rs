//! Buckets themselves: make, find, list, remove.

use std::collections::btree_map;

use s3s::dto::{
    Bucket as BucketDto, CreateBucketInput, CreateBucketOutput, DeleteBucketInput, DeleteBucketOutput,
    GetBucketLocationInput, GetBucketLocationOutput, HeadBucketInput, HeadBucketOutput, ListBucketsInput,
    ListBucketsOutput, Owner,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::Api;
use crate::store::{Bucket, now};

/// The region that all buckets are in.
const REGION: &str = "us-east-1";

pub(super) fn list(api: &Api, _: S3Request<ListBucketsInput>) -> S3Result<S3Response<ListBucketsOutput>> {
    let buckets = api.store.lock();
    let listed = buckets.iter().map(|(name, bucket)| BucketDto {
        bucket_region: None,
        creation_date: Some(bucket.created.into()),
        name: Some(name.clone()),
    });
    Ok(S3Response::new(ListBucketsOutput {
        buckets: Some(listed.collect()),
        owner: Some(Owner { display_name: None, id: Some("owner".to_owned()) }),
        ..ListBucketsOutput::default()
    }))
}

pub(super) fn create(
    api: &Api,
    request: S3Request<CreateBucketInput>,
) -> S3Result<S3Response<CreateBucketOutput>> {
    let name = request.input.bucket;
    let location = Some(format!("/{name}"));
    match api.store.lock().entry(name) {
        btree_map::Entry::Occupied(_) => Err(s3_error!(
            BucketAlreadyOwnedByYou,
            "Your previous request to create the named bucket succeeded and you already own it."
        )),
        btree_map::Entry::Vacant(vacant) => {
            vacant.insert(Bucket::new(now()));
            Ok(S3Response::new(CreateBucketOutput { location }))
        }
    }
}

pub(super) fn delete(
    api: &Api,
    request: S3Request<DeleteBucketInput>,
) -> S3Result<S3Response<DeleteBucketOutput>> {
    let mut buckets = api.store.lock();
    if !super::bucket(&buckets, &request.input.bucket)?.keys.is_empty() {
        return Err(s3_error!(BucketNotEmpty, "The bucket you tried to delete is not empty"));
    }
    buckets.remove(&request.input.bucket);
    Ok(S3Response::new(DeleteBucketOutput {}))
}

pub(super) fn head(api: &Api, request: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
    super::bucket(&api.store.lock(), &request.input.bucket)?;
    Ok(S3Response::new(HeadBucketOutput {
        bucket_region: Some(REGION.to_owned()),
        ..HeadBucketOutput::default()
    }))
}

pub(super) fn location(
    api: &Api,
    request: S3Request<GetBucketLocationInput>,
) -> S3Result<S3Response<GetBucketLocationOutput>> {
    super::bucket(&api.store.lock(), &request.input.bucket)?;
    // The first region has an empty constraint.
    Ok(S3Response::new(GetBucketLocationOutput::default()))
}

//! The S3 operations; one module for each kind, and one list of them all here.
#![allow(
    clippy::needless_pass_by_value,
    clippy::unnecessary_wraps,
    reason = "all operations are called alike, whether or not they use their request up or fail"
)]

mod attributes;
mod bucket;
mod checksums;
mod conditions;
mod copy;
mod copy_part;
mod delete;
mod list;
mod list_old;
mod multipart;
mod parts;
mod read;
mod recall;
mod settings;
mod tags;
mod versions;
mod write;

use std::sync::Arc;

#[allow(clippy::wildcard_imports, reason = "the list of operations names nearly all of it")]
use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};

use crate::options::{Conditions, Options};
use crate::store::{Bucket, Buckets, Entry, Object, Store};

/// The backend that the S3 layer calls.
#[derive(Debug)]
pub(crate) struct Api {
    store: Arc<Store>,
    conditions: Conditions,
    min_part_size: u64,
    max_copy_size: u64,
}

impl Api {
    pub(crate) fn new(store: Arc<Store>, options: &Options) -> Self {
        Self {
            store,
            conditions: options.conditions,
            min_part_size: options.min_part_size,
            max_copy_size: options.max_copy_size,
        }
    }

    /// Whether the newer conditions of a request hold good here; an error if they are refused.
    fn honours(&self, given: bool) -> S3Result<bool> {
        match self.conditions {
            Conditions::Honour => Ok(given),
            Conditions::Refuse if given => Err(s3_error!(
                NotImplemented,
                "A header you provided implies functionality that is not implemented."
            )),
            Conditions::Ignore | Conditions::Refuse => Ok(false),
        }
    }
}

fn bucket<'a>(buckets: &'a Buckets, name: &str) -> S3Result<&'a Bucket> {
    buckets.get(name).ok_or_else(no_such_bucket)
}

fn bucket_mut<'a>(buckets: &'a mut Buckets, name: &str) -> S3Result<&'a mut Bucket> {
    buckets.get_mut(name).ok_or_else(no_such_bucket)
}

fn no_such_bucket() -> s3s::S3Error {
    s3_error!(NoSuchBucket, "The specified bucket does not exist")
}

fn no_such_key() -> s3s::S3Error {
    s3_error!(NoSuchKey, "The specified key does not exist.")
}

/// An entry that is an object, with what is needed once the lock is gone.
struct Found {
    object: Arc<Object>,
    entry: Entry,
    /// The id to name in the answer.
    version: Option<String>,
}

/// The content of an object in an archive can be read only once somebody asked for it, and it came.
fn readable(found: &Found) -> S3Result<()> {
    if found.entry.is_readable() {
        return Ok(());
    }
    Err(s3_error!(InvalidObjectState, "The operation is not valid for the object's storage class"))
}

/// Finds an object for reading, by the rules for delete markers.
fn find(bucket: &Bucket, key: &str, version: Option<&str>) -> S3Result<Found> {
    let entry = match version {
        Some(version) => bucket.version(key, version)?,
        None => bucket.latest(key).ok_or_else(no_such_key)?,
    };
    let Some(object) = entry.object.clone() else {
        return Err(read::is_marker(version.is_some(), entry));
    };
    Ok(Found { object, entry: entry.clone(), version: bucket.shown(entry) })
}

/// A size or a count as the S3 layer wants it.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A list's length or limit as the S3 layer wants it.
fn small(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn etag(value: &str) -> ETag {
    ETag::Strong(value.to_owned())
}

macro_rules! delegate {
    (
        at once { $($method:ident: $input:ident => $output:ident, $to:path;)+ }
        reading a body { $($slow:ident: $slow_input:ident => $slow_output:ident, $slow_to:path;)+ }
    ) => {
        #[async_trait::async_trait]
        impl S3 for Api {
            $(async fn $method(&self, request: S3Request<$input>) -> S3Result<S3Response<$output>> {
                $to(self, request)
            })+

            $(async fn $slow(
                &self,
                request: S3Request<$slow_input>,
            ) -> S3Result<S3Response<$slow_output>> {
                $slow_to(self, request).await
            })+
        }
    };
}

delegate! {
    at once {
        list_buckets: ListBucketsInput => ListBucketsOutput, bucket::list;
        create_bucket: CreateBucketInput => CreateBucketOutput, bucket::create;
        delete_bucket: DeleteBucketInput => DeleteBucketOutput, bucket::delete;
        head_bucket: HeadBucketInput => HeadBucketOutput, bucket::head;
        get_bucket_location: GetBucketLocationInput => GetBucketLocationOutput, bucket::location;
        get_bucket_versioning: GetBucketVersioningInput => GetBucketVersioningOutput,
            settings::get_versioning;
        put_bucket_versioning: PutBucketVersioningInput => PutBucketVersioningOutput,
            settings::put_versioning;
        get_bucket_lifecycle_configuration: GetBucketLifecycleConfigurationInput
            => GetBucketLifecycleConfigurationOutput, settings::get_lifecycle;
        put_bucket_lifecycle_configuration: PutBucketLifecycleConfigurationInput
            => PutBucketLifecycleConfigurationOutput, settings::put_lifecycle;
        delete_bucket_lifecycle: DeleteBucketLifecycleInput => DeleteBucketLifecycleOutput,
            settings::delete_lifecycle;
        get_bucket_encryption: GetBucketEncryptionInput => GetBucketEncryptionOutput,
            settings::get_encryption;
        put_bucket_encryption: PutBucketEncryptionInput => PutBucketEncryptionOutput,
            settings::put_encryption;
        get_object_lock_configuration: GetObjectLockConfigurationInput
            => GetObjectLockConfigurationOutput, settings::get_object_lock;
        put_object_lock_configuration: PutObjectLockConfigurationInput
            => PutObjectLockConfigurationOutput, settings::put_object_lock;
        get_object: GetObjectInput => GetObjectOutput, read::get;
        head_object: HeadObjectInput => HeadObjectOutput, read::head;
        get_object_attributes: GetObjectAttributesInput => GetObjectAttributesOutput, attributes::get;
        delete_object: DeleteObjectInput => DeleteObjectOutput, delete::one;
        delete_objects: DeleteObjectsInput => DeleteObjectsOutput, delete::many;
        copy_object: CopyObjectInput => CopyObjectOutput, copy::object;
        list_objects: ListObjectsInput => ListObjectsOutput, list_old::objects;
        list_objects_v2: ListObjectsV2Input => ListObjectsV2Output, list::objects;
        list_object_versions: ListObjectVersionsInput => ListObjectVersionsOutput, versions::list;
        get_object_tagging: GetObjectTaggingInput => GetObjectTaggingOutput, tags::get;
        put_object_tagging: PutObjectTaggingInput => PutObjectTaggingOutput, tags::put;
        delete_object_tagging: DeleteObjectTaggingInput => DeleteObjectTaggingOutput, tags::delete;
        create_multipart_upload: CreateMultipartUploadInput => CreateMultipartUploadOutput,
            multipart::create;
        complete_multipart_upload: CompleteMultipartUploadInput => CompleteMultipartUploadOutput,
            multipart::complete;
        abort_multipart_upload: AbortMultipartUploadInput => AbortMultipartUploadOutput,
            multipart::abort;
        list_multipart_uploads: ListMultipartUploadsInput => ListMultipartUploadsOutput,
            multipart::list;
        upload_part_copy: UploadPartCopyInput => UploadPartCopyOutput, copy_part::copy;
        restore_object: RestoreObjectInput => RestoreObjectOutput, recall::object;
        list_parts: ListPartsInput => ListPartsOutput, parts::list;
    }
    reading a body {
        put_object: PutObjectInput => PutObjectOutput, write::put;
        upload_part: UploadPartInput => UploadPartOutput, parts::upload;
    }
}

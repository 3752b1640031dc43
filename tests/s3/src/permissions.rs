//! Which permissions a request needs, by Amazon's service authorization reference and the pages of each operation.

use hyper::HeaderMap;
use percent_encoding::percent_decode_str;

use crate::operation::Operation;
use crate::policy::Policy;
use crate::store::Store;

/// A request as far as permissions go.
pub(crate) struct Asking<'a> {
    pub(crate) operation: Operation,
    pub(crate) bucket: Option<&'a str>,
    pub(crate) key: Option<&'a str>,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) query: &'a str,
}

impl Asking<'_> {
    /// Does the policy allow it? `store` tells whether an object is there, and has tags.
    pub(crate) fn is_allowed(&self, policy: &Policy, store: &Store) -> bool {
        let bucket = self.bucket.unwrap_or_default();
        let Some(action) = action(self.operation, self.query.contains("versionId=")) else { return false };
        let resource = match self.key {
            None => format!("arn:aws:s3:::{bucket}"),
            Some(key) => format!("arn:aws:s3:::{bucket}/{key}"),
        };
        if !policy.allows(action, &resource) {
            return false;
        }
        let reads = matches!(self.operation, Operation::GetObject | Operation::HeadObject);
        if reads && !may_miss(policy, store, bucket, self.key.unwrap_or_default()) {
            return false;
        }
        let tags = self.headers.contains_key("x-amz-tagging");
        if tags && !policy.allows("s3:PutObjectTagging", &resource) {
            return false;
        }
        // A condition on what is there tells something of it (Amazon's pages on conditional writes and deletes).
        let conditional = !reads && self.headers.contains_key("if-match");
        if conditional && !policy.allows("s3:GetObject", &resource) {
            return false;
        }
        self.may_read_source(policy, store, &resource)
    }

    /// A copy reads its source, and the source's tags where it has some, which it then writes.
    fn may_read_source(&self, policy: &Policy, store: &Store, destination: &str) -> bool {
        let Some(source) = self.headers.get("x-amz-copy-source") else { return true };
        let source = percent_decode_str(source.to_str().unwrap_or_default()).decode_utf8_lossy();
        let source = source.trim_start_matches('/');
        let (source, version) = source
            .split_once("?versionId=")
            .map_or((source, None), |(source, version)| (source, Some(version)));
        let Some((bucket, key)) = source.split_once('/') else { return false };
        let resource = format!("arn:aws:s3:::{source}");
        let tagged = self.operation == Operation::CopyObject && has_tags(store, bucket, key, version);
        let (read, read_tags) = if version.is_some() {
            ("s3:GetObjectVersion", "s3:GetObjectVersionTagging")
        } else {
            ("s3:GetObject", "s3:GetObjectTagging")
        };
        policy.allows(read, &resource)
            && may_miss(policy, store, bucket, key)
            && (!tagged
                || policy.allows(read_tags, &resource) && policy.allows("s3:PutObjectTagging", destination))
    }
}

/// That an object is not there is told only to those who may list the bucket; others are refused.
fn may_miss(policy: &Policy, store: &Store, bucket: &str, key: &str) -> bool {
    let there = store.lock().get(bucket).is_some_and(|bucket| bucket.current(key).is_some());
    there || policy.allows("s3:ListBucket", &format!("arn:aws:s3:::{bucket}"))
}

fn has_tags(store: &Store, bucket: &str, key: &str, version: Option<&str>) -> bool {
    let buckets = store.lock();
    let source = buckets.get(bucket).and_then(|bucket| match version {
        Some(version) => bucket.version(key, version).ok(),
        None => bucket.current(key),
    });
    source.is_some_and(|entry| !entry.tags.is_empty())
}

/// The operation's own permission; nothing for what no policy here can allow.
pub(crate) fn action(operation: Operation, of_version: bool) -> Option<&'static str> {
    Some(match operation {
        Operation::GetObject | Operation::HeadObject if of_version => "s3:GetObjectVersion",
        Operation::GetObject | Operation::HeadObject | Operation::GetObjectAttributes => "s3:GetObject",
        Operation::PutObject
        | Operation::CopyObject
        | Operation::CreateMultipartUpload
        | Operation::UploadPart
        | Operation::UploadPartCopy
        | Operation::CompleteMultipartUpload => "s3:PutObject",
        Operation::DeleteObject | Operation::DeleteObjects if of_version => "s3:DeleteObjectVersion",
        Operation::DeleteObject | Operation::DeleteObjects => "s3:DeleteObject",
        Operation::RestoreObject => "s3:RestoreObject",
        Operation::GetObjectTagging if of_version => "s3:GetObjectVersionTagging",
        Operation::GetObjectTagging => "s3:GetObjectTagging",
        Operation::PutObjectTagging => "s3:PutObjectTagging",
        Operation::DeleteObjectTagging => "s3:DeleteObjectTagging",
        Operation::AbortMultipartUpload => "s3:AbortMultipartUpload",
        Operation::ListParts => "s3:ListMultipartUploadParts",
        Operation::ListMultipartUploads => "s3:ListBucketMultipartUploads",
        Operation::HeadBucket | Operation::ListObjects | Operation::ListObjectsV2 => "s3:ListBucket",
        Operation::ListObjectVersions => "s3:ListBucketVersions",
        Operation::ListBuckets => "s3:ListAllMyBuckets",
        Operation::CreateBucket => "s3:CreateBucket",
        Operation::DeleteBucket => "s3:DeleteBucket",
        Operation::GetBucketLocation => "s3:GetBucketLocation",
        Operation::GetBucketVersioning => "s3:GetBucketVersioning",
        Operation::PutBucketVersioning => "s3:PutBucketVersioning",
        Operation::GetBucketEncryption => "s3:GetEncryptionConfiguration",
        Operation::PutBucketEncryption => "s3:PutEncryptionConfiguration",
        Operation::GetObjectLockConfiguration => "s3:GetBucketObjectLockConfiguration",
        Operation::PutObjectLockConfiguration => "s3:PutBucketObjectLockConfiguration",
        Operation::GetBucketLifecycleConfiguration => "s3:GetLifecycleConfiguration",
        Operation::PutBucketLifecycleConfiguration | Operation::DeleteBucketLifecycle => {
            "s3:PutLifecycleConfiguration"
        }
        Operation::Other | Operation::Refused => return None,
    })
}

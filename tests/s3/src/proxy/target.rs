//! What a request is for, from its head alone.
//!
//! Buckets are in the path, not in the host name.

use std::borrow::Cow;

use hyper::{HeaderMap, Method};
use percent_encoding::percent_decode_str;

use crate::operation::Operation;

/// What of a bucket or an object a request is for, by a query parameter, where that is something
/// that [`Operation`] has no name for.
const OTHERS: &[&str] = &[
    "accelerate",
    "acl",
    "analytics",
    "append",
    "cors",
    "intelligent-tiering",
    "inventory",
    "legal-hold",
    "logging",
    "metadataConfiguration",
    "metadataTable",
    "metrics",
    "notification",
    "ownershipControls",
    "policy",
    "policyStatus",
    "publicAccessBlock",
    "renameObject",
    "replication",
    "requestPayment",
    "restore",
    "retention",
    "select",
    "session",
    "torrent",
    "website",
];

/// The bucket and the key of a path, both still encoded.
fn split(path: &str) -> (Option<&str>, Option<&str>) {
    let path = path.strip_prefix('/').unwrap_or(path);
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    (Some(bucket).filter(|it| !it.is_empty()), Some(key).filter(|it| !it.is_empty()))
}

/// The bucket and the key of a path as they are.
pub(super) fn names(path: &str) -> (Option<Cow<'_, str>>, Option<Cow<'_, str>>) {
    let decode = |text| percent_decode_str(text).decode_utf8_lossy();
    let (bucket, key) = split(path);
    (bucket.map(decode), key.map(decode))
}

/// The operation that a request asks for.
pub(super) fn operation(method: &Method, path: &str, query: Option<&str>, headers: &HeaderMap) -> Operation {
    let asks = Asks(query.unwrap_or_default());
    if asks.for_any(OTHERS) {
        return Operation::Other;
    }
    match split(path) {
        (None, None) if method == Method::GET => Operation::ListBuckets,
        (Some(_), None) => of_bucket(method, &asks),
        (Some(_), Some(_)) => of_object(method, &asks, headers),
        (None, _) => Operation::Other,
    }
}

fn of_bucket(method: &Method, asks: &Asks<'_>) -> Operation {
    match method.as_str() {
        "HEAD" => Operation::HeadBucket,
        "POST" if asks.with("delete") => Operation::DeleteObjects,
        "GET" | "PUT" | "DELETE" if asks.with("tagging") => Operation::Other,
        "DELETE" if asks.for_any(&["encryption", "object-lock"]) => Operation::Other,
        "GET" if asks.with("location") => Operation::GetBucketLocation,
        "GET" if asks.with("versioning") => Operation::GetBucketVersioning,
        "GET" if asks.with("encryption") => Operation::GetBucketEncryption,
        "GET" if asks.with("object-lock") => Operation::GetObjectLockConfiguration,
        "GET" if asks.with("lifecycle") => Operation::GetBucketLifecycleConfiguration,
        "GET" if asks.with("uploads") => Operation::ListMultipartUploads,
        "GET" if asks.with("versions") => Operation::ListObjectVersions,
        "GET" if asks.value("list-type") == Some("2") => Operation::ListObjectsV2,
        "GET" => Operation::ListObjects,
        "PUT" if asks.with("versioning") => Operation::PutBucketVersioning,
        "PUT" if asks.with("encryption") => Operation::PutBucketEncryption,
        "PUT" if asks.with("object-lock") => Operation::PutObjectLockConfiguration,
        "PUT" if asks.with("lifecycle") => Operation::PutBucketLifecycleConfiguration,
        "PUT" => Operation::CreateBucket,
        "DELETE" if asks.with("lifecycle") => Operation::DeleteBucketLifecycle,
        "DELETE" => Operation::DeleteBucket,
        _ => Operation::Other,
    }
}

fn of_object(method: &Method, asks: &Asks<'_>, headers: &HeaderMap) -> Operation {
    let copies = headers.contains_key("x-amz-copy-source");
    let upload = asks.with("uploadId");
    match method.as_str() {
        "HEAD" => Operation::HeadObject,
        "GET" if upload => Operation::ListParts,
        "GET" if asks.with("tagging") => Operation::GetObjectTagging,
        "GET" if asks.with("attributes") => Operation::GetObjectAttributes,
        "GET" => Operation::GetObject,
        "PUT" if upload && copies => Operation::UploadPartCopy,
        "PUT" if upload => Operation::UploadPart,
        "PUT" if asks.with("tagging") => Operation::PutObjectTagging,
        "PUT" if copies => Operation::CopyObject,
        "PUT" => Operation::PutObject,
        "DELETE" if upload => Operation::AbortMultipartUpload,
        "DELETE" if asks.with("tagging") => Operation::DeleteObjectTagging,
        "DELETE" => Operation::DeleteObject,
        "POST" if asks.with("uploads") => Operation::CreateMultipartUpload,
        "POST" if upload => Operation::CompleteMultipartUpload,
        _ => Operation::Other,
    }
}

/// The query of a request.
struct Asks<'a>(&'a str);

impl<'a> Asks<'a> {
    fn pairs(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")))
    }

    fn with(&self, name: &str) -> bool {
        self.pairs().any(|(it, _)| it == name)
    }

    fn value(&self, name: &str) -> Option<&'a str> {
        self.pairs().find(|(it, _)| *it == name).map(|(_, value)| value)
    }

    fn for_any(&self, names: &[&str]) -> bool {
        !self.0.is_empty() && self.pairs().any(|(it, _)| names.contains(&it))
    }
}

#[cfg(test)]
#[path = "target_tests.rs"]
mod tests;

//! Which IAM permissions a request needs: what a refusal is told with. `deploy/rights/iam-run.json` grants them,
//! and `iam-restore.json` what `restore` needs beside.

use super::{Operation, Side, StorageError};

impl StorageError {
    /// The same error of a request that named a version.
    pub(super) fn of_version(mut self) -> Self {
        self.of_version = true;
        self
    }
}

/// The permissions of a request; `side` is its bucket, of a copy the destination. Nothing for what is no request.
pub(super) fn needed(operation: Operation, side: Side) -> Option<String> {
    let from = match side {
        Side::Object => Side::Recycle,
        Side::Recycle => Side::Object,
    };
    let one = |action: &str| Some(format!("s3:{action} on the {side} bucket"));
    match operation {
        Operation::Connect => None,
        Operation::HeadBucket | Operation::ListObjectsV2 => one("ListBucket"),
        Operation::ListObjectVersions => one("ListBucketVersions"),
        // A missing object looks the same to credentials that may not list.
        Operation::HeadObject | Operation::GetObject => Some(format!(
            "s3:GetObject on the {side} bucket (s3:GetObjectVersion for an older version), and s3:ListBucket where the \
             object does not exist"
        )),
        Operation::CopyObject => Some(format!(
            "s3:PutObject on the {side} bucket and s3:GetObject on the {from} bucket, and where the object has tags \
             s3:PutObjectTagging on the {side} bucket and s3:GetObjectTagging on the {from} bucket (for an older version \
             s3:GetObjectVersion and s3:GetObjectVersionTagging)"
        )),
        Operation::UploadPartCopy => Some(format!(
            "s3:PutObject on the {side} bucket and s3:GetObject on the {from} bucket (s3:GetObjectVersion for an older \
                 version)"
        )),
        Operation::CreateMultipartUpload => Some(format!(
            "s3:PutObject on the {side} bucket, and where the object has tags s3:PutObjectTagging on the {side} bucket"
        )),
        Operation::PutObject | Operation::UploadPart | Operation::CompleteMultipartUpload => one("PutObject"),
        // A condition on what is there is a look at it.
        Operation::DeleteObject | Operation::DeleteObjects => {
            Some(format!("s3:DeleteObject on the {side} bucket, and s3:GetObject for a condition"))
        }
        Operation::GetObjectTagging => Some(format!(
            "s3:GetObjectTagging on the {side} bucket (s3:GetObjectVersionTagging for an older version)"
        )),
        Operation::PutObjectTagging => one("PutObjectTagging"),
        Operation::RestoreObject => one("RestoreObject"),
        Operation::ListParts => one("ListMultipartUploadParts"),
        Operation::AbortMultipartUpload => one("AbortMultipartUpload"),
        Operation::GetBucketLifecycleConfiguration => one("GetLifecycleConfiguration"),
        Operation::PutBucketLifecycleConfiguration => one("PutLifecycleConfiguration"),
        Operation::GetBucketVersioning => one("GetBucketVersioning"),
        Operation::GetBucketEncryption => one("GetEncryptionConfiguration"),
        Operation::GetObjectLockConfiguration => one("GetBucketObjectLockConfiguration"),
    }
}

/// The same for a request that names a version.
pub(super) fn needed_of_version(operation: Operation, side: Side) -> Option<String> {
    match operation {
        Operation::HeadObject => Some(format!(
            "s3:GetObjectVersion on the {side} bucket, and s3:ListBucket where it does not exist"
        )),
        Operation::DeleteObject | Operation::DeleteObjects => {
            Some(format!("s3:DeleteObjectVersion on the {side} bucket"))
        }
        _ => needed(operation, side),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_names_the_permission_of_its_bucket() {
        for operation in Operation::ALL {
            let told = needed(*operation, Side::Recycle);
            assert_eq!(told.is_none(), *operation == Operation::Connect, "{operation}");
            assert!(
                told.is_none_or(|told| told.contains("s3:") && told.contains("recycle bucket")),
                "{operation}"
            );
        }
        let copy_back = needed(Operation::CopyObject, Side::Object).unwrap();
        assert!(copy_back.contains("s3:GetObjectTagging on the recycle bucket"), "{copy_back}");
    }
}

//! The operations that the server can tell apart, for rules and for counting.

use serde::{Deserialize, Serialize};

macro_rules! operations {
    ($($name:ident),+ $(,)?) => {
        /// An S3 operation, by the name that AWS gives it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[allow(missing_docs, reason = "the names are AWS's own")]
        pub enum Operation {
            $($name,)+
            /// An operation that this server does not have; answered with 501.
            Other,
            /// A request refused before its operation was known, such as one with a bad signature.
            Refused,
        }

        impl Operation {
            /// The name as AWS writes it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                    Self::Other => "Other",
                    Self::Refused => "Refused",
                }
            }

            pub(crate) fn from_name(name: &str) -> Self {
                match name {
                    $(stringify!($name) => Self::$name,)+
                    _ => Self::Other,
                }
            }
        }
    };
}

operations! {
    AbortMultipartUpload,
    CompleteMultipartUpload,
    CopyObject,
    CreateBucket,
    CreateMultipartUpload,
    DeleteBucket,
    DeleteBucketLifecycle,
    DeleteObject,
    DeleteObjectTagging,
    DeleteObjects,
    GetBucketEncryption,
    GetBucketLifecycleConfiguration,
    GetBucketLocation,
    GetBucketVersioning,
    GetObject,
    GetObjectAttributes,
    GetObjectLockConfiguration,
    GetObjectTagging,
    HeadBucket,
    HeadObject,
    ListBuckets,
    ListMultipartUploads,
    ListObjectVersions,
    ListObjects,
    ListObjectsV2,
    ListParts,
    PutBucketEncryption,
    PutBucketLifecycleConfiguration,
    PutBucketVersioning,
    PutObject,
    PutObjectLockConfiguration,
    PutObjectTagging,
    RestoreObject,
    UploadPart,
    UploadPartCopy,
}

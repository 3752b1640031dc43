//! What each request was and how it ended, for whoever counts.

use std::fmt;
use std::sync::Arc;

use super::StorageError;
use crate::outcome::Advice;

macro_rules! operations {
    ($($name:ident),+ $(,)?) => {
        /// A request to the storage, by its name in the S3 API.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "the names are the S3 API's own")]
        pub enum Operation {
            /// Reading the settings, before any request.
            Connect,
            $($name,)+
        }

        impl Operation {
            /// Every operation.
            pub const ALL: &'static [Self] = &[Self::Connect, $(Self::$name,)+];

            /// The name as the S3 API has it.
            pub const fn as_str(self) -> &'static str {
                match self {
                    Self::Connect => "Connect",
                    $(Self::$name => stringify!($name),)+
                }
            }
        }
    };
}

operations! {
    AbortMultipartUpload,
    CompleteMultipartUpload,
    CopyObject,
    CreateMultipartUpload,
    DeleteObject,
    DeleteObjects,
    GetBucketEncryption,
    GetBucketLifecycleConfiguration,
    GetBucketVersioning,
    GetObject,
    GetObjectLockConfiguration,
    GetObjectTagging,
    HeadBucket,
    HeadObject,
    ListObjectVersions,
    ListObjectsV2,
    ListParts,
    PutBucketLifecycleConfiguration,
    PutObject,
    PutObjectTagging,
    RestoreObject,
    UploadPart,
    UploadPartCopy,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// The server answered the question, also with "no such object" and "the condition does not hold".
    Ok,
    /// It failed in a way that may pass.
    Retry,
    /// It failed, and will again.
    Error,
}

impl Answer {
    pub(super) fn of<T>(result: &Result<T, StorageError>) -> Self {
        use super::Kind;
        match result {
            Ok(_) => Self::Ok,
            Err(error) => match (error.kind, error.advice()) {
                (Kind::NotFound | Kind::PreconditionFailed, _) => Self::Ok,
                (_, Advice::GiveUp(_)) => Self::Error,
                (_, Advice::Retry | Advice::SlowDown | Advice::Outage(_) | Advice::Hold) => Self::Retry,
            },
        }
    }
}

/// Called after every request; it must not block.
pub type Observe = Arc<dyn Fn(Operation, Answer) + Send + Sync>;

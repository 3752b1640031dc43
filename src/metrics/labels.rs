//! The words that metric labels are made of, besides those of `outcome.rs`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::outcome::{UnknownWord, words};

words! {
    /// The three kinds of queue.
    QueueKind {
        /// Work to do.
        Work => "work",
        /// All the wait queues together.
        Wait => "wait",
        /// The dead letters.
        Dead => "dead",
    }
}

words! {
    /// A request to the storage.
    StorageOperation {
        /// CopyObject
        CopyObject => "copy_object",
        /// HeadObject
        HeadObject => "head_object",
        /// GetObject
        GetObject => "get_object",
        /// GetObjectTagging
        GetObjectTagging => "get_object_tagging",
        /// PutObject
        PutObject => "put_object",
        /// PutObjectTagging
        PutObjectTagging => "put_object_tagging",
        /// RestoreObject
        RestoreObject => "restore_object",
        /// DeleteObject
        DeleteObject => "delete_object",
        /// DeleteObjects
        DeleteObjects => "delete_objects",
        /// HeadBucket
        HeadBucket => "head_bucket",
        /// GetBucketEncryption
        GetBucketEncryption => "get_bucket_encryption",
        /// GetBucketLifecycleConfiguration
        GetBucketLifecycle => "get_bucket_lifecycle_configuration",
        /// GetBucketVersioning
        GetBucketVersioning => "get_bucket_versioning",
        /// GetObjectLockConfiguration
        GetObjectLock => "get_object_lock_configuration",
        /// PutBucketLifecycleConfiguration
        PutBucketLifecycle => "put_bucket_lifecycle_configuration",
        /// ListObjectVersions
        ListObjectVersions => "list_object_versions",
        /// ListObjectsV2
        ListObjects => "list_objects",
        /// ListParts
        ListParts => "list_parts",
        /// CreateMultipartUpload
        CreateMultipartUpload => "create_multipart_upload",
        /// UploadPart
        UploadPart => "upload_part",
        /// UploadPartCopy
        UploadPartCopy => "upload_part_copy",
        /// CompleteMultipartUpload
        CompleteMultipartUpload => "complete_multipart_upload",
        /// AbortMultipartUpload
        AbortMultipartUpload => "abort_multipart_upload",
    }
}

words! {
    /// How one try of a request to the storage ended.
    RequestResult {
        /// An answer that was asked for.
        Ok => "ok",
        /// A failure that is tried again.
        Retry => "retry",
        /// A failure that is not.
        Error => "error",
    }
}

words! {
    /// What became of an event that was handed over by HTTP.
    IntakeResult {
        /// The broker has confirmed it.
        Accepted => "accepted",
        /// It, or its sender, was refused: sending it again changes nothing.
        Refused => "refused",
        /// It could not be taken now: to be sent again.
        Unavailable => "unavailable",
    }
}

words! {
    /// The two halves of a process.
    Half {
        /// It publishes what the triggers captured.
        Listener => "listener",
        /// It moves files.
        Worker => "worker",
    }
}

words! {
    /// What the triggers are, as `/readyz` says it.
    ListenerWord {
        /// As they should be.
        Installed => "installed",
        /// Different from what this program would install.
        Drift => "drift",
        /// Deletions could not be captured.
        Failing => "failing",
        /// Something is too quiet.
        Silent => "silent",
        /// Not there.
        NotInstalled => "not_installed",
        /// This process runs no listener.
        NotHere => "not_here",
        /// Not looked at yet.
        Unknown => "unknown",
    }
}

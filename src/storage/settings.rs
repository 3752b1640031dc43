//! Settings of a bucket that bear on what a move can do: Object Lock, and how new objects are encrypted.

use aws_sdk_s3::types::{DefaultRetention, ServerSideEncryption};

use super::error::Asked;
use super::{Kind, Operation, Side, Storage, StorageError};

/// Object Lock is on for a bucket: its objects can be locked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectLock {
    /// How every new object is locked where its writer says nothing else; nothing: it is not.
    pub default: Option<DefaultLock>,
}

/// How long every new object is locked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefaultLock {
    /// `GOVERNANCE` or `COMPLIANCE`, as the storage says it.
    pub mode: String,
    /// Days from its writing.
    pub days: u32,
}

/// How new objects are encrypted where their writer says nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// By keys of the storage's own (SSE-S3): ETags are MD5s.
    Storage,
    /// By a key of a key management service, with the storage's word for it: an ETag says nothing of the content.
    KeyService(String),
}

impl Storage {
    /// Is Object Lock on for this bucket? Nothing where it is not, or the server has none.
    pub async fn object_lock(&self, side: Side) -> Result<Option<ObjectLock>, StorageError> {
        let asked = Asked { operation: Operation::GetObjectLockConfiguration, side, key: None };
        let request = self.client().get_object_lock_configuration().bucket(self.bucket(side));
        match self.send(asked, || request.send()).await {
            Ok(output) => Ok(output
                .object_lock_configuration()
                .filter(|lock| lock.object_lock_enabled().is_some() || lock.rule().is_some())
                .map(|lock| ObjectLock {
                    default: lock.rule().and_then(|rule| rule.default_retention()).and_then(default_lock),
                })),
            Err(error) if matches!(error.kind, Kind::NotFound | Kind::NotImplemented) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// How new objects of this bucket are encrypted; nothing where they are not, or the server does not tell.
    pub async fn default_encryption(&self, side: Side) -> Result<Option<Encryption>, StorageError> {
        let asked = Asked { operation: Operation::GetBucketEncryption, side, key: None };
        let request = self.client().get_bucket_encryption().bucket(self.bucket(side));
        match self.send(asked, || request.send()).await {
            Ok(output) => Ok(output
                .server_side_encryption_configuration()
                .and_then(|rules| {
                    rules.rules().iter().find_map(|rule| rule.apply_server_side_encryption_by_default())
                })
                .map(|default| match default.sse_algorithm() {
                    ServerSideEncryption::Aes256 => Encryption::Storage,
                    other => Encryption::KeyService(other.as_str().to_owned()),
                })),
            Err(error) if matches!(error.kind, Kind::NotFound | Kind::NotImplemented) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Years are counted as 365 days.
fn default_lock(retention: &DefaultRetention) -> Option<DefaultLock> {
    let whole = |number: Option<i32>| number.and_then(|number| u32::try_from(number).ok());
    let days = whole(retention.days()).or_else(|| Some(whole(retention.years())?.saturating_mul(365)))?;
    let mode = retention.mode().map(|mode| mode.as_str().to_owned()).unwrap_or_default();
    Some(DefaultLock { mode, days })
}

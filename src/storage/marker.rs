//! The object in the object bucket that says which environment the buckets belong to.
//!
//! What is in it is the guard's business; here it is bytes with an ETag.

use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;

use super::error::Asked;
use super::{Capabilities, ETag, Kind, Operation, Side, Storage, StorageError, Support};

/// The marker's key.
const KEY: &str = ".file-recycler/environment.json";
/// Largest marker that is read, in bytes.
const MAX_BYTES: usize = 64 * 1024;
/// How long the marker's body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// The marker as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    /// Its content.
    pub bytes: Vec<u8>,
    /// Its ETag: what a later write is conditional on.
    pub etag: ETag,
}

/// What a write of the marker is conditional on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// There is none.
    Absent,
    /// It is still the one with this ETag.
    Unchanged(ETag),
}

impl Storage {
    /// The marker, or nothing where the bucket has none.
    pub async fn marker(&self) -> Result<Option<Marker>, StorageError> {
        self.read_own(Side::Object, KEY).await
    }

    /// A small object of our own, or nothing where the bucket has none under this key.
    pub(super) async fn read_own(&self, side: Side, key: &str) -> Result<Option<Marker>, StorageError> {
        let asked = Asked { operation: Operation::GetObject, side, key: Some(key) };
        let request = self.client().get_object().bucket(self.bucket(side)).key(key);
        let output = match self.send(asked, || request.send()).await {
            Ok(output) => output,
            Err(error) if error.kind == Kind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let bad = |what: &str| StorageError::new(asked, Kind::BadAnswer, what);
        let etag = output.e_tag().map(ETag::new).ok_or_else(|| bad("without an ETag"))?;
        let bytes = tokio::time::timeout(BODY_TIMEOUT, read(output.body))
            .await
            .map_err(|_| StorageError::new(asked, Kind::Timeout, "in the middle of the answer"))?
            .map_err(bad)?;
        Ok(Some(Marker { bytes, etag }))
    }

    /// Writes the marker if it is what was expected; its new ETag. [`Kind::PreconditionFailed`] where it is
    /// not.
    ///
    /// Where the server does not keep the condition, a read right before the write stands in for it.
    pub async fn put_marker(
        &self,
        bytes: Vec<u8>,
        expected: &Expected,
        server: &Capabilities,
    ) -> Result<ETag, StorageError> {
        let asked = Asked { operation: Operation::PutObject, side: Side::Object, key: Some(KEY) };
        let mut request = self
            .client()
            .put_object()
            .bucket(self.bucket(Side::Object))
            .key(KEY)
            .content_type("application/json")
            .body(ByteStream::from(bytes));
        match expected {
            Expected::Absent if server.put_if_none_match == Support::Honoured => {
                request = request.if_none_match("*");
            }
            Expected::Unchanged(etag) if server.put_if_match == Support::Honoured => {
                request = request.if_match(etag.as_sent());
            }
            Expected::Absent | Expected::Unchanged(_) => {
                let now = self.head_raw(Side::Object, KEY).await?.map(|head| head.etag);
                let holds = match expected {
                    Expected::Absent => now.is_none(),
                    Expected::Unchanged(etag) => now.as_ref() == Some(etag),
                };
                if !holds {
                    return Err(StorageError::new(asked, Kind::PreconditionFailed, "by a HEAD before it"));
                }
            }
        }
        let output = self.send(asked, || request.send()).await?;
        let none = || StorageError::new(asked, Kind::BadAnswer, "without an ETag");
        output.e_tag().map(ETag::new).ok_or_else(none)
    }
}

async fn read(mut body: ByteStream) -> Result<Vec<u8>, &'static str> {
    let mut bytes = Vec::new();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|_| "which broke off")?;
        if bytes.len() + chunk.len() > MAX_BYTES {
            return Err("larger than a marker may be");
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

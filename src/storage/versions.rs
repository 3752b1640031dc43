//! The versions of one object, in a bucket that keeps them.

use aws_sdk_s3::types::{BucketVersioningStatus, EncodingType};
use time::OffsetDateTime;

use super::error::Asked;
use super::head::moment;
use super::list::key as listed_key;
use super::{ETag, Kind, Operation, Side, Storage, StorageError};
use crate::file::ObjectKey;

/// One version of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Its id; `null` for what was written while no versions were kept.
    pub id: String,
    /// It is what a request without a version meets.
    pub latest: bool,
    /// When it was written.
    pub last_modified: Option<OffsetDateTime>,
    /// What it holds; nothing for a delete marker.
    pub content: Option<VersionContent>,
}

/// What a bucket does with what is overwritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versioning {
    /// It keeps nothing, and never did.
    Never,
    /// It has versions of a time when it kept them. What is written now has the id `null`, and so it is overwritten for
    /// good by the next.
    Suspended,
    /// It keeps all.
    Enabled,
}

/// What a version holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionContent {
    /// Its ETag.
    pub etag: ETag,
    /// Its size in bytes.
    pub size: u64,
}

impl Storage {
    /// All versions of this object and its delete markers, the newest first. Of a bucket that keeps none it is the
    /// object itself, under the id `null`, or nothing.
    pub async fn versions(&self, at: Side, key: &ObjectKey) -> Result<Vec<Version>, StorageError> {
        let asked = Asked { operation: Operation::ListObjectVersions, side: at, key: Some(key.as_str()) };
        let bad = |what: &str| StorageError::new(asked, Kind::BadAnswer, what.to_owned());
        let mut found = Vec::new();
        let mut from = (None, None);
        loop {
            let request = self
                .client()
                .list_object_versions()
                .bucket(self.bucket(at))
                .prefix(key.as_str())
                .encoding_type(EncodingType::Url)
                .set_key_marker(from.0.clone())
                .set_version_id_marker(from.1.clone());
            let output = self.send(asked, || request.send()).await.map_err(StorageError::of_bucket)?;
            let encoded = output.encoding_type() == Some(&EncodingType::Url);
            let ours = |listed: Option<&str>| {
                listed.is_some_and(|listed| listed_key(listed, encoded) == key.as_str())
            };
            for version in output.versions().iter().filter(|version| ours(version.key())) {
                let etag = version.e_tag().filter(|etag| !etag.is_empty());
                let (Some(bytes), Some(etag)) = (version.size(), etag) else {
                    return Err(bad("a version without a size or an ETag"));
                };
                let size = u64::try_from(bytes).map_err(|_| bad("a version of a negative size"))?;
                found.push(Version {
                    id: version.version_id().unwrap_or("null").to_owned(),
                    latest: version.is_latest().unwrap_or_default(),
                    last_modified: version.last_modified().copied().and_then(moment),
                    content: Some(VersionContent { etag: ETag::new(etag), size }),
                });
            }
            for marker in output.delete_markers().iter().filter(|marker| ours(marker.key())) {
                found.push(Version {
                    id: marker.version_id().unwrap_or("null").to_owned(),
                    latest: marker.is_latest().unwrap_or_default(),
                    last_modified: marker.last_modified().copied().and_then(moment),
                    content: None,
                });
            }
            // Keys with this one as their beginning come after it.
            let next = output.next_key_marker().map(|next| listed_key(next, encoded));
            match (output.is_truncated(), next) {
                (Some(true), Some(next)) if next == key.as_str() => {
                    let next_version = output.next_version_id_marker().map(str::to_owned);
                    if from == (Some(next.clone()), next_version.clone()) {
                        return Err(bad("a list of versions that does not go on"));
                    }
                    from = (Some(next), next_version);
                }
                (Some(true), None) => return Err(bad("more versions, and no word where")),
                _ => break,
            }
        }
        // Versions and markers come apart, each newest first; of one second the latest is the newest.
        found.sort_by_key(|version| (!version.latest, std::cmp::Reverse(version.last_modified)));
        Ok(found)
    }

    /// Does this bucket keep versions, or did it once? Then there may be old ones to read.
    pub async fn is_versioned(&self, side: Side) -> Result<bool, StorageError> {
        Ok(self.versioning(side).await? != Versioning::Never)
    }

    /// What does this bucket do with what is overwritten?
    pub async fn versioning(&self, side: Side) -> Result<Versioning, StorageError> {
        let asked = Asked { operation: Operation::GetBucketVersioning, side, key: None };
        let request = self.client().get_bucket_versioning().bucket(self.bucket(side));
        match self.send(asked, || request.send()).await {
            Ok(output) => Ok(match output.status() {
                Some(BucketVersioningStatus::Enabled) => Versioning::Enabled,
                Some(BucketVersioningStatus::Suspended) => Versioning::Suspended,
                _ => Versioning::Never,
            }),
            Err(error) if matches!(error.kind, Kind::NotFound | Kind::NotImplemented) => {
                Ok(Versioning::Never)
            }
            Err(error) => Err(error),
        }
    }
}

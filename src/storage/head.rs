//! Looking at one object: everything that a decision, a copy and a proof need.

use std::collections::HashMap;

use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::{
    ChecksumMode, ChecksumType, ObjectLockLegalHoldStatus, ServerSideEncryption, StorageClass,
};
use time::OffsetDateTime;

use super::error::Asked;
use super::{ETag, Kind, Listed, Operation, Side, Storage, StorageError};
use crate::file::ObjectKey;

/// Our metadata on a copy: the ETag that its source had, where the copy's own cannot prove anything.
pub(super) const SOURCE_ETAG: &str = "fr-source-etag";

/// Our metadata on an object that a migration to the storage wrote: its environment.
pub(super) const MIGRATED: &str = "fr-migrated";
/// The same: its run.
pub(super) const MIGRATED_IN: &str = "fr-migrated-run";

/// An object as the server describes it.
#[allow(clippy::struct_excessive_bools, reason = "independent findings, not states of one thing")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its ETag: the condition of every step that follows.
    pub etag: ETag,
    /// Its size in bytes.
    pub size: u64,
    /// When it was written.
    pub last_modified: Option<OffsetDateTime>,
    /// Its version, in a versioned bucket.
    pub version: Option<String>,
    /// It is in an archive class and not restored: it cannot be read now.
    pub archived: bool,
    /// It was asked for, and is on its way out of the archive.
    pub restoring: bool,
    /// A legal hold is on it.
    pub legal_hold: bool,
    /// Object Lock keeps it until then.
    pub retained_until: Option<OffsetDateTime>,
    /// A checksum over the whole content, where the server keeps one.
    pub checksum: Option<Checksum>,
    /// The ETag of the object that this one was copied from by us, where we had to note it.
    pub copied_from: Option<ETag>,
    /// Its ETag is not made of its content (SSE-KMS, SSE-C).
    pub opaque_etag: bool,
    /// What a copy carries over.
    pub attributes: Attributes,
}

/// A checksum over an object's whole content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checksum {
    /// The algorithm, by S3's name.
    pub algorithm: &'static str,
    /// The value, as the server writes it.
    pub value: String,
}

/// What a copy in parts, or one with metadata of ours, has to carry over by itself; the storage's own affair.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    pub(super) cache_control: Option<String>,
    pub(super) content_disposition: Option<String>,
    pub(super) content_encoding: Option<String>,
    pub(super) content_language: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) expires: Option<aws_sdk_s3::primitives::DateTime>,
    pub(super) website_redirect: Option<String>,
    pub(super) metadata: HashMap<String, String>,
    pub(super) storage_class: Option<StorageClass>,
    /// Encryption under a key of the customer's; the bucket's default is the bucket's own affair.
    pub(super) kms: Option<(ServerSideEncryption, Option<String>)>,
}

impl Attributes {
    /// The storage class by its name; a server that names none means STANDARD.
    pub fn class(&self) -> &str {
        self.storage_class.as_ref().map_or("STANDARD", StorageClass::as_str)
    }

    /// Has the object a storage class other than STANDARD?
    pub fn has_class(&self) -> bool {
        self.storage_class.as_ref().is_some_and(|class| *class != StorageClass::Standard)
    }
}

impl Storage {
    /// The object under this key, or nothing. A delete marker counts as nothing.
    ///
    /// "Nothing" may also be a missing bucket, on servers that do not tell the two apart: before an object
    /// is believed to be missing, [`Storage::check`] must have worked afterwards.
    pub async fn head(&self, side: Side, key: &ObjectKey) -> Result<Option<Head>, StorageError> {
        self.head_raw(side, key.as_str()).await
    }

    /// One version of the object under this key, or nothing.
    pub async fn head_version(
        &self,
        side: Side,
        key: &ObjectKey,
        version: &str,
    ) -> Result<Option<Head>, StorageError> {
        self.head_of(side, key.as_str(), Some(version)).await
    }

    pub(super) async fn head_raw(&self, side: Side, key: &str) -> Result<Option<Head>, StorageError> {
        self.head_of(side, key, None).await
    }

    async fn head_of(
        &self,
        side: Side,
        key: &str,
        version: Option<&str>,
    ) -> Result<Option<Head>, StorageError> {
        let asked = Asked { operation: Operation::HeadObject, side, key: Some(key) };
        let request = self
            .client()
            .head_object()
            .bucket(self.bucket(side))
            .key(key)
            .set_version_id(version.map(str::to_owned))
            .checksum_mode(ChecksumMode::Enabled);
        match self.send(asked, || request.send()).await {
            Ok(output) => Head::read(asked, output).map(Some),
            Err(error) if error.kind == Kind::NotFound => Ok(None),
            Err(error) if version.is_some() => Err(error.of_version()),
            Err(error) => Err(error),
        }
    }
}

impl Head {
    /// The environment whose migration wrote it; nothing where none did.
    pub fn migrated_by(&self) -> Option<&str> {
        self.attributes.metadata.get(MIGRATED).map(String::as_str)
    }

    /// The run of the migration that wrote it; nothing where none did.
    pub fn migrated_in(&self) -> Option<&str> {
        self.attributes.metadata.get(MIGRATED_IN).map(String::as_str)
    }

    /// What a listing says of an object; nothing where it does not say its ETag. What it does not tell is empty:
    /// metadata and tags come along with a copy all the same, an encryption and a website redirect do not.
    pub fn listed(object: &Listed) -> Option<Self> {
        Some(Self { last_modified: object.last_modified, ..Self::bare(object.etag.clone()?, object.size) })
    }

    /// An object of which nothing but ETag and size is known.
    fn bare(etag: ETag, size: u64) -> Self {
        Self {
            etag,
            size,
            last_modified: None,
            version: None,
            archived: false,
            restoring: false,
            legal_hold: false,
            retained_until: None,
            checksum: None,
            copied_from: None,
            opaque_etag: false,
            attributes: Attributes::default(),
        }
    }

    fn read(asked: Asked<'_>, output: HeadObjectOutput) -> Result<Self, StorageError> {
        let bad = |what: &str| StorageError::new(asked, Kind::BadAnswer, format!("without {what}"));
        let etag = output.e_tag.as_deref().filter(|etag| !etag.is_empty()).ok_or_else(|| bad("an ETag"))?;
        let size = output.content_length.and_then(|size| u64::try_from(size).ok());
        let encryption = output.server_side_encryption.clone().filter(|encryption| {
            matches!(encryption, ServerSideEncryption::AwsKms | ServerSideEncryption::AwsKmsDsse)
        });
        Ok(Self {
            etag: ETag::new(etag),
            size: size.ok_or_else(|| bad("a size"))?,
            last_modified: output.last_modified.and_then(moment),
            version: output.version_id.clone(),
            archived: archived(&output),
            restoring: output
                .restore
                .as_deref()
                .is_some_and(|restore| restore.contains(r#"ongoing-request="true""#)),
            legal_hold: output.object_lock_legal_hold_status == Some(ObjectLockLegalHoldStatus::On),
            retained_until: output
                .object_lock_mode
                .as_ref()
                .and(output.object_lock_retain_until_date)
                .and_then(moment),
            checksum: checksum(&output),
            copied_from: output.metadata().and_then(|data| data.get(SOURCE_ETAG)).map(ETag::new),
            opaque_etag: encryption.is_some() || output.sse_customer_algorithm.is_some(),
            attributes: Attributes {
                kms: encryption.map(|encryption| (encryption, output.ssekms_key_id)),
                expires: output.expires_string.as_deref().and_then(http_date),
                cache_control: output.cache_control,
                content_disposition: output.content_disposition,
                content_encoding: output.content_encoding,
                content_language: output.content_language,
                content_type: output.content_type,
                website_redirect: output.website_redirect_location,
                metadata: output.metadata.unwrap_or_default(),
                storage_class: output.storage_class,
            },
        })
    }
}

/// Is the content out of reach until somebody asks for it back?
fn archived(output: &HeadObjectOutput) -> bool {
    let in_archive = output.archive_status.is_some()
        || matches!(output.storage_class, Some(StorageClass::Glacier | StorageClass::DeepArchive));
    // `ongoing-request="false", expiry-date="…"`: a readable copy is there for a while.
    let restored =
        output.restore.as_deref().is_some_and(|restore| restore.contains(r#"ongoing-request="false""#));
    in_archive && !restored
}

fn checksum(output: &HeadObjectOutput) -> Option<Checksum> {
    if output.checksum_type != Some(ChecksumType::FullObject) {
        return None;
    }
    [
        ("SHA256", &output.checksum_sha256),
        ("SHA1", &output.checksum_sha1),
        ("CRC64NVME", &output.checksum_crc64_nvme),
        ("CRC32C", &output.checksum_crc32_c),
        ("CRC32", &output.checksum_crc32),
    ]
    .into_iter()
    .find_map(|(algorithm, value)| Some(Checksum { algorithm, value: value.clone()? }))
}

pub(super) fn moment(time: aws_sdk_s3::primitives::DateTime) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp(time.secs()).ok()
}

fn http_date(text: &str) -> Option<aws_sdk_s3::primitives::DateTime> {
    use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};
    DateTime::from_str(text, DateTimeFormat::HttpDate).ok()
}

#[cfg(test)]
impl Head {
    /// An object of which nothing but ETag and size is known.
    pub(crate) fn for_tests(etag: ETag, size: u64) -> Self {
        Self::bare(etag, size)
    }
}

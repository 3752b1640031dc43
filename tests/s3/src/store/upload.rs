//! A multipart upload under way.

use std::collections::BTreeMap;

use s3s::dto::{Checksum, StorageClass, Tag};
use time::OffsetDateTime;

use super::{Content, Described};

/// A multipart upload under way.
#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) initiated: OffsetDateTime,
    pub(crate) described: Described,
    pub(crate) storage_class: Option<StorageClass>,
    pub(crate) tags: Vec<Tag>,
    pub(crate) parts: BTreeMap<i32, UploadedPart>,
}

/// A part that has arrived.
#[derive(Debug, Clone)]
pub(crate) struct UploadedPart {
    pub(crate) content: Content,
    pub(crate) md5: [u8; 16],
    /// Without quotes.
    pub(crate) etag: String,
    pub(crate) modified: OffsetDateTime,
    pub(crate) checksum: Checksum,
}

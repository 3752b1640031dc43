//! What a server can do, as the probe finds it: what a move may rely on.

use serde::Serialize;

/// What a server does with a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Support {
    /// It keeps it.
    Honoured,
    /// It takes no notice and says nothing.
    Ignored,
    /// It refuses the request.
    Refused,
}

/// The storage class of a copy that is made without a look at its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UnseenClass {
    /// The right one: `storage.recycle_class`, or the server keeps the source's, or has no classes.
    Right,
    /// STANDARD, as AWS does it; and the object bucket's first objects are all STANDARD, and no lifecycle rule
    /// moves them to another class.
    AssumedStandard,
    /// STANDARD, and there are, or may be, objects of other classes.
    Lost,
}

/// What the server and the two buckets can do, as the probe saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[allow(clippy::struct_excessive_bools, reason = "independent findings, not states of one thing")]
pub struct Capabilities {
    /// CopyObject with `If-None-Match: *`.
    pub copy_if_none_match: Support,
    /// CopyObject with `If-Match` (on the destination).
    pub copy_if_match: Support,
    /// CopyObject with `x-amz-copy-source-if-match`.
    pub copy_source_if_match: Support,
    /// DeleteObjects with an ETag per key.
    pub delete_if_match: Support,
    /// PutObject with `If-None-Match: *`.
    pub put_if_none_match: Support,
    /// PutObject with `If-Match`.
    pub put_if_match: Support,
    /// Are ETags MD5s, and has a copy its source's ETag?
    pub copy_keeps_etag: bool,
    /// Which storage class has a copy for which none was asked?
    pub unseen_class: UnseenClass,
    /// Is every key its own, also those with empty and dot segments and backslashes? Some servers read
    /// `a//b` as `a/b`: there, a key like that names another file's object.
    pub exact_keys: bool,
    /// Does the object bucket keep versions?
    pub object_versioned: bool,
    /// Does the recycle bucket keep versions?
    pub recycle_versioned: bool,
}

impl Capabilities {
    /// Of a server that was not probed: nothing is relied on, so everything is looked at.
    pub const fn unknown() -> Self {
        Self {
            copy_if_none_match: Support::Ignored,
            copy_if_match: Support::Ignored,
            copy_source_if_match: Support::Ignored,
            delete_if_match: Support::Ignored,
            put_if_none_match: Support::Ignored,
            put_if_match: Support::Ignored,
            copy_keeps_etag: false,
            unseen_class: UnseenClass::Lost,
            exact_keys: true,
            object_versioned: false,
            recycle_versioned: false,
        }
    }
}

#[cfg(test)]
impl Capabilities {
    /// What AWS S3 documents, for buckets without versions.
    pub(crate) const fn of_aws() -> Self {
        Self {
            copy_if_none_match: Support::Honoured,
            copy_if_match: Support::Honoured,
            copy_source_if_match: Support::Honoured,
            delete_if_match: Support::Honoured,
            put_if_none_match: Support::Honoured,
            put_if_match: Support::Honoured,
            copy_keeps_etag: true,
            unseen_class: UnseenClass::Right,
            exact_keys: true,
            object_versioned: false,
            recycle_versioned: false,
        }
    }
}

//! The two buckets: the only user of the S3 client.
//!
//! Every function here is one safe step (look, copy under conditions, delete what was proven); what the
//! steps make of a file is decided in `recycle`. What a server can do is found out by [`Storage::probe`], and what
//! it cannot do is never relied on.

mod archive;
mod capabilities;
mod client;
mod compare;
mod content;
mod copy;
mod delete;
mod erase;
mod error;
mod etag;
mod evidence;
mod head;
mod kind;
mod lifecycle;
mod limiter;
mod list;
mod marker;
mod multipart;
mod observe;
mod permission;
mod probe;
mod put;
mod settings;
mod tls;
mod versions;

use std::fmt;

pub use archive::{Asked as ArchiveAsked, Tier};
pub use capabilities::{Capabilities, Support, UnseenClass};
pub use client::{Pace, Storage};
pub use content::{Content, Small};
#[cfg(test)]
pub(crate) use copy::needs_stamp;
pub use copy::{Copied, MAX_COPY, MAX_OBJECT, Origin, Over};
pub use delete::{Deleted, MAX_KEYS};
pub use erase::Stored;
pub use error::StorageError;
pub use etag::ETag;
pub use head::{Attributes, Checksum, Head};
pub use kind::Kind;
pub use lifecycle::Lifecycle;
pub use list::{Listed, ListedClass, Page};
pub use marker::{Expected, Marker};
pub use multipart::{Leftovers, UnfinishedCopy};
pub use observe::{Answer, Observe, Operation};
pub use probe::{Tried, Written};
pub use put::{Mark, PART, Upload};
pub use settings::{DefaultLock, Encryption, ObjectLock};
pub use versions::{Version, VersionContent, Versioning};

/// One of the two buckets, where a value and not a type says which: in errors and for reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The object bucket.
    Object,
    /// The recycle bucket.
    Recycle,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Object => "object",
            Self::Recycle => "recycle",
        })
    }
}

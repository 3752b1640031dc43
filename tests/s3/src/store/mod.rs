//! Buckets and their objects in memory, behind one lock that is never held over slow work.

mod bucket;
mod content;
mod object;
mod upload;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use time::OffsetDateTime;
use uuid::Uuid;

pub(crate) use bucket::{Bucket, Deletion, Entry, Recall};
pub(crate) use content::{Content, Md5Sum};
pub(crate) use object::{Described, Object, Part};
pub(crate) use upload::{Upload, UploadedPart};

use crate::options::Options;

/// The buckets by name.
pub(crate) type Buckets = BTreeMap<String, Bucket>;

/// All that the server keeps.
#[derive(Debug)]
pub(crate) struct Store {
    buckets: Mutex<Buckets>,
    opaque_etags: bool,
    made_up_versions: bool,
}

impl Store {
    pub(crate) fn new(options: &Options) -> Self {
        let named = options.buckets.iter().map(|name| (name.clone(), Bucket::new(now())));
        Self {
            buckets: Mutex::new(named.collect()),
            opaque_etags: options.opaque_etags,
            made_up_versions: options.made_up_versions,
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Buckets> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Are ETags made of sums, so that a sum is worth taking?
    pub(crate) fn sums(&self) -> bool {
        !self.opaque_etags
    }

    /// The version to name in the answer to a write.
    pub(crate) fn written(&self, version: Option<String>) -> Option<String> {
        version.or_else(|| self.made_up_versions.then(random_id))
    }

    /// The version that a reader gets who asks for this one.
    pub(crate) fn asked<'a>(&self, version: Option<&'a str>) -> Option<&'a str> {
        version.filter(|_| !self.made_up_versions)
    }

    /// The ETag of content with this sum.
    pub(crate) fn etag(&self, sum: Md5Sum) -> String {
        if self.opaque_etags { random_id() } else { hex(&sum) }
    }
}

/// The time now, in whole seconds as S3 keeps it.
pub(crate) fn now() -> OffsetDateTime {
    let now = OffsetDateTime::now_utc();
    now.replace_nanosecond(0).unwrap_or(now)
}

/// A version id, an upload id, or an opaque ETag: 32 hexadecimal digits.
pub(crate) fn random_id() -> String {
    Uuid::new_v4().simple().to_string()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

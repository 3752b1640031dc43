//! The conditions that a request can set, on what it reads and on what it replaces.

use s3s::dto::{ETagCondition, Timestamp};
use s3s::{S3Error, S3Result, s3_error};

use super::{etag, no_such_key};
use crate::store::{Bucket, Object};

/// Conditions on the object that a request reads.
#[allow(clippy::struct_field_names, reason = "these are the names of the headers")]
pub(super) struct Reading<'a> {
    pub(super) if_match: Option<&'a ETagCondition>,
    pub(super) if_none_match: Option<&'a ETagCondition>,
    pub(super) if_modified_since: Option<&'a Timestamp>,
    pub(super) if_unmodified_since: Option<&'a Timestamp>,
}

/// How conditions on reading came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Proceed,
    /// For a copy the same as failed, for a read 304.
    Unchanged,
    Failed,
}

impl Reading<'_> {
    /// An ETag outranks a time: where `If-Match` holds, `If-Unmodified-Since` is not asked, and
    /// where `If-None-Match` is given, `If-Modified-Since` is not.
    pub(super) fn check(&self, object: &Object, modified: &Timestamp) -> Outcome {
        let matches = |condition| names(condition, object);
        match (self.if_match.map(matches), self.if_unmodified_since) {
            (Some(false), _) => return Outcome::Failed,
            (None, Some(since)) if modified > since => return Outcome::Failed,
            _ => {}
        }
        match (self.if_none_match.map(matches), self.if_modified_since) {
            (Some(true), _) => Outcome::Unchanged,
            (None, Some(since)) if modified <= since => Outcome::Unchanged,
            _ => Outcome::Proceed,
        }
    }
}

/// Conditions on the object that a request would replace.
#[derive(Debug, Default)]
pub(super) struct Writing {
    pub(super) if_match: Option<ETagCondition>,
    pub(super) if_none_match: Option<ETagCondition>,
}

impl Writing {
    pub(super) fn any(&self) -> bool {
        self.if_match.is_some() || self.if_none_match.is_some()
    }

    /// A delete marker counts as no object.
    pub(super) fn check(&self, bucket: &Bucket, key: &str) -> S3Result<()> {
        let current = bucket.current(key).and_then(|entry| entry.object.as_deref());
        match &self.if_none_match {
            Some(ETagCondition::Any) if current.is_some() => return Err(failed()),
            Some(ETagCondition::ETag(_)) => {
                return Err(s3_error!(
                    NotImplemented,
                    "A header you provided implies functionality that is not implemented"
                ));
            }
            _ => {}
        }
        match (&self.if_match, current) {
            (Some(_), None) => Err(no_such_key()),
            (Some(condition), Some(object)) if !names(condition, object) => Err(failed()),
            _ => Ok(()),
        }
    }
}

/// Whether a condition names this object.
pub(super) fn names(condition: &ETagCondition, object: &Object) -> bool {
    match condition {
        ETagCondition::Any => true,
        ETagCondition::ETag(given) => given.weak_cmp(&etag(&object.etag)),
    }
}

pub(super) fn failed() -> S3Error {
    s3_error!(PreconditionFailed, "At least one of the pre-conditions you specified did not hold")
}

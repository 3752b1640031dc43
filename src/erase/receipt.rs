//! The receipt: what was there under a file's key, what became of it, by whom and why. Ids, sizes and times; no name of
//! a file or a person but the operator's.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::db::erasure::Begun;
use crate::file::{FileId, ObjectKey};
use crate::outcome::{UnknownWord, words};
use crate::storage::Stored;

words! {
    /// How an erasure ended.
    Ended {
        /// A dry run: nothing stands in the way.
        WouldErase => "would_erase",
        /// Nothing of it is left in either bucket.
        Erased => "erased",
        /// An earlier erasure has done it, and nothing has come since.
        AlreadyErased => "already_erased",
        /// Nothing is known of it, and there is nothing of it.
        NotFound => "not_found",
        /// It may not be erased, and nothing was removed now.
        Refused => "refused",
        /// Something went wrong on the way; run it again.
        Failed => "failed",
    }
}

impl Ended {
    /// Is nothing of the file left, or in the way?
    pub fn is_well(self) -> bool {
        match self {
            Self::WouldErase | Self::Erased | Self::AlreadyErased => true,
            Self::NotFound | Self::Refused | Self::Failed => false,
        }
    }
}

/// One version, one delete marker, or the object of a bucket that keeps no versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionReceipt {
    /// Its id; nothing in a bucket that keeps no versions.
    pub version_id: Option<String>,
    /// It is a delete marker: it has no content.
    pub delete_marker: bool,
    /// Its size in bytes.
    pub size: Option<u64>,
    /// When it was written.
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_modified: Option<OffsetDateTime>,
    /// It is gone, and a look afterwards has shown it.
    pub removed: bool,
}

impl From<&Stored> for VersionReceipt {
    fn from(stored: &Stored) -> Self {
        Self {
            version_id: stored.version.clone(),
            delete_marker: stored.size.is_none(),
            size: stored.size,
            last_modified: stored.last_modified,
            removed: false,
        }
    }
}

/// Of both buckets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// In the object bucket.
    pub object: Vec<VersionReceipt>,
    /// In the recycle bucket.
    pub recycle: Vec<VersionReceipt>,
}

impl Versions {
    /// What both buckets have now.
    pub fn of(object: &[Stored], recycle: &[Stored]) -> Self {
        let receipts = |stored: &[Stored]| stored.iter().map(VersionReceipt::from).collect();
        Self { object: receipts(object), recycle: receipts(recycle) }
    }

    /// Adds what others had found and is not among these.
    pub fn merge(&mut self, others: Self) {
        for (mine, theirs) in [(&mut self.object, others.object), (&mut self.recycle, others.recycle)] {
            for one in theirs {
                if !mine.iter().any(|known| known.version_id == one.version_id) {
                    mine.push(one);
                }
            }
        }
    }

    /// Marks as removed everything that is not among what is there now.
    pub fn gone_but(&mut self, object: &[Stored], recycle: &[Stored]) {
        for (receipts, left) in [(&mut self.object, object), (&mut self.recycle, recycle)] {
            for receipt in receipts {
                receipt.removed = !left.iter().any(|stored| stored.version == receipt.version_id);
            }
        }
    }

    /// Bytes of all of them.
    pub fn bytes(&self) -> u64 {
        self.object.iter().chain(&self.recycle).filter_map(|one| one.size).sum()
    }
}

/// Names of the buckets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BucketNames {
    /// The object bucket.
    pub object: String,
    /// The recycle bucket.
    pub recycle: String,
}

/// An earlier erasure of the same file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Earlier {
    /// Its id.
    pub erasure: Uuid,
    /// When it began.
    #[serde(with = "time::serde::rfc3339")]
    pub begun_at: OffsetDateTime,
    /// Who began it.
    pub who: String,
    /// How it ended; nothing where it was cut off.
    pub outcome: Option<String>,
}

impl From<&Begun> for Earlier {
    fn from(begun: &Begun) -> Self {
        Self {
            erasure: begun.id,
            begun_at: begun.begun_at,
            who: begun.who.clone(),
            outcome: begun.outcome.clone(),
        }
    }
}

/// What became of one file under one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Receipt {
    /// How it ended.
    pub result: Ended,
    /// The file.
    pub file_id: FileId,
    /// Its object's key; nothing where none is known.
    pub key: Option<ObjectKey>,
    /// The erasure, as it is noted in the database; nothing where none was begun.
    pub erasure: Option<Uuid>,
    /// The environment; nothing where it was not asked.
    pub environment: Option<Uuid>,
    /// When this was written.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// Who ran the command.
    pub who: String,
    /// From which host.
    pub host: String,
    /// Why, as it was given.
    pub why: String,
    /// The buckets.
    pub buckets: BucketNames,
    /// What was there under the key.
    pub versions: Versions,
    /// Copies in parts that were begun and not finished, in the recycle bucket.
    pub unfinished_copies: usize,
    /// Images of its row, which hold its name.
    pub images: u64,
    /// Erasures of it before this one.
    pub earlier: Vec<Earlier>,
    /// Why it was refused or failed, and what to do.
    pub message: Option<String>,
    /// Rows and links that name it.
    pub named_by: Vec<String>,
    /// Keys of which one has to be chosen.
    pub keys: Vec<String>,
    /// What an operator should know besides.
    pub warnings: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(version: &str) -> Stored {
        Stored {
            version: Some(version.to_owned()),
            latest: false,
            size: Some(5),
            last_modified: None,
            legal_hold: false,
            retained_until: None,
        }
    }

    #[test]
    fn a_receipt_has_what_an_erasure_that_was_cut_off_had_found_and_says_what_is_left() {
        let mut versions = Versions::of(&[], &[stored("b")]);
        versions.merge(Versions::of(&[stored("x")], &[stored("a"), stored("b")]));
        versions.gone_but(&[], &[stored("b")]);
        let told = |receipts: &[VersionReceipt]| -> Vec<(Option<String>, bool)> {
            receipts.iter().map(|one| (one.version_id.clone(), one.removed)).collect()
        };
        assert_eq!(told(&versions.object), [(Some("x".into()), true)]);
        assert_eq!(told(&versions.recycle), [(Some("b".into()), false), (Some("a".into()), true)]);
        assert_eq!(versions.bytes(), 15);
    }
}

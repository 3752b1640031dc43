//! What became of each file, and of all of them together.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Keyless;
use crate::file::{FileId, ObjectKey, SchemaName};
use crate::outcome::{UnknownWord, words};

words! {
    /// What became, or in a dry run would become, of one file.
    Restored {
        /// It is in the object bucket again.
        Restored => "restored",
        /// It is there already.
        Present => "present",
        /// It is in an archive class and was asked for: to be run again when it can be read.
        Requested => "requested",
        /// It was in the recycle bucket, and is not any more.
        Expired => "expired",
        /// It is in neither bucket, and nothing says that it ever was.
        NeverSeen => "never_seen",
        /// What is there is not what the row names. Nothing was touched.
        Differs => "differs",
        /// It could not be done, or not be found out.
        Failed => "failed",
    }
}

impl Restored {
    /// Is the file where it belongs, or would it be?
    pub const fn is_well(self) -> bool {
        matches!(self, Self::Restored | Self::Present)
    }
}

/// One file's line in the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileResult {
    /// The file.
    pub file_id: FileId,
    /// Its schema, where it is known.
    pub schema: Option<SchemaName>,
    /// Its object's key; nothing where none can be made for it.
    pub key: Option<ObjectKey>,
    /// What became of it.
    pub result: Restored,
    /// Its object's size in bytes, where there is one; else what the row says.
    pub size: Option<u64>,
    /// What else a person may want to know; never empty where it is not well.
    pub why: Option<String>,
    /// Its row was brought back, or would be.
    pub row_inserted: bool,
    /// Its copy was removed from the recycle bucket, or would be.
    pub copy_removed: bool,
    /// Requests that bringing it back takes.
    #[serde(skip)]
    pub estimate: Estimate,
    /// The servers were out of reach: others will fare alike.
    #[serde(skip)]
    pub outage: bool,
}

impl From<Keyless> for FileResult {
    fn from(file: Keyless) -> Self {
        Self {
            file_id: file.id,
            schema: file.schema,
            key: None,
            result: Restored::Failed,
            size: None,
            why: Some(file.why),
            row_inserted: false,
            copy_removed: false,
            estimate: Estimate::default(),
            outage: false,
        }
    }
}

/// Files and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// How many.
    pub files: u64,
    /// Their bytes, as far as known.
    pub bytes: u64,
}

/// Requests that `--apply` takes beside the looks, which the dry run makes too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Estimate {
    /// Objects copied in one piece.
    pub copies: u64,
    /// Objects copied in parts: each begun and completed by a request.
    pub in_parts: u64,
    /// Their parts, each copied by a request.
    pub parts: u64,
    /// Requests to an archive.
    pub archive_requests: u64,
    /// Copies that are removed.
    pub removals: u64,
}

impl Estimate {
    /// All of them.
    pub const fn requests(&self) -> u64 {
        self.copies + 2 * self.in_parts + self.parts + self.archive_requests + self.removals
    }

    fn add(&mut self, other: Self) {
        self.copies += other.copies;
        self.in_parts += other.in_parts;
        self.parts += other.parts;
        self.archive_requests += other.archive_requests;
        self.removals += other.removals;
    }
}

/// What became of all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// By result.
    pub counts: BTreeMap<Restored, Count>,
    /// Rows that were brought back, or would be.
    pub rows_inserted: u64,
    /// Copies that were removed, or would be.
    pub copies_removed: u64,
    /// Requests of what is or would be done.
    pub estimate: Estimate,
    /// A stop was asked for before the end.
    pub interrupted: bool,
    /// Why it ended before the end by itself.
    pub stopped: Option<String>,
}

impl Summary {
    /// Adds a file.
    pub fn add(&mut self, file: &FileResult) {
        let count = self.counts.entry(file.result).or_default();
        count.files += 1;
        count.bytes += file.size.unwrap_or_default();
        self.rows_inserted += u64::from(file.row_inserted);
        self.copies_removed += u64::from(file.copy_removed);
        self.estimate.add(file.estimate);
    }

    /// How many had this result.
    pub fn of(&self, result: Restored) -> Count {
        self.counts.get(&result).copied().unwrap_or_default()
    }

    /// Files with a result.
    pub fn files(&self) -> u64 {
        self.counts.values().map(|count| count.files).sum()
    }

    /// Is, or would be, every file where it belongs?
    pub fn is_well(&self) -> bool {
        let well = self.counts.iter().all(|(result, count)| result.is_well() || count.files == 0);
        well && !self.interrupted && self.stopped.is_none()
    }
}

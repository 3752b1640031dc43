//! What became of each file, and of all of them together.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::gentle::Wait;
use crate::file::{ObjectKey, SchemaName};
use crate::outcome::{UnknownWord, words};

words! {
    /// What became, or in a dry run would become, of one file.
    Migrated {
        /// Its content is where it was to go, proven, and its row says so.
        Migrated => "migrated",
        /// The same; the object with this very content was there before.
        AlreadyThere => "already_there",
        /// It would be.
        WouldMigrate => "would_migrate",
        /// Its row has no content any more; the object has it, proven.
        Reclaimed => "reclaimed",
        /// It would be.
        WouldReclaim => "would_reclaim",
        /// Its content was in its row already; its object, which a migration had left behind, went to the recycle bucket.
        Recycled => "recycled",
        /// It would, if it is proven to have the row's content.
        WouldRecycle => "would_recycle",
        /// Its content is in its row, and its object is still named by something else, a link or another row: it stays.
        Kept => "kept",
        /// Somebody changed or is changing its row: for the next run.
        Edited => "edited",
        /// Its row was deleted meanwhile.
        Gone => "gone",
        /// Its row has no content: there is nothing to move.
        NoContent => "no_content",
        /// Another object is under its key, and it is not ours: untouched.
        Differs => "differs",
        /// Its object is not there.
        Missing => "missing",
        /// Larger than a row can have.
        TooLarge => "too_large",
        /// Its object is in an archive class and cannot be read now.
        Archived => "archived",
        /// Its row says another size than its content has: untouched.
        SizeDiffers => "size_differs",
        /// Its object is not proven to have the row's content: the row keeps it.
        Unproven => "unproven",
        /// It could not be done.
        Failed => "failed",
    }
}

impl Migrated {
    /// Is it done, or nothing to be done, or done by the next run?
    pub const fn is_well(self) -> bool {
        self.is_done() || matches!(self, Self::Kept | Self::Edited | Self::Gone | Self::NoContent)
    }

    /// Was, or would be, something done?
    pub const fn is_done(self) -> bool {
        matches!(
            self,
            Self::Migrated
                | Self::AlreadyThere
                | Self::WouldMigrate
                | Self::Reclaimed
                | Self::WouldReclaim
                | Self::Recycled
                | Self::WouldRecycle
        )
    }
}

/// One file's line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileResult {
    /// The file.
    pub file_id: Uuid,
    /// Its schema.
    pub schema: SchemaName,
    /// Its object's key; nothing where none can be made for it.
    pub key: Option<ObjectKey>,
    /// What became of it.
    pub result: Migrated,
    /// Its content's length in bytes, as far as it is known.
    pub bytes: Option<u64>,
    /// What else a person may want to know; never empty where it is not well.
    pub why: Option<String>,
    /// What its content takes in the table, compressed maybe.
    #[serde(skip)]
    pub stored: u64,
    /// The storage was out of reach: others will fare alike.
    #[serde(skip)]
    pub outage: bool,
    /// Its object was to go to the recycle bucket, and did not.
    #[serde(skip)]
    pub stays: bool,
}

/// Files and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// How many.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What their contents take in the table.
    pub stored_bytes: u64,
}

/// What became of all of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// By result.
    pub counts: BTreeMap<Migrated, Count>,
    /// What was or would be done, by schema.
    pub tables: BTreeMap<SchemaName, Count>,
    /// Objects that were to go to the recycle bucket, and did not.
    pub objects_left: u64,
    /// Their files, and others of which something was told: they are not tried twice in one run.
    pub(super) tried: HashSet<Uuid>,
    /// How long was waited for what.
    pub waited: BTreeMap<Wait, Duration>,
    /// What the server wrote to its log meanwhile, by whomever, in bytes; nothing where it was not looked at.
    pub wal: Option<u64>,
    /// This role cannot see what others do at the server, nor replicas.
    pub blind: bool,
    /// A stop was asked for before the end.
    pub interrupted: bool,
    /// Why it ended before the end by itself.
    pub stopped: Option<String>,
}

impl Count {
    fn add(&mut self, file: &FileResult) {
        self.files += 1;
        self.bytes += file.bytes.unwrap_or_default();
        self.stored_bytes += file.stored;
    }
}

impl Summary {
    /// Adds a file.
    pub fn add(&mut self, file: &FileResult) {
        self.counts.entry(file.result).or_default().add(file);
        self.objects_left += u64::from(file.stays);
        self.tried.extend((file.stays || file.why.is_some()).then_some(file.file_id));
        if file.result.is_done() {
            self.tables.entry(file.schema.clone()).or_default().add(file);
        }
    }

    /// How many had this result.
    pub fn of(&self, result: Migrated) -> Count {
        self.counts.get(&result).copied().unwrap_or_default()
    }

    /// What was, or would be, done.
    pub fn done(&self) -> Count {
        let mut all = Count::default();
        for count in self.counts.iter().filter(|(result, _)| result.is_done()).map(|(_, count)| count) {
            all.files += count.files;
            all.bytes += count.bytes;
            all.stored_bytes += count.stored_bytes;
        }
        all
    }

    /// Was all done, as far as it can be?
    pub fn is_well(&self) -> bool {
        let well = self.counts.iter().all(|(result, count)| result.is_well() || count.files == 0);
        well && self.objects_left == 0 && !self.interrupted && self.stopped.is_none()
    }
}

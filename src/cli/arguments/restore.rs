//! `restore`: which files, and how.

use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueEnum};

use super::PointInTime;
use crate::storage::Tier;

/// Which files, and how.
#[allow(clippy::struct_excessive_bools, reason = "switches of a command line")]
#[derive(Args, Clone, Debug)]
#[command(
    group(ArgGroup::new("which").required(true).args(["file", "record", "deleted_since", "to_match_database"])),
    after_long_help = AFTER
)]
pub(in crate::cli) struct Restore {
    /// These files, by the ids of their rows
    #[arg(long, value_name = "ID", num_args = 1..)]
    pub(in crate::cli) file: Vec<String>,
    /// The files of this record, as in Contact:0f8fad5b-d9cb-469f-a165-70867728950e: those whose rows name it, and those that
    /// went with it
    #[arg(long, value_name = "SCHEMA:ID")]
    pub(in crate::cli) record: Option<String>,
    /// The files whose deletion was captured at this time or later, by the ledger (RFC 3339, or a duration back from now)
    #[arg(long, value_name = "TIME")]
    pub(in crate::cli) deleted_since: Option<PointInTime>,
    /// Every file that a row names: what a database that was set back to a backup has, and the object bucket has not. Lists
    /// both buckets once
    #[arg(long, conflicts_with_all = ["force", "with_rows"])]
    pub(in crate::cli) to_match_database: bool,
    /// The moment of the database backup that the rows are of: an object that was written later counts as another one, and
    /// where the object bucket keeps versions, the one of then comes back on top (RFC 3339, or a duration back from now)
    #[arg(long, value_name = "TIME")]
    pub(in crate::cli) backup_time: Option<PointInTime>,
    /// Also files without a row. With --with-rows also rows without a record
    #[arg(long)]
    pub(in crate::cli) force: bool,
    /// Brings back the rows, too, that were deleted with their record because they hung on it by name and id alone
    #[arg(long)]
    pub(in crate::cli) with_rows: bool,
    /// Removes the copy from the recycle bucket, once the object is proven to have the same content. The copy of a file
    /// without a row stays, also with --force
    #[arg(long)]
    pub(in crate::cli) remove_copy: bool,
    /// How fast objects are asked back out of an archive class
    #[arg(long, value_enum, default_value_t = ArchiveTier::Standard)]
    pub(in crate::cli) archive_tier: ArchiveTier,
    /// For how many days an object that was asked out of an archive stays readable
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..=3_650))]
    pub(in crate::cli) archive_days: u16,
    /// Writes a line for each file to this file: JSON, or CSV where its name ends in .csv
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) report: Option<PathBuf>,
    /// Does it
    #[arg(long)]
    pub(in crate::cli) apply: bool,
}

const AFTER: &str = "\
For each file it says one thing: restored, present (there already), requested (asked out of an archive: run the same \
command again later), expired (it was in the recycle bucket, and is no more), never_seen, differs (another or newer \
object is in place: untouched, always), failed. Exit code 1 where any is not restored or present.

Without --apply nothing is changed, and what would be is shown, with its requests. Run it again after an interruption: \
what is there by then is present. The copy in the recycle bucket stays, unless --remove-copy.

Rows that the database itself deleted with their record (by a foreign key) come back from the database backup only; \
--with-rows brings back those that file-recycler deleted, of which it kept an image. It needs the rights of \
deploy/rights/database-restore.sql.

After the database was set back to a backup: file-recycler adopt --for restore --apply, then this, then \
file-recycler adopt --apply. A file that was restored without a row (--force) is moved again by the next event that \
names it.";

/// How fast, and how dear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum ArchiveTier {
    /// Hours
    Standard,
    /// Half a day, the cheapest
    Bulk,
    /// Minutes, where the class has it
    Expedited,
}

impl From<ArchiveTier> for Tier {
    fn from(tier: ArchiveTier) -> Self {
        match tier {
            ArchiveTier::Standard => Self::Standard,
            ArchiveTier::Bulk => Self::Bulk,
            ArchiveTier::Expedited => Self::Expedited,
        }
    }
}

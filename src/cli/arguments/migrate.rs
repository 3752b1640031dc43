//! `migrate`: which contents go where, and how fast.

use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueEnum};

use super::PointInTime;
use super::dlq::rate;

/// Which contents, where to, and what the servers have to bear.
#[allow(clippy::struct_excessive_bools, reason = "switches of a command line")]
#[derive(Args, Clone, Debug)]
#[command(group(ArgGroup::new("what").required(true).args(["to", "reclaim"])), after_long_help = AFTER)]
pub(in crate::cli) struct Migrate {
    /// Where contents go; they stay where they were, too
    #[arg(long, value_enum, value_name = "WHERE")]
    pub(in crate::cli) to: Option<To>,
    /// Clears the contents that a migration to the storage left in the rows, once their objects are proven to have the same
    #[arg(long)]
    pub(in crate::cli) reclaim: bool,
    /// Files of this schema only, as in ContactFile; may be repeated
    #[arg(long, value_name = "SCHEMA")]
    pub(in crate::cli) schema: Vec<String>,
    /// Files of this record only, as in Contact:7c9e6679-7425-40de-944b-e07fc1f90ae7
    #[arg(long, value_name = "SCHEMA:ID")]
    pub(in crate::cli) record: Option<String>,
    /// Files last changed before this time only (RFC 3339, or a duration back from now, as in 90d). Without it all: one that
    /// was changed just now, as what somebody is uploading is, goes once it has not been changed for 15 seconds
    #[arg(long, value_name = "TIME")]
    pub(in crate::cli) older_than: Option<PointInTime>,
    /// Files larger than this only, as in 10MB or 512KiB
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(in crate::cli) larger_than: Option<u64>,
    /// So many files at most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(in crate::cli) limit: Option<u64>,
    /// So many files a second at most, as in 50/s
    #[arg(long, value_name = "N/s", value_parser = rate)]
    pub(in crate::cli) rate: Option<f64>,
    /// So many bytes a second at most, as in 20MB/s
    #[arg(long, value_name = "SIZE/s", value_parser = size)]
    pub(in crate::cli) bandwidth: Option<u64>,
    /// Waits while the database's server writes more than this to its log, as in 32MiB/s, over time; 0: no bound
    #[arg(long, value_name = "SIZE/s", default_value = "64MiB/s", value_parser = size)]
    pub(in crate::cli) wal: u64,
    /// Waits while more than so many sessions of others are at work at the database's server; 0: no bound
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub(in crate::cli) sessions: u32,
    /// Waits while a streaming replica is further behind than this; 0: no bound
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = size)]
    pub(in crate::cli) lag: u64,
    /// With --to database: moves each object to the recycle bucket, once its content is in its row; also those that an earlier
    /// run has left
    #[arg(long)]
    pub(in crate::cli) recycle_objects: bool,
    /// Also where of the files that the CRM itself put into S3 none is found under storage.key_template. A wrong one puts every
    /// content where the CRM does not find it
    #[arg(long)]
    pub(in crate::cli) trust_template: bool,
    /// Writes a line for each file to this file: JSON, or CSV where its name ends in .csv
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) report: Option<PathBuf>,
    /// Does it
    #[arg(long)]
    pub(in crate::cli) apply: bool,
}

/// Where contents go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum To {
    /// From the rows to the object bucket
    Storage,
    /// From the object bucket to the rows
    Database,
}

const AFTER: &str = "\
Without --apply nothing is changed: it is told how many files and bytes it would be. With it, each file is readable at every \
moment: its content is in its new place, and proven, before one statement switches its row, if the row is still what was \
read. A file that somebody changes meanwhile is left for the next run. Stop it at any time (Ctrl-C) and run it again: it goes \
on where it was, by what the rows say.

To the storage, the content stays in the row, too: --reclaim clears it later, and proves each object first. An object with \
other content under a file's key is told, and untouched.

To the database, the object stays: --recycle-objects moves it to the recycle bucket as a worker would, and those that an \
earlier run has left, too, where they are proven to have what their rows have.

It waits while the server's log grows faster than --wal, a replica is further behind than --lag, more than --sessions \
others are at work, the server answers slowly, or the environment is paused.

With --json each file is a line, and the last line is the summary. Exit code 1 where a file could not be moved.

It needs the rights of deploy/rights/database-migrate.sql and iam-migrate.json.";

/// A number of bytes, with or without a unit, a second or not.
fn size(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 10] = [
        ("kib", 1 << 10),
        ("mib", 1 << 20),
        ("gib", 1 << 30),
        ("kb", 1_000),
        ("mb", 1_000_000),
        ("gb", 1_000_000_000),
        ("k", 1 << 10),
        ("m", 1 << 20),
        ("g", 1 << 30),
        ("b", 1),
    ];
    let lower = text.trim().to_ascii_lowercase();
    let plain = lower.strip_suffix("/s").unwrap_or(&lower);
    let (digits, unit) =
        UNITS.iter().find_map(|(name, unit)| Some((plain.strip_suffix(name)?, *unit))).unwrap_or((plain, 1));
    let number = digits.trim_end().parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    number.ok_or_else(|| "is no size as 10MB, 512KiB or 1048576".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_of_ten_and_of_two() {
        for (text, expected) in [
            ("0", Some(0)),
            ("1048576", Some(1_048_576)),
            ("10MB", Some(10_000_000)),
            ("64MiB/s", Some(64 << 20)),
            ("1 g", Some(1 << 30)),
            ("5b", Some(5)),
            ("", None),
            ("MB", None),
            ("-1", None),
            ("1.5MB", None),
            ("18446744073709551615kb", None),
            ("10MB/m", None),
        ] {
            assert_eq!(size(text).ok(), expected, "{text}");
        }
    }
}

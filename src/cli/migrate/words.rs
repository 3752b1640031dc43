//! The summary of a migration: the last line of JSON, or some lines for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use indicatif::{HumanBytes, HumanDuration};
use serde::Serialize;

use super::super::arguments::{Migrate, To};
use crate::db::migrate::Direction;
use crate::file::SchemaName;
use crate::migrate::{FileResult, Migrated, Summary};
use crate::storage::PART;

/// What `--json` prints last.
#[derive(Serialize)]
pub(super) struct Document {
    applied: bool,
    to: &'static str,
    counts: BTreeMap<&'static str, u64>,
    bytes: BTreeMap<&'static str, u64>,
    seconds: f64,
    /// Requests that were made, by operation.
    requests: BTreeMap<&'static str, u64>,
    expected: Expected,
    shrink: Shrink,
    tables: Vec<TableTold>,
    /// What the server wrote to its log meanwhile, by whomever.
    wal_bytes: Option<u64>,
    waited_seconds: BTreeMap<&'static str, f64>,
    interrupted: bool,
    /// Why it ended before the end by itself.
    stopped: Option<String>,
    warnings: Vec<String>,
}

/// What it takes, as far as that is known before.
#[derive(Clone, Serialize)]
pub(super) struct Expected {
    files: u64,
    bytes: u64,
    requests: u64,
    /// At least so long: by the bounds that were given, and by how long a request takes now.
    seconds: u64,
}

/// What comes back in the tables: of a migration to the storage after `--reclaim` only.
#[derive(Serialize)]
struct Shrink {
    /// Becomes free for new rows by VACUUM, which the server does by itself.
    bytes: u64,
}

#[derive(Serialize)]
struct TableTold {
    schema: SchemaName,
    files: u64,
    bytes: u64,
    stored_bytes: u64,
    /// What the whole table takes now.
    table_bytes: Option<u64>,
    #[serde(skip)]
    name: Option<String>,
}

impl Expected {
    /// Of so many files and bytes.
    pub(super) fn new(
        arguments: &Migrate,
        direction: Direction,
        (files, bytes): (u64, u64),
        request: Duration,
        concurrency: usize,
    ) -> Self {
        let parts = bytes / PART as u64;
        let requests = match direction {
            Direction::ToStorage => files + parts,
            // Each is read, looked at and copied; deleted many at a time.
            Direction::ToDatabase if arguments.recycle_objects => 3 * files + files / 250,
            Direction::ToDatabase => 2 * files,
            Direction::Reclaim => files,
        };
        #[allow(clippy::cast_precision_loss, reason = "a guess")]
        let seconds = {
            let [files, bytes, requests, concurrency] =
                [files, bytes, requests, concurrency as u64].map(|count| count as f64);
            let bound =
                |bound: Option<u64>| bound.filter(|bound| *bound > 0).map(|bound| bytes / bound as f64);
            // To clear a content writes the pages that have it to the log once more.
            let wal = bound(Some(arguments.wal)).filter(|_| direction != Direction::ToStorage);
            [
                requests * request.as_secs_f64() / concurrency.max(1.0),
                arguments.rate.map_or(0.0, |rate| files / rate),
                bound(arguments.bandwidth).unwrap_or(0.0),
                wal.unwrap_or(0.0),
            ]
            .into_iter()
            .fold(0.0, f64::max)
        };
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a guess")]
        let seconds = seconds.ceil() as u64;
        Self { files, bytes, requests, seconds }
    }
}

impl Document {
    pub(super) fn new(
        arguments: &Migrate,
        summary: &Summary,
        expected: Expected,
        took: Duration,
        requests: BTreeMap<&'static str, u64>,
        warnings: &[String],
        sizes: &[(SchemaName, String, u64)],
    ) -> Self {
        let of = |what: fn(crate::migrate::Count) -> u64| {
            Migrated::ALL.iter().map(|result| (result.as_str(), what(summary.of(*result)))).collect()
        };
        let tables = summary.tables.iter().map(|(schema, count)| {
            let size = sizes.iter().find(|(sized, ..)| sized == schema);
            TableTold {
                schema: schema.clone(),
                files: count.files,
                bytes: count.bytes,
                stored_bytes: count.stored_bytes,
                table_bytes: size.map(|(.., bytes)| *bytes),
                name: size.map(|(_, name, _)| name.clone()),
            }
        });
        let mut warnings = warnings.to_vec();
        if summary.blind && arguments.apply {
            warnings.push(
                "this role does not see what others do at the server, nor replicas: it waited for neither (GRANT \
                 pg_read_all_stats)"
                    .to_owned(),
            );
        }
        if summary.objects_left > 0 {
            warnings.push(format!("{} objects did not go to the recycle bucket", summary.objects_left));
        }
        let to_database = arguments.to == Some(To::Database);
        Self {
            applied: arguments.apply,
            to: match arguments.to {
                Some(To::Storage) => "storage",
                Some(To::Database) => "database",
                None => "reclaim",
            },
            counts: of(|count| count.files),
            bytes: of(|count| count.bytes),
            seconds: took.as_secs_f64(),
            requests,
            shrink: Shrink { bytes: if to_database { 0 } else { summary.done().stored_bytes } },
            expected,
            tables: tables.collect(),
            wal_bytes: summary.wal,
            waited_seconds: summary
                .waited
                .iter()
                .map(|(wait, time)| (wait.as_str(), time.as_secs_f64()))
                .collect(),
            interrupted: summary.interrupted,
            stopped: summary.stopped.clone(),
            warnings,
        }
    }
}

/// Lines for each result, what it takes or took, what comes back, and files that a person should know of.
pub(super) fn text(document: &Document, summary: &Summary, shown: &[FileResult]) -> String {
    let mut lines = Vec::new();
    for result in Migrated::ALL {
        let count = summary.of(*result);
        if count.files > 0 {
            lines.push(format!("{:<22} {} files, {}", word(*result), count.files, HumanBytes(count.bytes)));
        }
    }
    if document.counts.values().all(|count| *count == 0) {
        lines.push("There is nothing to do.".to_owned());
    }
    if document.applied {
        lines.push(format!("{:<22} {}", "took", HumanDuration(Duration::from_secs_f64(document.seconds))));
        if let Some(wal) = document.wal_bytes.filter(|wal| *wal > 0) {
            lines.push(format!("{:<22} {} by everybody", "server's log", HumanBytes(wal)));
        }
        for (wait, seconds) in document.waited_seconds.iter().filter(|(_, seconds)| **seconds >= 0.1) {
            lines.push(format!("{:<22} {seconds:.1} s", format!("waited for: {wait}")));
        }
    } else if document.expected.files > 0 {
        let Expected { requests, seconds, .. } = document.expected;
        let least = HumanDuration(Duration::from_secs(seconds));
        lines.push(format!("{:<22} {requests} requests, {least} at least", "--apply takes"));
    }
    lines.extend(space(document));
    lines.extend(shown.iter().map(line));
    let told = shown.iter().filter(|file| !file.result.is_done()).count() as u64;
    let not_done = Migrated::ALL.iter().filter(|result| !result.is_done());
    let not_done: u64 = not_done.map(|result| summary.of(*result).files).sum();
    if not_done > told {
        lines.push(format!("… and {} more: --report FILE has them all", not_done - told));
    }
    lines.extend(document.warnings.iter().map(|warning| format!("ATTENTION: {warning}")));
    if let Some(stopped) = &document.stopped {
        lines.push(format!("STOPPED before the end: {stopped}"));
    }
    if document.interrupted {
        lines.push("Interrupted: run it again, it goes on where it stopped.".to_owned());
    }
    if !document.applied {
        lines.push("Nothing is changed yet: --apply does it.".to_owned());
    }
    lines.join("\n")
}

/// What comes back, and by which means.
fn space(document: &Document) -> Vec<String> {
    let bytes = document.shrink.bytes;
    if bytes == 0 {
        return Vec::new();
    }
    if document.to == "storage" {
        let what = if document.applied { "is kept in the rows" } else { "stays in the rows" };
        return vec![format!("{:<22} {} {what} until --reclaim clears it", "space", HumanBytes(bytes))];
    }
    let when = if document.applied { "is" } else { "would be" };
    let mut lines = vec![format!(
        "{:<22} {} {when} free for new rows after VACUUM, which the server does by itself",
        "space",
        HumanBytes(bytes)
    )];
    for table in &document.tables {
        if let (Some(name), Some(size)) = (&table.name, table.table_bytes) {
            let left = HumanBytes(size.saturating_sub(table.stored_bytes));
            lines.push(format!(
                "  {} of {}: VACUUM FULL {name} gives it back to the system; it locks the table meanwhile and needs {left} \
                 beside it",
                HumanBytes(table.stored_bytes),
                HumanBytes(size)
            ));
        }
    }
    lines
}

fn word(result: Migrated) -> &'static str {
    match result {
        Migrated::AlreadyThere => "was there already",
        Migrated::WouldMigrate => "would be migrated",
        Migrated::WouldReclaim => "would be cleared",
        Migrated::Reclaimed => "cleared",
        Migrated::Recycled => "left object recycled",
        Migrated::WouldRecycle => "left object would go",
        Migrated::Kept => "left object is in use",
        Migrated::Edited => "edited, for a next run",
        Migrated::Gone => "deleted meanwhile",
        Migrated::NoContent => "without content",
        Migrated::TooLarge => "too large",
        Migrated::SizeDiffers => "another size",
        Migrated::Migrated
        | Migrated::Differs
        | Migrated::Missing
        | Migrated::Archived
        | Migrated::Unproven
        | Migrated::Failed => result.as_str(),
    }
}

fn line(file: &FileResult) -> String {
    let mut line = format!("{:<12} {} {}", file.result.as_str(), file.schema, file.file_id);
    if let Some(why) = &file.why {
        // Writing to a string cannot fail.
        let _ = write!(line, ": {why}");
    }
    line
}

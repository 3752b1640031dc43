//! The summary of a restore: one JSON document, or some lines.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use indicatif::HumanBytes;
use serde::Serialize;

use super::super::arguments::Restore;
use crate::restore::{Estimate, FileResult, Restored, Summary};

/// What `--json` prints.
#[derive(Serialize)]
pub(super) struct Document {
    applied: bool,
    counts: BTreeMap<&'static str, u64>,
    bytes: BTreeMap<&'static str, u64>,
    rows_inserted: u64,
    copies_removed: u64,
    /// Requests of `--apply` beside the looks: of what is done, or would be.
    estimate: EstimateTold,
    /// Requests that were made, by operation.
    requests: BTreeMap<&'static str, u64>,
    interrupted: bool,
    /// Why it ended before the end by itself.
    stopped: Option<String>,
    /// In a dry run: why --apply would be refused now.
    refused: Option<String>,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct EstimateTold {
    #[serde(flatten)]
    by_kind: Estimate,
    requests: u64,
}

impl Document {
    pub(super) fn new(
        arguments: &Restore,
        summary: &Summary,
        requests: BTreeMap<&'static str, u64>,
        refused: Option<String>,
        warnings: Vec<String>,
    ) -> Self {
        let of = |what: fn(crate::restore::Count) -> u64| {
            Restored::ALL.iter().map(|result| (result.as_str(), what(summary.of(*result)))).collect()
        };
        Self {
            applied: arguments.apply,
            counts: of(|count| count.files),
            bytes: of(|count| count.bytes),
            rows_inserted: summary.rows_inserted,
            copies_removed: summary.copies_removed,
            estimate: EstimateTold { by_kind: summary.estimate, requests: summary.estimate.requests() },
            requests,
            interrupted: summary.interrupted,
            stopped: summary.stopped.clone(),
            refused,
            warnings,
        }
    }
}

/// A line for each result, what it takes, and files that a person should know of.
pub(super) fn text(document: &Document, summary: &Summary, shown: &[FileResult]) -> String {
    let mut lines = Vec::new();
    for result in Restored::ALL {
        let count = summary.of(*result);
        if count.files > 0 {
            let word = word(*result, document.applied);
            lines.push(format!("{word:<22} {} files, {}", count.files, HumanBytes(count.bytes)));
        }
    }
    if summary.files() == 0 {
        lines.push("No file is known that this could mean.".to_owned());
    }
    for (what, count) in
        [("rows brought back", document.rows_inserted), ("copies removed", document.copies_removed)]
    {
        if count > 0 {
            lines.push(format!("{what:<22} {count}"));
        }
    }
    if !document.applied && document.estimate.requests > 0 {
        lines.push(format!("{:<22} {}", "--apply takes", told(&summary.estimate)));
    }
    lines.extend(shown.iter().map(line));
    let not_well = Restored::ALL.iter().filter(|result| !result.is_well());
    let not_well: u64 = not_well.map(|result| summary.of(*result).files).sum();
    let told = shown.iter().filter(|file| !file.result.is_well()).count() as u64;
    if not_well > told {
        lines.push(format!("… and {} more: --report FILE has them all", not_well - told));
    }
    lines.extend(document.warnings.iter().map(|warning| format!("ATTENTION: {warning}")));
    if let Some(refused) = &document.refused {
        lines.push(format!("--apply would be refused: {refused}"));
    }
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

fn word(result: Restored, applied: bool) -> &'static str {
    match (result, applied) {
        (Restored::Restored, false) => "would be restored",
        (Restored::Requested, false) => "in an archive",
        (Restored::Present, _) => "present already",
        (Restored::NeverSeen, _) => "never seen",
        (Restored::Requested, true) => "asked for",
        (Restored::Restored | Restored::Expired | Restored::Differs | Restored::Failed, _) => result.as_str(),
    }
}

/// Requests in words, beside the looks.
fn told(estimate: &Estimate) -> String {
    let kinds = [
        (estimate.copies, "copies"),
        (estimate.in_parts, "copies in parts, begun and completed"),
        (estimate.parts, "parts"),
        (estimate.archive_requests, "requests to an archive"),
        (estimate.removals, "removals"),
    ];
    let kinds: Vec<String> =
        kinds.iter().filter(|(count, _)| *count > 0).map(|(count, kind)| format!("{count} {kind}")).collect();
    format!("{} requests beside the looks ({})", estimate.requests(), kinds.join(", "))
}

fn line(file: &FileResult) -> String {
    let mut line = format!("{:<11} {}", file.result.as_str(), file.file_id);
    if let Some(key) = file.key.as_ref().filter(|key| key.as_str() != file.file_id.as_str()) {
        // Writing to a string cannot fail.
        let _ = write!(line, " ({key})");
    }
    if let Some(why) = &file.why {
        let _ = write!(line, ": {why}");
    }
    line
}

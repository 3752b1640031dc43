//! Rows of files that went with their record, and what became of the files, in a sentence: pure.

use std::collections::BTreeMap;

use time::OffsetDateTime;

use super::age::when;
use crate::db::explain::GoneRow;
use crate::db::ledger::ERASED;
use crate::outcome::Outcome;

/// Of how many of these the ledger has nothing yet.
pub(super) fn pending(rows: &[GoneRow]) -> usize {
    rows.iter().filter(|row| row.outcome.is_none()).count()
}

/// The sentence about them; nothing where there are none.
pub(super) fn told(rows: &[GoneRow], total: u64, now: OffsetDateTime) -> Option<String> {
    let last = when(rows.first()?.deleted_at, now);
    let mut became: BTreeMap<&str, usize> = BTreeMap::new();
    for row in rows {
        *became.entry(outcome(row)).or_default() += 1;
    }
    let became: Vec<String> = became.into_iter().map(|(what, count)| format!("{count} {what}")).collect();
    let rows_went = if total == 1 { "1 row of a file".to_owned() } else { format!("{total} rows of files") };
    let of = if (rows.len() as u64) < total {
        format!("of the last {} files ", rows.len())
    } else {
        String::new()
    };
    let verb = if total == 1 { "was" } else { "were" };
    Some(format!(
        "{rows_went} that named it {verb} deleted because it was gone, the last {last}: {of}{}.",
        became.join(", ")
    ))
}

/// What became of the file, as a word after a number.
pub(super) fn outcome(row: &GoneRow) -> &str {
    match row.outcome.as_deref() {
        None => "not noted yet",
        Some(word) if word == Outcome::Moved.as_str() => "moved to the recycle bucket",
        Some(word) if word == Outcome::AlreadyMoved.as_str() => "in the recycle bucket before",
        Some(word) if word == Outcome::Missing.as_str() => "in neither bucket",
        Some(word) if word == ERASED => "erased for good",
        Some(word) => word,
    }
}

//! What would happen to a file now, and why, in plain words: a pure function over what was found.

use std::time::Duration;

use serde::Serialize;
use time::OffsetDateTime;

use super::age::{moment, when};
use super::found::{Environment, Foretold, Found, Hold, Message, Names, Object};
use super::{at_work, record};
use crate::db::explain::{DATABASE, FileRow, LedgerRow, OutboxRow, RowType};
use crate::db::ledger::ERASED;
use crate::outcome::{DeadReason, Outcome};

mod living;
#[cfg(test)]
mod tests;

/// What an id is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A file, living or not.
    File,
    /// A record, living or not.
    Record,
    /// Some have it as a file's and some as a record's.
    Both,
    /// Nothing knows it.
    Unknown,
}

/// What would be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Would {
    /// Nothing: there is nothing to do, or nothing may be done.
    Nothing,
    /// It stays where it is.
    Stay,
    /// It moves to the recycle bucket; of a record: files of it move.
    Move,
}

/// What would happen now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// What the id is.
    pub kind: Kind,
    /// What would happen, and why.
    pub verdict: String,
    /// What would be done now.
    pub would: Would,
    /// What would be done as soon as nothing holds everything up; nothing where nothing does.
    pub then: Option<Would>,
}

/// What would be done with one thing, and a sentence that begins with a capital.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fate {
    pub(super) would: Would,
    pub(super) sentence: String,
}

impl Fate {
    pub(super) fn new(would: Would, sentence: impl Into<String>) -> Self {
        Self { would, sentence: sentence.into() }
    }
}

/// Decides.
pub fn judge(found: &Found, now: OffsetDateTime) -> Verdict {
    let kind = kind(found);
    let fate = match kind {
        Kind::File => fate(found, now),
        Kind::Record => record::fate(found, now),
        Kind::Both => {
            let (file, record) = (fate(found, now), record::fate(found, now));
            let sentence = format!("As a file: {} As a record: {}", file.sentence, record.sentence);
            Fate::new(file.would.max(record.would), sentence)
        }
        Kind::Unknown => unknown(found),
    };
    let hold = found.environment.as_ref().and_then(|environment| environment.hold.as_ref());
    match hold.filter(|_| fate.would == Would::Move) {
        None => {
            let nobody = nobody_at_work(found).filter(|_| fate.would == Would::Move);
            let verdict = [Some(fate.sentence), nobody].into_iter().flatten().collect::<Vec<_>>().join(" ");
            Verdict { kind, verdict, would: fate.would, then: None }
        }
        Some(hold) => Verdict {
            kind,
            verdict: held(hold, &fate.sentence),
            would: Would::Nothing,
            then: Some(fate.would),
        },
    }
}

/// Why nobody would do what may be done.
fn nobody_at_work(found: &Found) -> Option<String> {
    let relayed = found.outbox.as_ref().is_some_and(|rows| !rows.is_empty());
    at_work::nobody(found.processes.as_deref(), relayed)
}

fn kind(found: &Found) -> Kind {
    let is_file = found.file_rows().next().is_some()
        || found.links_of_file().next().is_some()
        || found.ledger_of_file().next().is_some()
        || found.images.iter().flatten().next().is_some()
        || found.outbox_rows("files", found.id).next().is_some()
        || found.messages_that_name(Names::File).next().is_some()
        || found
            .objects
            .as_ref()
            .is_some_and(|it| it.object.is_some() || it.recycle.is_some() || it.other.is_some());
    match (is_file, record::is_one(found)) {
        (true, true) => Kind::Both,
        (true, false) => Kind::File,
        (false, true) => Kind::Record,
        (false, false) => Kind::Unknown,
    }
}

fn unknown(found: &Found) -> Fate {
    let id = found.id;
    let mut sentence = format!("Nothing is known of {id}: no row, link, object or note has it");
    if found.messages_that_name(Names::Text).next().is_some() {
        sentence.push_str("; only a dead letter that is no event has it in its text");
    }
    if found.discarded.iter().flatten().next().is_some() {
        sentence.push_str("; a message that names it was discarded");
    }
    if !found.errors.is_empty() {
        let parts: Vec<&str> = found.errors.keys().copied().collect();
        sentence.push_str("; but not everything could be asked (");
        sentence.push_str(&parts.join(", "));
        sentence.push(')');
    }
    sentence.push('.');
    Fate::new(Would::Nothing, sentence)
}

fn held(hold: &Hold, sentence: &str) -> String {
    let (why, until) = hold.told();
    let mut letters = sentence.chars();
    let first = letters.next().map(|letter| letter.to_lowercase().to_string()).unwrap_or_default();
    format!("Nothing would move now because {why}; {until}, {first}{}", letters.as_str())
}

fn fate(found: &Found, now: OffsetDateTime) -> Fate {
    match &found.foretold {
        None => untold(found),
        Some(Foretold::Ends(Outcome::Alive)) => living::alive(found, now),
        Some(Foretold::Ends(Outcome::Elsewhere)) => elsewhere(found),
        Some(Foretold::Ends(Outcome::AlreadyMoved)) => {
            Fate::new(Would::Nothing, format!("{}; nothing would happen.", recycled(found, now)))
        }
        Some(Foretold::Ends(Outcome::Missing)) => missing(found, now),
        Some(Foretold::Ends(Outcome::WouldMove | Outcome::Moved)) => dead(found, now),
        // The code tells these two as failures.
        Some(Foretold::Ends(Outcome::Conflict | Outcome::Failed)) => fails(found, None, "it would fail", now),
        Some(Foretold::Fails(reason, error)) => fails(found, *reason, error, now),
    }
}

pub(super) fn untold(found: &Found) -> Fate {
    let named = ["database", "catalog", "rows", "records", "links", "would", "objects", "storage"];
    let why = named.iter().find_map(|part| Some(format!("{part}: {}", found.errors.get(part)?)));
    let why = why.unwrap_or_else(|| "not everything could be asked".to_owned());
    Fate::new(
        Would::Nothing,
        format!("It cannot be told what would happen ({why}). Nothing moves before that is answered."),
    )
}

/// Since when it has waited, and until when the grace period keeps it.
pub(super) fn in_outbox(what: &str, row: &OutboxRow, found: &Found, now: OffsetDateTime) -> String {
    let since = when(row.captured_at, now);
    let kept = kept_by_grace(row.seen_at, found.environment.as_ref(), now);
    format!("{what} has waited in the outbox since {since}{kept}")
}

/// Until when the grace period keeps what a relay first saw then, as a part of a sentence; nothing where it is over.
pub(super) fn kept_by_grace(
    seen_at: Option<OffsetDateTime>,
    environment: Option<&Environment>,
    now: OffsetDateTime,
) -> String {
    let grace = environment.map_or(0, |environment| environment.grace_seconds);
    let due = seen_at.unwrap_or(now) + Duration::from_secs(grace);
    if due > now { format!(", where recycle.grace keeps it until {}", moment(due)) } else { String::new() }
}

fn in_dead_letters(letter: &Message, now: OffsetDateTime) -> String {
    let since = letter.last_failure.map(|last| format!(" since {}", when(last, now))).unwrap_or_default();
    let reason = letter.reason.map_or("moved there by the broker", DeadReason::as_str);
    format!(
        "its message is in the dead-letter queue{since} ({reason}): after the repair, file-recycler dlq replay --id \
         '{}' --apply",
        letter.id
    )
}

/// A row names it, and no content of it is in S3.
fn elsewhere(found: &Found) -> Fate {
    let row = found.file_rows().next();
    let has_no_content = row.is_some_and(|row| {
        matches!(row.kind, Some(RowType::WebLink | RowType::EntityLink)) && found.file_rows().count() == 1
    });
    let object = found.objects.as_ref().and_then(|both| both.object.as_ref());
    let is_file = |row: &FileRow| row.storage.is_none() || row.kind == Some(RowType::File);
    let mut sentence = match row {
        Some(row) if has_no_content => {
            let kind = if row.kind == Some(RowType::WebLink) { "web link" } else { "link to an entity" };
            format!("It stays: its row in {} is a {kind}, which has no content of its own.", row.schema)
        }
        Some(row) if !is_file(row) => format!(
            "It stays: its row in {} is no file by its type, because its TypeId is {}; its storage is '{}'.",
            row.schema,
            if row.kind.is_none() { "empty" } else { "none that we know" },
            row.storage.as_deref().unwrap_or("unknown")
        ),
        Some(row) => format!(
            "The file stays: its row in {} says that its content is not in S3 but in storage '{}'.",
            row.schema,
            row.storage.as_deref().unwrap_or("unknown")
        ),
        None => "The file stays: its row says that its content is not in S3.".to_owned(),
    };
    if let Some(object) = object {
        let in_database = row.is_some_and(|row| is_file(row) && row.storage.as_deref() == Some(DATABASE));
        sentence.push_str(&left_behind(found, object, in_database));
    }
    Fate::new(Would::Stay, sentence)
}

/// An object under the key of a file whose row says that its content is elsewhere.
fn left_behind(found: &Found, object: &Object, in_database: bool) -> String {
    let all_the_same = " An object under its key is in the object bucket all the same";
    let environment = found.environment.as_ref().and_then(|it| it.id).map(|id| id.to_string());
    match &object.migrated_by {
        // Only between the database and S3 does a migration lead anywhere.
        _ if !in_database => format!("{all_the_same}; it is left alone."),
        Some(by) if Some(by) == environment.as_ref() => format!(
            "{all_the_same}, and bears the mark of our own migration to the storage: that was cut off before it switched the \
             row, or the file has gone back to the database since. It is left alone; file-recycler migrate --to storage \
             goes on where it was cut off, and file-recycler migrate --to database --recycle-objects puts it away."
        ),
        _ => format!(
            "{all_the_same}, as a migration leaves it; it is left alone. If it has the very content of the row, \
             file-recycler migrate --to storage switches the row to it, and file-recycler migrate --to database \
             --recycle-objects puts it away; else both leave it as it is."
        ),
    }
}

/// Where and since when it is in the recycle bucket.
fn recycled(found: &Found, now: OffsetDateTime) -> String {
    let copied = found.objects.as_ref().and_then(|both| both.recycle.as_ref()?.last_modified);
    let noted = found.ledger_of_file().find(|row| is_moved(row));
    let since = copied.or_else(|| noted.map(|row| row.recycled_at));
    let since = since.map(|since| format!(" since {}", when(since, now))).unwrap_or_default();
    let by = match noted {
        Some(row) if row.outcome == Outcome::Moved.as_str() => format!("moved by event {}", row.event_id),
        Some(row) => {
            format!("where event {} found it: the CRM, or an earlier try, had moved it", row.event_id)
        }
        None => "and the ledger does not say by which event".to_owned(),
    };
    format!("It is in the recycle bucket{since}, {by}")
}

fn is_moved(row: &LedgerRow) -> bool {
    row.outcome == Outcome::Moved.as_str() || row.outcome == Outcome::AlreadyMoved.as_str()
}

fn missing(found: &Found, now: OffsetDateTime) -> Fate {
    let past = match found.ledger_of_file().next() {
        Some(row) if row.outcome == ERASED => {
            format!("It was erased for good at {}, by erasure {}", when(row.recycled_at, now), row.event_id)
        }
        Some(row) if is_moved(row) => format!(
            "The ledger says that it went to the recycle bucket at {}, by event {}; since then it has expired there, or \
             somebody deleted it",
            when(row.recycled_at, now),
            row.event_id
        ),
        Some(row) => format!(
            "Event {} found it in neither bucket at {}, too",
            row.event_id,
            when(row.recycled_at, now)
        ),
        None => "The ledger has nothing about it".to_owned(),
    };
    if let Some(other) = found.objects.as_ref().and_then(|both| both.other.as_ref()) {
        let template = found.objects.as_ref().map_or("", |both| both.template.as_str());
        return Fate::new(
            Would::Nothing,
            format!(
                "Neither bucket has it under its key by storage.key_template '{template}', so nothing would move; but {} \
                 has an object of it under '{}', as '{}' gives it; file-recycler doctor says whether the template is the right one. {past}.",
                other.bucket(),
                other.key,
                other.template
            ),
        );
    }
    Fate::new(Would::Nothing, format!("It is in neither bucket, so nothing would happen. {past}."))
}

/// Nothing names it any more, and its object is where living files are.
fn dead(found: &Found, now: OffsetDateTime) -> Fate {
    let letter = found.messages_that_name(Names::File).next();
    let why = "no row and no link names it any more";
    let queued = found.queues.as_ref().map(|queues| queues.work.unwrap_or_default() + queues.wait);
    let carrier = match (found.outbox_rows("files", found.id).next(), letter, queued) {
        (Some(row), ..) => in_outbox("its deletion", row, found, now),
        (None, Some(letter), _) => in_dead_letters(letter, now),
        (None, None, None) => "whether an event about it is on its way could not be seen".to_owned(),
        (None, None, Some(0)) => {
            "but no event about it is on its way, so it waits for one (file-recycler emit sends one)"
                .to_owned()
        }
        (None, None, Some(many)) => format!(
            "an event about it may be among the {many} messages of the work and wait queues, which are only counted"
        ),
    };
    Fate::new(Would::Move, format!("It would move to the recycle bucket: {why}; {carrier}."))
}

fn fails(found: &Found, reason: Option<DeadReason>, error: &str, now: OffsetDateTime) -> Fate {
    let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
    let letter = found.messages_that_name(Names::File).next();
    let letter = letter.map(|letter| format!(" Now {}.", in_dead_letters(letter, now))).unwrap_or_default();
    let error = error.trim_end_matches('.');
    Fate::new(
        Would::Stay,
        format!("The file stays, although nothing names it any more{reason}: {error}.{letter}"),
    )
}

//! The explanation for people: the verdict first, then a section for each part, in aligned lines.

use std::fmt::Write as _;

use time::OffsetDateTime;

use crate::db::explain::{FileRow, GoneRow, LedgerRow, Link, RowType};
use crate::db::process::Process;
use crate::explain::{
    Environment, Explanation, Found, Keyed, Message, Names, Object, Queues, Row, moment, when,
};

/// Lines of text, in sections.
struct Page {
    text: String,
    now: OffsetDateTime,
}

impl Page {
    /// One section: its lines, or that there is nothing, or why it could not be asked.
    fn section(&mut self, name: &str, errors: &[Option<&String>], lines: Option<Vec<String>>, none: &str) {
        let none = if lines.is_none() { "not asked" } else { none };
        let mut lines = lines.unwrap_or_default();
        let errors: Vec<_> = errors.iter().flatten().map(|error| format!("NOT ASKED: {error}")).collect();
        if lines.is_empty() && errors.is_empty() {
            lines.push(none.to_owned());
        }
        for (number, line) in lines.iter().chain(&errors).enumerate() {
            let name = if number == 0 { name } else { "" };
            // Writing to a string cannot fail.
            let _ = writeln!(self.text, "{name:<12} {line}");
        }
    }

    fn when(&self, time: OffsetDateTime) -> String {
        when(time, self.now)
    }

    fn maybe(&self, time: Option<OffsetDateTime>) -> String {
        time.map_or_else(|| "at an unknown time".to_owned(), |time| self.when(time))
    }
}

pub(super) fn text(explanation: &Explanation, now: OffsetDateTime) -> String {
    let Explanation { verdict, found } = explanation;
    let kind = serde_json::to_value(verdict.kind).unwrap_or_default();
    let mut page = Page { text: format!("{}\n\n", verdict.verdict), now };
    let kind = kind.as_str().unwrap_or("unknown").to_owned();
    page.section("id", &[], Some(vec![format!("{} ({kind})", found.id)]), "");
    what_the_crm_has(&mut page, found);
    what_the_buckets_have(&mut page, found);
    what_we_remember(&mut page, found);
    what_is_on_its_way(&mut page, found);
    environment(&mut page, found);
    if !found.notes.is_empty() {
        page.section("note", &[], Some(found.notes.clone()), "");
    }
    page.text.trim_end().to_owned()
}

fn what_the_crm_has(page: &mut Page, found: &Found) {
    let error = |name: &str| found.errors.get(name);
    let rows = found.rows.as_ref().map(|rows| rows.iter().map(row).collect());
    let database = [error("database"), error("catalog"), error("rows"), error("records")];
    page.section("rows", &database, rows, "no table has this id");
    let links = found.links.as_ref().map(|links| links.iter().map(|link| shown(link, found)).collect());
    page.section("links", &[error("links")], links, "none");
    let mut files: Vec<String> = found.files.iter().flatten().map(file).collect();
    files.extend(found.hanging.iter().map(|hanging| {
        format!(
            "on {} {}, which is gone: {} that would go, {} kept by links, {} by foreign keys, {} not in S3",
            hanging.schema,
            hanging.record_id,
            hanging.free,
            hanging.linked,
            hanging.referenced,
            hanging.elsewhere
        )
    }));
    if !files.is_empty() || error("files").is_some() || error("hanging").is_some() {
        page.section("files", &[error("files"), error("hanging")], Some(files), "");
    }
}

fn what_the_buckets_have(page: &mut Page, found: &Found) {
    let lines = found.objects.as_ref().map(|both| {
        let key = both.key.as_ref().map_or_else(
            || "no key: the template needs the file's schema".to_owned(),
            |key| format!("key {key} (by storage.key_template {})", both.template),
        );
        let line = |name: &str, object: &Option<Object>| {
            let shown = object.as_ref().map(|object| object_in_words(object, page));
            format!("{name:<8} {}", shown.unwrap_or_else(|| "not there".to_owned()))
        };
        let other = both.other.as_ref().map(|other| {
            let (object, recycle) = (other.object.then_some("object"), other.recycle.then_some("recycle"));
            let buckets: Vec<&str> = object.into_iter().chain(recycle).collect();
            format!(
                "OTHER    key {} is there (by the template {}): {}",
                other.key,
                other.template,
                buckets.join(" and ")
            )
        });
        let both = [key, line("object", &both.object), line("recycle", &both.recycle)];
        both.into_iter().chain(other).collect()
    });
    page.section("objects", &[found.errors.get("objects")], lines, "not asked");
}

fn object_in_words(object: &Object, page: &Page) -> String {
    let version = object.version_id.as_ref().map(|version| format!(", version {version}"));
    let state = match (object.archived, object.locked) {
        (true, _) => ", archived",
        (_, true) => ", locked",
        _ => "",
    };
    let mark = object.migrated_by.as_ref();
    let mark = mark.map(|by| format!(", migrated there by environment {}", by.escape_debug()));
    format!(
        "{} bytes in {}, written {}, ETag {}, {}{}{state}{}",
        object.size,
        object.bucket,
        page.maybe(object.last_modified),
        object.etag,
        object.storage_class,
        version.unwrap_or_default(),
        mark.unwrap_or_default(),
    )
}

fn what_we_remember(page: &mut Page, found: &Found) {
    let error = |name: &str| found.errors.get(name);
    let ledger = found.ledger.as_ref().map(|rows| rows.iter().map(|row| ledger(row, page)).collect());
    page.section("ledger", &[error("ledger")], ledger, "nothing");
    let gone = found.gone_rows.iter().flatten().map(|row| gone(row, page));
    let gone: Vec<String> = gone.collect();
    if !gone.is_empty() || error("gone_rows").is_some() {
        page.section("went with it", &[error("gone_rows")], Some(gone), "");
    }
    let images = found.images.iter().flatten().map(|image| {
        format!(
            "its row in {} was deleted {}, because {} {} was gone (event {})",
            image.table,
            page.when(image.deleted_at),
            image.record_schema,
            image.record_id,
            image.event_id
        )
    });
    let held = found.held.iter().flatten().map(|held| {
        format!(
            "{} {} is remembered as deleted since {} (event {})",
            held.record_schema,
            held.record_id,
            page.when(held.noted_at),
            held.event_id
        )
    });
    let remembered: Vec<String> = images.chain(held).collect();
    if !remembered.is_empty() || error("images").is_some() || error("held").is_some() {
        page.section("remembered", &[error("images"), error("held")], Some(remembered), "");
    }
}

fn what_is_on_its_way(page: &mut Page, found: &Found) {
    let error = |name: &str| found.errors.get(name);
    let outbox = found.outbox.as_ref().map(|rows| {
        let line = |row: &crate::db::explain::OutboxRow| {
            let seen = row.seen_at.map(|seen| format!(", first seen by a relay {}", page.when(seen)));
            format!(
                "row {}: {} of {}, captured {}{}",
                row.id,
                row.kind,
                row.schema,
                page.when(row.captured_at),
                seen.unwrap_or_default()
            )
        };
        rows.iter().map(line).collect()
    });
    page.section("outbox", &[error("outbox")], outbox, "nothing waits");
    let letters =
        found.messages.as_ref().map(|letters| letters.iter().map(|letter| message(letter, page)).collect());
    page.section("dead letters", &[error("messages")], letters, "none names it");
    if let Some(queues) = &found.queues {
        page.section("queues", &[], Some(counts(queues)), "");
    }
    let replays = found.replays.iter().flatten().map(|row| {
        let outcome = row.outcome.as_deref().unwrap_or("no outcome yet");
        format!("replayed {} by {} on {}: {outcome}", page.when(row.selected_at), row.who, row.host)
    });
    let discarded = found.discarded.iter().flatten().map(|row| {
        let who = format!("{} by {} on {}", page.when(row.discarded_at), row.who, row.host);
        format!("message {} was discarded {who}: {}", row.message_id, row.why)
    });
    let suspects = found.suspects.iter().flatten().map(|row| {
        let id = row.message_id.as_deref().unwrap_or("without an id");
        format!(
            "message {id} is a suspect: {} workers died over it, seen {}",
            row.crashes,
            page.when(row.seen_at)
        )
    });
    let past: Vec<String> = replays.chain(discarded).chain(suspects).collect();
    let errors = [error("replays"), error("discarded"), error("suspects")];
    if !past.is_empty() || errors.iter().any(Option::is_some) {
        page.section("messages", &errors, Some(past), "");
    }
}

fn environment(page: &mut Page, found: &Found) {
    let lines = found.environment.as_ref().map(|it| in_words(it, page));
    page.section(
        "environment",
        &[found.errors.get("storage"), found.errors.get("would")],
        lines,
        "not asked",
    );
    let processes = found.processes.as_ref().map(|all| all.iter().map(process).collect());
    page.section("processes", &[found.errors.get("processes")], processes, "none has told of itself lately");
}

fn process(process: &Process) -> String {
    let state = match (process.ready, &process.why) {
        (true, _) => "ready".to_owned(),
        (false, Some(why)) => format!("not ready: {why}"),
        (false, None) => "not ready".to_owned(),
    };
    format!("{} {}, {state}", process.halves, process.name)
}

fn in_words(environment: &Environment, page: &Page) -> Vec<String> {
    let id = environment.id.map_or_else(|| "none".to_owned(), |id| id.to_string());
    let adopted = environment
        .adopted_at
        .map_or_else(|| "never adopted".to_owned(), |at| format!("adopted {}", page.when(at)));
    let mut lines = vec![format!("{id}, database {}, {adopted}", environment.database)];
    lines.push(format!("guard: {}", environment.guard));
    lines.extend(environment.paused.as_ref().map(|pause| {
        format!("paused {} by {} on {}: {}", page.when(pause.at), pause.by, pause.from, pause.why)
    }));
    lines
}

fn row(row: &Row) -> String {
    match row {
        Row::File(row) => file(row),
        Row::Record(row) => format!("{:<20} record, in {}", row.schema, row.table),
    }
}

fn file(row: &FileRow) -> String {
    // Where its table tells no storage, it tells no type either.
    let none = if row.storage.is_some() { "no type" } else { "file" };
    let kind = row.kind.map_or(none, RowType::as_str);
    let storage = row.storage.as_deref().unwrap_or("a storage that its table does not tell");
    let size = row.size.map(|size| format!(", {size} bytes")).unwrap_or_default();
    let data = row.data_bytes.filter(|bytes| row.in_s3 && *bytes > 0);
    let data = data.map(|bytes| format!(", {bytes} bytes in the row as well")).unwrap_or_default();
    let parent = row.parent.as_ref().map_or_else(
        || ", of no record".to_owned(),
        |parent| {
            let there = match parent.exists {
                Some(true) => "exists",
                Some(false) => "does not exist",
                None => "is of an unknown schema",
            };
            format!(", of {} {}, which {there} (column {})", parent.schema, parent.id, parent.column)
        },
    );
    format!(
        "{:<20} {kind} {}, content in {storage}{size}{data}{parent}; in {}",
        row.schema, row.id, row.table
    )
}

fn shown(link: &Link, found: &Found) -> String {
    let there = match link.record_exists {
        Some(true) => "exists",
        Some(false) => "does not exist",
        None => "is of an unknown schema",
    };
    if link.file_id == found.id {
        format!("shown on {} {}, which {there}", link.record_schema, link.record_id)
    } else {
        format!("shows {} {}", link.file_schema, link.file_id)
    }
}

fn ledger(row: &LedgerRow, page: &Page) -> String {
    let record = row.record_schema.as_deref().zip(row.record_id.as_deref());
    let record = record.map(|(schema, id)| format!(", with {schema} {id}")).unwrap_or_default();
    let deleted = row.deleted_at.map(|at| format!(", deleted {}", moment(at))).unwrap_or_default();
    let size = row.size.map(|size| format!(", {size} bytes")).unwrap_or_default();
    format!(
        "{} {}: file {}{size}{record}{deleted}, event {}",
        row.outcome,
        page.when(row.recycled_at),
        row.file_id,
        row.event_id
    )
}

fn gone(row: &GoneRow, page: &Page) -> String {
    let noted = row.noted_at.map(|at| format!(" {}", page.when(at))).unwrap_or_default();
    format!(
        "{:<20} file {}, its row deleted {}, because {} was gone (event {}): {}{noted}",
        row.table,
        row.row_id,
        page.when(row.deleted_at),
        row.record_schema,
        row.event_id,
        row.outcome.as_deref().unwrap_or("not noted yet"),
    )
}

fn message(letter: &Message, page: &Page) -> String {
    let names = match letter.names {
        Names::File => "names the file",
        Names::Record => "is about the record",
        Names::Owner => "is about the record that the file belonged to",
        Names::Text => "has the id somewhere in it, and is no event",
    };
    format!(
        "{} {names}: {}, {} attempts, last {}: {}",
        letter.id,
        letter.reason.map_or("no reason given", |reason| reason.as_str()),
        letter.attempts,
        page.maybe(letter.last_failure),
        letter.error.as_deref().unwrap_or("no error text")
    )
}

fn counts(queues: &Queues) -> Vec<String> {
    let count = |count: Option<u64>| count.map_or_else(|| "missing".to_owned(), |count| count.to_string());
    vec![
        format!("{} work, {} waiting, {} dead", count(queues.work), queues.wait, count(queues.dead)),
        queues.not_looked_at.to_owned(),
    ]
}

/// The answer about files that are known by their keys.
pub(super) fn keyed(explanation: &Keyed) -> String {
    let mut lines = vec![explanation.verdict.clone()];
    for row in explanation.rows.iter().chain(&explanation.shared_with) {
        let key = row.key.as_deref().map_or("no object".to_owned(), |key| format!("key '{key}'"));
        let record = row.record_schema.as_ref().zip(row.record_id.as_ref());
        let record = record.map(|(schema, id)| format!(", of {schema} {id}")).unwrap_or_default();
        lines.push(format!("row: {} {}, {key}{record}", row.schema, row.id));
    }
    for file in &explanation.files {
        let there = |object: &Option<Object>| if object.is_some() { "there" } else { "absent" };
        let (object, recycle) = (there(&file.objects.object), there(&file.objects.recycle));
        lines.push(format!(
            "object '{}': {object} in the object bucket, {recycle} in the recycle bucket",
            file.key
        ));
    }
    for row in &explanation.ledger {
        lines.push(format!(
            "ledger: '{}' {} {} (event {})",
            row.key,
            row.outcome,
            moment(row.recycled_at),
            row.event_id
        ));
    }
    for row in &explanation.gone_rows {
        let outcome = row.outcome.as_deref().unwrap_or("not noted yet");
        lines.push(format!(
            "went with it: {} {}, its row deleted {}, because {} was gone (event {}): {outcome}",
            row.table,
            row.row_id,
            moment(row.deleted_at),
            row.record_schema,
            row.event_id
        ));
    }
    for message in &explanation.messages {
        let reason = message.reason.map_or("moved there by the broker", |reason| reason.as_str());
        lines.push(format!("dead letter: {} ({reason})", message.id));
    }
    lines.extend(explanation.notes.iter().map(|note| format!("note: {note}")));
    lines.extend(
        explanation.errors.iter().map(|(part, error)| format!("could not be asked: {part}: {error}")),
    );
    lines.join("\n")
}

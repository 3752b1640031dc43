//! What would happen to a record's files now, and why: pure, like the verdict on a file.

use time::OffsetDateTime;

use super::age::when;
use super::found::{Found, Hanging, Names};
use super::verdict::{Fate, Would};
use crate::config::DanglingRows;

/// Is the id a record's, living or not?
pub(super) fn is_one(found: &Found) -> bool {
    found.record_rows().next().is_some()
        || found.links_of_record().next().is_some()
        || found.files.iter().flatten().next().is_some()
        || found.ledger_of_record().next().is_some()
        || held(found)
        || found.outbox_rows("records", found.id).next().is_some()
        || found.outbox.iter().flatten().any(|row| row.parents.contains(&found.id))
        || found.messages_that_name(Names::Record).next().is_some()
}

fn held(found: &Found) -> bool {
    found.held.iter().flatten().any(|row| row.record_id == found.id)
}

pub(super) fn fate(found: &Found, now: OffsetDateTime) -> Fate {
    if let Some(row) = found.record_rows().next() {
        return lives(found, &row.schema);
    }
    let waiting: u64 = found.outbox.iter().flatten().filter(|row| is_about(row, found)).map(|_| 1).sum();
    let waiting_files = found.outbox.iter().flatten().any(|row| row.parents.contains(&found.id));
    let captured = found.outbox_rows("records", found.id).next();
    let letter = found.messages_that_name(Names::Record).next();
    let known = waiting > 0 || letter.is_some() || held(found) || found.ledger_of_record().next().is_some();
    let hanging = sum(found);
    if !known {
        return absent(found, &hanging);
    }
    let leaves = found.environment.as_ref().is_some_and(|it| it.dangling_rows == DanglingRows::Leave);
    let free = if leaves { 0 } else { hanging.free };
    let carrier = captured.or_else(|| found.outbox.iter().flatten().find(|row| is_about(row, found)));
    if let Some(row) = carrier {
        let since = when(row.captured_at, now);
        let moving = waiting_files || free > 0;
        let what = if moving {
            format!("its files would move{}", and_kept(&hanging))
        } else {
            format!("no file of it is known that would move{}", and_kept(&hanging))
        };
        let would = if moving { Would::Move } else { stays(&hanging) };
        return Fate::new(
            would,
            format!("It was deleted, and that has waited in the outbox since {since}: {what}."),
        );
    }
    if let Some(letter) = letter {
        let would = if letter.files > 0 || free > 0 { Would::Move } else { stays(&hanging) };
        return Fate::new(
            would,
            format!(
                "It was deleted, and the message about it is in the dead-letter queue ({}): file-recycler dlq show --id \
                 '{}' tells what would happen to its {} files{}.",
                letter.reason.map_or("moved there by the broker", |reason| reason.as_str()),
                letter.id,
                letter.files,
                and_kept(&hanging)
            ),
        );
    }
    done(found, &hanging, free, now)
}

fn is_about(row: &crate::db::explain::OutboxRow, found: &Found) -> bool {
    row.kind == "records" && row.named.contains(&found.id) || row.parents.contains(&found.id)
}

fn lives(found: &Found, schema: &str) -> Fate {
    let own = match found.files_total {
        0 => "it has no files of its own".to_owned(),
        1 => "its 1 own file stays".to_owned(),
        many => format!("its {many} own files stay"),
    };
    let linked = match found.links_of_record().count() {
        0 => "",
        _ => ", and it shows others through links, which stay, too",
    };
    Fate::new(Would::Stay, format!("The record exists in {schema}: {own}{linked}."))
}

/// Nobody has told us of a deletion.
fn absent(found: &Found, hanging: &Hanging) -> Fate {
    let hangs = hanging.free + hanging.linked + hanging.referenced + hanging.elsewhere;
    let hangs = hangs.max(found.files_total);
    let links = found.links_of_record().count();
    Fate::new(
        Would::Stay,
        format!(
            "There is no such record, and no deletion of it is known here: it may not be saved yet. What names it stays: \
             {} and {}.",
            files(hangs, " file", " files"),
            files(links as u64, " link", " links"),
        ),
    )
}

/// Its deletion has been worked off.
fn done(found: &Found, hanging: &Hanging, free: u64, now: OffsetDateTime) -> Fate {
    let noted = found.ledger_of_record().next();
    let told = noted.map_or_else(
        || "The record was deleted".to_owned(),
        |row| {
            let deleted = row.deleted_at.map(|at| format!(" {}", when(at, now))).unwrap_or_default();
            format!("The record was deleted{deleted} (event {})", row.event_id)
        },
    );
    if free > 0 {
        let what = files(free, " file that still hangs on it goes", " files that still hang on it go");
        return Fate::new(Would::Move, format!("{told}; {what} with the next event that names one of them."));
    }
    let kept = and_kept(hanging);
    let would = stays(hanging);
    Fate::new(would, format!("{told}, and that is worked off: nothing more would move{kept}."))
}

fn stays(hanging: &Hanging) -> Would {
    let left = hanging.free + hanging.linked + hanging.referenced + hanging.elsewhere;
    if left > 0 { Would::Stay } else { Would::Nothing }
}

/// What keeps the rows that are left.
fn and_kept(hanging: &Hanging) -> String {
    let mut kept = String::new();
    for (count, why) in [
        (hanging.linked, "through links of other records"),
        (hanging.referenced, "because a foreign key or a rule of the CRM keeps the row"),
        (hanging.elsewhere, "because the content is not in S3"),
    ] {
        if count > 0 {
            kept.push_str("; ");
            kept.push_str(&files(count, " file stays ", " files stay "));
            kept.push_str(why);
        }
    }
    kept
}

fn files(count: u64, one: &str, many: &str) -> String {
    match count {
        0 => format!("no{many}"),
        1 => format!("1{one}"),
        _ => format!("{count}{many}"),
    }
}

fn sum(found: &Found) -> Hanging {
    let mut all = Hanging {
        schema: String::new(),
        record_id: found.id,
        free: 0,
        linked: 0,
        referenced: 0,
        elsewhere: 0,
    };
    for one in found.hanging.iter().filter(|hanging| hanging.record_id == found.id) {
        all.free += one.free;
        all.linked += one.linked;
        all.referenced += one.referenced;
        all.elsewhere += one.elsewhere;
    }
    all
}

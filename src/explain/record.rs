//! What would happen to a record's files now, and why: pure, like the verdict on a file.

use time::OffsetDateTime;

use super::age::when;
use super::found::{Found, Hanging, Message, Names, Origin};
use super::verdict::{Fate, Would, in_outbox, untold};
use super::went;
use crate::config::DanglingRows;
use crate::db::explain::GoneRow;

/// Is the id a record's, living or not?
pub(super) fn is_one(found: &Found) -> bool {
    found.record_rows().next().is_some()
        || found.links_of_record().next().is_some()
        || found.files.iter().flatten().next().is_some()
        || found.ledger_of_record().next().is_some()
        || gone(found).next().is_some()
        || held(found)
        || found.outbox_rows("records", found.id).next().is_some()
        || found.outbox.iter().flatten().any(|row| row.parents.contains(&found.id))
        || found.messages_that_name(Names::Record).next().is_some()
}

fn held(found: &Found) -> bool {
    found.held.iter().flatten().any(|row| row.record_id == found.id)
}

fn gone(found: &Found) -> impl Iterator<Item = &GoneRow> {
    found.gone_rows.iter().flatten()
}

pub(super) fn fate(found: &Found, now: OffsetDateTime) -> Fate {
    if let Some(row) = found.record_rows().next() {
        return lives(found, &row.schema);
    }
    if ["database", "catalog", "rows", "records"].iter().any(|part| found.errors.contains_key(part)) {
        return untold(found);
    }
    let mut fate = absent_or_deleted(found, now);
    if let Some(went) = went::told(found.gone_rows.as_deref().unwrap_or_default(), found.gone_rows_total, now)
    {
        fate.sentence.push(' ');
        fate.sentence.push_str(&went);
    }
    fate
}

fn absent_or_deleted(found: &Found, now: OffsetDateTime) -> Fate {
    let waiting: u64 = found.outbox.iter().flatten().filter(|row| is_about(row, found)).map(|_| 1).sum();
    let waiting_files = found.outbox.iter().flatten().any(|row| row.parents.contains(&found.id));
    let captured = found.outbox_rows("records", found.id).next();
    let letter = found.messages_that_name(Names::Record).find(|letter| found.takes_its_word(letter));
    let noted = found.ledger_of_record().next().is_some() || gone(found).next().is_some();
    let known = waiting > 0 || letter.is_some() || held(found) || noted;
    let hanging = sum(found);
    if !known {
        return absent(found, &hanging);
    }
    let leaves = found.environment.as_ref().is_some_and(|it| it.dangling_rows == DanglingRows::Leave);
    let free = if leaves { 0 } else { hanging.free };
    let carrier = captured.or_else(|| found.outbox.iter().flatten().find(|row| is_about(row, found)));
    if let Some(row) = carrier {
        let moving = waiting_files || free > 0;
        let what = if moving {
            format!("its files would move{}", and_kept(&hanging))
        } else {
            format!("no file of it is known that would move{}", and_kept(&hanging))
        };
        let would = if moving { Would::Move } else { stays(&hanging) };
        return Fate::new(
            would,
            format!("{}: {what}.", in_outbox("It was deleted, and that", row, found, now)),
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
    let letter = found.messages_that_name(Names::Record).next();
    // What an event from outside names may move by itself; the record's rows stay all the same.
    let moves = letter.is_some_and(|letter| letter.origin == Origin::Outside && letter.files > 0);
    Fate::new(
        if moves { Would::Move } else { Would::Stay },
        format!(
            "There is no such record, and no deletion of it is known here: it may not be saved yet. What names it stays: \
             {} and {}.{}",
            files(hangs, " file", " files"),
            files(links as u64, " link", " links"),
            letter.map(not_believed).unwrap_or_default(),
        ),
    )
}

/// A message that says that it was deleted, and whose word does not count.
fn not_believed(letter: &Message) -> String {
    let why = match letter.origin {
        Origin::Malformed => "it is malformed",
        Origin::Foreign => "it is another environment's",
        Origin::Own | Origin::Outside => "it came from outside, and crm.trust_outside_events is off",
    };
    format!(
        " A message in the dead-letter queue says that the record was deleted, which does not count: {why}. It names {}; \
         file-recycler dlq show --id '{}' shows it.",
        files(letter.files as u64, " file", " files"),
        letter.id
    )
}

/// Its deletion has been worked off.
fn done(found: &Found, hanging: &Hanging, free: u64, now: OffsetDateTime) -> Fate {
    let noted = found.ledger_of_record().next();
    let told = match (noted, gone(found).next()) {
        (Some(row), _) => {
            let deleted = row.deleted_at.map(|at| format!(" {}", when(at, now))).unwrap_or_default();
            format!("The record was deleted{deleted} (event {})", row.event_id)
        }
        (None, Some(row)) => format!("The record was deleted (event {})", row.event_id),
        (None, None) => "The record was deleted".to_owned(),
    };
    if free > 0 {
        let what = files(free, " file that still hangs on it goes", " files that still hang on it go");
        return Fate::new(Would::Move, format!("{told}; {what} with the next event that names one of them."));
    }
    let kept = and_kept(hanging);
    let pending = went::pending(found.gone_rows.as_deref().unwrap_or_default()) as u64;
    if pending > 0 {
        let what = files(
            pending,
            " file whose row went with it is on its way by an event of its own",
            " files whose rows went with it are on their way by events of their own",
        );
        return Fate::new(Would::Move, format!("{told}; {what}{kept}."));
    }
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

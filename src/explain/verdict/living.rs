//! Files that a row or a link names: which one keeps them, and whether it will go.

use time::OffsetDateTime;

use super::super::found::{Found, Names, Objects};
use super::{Fate, Would, in_dead_letters, in_outbox};
use crate::config::DanglingRows;
use crate::db::explain::{FileRow, Link, Parent};

/// What keeps a file that a row or a link names, and until when.
pub(super) fn alive(found: &Found, now: OffsetDateTime) -> Fate {
    let living: Vec<&FileRow> = found.file_rows().filter(|row| row.in_s3).collect();
    let orphan = living.iter().find_map(|row| {
        let owner = row.parent.as_ref().filter(|owner| owner.weak && owner.exists != Some(true))?;
        Some((*row, owner))
    });
    let mut fate = match (living.as_slice(), orphan) {
        ([], _) => only_linked(found),
        ([_], Some((row, owner))) => orphaned(found, row, owner, now),
        ([row], None) => Fate::new(Would::Stay, format!("The file stays: {}.", kept_by(row))),
        (rows, _) => {
            let tables: Vec<&str> = rows.iter().map(|row| row.schema.as_str()).collect();
            let why = format!("The file stays: rows of {} have its id.", tables.join(" and "));
            Fate::new(Would::Stay, why)
        }
    };
    let left = living.iter().find(|row| row.data_bytes.is_some_and(|bytes| bytes > 0));
    fate.sentence.push_str(&object_is_away(found));
    if let Some(row) = left {
        fate.sentence.push_str(&content_in_the_row(found, row));
    }
    fate
}

/// Why a row keeps its file.
fn kept_by(row: &FileRow) -> String {
    let has = format!("its row is in {}", row.schema);
    match &row.parent {
        Some(Parent { schema, id, exists: Some(true), .. }) => {
            format!("{has} and belongs to {schema} {id}, which exists")
        }
        Some(Parent { schema, id, exists: Some(false), .. }) => {
            format!("{has}, although {schema} {id}, which it names, does not exist")
        }
        Some(Parent { schema, id, exists: None, .. }) => {
            format!("{has} and names {schema} {id}; that schema has no table that we know")
        }
        None => format!("{has}; it names no record"),
    }
}

/// A link shows it, and no row is there any more.
fn only_linked(found: &Found) -> Fate {
    let links: Vec<&Link> = found.links_of_file().collect();
    let Some(link) = links.iter().find(|link| link.record_exists != Some(false)).or(links.first()) else {
        return Fate::new(Would::Stay, "The file stays: the database names it.");
    };
    Fate::new(Would::Stay, format!("The file stays: {}, although its own row was deleted.", shown_by(link)))
}

fn shown_by(link: &Link) -> String {
    let Link { record_schema, record_id, .. } = link;
    if link.record_exists == Some(false) {
        return format!(
            "a link of {record_schema} {record_id} still names it; that record does not exist, but it may not be \
             saved yet, so only the link's own end counts"
        );
    }
    format!("{record_schema} {record_id} still shows it through a link")
}

/// Its row is there and names a record that is not, by no foreign key.
fn orphaned(found: &Found, row: &FileRow, owner: &Parent, now: OffsetDateTime) -> Fate {
    let Parent { schema, id, .. } = owner;
    let other = found.links_of_file().find(|link| link.record_id != *id);
    // Records of several schemas can have one id.
    let held =
        found.held.iter().flatten().find(|held| held.record_id == *id && held.record_schema == *schema);
    let waiting = found.outbox_rows("records", *id).find(|row| row.schema == *schema);
    let mut letters = found.messages_that_name(Names::Owner);
    let letter =
        letters.find(|letter| letter.schema.as_ref() == Some(schema) && found.takes_its_word(letter));
    let captured = held.is_some() || waiting.is_some() || letter.is_some();
    if let Some(link) = other {
        let after = if held.is_some() { "; it goes with the last such link" } else { "" };
        let its_owner = if captured { "its owner was deleted" } else { "its own record does not exist" };
        return Fate::new(
            Would::Stay,
            format!("The file stays: {}, although {its_owner}{after}.", shown_by(link)),
        );
    }
    if !captured {
        return Fate::new(
            Would::Stay,
            format!(
                "The file stays: its row is in {}. {schema} {id}, which it names, does not exist, but no deletion of \
                 it is known here: it may not be saved yet.",
                row.schema
            ),
        );
    }
    let hanging = found.hanging.iter().find(|hanging| hanging.record_id == *id && hanging.schema == *schema);
    let leaves = found.environment.as_ref().is_some_and(|it| it.dangling_rows == DanglingRows::Leave);
    if leaves {
        let why = "crm.dangling_rows is leave, so its row is only reported";
        return Fate::new(Would::Stay, format!("The file stays: {schema} {id} was deleted, but {why}."));
    }
    if hanging.is_some_and(|hanging| hanging.free == 0) {
        let why = "something else keeps its row (a foreign key of another table, or a rule of the CRM)";
        return Fate::new(Would::Stay, format!("The file stays: {schema} {id} was deleted, but {why}."));
    }
    let carrier = match (waiting, letter) {
        (Some(row), _) => in_outbox("that deletion", row, found, now),
        (None, Some(letter)) => in_dead_letters(letter, now),
        (None, None) => {
            "its record is remembered as deleted, and the next event that names it does so".to_owned()
        }
    };
    Fate::new(
        Would::Move,
        format!(
            "It would move to the recycle bucket, and its row would go: {schema} {id} was deleted; {carrier}."
        ),
    )
}

/// A living file whose object is not where living files are: what support is asked about most.
fn object_is_away(found: &Found) -> String {
    let Some(both) = &found.objects else { return String::new() };
    match (&both.object, &both.recycle, &both.other) {
        (None, Some(_), _) => {
            " But its object is only in the recycle bucket: the CRM cannot open it until it is copied back."
                .to_owned()
        }
        (None, None, Some(other)) => format!(
            " But neither bucket has it under its key by storage.key_template '{}'; {} has an object of it under '{}', as \
             '{}' gives it; file-recycler doctor says whether the template is the right one.",
            both.template,
            other.bucket(),
            other.key,
            other.template
        ),
        (None, None, None) => " But its object is in neither bucket: the CRM cannot open it.".to_owned(),
        (Some(_), ..) => String::new(),
    }
}

/// What a migration to the storage leaves in a row: room to be had where the object is in its place, and all that there
/// is where it is nowhere.
fn content_in_the_row(found: &Found, row: &FileRow) -> String {
    let bytes = row.data_bytes.unwrap_or_default();
    let there = |both: &Objects| (both.object.is_some(), both.recycle.is_some());
    match found.objects.as_ref().map(there) {
        Some((true, _)) => format!(
            " Its row still has {bytes} bytes of content, as a migration to the storage leaves them: file-recycler migrate \
             --reclaim compares them with the object and frees them."
        ),
        Some((false, true)) | None => format!(" Its row still has {bytes} bytes of content."),
        Some((false, false)) => {
            let older = match row.size.filter(|size| *size > 0 && *size != bytes) {
                Some(size) => format!(" (it says {size} bytes, so that may be an older content)"),
                None => String::new(),
            };
            let statement = row.back_to_the_row.as_deref().unwrap_or_default();
            format!(
                " The content is not lost: its row still has {bytes} bytes of it{older}. An administrator of the CRM's \
                 database has the CRM read them from there again: `{statement};`."
            )
        }
    }
}

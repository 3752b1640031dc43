//! Which other ids and schemas the question leads to, by what was found so far: pure.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::found::{Found, Names};
use crate::db::explain::OutboxRow;
use crate::file::SchemaName;

/// Records of which it is asked what hangs on them.
const MAX_HANGING: usize = 5;

/// Records that the file's rows name and that are not there.
pub(super) fn absent_owners(found: &Found) -> Vec<Uuid> {
    let owners = found.file_rows().filter_map(|row| row.parent.as_ref());
    owners.filter(|owner| owner.exists != Some(true)).map(|owner| owner.id).collect()
}

/// Schemas under which something knows the id as a file's.
pub(super) fn file_schemas(found: &Found) -> BTreeSet<String> {
    let rows = found.file_rows().map(|row| row.schema.clone());
    let links = found.links_of_file().map(|link| link.file_schema.clone());
    let ledger = found.ledger_of_file().filter_map(|row| row.schema.clone());
    let outbox = found.outbox_rows("files", found.id).map(|row| row.schema.clone());
    let images = found.images.iter().flatten().map(|image| image.table.clone());
    rows.chain(links).chain(ledger).chain(outbox).chain(images).collect()
}

/// Schemas under which something knows the id as a record's; with `only`, that one alone.
pub(super) fn record_schemas(found: &Found, only: Option<&SchemaName>) -> BTreeSet<String> {
    let links = found.links_of_record().map(|link| link.record_schema.clone());
    let ledger = found.ledger_of_record().filter_map(|row| row.record_schema.clone());
    let held = found.held.iter().flatten().filter(|held| held.record_id == found.id);
    let outbox = found.outbox_rows("records", found.id).map(|row| row.schema.clone());
    let letters = found.messages_that_name(Names::Record).filter_map(|letter| letter.schema.clone());
    let held = held.map(|held| held.record_schema.clone());
    let gone = found.gone_rows.iter().flatten().map(|row| row.record_schema.clone());
    let all = links.chain(ledger).chain(held).chain(outbox).chain(letters).chain(gone);
    let mut all: BTreeSet<String> = all.collect();
    if let Some(only) = only {
        all.retain(|schema| schema == only.as_str());
        all.insert(only.to_string());
    }
    all
}

/// Where a record of one schema is meant: takes out what is about a record of another that has the same id.
pub(super) fn narrow(found: &mut Found, only: &SchemaName) {
    let id = found.id;
    if let Some(held) = &mut found.held {
        held.retain(|held| held.record_id != id || held.record_schema == only.as_str());
    }
    if let Some(outbox) = &mut found.outbox {
        let is_other = |row: &OutboxRow| row.kind == "records" && row.schema != only.as_str();
        outbox.retain(|row| !is_other(row) || row.named.iter().any(|named| *named != id));
    }
    if let Some(messages) = &mut found.messages {
        let is_other = |schema: Option<&String>| schema.is_some_and(|schema| schema != only.as_str());
        messages.retain(|letter| letter.names != Names::Record || !is_other(letter.schema.as_ref()));
    }
}

/// Records that are not there, and on which something may hang: the id itself, and what its file's rows name.
pub(super) fn gone(found: &Found, schemas: &BTreeSet<String>) -> Vec<(String, Uuid)> {
    let there: BTreeSet<&str> = found.record_rows().map(|row| row.schema.as_str()).collect();
    let weak = found.files.iter().flatten().filter_map(|row| row.parent.as_ref()).filter(|owner| owner.weak);
    let own = schemas.iter().cloned().chain(weak.map(|owner| owner.schema.clone()));
    let own = own.filter(|schema| !there.contains(schema.as_str())).map(|schema| (schema, found.id));
    let owners = found.file_rows().filter_map(|row| row.parent.as_ref());
    let owners = owners.filter(|owner| owner.weak && owner.exists != Some(true));
    let all: BTreeSet<_> = own.chain(owners.map(|owner| (owner.schema.clone(), owner.id))).collect();
    all.into_iter().take(MAX_HANGING).collect()
}

/// The messages that were about it, as far as anything tells; an event's message has the event's id.
pub(super) fn message_ids(found: &Found) -> Vec<String> {
    let ledger = found.ledger.iter().flatten().map(|row| row.event_id.clone());
    let images = found.images.iter().flatten().map(|image| image.event_id.clone());
    let held = found.held.iter().flatten().map(|held| held.event_id.clone());
    let letters = found.messages.iter().flatten().map(|letter| letter.id.clone());
    let gone = found.gone_rows.iter().flatten().map(|row| row.event_id.clone());
    let all: BTreeSet<String> = ledger.chain(images).chain(held).chain(letters).chain(gone).collect();
    all.into_iter().collect()
}

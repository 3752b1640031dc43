//! The ids of an event from outside, written as the mapped application's database writes them (pure). Whoever sends an
//! event may write a UUID in capitals; the database prints it in small letters, and so do keys that are made of it.

use crate::db::catalog::Mapped;
use crate::db::catalog::mapped::ColumnKind;
use crate::event::{Deleted, Event};
use crate::file::{FileId, FileRef, RecordId, SchemaName};

/// The same event, with UUIDs as PostgreSQL prints them where a column of type uuid has them. In a column of type text a
/// UUID in capitals is another one.
pub(super) fn as_in(mapped: &Mapped, event: &Event) -> Event {
    let data = match &event.data {
        Deleted::Record { schema, record_id, files } => {
            let is_uuid = mapped.keys.get(schema.as_str()).is_some_and(|key| key.kind == ColumnKind::Uuid);
            let printed = record_id.as_uuid().filter(|_| is_uuid).map(RecordId::from);
            Deleted::Record {
                schema: schema.clone(),
                record_id: printed.unwrap_or_else(|| record_id.clone()),
                files: files.iter().map(|file| file_as_in(mapped, file)).collect(),
            }
        }
        Deleted::Files { files } => {
            Deleted::Files { files: files.iter().map(|file| file_as_in(mapped, file)).collect() }
        }
    };
    let mut written = event.clone();
    written.data = data;
    written
}

fn file_as_in(mapped: &Mapped, file: &FileRef) -> FileRef {
    let printed = file.file_id.as_uuid().filter(|_| ids_are_uuids(mapped, file.schema.as_ref()));
    let file_id = printed.map_or_else(|| file.file_id.clone(), FileId::from);
    FileRef { file_id, ..file.clone() }
}

/// Is a UUID an id of a column of type uuid here? Where the table is not known, only if no other could have it.
fn ids_are_uuids(mapped: &Mapped, schema: Option<&SchemaName>) -> bool {
    let mut meant = mapped.tables.iter().filter(|table| schema.is_none_or(|schema| table.schema == *schema));
    let could_be = |kind: ColumnKind| matches!(kind, ColumnKind::Uuid | ColumnKind::Integer);
    let mut has_uuids = false;
    meant.all(|table| {
        has_uuids |= table.id.kind == ColumnKind::Uuid;
        could_be(table.id.kind)
    }) && has_uuids
}

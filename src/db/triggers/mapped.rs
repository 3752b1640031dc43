//! What the triggers on tables of a mapped application capture: pure. The key is made here, from the row, because
//! afterwards the row is gone.

use super::generate::{CHUNK, Capture, GONE, Kind, capture, only};
use crate::config::OnCaptureError;
use crate::db::catalog::mapped::MappedRecord;
use crate::db::catalog::{Catalog, MappedTable};
use crate::db::schema::SCHEMA;
use crate::db::sql::quote_literal;

/// Every trigger that a mapped application needs; none where it is the CRM.
pub(super) fn captures(catalog: &Catalog, policy: OnCaptureError) -> impl Iterator<Item = Capture> {
    let mapped = catalog.mapped();
    let files = mapped.into_iter().flat_map(|mapped| &mapped.tables).flat_map(move |table| {
        table.parts.iter().flat_map(move |part| {
            let plain = table.plain();
            [
                capture(
                    part,
                    Kind::FilesDelete,
                    policy,
                    &files(table, GONE, ""),
                    Some(&files(&plain, GONE, "")),
                ),
                capture(
                    part,
                    Kind::FilesUpdate,
                    policy,
                    &files(table, GONE, &let_go(table)),
                    Some(&files(&plain, GONE, &let_go(table))),
                ),
                capture(
                    part,
                    Kind::FilesTruncate,
                    policy,
                    &files(table, &only(part), ""),
                    Some(&files(&plain, &only(part), "")),
                ),
            ]
        })
    });
    let records = mapped.into_iter().flat_map(|mapped| &mapped.records).flat_map(move |record| {
        record.parts.iter().flat_map(move |part| {
            [
                capture(part, Kind::RecordsDelete, policy, &records(record, GONE), None),
                capture(part, Kind::RecordsTruncate, policy, &records(record, &only(part)), None),
            ]
        })
    });
    files.chain(records)
}

/// Rows of `source` that have an object, with its key.
fn files(table: &MappedTable, source: &str, and: &str) -> String {
    let (parent_schema, parent) = table.parent();
    let size = table
        .size
        .as_ref()
        .map_or_else(|| "NULL::bigint".to_owned(), |size| format!("{}::bigint", size.text()));
    format!(
        r"  INSERT INTO {SCHEMA}.outbox (kind, schema, n, text_ids, parent_schemas, text_parents, sizes, keys)
  SELECT 'files', {schema}, count(*), array_agg(id), array_agg(parent_schema), array_agg(parent), array_agg(size), array_agg(key)
    FROM (SELECT {id} AS id, {parent_schema} AS parent_schema, {parent} AS parent, {size} AS size, {key} AS key,
                 row_number() OVER () - 1 AS position
            FROM {source} AS item WHERE {holds}{and}) AS file
   GROUP BY position / {CHUNK};",
        schema = quote_literal(table.schema.as_str()),
        id = table.id.text(),
        key = table.key(),
        holds = table.holds(),
    )
}

/// No row of the statement's outcome has the object any more. By the key and not by the row: ids may have changed,
/// and another row may have taken it over. As a join: `NOT IN` compares each with each once they are many.
fn let_go(table: &MappedTable) -> String {
    let key = table.key();
    format!(
        "
             AND NOT EXISTS (SELECT FROM (SELECT {key} AS key FROM kept AS item WHERE {}) AS kept
                              WHERE kept.key = {key})",
        table.holds()
    )
}

/// Every deleted record: weak links may hang on it.
fn records(record: &MappedRecord, source: &str) -> String {
    format!(
        r"  INSERT INTO {SCHEMA}.outbox (kind, schema, n, text_ids)
  SELECT 'records', {}, count(*), array_agg(id)
    FROM (SELECT {} AS id, row_number() OVER () - 1 AS position FROM {source} AS item) AS record
   GROUP BY position / {CHUNK};",
        quote_literal(record.schema.as_str()),
        record.id.text(),
    )
}

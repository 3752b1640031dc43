//! The statements: one for each stream of pages, and those that ask again.

use super::{Group, Order};
use crate::db::alive::in_s3;
use crate::db::catalog::mapped::Column;
use crate::db::catalog::{Catalog, FILE_LINK, FileTable, Mapped, MappedTable};
use crate::db::contents::ReadableData;
use crate::db::sql::quote_identifier;

/// Rows of a page, over all streams that are read side by side.
const PAGE: usize = 5_000;
/// Fewer are not worth a statement.
const LEAST: usize = 200;
/// Where no index may serve the order, each page reads the table: then fewer and larger ones.
const PAGE_BY_KEY: usize = 20_000;

/// `$1` are the storages, `$2` and `$3` the first and the last id.
pub(super) fn by_id(catalog: &Catalog, apart: bool, readable: &ReadableData) -> Vec<Group> {
    let tables = catalog.file_tables.iter().enumerate();
    let selects: Vec<String> = tables.map(|(at, file)| select(at, file, readable, "")).collect();
    if selects.is_empty() {
        return Vec::new();
    }
    let size = if apart { (PAGE / selects.len()).max(LEAST) } else { PAGE };
    let group = |selects: &[String]| Group {
        // The limit stands in the text: by a parameter's, which is not known, the planner would sort everything.
        pages: format!(
            "SELECT at, id::text AS id, key, in_s3, size, data, parentless, weak_schema, weak_id FROM (
    {}
) AS rows WHERE rows.id >= $2 AND rows.id <= $3 ORDER BY rows.id LIMIT {size}",
            selects.join("\n    UNION ALL ")
        )
        .into(),
        size,
        order: Order::Id,
    };
    if apart { selects.chunks(1).map(group).collect() } else { vec![group(&selects)] }
}

/// `$1` are the storages, `$2` the ids.
pub(super) fn again_by_id(catalog: &Catalog, readable: &ReadableData) -> Option<std::sync::Arc<str>> {
    let tables = catalog.file_tables.iter().enumerate();
    let selects: Vec<String> =
        tables.map(|(at, file)| select(at, file, readable, r#" WHERE item."Id" = ANY($2)"#)).collect();
    (!selects.is_empty()).then(|| {
        format!(
            "SELECT at, id::text AS id, key, in_s3, size, data, parentless, weak_schema, weak_id FROM (
    {}
) AS rows",
            selects.join("\n    UNION ALL ")
        )
        .into()
    })
}

fn select(at: usize, file: &FileTable, readable: &ReadableData, condition: &str) -> String {
    let size = if file.sized { r#"item."Size"::bigint"# } else { "NULL::bigint" };
    let parentless = file.parent.as_ref().filter(|_| !file.weak).map_or_else(
        || "false".to_owned(),
        |link| format!("item.{} IS NULL", quote_identifier(&link.column)),
    );
    let (weak_schema, weak_id) = if file.weak {
        (r#"item."RecordSchemaName"::text"#, r#"item."RecordId""#)
    } else {
        ("NULL::text", "NULL::uuid")
    };
    format!(
        r#"SELECT {at} AS at, item."Id" AS id, NULL::text AS key, {s3} AS in_s3, {size} AS size, {data} AS data,
           {parentless} AS parentless, {weak_schema} AS weak_schema, {weak_id} AS weak_id
      FROM {table} AS item{condition}"#,
        s3 = in_s3(file, "$1"),
        data = readable.length(file),
        table = file.table.quoted(),
    )
}

/// `$1` are the files' ids.
pub(super) fn links(catalog: &Catalog) -> Option<std::sync::Arc<str>> {
    catalog.file_link.as_ref().map(|_| {
        let table = catalog.named(FILE_LINK).quoted();
        format!(
            r#"SELECT DISTINCT "FileRecordId" FROM {table} WHERE "FileRecordId" IN (SELECT unnest($1::uuid[]))"#
        )
        .into()
    })
}

/// `$1` is the key after which a page begins.
pub(super) fn by_key(mapped: &Mapped) -> Vec<Group> {
    let tables = mapped.tables.iter().enumerate();
    tables
        .map(|(at, table)| Group {
            pages: format!(
                "SELECT * FROM ({}) AS rows WHERE rows.key > $1 ORDER BY rows.key LIMIT {PAGE_BY_KEY}",
                select_mapped(at, table, "")
            )
            .into(),
            size: PAGE_BY_KEY,
            order: Order::Key,
        })
        .collect()
}

/// `$1` is not used, `$2` are the keys.
pub(super) fn again_by_key(mapped: &Mapped) -> Option<std::sync::Arc<str>> {
    let tables = mapped.tables.iter().enumerate();
    let selects: Vec<String> = tables
        .map(|(at, table)| select_mapped(at, table, &format!(" WHERE {}", table.has_key("$2"))))
        .collect();
    (!selects.is_empty()).then(|| {
        format!("SELECT * FROM ({}) AS rows WHERE $1::uuid[] IS NOT NULL", selects.join(" UNION ALL ")).into()
    })
}

fn select_mapped(at: usize, table: &MappedTable, condition: &str) -> String {
    let size = table.size.as_ref().map_or_else(|| "NULL".to_owned(), Column::text);
    format!(
        "SELECT {at} AS at, {id} AS id, {key} AS key, {in_s3} AS in_s3, {size}::bigint AS size,
           NULL::bigint AS data, false AS parentless, NULL::text AS weak_schema, NULL::uuid AS weak_id
      FROM {from} AS item{condition}",
        id = table.id.text(),
        key = table.key(),
        in_s3 = table.names_object(),
        from = table.table.quoted(),
    )
}

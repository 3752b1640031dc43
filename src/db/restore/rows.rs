//! Rows of files as a restore needs them: what their key is, whether their content is in S3, how large it is.

use std::sync::Arc;

use sqlx::FromRow;

use super::PAGE;
use crate::db::Db;
use crate::db::alive::in_s3;
use crate::db::catalog::mapped::Column;
use crate::db::catalog::{Asks, Catalog, FileTable, MappedTable};
use crate::db::contents::ReadableData;
use crate::db::error::{Attempted, DbError};
use crate::db::sql::{built, quote_identifier, quote_literal};
use crate::file::SchemaName;

/// A row of a file table.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct RestorableRow {
    /// The file's schema.
    pub schema: String,
    /// The file.
    pub id: String,
    /// Its object's key, where columns of the row make it; otherwise the key template gives it.
    pub key: Option<String>,
    /// Its content is in a storage that is ours, and it has an object.
    pub in_s3: bool,
    /// Size in bytes, as the row says.
    pub size: Option<i64>,
    /// Bytes of content that are in the row itself; nothing where this role may not know it.
    pub data: Option<i64>,
}

/// Which rows.
#[derive(Clone, Copy, Debug)]
pub enum RowsOf<'a> {
    /// Those of these files.
    Ids(&'a [String]),
    /// Those that have one of these keys; only where columns make keys.
    Keys(&'a [String]),
    /// Those that belong to this record.
    Record(&'a SchemaName, &'a str),
}

impl Db {
    /// A page of rows, ordered by schema and id: those after the row `after`, at most [`PAGE`].
    pub async fn restorable_rows(
        &self,
        catalog: &Catalog,
        readable: &ReadableData,
        of: RowsOf<'_>,
        after: Option<&RestorableRow>,
    ) -> Result<Vec<RestorableRow>, DbError> {
        let selects: Vec<String> = match &catalog.asks {
            Asks::Creatio => {
                catalog.file_tables.iter().filter_map(|file| of_file_table(file, readable, of)).collect()
            }
            Asks::Mapping(mapped) => {
                mapped.tables.iter().filter_map(|table| of_listed_table(table, of)).collect()
            }
            Asks::Nothing => Vec::new(),
        };
        if selects.is_empty() {
            return Ok(Vec::new());
        }
        let sql: Arc<str> = format!(
            r#"SELECT * FROM ({}) AS found
                WHERE $4::text IS NULL OR (schema COLLATE "C", id COLLATE "C") > ($4, $5::text)
                ORDER BY schema COLLATE "C", id COLLATE "C" LIMIT {PAGE}"#,
            selects.join(" UNION ALL ")
        )
        .into();
        let (texts, record_schema) = match of {
            RowsOf::Ids(texts) | RowsOf::Keys(texts) => (texts.to_vec(), None),
            RowsOf::Record(schema, id) => (vec![id.to_owned()], Some(schema.as_str())),
        };
        sqlx::query_as(built(&sql))
            .bind(texts)
            .bind(&catalog.storages)
            .bind(record_schema)
            .bind(after.map(|after| after.schema.as_str()))
            .bind(after.map(|after| after.id.as_str()))
            .fetch_all(&self.pool)
            .await
            .attempted("looking for rows of files")
    }
}

/// `$1` are ids, `$2` the storages that are ours, `$3` the record's schema: each named, so that all tables are asked
/// alike.
const ALL_NAMED: &str =
    "$1::text[] IS NOT NULL AND $2::uuid[] IS NOT NULL AND ($3::text IS NULL OR $3 IS NOT NULL)";

fn of_file_table(file: &FileTable, readable: &ReadableData, of: RowsOf<'_>) -> Option<String> {
    let condition = match of {
        RowsOf::Ids(_) => r#""Id" = ANY($1::uuid[])"#.to_owned(),
        RowsOf::Keys(_) => return None,
        RowsOf::Record(schema, _) => {
            let hard = file.parent.as_ref().filter(|link| link.schema == *schema);
            let hard = hard.map(|link| format!("{} = ANY($1::uuid[])", quote_identifier(&link.column)));
            let weak =
                file.weak.then(|| r#"("RecordId" = ANY($1::uuid[]) AND "RecordSchemaName" = $3)"#.to_owned());
            let conditions: Vec<String> = hard.into_iter().chain(weak).collect();
            (!conditions.is_empty()).then(|| format!("({})", conditions.join(" OR ")))?
        }
    };
    Some(format!(
        r#"SELECT {schema}::text AS schema, "Id"::text AS id, NULL::text AS key, {s3} AS in_s3, {size} AS size,
                {data} AS data
             FROM {table} WHERE {condition} AND {ALL_NAMED}"#,
        schema = quote_literal(file.schema.as_str()),
        s3 = in_s3(file, "$2"),
        size = if file.sized { r#""Size"::bigint"# } else { "NULL::bigint" },
        data = readable.length(file),
        table = file.table.quoted(),
    ))
}

fn of_listed_table(table: &MappedTable, of: RowsOf<'_>) -> Option<String> {
    let condition = match of {
        RowsOf::Ids(_) => table.id.is_one_of("$1::text[]"),
        RowsOf::Keys(_) => table.has_key("$1::text[]"),
        RowsOf::Record(..) => table.names_record("$3", "$1::text[]")?,
    };
    let size = table.size.as_ref().map_or_else(|| "NULL".to_owned(), Column::text);
    Some(format!(
        "SELECT {schema}::text AS schema, {id} AS id, CASE WHEN {holds} THEN {key} END AS key, {holds} AS in_s3,
                {size}::bigint AS size, NULL::bigint AS data
           FROM {from} AS item WHERE {condition} AND {ALL_NAMED}",
        schema = quote_literal(table.schema.as_str()),
        id = table.id.text(),
        holds = table.holds(),
        key = table.key(),
        from = table.table.quoted(),
    ))
}

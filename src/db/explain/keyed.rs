//! What is known of an id whose files are known by their keys: rows of listed tables, the ledger, the outbox.

use std::sync::Arc;

use sqlx::FromRow;
use time::OffsetDateTime;

use super::{LISTED, LedgerRow};
use crate::db::Db;
use crate::db::catalog::mapped::Column;
use crate::db::catalog::{Catalog, MappedTable};
use crate::db::error::{Attempted, DbError};
use crate::db::sql::{built, quote_literal};
use crate::file::SchemaName;

/// Most rows of the ledger and of the outbox.
const NEWEST: i64 = 20;
/// Outbox rows that are looked at, the oldest first.
const OUTBOX_LOOK: i64 = 10_000;

/// A row of a listed table, less everything that the mapping does not name.
#[derive(Clone, Debug, PartialEq, Eq, FromRow, serde::Serialize)]
pub struct KeyedRow {
    /// The table, which is the file's schema in events.
    pub schema: String,
    /// The file.
    pub id: String,
    /// Its object's key; nothing where it has no object.
    pub key: Option<String>,
    /// Its content is in S3, by the mapping.
    pub in_s3: bool,
    /// Size in bytes, as the row says.
    pub size: Option<i64>,
    /// The schema of the record that it names.
    pub record_schema: Option<String>,
    /// The record that it names.
    pub record_id: Option<String>,
}

/// A deletion in the outbox that names the id.
#[derive(Clone, Debug, PartialEq, Eq, FromRow, serde::Serialize)]
pub struct KeyedWaiting {
    /// `records` or `files`.
    pub kind: String,
    /// The schema of those.
    pub schema: String,
    /// When the deletion was captured.
    #[serde(with = "time::serde::rfc3339")]
    pub captured_at: OffsetDateTime,
    /// When a relay first saw it: `recycle.grace` counts from here.
    #[serde(with = "time::serde::rfc3339::option")]
    pub seen_at: Option<OffsetDateTime>,
    /// Keys of the files that have the id, or whose record has it.
    pub keys: Vec<String>,
}

/// Which rows are wanted.
#[derive(Clone, Copy, Debug)]
pub enum KeyedBy<'a> {
    /// Those with this id.
    Id(&'a str),
    /// Those that name the record with this id.
    Record(&'a str),
    /// Those that have one of these keys.
    Keys(&'a [String]),
}

impl Db {
    /// Rows of listed tables, at most 100; of the schema `only`, where one is given.
    pub async fn keyed_rows(
        &self,
        catalog: &Catalog,
        by: KeyedBy<'_>,
        only: Option<&SchemaName>,
    ) -> Result<Vec<KeyedRow>, DbError> {
        let condition = |table: &MappedTable| match by {
            KeyedBy::Id(_) => Some(table.id.is_one_of("$1")),
            KeyedBy::Record(_) => table.names_record(&table.parent().0, "$1"),
            KeyedBy::Keys(_) => Some(table.has_key("$1")),
        };
        let tables = catalog.mapped().into_iter().flat_map(|mapped| &mapped.tables);
        let tables = tables
            .filter(|table| matches!(by, KeyedBy::Keys(_)) || only.is_none_or(|only| *only == table.schema));
        let selects: Vec<String> =
            tables.filter_map(|table| Some(select(table, &condition(table)?))).collect();
        if selects.is_empty() {
            return Ok(Vec::new());
        }
        let texts = match by {
            KeyedBy::Id(id) | KeyedBy::Record(id) => vec![id.to_owned()],
            KeyedBy::Keys(keys) => keys.to_vec(),
        };
        let sql: Arc<str> = format!(
            "SELECT * FROM ({}) AS found ORDER BY schema, id LIMIT {LISTED}",
            selects.join(" UNION ALL ")
        )
        .into();
        sqlx::query_as(built(&sql))
            .bind(texts)
            .fetch_all(&self.pool)
            .await
            .attempted("looking for rows of files")
    }

    /// Tables of records that have this id; with `only`, that one alone.
    pub async fn keyed_records(
        &self,
        catalog: &Catalog,
        id: &str,
        only: Option<&SchemaName>,
    ) -> Result<Vec<String>, DbError> {
        let records = catalog.mapped().into_iter().flat_map(|mapped| &mapped.records);
        let records = records.filter(|record| only.is_none_or(|only| *only == record.schema));
        let selects: Vec<String> = records
            .map(|record| {
                format!(
                    "SELECT {} FROM {} AS item WHERE {}",
                    quote_literal(record.schema.as_str()),
                    catalog.named(record.schema.as_str()).quoted(),
                    record.id.is_one_of("ARRAY[$1]::text[]")
                )
            })
            .collect();
        if selects.is_empty() {
            return Ok(Vec::new());
        }
        let sql: Arc<str> = selects.join(" UNION ").into();
        sqlx::query_scalar(built(&sql)).bind(id).fetch_all(&self.pool).await.attempted("looking for records")
    }

    /// The newest rows of the ledger about the file `id`, or about a record of these schemas with that id.
    pub async fn keyed_ledger(&self, id: &str, schemas: &[String]) -> Result<Vec<LedgerRow>, DbError> {
        sqlx::query_as(
            "SELECT recycled_at, outcome, file_id, schema, record_schema, record_id, key, object_bucket,
                    recycle_bucket, etag, size, event_id, deleted_at, detail
               FROM (SELECT * FROM file_recycler.ledger WHERE file_id = $1
                     UNION
                     SELECT * FROM file_recycler.ledger WHERE record_schema = ANY($2) AND record_id = $1) AS found
              ORDER BY recycled_at DESC, event_id LIMIT $3",
        )
        .bind(id)
        .bind(schemas)
        .bind(NEWEST)
        .fetch_all(&self.pool)
        .await
        .attempted("reading the ledger")
    }

    /// Deletions among the oldest of the outbox that name the id, as a file's, a record's or an owner's.
    pub async fn keyed_outbox(&self, id: &str) -> Result<Vec<KeyedWaiting>, DbError> {
        sqlx::query_as(
            "SELECT kind, schema, captured_at, seen_at,
                    ARRAY(SELECT key FROM unnest(text_ids, text_parents, keys) AS one (id, parent, key)
                           WHERE key IS NOT NULL AND (one.id = $1 OR one.parent = $1)) AS keys
               FROM (SELECT * FROM file_recycler.outbox ORDER BY id LIMIT $2) AS oldest
              WHERE text_ids && ARRAY[$1] OR text_parents && ARRAY[$1]
              ORDER BY id LIMIT $3",
        )
        .bind(id)
        .bind(OUTBOX_LOOK)
        .bind(NEWEST)
        .fetch_all(&self.pool)
        .await
        .attempted("looking into the outbox")
    }
}

fn select(table: &MappedTable, condition: &str) -> String {
    let (record_schema, record_id) = table.parent();
    let size = table.size.as_ref().map_or_else(|| "NULL".to_owned(), Column::text);
    format!(
        "(SELECT {schema} AS schema, {id} AS id, CASE WHEN {holds} THEN {key} END AS key, {in_s3} AS in_s3,
                 {size}::bigint AS size, {record_schema} AS record_schema, {record_id} AS record_id
            FROM {from} AS item WHERE {condition} LIMIT {LISTED})",
        schema = quote_literal(table.schema.as_str()),
        id = table.id.text(),
        holds = table.holds(),
        key = table.key(),
        in_s3 = table.in_s3(),
        from = table.table.quoted(),
    )
}

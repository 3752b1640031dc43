//! Rows of files that we deleted because the record that they named was gone, by that record, and what became of their
//! files.

use sqlx::FromRow;
use time::OffsetDateTime;

use super::{COUNTED, LISTED, Listed};
use crate::db::Db;
use crate::db::error::{Attempted, DbError};
use crate::file::SchemaName;

/// A row that went with its record.
#[derive(Clone, Debug, PartialEq, Eq, FromRow, serde::Serialize)]
pub struct GoneRow {
    /// The record's schema.
    pub record_schema: String,
    /// The row's table.
    pub table: String,
    /// The row, which is the file's id.
    pub row_id: String,
    /// When the row was deleted.
    #[serde(with = "time::serde::rfc3339")]
    pub deleted_at: OffsetDateTime,
    /// The event of the record's deletion.
    pub event_id: String,
    /// What became of the file since, by the ledger; nothing where that is not noted yet.
    pub outcome: Option<String>,
    /// When that was.
    #[serde(with = "time::serde::rfc3339::option")]
    pub noted_at: Option<OffsetDateTime>,
    /// The key of its object, by the ledger.
    pub key: Option<String>,
}

#[derive(FromRow)]
struct Raw {
    #[sqlx(flatten)]
    row: GoneRow,
    total: i64,
}

/// Each row once, with its newest image. The ledger may have the file of an earlier deletion, too, where the row has been
/// restored: what it noted for a deletion long before the image says nothing of this one.
const GONE: &str = r#"
  SELECT gone.*, noted.outcome, noted.recycled_at AS noted_at, noted.key
    FROM (SELECT *, count(*) OVER () AS total
            FROM (SELECT DISTINCT ON (record_schema, table_name, row_id)
                         record_schema, table_name AS "table", row_id, recycled_at AS deleted_at, event_id
                    FROM (SELECT record_schema, table_name, row_id, recycled_at, event_id FROM file_recycler.image
                           WHERE record_id = $1 AND ($2::text IS NULL OR record_schema = $2) LIMIT $3) AS images
                   ORDER BY record_schema, table_name, row_id, recycled_at DESC) AS each
           ORDER BY deleted_at DESC, "table", row_id LIMIT $4) AS gone
    LEFT JOIN LATERAL
         (SELECT outcome, recycled_at, key FROM file_recycler.ledger AS ledger
           WHERE file_id = gone.row_id AND (schema IS NULL OR schema = gone."table")
             AND coalesce(ledger.deleted_at, recycled_at) >= gone.deleted_at - interval '10 minutes'
           ORDER BY recycled_at DESC LIMIT 1) AS noted ON true
   ORDER BY gone.deleted_at DESC, gone."table", gone.row_id"#;

impl Db {
    /// The rows that went with the record `id`, the newest first; of the schema `only`, where one is given.
    pub async fn gone_with(&self, id: &str, only: Option<&SchemaName>) -> Result<Listed<GoneRow>, DbError> {
        let rows: Vec<Raw> = sqlx::query_as(GONE)
            .bind(id)
            .bind(only.map(SchemaName::as_str))
            .bind(i64::from(COUNTED))
            .bind(i64::try_from(LISTED).unwrap_or(i64::MAX))
            .fetch_all(&self.pool)
            .await
            .attempted("reading images of a record's rows")?;
        let total = rows.first().map_or(0, |row| row.total.unsigned_abs());
        Ok(Listed { items: rows.into_iter().map(|raw| raw.row).collect(), total })
    }
}

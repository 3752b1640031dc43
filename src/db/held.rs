//! Deleted records of which rows are left because a link of another record names them: remembered until the last
//! such link goes.

use std::sync::Arc;

use sqlx::{FromRow, Postgres, Transaction};
use uuid::Uuid;

use super::Db;
use super::catalog::{Asks, Catalog};
use super::dangling::{DanglingReport, DeletedRecord, weak_tables};
use super::error::{Attempted, DbError};
use super::sql::built;
use crate::failpoint;
use crate::file::FileId;

/// A record whose deletion our triggers captured.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Held {
    /// The record's schema.
    #[sqlx(rename = "record_schema")]
    pub schema: String,
    /// The record.
    #[sqlx(rename = "record_id")]
    pub id: Uuid,
    /// The event of its deletion.
    pub event_id: String,
}

impl Db {
    /// The remembered records of which one of these files' rows is left.
    pub(super) async fn held(&self, catalog: &Catalog, files: &[FileId]) -> Result<Vec<Held>, DbError> {
        let ids: Vec<Uuid> = files.iter().filter_map(FileId::as_uuid).collect();
        let rows: Vec<String> = weak_tables(catalog)
            .map(|file| {
                format!(
                    r#"SELECT "RecordSchemaName"::text AS record_schema, "RecordId" AS record_id FROM {} WHERE "Id" = ANY($1)"#,
                    file.table.quoted()
                )
            })
            .collect();
        if rows.is_empty() || ids.is_empty() {
            return Ok(Vec::new());
        }
        let sql: Arc<str> = format!(
            "SELECT record_schema, record_id, held.event_id FROM file_recycler.held_record AS held
               JOIN ({}) AS item USING (record_schema, record_id)
              ORDER BY record_schema, record_id",
            rows.join(" UNION ")
        )
        .into();
        sqlx::query_as(built(&sql))
            .bind(&ids)
            .fetch_all(&self.pool)
            .await
            .attempted("asking whose files lost a link")
    }
}

/// A record that was remembered lately may have rows that a transaction is still to show.
const FORGOTTEN_AFTER: &str = "1 day";

impl Db {
    /// Forgets records on which nothing hangs any more: the CRM has deleted or moved the rows itself. How many; none where the
    /// tables are not those of the catalogue any more.
    pub async fn forget_held(&self, catalog: &Catalog) -> Result<u64, DbError> {
        if catalog.asks != Asks::Creatio {
            return Ok(0);
        }
        let hangs: Vec<String> = weak_tables(catalog)
            .map(|file| {
                format!(
                    r#" AND NOT EXISTS (SELECT FROM {} AS item
                          WHERE item."RecordSchemaName" = held.record_schema AND item."RecordId" = held.record_id)"#,
                    file.table.quoted()
                )
            })
            .collect();
        // Where no table is known in which something could hang, nothing is known of what hangs.
        if hangs.is_empty() {
            return Ok(0);
        }
        let sql: Arc<str> = format!(
            "DELETE FROM file_recycler.held_record AS held
              WHERE held.noted_at < clock_timestamp() - interval '{FORGOTTEN_AFTER}' AND $1 = {}{}",
            catalog.fingerprint_sql,
            hangs.concat()
        )
        .into();
        let done = sqlx::query(built(&sql)).bind(&catalog.fingerprint).execute(&self.pool).await;
        let done = done.attempted("forgetting deleted records")?;
        Ok(done.rows_affected())
    }
}

/// Remembers the record while rows of it are left that may go later, and forgets it with the last one. Is one more
/// look necessary?
///
/// It is after the record was remembered anew: a link that went before that found nothing remembered; one that goes
/// later will. A row that a link let go between this transaction's deletion and its count is such a row, too.
pub(super) async fn settle(
    tx: &mut Transaction<'static, Postgres>,
    record: DeletedRecord<'_>,
    id: Uuid,
    report: &DanglingReport,
) -> Result<bool, DbError> {
    const DOING: &str = "remembering whose files are linked";
    let is_left = report.left_linked + report.left_reported > 0;
    if is_left && !failpoint::removed("protection::linked_remembered") {
        let new = sqlx::query(
            "INSERT INTO file_recycler.held_record (record_schema, record_id, event_id) VALUES ($1, $2, $3)
             ON CONFLICT DO NOTHING",
        )
        .bind(record.schema.as_str())
        .bind(id)
        .bind(record.event_id)
        .execute(&mut **tx)
        .await
        .attempted(DOING)?;
        return Ok(new.rows_affected() > 0);
    }
    sqlx::query("DELETE FROM file_recycler.held_record WHERE record_schema = $1 AND record_id = $2")
        .bind(record.schema.as_str())
        .bind(id)
        .execute(&mut **tx)
        .await
        .attempted(DOING)?;
    Ok(false)
}

//! The ledger: what became of each file. Memory for people and for speed, never a condition of safety.

use sqlx::Postgres;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use time::OffsetDateTime;

use super::Db;
use super::error::{Attempted, DbError};
use crate::file::{FileId, ObjectKey, RecordId, SchemaName};
use crate::outcome::Outcome;

/// Months of partitions that are made ahead.
const MONTHS_AHEAD: i32 = 3;

/// The outcome of a file that an operator erased for good.
pub const ERASED: &str = "erased";

/// One row of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerEntry {
    /// The file.
    pub file_id: FileId,
    /// Its schema, where it is known.
    pub schema: Option<SchemaName>,
    /// The record that it belonged to, where it is known.
    pub record: Option<(SchemaName, RecordId)>,
    /// Its key, the same in both buckets.
    pub key: ObjectKey,
    /// Name of the object bucket.
    pub object_bucket: String,
    /// Name of the recycle bucket.
    pub recycle_bucket: String,
    /// ETag of the copy.
    pub etag: Option<String>,
    /// Size in bytes, as the storage says.
    pub size: Option<u64>,
    /// Id of the event that it was moved for.
    pub event_id: String,
    /// When the deletion was captured.
    pub deleted_at: Option<OffsetDateTime>,
    /// When its copy was written: its retention counts from here.
    pub recycled_at: OffsetDateTime,
    /// What became of it.
    pub outcome: Outcome,
    /// What else a person may want to know.
    pub detail: Option<String>,
}

/// Writes the entries whose arrays are `$3` to `$16`, but those of a file, key and event that are there. The key,
/// because by mapping files of two tables may have the same id.
pub(super) const INSERT: &str = "
  INSERT INTO file_recycler.ledger (file_id, schema, record_schema, record_id, key, object_bucket, recycle_bucket,
                                    etag, size, event_id, deleted_at, outcome, detail, recycled_at)
  SELECT DISTINCT ON (file_id, event_id, key) *
    FROM unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[],
                $11::bigint[], $12::text[], $13::timestamptz[], $14::text[], $15::text[],
                $16::timestamptz[])
      AS entry (file_id, schema, record_schema, record_id, key, object_bucket, recycle_bucket,
                etag, size, event_id, deleted_at, outcome, detail, recycled_at)
   WHERE NOT EXISTS (SELECT FROM file_recycler.ledger AS old
                      WHERE old.file_id = entry.file_id AND old.event_id = entry.event_id AND old.key = entry.key)
  RETURNING 1";

/// Binds the entries as the arrays that [`INSERT`] takes.
pub(super) fn bind<'q>(
    query: Query<'q, Postgres, PgArguments>,
    entries: &[LedgerEntry],
) -> Query<'q, Postgres, PgArguments> {
    fn column<T>(entries: &[LedgerEntry], of: impl FnMut(&LedgerEntry) -> T) -> Vec<T> {
        entries.iter().map(of).collect()
    }
    query
        .bind(column(entries, |entry| entry.file_id.to_string()))
        .bind(column(entries, |entry| entry.schema.as_ref().map(ToString::to_string)))
        .bind(column(entries, |entry| entry.record.as_ref().map(|(schema, _)| schema.to_string())))
        .bind(column(entries, |entry| entry.record.as_ref().map(|(_, id)| id.to_string())))
        .bind(column(entries, |entry| entry.key.to_string()))
        .bind(column(entries, |entry| entry.object_bucket.clone()))
        .bind(column(entries, |entry| entry.recycle_bucket.clone()))
        .bind(column(entries, |entry| entry.etag.clone()))
        .bind(column(entries, |entry| entry.size.and_then(|size| i64::try_from(size).ok())))
        .bind(column(entries, |entry| entry.event_id.clone()))
        .bind(column(entries, |entry| entry.deleted_at))
        .bind(column(entries, |entry| entry.outcome.as_str()))
        .bind(column(entries, |entry| entry.detail.clone()))
        .bind(column(entries, |entry| entry.recycled_at))
}

impl Db {
    /// Makes the ledger's partitions of the coming months, where they are not there. A month without one goes
    /// to the default partition, which is never dropped by age.
    pub async fn make_partitions(&self) -> Result<(), DbError> {
        sqlx::query("SELECT file_recycler.make_partitions($1)")
            .bind(MONTHS_AHEAD)
            .execute(&self.pool)
            .await
            .attempted("making the ledger's partitions")?;
        Ok(())
    }
}

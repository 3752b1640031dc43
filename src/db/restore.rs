//! What the database knows of files that somebody wants back: their rows, the ledger, and images of rows that went with
//! their record.

mod image;
mod rows;

use sqlx::FromRow;
use time::OffsetDateTime;

use super::Db;
use super::error::{Attempted, DbError, Problem};
use crate::file::{FileId, ObjectKey, SchemaName};

pub use image::{Obstacle, RowImage};
pub use rows::{RestorableRow, RowsOf};

/// Most rows of one page.
pub const PAGE: i64 = 1_000;
const DOING: &str = "reading the ledger";

/// A file that was recycled, as the ledger has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecycledFile {
    /// The file.
    pub file_id: FileId,
    /// Its schema, where it is known.
    pub schema: Option<SchemaName>,
    /// Its object's key.
    pub key: ObjectKey,
}

/// A page of the ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecycledPage {
    /// The files, each once, where its last deletion is.
    pub files: Vec<RecycledFile>,
    /// Where the next page begins; nothing on the last.
    pub next: Option<Position>,
}

/// A place in the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    at: Option<OffsetDateTime>,
    file_id: String,
    key: String,
}

/// Which files of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LedgerOf<'a> {
    /// This file's, one for each of its keys.
    File(&'a FileId),
    /// Those that went with this record.
    Record(&'a SchemaName, &'a str),
    /// Those whose deletion was captured at or after this moment.
    DeletedSince(OffsetDateTime),
    /// Those whose event did not say when the deletion was, and that were recycled at or after this moment.
    UndatedSince(OffsetDateTime),
}

#[derive(FromRow)]
struct Raw {
    at: Option<OffsetDateTime>,
    file_id: String,
    schema: Option<String>,
    key: String,
    /// It was deleted again later: it is met there.
    superseded: bool,
}

impl Db {
    /// A page of the ledger, at most [`PAGE`] rows, from `from` on.
    pub async fn recycled(
        &self,
        of: &LedgerOf<'_>,
        from: Option<&Position>,
    ) -> Result<RecycledPage, DbError> {
        let (sql, first, second, since) = match *of {
            LedgerOf::File(id) => (OF_FILE, Some(id.as_str()), None, None),
            LedgerOf::Record(schema, id) => (OF_RECORD, Some(schema.as_str()), Some(id), None),
            LedgerOf::DeletedSince(since) => (DELETED_SINCE, None, None, Some(since)),
            LedgerOf::UndatedSince(since) => (UNDATED_SINCE, None, None, Some(since)),
        };
        let rows: Vec<Raw> = sqlx::query_as(sql)
            .bind(first)
            .bind(second)
            .bind(since)
            .bind(from.and_then(|from| from.at))
            .bind(from.map(|from| from.file_id.as_str()))
            .bind(from.map(|from| from.key.as_str()))
            .bind(PAGE)
            .fetch_all(&self.pool)
            .await
            .attempted(DOING)?;
        RecycledPage::of(rows)
    }

    /// How many files a walk along the ledger will meet, at most.
    pub async fn count_recycled_since(&self, since: OffsetDateTime) -> Result<u64, DbError> {
        let count: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM file_recycler.ledger
              WHERE outcome IN ('moved', 'already_moved')
                AND (deleted_at >= $1 OR deleted_at IS NULL AND recycled_at >= $1)",
        )
        .bind(since)
        .fetch_one(&self.pool)
        .await
        .attempted(DOING)?;
        Ok(count.unsigned_abs())
    }

    /// When this file's object was last moved to this recycle bucket, as far as the ledger remembers.
    pub async fn last_recycled(
        &self,
        id: &FileId,
        key: &ObjectKey,
        bucket: &str,
    ) -> Result<Option<OffsetDateTime>, DbError> {
        sqlx::query_scalar(
            "SELECT max(recycled_at) FROM file_recycler.ledger
              WHERE file_id = $1 AND key = $2 AND coalesce(recycle_bucket, $3) = $3
                AND outcome IN ('moved', 'already_moved')",
        )
        .bind(id.as_str())
        .bind(key.as_str())
        .bind(bucket)
        .fetch_one(&self.pool)
        .await
        .attempted(DOING)
    }
}

impl RecycledPage {
    fn of(rows: Vec<Raw>) -> Result<Self, DbError> {
        let last = rows.last().filter(|_| i64::try_from(rows.len()) == Ok(PAGE));
        let next =
            last.map(|last| Position { at: last.at, file_id: last.file_id.clone(), key: last.key.clone() });
        let bad = |_| DbError::new(DOING, Problem::Internal("a row that is no file".to_owned()));
        let mut files: Vec<RecycledFile> = Vec::with_capacity(rows.len());
        for row in rows.into_iter().filter(|row| !row.superseded) {
            let file = RecycledFile {
                file_id: FileId::try_from(row.file_id).map_err(bad)?,
                schema: row.schema.and_then(|schema| SchemaName::try_from(schema).ok()),
                key: ObjectKey::try_from(row.key).map_err(bad)?,
            };
            // Two events of one moment about one file.
            if files.last().is_none_or(|last| (&last.file_id, &last.key) != (&file.file_id, &file.key)) {
                files.push(file);
            }
        }
        Ok(Self { files, next })
    }
}

// In all of them: `$1` and `$2` texts, `$3` the moment, `$4` to `$6` the place of the last row, `$7` the page's size. Each
// names all of them, so that they are bound alike.
const OF_FILE: &str = r#"
  SELECT NULL::timestamptz AS at, file_id, (array_agg(schema ORDER BY recycled_at DESC))[1] AS schema, key,
         false AS superseded
    FROM file_recycler.ledger
   WHERE file_id = $1 AND outcome IN ('moved', 'already_moved')
     AND ($5::text IS NULL OR key COLLATE "C" > $6)
     AND $2::text IS NULL AND $3::timestamptz IS NULL AND $4::timestamptz IS NULL
   GROUP BY file_id, key ORDER BY key COLLATE "C" LIMIT $7"#;

const OF_RECORD: &str = r#"
  SELECT NULL::timestamptz AS at, file_id, (array_agg(schema ORDER BY recycled_at DESC))[1] AS schema, key,
         false AS superseded
    FROM file_recycler.ledger
   WHERE record_schema = $1 AND record_id = $2 AND outcome IN ('moved', 'already_moved')
     AND ($5::text IS NULL OR (file_id COLLATE "C", key COLLATE "C") > ($5, $6))
     AND $3::timestamptz IS NULL AND $4::timestamptz IS NULL
   GROUP BY file_id, key ORDER BY file_id COLLATE "C", key COLLATE "C" LIMIT $7"#;

const DELETED_SINCE: &str = r#"
  SELECT deleted_at AS at, file_id, schema, key,
         EXISTS (SELECT FROM file_recycler.ledger AS later
                  WHERE later.file_id = page.file_id AND later.key = page.key
                    AND later.deleted_at > page.deleted_at
                    AND later.outcome IN ('moved', 'already_moved')) AS superseded
    FROM (SELECT deleted_at, file_id, schema, key FROM file_recycler.ledger
           WHERE deleted_at >= greatest($3, $4) AND outcome IN ('moved', 'already_moved')
             AND ($5::text IS NULL OR (deleted_at, file_id COLLATE "C", key COLLATE "C") > ($4, $5, $6))
             AND $1::text IS NULL AND $2::text IS NULL
           ORDER BY deleted_at, file_id COLLATE "C", key COLLATE "C" LIMIT $7) AS page
   ORDER BY deleted_at, file_id COLLATE "C", key COLLATE "C""#;

const UNDATED_SINCE: &str = r#"
  SELECT recycled_at AS at, file_id, schema, key,
         EXISTS (SELECT FROM file_recycler.ledger AS later
                  WHERE later.file_id = page.file_id AND later.key = page.key
                    AND (later.deleted_at >= $3
                         OR later.deleted_at IS NULL AND later.recycled_at > page.recycled_at)
                    AND later.outcome IN ('moved', 'already_moved')) AS superseded
    FROM (SELECT recycled_at, file_id, schema, key FROM file_recycler.ledger
           WHERE deleted_at IS NULL AND recycled_at >= greatest($3, $4)
             AND outcome IN ('moved', 'already_moved')
             AND ($5::text IS NULL OR (recycled_at, file_id COLLATE "C", key COLLATE "C") > ($4, $5, $6))
             AND $1::text IS NULL AND $2::text IS NULL
           ORDER BY recycled_at, file_id COLLATE "C", key COLLATE "C" LIMIT $7) AS page
   ORDER BY recycled_at, file_id COLLATE "C", key COLLATE "C""#;

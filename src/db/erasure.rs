//! Erasures of single files: what was begun, what is remembered of the file, and what is removed of that.

use serde_json::Value;
use sqlx::FromRow;
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

use super::environment::trail;
use super::error::{Attempted, DbError};
use super::ledger::ERASED;
use super::{Actor, Db};
use crate::file::{FileId, ObjectKey};

/// Keys of one file that are read from the ledger at most.
const MAX_KEYS: i64 = 200;

/// A key that the ledger has for a file.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct KnownKey {
    /// The key.
    pub key: String,
    /// The file's schema, where it is known.
    pub schema: Option<String>,
}

/// An erasure that was begun.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct Begun {
    /// Its id.
    pub id: Uuid,
    /// When.
    pub begun_at: OffsetDateTime,
    /// Who.
    pub who: String,
    /// What was there then.
    pub planned: Json<Value>,
    /// When it ended; nothing where it was cut off.
    pub ended_at: Option<OffsetDateTime>,
    /// How.
    pub outcome: Option<String>,
}

impl Begun {
    /// Was it cut off, or did it fail on the way? Then the next one has to finish it.
    pub fn is_unfinished(&self) -> bool {
        self.outcome.as_deref().is_none_or(|outcome| outcome == "failed")
    }
}

/// An erasure of one file under one key.
#[derive(Clone, Debug)]
pub struct Erasure<'a> {
    /// Its id.
    pub id: Uuid,
    /// The file.
    pub file: &'a FileId,
    /// Its object's key.
    pub key: &'a ObjectKey,
    /// Why it is erased.
    pub why: &'a str,
    /// Who erases it, from where.
    pub actor: &'a Actor,
}

/// Which images of a file's row are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Images {
    /// All that have its id.
    All,
    /// Those of these tables: ids of other tables may be the same.
    OfTables(Vec<String>),
}

impl Images {
    fn tables(&self) -> Option<&[String]> {
        match self {
            Self::All => None,
            Self::OfTables(tables) => Some(tables),
        }
    }
}

impl Db {
    /// The keys that the ledger has for a file.
    pub async fn known_keys(&self, file: &FileId) -> Result<Vec<KnownKey>, DbError> {
        sqlx::query_as(
            "SELECT DISTINCT key, schema FROM file_recycler.ledger WHERE file_id = $1 ORDER BY key, schema LIMIT $2",
        )
        .bind(file.as_str())
        .bind(MAX_KEYS)
        .fetch_all(&self.pool)
        .await
        .attempted("reading the ledger")
    }

    /// The tables of which an image of the row with this id is kept.
    pub async fn tables_of_images(&self, file: &FileId) -> Result<Vec<String>, DbError> {
        sqlx::query_scalar(
            "SELECT DISTINCT table_name FROM file_recycler.image WHERE row_id = $1 ORDER BY table_name",
        )
        .bind(file.as_str())
        .fetch_all(&self.pool)
        .await
        .attempted("reading images of deleted rows")
    }

    /// How many images of the file's row are kept.
    pub async fn count_images(&self, file: &FileId, which: &Images) -> Result<u64, DbError> {
        let count: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM file_recycler.image
              WHERE row_id = $1 AND ($2::text[] IS NULL OR table_name = ANY($2))",
        )
        .bind(file.as_str())
        .bind(which.tables())
        .fetch_one(&self.pool)
        .await
        .attempted("counting images of deleted rows")?;
        Ok(count.unsigned_abs())
    }

    /// Does a deletion of this file wait in the outbox? The whole of it is read. Where keys are captured with the ids, a
    /// row of the same id and another key is another file's.
    pub async fn outbox_holds(&self, file: &FileId, key: &ObjectKey) -> Result<bool, DbError> {
        sqlx::query_scalar(
            "SELECT EXISTS (SELECT FROM file_recycler.outbox
                             WHERE kind = 'files'
                               AND (ids @> ARRAY[$1] OR keys @> ARRAY[$3] OR keys IS NULL AND text_ids @> ARRAY[$2]))",
        )
        .bind(file.as_uuid())
        .bind(file.as_str())
        .bind(key.as_str())
        .fetch_one(&self.pool)
        .await
        .attempted("looking into the outbox")
    }

    /// The erasures of this file under this key, the newest first.
    pub async fn erasures_of(&self, file: &FileId, key: &ObjectKey) -> Result<Vec<Begun>, DbError> {
        sqlx::query_as(
            "SELECT id, begun_at, who, planned, ended_at, outcome FROM file_recycler.erasure
              WHERE file_id = $1 AND key = $2 ORDER BY begun_at DESC, id",
        )
        .bind(file.as_str())
        .bind(key.as_str())
        .fetch_all(&self.pool)
        .await
        .attempted("asking for earlier erasures")
    }

    /// Notes who begins to erase what and why, and what is there; to be called before anything is removed.
    pub async fn begin_erasure(&self, erasure: &Erasure<'_>, planned: &Value) -> Result<(), DbError> {
        const DOING: &str = "noting that an erasure begins";
        let Erasure { id, file, key, why, actor } = erasure;
        let mut transaction = self.pool.begin().await.attempted(DOING)?;
        sqlx::query(
            "INSERT INTO file_recycler.erasure (id, file_id, key, who, host, why, planned)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(id)
        .bind(file.as_str())
        .bind(key.as_str())
        .bind(&actor.who)
        .bind(&actor.host)
        .bind(why)
        .bind(Json(planned))
        .execute(&mut *transaction)
        .await
        .attempted(DOING)?;
        trail(&mut transaction, actor, "erase", &format!("file {file}, key '{key}' (erasure {id}): {why}"))
            .await?;
        transaction.commit().await.attempted(DOING)
    }

    /// Notes that an erasure ended without its end: `refused` or `failed`.
    pub async fn give_up_erasure(&self, id: Uuid, outcome: &'static str) -> Result<(), DbError> {
        sqlx::query(
            "UPDATE file_recycler.erasure SET ended_at = clock_timestamp(), outcome = $2 WHERE id = $1",
        )
        .bind(id)
        .bind(outcome)
        .execute(&self.pool)
        .await
        .attempted("noting that an erasure failed")?;
        Ok(())
    }

    /// After nothing is left in either bucket: removes the images of the file's row, writes the ledger, and ends this
    /// erasure with those before it that were cut off; all or nothing. How many images there were.
    pub async fn finish_erasure(
        &self,
        erasure: &Erasure<'_>,
        images: &Images,
        buckets: (&str, &str),
        size: u64,
    ) -> Result<u64, DbError> {
        const DOING: &str = "ending an erasure";
        let Erasure { id, file, key, why, actor } = erasure;
        let mut transaction = self.pool.begin().await.attempted(DOING)?;
        let removed = sqlx::query(
            "DELETE FROM file_recycler.image
              WHERE row_id = $1 AND ($2::text[] IS NULL OR table_name = ANY($2))",
        )
        .bind(file.as_str())
        .bind(images.tables())
        .execute(&mut *transaction)
        .await
        .attempted(DOING)?
        .rows_affected();
        sqlx::query(
            "INSERT INTO file_recycler.ledger (file_id, key, object_bucket, recycle_bucket, size, event_id, outcome, detail)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(file.as_str())
        .bind(key.as_str())
        .bind(buckets.0)
        .bind(buckets.1)
        .bind(i64::try_from(size).unwrap_or(i64::MAX))
        .bind(id.to_string())
        .bind(ERASED)
        .bind(format!("{why} (by {} on {})", actor.who, actor.host))
        .execute(&mut *transaction)
        .await
        .attempted(DOING)?;
        sqlx::query(
            "UPDATE file_recycler.erasure SET ended_at = clock_timestamp(), outcome = $3
              WHERE file_id = $1 AND key = $2 AND (outcome IS NULL OR outcome = 'failed')",
        )
        .bind(file.as_str())
        .bind(key.as_str())
        .bind(ERASED)
        .execute(&mut *transaction)
        .await
        .attempted(DOING)?;
        transaction.commit().await.attempted(DOING)?;
        Ok(removed)
    }
}

//! What our own tables remember of an id: the outbox, the ledger, images of rows, and what was done with messages.

use sqlx::FromRow;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::db::Db;
use crate::db::catalog::Catalog;
use crate::db::error::{Attempted, DbError};
use crate::file::SchemaName;

/// Most rows of each kind, the newest first.
const NEWEST: i64 = 20;
/// Outbox rows that are looked at on either end: with a grace period millions may wait.
const OUTBOX_LOOK: i64 = 10_000;
/// Discarded messages that are looked into, the newest first: finding an id means reading their bodies.
const DISCARDED_LOOK: i64 = 10_000;

/// A row of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, FromRow, serde::Serialize)]
pub struct LedgerRow {
    /// When the copy was written: its retention counts from here.
    #[serde(with = "time::serde::rfc3339")]
    pub recycled_at: OffsetDateTime,
    /// What became of the file.
    pub outcome: String,
    /// The file.
    pub file_id: String,
    /// Its schema.
    pub schema: Option<String>,
    /// The schema of the record that it went with.
    pub record_schema: Option<String>,
    /// The record that it went with.
    pub record_id: Option<String>,
    /// Its object's key.
    pub key: String,
    /// Name of the object bucket.
    pub object_bucket: Option<String>,
    /// Name of the recycle bucket.
    pub recycle_bucket: Option<String>,
    /// ETag of the copy.
    pub etag: Option<String>,
    /// Size in bytes.
    pub size: Option<i64>,
    /// The event that it moved for.
    pub event_id: String,
    /// When the deletion was captured.
    #[serde(with = "time::serde::rfc3339::option")]
    pub deleted_at: Option<OffsetDateTime>,
    /// What else a person may want to know.
    pub detail: Option<String>,
}

/// The image of a row that was deleted because its record was gone; of its columns only those about its content.
#[derive(Clone, Debug, PartialEq, Eq, FromRow, serde::Serialize)]
pub struct Image {
    /// When the row was deleted.
    #[serde(with = "time::serde::rfc3339")]
    pub deleted_at: OffsetDateTime,
    /// The row's table.
    pub table: String,
    /// The row.
    pub row_id: String,
    /// The record's schema.
    pub record_schema: String,
    /// The record that was gone.
    pub record_id: String,
    /// The event of the record's deletion.
    pub event_id: String,
    /// Size in bytes, as the row said.
    pub size: Option<String>,
}

/// A deleted record that is remembered because links keep some of its files (see [`crate::db::held`]).
#[derive(Clone, Debug, PartialEq, Eq, FromRow, serde::Serialize)]
pub struct HeldRow {
    /// The record's schema.
    pub record_schema: String,
    /// The record.
    pub record_id: Uuid,
    /// The event of its deletion.
    pub event_id: String,
    /// Since when it is remembered.
    #[serde(with = "time::serde::rfc3339")]
    pub noted_at: OffsetDateTime,
}

/// An outbox row that names one of the ids that were asked for.
#[derive(Clone, Debug, PartialEq, Eq, FromRow, serde::Serialize)]
pub struct OutboxRow {
    /// The row.
    pub id: i64,
    /// `records` or `files`.
    pub kind: String,
    /// The schema of those.
    pub schema: String,
    /// How many ids the row has.
    pub n: i32,
    /// Those of them that were asked for.
    pub named: Vec<Uuid>,
    /// Parents of its files that were asked for.
    pub parents: Vec<Uuid>,
    /// When the deletion was captured.
    #[serde(with = "time::serde::rfc3339")]
    pub captured_at: OffsetDateTime,
    /// When a relay first saw it: `recycle.grace` counts from here.
    #[serde(with = "time::serde::rfc3339::option")]
    pub seen_at: Option<OffsetDateTime>,
}

/// What of the outbox was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outbox {
    /// The rows that name the ids.
    pub rows: Vec<OutboxRow>,
    /// Rows between its oldest and its newest were not looked at.
    pub passed_over: bool,
}

/// What a replay did with a message.
#[derive(Clone, Debug, PartialEq, Eq, FromRow, serde::Serialize)]
pub struct ReplayRow {
    /// The message.
    pub message_id: String,
    /// When it was chosen.
    #[serde(with = "time::serde::rfc3339")]
    pub selected_at: OffsetDateTime,
    /// When it went back to work.
    #[serde(with = "time::serde::rfc3339::option")]
    pub published_at: Option<OffsetDateTime>,
    /// When its outcome was known.
    #[serde(with = "time::serde::rfc3339::option")]
    pub finished_at: Option<OffsetDateTime>,
    /// `succeeded` or `failed`.
    pub outcome: Option<String>,
    /// What went wrong.
    pub error: Option<String>,
    /// Why it had been dead.
    pub was_reason: Option<String>,
    /// Who replayed it.
    pub who: String,
    /// From where.
    pub host: String,
}

/// A message that an operator took out of the dead-letter queue for good.
#[derive(Clone, Debug, PartialEq, Eq, FromRow, serde::Serialize)]
pub struct DiscardedRow {
    /// The message.
    pub message_id: String,
    /// Why it had been dead.
    pub reason: Option<String>,
    /// What had gone wrong.
    pub error: Option<String>,
    /// When it was taken out.
    #[serde(with = "time::serde::rfc3339")]
    pub discarded_at: OffsetDateTime,
    /// Who took it out.
    pub who: String,
    /// From where.
    pub host: String,
    /// Why.
    pub why: String,
}

/// A message over which a worker may have died.
#[derive(Clone, Debug, PartialEq, Eq, FromRow, serde::Serialize)]
pub struct SuspectRow {
    /// The message.
    pub message_id: Option<String>,
    /// Tries in a row that ended with the death of their worker.
    pub crashes: i32,
    /// Is it being tried now?
    pub tried_now: bool,
    /// When it was seen last.
    #[serde(with = "time::serde::rfc3339")]
    pub seen_at: OffsetDateTime,
}

impl Db {
    /// The newest rows of the ledger about the file or the record `id`; about that of the schema `only`, where one is given.
    pub async fn ledger_of(
        &self,
        catalog: &Catalog,
        id: Uuid,
        only: Option<&SchemaName>,
    ) -> Result<Vec<LedgerRow>, DbError> {
        const NEWEST_OF: &str = "
          SELECT recycled_at, outcome, file_id, schema, record_schema, record_id, key, object_bucket,
                 recycle_bucket, etag, size, event_id, deleted_at, detail
            FROM (SELECT * FROM file_recycler.ledger WHERE file_id = $1
                  UNION
                  SELECT * FROM file_recycler.ledger WHERE record_schema = ANY($2) AND record_id = $1) AS found
           ORDER BY recycled_at DESC, event_id LIMIT $3";
        // With every schema that there is, because the index begins with it.
        let schemas: Vec<&str> = match only {
            Some(only) => vec![only.as_str()],
            None => catalog.tables.iter().map(String::as_str).collect(),
        };
        sqlx::query_as(NEWEST_OF)
            .bind(id.to_string())
            .bind(schemas)
            .bind(NEWEST)
            .fetch_all(&self.pool)
            .await
            .attempted("reading the ledger")
    }

    /// The newest images of the row `id`.
    pub async fn images_of(&self, id: Uuid) -> Result<Vec<Image>, DbError> {
        sqlx::query_as(
            r#"SELECT recycled_at AS deleted_at, table_name AS "table", row_id, record_schema, record_id, event_id,
                      row ->> 'Size' AS size
                 FROM file_recycler.image WHERE row_id = $1 ORDER BY recycled_at DESC LIMIT $2"#,
        )
        .bind(id.to_string())
        .bind(NEWEST)
        .fetch_all(&self.pool)
        .await
        .attempted("reading images of deleted rows")
    }

    /// Those of these records that are remembered as deleted.
    pub async fn held_of(&self, records: &[Uuid]) -> Result<Vec<HeldRow>, DbError> {
        sqlx::query_as(
            "SELECT record_schema, record_id, event_id, noted_at FROM file_recycler.held_record
              WHERE record_id = ANY($1) ORDER BY noted_at DESC LIMIT $2",
        )
        .bind(records)
        .bind(NEWEST)
        .fetch_all(&self.pool)
        .await
        .attempted("asking for remembered records")
    }

    /// The outbox rows that name one of these ids, as an id or as a parent, among the oldest and the newest.
    pub async fn outbox_of(&self, ids: &[Uuid]) -> Result<Outbox, DbError> {
        const DOING: &str = "looking into the outbox";
        let rows: Vec<OutboxRow> = sqlx::query_as(
            "SELECT id, kind, schema, n, captured_at, seen_at,
                    ARRAY(SELECT one FROM unnest(ids) AS one WHERE one = ANY($1)) AS named,
                    ARRAY(SELECT DISTINCT one FROM unnest(parents) AS one WHERE one = ANY($1)) AS parents
               FROM file_recycler.outbox
              WHERE id IN ((SELECT id FROM file_recycler.outbox ORDER BY id LIMIT $2)
                           UNION
                           (SELECT id FROM file_recycler.outbox ORDER BY id DESC LIMIT $2))
                AND (ids && $1 OR parents && $1)
              ORDER BY id LIMIT $3",
        )
        .bind(ids)
        .bind(OUTBOX_LOOK)
        .bind(NEWEST)
        .fetch_all(&self.pool)
        .await
        .attempted(DOING)?;
        let passed_over: bool =
            sqlx::query_scalar("SELECT EXISTS (SELECT FROM file_recycler.outbox ORDER BY id OFFSET $1)")
                .bind(2 * OUTBOX_LOOK)
                .fetch_one(&self.pool)
                .await
                .attempted(DOING)?;
        Ok(Outbox { rows, passed_over })
    }

    /// What replays did with these messages, the newest first.
    pub async fn replays_of(&self, messages: &[String]) -> Result<Vec<ReplayRow>, DbError> {
        sqlx::query_as(
            "SELECT message_id, selected_at, published_at, finished_at, outcome, error, was_reason, who, host
               FROM file_recycler.replay WHERE message_id = ANY($1) ORDER BY selected_at DESC LIMIT $2",
        )
        .bind(messages)
        .bind(NEWEST)
        .fetch_all(&self.pool)
        .await
        .attempted("asking for replays")
    }

    /// Discarded messages that name `id`, or are one of these, the newest first.
    pub async fn discarded_of(&self, id: Uuid, messages: &[String]) -> Result<Vec<DiscardedRow>, DbError> {
        sqlx::query_as(
            "SELECT message_id, reason, error, discarded_at, who, host, why
               FROM (SELECT * FROM file_recycler.discarded ORDER BY discarded_at DESC LIMIT $3) AS newest
              WHERE message_id = ANY($2) OR position($1 IN lower(encode(body, 'escape'))) > 0
              ORDER BY discarded_at DESC LIMIT $4",
        )
        .bind(id.to_string())
        .bind(messages)
        .bind(DISCARDED_LOOK)
        .bind(NEWEST)
        .fetch_all(&self.pool)
        .await
        .attempted("asking for discarded messages")
    }

    /// Those of these messages over which a worker may have died.
    pub async fn suspects_of(&self, messages: &[String]) -> Result<Vec<SuspectRow>, DbError> {
        sqlx::query_as(
            "SELECT message_id, crashes, seen_at,
                    trial IS NOT NULL AND alive_until > clock_timestamp() AS tried_now
               FROM file_recycler.suspect WHERE message_id = ANY($1) ORDER BY seen_at DESC LIMIT $2",
        )
        .bind(messages)
        .bind(NEWEST)
        .fetch_all(&self.pool)
        .await
        .attempted("asking for suspects")
    }
}

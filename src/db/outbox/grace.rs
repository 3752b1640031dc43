//! The grace period: rows wait in the outbox from when a relay first saw them.
//!
//! There may be millions of them, so no look reads them all: what is due is looked for among the first rows
//! only, and what nobody has seen yet above a mark of its own. A row that is due may so wait a little longer,
//! for as long as very many rows with lower ids committed after it; never shorter.

use std::time::Duration;

use sqlx::{Postgres, Transaction};

use super::row::{self, KINDS};
use super::{Limits, read_look};
use crate::db::Db;
use crate::db::error::{Attempted, DbError};
use crate::db::low_water::Mark;

/// Among how many rows, the first by their ids, those that are due are looked for.
pub(super) const WINDOW: i64 = 10_000;
/// Rows marked as seen at a time.
const SEEN_AT_ONCE: i64 = 10_000;

/// The first rows that are due, locked.
const DUE: &str = "
    SELECT id, n FROM file_recycler.outbox
     WHERE id > $1 AND kind = ANY($2)
       AND id <= (SELECT max(id) FROM (SELECT id FROM file_recycler.outbox WHERE id > $1 AND kind = ANY($2)
                                        ORDER BY id LIMIT $4) AS first)
       AND seen_at <= clock_timestamp() - make_interval(secs => $5)
       AND ($6 OR NOT EXISTS (SELECT FROM file_recycler.environment WHERE paused_at IS NOT NULL))
       AND (pg_visible_in_snapshot(transaction, $7::text::pg_snapshot)
            OR transaction >= pg_snapshot_xmax(pg_current_snapshot()))
     ORDER BY id LIMIT $3
       FOR UPDATE SKIP LOCKED";

/// Rows above `$1` that nobody has seen. By their places: by their ids, the planner reads the whole table.
const UNSEEN: &str = "
    UPDATE file_recycler.outbox SET seen_at = clock_timestamp()
     WHERE ctid = ANY(ARRAY(
             SELECT ctid FROM file_recycler.outbox WHERE id > $1 AND kind = ANY($2) AND seen_at IS NULL
              ORDER BY id LIMIT $3 FOR UPDATE SKIP LOCKED))";

/// The same among the first rows: whatever the mark says, none stays unseen once its turn has come.
const UNSEEN_FIRST: &str = "
    UPDATE file_recycler.outbox SET seen_at = clock_timestamp()
     WHERE ctid = ANY(ARRAY(
             SELECT ctid FROM file_recycler.outbox
              WHERE id > $1 AND kind = ANY($2) AND seen_at IS NULL
                AND id <= (SELECT max(id) FROM (SELECT id FROM file_recycler.outbox WHERE id > $1 AND kind = ANY($2)
                                                 ORDER BY id LIMIT $3) AS first)
              ORDER BY id FOR UPDATE SKIP LOCKED))";

/// As [`row::LEFT`], of rows that nobody has seen.
const FIRST_UNSEEN: &str = "
    SELECT pg_snapshot_xmin(pg_current_snapshot())::text,
           (SELECT id FROM file_recycler.outbox WHERE id > $1 AND kind = ANY($2) AND seen_at IS NULL
             ORDER BY id LIMIT 1)";

/// Starts the grace period of rows that nobody has seen yet; `from`: where the outbox's rows begin.
pub(super) async fn mark_seen(db: &Db, unseen: &mut Mark, from: i64) -> Result<(), DbError> {
    const DOING: &str = "marking outbox rows as seen";
    let above = if crate::failpoint::removed("protection::low_water_mark") { 0 } else { unseen.at() };
    for (sql, above, limit) in [(UNSEEN, above, SEEN_AT_ONCE), (UNSEEN_FIRST, from, WINDOW)] {
        sqlx::query(sql).bind(above).bind(KINDS).bind(limit).execute(&db.pool).await.attempted(DOING)?;
    }
    let mut connection = db.pool.acquire().await.attempted(DOING)?;
    unseen.advance(read_look(&mut connection, FIRST_UNSEEN, above).await?);
    Ok(())
}

/// Locks the first rows that have waited for `grace`, of those that the snapshot `settled` shows.
pub(super) async fn due(
    transaction: &mut Transaction<'static, Postgres>,
    limits: Limits,
    from: i64,
    grace: Duration,
    settled: Option<&str>,
) -> Result<Vec<(i64, i32)>, DbError> {
    sqlx::query_as(DUE)
        .bind(from)
        .bind(KINDS)
        .bind(i64::from(limits.rows))
        .bind(WINDOW)
        .bind(grace.as_secs_f64())
        .bind(row::pause_ignored())
        .bind(settled)
        .fetch_all(&mut **transaction)
        .await
        .attempted("reading the outbox")
}

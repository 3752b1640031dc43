//! The outbox: what the triggers captured and nobody has confirmed yet. The relay is its one reader.

mod row;

use std::time::{Duration, Instant};

use sqlx::{Postgres, Transaction};

use super::error::{Attempted, DbError, Problem};
use super::low_water::{Look, LowWater, Noted};
use super::{Db, seconds};
use crate::capture::Captured;

use row::Row;

/// How much one batch may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Outbox rows.
    pub rows: u32,
    /// Ids in them all; one row is taken whatever it holds (1,000 at most).
    pub ids: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { rows: 1_000, ids: 50_000 }
    }
}

/// Rows marked as seen at a time, where there is a grace period.
const SEEN_AT_ONCE: i64 = 10_000;
/// Rows that [`Db::backlog`] counts at most.
const COUNTED: i64 = 100_000;

/// Locked outbox rows. Dropped without [`OutboxBatch::commit`], they are free for the next relay.
#[derive(Debug)]
pub struct OutboxBatch {
    transaction: Transaction<'static, Postgres>,
    rows: Vec<Captured>,
}

/// How much waits in the outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// Rows; `capped` says that there are more.
    pub rows: u64,
    /// Counting stopped at `rows`.
    pub capped: bool,
    /// Age of the oldest row.
    pub oldest: Option<Duration>,
}

impl Db {
    /// Locks the next rows, in the order of their ids, passing over those that another relay holds.
    /// Nothing to take, or nothing that has waited for `grace` since it was first seen: `None`.
    ///
    /// The batch holds row locks (and one connection) until it is committed or dropped; a server-side
    /// time-out of two minutes ends it otherwise.
    pub async fn begin_batch(
        &self,
        limits: Limits,
        low_water: &mut LowWater,
        grace: Duration,
    ) -> Result<Option<OutboxBatch>, DbError> {
        const DOING: &str = "reading the outbox";
        let id = self.highest_outbox_id().await?;
        if low_water.wants_note(id) {
            low_water.note(Noted { id, after: self.next_transaction().await? });
        }
        let from = low_water.from(Instant::now());
        if !grace.is_zero() {
            self.mark_seen(from).await?;
        }
        let mut transaction = self.pool.begin().await.attempted(DOING)?;
        let candidates: Vec<(i64, i32)> = sqlx::query_as(
            "SELECT id, n FROM file_recycler.outbox
              WHERE id > $1
                AND ($3 = 0 OR seen_at <= clock_timestamp() - make_interval(secs => $3))
                AND NOT EXISTS (SELECT FROM file_recycler.environment WHERE paused_at IS NOT NULL)
              ORDER BY id LIMIT $2
                FOR UPDATE SKIP LOCKED",
        )
        .bind(from)
        .bind(i64::from(limits.rows))
        .bind(grace.as_secs_f64())
        .fetch_all(&mut *transaction)
        .await
        .attempted(DOING)?;
        low_water.advance(look(&mut transaction, from).await?);
        if candidates.is_empty() {
            transaction.rollback().await.attempted(DOING)?;
            return Ok(None);
        }
        let ids = within(&candidates, limits.ids);
        let rows: Vec<Row> =
            sqlx::query_as(row::SELECT).bind(&ids).fetch_all(&mut *transaction).await.attempted(DOING)?;
        let rows = rows.into_iter().map(Row::captured).collect::<Result<Vec<_>, _>>()?;
        Ok(Some(OutboxBatch { transaction, rows }))
    }

    /// How much waits. Bounded: it stops counting at 100,000.
    pub async fn backlog(&self) -> Result<Backlog, DbError> {
        let (rows, oldest): (i64, Option<f64>) = sqlx::query_as(
            "SELECT (SELECT count(*) FROM (SELECT FROM file_recycler.outbox LIMIT $1) AS counted),
                    (SELECT extract(epoch FROM clock_timestamp() - captured_at)::float8
                       FROM file_recycler.outbox ORDER BY id LIMIT 1)",
        )
        .bind(COUNTED)
        .fetch_one(&self.pool)
        .await
        .attempted("counting the outbox")?;
        Ok(Backlog { rows: rows.unsigned_abs(), capped: rows == COUNTED, oldest: oldest.map(seconds) })
    }

    /// How many statements' deletions could not be captured since the schema was made.
    pub async fn capture_failures(&self) -> Result<u64, DbError> {
        let count: i64 = sqlx::query_scalar(
            "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM file_recycler.capture_failures",
        )
        .fetch_one(&self.pool)
        .await
        .attempted("reading the count of capture failures")?;
        Ok(count.unsigned_abs())
    }

    /// The highest id given out so far, committed or not.
    async fn highest_outbox_id(&self) -> Result<i64, DbError> {
        sqlx::query_scalar(
            "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM file_recycler.outbox_id_seq",
        )
        .fetch_one(&self.pool)
        .await
        .attempted("reading the outbox's highest id")
    }

    /// Takes a transaction number of its own: all that were given out before are lower.
    async fn next_transaction(&self) -> Result<u64, DbError> {
        let number: String = sqlx::query_scalar("SELECT pg_current_xact_id()::text")
            .fetch_one(&self.pool)
            .await
            .attempted("taking a transaction number")?;
        row::transaction_number(&number)
    }

    /// Starts the grace period of rows that nobody has seen yet.
    async fn mark_seen(&self, from: i64) -> Result<(), DbError> {
        sqlx::query(
            "UPDATE file_recycler.outbox SET seen_at = clock_timestamp()
              WHERE id IN (SELECT id FROM file_recycler.outbox WHERE id > $1 AND seen_at IS NULL
                            ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED)",
        )
        .bind(from)
        .bind(SEEN_AT_ONCE)
        .execute(&self.pool)
        .await
        .attempted("marking outbox rows as seen")?;
        Ok(())
    }
}

impl OutboxBatch {
    /// The rows, in the order of their ids.
    pub fn rows(&self) -> &[Captured] {
        &self.rows
    }

    /// Deletes rows whose events are confirmed; with the next commit they are gone.
    pub async fn delete(&mut self, rows: &[i64]) -> Result<(), DbError> {
        const DOING: &str = "deleting published outbox rows";
        let done = sqlx::query("DELETE FROM file_recycler.outbox WHERE id = ANY($1)")
            .bind(rows)
            .execute(&mut *self.transaction)
            .await
            .attempted(DOING)?
            .rows_affected();
        if done == rows.len() as u64 {
            Ok(())
        } else {
            let why = format!("{done} rows in place of {} were there, although they are locked", rows.len());
            Err(DbError::new(DOING, Problem::Broken(why)))
        }
    }

    /// Commits the deletions and frees the rest.
    pub async fn commit(self) -> Result<(), DbError> {
        self.transaction.commit().await.attempted("committing the outbox batch")
    }

    /// Frees every row.
    pub async fn rollback(self) -> Result<(), DbError> {
        self.transaction.rollback().await.attempted("giving back the outbox batch")
    }
}

async fn look(transaction: &mut Transaction<'static, Postgres>, from: i64) -> Result<Look, DbError> {
    let (xmin, first): (String, Option<i64>) = sqlx::query_as(
        "SELECT pg_snapshot_xmin(pg_current_snapshot())::text,
                (SELECT id FROM file_recycler.outbox WHERE id > $1 ORDER BY id LIMIT 1)",
    )
    .bind(from)
    .fetch_one(&mut **transaction)
    .await
    .attempted("looking for what is left in the outbox")?;
    Ok(Look { xmin: row::transaction_number(&xmin)?, first })
}

/// The first rows whose ids together stay within the limit, and always the first one.
fn within(candidates: &[(i64, i32)], limit: u32) -> Vec<i64> {
    let mut total = 0_u64;
    candidates
        .iter()
        .enumerate()
        .take_while(|(position, (_, n))| {
            total += u64::from(n.unsigned_abs());
            *position == 0 || total <= u64::from(limit)
        })
        .map(|(_, (id, _))| *id)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_bounded_by_ids_but_never_empty() {
        assert_eq!(within(&[(1, 400), (2, 600), (3, 1)], 1_000), [1, 2]);
        assert_eq!(within(&[(1, 1_000), (2, 1)], 10), [1]);
        assert_eq!(within(&[], 10), [] as [i64; 0]);
    }
}

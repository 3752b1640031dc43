//! The outbox: what the triggers captured and nobody has confirmed yet. The relay is its one reader.

mod grace;
mod row;

use std::time::{Duration, Instant};

use sqlx::{PgConnection, Postgres, Transaction};

use super::error::{Attempted, DbError, Problem};
use super::low_water::{Look, LowWater, Noted};
use super::{Db, seconds};
use crate::capture::Captured;

use row::{KINDS, Row};

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
    /// Rows of kinds that this version does not know, among the first 100,000: a newer version's relay takes
    /// them.
    pub unknown: u64,
    /// The first row that a relay of this version takes.
    pub head: Option<Head>,
}

/// The row whose turn is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its id.
    pub id: i64,
    /// How long it has waited: since a relay first saw it, or else since it was captured.
    pub waits: Duration,
}

/// A relay that runs takes a row within this time, unless very many wait.
const RELAYED_WITHIN: Duration = Duration::from_mins(1);

impl Backlog {
    /// What of it an operator should look at, a sentence each.
    pub fn told(&self, grace: Duration, paused: bool) -> Vec<String> {
        let mut told = Vec::new();
        let waits = self.head.map(|head| head.waits).filter(|waits| *waits > grace + RELAYED_WITHIN);
        if let Some(waits) = waits.filter(|_| !paused) {
            let seconds = waits.as_secs();
            told.push(format!(
                "the outbox's first row has waited for {seconds} s: does a relay run and keep up?"
            ));
        }
        if self.unknown > 0 {
            told.push(format!(
                "{} outbox rows are of kinds that this version does not know: they wait for a newer one",
                self.unknown
            ));
        }
        told
    }
}

impl Db {
    /// Locks the next rows, in the order of their ids, passing over those that another relay holds.
    /// Nothing to take, or nothing that has waited for `grace` since it was first seen and for the transactions
    /// beside it ([`LowWater::waits`]): `None`.
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
        let from = low_water.left.from(Instant::now());
        self.look_around(low_water, from, grace).await?;
        if !grace.is_zero() {
            grace::mark_seen(self, &mut low_water.unseen, from).await?;
        }
        let mut transaction = self.pool.begin().await.attempted(DOING)?;
        let look = read_look(&mut transaction, row::LEFT, from).await?;
        low_water.beside.ended_below(look.xmin, Instant::now());
        low_water.left.advance(look);
        let settled = low_water.beside.settled();
        let candidates = if grace.is_zero() {
            next(&mut transaction, limits, from, settled).await?
        } else {
            grace::due(&mut transaction, limits, from, grace, settled).await?
        };
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
        type Counted = (i64, Option<f64>, i64, Option<i64>, Option<f64>);
        let (rows, oldest, unknown, head, waits): Counted = sqlx::query_as(
            "SELECT first.rows, first.oldest, first.unknown, head.id, head.waits
               FROM (SELECT count(*) AS rows, count(*) FILTER (WHERE kind <> ALL($2)) AS unknown,
                            extract(epoch FROM clock_timestamp() - min(captured_at))::float8 AS oldest
                       FROM (SELECT kind, captured_at FROM file_recycler.outbox ORDER BY id LIMIT $1) AS counted) AS first
               LEFT JOIN (SELECT id, extract(epoch FROM clock_timestamp() - coalesce(seen_at, captured_at))::float8 AS waits
                            FROM file_recycler.outbox WHERE kind = ANY($2) ORDER BY id LIMIT 1) AS head ON true",
        )
        .bind(COUNTED)
        .bind(KINDS)
        .fetch_one(&self.pool)
        .await
        .attempted("counting the outbox")?;
        Ok(Backlog {
            rows: rows.unsigned_abs(),
            capped: rows == COUNTED,
            oldest: oldest.map(seconds),
            unknown: unknown.unsigned_abs(),
            head: head.zip(waits).map(|(id, waits)| Head { id, waits: seconds(waits) }),
        })
    }

    /// Takes a transaction number of its own: all that were given out before are lower.
    async fn next_transaction(&self) -> Result<u64, DbError> {
        let number: String = sqlx::query_scalar("SELECT pg_current_xact_id()::text")
            .fetch_one(&self.pool)
            .await
            .attempted("taking a transaction number")?;
        row::transaction_number(&number)
    }

    /// Takes note of the highest id, for whichever mark has none, and of the rows that are there, where some have not
    /// been seen yet. What is noted is read before the transaction number is taken.
    async fn look_around(&self, low_water: &mut LowWater, from: i64, grace: Duration) -> Result<(), DbError> {
        let LowWater { left, unseen, beside } = low_water;
        let (highest, snapshot, unsettled): (i64, String, bool) = sqlx::query_as(row::STANDS)
            .bind(from)
            .bind(KINDS)
            .bind(grace::WINDOW)
            .bind(beside.newest())
            .fetch_one(&self.pool)
            .await
            .attempted("looking at the outbox")?;
        let for_left = left.wants_note(highest);
        let for_unseen = !grace.is_zero() && unseen.wants_note(highest);
        let for_beside = unsettled && beside.wants_note(Instant::now());
        if for_left || for_unseen || for_beside {
            let after = self.next_transaction().await?;
            if for_left {
                left.note(Noted { id: highest, after });
            }
            if for_unseen {
                unseen.note(Noted { id: highest, after });
            }
            if for_beside {
                beside.note(snapshot, after, Instant::now());
            }
        }
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

/// Locks the first rows.
async fn next(
    transaction: &mut Transaction<'static, Postgres>,
    limits: Limits,
    from: i64,
    settled: Option<&str>,
) -> Result<Vec<(i64, i32)>, DbError> {
    sqlx::query_as(row::NEXT)
        .bind(from)
        .bind(KINDS)
        .bind(i64::from(limits.rows))
        .bind(row::pause_ignored())
        .bind(settled)
        .fetch_all(&mut **transaction)
        .await
        .attempted("reading the outbox")
}

/// What is left above `from`, by `sql`.
async fn read_look(connection: &mut PgConnection, sql: &'static str, from: i64) -> Result<Look, DbError> {
    let (xmin, first): (String, Option<i64>) = sqlx::query_as(sql)
        .bind(from)
        .bind(KINDS)
        .fetch_one(connection)
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

//! Changes to tables that the CRM is working on: each in a short transaction of its own, in rounds. The CRM's
//! statements queue behind a lock that we wait for, so we never wait for long, and come back instead.

use std::sync::Arc;
use std::time::Duration;

use sqlx::FromRow;

use crate::db::Db;
use crate::db::error::{Attempted, Class, DbError, Problem};
use crate::db::sql::{TableName, built};
use crate::failpoint;

/// How often a table is tried whose lock is not to be had.
const ROUNDS: u32 = 15;
/// Rest between the rounds: it grows by as much each time, up to the longest.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Longest wait for a table's lock.
const LOCK_TIMEOUT: Duration = Duration::from_millis(200);
/// What a test waits that takes this protection away.
const WITHOUT: Duration = Duration::from_secs(20);
/// An autovacuum worker gives way to whoever has waited for `deadlock_timeout`, and to nobody sooner. So it is waited for so
/// much longer, once for each table; not where that time is beyond a second.
const BEYOND_DEADLOCK_TIMEOUT: Duration = Duration::from_millis(200);
const LONGEST_DEADLOCK_TIMEOUT: Duration = Duration::from_secs(1);
/// One installation at a time: two would replace the same functions.
const INSTALLER: i64 = 0x6669_6c65_7472;
/// Who stands in the way is told of so many.
const TOLD: i64 = 3;

/// What is changed on one table.
pub(super) struct Step {
    pub(super) doing: String,
    pub(super) table: Option<TableName>,
    pub(super) sql: Arc<str>,
    /// It needs the table for itself, readers included.
    pub(super) alone: bool,
    /// The one longer wait is over, or next.
    pub(super) was_patient: bool,
}

/// What became of the steps.
pub(super) struct Done {
    /// Tables that were changed.
    pub(super) tables: Vec<TableName>,
    /// The first error, and how many steps have failed.
    pub(super) failed: Option<DbError>,
}

/// Somebody who holds a lock that is in our way.
#[derive(Debug, FromRow)]
struct Holder {
    pid: Option<i32>,
    kind: Option<String>,
    application: Option<String>,
    state: Option<String>,
    seconds: Option<i64>,
    /// It holds what an autovacuum worker holds, and nothing more.
    vacuums: bool,
    /// An autovacuum worker that gives way to nobody.
    stays: bool,
}

impl Holder {
    fn told(&self) -> String {
        let Some(pid) = self.pid else {
            return "a prepared transaction (pg_prepared_xacts lists them)".to_owned();
        };
        let kind = self.kind.as_deref().filter(|kind| *kind != "client backend");
        let name = kind.or(self.application.as_deref()).filter(|name| !name.is_empty()).unwrap_or("unnamed");
        let state = self.state.as_deref().map_or_else(String::new, |state| format!(", {state}"));
        let since = self.seconds.map_or_else(String::new, |seconds| format!(", since {seconds} s"));
        format!("process {pid} ({name}{state}{since})")
    }

    /// Who is not told of other roles' backends takes what looks like one for one.
    fn gives_way(&self) -> bool {
        self.vacuums && !self.stays && self.kind.as_deref().is_none_or(|kind| kind == "autovacuum worker")
    }
}

impl Db {
    /// Runs every step, round after round, until all are done or the time is up. A step that fails keeps no other
    /// from being done.
    pub(super) async fn patiently(&self, steps: Vec<Step>) -> Done {
        let mut done = Done { tables: Vec::new(), failed: None };
        let mut failures = 0_usize;
        let mut left: Vec<(Step, Duration)> = steps.into_iter().map(|step| (step, LOCK_TIMEOUT)).collect();
        for round in 1..=ROUNDS {
            let mut again = Vec::new();
            for (step, patience) in left {
                match self.at_once(&step, patience).await {
                    Ok(()) => done.tables.extend(step.table),
                    Err(error) if error.class() == Some(Class::Contention) && round < ROUNDS => {
                        // After a long wait there is no second one.
                        let next = if patience > LOCK_TIMEOUT || step.was_patient {
                            LOCK_TIMEOUT
                        } else {
                            self.patience(&step).await
                        };
                        again.push((
                            Step { was_patient: step.was_patient || next > LOCK_TIMEOUT, ..step },
                            next,
                        ));
                    }
                    Err(error) => {
                        failures += 1;
                        if done.failed.is_none() {
                            done.failed = Some(self.explained(&step, error).await);
                        }
                    }
                }
            }
            left = again;
            if left.is_empty() {
                break;
            }
            tokio::time::sleep((PAUSE * round).min(LONGEST_PAUSE)).await;
        }
        if failures > 1 {
            done.failed = done.failed.map(|error| error.with_more(failures - 1));
        }
        done
    }

    async fn at_once(&self, step: &Step, patience: Duration) -> Result<(), DbError> {
        let doing = step.doing.as_str();
        let patience = if failpoint::removed("protection::short_locks") { WITHOUT } else { patience };
        let mut tx = self.pool.begin().await.attempted(doing)?;
        sqlx::query("SELECT set_config('lock_timeout', $1, true)")
            .bind(format!("{}ms", patience.as_millis()))
            .execute(&mut *tx)
            .await
            .attempted(doing)?;
        sqlx::query("SELECT pg_advisory_xact_lock($1)")
            .bind(INSTALLER)
            .execute(&mut *tx)
            .await
            .attempted(doing)?;
        sqlx::raw_sql(built(&step.sql)).execute(&mut *tx).await.attempted(doing)?;
        tx.commit().await.attempted(doing)
    }

    /// How long the next try may wait: longer only where nobody but an autovacuum worker is in the way.
    async fn patience(&self, step: &Step) -> Duration {
        let holders = self.holders(step).await.unwrap_or_default();
        if holders.is_empty() || !holders.iter().all(Holder::gives_way) {
            return LOCK_TIMEOUT;
        }
        let deadlock: Result<i64, _> = sqlx::query_scalar(
            "SELECT setting::bigint FROM pg_settings WHERE name = 'deadlock_timeout' AND unit = 'ms'",
        )
        .fetch_one(&self.pool)
        .await;
        let deadlock = Duration::from_millis(deadlock.map_or(1_000, i64::unsigned_abs));
        if deadlock > LONGEST_DEADLOCK_TIMEOUT { LOCK_TIMEOUT } else { deadlock + BEYOND_DEADLOCK_TIMEOUT }
    }

    /// The error, with who stood in the way.
    async fn explained(&self, step: &Step, error: DbError) -> DbError {
        if error.class() != Some(Class::Contention) {
            return error;
        }
        let holders = self.holders(step).await.unwrap_or_default();
        let told: Vec<String> = holders.iter().map(Holder::told).collect();
        let who = if told.is_empty() { "others".to_owned() } else { told.join(", ") };
        let why = format!(
            "its lock was not to be had in {ROUNDS} tries, and the CRM's work is never made to wait for it; it is \
             held by {who}: let that end and run this again"
        );
        DbError::new(step.doing.clone(), Problem::Broken(why))
    }

    /// Who holds a lock on the step's table that keeps ours away, the oldest first.
    async fn holders(&self, step: &Step) -> Result<Vec<Holder>, DbError> {
        let Some(table) = &step.table else { return Ok(Vec::new()) };
        sqlx::query_as(
            "SELECT held.pid, a.backend_type AS kind, a.application_name AS application, a.state,
                    extract(epoch FROM clock_timestamp() - a.xact_start)::bigint AS seconds,
                    bool_and(held.mode = 'ShareUpdateExclusiveLock') AS vacuums,
                    coalesce(a.query LIKE '%(to prevent wraparound)%', false) AS stays
               FROM pg_locks AS held
               LEFT JOIN pg_stat_activity AS a ON a.pid = held.pid
              WHERE held.granted AND held.locktype = 'relation'
                AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
                AND held.relation = to_regclass($1) AND held.pid IS DISTINCT FROM pg_backend_pid()
                AND ($2 OR held.mode NOT IN ('AccessShareLock', 'RowShareLock'))
              GROUP BY held.pid, a.backend_type, a.application_name, a.state, a.xact_start, a.query
              ORDER BY seconds DESC NULLS LAST LIMIT $3",
        )
        .bind(table.quoted())
        .bind(step.alone)
        .bind(TOLD)
        .fetch_all(&self.pool)
        .await
        .attempted("asking who holds a table's lock")
    }
}

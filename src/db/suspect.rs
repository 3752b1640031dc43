//! Marks of messages over which a worker may have died: who tries which one now, and how often that was the
//! last thing a worker did.

use std::time::Duration;

use uuid::Uuid;

use super::Db;
use super::error::{Attempted, DbError};

/// A try under a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The message, by its content.
    pub message: Uuid,
    /// This try of it.
    pub trial: Uuid,
}

impl Db {
    /// Marks a message as being tried by `worker`, a name that no other process ever has, which lives for `lease`
    /// at least. Gives how many tries in a row ended with the death of their worker; nothing while a worker that
    /// lives is trying it. A mark that `worker` itself has left was no death.
    pub async fn mark_suspect(
        &self,
        mark: Mark,
        message_id: Option<&str>,
        worker: &str,
        lease: Duration,
    ) -> Result<Option<u32>, DbError> {
        let crashes: Option<i32> = sqlx::query_scalar(
            "INSERT INTO file_recycler.suspect AS known (message, message_id, trial, worker, alive_until)
             VALUES ($1, $2, $3, $4, clock_timestamp() + make_interval(secs => $5))
             ON CONFLICT (message) DO UPDATE
                SET crashes = known.crashes
                            + CASE WHEN known.trial IS NULL OR known.worker = excluded.worker THEN 0 ELSE 1 END,
                    trial = excluded.trial, worker = excluded.worker, alive_until = excluded.alive_until,
                    seen_at = clock_timestamp()
              WHERE known.trial IS NULL OR known.alive_until < clock_timestamp()
             RETURNING crashes",
        )
        .bind(mark.message)
        .bind(message_id)
        .bind(mark.trial)
        .bind(worker)
        .bind(lease.as_secs_f64())
        .fetch_optional(&self.pool)
        .await
        .attempted("marking a message that may crash the worker")?;
        Ok(crashes.map(|crashes| u32::try_from(crashes).unwrap_or_default()))
    }

    /// Says that the worker of this try still lives.
    pub async fn keep_mark(&self, mark: Mark, lease: Duration) -> Result<(), DbError> {
        sqlx::query(
            "UPDATE file_recycler.suspect SET alive_until = clock_timestamp() + make_interval(secs => $3)
              WHERE message = $1 AND trial = $2",
        )
        .bind(mark.message)
        .bind(mark.trial)
        .bind(lease.as_secs_f64())
        .execute(&self.pool)
        .await
        .attempted("keeping the mark of a message")?;
        Ok(())
    }

    /// The try ended and its worker lives, so it was no crash, nor were those before it. A message that is settled is
    /// a suspect no more, and what nobody has seen for a month is forgotten along with it.
    pub async fn unmark_suspect(&self, mark: Mark, settled: bool) -> Result<(), DbError> {
        let query = if settled {
            "DELETE FROM file_recycler.suspect
              WHERE (message = $1 AND trial = $2) OR seen_at < clock_timestamp() - interval '30 days'"
        } else {
            "UPDATE file_recycler.suspect SET trial = NULL, crashes = 0 WHERE message = $1 AND trial = $2"
        };
        sqlx::query(query)
            .bind(mark.message)
            .bind(mark.trial)
            .execute(&self.pool)
            .await
            .attempted("taking the mark of a message away")?;
        Ok(())
    }

    /// This worker ends in good order: what it was trying did not kill it.
    pub async fn unmark_worker(&self, worker: &str) -> Result<(), DbError> {
        sqlx::query("UPDATE file_recycler.suspect SET trial = NULL WHERE worker = $1")
            .bind(worker)
            .execute(&self.pool)
            .await
            .attempted("taking the marks of this worker away")?;
        Ok(())
    }
}

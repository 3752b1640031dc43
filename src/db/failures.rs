//! Deletions that could not be captured (`listener.on_capture_error = "skip"`): how many, and of how many an
//! operator has taken note.

use super::error::{Attempted, DbError};
use super::{Actor, Db};

impl Db {
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

    /// How many of the failures nobody has taken note of; of a count that began anew, all. Only where the own
    /// schema is current.
    pub async fn unseen_capture_failures(&self) -> Result<u64, DbError> {
        let unseen: i64 = sqlx::query_scalar(
            "SELECT CASE WHEN NOT is_called THEN 0
                         WHEN last_value < coalesce(seen.failures, 0) THEN last_value
                         ELSE last_value - coalesce(seen.failures, 0) END
               FROM file_recycler.capture_failures LEFT JOIN file_recycler.capture_seen AS seen ON true",
        )
        .fetch_one(&self.pool)
        .await
        .attempted("reading the count of capture failures")?;
        Ok(unseen.unsigned_abs())
    }

    /// Somebody takes note of all failures so far; gives how many were new.
    pub async fn see_capture_failures(&self, actor: &Actor) -> Result<u64, DbError> {
        let unseen = self.unseen_capture_failures().await?;
        if unseen == 0 {
            return Ok(0);
        }
        // What fails from here on is not among those that were told of.
        sqlx::query(
            "INSERT INTO file_recycler.capture_seen AS known (failures, who, host)
             SELECT least(last_value, CASE WHEN last_value < coalesce(seen.failures, 0) THEN 0
                                           ELSE coalesce(seen.failures, 0) END + $1), $2, $3
               FROM file_recycler.capture_failures LEFT JOIN file_recycler.capture_seen AS seen ON true
             ON CONFLICT (only_row) DO UPDATE
                SET failures = excluded.failures, who = excluded.who, host = excluded.host, seen_at = clock_timestamp()",
        )
        .bind(i64::try_from(unseen).unwrap_or(i64::MAX))
        .bind(&actor.who)
        .bind(&actor.host)
        .execute(&self.pool)
        .await
        .attempted("noting that capture failures were seen")?;
        let what = format!("{unseen} statements' deletions that could not be captured");
        self.record_change(actor, "capture failures seen", &what).await?;
        Ok(unseen)
    }
}

/// What of unseen failures a person is told, and what to do.
pub fn capture_failures_told(unseen: u64) -> String {
    format!(
        "the deletions of {unseen} statements could not be captured: their files stay in the object bucket; look at \
         the database's log for why, then take note with `file-recycler listener install`"
    )
}

//! What became of each message of each replay of the dead-letter queue.

use time::OffsetDateTime;
use uuid::Uuid;

use super::error::{Attempted, DbError};
use super::{Actor, Db};

/// How the messages of a replay ended so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayOutcomes {
    /// Messages that are done.
    pub succeeded: usize,
    /// Messages that failed again.
    pub failed: usize,
}

impl Db {
    /// Notes which messages a replay is about to publish. Noting one twice changes nothing.
    pub async fn replay_begin(
        &self,
        replay: Uuid,
        messages: &[String],
        actor: &Actor,
    ) -> Result<(), DbError> {
        sqlx::query(
            "INSERT INTO file_recycler.replay (replay, message_id, who, host)
             SELECT $1, message, $3, $4 FROM unnest($2::text[]) AS message
             ON CONFLICT DO NOTHING",
        )
        .bind(replay)
        .bind(messages)
        .bind(&actor.who)
        .bind(&actor.host)
        .execute(&self.pool)
        .await
        .attempted("noting a replay's messages")?;
        Ok(())
    }

    /// Notes that a message went back to work.
    pub async fn replay_published(
        &self,
        replay: Uuid,
        message: &str,
        at: OffsetDateTime,
    ) -> Result<(), DbError> {
        sqlx::query(
            "UPDATE file_recycler.replay SET published_at = $3 WHERE replay = $1 AND message_id = $2",
        )
        .bind(replay)
        .bind(message)
        .bind(at)
        .execute(&self.pool)
        .await
        .attempted("noting a replayed message")?;
        Ok(())
    }

    /// Notes how a replayed message ended: done, or failed again with `error`. The first end counts: a
    /// message that waits for another try has failed as far as the replay is concerned.
    pub async fn replay_finished(
        &self,
        replay: Uuid,
        message: &str,
        error: Option<&str>,
        at: OffsetDateTime,
    ) -> Result<(), DbError> {
        sqlx::query(
            "UPDATE file_recycler.replay
                SET finished_at = $3, outcome = CASE WHEN $4::text IS NULL THEN 'succeeded' ELSE 'failed' END,
                    error = $4
              WHERE replay = $1 AND message_id = $2 AND finished_at IS NULL",
        )
        .bind(replay)
        .bind(message)
        .bind(at)
        .bind(error)
        .execute(&self.pool)
        .await
        .attempted("noting the end of a replayed message")?;
        Ok(())
    }

    /// How the messages of a replay ended so far.
    pub async fn replay_outcomes(&self, replay: Uuid) -> Result<ReplayOutcomes, DbError> {
        let (succeeded, failed): (i64, i64) = sqlx::query_as(
            "SELECT count(*) FILTER (WHERE outcome = 'succeeded'), count(*) FILTER (WHERE outcome = 'failed')
               FROM file_recycler.replay WHERE replay = $1",
        )
        .bind(replay)
        .fetch_one(&self.pool)
        .await
        .attempted("reading a replay's outcomes")?;
        let count = |n: i64| usize::try_from(n).unwrap_or_default();
        Ok(ReplayOutcomes { succeeded: count(succeeded), failed: count(failed) })
    }
}

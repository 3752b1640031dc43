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
    /// Notes which messages a replay is about to publish, each with its token. Noting one twice changes
    /// nothing.
    pub async fn replay_begin(
        &self,
        replay: Uuid,
        messages: &[(Uuid, String)],
        actor: &Actor,
    ) -> Result<(), DbError> {
        let (tokens, ids): (Vec<Uuid>, Vec<String>) = messages.iter().cloned().unzip();
        sqlx::query(
            "INSERT INTO file_recycler.replay (replay, token, message_id, who, host)
             SELECT $1, token, message, $4, $5 FROM unnest($2::uuid[], $3::text[]) AS chosen (token, message)
             ON CONFLICT DO NOTHING",
        )
        .bind(replay)
        .bind(tokens)
        .bind(ids)
        .bind(&actor.who)
        .bind(&actor.host)
        .execute(&self.pool)
        .await
        .attempted("noting a replay's messages")?;
        Ok(())
    }

    /// Notes that a message went back to work.
    pub async fn replay_published(&self, token: Uuid, at: OffsetDateTime) -> Result<(), DbError> {
        sqlx::query("UPDATE file_recycler.replay SET published_at = $2 WHERE token = $1")
            .bind(token)
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
        token: Uuid,
        error: Option<&str>,
        at: OffsetDateTime,
    ) -> Result<(), DbError> {
        sqlx::query(
            "UPDATE file_recycler.replay
                SET finished_at = $2, outcome = CASE WHEN $3::text IS NULL THEN 'succeeded' ELSE 'failed' END,
                    error = $3
              WHERE token = $1 AND finished_at IS NULL",
        )
        .bind(token)
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

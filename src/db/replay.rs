//! What became of each message of each replay: so that a replay can wait for outcomes, stop and go on.

use time::OffsetDateTime;
use uuid::Uuid;

use super::error::{Attempted, DbError};
use super::{Actor, Db};
use crate::outcome::Outcome;

/// One message of a replay.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct ReplayOutcome {
    /// The message.
    pub message_id: String,
    /// When it went back to the work queue, confirmed; `None`: not yet.
    pub published_at: Option<OffsetDateTime>,
    /// When a worker was done with it; `None`: not yet.
    pub finished_at: Option<OffsetDateTime>,
    /// What became of it (a word of [`Outcome`]); `None`: not yet.
    pub outcome: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
}

impl ReplayOutcome {
    /// What became of it, once it is known.
    pub fn outcome(&self) -> Option<Outcome> {
        self.outcome.as_deref().and_then(|word| word.parse().ok())
    }
}

impl Db {
    /// Notes which messages a replay selected. Messages that it has noted before keep what became of them.
    pub async fn begin_replay(
        &self,
        replay: Uuid,
        messages: &[String],
        actor: &Actor,
    ) -> Result<(), DbError> {
        sqlx::query(
            "INSERT INTO file_recycler.replay (replay, message_id, who, host)
             SELECT DISTINCT $1, message_id, $3, $4 FROM unnest($2::text[]) AS selected (message_id)
             ON CONFLICT (replay, message_id) DO NOTHING",
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

    /// Notes that the broker has confirmed a message's way back to work.
    pub async fn replay_published(&self, replay: Uuid, message: &str) -> Result<(), DbError> {
        sqlx::query(
            "UPDATE file_recycler.replay SET published_at = clock_timestamp()
              WHERE replay = $1 AND message_id = $2 AND published_at IS NULL",
        )
        .bind(replay)
        .bind(message)
        .execute(&self.pool)
        .await
        .attempted("noting a replayed message")?;
        Ok(())
    }

    /// Notes what became of a message. The last word counts: a redelivery may end otherwise.
    pub async fn replay_finished(
        &self,
        replay: Uuid,
        message: &str,
        outcome: Outcome,
        error: Option<&str>,
    ) -> Result<(), DbError> {
        // An insert, because the worker can be quicker than the replay's own note, and the row may be gone.
        sqlx::query(
            "INSERT INTO file_recycler.replay (replay, message_id, finished_at, outcome, error, who, host)
             VALUES ($1, $2, clock_timestamp(), $3, $4, 'worker', '')
             ON CONFLICT (replay, message_id) DO UPDATE
                SET (finished_at, outcome, error) = (excluded.finished_at, excluded.outcome, excluded.error)",
        )
        .bind(replay)
        .bind(message)
        .bind(outcome.as_str())
        .bind(error)
        .execute(&self.pool)
        .await
        .attempted("noting a replayed message's outcome")?;
        Ok(())
    }

    /// What became of a replay's messages so far, in the order of their ids.
    pub async fn replay_outcomes(&self, replay: Uuid) -> Result<Vec<ReplayOutcome>, DbError> {
        sqlx::query_as(
            "SELECT message_id, published_at, finished_at, outcome, error
               FROM file_recycler.replay WHERE replay = $1 ORDER BY message_id",
        )
        .bind(replay)
        .fetch_all(&self.pool)
        .await
        .attempted("reading a replay's outcomes")
    }
}

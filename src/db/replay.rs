//! What became of each message of each replay of the dead-letter queue, so that a replay that was cut off is
//! finished by the next one.

use time::OffsetDateTime;
use uuid::Uuid;

use super::error::{Attempted, DbError};
use super::{Actor, Db};

/// A message that a replay is about to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// Its token: the worker notes its outcome under it.
    pub token: Uuid,
    /// Its id.
    pub id: String,
    /// This death of it.
    pub fingerprint: Uuid,
    /// Why it was dead.
    pub was_reason: Option<&'static str>,
}

/// A message of an earlier replay that was cut off before the message was gone from the dead-letter queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Begun {
    /// Its token.
    pub token: Uuid,
    /// This death of it.
    pub fingerprint: Uuid,
    /// It is known to have gone back to work: its publication was confirmed, or a worker has noted its end.
    pub at_work: bool,
}

/// How the messages of a replay ended so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplayOutcomes {
    /// Messages that are done.
    pub succeeded: usize,
    /// Messages that failed again.
    pub failed: usize,
    /// Messages that are dead again for the reason that they were dead for before, by reason.
    pub same_reason: Vec<(String, usize)>,
}

impl Db {
    /// What earlier replays have begun and not finished of these deaths.
    pub async fn replay_begun(&self, fingerprints: &[Uuid]) -> Result<Vec<Begun>, DbError> {
        sqlx::query_as(
            "SELECT token, fingerprint, published_at IS NOT NULL OR finished_at IS NOT NULL AS at_work
               FROM file_recycler.replay WHERE fingerprint = ANY ($1) AND removed_at IS NULL
              ORDER BY selected_at, token",
        )
        .bind(fingerprints)
        .fetch_all(&self.pool)
        .await
        .attempted("asking for replays that were cut off")
    }

    /// Of these tokens, those that belong to `replay`.
    pub async fn replay_owns(&self, replay: Uuid, tokens: &[Uuid]) -> Result<Vec<Uuid>, DbError> {
        sqlx::query_scalar("SELECT token FROM file_recycler.replay WHERE replay = $1 AND token = ANY ($2)")
            .bind(replay)
            .bind(tokens)
            .fetch_all(&self.pool)
            .await
            .attempted("asking whose replay messages belong to")
    }

    /// Notes which messages a replay is about to publish. One that an earlier replay had begun becomes this one's.
    pub async fn replay_begin(
        &self,
        replay: Uuid,
        messages: &[Replayed],
        actor: &Actor,
    ) -> Result<(), DbError> {
        let tokens: Vec<Uuid> = messages.iter().map(|message| message.token).collect();
        let ids: Vec<&str> = messages.iter().map(|message| message.id.as_str()).collect();
        let fingerprints: Vec<Uuid> = messages.iter().map(|message| message.fingerprint).collect();
        let reasons: Vec<Option<&str>> = messages.iter().map(|message| message.was_reason).collect();
        sqlx::query(
            "INSERT INTO file_recycler.replay (replay, token, message_id, fingerprint, was_reason, who, host)
             SELECT $1, token, message, fingerprint, reason, $6, $7
               FROM unnest($2::uuid[], $3::text[], $4::uuid[], $5::text[]) AS chosen (token, message, fingerprint, reason)
             ON CONFLICT (token) DO UPDATE SET replay = excluded.replay",
        )
        .bind(replay)
        .bind(tokens)
        .bind(ids)
        .bind(fingerprints)
        .bind(reasons)
        .bind(&actor.who)
        .bind(&actor.host)
        .execute(&self.pool)
        .await
        .attempted("noting a replay's messages")?;
        Ok(())
    }

    /// Notes that messages went back to work: the broker has confirmed it.
    pub async fn replay_published(&self, tokens: &[Uuid], at: OffsetDateTime) -> Result<(), DbError> {
        sqlx::query("UPDATE file_recycler.replay SET published_at = $2 WHERE token = ANY ($1)")
            .bind(tokens)
            .bind(at)
            .execute(&self.pool)
            .await
            .attempted("noting replayed messages")?;
        Ok(())
    }

    /// Notes that messages are gone from the dead-letter queue.
    pub async fn replay_removed(&self, tokens: &[Uuid], at: OffsetDateTime) -> Result<(), DbError> {
        sqlx::query("UPDATE file_recycler.replay SET removed_at = $2 WHERE token = ANY ($1)")
            .bind(tokens)
            .bind(at)
            .execute(&self.pool)
            .await
            .attempted("noting the removal of replayed messages")?;
        Ok(())
    }

    /// Notes how a replayed message ended: done, or failed again with `error`, and dead again for `reason` where
    /// it is. The first end counts: a message that waits for another try has failed as far as the replay is
    /// concerned.
    pub async fn replay_finished(
        &self,
        token: Uuid,
        error: Option<&str>,
        reason: Option<&str>,
        at: OffsetDateTime,
    ) -> Result<(), DbError> {
        sqlx::query(
            "UPDATE file_recycler.replay
                SET finished_at = $2, outcome = CASE WHEN $3::text IS NULL THEN 'succeeded' ELSE 'failed' END,
                    error = $3, reason = $4
              WHERE token = $1 AND finished_at IS NULL",
        )
        .bind(token)
        .bind(at)
        .bind(error)
        .bind(reason)
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
        let same: Vec<(String, i64)> = sqlx::query_as(
            "SELECT reason, count(*) FROM file_recycler.replay
              WHERE replay = $1 AND outcome = 'failed' AND reason = was_reason GROUP BY reason ORDER BY reason",
        )
        .bind(replay)
        .fetch_all(&self.pool)
        .await
        .attempted("reading why a replay's messages are dead again")?;
        let count = |n: i64| usize::try_from(n).unwrap_or_default();
        Ok(ReplayOutcomes {
            succeeded: count(succeeded),
            failed: count(failed),
            same_reason: same.into_iter().map(|(reason, n)| (reason, count(n))).collect(),
        })
    }
}

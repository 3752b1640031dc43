//! Messages that an operator took out of the dead-letter queue for good: kept whole.

use time::OffsetDateTime;
use uuid::Uuid;

use super::error::{Attempted, DbError};
use super::{Actor, Db};

/// A message to keep.
#[derive(Clone, Debug)]
pub struct Discarded {
    /// This keeping of it.
    pub token: Uuid,
    /// This death of it.
    pub fingerprint: Uuid,
    /// Its id.
    pub id: String,
    /// Why it was dead.
    pub reason: Option<&'static str>,
    /// What went wrong.
    pub error: Option<String>,
    /// Tries.
    pub attempts: u32,
    /// When the first of them failed.
    pub first_failure: Option<OffsetDateTime>,
    /// When the last of them failed.
    pub last_failure: Option<OffsetDateTime>,
    /// The message, byte for byte.
    pub body: Vec<u8>,
}

impl Db {
    /// The keepings of these deaths that were cut off before the message was gone from the queue: token and
    /// fingerprint.
    pub async fn discard_begun(&self, fingerprints: &[Uuid]) -> Result<Vec<(Uuid, Uuid)>, DbError> {
        sqlx::query_as(
            "SELECT token, fingerprint FROM file_recycler.discarded
              WHERE fingerprint = ANY ($1) AND removed_at IS NULL ORDER BY discarded_at, token",
        )
        .bind(fingerprints)
        .fetch_all(&self.pool)
        .await
        .attempted("asking for discards that were cut off")
    }

    /// Keeps messages, all or none. One that is kept already stays as it is.
    pub async fn keep_discarded(
        &self,
        messages: &[Discarded],
        why: &str,
        actor: &Actor,
    ) -> Result<(), DbError> {
        const DOING: &str = "keeping discarded messages";
        let mut transaction = self.pool.begin().await.attempted(DOING)?;
        for message in messages {
            sqlx::query(
                "INSERT INTO file_recycler.discarded (token, fingerprint, message_id, reason, error, attempts,
                        first_failure, last_failure, body, who, host, why)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT (token) DO NOTHING",
            )
            .bind(message.token)
            .bind(message.fingerprint)
            .bind(&message.id)
            .bind(message.reason)
            .bind(&message.error)
            .bind(i64::from(message.attempts))
            .bind(message.first_failure)
            .bind(message.last_failure)
            .bind(&message.body)
            .bind(&actor.who)
            .bind(&actor.host)
            .bind(why)
            .execute(&mut *transaction)
            .await
            .attempted(DOING)?;
        }
        transaction.commit().await.attempted(DOING)
    }

    /// Notes that discarded messages are gone from the dead-letter queue.
    pub async fn discard_removed(&self, tokens: &[Uuid], at: OffsetDateTime) -> Result<(), DbError> {
        sqlx::query("UPDATE file_recycler.discarded SET removed_at = $2 WHERE token = ANY ($1)")
            .bind(tokens)
            .bind(at)
            .execute(&self.pool)
            .await
            .attempted("noting the removal of discarded messages")?;
        Ok(())
    }
}

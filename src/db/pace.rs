//! How fast files move, by the ledger: for people.

use super::Db;
use super::error::{Attempted, DbError};

/// Files that moved lately.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, sqlx::FromRow)]
pub struct Rates {
    /// Within the last minute.
    pub last_minute: i64,
    /// Within the last hour.
    pub last_hour: i64,
    /// Seconds since the last one; nothing where none moved within the last day.
    pub last_seconds: Option<f64>,
}

impl Db {
    /// Files that moved within the last minute and hour, and when the last one did.
    pub async fn rates(&self) -> Result<Rates, DbError> {
        sqlx::query_as(
            "SELECT count(*) FILTER (WHERE recycled_at > clock_timestamp() - interval '1 minute') AS last_minute,
                    count(*) FILTER (WHERE recycled_at > clock_timestamp() - interval '1 hour') AS last_hour,
                    extract(epoch FROM clock_timestamp() - max(recycled_at))::float8 AS last_seconds
               FROM file_recycler.ledger
              WHERE recycled_at > now() - interval '1 day' AND outcome IN ('moved', 'already_moved')",
        )
        .fetch_one(&self.pool)
        .await
        .attempted("counting what moved lately")
    }
}

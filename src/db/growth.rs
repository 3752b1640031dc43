//! What the ledger says of the recycle bucket's content and of how fast it grows.

use std::time::Duration;

use super::error::{Attempted, DbError};
use super::{Db, seconds};

/// Files and their bytes.
pub type Amount = (u64, u64);

/// What was recycled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Growth {
    /// Within the retention: what is there now.
    pub there: Amount,
    /// Within the last days.
    pub came: Amount,
    /// How long the last days are: as long as was asked for, or since the ledger's first row.
    pub within: Duration,
}

impl Db {
    /// What was moved to the bucket within the `retention` (none: ever), and within the `last` days. A file that was deleted twice
    /// has one object, and counts once.
    pub async fn growth(
        &self,
        bucket: &str,
        retention: Option<Duration>,
        last: Duration,
    ) -> Result<Growth, DbError> {
        let (there_files, there_bytes, came_files, came_bytes, within): (i64, i64, i64, i64, f64) = sqlx::query_as(
            "WITH moved AS (
               SELECT DISTINCT ON (key) recycled_at, size, outcome = 'erased' AS erased FROM file_recycler.ledger
                WHERE outcome IN ('moved', 'already_moved', 'erased') AND recycle_bucket = $3
                  AND recycled_at > clock_timestamp() - make_interval(secs => greatest(coalesce($1, 1e9), $2))
                ORDER BY key, recycled_at DESC)
             SELECT count(*) FILTER (WHERE is_there), coalesce(sum(size) FILTER (WHERE is_there), 0)::bigint,
                    count(*) FILTER (WHERE came), coalesce(sum(size) FILTER (WHERE came), 0)::bigint,
                    least($2, coalesce(extract(epoch FROM clock_timestamp() - min(recycled_at)), 0))::float8
               FROM (SELECT *, NOT erased AND recycled_at > clock_timestamp() - make_interval(secs => coalesce($1, 1e9)) AS is_there,
                            NOT erased AND recycled_at > clock_timestamp() - make_interval(secs => $2) AS came FROM moved) AS dated",
        )
        .bind(retention.map(|retention| retention.as_secs_f64()))
        .bind(last.as_secs_f64())
        .bind(bucket)
        .fetch_one(&self.pool)
        .await
        .attempted("adding up the ledger")?;
        let amount = |files: i64, bytes: i64| (files.unsigned_abs(), bytes.unsigned_abs());
        Ok(Growth {
            there: amount(there_files, there_bytes),
            came: amount(came_files, came_bytes),
            within: seconds(within),
        })
    }
}

//! How the server fares: what a migration waits for.

use sqlx::FromRow;

use crate::db::Db;
use crate::db::error::{Attempted, DbError};

/// What one look at the server said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromRow)]
pub struct Look {
    /// Where the write-ahead log ends, in bytes from its beginning.
    pub wal: i64,
    /// How far the streaming replica that is furthest behind is behind, in bytes; nothing where there is none to be seen.
    pub lag: Option<i64>,
    /// Sessions of others that are at work.
    pub active: i64,
    /// This role may see what others do: else the two before are nothing.
    pub sees: bool,
    /// An operator has paused the environment.
    pub paused: bool,
}

impl Db {
    /// Looks once. It needs no right, and sees more with `pg_read_all_stats`.
    pub async fn migration_look(&self) -> Result<Look, DbError> {
        sqlx::query_as(
            "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint AS wal,
                    (SELECT max(pg_wal_lsn_diff(pg_current_wal_insert_lsn(), replay_lsn))::bigint
                       FROM pg_stat_replication WHERE state IN ('streaming', 'catchup')) AS lag,
                    (SELECT count(*) FROM pg_stat_activity
                      WHERE state = 'active' AND backend_type = 'client backend'
                        AND application_name <> 'file-recycler') AS active,
                    pg_has_role('pg_read_all_stats', 'USAGE') AS sees,
                    EXISTS (SELECT FROM file_recycler.environment WHERE paused_at IS NOT NULL) AS paused",
        )
        .fetch_one(&self.pool)
        .await
        .attempted("looking at how the server fares")
    }
}

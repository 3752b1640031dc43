//! One migration at a time: two would take each other's work for somebody else's.

use sqlx::Postgres;
use sqlx::pool::PoolConnection;

use crate::db::Db;
use crate::db::error::{Attempted, DbError};

/// The key of the advisory lock: any number that nobody else takes.
const KEY: i64 = 0x6672_6d69_6772_6174;

/// Held as long as this connection lives.
#[derive(Debug)]
pub struct Lock {
    connection: PoolConnection<Postgres>,
}

impl Db {
    /// The lock of migrations in this database; nothing where another run has it.
    pub async fn migration_lock(&self) -> Result<Option<Lock>, DbError> {
        const DOING: &str = "taking the lock of migrations";
        let mut connection = self.connection().await.attempted(DOING)?;
        let taken: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)")
            .bind(KEY)
            .fetch_one(&mut *connection)
            .await
            .attempted(DOING)?;
        Ok(taken.then_some(Lock { connection }))
    }
}

impl Lock {
    /// Is it still held? A connection that broke has let it go.
    pub async fn is_held(&mut self) -> bool {
        sqlx::query("SELECT 1").execute(&mut *self.connection).await.is_ok()
    }

    /// Lets others begin.
    pub async fn release(self) {
        // It goes with the connection.
        drop(self.connection.close().await);
    }
}

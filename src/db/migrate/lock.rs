//! One migration at a time: two would take each other's work for somebody else's.

use sqlx::pool::PoolConnection;
use sqlx::{Executor as _, PgConnection, Postgres, Row as _};

use crate::db::Db;
use crate::db::connections::ANSWERED_WITHIN;
use crate::db::error::{Attempted, DbError, Problem};

/// The key of the advisory lock: any number that nobody else takes.
const KEY: i64 = 0x6672_6d69_6772_6174;

/// Held as long as this session of the server lives.
#[derive(Debug)]
pub struct Lock {
    connection: PoolConnection<Postgres>,
    session: i32,
}

impl Db {
    /// The lock of migrations in this database; nothing where another run has it.
    pub async fn migration_lock(&self) -> Result<Option<Lock>, DbError> {
        const DOING: &str = "taking the lock of migrations";
        let mut connection = self.pool.acquire().await.attempted(DOING)?;
        let (taken, session): (bool, i32) =
            sqlx::query_as("SELECT pg_try_advisory_lock($1), pg_backend_pid()")
                .bind(KEY)
                .fetch_one(&mut *connection)
                .await
                .attempted(DOING)?;
        Ok(taken.then_some(Lock { connection, session }))
    }

    /// Has each connection a session of the server for itself? Behind a pooler in transaction mode two of them that are open
    /// at the same time are seen in one.
    ///
    /// # Errors
    /// [`Problem::NotReady`] where not.
    pub async fn sessions_are_its_own(&self) -> Result<(), DbError> {
        const DOING: &str = "asking whether each connection is a session";
        let mut one = self.pool.acquire().await.attempted(DOING)?;
        let mut other = self.pool.acquire().await.attempted(DOING)?;
        let (one, other) =
            (session(&mut one).await.attempted(DOING)?, session(&mut other).await.attempted(DOING)?);
        if one == other {
            let why = "the database is behind a pooler in transaction mode, where what belongs to a session (a lock, a temporary \
                       table) is somebody else's a moment later: connect past it, or to one in session mode";
            return Err(DbError::new(DOING, Problem::NotReady(why.to_owned())));
        }
        Ok(())
    }
}

/// The session in which a question is answered. Nothing is prepared for it: there, that would be another client's, too.
async fn session(connection: &mut PgConnection) -> sqlx::Result<i32> {
    connection.fetch_one(sqlx::raw_sql("SELECT pg_backend_pid()")).await?.try_get(0)
}

impl Lock {
    /// Is it still held? A session that broke has let it go.
    pub async fn is_held(&mut self) -> bool {
        let session = tokio::time::timeout(ANSWERED_WITHIN, session(&mut self.connection)).await;
        session.is_ok_and(|session| session.is_ok_and(|session| session == self.session))
    }

    /// Lets others begin.
    pub async fn release(self) {
        // It goes with the connection.
        drop(self.connection.close().await);
    }
}

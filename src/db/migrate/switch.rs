//! The statements that switch rows over: each a short transaction of its own, and only for rows that are still what was
//! read.

use bytes::Bytes;
use sqlx::{Postgres, Transaction};
use uuid::Uuid;

use super::content::{columns, digits};
use super::{Migration, PATIENCE_MS, Table, Version};
use crate::db::Db;
use crate::db::error::{Attempted, DbError};
use crate::db::sql::{built, quote_identifier};

const DOING: &str = "switching rows over";

/// A content that has come from the storage.
#[derive(Clone, Debug)]
pub struct Arrived {
    /// Its row.
    pub row: Version,
    /// All of it.
    pub content: Bytes,
    /// Its MD5: the server compares it once more.
    pub md5: [u8; 16],
}

impl Db {
    /// Says of these rows that their content is in S3; those of which it is said now. Their `"Data"` stays.
    pub async fn switch_to_storage(
        &self,
        migration: &Migration,
        table: &Table,
        rows: &[Version],
    ) -> Result<Vec<Uuid>, DbError> {
        let (ids, versions) = columns(rows);
        let mut tx = self.switching(migration).await?;
        let switched = sqlx::query_scalar(built(&table.statements.to_storage))
            .bind(ids)
            .bind(versions)
            .bind(migration.s3)
            .fetch_all(&mut *tx)
            .await;
        finish(tx, switched).await
    }

    /// Takes `"Data"` away from these rows; those that have none now. What a large one has in the table takes its time to go.
    pub async fn clear_contents(
        &self,
        migration: &Migration,
        table: &Table,
        rows: &[Version],
    ) -> Result<Vec<Uuid>, DbError> {
        let (ids, versions) = columns(rows);
        let mut tx = self.switching(migration).await?;
        let cleared = sqlx::query_scalar(built(&table.statements.clear))
            .bind(ids)
            .bind(versions)
            .fetch_all(&mut *tx)
            .await;
        finish(tx, cleared).await
    }

    /// Gives these rows their contents and says that they are in the database; those that have them now. One that has
    /// another content of its own is left.
    pub async fn switch_to_database(
        &self,
        migration: &Migration,
        table: &Table,
        arrived: &[Arrived],
    ) -> Result<Vec<Uuid>, DbError> {
        let ids: Vec<Uuid> = arrived.iter().map(|one| one.row.id).collect();
        let versions: Vec<&str> = arrived.iter().map(|one| one.row.version.as_str()).collect();
        let contents: Vec<&[u8]> = arrived.iter().map(|one| &*one.content).collect();
        let digests: Vec<String> = arrived.iter().map(|one| digits(one.md5)).collect();
        let mut tx = self.switching(migration).await?;
        let switched = sqlx::query_scalar(built(&table.statements.to_database))
            .bind(ids)
            .bind(versions)
            .bind(migration.database)
            .bind(contents)
            .bind(digests)
            .fetch_all(&mut *tx)
            .await;
        finish(tx, switched).await
    }

    async fn switching(&self, migration: &Migration) -> Result<Transaction<'static, Postgres>, DbError> {
        let mut tx = self.pool.begin().await.attempted(DOING)?;
        prepare(&mut tx, migration).await?;
        Ok(tx)
    }
}

/// Commits, or waits until all is undone: the server tells of an error before it lets go of the rows, and whoever tries
/// again at once would find them locked.
async fn finish(
    tx: Transaction<'static, Postgres>,
    done: sqlx::Result<Vec<Uuid>>,
) -> Result<Vec<Uuid>, DbError> {
    if done.is_err() {
        // What it was about is told by the error.
        let _ = tx.rollback().await;
        return done.attempted(DOING);
    }
    tx.commit().await.attempted(DOING)?;
    done.attempted(DOING)
}

/// The application's own triggers on its tables find what they name without a schema; and a large content takes its time.
/// A commit that is told is on the disk, whatever the application thinks of that: its object may go next.
pub(super) async fn prepare(
    tx: &mut Transaction<'_, Postgres>,
    migration: &Migration,
) -> Result<(), DbError> {
    sqlx::query(
        "SELECT set_config('statement_timeout', $1, true), set_config('search_path', $2, true),
                CASE current_setting('synchronous_commit') WHEN 'off' THEN set_config('synchronous_commit', 'on', true) END",
    )
        .bind(PATIENCE_MS)
        .bind(quote_identifier(&migration.schema))
        .execute(&mut **tx)
        .await
        .attempted(DOING)?;
    Ok(())
}

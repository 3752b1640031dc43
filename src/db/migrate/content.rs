//! Contents of rows, whole or piece by piece, and pieces on their way into a row. A statement for each: no transaction
//! is open meanwhile, and each asks again for the very version of the row.

use std::sync::Arc;

use bytes::Bytes;
use sqlx::pool::PoolConnection;
use sqlx::{Connection as _, Executor as _, Postgres};
use uuid::Uuid;

use super::switch::prepare;
use super::{Migration, Table, Version, sql};
use crate::db::Db;
use crate::db::error::{Attempted, DbError, Problem};
use crate::db::sql::built;

const READING: &str = "reading a file's content";
const WRITING: &str = "writing a file's content";

/// A piece of a content: its first byte, from 0 on, and its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its first byte.
    pub first: usize,
    /// Its length in bytes; at the end of the content there may be fewer.
    pub length: usize,
}

impl Piece {
    /// As PostgreSQL counts: from 1 on.
    fn bounds(self) -> (i32, i32) {
        // A bytea has less than a gibibyte.
        let int = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
        (int(self.first).saturating_add(1), int(self.length))
    }
}

/// Ids and versions, as the statements take them.
pub(super) fn columns(rows: &[Version]) -> (Vec<Uuid>, Vec<&str>) {
    rows.iter().map(|row| (row.id, row.version.as_str())).unzip()
}

impl Db {
    /// The whole contents of these rows; of those that are another version by now nothing.
    pub async fn contents(&self, table: &Table, rows: &[Version]) -> Result<Vec<(Uuid, Bytes)>, DbError> {
        let (ids, versions) = columns(rows);
        let found: Vec<(Uuid, Vec<u8>)> = sqlx::query_as(built(&table.statements.contents))
            .bind(ids)
            .bind(versions)
            .fetch_all(&self.pool)
            .await
            .attempted(READING)?;
        Ok(found.into_iter().map(|(id, content)| (id, Bytes::from(content))).collect())
    }

    /// The MD5s of these rows' contents, which the server computes.
    pub async fn digests(&self, table: &Table, rows: &[Version]) -> Result<Vec<(Uuid, [u8; 16])>, DbError> {
        let (ids, versions) = columns(rows);
        let found: Vec<(Uuid, String)> = sqlx::query_as(built(&table.statements.digests))
            .bind(ids)
            .bind(versions)
            .fetch_all(&self.pool)
            .await
            .attempted(READING)?;
        found.into_iter().map(|(id, digest)| Ok((id, md5(&digest)?))).collect()
    }

    /// A piece of a content; nothing where the row is another version by now.
    pub async fn piece(
        &self,
        table: &Table,
        row: &Version,
        piece: Piece,
    ) -> Result<Option<Vec<u8>>, DbError> {
        let (first, length) = piece.bounds();
        sqlx::query_scalar(built(&table.statements.piece))
            .bind(row.id)
            .bind(&row.version)
            .bind(first)
            .bind(length)
            .fetch_optional(&self.pool)
            .await
            .attempted(READING)
    }

    /// The MD5 of a piece, which the server computes; nothing where the row is another version by now.
    pub async fn piece_digest(
        &self,
        table: &Table,
        row: &Version,
        piece: Piece,
    ) -> Result<Option<[u8; 16]>, DbError> {
        let (first, length) = piece.bounds();
        let digest: Option<String> = sqlx::query_scalar(built(&table.statements.piece_digest))
            .bind(row.id)
            .bind(&row.version)
            .bind(first)
            .bind(length)
            .fetch_optional(&self.pool)
            .await
            .attempted(READING)?;
        digest.map(|digest| md5(&digest)).transpose()
    }

    /// A place for the pieces of a content that is too large for one statement's parameters.
    pub async fn arrival(&self) -> Result<Arrival, DbError> {
        let mut connection = self.connection().await.attempted(WRITING)?;
        // A name of its own: behind a pooler a connection may be several.
        let name = format!("file_recycler_arrival_{}", Uuid::new_v4().simple());
        // Contents are mostly compressed already.
        let made: Arc<str> = format!(
            "CREATE TEMPORARY TABLE {name} (number integer NOT NULL, piece bytea NOT NULL);
             ALTER TABLE pg_temp.{name} ALTER COLUMN piece SET STORAGE EXTERNAL"
        )
        .into();
        connection.execute(sqlx::raw_sql(built(&made))).await.attempted(WRITING)?;
        let add = format!("INSERT INTO pg_temp.{name} (number, piece) SELECT $1, $2 WHERE md5($2) = $3");
        Ok(Arrival { connection, name, add: add.into(), pieces: 0, bytes: 0 })
    }
}

/// Pieces of one content, in a temporary table: it writes no log, is nobody else's, and goes with the connection.
#[derive(Debug)]
pub struct Arrival {
    connection: PoolConnection<Postgres>,
    name: String,
    add: Arc<str>,
    pieces: i32,
    bytes: i64,
}

impl Arrival {
    /// Adds a piece; the server compares it with its MD5.
    pub async fn add(&mut self, piece: &[u8], md5: [u8; 16]) -> Result<(), DbError> {
        let added = sqlx::query(built(&self.add))
            .bind(self.pieces)
            .bind(piece)
            .bind(digits(md5))
            .execute(&mut *self.connection)
            .await
            .attempted(WRITING)?;
        if added.rows_affected() != 1 {
            let why = "a piece of a content did not arrive as it was sent";
            return Err(DbError::new(WRITING, Problem::Broken(why.to_owned())));
        }
        self.pieces += 1;
        self.bytes += i64::try_from(piece.len()).unwrap_or(i64::MAX);
        Ok(())
    }

    /// Puts the pieces together into the row and switches it to the database, all in one statement; `false` where the row
    /// is another version by now, has another content of its own, or somebody is changing it.
    pub async fn into_row(
        mut self,
        migration: &Migration,
        table: &Table,
        row: &Version,
        md5: [u8; 16],
    ) -> Result<bool, DbError> {
        let done = self.assemble(migration, table, row, md5).await;
        // The pieces go with the connection.
        drop(self.connection.close().await);
        done
    }

    /// Gives up: nothing of it is kept.
    pub async fn give_up(self) {
        drop(self.connection.close().await);
    }

    async fn assemble(
        &mut self,
        migration: &Migration,
        table: &Table,
        row: &Version,
        md5: [u8; 16],
    ) -> Result<bool, DbError> {
        let statement = sql::arrived(&table.statements, &format!("pg_temp.{}", self.name));
        let (ids, versions) = columns(std::slice::from_ref(row));
        let mut tx = self.connection.begin().await.attempted(WRITING)?;
        prepare(&mut tx, migration).await?;
        let switched: Vec<Uuid> = sqlx::query_scalar(built(&statement))
            .persistent(false)
            .bind(ids)
            .bind(versions)
            .bind(migration.database)
            .bind(i64::from(self.pieces))
            .bind(self.bytes)
            .bind(digits(md5))
            .fetch_all(&mut *tx)
            .await
            .attempted(WRITING)?;
        tx.commit().await.attempted(WRITING)?;
        Ok(!switched.is_empty())
    }
}

/// An MD5 as PostgreSQL writes it.
pub(super) fn digits(md5: [u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(md5))
}

fn md5(digits: &str) -> Result<[u8; 16], DbError> {
    let number = u128::from_str_radix(digits, 16);
    let internal = || DbError::new(READING, Problem::Internal("an MD5 that is none".to_owned()));
    number.map(u128::to_be_bytes).map_err(|_| internal())
}

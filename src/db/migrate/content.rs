//! Contents of rows, whole or piece by piece, and pieces on their way into a row. A statement for each: no transaction
//! is open meanwhile, and each asks again for the very version of the row.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use sha2::{Digest as _, Sha256};
use sqlx::pool::PoolConnection;
use sqlx::{Connection as _, Executor as _, Postgres, Row as _};
use uuid::Uuid;

use super::switch::prepare;
use super::{Migration, Table, Version, sql};
use crate::db::Db;
use crate::db::error::{Attempted, DbError, Problem};
use crate::db::sql::built;

const READING: &str = "reading a file's content";
const WRITING: &str = "writing a file's content";
/// Of a content on its way into a row, so many bytes are a row of the temporary table: it fills a page of PostgreSQL's.
const ROW: usize = 8_000;
/// In the order of the index, not sorted first; and a plan for a table that nobody has counted is not worth compiling.
const AS_IT_LIES: &str =
    "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL jit = off";

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

    /// A piece of a content, by one statement that tells it in steps of so many bytes; nothing where the row is another
    /// version by now.
    pub async fn piece(
        &self,
        table: &Table,
        row: &Version,
        piece: Piece,
        step: usize,
    ) -> Result<Option<Vec<u8>>, DbError> {
        let (first, length) = piece.bounds();
        let mut steps = sqlx::query(built(&table.statements.piece))
            .bind(row.id)
            .bind(&row.version)
            .bind(first)
            .bind(length)
            .bind(i32::try_from(step).unwrap_or(i32::MAX))
            .fetch(&self.pool);
        let mut whole = None;
        while let Some(row) = steps.try_next().await.attempted(READING)? {
            let whole = whole.get_or_insert_with(|| Vec::with_capacity(piece.length));
            let (at, content): (i32, &[u8]) =
                (row.try_get(0).attempted(READING)?, row.try_get(1).attempted(READING)?);
            if usize::try_from(at).ok() != Some(piece.first + whole.len() + 1) {
                // They come as the series does; sorting would hold them all.
                let why = "a content's steps came in another order";
                return Err(DbError::new(READING, Problem::Internal(why.to_owned())));
            }
            whole.extend_from_slice(content);
        }
        Ok(whole)
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
        let mut connection = self.pool.acquire().await.attempted(WRITING)?;
        // Whatever happens, the pieces go with it.
        connection.close_on_drop();
        // A name of its own: behind a pooler a connection may be several.
        let name = format!("file_recycler_arrival_{}", Uuid::new_v4().simple());
        // A row is a page, nothing of it goes to a table beside it; the index spares the order of pieces a sort of them all.
        let made: Arc<str> = format!(
            "CREATE TEMPORARY TABLE {name} (number integer PRIMARY KEY, piece bytea NOT NULL);
             ALTER TABLE pg_temp.{name} ALTER COLUMN piece SET STORAGE PLAIN"
        )
        .into();
        connection.execute(sqlx::raw_sql(built(&made))).await.attempted(WRITING)?;
        let add = format!(
            "INSERT INTO pg_temp.{name} (number, piece)
             SELECT $1 + at, substring($4::bytea FROM at * $3 + 1 FOR $3) FROM generate_series(0, $2 - 1) AS at"
        );
        Ok(Arrival { connection, name, add: add.into(), pieces: 0, bytes: 0, digest: Sha256::new() })
    }
}

/// Pieces of one content, in a temporary table: it writes no log, is nobody else's, and goes with the connection.
#[derive(Debug)]
pub struct Arrival {
    connection: PoolConnection<Postgres>,
    name: String,
    add: Arc<str>,
    pieces: i32,
    bytes: i32,
    digest: Sha256,
}

impl Arrival {
    /// How much of a content is best added at once, in bytes.
    pub const STEP: usize = 128 * ROW;

    /// Adds what comes next of the content, in a statement of its own; the server cuts it into pieces.
    pub async fn add(&mut self, content: &[u8]) -> Result<(), DbError> {
        self.digest.update(content);
        let int = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
        let pieces = int(content.len().div_ceil(ROW));
        sqlx::query(built(&self.add))
            .bind(self.pieces)
            .bind(pieces)
            .bind(int(ROW))
            .bind(content)
            .execute(&mut *self.connection)
            .await
            .attempted(WRITING)?;
        self.pieces += pieces;
        self.bytes += int(content.len());
        Ok(())
    }

    /// The SHA-256 of what was added so far.
    pub fn sha256(&self) -> [u8; 32] {
        self.digest.clone().finalize().into()
    }

    /// Puts the pieces together into the row and switches it to the database, all in one statement; `false` where the row
    /// is another version by now, has another content of its own, or somebody is changing it.
    ///
    /// The server compares the pieces with the SHA-256 of what was added: where they differ, all is undone.
    pub async fn into_row(
        mut self,
        migration: &Migration,
        table: &Table,
        row: &Version,
    ) -> Result<bool, DbError> {
        let done = self.assemble(migration, table, row).await;
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
    ) -> Result<bool, DbError> {
        let statement = sql::arrived(&table.statements, &format!("pg_temp.{}", self.name));
        let (ids, versions) = columns(std::slice::from_ref(row));
        let digest = self.sha256();
        let mut tx = self.connection.begin().await.attempted(WRITING)?;
        prepare(&mut tx, migration).await?;
        tx.execute(AS_IT_LIES).await.attempted(WRITING)?;
        let switched: Option<Option<i32>> = sqlx::query_scalar(built(&statement))
            .persistent(false)
            .bind(ids)
            .bind(versions)
            .bind(migration.database)
            .bind(digest)
            .fetch_optional(&mut *tx)
            .await
            .attempted(WRITING)?;
        if switched.is_some_and(|bytes| bytes != Some(self.bytes)) {
            tx.rollback().await.attempted(WRITING)?;
            let why = "a content did not arrive as it was sent";
            return Err(DbError::new(WRITING, Problem::Broken(why.to_owned())));
        }
        tx.commit().await.attempted(WRITING)?;
        Ok(switched.is_some())
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

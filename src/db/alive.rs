//! The alive check: which of these files does the database still name? One statement for a batch.
//!
//! The same statement says whether this is the primary, which environment it is, whether an operator has
//! paused it, and what the tables look like, so that no answer can be older than its conditions.

use std::collections::HashSet;
use std::sync::Arc;

use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row};
use uuid::Uuid;

use super::Db;
use super::catalog::{Catalog, FILE_LINK, FILE_TYPE, FileTable, fingerprint_expression};
use super::error::{Attempted, DbError};
use super::hanging;
use super::ledger::{self, LedgerEntry};
use super::sql::{built, quote_literal};
use crate::file::FileId;
use crate::outcome::Liveness;

/// Most ids in one check.
pub const MAX_IDS: usize = 1_000;

/// What the database said, all from one snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AliveAnswer {
    /// For each id, in the order of the question.
    pub liveness: Vec<Liveness>,
    /// This server takes writes: it is no replica.
    pub primary: bool,
    /// The environment; `None`: never adopted.
    pub environment: Option<Uuid>,
    /// An operator has stopped everything.
    pub paused: bool,
    /// How often the nonce was advanced.
    pub advances: i64,
    /// What the tables look like; another one than the catalogue's makes the answer worthless.
    pub fingerprint: String,
}

/// The statements for one catalogue.
#[derive(Clone, Debug)]
pub struct Questions {
    check: Arc<str>,
    note: Arc<str>,
    pub(super) hanging: Arc<str>,
    storages: Vec<Uuid>,
}

/// The answer as the statement gives it.
#[derive(FromRow)]
struct Answer {
    is_primary: bool,
    environment: Option<Uuid>,
    paused: bool,
    advances: i64,
    fingerprint: String,
    alive: Option<Vec<Uuid>>,
    elsewhere: Option<Vec<Uuid>>,
}

impl Questions {
    /// The statements that ask all tables of this catalogue.
    pub fn new(catalog: &Catalog) -> Self {
        let asked = asked(catalog);
        Self {
            check: format!("SELECT {asked}").into(),
            note: format!(
                "WITH noted AS ({}) SELECT (SELECT count(*) FROM noted) AS noted, {asked}",
                ledger::INSERT
            )
            .into(),
            hanging: hanging::statement(catalog).into(),
            storages: catalog.storages.clone(),
        }
    }
}

impl Db {
    /// Asks for up to [`MAX_IDS`] files. A table that cannot be read (rights, row-level security, dropped) is
    /// an error, never "no row". An id that is no UUID cannot be a row's here, and stays: in doubt alive.
    pub async fn check(&self, questions: &Questions, ids: &[FileId]) -> Result<AliveAnswer, DbError> {
        let uuids: Vec<Uuid> = ids.iter().filter_map(FileId::as_uuid).collect();
        let answer: Answer = sqlx::query_as(built(&questions.check))
            .bind(&uuids)
            .bind(&questions.storages)
            .fetch_one(&self.pool)
            .await
            .attempted("asking whether files are alive")?;
        Ok(answer.about(ids.iter()))
    }

    /// Writes the ledger and asks once more for the same files, in one statement. A redelivery (the same file
    /// of the same event) adds no second row.
    pub async fn note(&self, questions: &Questions, entries: &[LedgerEntry]) -> Result<AliveAnswer, DbError> {
        let ids = || entries.iter().map(|entry| &entry.file_id);
        let uuids: Vec<Uuid> = ids().filter_map(FileId::as_uuid).collect();
        let query = sqlx::query(built(&questions.note)).bind(&uuids).bind(&questions.storages);
        let row: PgRow =
            ledger::bind(query, entries).fetch_one(&self.pool).await.attempted("writing the ledger")?;
        let answer = Answer::from_row(&row).attempted("reading the answer to the ledger's write")?;
        let _: i64 = row.try_get("noted").attempted("reading the answer to the ledger's write")?;
        Ok(answer.about(ids()))
    }
}

impl Answer {
    fn about<'a>(self, ids: impl Iterator<Item = &'a FileId>) -> AliveAnswer {
        let alive: HashSet<Uuid> = self.alive.into_iter().flatten().collect();
        let elsewhere: HashSet<Uuid> = self.elsewhere.into_iter().flatten().collect();
        let liveness = ids
            .map(|id| match id.as_uuid() {
                None => Liveness::Alive,
                Some(id) if alive.contains(&id) => Liveness::Alive,
                Some(id) if elsewhere.contains(&id) => Liveness::Elsewhere,
                Some(_) => Liveness::Dead,
            })
            .collect();
        AliveAnswer {
            liveness,
            primary: self.is_primary,
            environment: self.environment,
            paused: self.paused,
            advances: self.advances,
            fingerprint: self.fingerprint,
        }
    }
}

/// Is this row's content in S3? An expression over a file table; `$2` are the storages that are ours.
pub(super) fn in_s3(file: &FileTable, storages: &str) -> String {
    if file.tells_storage {
        let file_type = quote_literal(FILE_TYPE);
        format!(r#"coalesce("TypeId" = {file_type}::uuid AND "SysFileStorageId" = ANY({storages}), false)"#)
    } else {
        // The row does not say. As long as it is there, the file is in use.
        "true".to_owned()
    }
}

fn asked(catalog: &Catalog) -> String {
    let rows = catalog.file_tables.iter().map(|file| {
        format!(
            r#"SELECT "Id" AS id, {} AS s3 FROM {} WHERE "Id" = ANY($1)"#,
            in_s3(file, "$2"),
            file.table.quoted()
        )
    });
    let links = catalog.file_link.is_some().then(|| {
        // Whatever the link's record: it may not be saved yet. Links of deleted records are deleted.
        let table = catalog.named(FILE_LINK).quoted();
        format!(r#"SELECT "FileRecordId", true FROM {table} WHERE "FileRecordId" = ANY($1)"#)
    });
    let named: Vec<String> = rows.chain(links).collect();
    format!(
        "NOT pg_is_in_recovery() AS is_primary, {} AS fingerprint, environment.id AS environment,
       environment.paused_at IS NOT NULL AS paused, coalesce(environment.advances, 0) AS advances, answer.alive, answer.elsewhere
  FROM (SELECT array_agg(id) FILTER (WHERE s3) AS alive, array_agg(id) FILTER (WHERE NOT s3) AS elsewhere
          FROM (
    {}
  ) AS named) AS answer
  LEFT JOIN (SELECT CASE WHEN adopted_at IS NULL THEN NULL ELSE id END AS id, paused_at,
                    (to_jsonb(e) ->> 'advances')::bigint AS advances
               FROM file_recycler.environment AS e) AS environment ON true",
        fingerprint_expression(&catalog.schema),
        named.join("\n    UNION ALL "),
    )
}

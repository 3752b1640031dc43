//! The alive check: which of these files does the database still name? One statement for a batch. The CRM is asked
//! by the files' ids; a mapped application by their keys alone, never by ids, which two of its tables may share.
//!
//! The same statement says whether this is the primary, which environment it is, whether an operator has
//! paused it, and what the tables look like, so that no answer can be older than its conditions.

use std::collections::HashSet;
use std::sync::Arc;

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{FromRow, Postgres, Row};
use uuid::Uuid;

use super::Db;
use super::catalog::{Asks, Catalog, FILE_LINK, FILE_TYPE, FileTable, Mapped};
use super::conditions::Conditions;
use super::error::{Attempted, DbError};
use super::hanging;
use super::ledger::{self, LedgerEntry};
use super::sql::{built, quote_literal};
use crate::file::Named;
use crate::outcome::Liveness;

/// Most ids in one check.
pub const MAX_IDS: usize = 1_000;

/// What the database said, all from one snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AliveAnswer {
    /// What it says.
    pub checked: Checked,
    /// What it has to fulfil to be worth anything.
    pub(super) conditions: Conditions,
}

/// What the database says of files; worth something where its conditions are fulfilled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// For each id, in the order of the question.
    pub liveness: Vec<Liveness>,
    /// The environment; `None`: never adopted.
    pub environment: Option<Uuid>,
    /// An operator has stopped everything.
    pub paused: bool,
    /// How often the nonce was advanced.
    pub advances: i64,
}

impl AliveAnswer {
    /// What it says, of the primary that hides no row and whose tables are the catalogue's.
    ///
    /// # Errors
    /// [`NotReady`](super::error::Problem::NotReady) and [`Unsettled`](super::error::Problem::Unsettled).
    pub fn of_the_primary(self, catalog: &Catalog) -> Result<Checked, DbError> {
        const DOING: &str = "asking whether files are alive";
        self.conditions.insist(catalog, DOING).map(|()| self.checked)
    }
}

/// The statements for one catalogue.
#[derive(Clone, Debug)]
pub struct Questions {
    check: Arc<str>,
    note: Arc<str>,
    pub(super) hanging: Arc<str>,
    storages: Vec<Uuid>,
    by: By,
}

/// What a file is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// Its id, which no two files of the CRM share.
    Id,
    /// Its object's key: ids of two tables may be the same, and rows may share an object.
    Key,
}

/// The answer as the statement gives it.
#[derive(FromRow)]
struct Answer {
    #[sqlx(flatten)]
    conditions: Conditions,
    environment: Option<Uuid>,
    paused: bool,
    advances: i64,
    alive: Option<Vec<String>>,
    elsewhere: Option<Vec<String>>,
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
            by: match catalog.asks {
                Asks::Creatio => By::Id,
                Asks::Mapping(_) | Asks::Nothing => By::Key,
            },
        }
    }

    /// The ids of records as text; of the CRM only those that are UUIDs.
    pub(super) fn record_ids(&self, records: &[hanging::Record]) -> Vec<String> {
        let ids = records.iter().map(|(_, id)| id);
        let ids = ids.filter(|id| self.by == By::Key || id.as_uuid().is_some());
        ids.map(ToString::to_string).collect()
    }

    /// Binds what the files are known by as `$1`, and the storages as `$2`.
    fn bind<'q>(
        &self,
        query: Query<'q, Postgres, PgArguments>,
        files: impl Iterator<Item = &'q Named>,
    ) -> Query<'q, Postgres, PgArguments> {
        let query = match self.by {
            By::Id => {
                let mut ids: Vec<Uuid> = files.filter_map(|file| file.id.as_uuid()).collect();
                // Every table's scan sorts them, which is quick where they are sorted.
                ids.sort_unstable();
                query.bind(ids)
            }
            By::Key => query.bind(files.map(|file| file.key.as_str()).collect::<Vec<&str>>()),
        };
        query.bind(self.storages.clone())
    }
}

impl Db {
    /// Asks for up to [`MAX_IDS`] files. A table that cannot be read (rights, row-level security, dropped) is
    /// an error, never "no row". An id that is no UUID cannot be a row's here, and stays: in doubt alive.
    pub async fn check(&self, questions: &Questions, files: &[Named]) -> Result<AliveAnswer, DbError> {
        const DOING: &str = "asking whether files are alive";
        let query = questions.bind(sqlx::query(built(&questions.check)), files.iter());
        let row: PgRow = query.fetch_one(&self.pool).await.attempted(DOING)?;
        Ok(Answer::from_row(&row).attempted(DOING)?.about(questions.by, files))
    }

    /// Writes the ledger and asks once more for the same files, in one statement. A redelivery (the same file
    /// of the same event) adds no second row.
    pub async fn note(&self, questions: &Questions, entries: &[LedgerEntry]) -> Result<AliveAnswer, DbError> {
        let named = |entry: &LedgerEntry| Named { id: entry.file_id.clone(), key: entry.key.clone() };
        let files: Vec<Named> = entries.iter().map(named).collect();
        let query = questions.bind(sqlx::query(built(&questions.note)), files.iter());
        let row: PgRow =
            ledger::bind(query, entries).fetch_one(&self.pool).await.attempted("writing the ledger")?;
        let answer = Answer::from_row(&row).attempted("reading the answer to the ledger's write")?;
        let _: i64 = row.try_get("noted").attempted("reading the answer to the ledger's write")?;
        Ok(answer.about(questions.by, &files))
    }
}

impl Answer {
    fn about(self, by: By, files: &[Named]) -> AliveAnswer {
        let alive: HashSet<&String> = self.alive.iter().flatten().collect();
        let elsewhere: HashSet<&String> = self.elsewhere.iter().flatten().collect();
        let known_by = |file: &Named| match by {
            By::Id => file.id.as_uuid().map(|id| id.to_string()),
            By::Key => Some(file.key.to_string()),
        };
        let liveness = files
            .iter()
            .map(|file| match known_by(file) {
                None => Liveness::Alive,
                Some(name) if alive.contains(&name) => Liveness::Alive,
                Some(name) if elsewhere.contains(&name) => Liveness::Elsewhere,
                Some(_) => Liveness::Dead,
            })
            .collect();
        let Self { conditions, environment, paused, advances, .. } = self;
        AliveAnswer { checked: Checked { liveness, environment, paused, advances }, conditions }
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

/// Rows that say of `id` whether its content is in S3 (`s3`), of everything in `$1` that is named.
fn named(catalog: &Catalog) -> String {
    match &catalog.asks {
        Asks::Creatio => rows_and_links(catalog),
        Asks::Mapping(mapped) => rows_by_key(mapped),
        Asks::Nothing => "SELECT NULL::text AS id, NULL::boolean AS s3 WHERE false".to_owned(),
    }
}

/// A row that has the key but whose content is elsewhere says so: in doubt the object stays.
fn rows_by_key(mapped: &Mapped) -> String {
    let rows = mapped.tables.iter().map(|table| {
        format!(
            "SELECT DISTINCT {} AS id, {} AS s3 FROM {} AS item WHERE {}",
            table.key(),
            table.in_s3(),
            table.table.quoted(),
            table.has_key("$1")
        )
    });
    rows.collect::<Vec<_>>().join("\n    UNION ALL ")
}

fn rows_and_links(catalog: &Catalog) -> String {
    let rows = catalog.file_tables.iter().map(|file| {
        format!(
            r#"SELECT "Id" AS id, {} AS s3 FROM {} WHERE "Id" = ANY($1)"#,
            in_s3(file, "$2"),
            file.table.quoted()
        )
    });
    let links = catalog.file_link.is_some().then(|| {
        // Whatever the link's record: it may not be saved yet. Links of deleted records are deleted. As a join: the CRM
        // has no index here, and each of a large table's rows would be compared with each of the ids.
        let table = catalog.named(FILE_LINK).quoted();
        format!(
            r#"SELECT "FileRecordId", true FROM {table} WHERE "FileRecordId" IN (SELECT unnest($1::uuid[]))"#
        )
    });
    rows.chain(links).collect::<Vec<_>>().join("\n    UNION ALL ")
}

fn asked(catalog: &Catalog) -> String {
    format!(
        "{}, environment.id AS environment,
       environment.paused_at IS NOT NULL AS paused, coalesce(environment.advances, 0) AS advances, answer.alive, answer.elsewhere
  FROM (SELECT array_agg(id::text) FILTER (WHERE s3) AS alive, array_agg(id::text) FILTER (WHERE NOT s3) AS elsewhere
          FROM (
    {}
  ) AS named) AS answer
  LEFT JOIN (SELECT CASE WHEN adopted_at IS NULL THEN NULL ELSE id END AS id, paused_at,
                    (to_jsonb(e) ->> 'advances')::bigint AS advances
               FROM file_recycler.environment AS e) AS environment ON true",
        Conditions::asked(catalog),
        named(catalog),
    )
}

//! Moving contents between the rows of files and the storage: which rows, their contents piece by piece, and the one
//! statement that switches a row over, only as long as it is the very version that was read.
//!
//! A row's version is its `xmin`: every change of a row gives it another one, whatever was changed, and whoever did it.

mod content;
mod lock;
mod look;
mod sql;
mod switch;

use std::collections::BTreeMap;
use std::sync::Arc;

use sqlx::{Connection as _, FromRow};
use time::OffsetDateTime;
use uuid::Uuid;

use super::Db;
use super::catalog::{Asks, Catalog, FileTable};
use super::error::{Attempted, DbError, Problem};
use super::inventory::PLANNED_IN_ORDER;
use super::sql::built;
use crate::file::SchemaName;

pub use content::{Arrival, Piece};
pub use lock::Lock;
pub use look::Look;
pub use sql::{PAGE, STILL};
pub use switch::Arrived;

const DOING: &str = "preparing a migration";
/// What a page, a count, or a statement about a large content may take at most, in milliseconds: between two rows that are
/// wanted there may be many that are not, and a content may have a gigabyte.
const PATIENCE_MS: &str = "600000";

/// Where contents go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the rows to the storage.
    ToStorage,
    /// Nowhere: rows that say S3 lose what they still have.
    Reclaim,
    /// From the storage to the rows.
    ToDatabase,
}

/// Which rows are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of these schemas; empty: of all.
    pub schemas: Vec<SchemaName>,
    /// Of this record.
    pub record: Option<(SchemaName, Uuid)>,
    /// Changed before this moment.
    pub modified_before: Option<OffsetDateTime>,
    /// Larger than so many bytes.
    pub larger_than: Option<u64>,
}

/// The statements of one migration.
#[derive(Clone, Debug)]
pub struct Migration {
    tables: Vec<Table>,
    direction: Direction,
    schema: String,
    /// The storage that rows are switched to: S3.
    s3: Uuid,
    /// The storage that rows are switched to: the database.
    database: Option<Uuid>,
    storages: Vec<Uuid>,
    filter: Filter,
    warnings: Vec<String>,
    /// `$1` ids, `$2` the database's storage: those of which a row has another one.
    other_storage: Arc<str>,
    /// `$1` an id: has it several rows?
    several: Arc<str>,
}

/// One table of files.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its schema.
    pub schema: SchemaName,
    /// Its quoted name, as it is typed.
    pub name: String,
    statements: sql::Statements,
}

/// A row whose content is to be moved.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Candidate {
    /// The file.
    pub id: Uuid,
    /// The row's version.
    pub version: String,
    /// What its `"Size"` says, where it has one.
    pub size: Option<i64>,
    /// The length of its `"Data"` in bytes; nothing where it has none.
    pub length: Option<i64>,
    /// What that takes in the table, compressed maybe.
    pub stored: Option<i64>,
    /// It was changed within [`STILL`], or does not say when.
    pub is_fresh: bool,
}

/// A row and its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The file.
    pub id: Uuid,
    /// The row's version.
    pub version: String,
}

/// A row that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromRow)]
pub struct Found {
    /// The file.
    pub id: Uuid,
    /// It is still the version that was read.
    pub is_same: bool,
    /// It says that its content is where contents go.
    pub is_there: bool,
    /// It has no content of its own.
    pub is_empty: bool,
}

/// How many rows of a table are meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromRow)]
pub struct Count {
    /// Rows.
    pub files: i64,
    /// Their bytes: of `"Data"`, or of what their `"Size"` says.
    pub bytes: i64,
    /// What `"Data"` takes in the table.
    pub stored: i64,
}

impl Candidate {
    /// The row and its version.
    pub fn version(&self) -> Version {
        Version { id: self.id, version: self.version.clone() }
    }
}

impl Migration {
    /// The tables that are gone through, one after the other.
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// Does the application have a storage that stands for the database?
    pub fn knows_database(&self) -> bool {
        self.database.is_some()
    }

    /// The storage that rows name afterwards.
    fn target(&self) -> Option<Uuid> {
        match self.direction {
            Direction::ToStorage | Direction::Reclaim => Some(self.s3),
            Direction::ToDatabase => self.database,
        }
    }

    /// What somebody should know before: tables that are left out, and why.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

impl Db {
    /// The statements for these rows.
    ///
    /// # Errors
    /// [`Problem::NotReady`] where there is no such storage or no such table.
    pub async fn migration(
        &self,
        catalog: &Catalog,
        direction: Direction,
        filter: Filter,
    ) -> Result<Migration, DbError> {
        let not_ready = |why: String| DbError::new(DOING, Problem::NotReady(why));
        if catalog.asks != Asks::Creatio {
            return Err(not_ready(
                "crm.profile is not creatio: no other application's contents are moved".into(),
            ));
        }
        let codes = catalog.storage_codes.join(", ");
        let s3 = self.first_storage(catalog).await?.ok_or_else(|| {
            not_ready(format!("the CRM has no storage with one of the codes of crm.storage_codes ({codes})"))
        })?;
        let database = self.database_storage(catalog).await?;
        let contents = self.contents_of(catalog).await?;
        let (mut tables, mut warnings) = (Vec::new(), Vec::new());
        for file in &catalog.file_tables {
            let wanted = filter.schemas.is_empty() || filter.schemas.contains(&file.schema);
            if !wanted || filter.record.as_ref().is_some_and(|(schema, _)| !sql::names(file, schema)) {
                continue;
            }
            match left_out(file, contents.get(&file.table.name), &filter) {
                None => tables.push(Table {
                    schema: file.schema.clone(),
                    name: file.table.quoted(),
                    statements: sql::Statements::new(
                        file,
                        direction,
                        contents.get(&file.table.name),
                        filter.record.as_ref().map(|(schema, _)| schema),
                    ),
                }),
                Some(why) => warnings.push(format!("{}: left out, {why}", file.schema)),
            }
        }
        if let Some(unknown) = filter
            .schemas
            .iter()
            .find(|schema| !catalog.file_tables.iter().any(|file| file.schema == **schema))
        {
            return Err(not_ready(format!("there is no table of files of the schema {unknown}")));
        }
        if direction == Direction::ToDatabase && database.is_none() {
            return Err(not_ready(
                "the CRM's SysFileContentStorage has no storage with the code Database".into(),
            ));
        }
        let storages = catalog.storages.clone();
        let other_storage = sql::other_storage(&catalog.file_tables);
        let several = sql::several(&catalog.file_tables);
        let schema = catalog.schema.clone();
        Ok(Migration {
            tables,
            direction,
            schema,
            s3,
            database,
            storages,
            filter,
            warnings,
            other_storage,
            several,
        })
    }

    /// The next page of rows, from this id on.
    pub async fn migration_page(
        &self,
        migration: &Migration,
        table: &Table,
        begin: Uuid,
    ) -> Result<Vec<Candidate>, DbError> {
        const DOING: &str = "reading rows whose contents are to be moved";
        let mut connection = self.pool.acquire().await.attempted(DOING)?;
        let mut tx = connection.begin().await.attempted(DOING)?;
        sqlx::query(PLANNED_IN_ORDER).execute(&mut *tx).await.attempted(DOING)?;
        sqlx::query("SELECT set_config('statement_timeout', $1, true)")
            .bind(PATIENCE_MS)
            .execute(&mut *tx)
            .await
            .attempted(DOING)?;
        let query = sqlx::query_as(built(&table.statements.page));
        let rows = migration.bind(query, begin).fetch_all(&mut *tx).await.attempted(DOING)?;
        tx.rollback().await.attempted(DOING)?;
        Ok(rows)
    }

    /// Those of these files whose rows say that their content is in the database, where it is; of the rows that are meant.
    pub async fn migration_left(
        &self,
        migration: &Migration,
        table: &Table,
        ids: &[Uuid],
    ) -> Result<Vec<Candidate>, DbError> {
        let query = migration.bind(sqlx::query_as(built(&table.statements.left)), Uuid::nil()).bind(ids);
        query.fetch_all(&self.pool).await.attempted("reading rows whose objects may be left behind")
    }

    /// How many rows of the table are meant, and their bytes.
    pub async fn migration_count(&self, migration: &Migration, table: &Table) -> Result<Count, DbError> {
        const DOING: &str = "counting rows whose contents are to be moved";
        let mut tx = self.pool.begin().await.attempted(DOING)?;
        sqlx::query("SELECT set_config('statement_timeout', $1, true)")
            .bind(PATIENCE_MS)
            .execute(&mut *tx)
            .await
            .attempted(DOING)?;
        let query = sqlx::query_as(built(&table.statements.count));
        let count = migration.bind(query, Uuid::nil()).fetch_one(&mut *tx).await.attempted(DOING)?;
        tx.rollback().await.attempted(DOING)?;
        Ok(count)
    }

    /// Those of these rows that are still there.
    pub async fn migration_now(
        &self,
        migration: &Migration,
        table: &Table,
        rows: &[Version],
    ) -> Result<Vec<Found>, DbError> {
        let (ids, versions) = content::columns(rows);
        sqlx::query_as(built(&table.statements.now))
            .bind(ids)
            .bind(versions)
            .bind(migration.target())
            .fetch_all(&self.pool)
            .await
            .attempted("asking whether rows are still the same")
    }

    /// Those of these ids of which a row, in whatever table, says that its content is in another storage than the database:
    /// in S3, or in one that is not known here. What is under such a key is that row's.
    pub async fn in_other_storage(&self, migration: &Migration, ids: &[Uuid]) -> Result<Vec<Uuid>, DbError> {
        sqlx::query_scalar(built(&migration.other_storage))
            .bind(ids)
            .bind(migration.database)
            .fetch_all(&self.pool)
            .await
            .attempted("asking which storages the rows of files name")
    }

    /// Have several tables a row with this id? They share what is under its key.
    pub async fn has_several_rows(&self, migration: &Migration, id: Uuid) -> Result<bool, DbError> {
        sqlx::query_scalar(built(&migration.several))
            .bind(id)
            .fetch_one(&self.pool)
            .await
            .attempted("asking how many rows a file has")
    }

    /// What the table takes, in bytes: with its indexes and what it keeps apart.
    pub async fn size_of_table(&self, table: &Table) -> Result<i64, DbError> {
        sqlx::query_scalar("SELECT pg_total_relation_size($1::text::regclass)")
            .bind(&table.name)
            .fetch_one(&self.pool)
            .await
            .attempted("measuring a table")
    }

    /// The storage with the first of `crm.storage_codes` that there is.
    async fn first_storage(&self, catalog: &Catalog) -> Result<Option<Uuid>, DbError> {
        let table = catalog.named("SysFileContentStorage").quoted();
        let sql: Arc<str> = format!(
            r#"SELECT "Id" FROM {table} WHERE "Code" = ANY($1) ORDER BY array_position($1, "Code"::text), "Id""#
        )
        .into();
        let query = sqlx::query_scalar(built(&sql)).bind(&catalog.storage_codes);
        query.fetch_optional(&self.pool).await.attempted(DOING)
    }

    /// The id of the storage with the code `Database`.
    async fn database_storage(&self, catalog: &Catalog) -> Result<Option<Uuid>, DbError> {
        let table = catalog.named("SysFileContentStorage").quoted();
        let sql: Arc<str> =
            format!(r#"SELECT "Id" FROM {table} WHERE "Code" = 'Database' ORDER BY "Id""#).into();
        sqlx::query_scalar(built(&sql)).fetch_optional(&self.pool).await.attempted(DOING)
    }

    /// The tables that have a `"Data"` for contents, by name.
    async fn contents_of(&self, catalog: &Catalog) -> Result<BTreeMap<String, Content>, DbError> {
        let rows: Vec<Content> = sqlx::query_as(
            "SELECT c.relname::text AS table_name, a.attnotnull AS required,
                    EXISTS (SELECT FROM pg_attribute AS m WHERE m.attrelid = c.oid AND m.attname = 'ModifiedOn'
                               AND m.atttypid IN ('timestamp'::regtype, 'timestamptz'::regtype) AND NOT m.attisdropped)
                      AS modified
               FROM pg_class AS c
               JOIN pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = $1
               JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'Data' AND NOT a.attisdropped
                AND a.atttypid = 'bytea'::regtype
              WHERE c.relkind IN ('r', 'p')",
        )
        .bind(&catalog.schema)
        .fetch_all(&self.pool)
        .await
        .attempted(DOING)?;
        Ok(rows.into_iter().map(|content| (content.table_name.clone(), content)).collect())
    }
}

/// A table's column for contents.
#[derive(Debug, FromRow)]
struct Content {
    table_name: String,
    /// It may not be NULL.
    required: bool,
    /// The table tells when a row was changed.
    modified: bool,
}

/// Why a table cannot be gone through.
fn left_out(file: &FileTable, content: Option<&Content>, filter: &Filter) -> Option<&'static str> {
    let Some(content) = content else { return Some("it has no column \"Data\" of type bytea") };
    if !file.tells_storage {
        return Some("its rows do not say where their content is");
    }
    (filter.modified_before.is_some() && !content.modified)
        .then_some("its rows do not say when they were changed")
}

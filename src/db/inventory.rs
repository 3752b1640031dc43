//! The rows of all files in the order of their objects' keys, a page at a time, for whoever compares them with what
//! the buckets hold; and the same rows once more by their keys, for whoever doubts what came of that.
//!
//! Nothing of our own schema is read here: a database that only grants to read the application's tables can be
//! compared.

mod page;
mod sql;

use std::collections::HashSet;
use std::sync::Arc;

use sqlx::FromRow;
use uuid::Uuid;

use super::Db;
use super::catalog::{Asks, Catalog};
use super::conditions::Conditions;
use super::contents::ReadableData;
use super::error::{Attempted, DbError};
use super::sql::built;
use crate::file::{FileId, Named, ObjectKey, SchemaName};

pub(super) use page::PLANNED_IN_ORDER;
pub use page::{Page, Place};

/// The row of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InventoryRow {
    /// The file; nothing where the row's id is none that an event could carry.
    pub id: Option<FileId>,
    /// Its schema.
    pub schema: SchemaName,
    /// Its object's key, where columns of the row make it.
    pub key: Option<ObjectKey>,
    /// Its content is in S3, by the row.
    pub in_s3: bool,
    /// Its size in bytes, where the row tells it.
    pub size: Option<u64>,
    /// Bytes of content that are in the row itself; nothing where that was not asked, or this role may not know it.
    pub data: Option<u64>,
    /// Whose it is.
    pub owner: Owner,
}

/// Whose is a file, by its row?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A record's that is there, or of which nothing is known.
    Fine,
    /// Nobody's: the column that names the record is empty.
    Nobody,
    /// A record's that is not there.
    Gone,
}

/// What the database says of some keys, all from one snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Again {
    /// Their rows.
    pub rows: Vec<InventoryRow>,
    /// Files that a link names.
    pub linked: HashSet<FileId>,
    /// Files whose deletion waits in our outbox, where there is one.
    pub captured: HashSet<FileId>,
}

/// The statements for one catalogue.
#[derive(Clone, Debug)]
pub struct Reading {
    groups: Vec<Group>,
    again: Option<Arc<str>>,
    links: Option<Arc<str>>,
    conditions: Arc<str>,
    catalog: Arc<Catalog>,
}

/// Tables whose rows come in one stream, because the order of their keys is that of one column.
#[derive(Clone, Debug)]
struct Group {
    pages: Arc<str>,
    size: usize,
    order: Order,
}

/// What orders the rows of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// `"Id"`: the key template is the same text around it for all rows.
    Id,
    /// The key itself, as columns make it.
    Key,
}

#[derive(FromRow)]
struct Raw {
    at: i32,
    id: Option<String>,
    key: Option<String>,
    in_s3: bool,
    size: Option<i64>,
    data: Option<i64>,
    parentless: bool,
    weak_schema: Option<String>,
    weak_id: Option<Uuid>,
}

impl Reading {
    /// The statements that read all tables of this catalogue. `apart`: each table's rows are a stream of their own,
    /// since the file's schema is in the key. What rows have in `"Data"` is asked where it may be read.
    pub fn new(catalog: Arc<Catalog>, apart: bool, readable: &ReadableData) -> Self {
        let (groups, again) = match &catalog.asks {
            Asks::Creatio => (sql::by_id(&catalog, apart, readable), sql::again_by_id(&catalog, readable)),
            Asks::Mapping(mapped) => (sql::by_key(mapped), sql::again_by_key(mapped)),
            Asks::Nothing => (Vec::new(), None),
        };
        let conditions = format!("SELECT {}", Conditions::asked(&catalog));
        Self { groups, again, links: sql::links(&catalog), conditions: conditions.into(), catalog }
    }

    /// How many streams of rows there are.
    pub fn groups(&self) -> usize {
        self.groups.len()
    }

    /// The catalogue that it reads by.
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }
}

impl Db {
    /// The rows of these files as they are now, and which of the files a link names.
    ///
    /// # Errors
    /// [`NotReady`] on a replica, whose rows are of the past, or where rows may be hidden, and [`Unsettled`] where the
    /// tables are no longer those of the catalogue: what they hold may be overlooked.
    ///
    /// [`NotReady`]: super::error::Problem::NotReady
    /// [`Unsettled`]: super::error::Problem::Unsettled
    pub async fn rows_again(&self, reading: &Reading, files: &[Named]) -> Result<Again, DbError> {
        const DOING: &str = "reading rows of files again";
        let mut tx = self.pool.begin().await.attempted(DOING)?;
        sqlx::query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            .execute(&mut *tx)
            .await
            .attempted(DOING)?;
        let conditions: Conditions =
            sqlx::query_as(built(&reading.conditions)).fetch_one(&mut *tx).await.attempted(DOING)?;
        conditions.insist(&reading.catalog, DOING)?;
        let mut rows: Vec<Raw> = Vec::new();
        let ids: Vec<Uuid> = files.iter().filter_map(|file| file.id.as_uuid()).collect();
        if let Some(again) = &reading.again {
            let query = sqlx::query_as(built(again)).bind(&reading.catalog.storages);
            let query = match reading.catalog.asks {
                Asks::Creatio => query.bind(&ids),
                Asks::Mapping(_) | Asks::Nothing => {
                    query.bind(files.iter().map(|file| file.key.as_str()).collect::<Vec<_>>())
                }
            };
            rows = query.fetch_all(&mut *tx).await.attempted(DOING)?;
        }
        let mut linked = HashSet::new();
        if let Some(links) = &reading.links {
            let named: Vec<Uuid> =
                sqlx::query_scalar(built(links)).bind(&ids).fetch_all(&mut *tx).await.attempted(DOING)?;
            linked = named.into_iter().map(FileId::from).collect();
        }
        tx.rollback().await.attempted(DOING)?;
        // After the rows: a deletion that was not to be seen in them yet is not in the outbox either.
        let captured = self.captured(&reading.catalog, files).await?;
        Ok(Again { rows: self.with_owners(&reading.catalog, rows).await?, linked, captured })
    }

    /// Are these still the tables of the catalogue, on the primary?
    ///
    /// # Errors
    /// As [`Db::rows_again`].
    pub async fn is_settled(&self, reading: &Reading) -> Result<(), DbError> {
        const DOING: &str = "asking whether the tables are still the same";
        let conditions: Conditions =
            sqlx::query_as(built(&reading.conditions)).fetch_one(&self.pool).await.attempted(DOING)?;
        conditions.insist(&reading.catalog, DOING)
    }

    /// Those of the files whose deletion is in the outbox; none where there is no outbox.
    async fn captured(&self, catalog: &Catalog, files: &[Named]) -> Result<HashSet<FileId>, DbError> {
        const DOING: &str = "looking into the outbox";
        let found = match catalog.asks {
            Asks::Nothing => return Ok(HashSet::new()),
            Asks::Creatio => {
                let ids: Vec<Uuid> = files.iter().filter_map(|file| file.id.as_uuid()).collect();
                let sql = "SELECT DISTINCT one::text FROM file_recycler.outbox AS waiting, unnest(waiting.ids) AS one
                            WHERE waiting.kind = 'files' AND waiting.ids && $1 AND one = ANY($1)";
                sqlx::query_scalar(sql).bind(ids).fetch_all(&self.pool).await
            }
            Asks::Mapping(_) => {
                let keys: Vec<&str> = files.iter().map(|file| file.key.as_str()).collect();
                let sql =
                    "SELECT DISTINCT one FROM file_recycler.outbox AS waiting, unnest(waiting.keys) AS one
                            WHERE waiting.kind = 'files' AND waiting.keys && $1 AND one = ANY($1)";
                sqlx::query_scalar(sql).bind(keys).fetch_all(&self.pool).await
            }
        };
        let found: Vec<String> = match found.attempted(DOING) {
            Ok(found) => found,
            Err(error) if error.is_missing() => return Ok(HashSet::new()),
            Err(error) => return Err(error),
        };
        let by_key = matches!(catalog.asks, Asks::Mapping(_));
        let named = |name: &String| {
            if by_key {
                files.iter().find(|file| file.key.as_str() == name).map(|file| file.id.clone())
            } else {
                FileId::try_from(name.as_str()).ok()
            }
        };
        Ok(found.iter().filter_map(named).collect())
    }

    async fn with_owners(&self, catalog: &Catalog, rows: Vec<Raw>) -> Result<Vec<InventoryRow>, DbError> {
        let named = |row: &Raw| {
            let (schema, id) = row.weak_schema.as_ref().zip(row.weak_id)?;
            let known =
                SchemaName::try_from(schema.as_str()).ok().is_some_and(|schema| catalog.knows(&schema));
            known.then(|| (schema.clone(), id))
        };
        let records: HashSet<(String, Uuid)> = rows.iter().filter_map(named).collect();
        let records: Vec<_> = records.into_iter().collect();
        let there = self.existing(catalog, &records).await?;
        let row = |raw: Raw| {
            let owner = match named(&raw) {
                _ if raw.parentless => Owner::Nobody,
                Some(record) if !there.contains(&record) => Owner::Gone,
                _ => Owner::Fine,
            };
            let at = usize::try_from(raw.at).ok()?;
            let schema = match &catalog.asks {
                Asks::Creatio => &catalog.file_tables.get(at)?.schema,
                Asks::Mapping(mapped) => &mapped.tables.get(at)?.schema,
                Asks::Nothing => return None,
            };
            Some(InventoryRow {
                id: raw.id.and_then(|id| FileId::try_from(id).ok()),
                schema: schema.clone(),
                key: raw.key.and_then(|key| ObjectKey::try_from(key).ok()),
                in_s3: raw.in_s3,
                size: raw.size.and_then(|size| u64::try_from(size).ok()),
                data: raw.data.and_then(|bytes| u64::try_from(bytes).ok()),
                owner,
            })
        };
        Ok(rows.into_iter().filter_map(row).collect())
    }
}

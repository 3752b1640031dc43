//! Everything that the database knows of one id, for `explain`: looked up, never changed, and never with the name of
//! a file or a person.

mod gone;
mod keyed;
mod memory;
mod row;

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use sqlx::FromRow;
use uuid::Uuid;

use super::Db;
use super::alive::in_s3;
use super::catalog::{Catalog, FILE_LINK, FileTable};
pub use super::contents::DATABASE;
use super::contents::{ReadableData, back_to_the_row};
use super::error::{Attempted, DbError};
use super::sql::{TableName, built, quote_identifier, quote_literal};
use crate::file::SchemaName;

pub use gone::GoneRow;
pub use keyed::{KeyedBy, KeyedRow, KeyedWaiting};
pub use memory::{DiscardedRow, HeldRow, Image, LedgerRow, Outbox, OutboxRow, ReplayRow, SuspectRow};
pub(super) use row::{ENTITY_LINK_TYPE, WEB_LINK_TYPE};
pub use row::{FileRow, Link, Listed, Parent, RecordRow, RowType};

/// Most rows of one kind that are listed; the others are counted.
pub const LISTED: usize = 100;
/// Rows that are counted at most in one table.
const COUNTED: u32 = 100_000;
#[derive(FromRow)]
struct Raw {
    schema: String,
    table_name: String,
    id: Uuid,
    kind: Option<Uuid>,
    storage: Option<String>,
    in_s3: bool,
    size: Option<i64>,
    data: Option<i64>,
    parent_column: Option<String>,
    parent_schema: Option<String>,
    parent_id: Option<Uuid>,
    weak_schema: Option<String>,
    weak_id: Option<Uuid>,
}

/// Whose rows are wanted.
#[derive(Clone, Copy)]
enum Whose<'a> {
    /// The file's own: `$1` is its id.
    File,
    /// Those that name the record `$1`, of one of these schemas where it is by a foreign key; `$3` is the one schema
    /// that weak rows may name, or nothing.
    Record(&'a BTreeSet<String>),
}

impl Db {
    /// The rows of all file tables that have this id.
    pub async fn rows_of_file(&self, catalog: &Catalog, id: Uuid) -> Result<Vec<FileRow>, DbError> {
        let rows = self.file_rows(catalog, Whose::File, id, None).await?;
        self.with_parents(catalog, rows).await
    }

    /// The files of a record: by foreign keys to one of `schemas`, and those that name it weakly (under the schema
    /// `only`, where one is given).
    pub async fn files_of_record(
        &self,
        catalog: &Catalog,
        id: Uuid,
        schemas: &BTreeSet<String>,
        only: Option<&SchemaName>,
    ) -> Result<Listed<FileRow>, DbError> {
        let whose = Whose::Record(schemas);
        let rows = self.file_rows(catalog, whose, id, only).await?;
        let total = if rows.len() < LISTED {
            rows.len() as u64
        } else {
            self.count(catalog, whose, id, only).await?
        };
        Ok(Listed { items: self.with_parents(catalog, rows).await?, total })
    }

    /// The record tables that have this id: sections, owners of files, and `schemas`; with `only`, that one alone.
    pub async fn rows_of_record(
        &self,
        catalog: &Catalog,
        id: Uuid,
        schemas: &BTreeSet<String>,
        only: Option<&SchemaName>,
    ) -> Result<Vec<RecordRow>, DbError> {
        let records = catalog.record_tables.iter().map(|record| record.schema.as_str());
        let all: BTreeSet<&str> = match only {
            Some(only) => BTreeSet::from([only.as_str()]),
            None => records.chain(schemas.iter().map(String::as_str)).collect(),
        };
        let asked: Vec<(String, Uuid)> = all.into_iter().map(|schema| (schema.to_owned(), id)).collect();
        let there = self.existing(catalog, &asked).await?;
        Ok(asked
            .into_iter()
            .filter(|record| there.contains(record))
            .filter_map(|(schema, _)| Some(RecordRow { table: table(catalog, &schema)?.to_string(), schema }))
            .collect())
    }

    /// Links that name this id as a file or as a record.
    pub async fn links_of(&self, catalog: &Catalog, id: Uuid) -> Result<Listed<Link>, DbError> {
        const DOING: &str = "looking for links";
        if catalog.file_link.is_none() {
            return Ok(Listed { items: Vec::new(), total: 0 });
        }
        let links = catalog.named(FILE_LINK).quoted();
        // Two conditions, each with an index of its own.
        let both = |what: &str| {
            let of = |column: &str| format!(r#"SELECT {what} FROM {links} WHERE "{column}" = $1"#);
            format!("{} UNION {}", of("FileRecordId"), of("RecordId"))
        };
        let columns = r#""Id" AS id, "RecordSchemaName"::text AS record_schema, "RecordId" AS record_id,
                         "FileSchemaName"::text AS file_schema, "FileRecordId" AS file_id"#;
        let list: Arc<str> = format!("{} ORDER BY id LIMIT $2", both(columns)).into();
        let mut items: Vec<Link> = sqlx::query_as(built(&list))
            .bind(id)
            .bind(i64::try_from(LISTED).unwrap_or(i64::MAX))
            .fetch_all(&self.pool)
            .await
            .attempted(DOING)?;
        let mut total = items.len() as u64;
        if items.len() >= LISTED {
            let ids = both(r#""Id""#);
            let count: Arc<str> =
                format!("SELECT count(*) FROM (SELECT FROM ({ids}) AS found LIMIT {COUNTED}) AS counted")
                    .into();
            let counted: i64 =
                sqlx::query_scalar(built(&count)).bind(id).fetch_one(&self.pool).await.attempted(DOING)?;
            total = counted.unsigned_abs();
        }
        let records: Vec<_> = items.iter().map(|link| (link.record_schema.clone(), link.record_id)).collect();
        let there = self.existing(catalog, &records).await?;
        for (link, record) in items.iter_mut().zip(&records) {
            link.record_exists = table(catalog, &record.0).map(|_| there.contains(record));
        }
        Ok(Listed { items, total })
    }

    /// Those of these records that are there. One of a schema that has no table is not.
    pub(super) async fn existing(
        &self,
        catalog: &Catalog,
        records: &[(String, Uuid)],
    ) -> Result<HashSet<(String, Uuid)>, DbError> {
        let schemas: BTreeSet<&String> = records.iter().map(|(schema, _)| schema).collect();
        let tables: Vec<String> = schemas
            .into_iter()
            .filter_map(|schema| {
                let (name, table) = (quote_literal(schema), table(catalog, schema)?.quoted());
                Some(format!(r#"SELECT {name} AS schema, "Id" AS id FROM {table} WHERE "Id" = ANY($1)"#))
            })
            .collect();
        if tables.is_empty() {
            return Ok(HashSet::new());
        }
        let ids: Vec<Uuid> = records.iter().map(|(_, id)| *id).collect();
        let sql: Arc<str> = tables.join(" UNION ALL ").into();
        let found: Vec<(String, Uuid)> = sqlx::query_as(built(&sql))
            .bind(ids)
            .fetch_all(&self.pool)
            .await
            .attempted("asking which records are there")?;
        Ok(found.into_iter().collect())
    }

    async fn file_rows(
        &self,
        catalog: &Catalog,
        whose: Whose<'_>,
        id: Uuid,
        only: Option<&SchemaName>,
    ) -> Result<Vec<Raw>, DbError> {
        let readable = self.readable_data(catalog).await?;
        let tables: Vec<String> = catalog
            .file_tables
            .iter()
            .filter_map(|file| Some(select(catalog, file, &condition(file, whose)?, &readable)))
            .collect();
        if tables.is_empty() {
            return Ok(Vec::new());
        }
        let sql: Arc<str> =
            format!("{} ORDER BY schema, id LIMIT {LISTED}", tables.join(" UNION ALL ")).into();
        sqlx::query_as(built(&sql))
            .bind(id)
            .bind(&catalog.storages)
            .bind(only.map(SchemaName::as_str))
            .fetch_all(&self.pool)
            .await
            .attempted("looking for rows of files")
    }

    async fn count(
        &self,
        catalog: &Catalog,
        whose: Whose<'_>,
        id: Uuid,
        only: Option<&SchemaName>,
    ) -> Result<u64, DbError> {
        let tables: Vec<String> = catalog
            .file_tables
            .iter()
            .filter_map(|file| {
                let (table, condition) = (file.table.quoted(), condition(file, whose)?);
                Some(format!(
                    "(SELECT count(*) FROM (SELECT FROM {table} AS item WHERE {condition} LIMIT {COUNTED}) AS counted)"
                ))
            })
            .collect();
        let sql: Arc<str> = format!("SELECT ({})::bigint", tables.join(" + ")).into();
        let count: i64 = sqlx::query_scalar(built(&sql))
            .bind(id)
            .bind(&catalog.storages)
            .bind(only.map(SchemaName::as_str))
            .fetch_one(&self.pool)
            .await
            .attempted("counting a record's files")?;
        Ok(count.unsigned_abs())
    }

    async fn with_parents(&self, catalog: &Catalog, rows: Vec<Raw>) -> Result<Vec<FileRow>, DbError> {
        let mut rows: Vec<FileRow> = rows.into_iter().map(|row| row.row(catalog)).collect();
        let named = |row: &FileRow| row.parent.as_ref().map(|parent| (parent.schema.clone(), parent.id));
        let there = self.existing(catalog, &rows.iter().filter_map(named).collect::<Vec<_>>()).await?;
        for parent in rows.iter_mut().filter_map(|row| row.parent.as_mut()) {
            let is_there = there.contains(&(parent.schema.clone(), parent.id));
            parent.exists = table(catalog, &parent.schema).map(|_| is_there);
        }
        Ok(rows)
    }
}

impl Raw {
    fn row(self, catalog: &Catalog) -> FileRow {
        let left = self.in_s3 && self.data.is_some_and(|bytes| bytes > 0);
        let table = table(catalog, &self.schema).filter(|_| left);
        let back = table.map(|table| back_to_the_row(catalog, &table.quoted(), self.id));
        let hard = self.parent_id.zip(self.parent_schema).zip(self.parent_column);
        let hard =
            hard.map(|((id, schema), column)| Parent { schema, id, column, weak: false, exists: None });
        let weak = || {
            let (id, schema) = self.weak_id.zip(self.weak_schema.filter(|schema| !schema.is_empty()))?;
            Some(Parent { schema, id, column: "RecordId".to_owned(), weak: true, exists: None })
        };
        FileRow {
            schema: self.schema,
            table: self.table_name,
            id: self.id,
            kind: self.kind.map(RowType::of),
            storage: self.storage,
            in_s3: self.in_s3,
            size: self.size,
            data_bytes: self.data,
            back_to_the_row: back,
            parent: hard.or_else(weak),
        }
    }
}

fn table(catalog: &Catalog, schema: &str) -> Option<TableName> {
    catalog.table(&SchemaName::try_from(schema).ok()?)
}

/// Which rows of this table are wanted; nothing where none can be.
fn condition(file: &FileTable, whose: Whose<'_>) -> Option<String> {
    let Whose::Record(schemas) = whose else { return Some(r#"item."Id" = $1"#.to_owned()) };
    let hard = file.parent.as_ref().filter(|link| schemas.contains(link.schema.as_str()));
    let hard = hard.map(|link| format!("item.{} = $1", quote_identifier(&link.column)));
    let weak = file.weak.then(|| {
        r#"(item."RecordId" = $1 AND ($3::text IS NULL OR item."RecordSchemaName" = $3))"#.to_owned()
    });
    let conditions: Vec<String> = hard.into_iter().chain(weak).collect();
    (!conditions.is_empty()).then(|| conditions.join(" OR "))
}

/// Rows of one table; `$2` are the storages that are ours.
fn select(catalog: &Catalog, file: &FileTable, condition: &str, readable: &ReadableData) -> String {
    let storages = catalog.named("SysFileContentStorage").quoted();
    let (kind, storage) = if file.tells_storage {
        let code = format!(r#"(SELECT "Code"::text FROM {storages} WHERE "Id" = item."SysFileStorageId")"#);
        let none = r#"item."SysFileStorageId" IS NULL"#;
        let storage = format!("CASE WHEN {none} THEN 'Database' ELSE coalesce({code}, 'unknown') END");
        (r#"item."TypeId""#, storage)
    } else {
        ("NULL::uuid", "NULL::text".to_owned())
    };
    let size = if file.sized { r#"item."Size"::bigint"# } else { "NULL::bigint" };
    let none = || ("NULL::text".to_owned(), "NULL::text".to_owned(), "NULL::uuid".to_owned());
    let (column, parent_schema, parent) = file.parent.as_ref().map_or_else(none, |link| {
        let id = format!("item.{}", quote_identifier(&link.column));
        (quote_literal(&link.column), quote_literal(link.schema.as_str()), id)
    });
    let (weak_schema, weak_id) = if file.weak {
        (r#"item."RecordSchemaName"::text"#, r#"item."RecordId""#)
    } else {
        ("NULL::text", "NULL::uuid")
    };
    format!(
        r#"(SELECT {schema} AS schema, (space.nspname || '.' || part.relname)::text AS table_name, item."Id" AS id,
                {kind} AS kind, {storage} AS storage, {s3} AS in_s3, {size} AS size, {data} AS data, {column} AS parent_column,
                {parent_schema} AS parent_schema, {parent} AS parent_id, {weak_schema} AS weak_schema,
                {weak_id} AS weak_id
           FROM {table} AS item
           JOIN pg_catalog.pg_class AS part ON part.oid = item.tableoid
           JOIN pg_catalog.pg_namespace AS space ON space.oid = part.relnamespace
          WHERE {condition} ORDER BY item."Id" LIMIT {LISTED})"#,
        schema = quote_literal(file.schema.as_str()),
        s3 = in_s3(file, "$2"),
        data = readable.length(file),
        table = file.table.quoted(),
    )
}

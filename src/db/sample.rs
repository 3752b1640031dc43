//! A few files of the database, and how many there are: for people who bind it to buckets.

use std::sync::Arc;

use uuid::Uuid;

use super::Db;
use super::alive::in_s3;
use super::catalog::{Catalog, FileTable, Mapped};
use super::connections::{SEVERAL_WITHIN, within};
use super::error::{Attempted, Class, DbError};
use super::sql::{built, quote_literal};
use crate::file::{FileId, ObjectKey, SchemaName};
use crate::key_template::{KeyError, KeyTemplate};

/// How long the newest rows are looked for.
const PATIENCE_MS: u32 = 5_000;
const NEWEST: &str = "looking for the newest files in S3";
/// Rows that are counted at most in one table: counting is a scan.
const COUNTED: u32 = 1_000_000;

/// One file of the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampleFile {
    /// The file.
    pub id: FileId,
    /// Its schema.
    pub schema: SchemaName,
    /// Its key, where columns of its row make it; otherwise the key template gives it.
    pub key: Option<ObjectKey>,
}

impl SampleFile {
    /// The key of its object.
    ///
    /// # Errors
    /// The template can give it none.
    pub fn object_key(&self, template: &KeyTemplate) -> Result<ObjectKey, KeyError> {
        match &self.key {
            Some(key) => Ok(key.clone()),
            None => template.key(&self.id, Some(&self.schema)),
        }
    }
}

impl Db {
    /// Some files whose content is in S3, at most `count`, with their schemas; from every file table one
    /// before a second.
    pub async fn some_files(&self, catalog: &Catalog, count: usize) -> Result<Vec<SampleFile>, DbError> {
        const DOING: &str = "looking for files in S3";
        if let Some(mapped) = catalog.mapped() {
            return self.some_mapped(mapped, count).await;
        }
        let tables: Vec<String> = catalog
            .file_tables
            .iter()
            .map(|file| {
                format!(
                    r#"(SELECT {} AS schema, "Id" AS id, row_number() OVER () AS turn FROM (
                         SELECT "Id" FROM {} WHERE {} LIMIT $2) AS sample)"#,
                    quote_literal(file.schema.as_str()),
                    file.table.quoted(),
                    in_s3(file, "$1"),
                )
            })
            .collect();
        if tables.is_empty() {
            return Ok(Vec::new());
        }
        let sql: Arc<str> = format!(
            "SELECT schema, id FROM ({}) AS found ORDER BY turn, schema LIMIT $2",
            tables.join(" UNION ALL ")
        )
        .into();
        let rows: Vec<(String, Uuid)> = sqlx::query_as(built(&sql))
            .bind(&catalog.storages)
            .bind(i64::try_from(count).unwrap_or(i64::MAX))
            .fetch_all(&self.pool)
            .await
            .attempted(DOING)?;
        Ok(known(catalog, rows))
    }

    async fn some_mapped(&self, mapped: &Mapped, count: usize) -> Result<Vec<SampleFile>, DbError> {
        let tables: Vec<String> = mapped
            .tables
            .iter()
            .map(|table| {
                format!(
                    "(SELECT {schema} AS schema, id, key, row_number() OVER () AS turn FROM (
                       SELECT {id} AS id, {key} AS key FROM {from} AS item WHERE {holds} LIMIT $1) AS sample)",
                    schema = quote_literal(table.schema.as_str()),
                    id = table.id.text(),
                    key = if table.own_key { table.key() } else { "NULL::text".to_owned() },
                    from = table.table.quoted(),
                    holds = table.holds(),
                )
            })
            .collect();
        let sql: Arc<str> = format!(
            "SELECT schema, id, key FROM ({}) AS found ORDER BY turn, schema LIMIT $1",
            tables.join(" UNION ALL ")
        )
        .into();
        let rows: Vec<(String, String, Option<String>)> = sqlx::query_as(built(&sql))
            .bind(i64::try_from(count).unwrap_or(i64::MAX))
            .fetch_all(&self.pool)
            .await
            .attempted("looking for files in S3")?;
        // What can be no id or no key has no object.
        let file = |(schema, id, key): (String, String, Option<String>)| {
            Some(SampleFile {
                id: FileId::try_from(id).ok()?,
                schema: SchemaName::try_from(schema).ok()?,
                key: key.map(ObjectKey::try_from).transpose().ok()?,
            })
        };
        Ok(rows.into_iter().filter_map(file).collect())
    }

    /// The newest of the files whose content is in S3, at most `count`, by their `CreatedOn`. Where finding them takes
    /// too long (there is no index), some files.
    pub async fn newest_files(&self, catalog: &Catalog, count: usize) -> Result<Vec<SampleFile>, DbError> {
        within(SEVERAL_WITHIN, NEWEST, self.newest(catalog, count)).await
    }

    async fn newest(&self, catalog: &Catalog, count: usize) -> Result<Vec<SampleFile>, DbError> {
        let dated: Vec<(String, String)> = sqlx::query_as(
            "SELECT n.nspname::text, c.relname::text FROM pg_attribute AS a
               JOIN pg_class AS c ON c.oid = a.attrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
              WHERE a.attname = 'CreatedOn' AND NOT a.attisdropped AND a.atttypid IN ('timestamp'::regtype, 'timestamptz'::regtype)",
        )
        .fetch_all(&self.pool)
        .await
        .attempted(NEWEST)?;
        let is_dated = |file: &&FileTable| {
            dated.iter().any(|(schema, name)| *schema == file.table.schema && *name == file.table.name)
        };
        let tables: Vec<String> = catalog
            .file_tables
            .iter()
            .filter(is_dated)
            .map(|file| {
                let (schema, table) = (quote_literal(file.schema.as_str()), file.table.quoted());
                let s3 = in_s3(file, "$1");
                format!(
                    r#"(SELECT {schema} AS schema, "Id" AS id, "CreatedOn"::timestamp AS created FROM {table} WHERE {s3}
                         ORDER BY "CreatedOn" DESC NULLS LAST LIMIT $2)"#
                )
            })
            .collect();
        if tables.is_empty() {
            return self.some_files(catalog, count).await;
        }
        let sql: Arc<str> = format!(
            "SELECT schema, id FROM ({}) AS found ORDER BY created DESC NULLS LAST LIMIT $2",
            tables.join(" UNION ALL ")
        )
        .into();
        let mut transaction = self.pool.begin().await.attempted(NEWEST)?;
        sqlx::query("SELECT set_config('statement_timeout', $1, true)")
            .bind(PATIENCE_MS.to_string())
            .execute(&mut *transaction)
            .await
            .attempted(NEWEST)?;
        let found = sqlx::query_as(built(&sql))
            .bind(&catalog.storages)
            .bind(i64::try_from(count).unwrap_or(i64::MAX))
            .fetch_all(&mut *transaction)
            .await;
        transaction.rollback().await.attempted(NEWEST)?;
        match found.attempted(NEWEST) {
            Ok(rows) => Ok(known(catalog, rows)),
            Err(error) if error.class() != Some(Class::TooLong) => Err(error),
            Err(error) => {
                tracing::info!(%error, "some files are looked at in place of the newest");
                self.some_files(catalog, count).await
            }
        }
    }

    /// How many rows have their content in S3; it stops at a million in each table.
    pub async fn count_files(&self, catalog: &Catalog) -> Result<u64, DbError> {
        let tables: Vec<String> = catalog
            .file_tables
            .iter()
            .map(|file| {
                let (table, s3) = (file.table.quoted(), in_s3(file, "$1"));
                format!("(SELECT count(*) FROM (SELECT FROM {table} WHERE {s3} LIMIT {COUNTED}) AS sample)")
            })
            .chain(catalog.mapped().into_iter().flat_map(|mapped| &mapped.tables).map(|table| {
                let (from, holds) = (table.table.quoted(), table.holds());
                format!("(SELECT count(*) FROM (SELECT FROM {from} AS item WHERE {holds} LIMIT {COUNTED}) AS sample)")
            }))
            .collect();
        if tables.is_empty() {
            return Ok(0);
        }
        let sql: Arc<str> = format!("SELECT ({})::bigint", tables.join(" + ")).into();
        let count: i64 = sqlx::query_scalar(built(&sql))
            .bind(&catalog.storages)
            .fetch_one(&self.pool)
            .await
            .attempted("counting the files in S3")?;
        Ok(count.unsigned_abs())
    }
}

/// Rows of known schemas.
fn known(catalog: &Catalog, rows: Vec<(String, Uuid)>) -> Vec<SampleFile> {
    let known = |schema: &String| catalog.file_tables.iter().find(|file| file.schema.as_str() == schema);
    rows.into_iter()
        .filter_map(|(schema, id)| {
            Some(SampleFile { id: FileId::from(id), schema: known(&schema)?.schema.clone(), key: None })
        })
        .collect()
}

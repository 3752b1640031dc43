//! A few files of the database, and how many there are: for people who bind it to buckets.

use std::sync::Arc;

use uuid::Uuid;

use super::Db;
use super::alive::in_s3;
use super::catalog::{Catalog, FileTable};
use super::error::{Attempted, Class, DbError};
use super::sql::{built, quote_literal};
use crate::file::{FileId, SchemaName};

/// How long the newest rows are looked for.
const PATIENCE_MS: u32 = 5_000;
/// Rows that are counted at most in one table: counting is a scan.
const COUNTED: u32 = 1_000_000;

impl Db {
    /// Some files whose content is in S3, at most `count`, with their schemas; from every file table one
    /// before a second.
    pub async fn some_files(
        &self,
        catalog: &Catalog,
        count: usize,
    ) -> Result<Vec<(FileId, SchemaName)>, DbError> {
        const DOING: &str = "looking for files in S3";
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

    /// The newest of the files whose content is in S3, at most `count`, by their `CreatedOn`. Where finding them takes
    /// too long (there is no index), some files.
    pub async fn newest_files(
        &self,
        catalog: &Catalog,
        count: usize,
    ) -> Result<Vec<(FileId, SchemaName)>, DbError> {
        const DOING: &str = "looking for the newest files in S3";
        let dated: Vec<(String, String)> = sqlx::query_as(
            "SELECT n.nspname::text, c.relname::text FROM pg_attribute AS a
               JOIN pg_class AS c ON c.oid = a.attrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
              WHERE a.attname = 'CreatedOn' AND NOT a.attisdropped AND a.atttypid IN ('timestamp'::regtype, 'timestamptz'::regtype)",
        )
        .fetch_all(&self.pool)
        .await
        .attempted(DOING)?;
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
        let mut transaction = self.pool.begin().await.attempted(DOING)?;
        sqlx::query("SELECT set_config('statement_timeout', $1, true)")
            .bind(PATIENCE_MS.to_string())
            .execute(&mut *transaction)
            .await
            .attempted(DOING)?;
        let found = sqlx::query_as(built(&sql))
            .bind(&catalog.storages)
            .bind(i64::try_from(count).unwrap_or(i64::MAX))
            .fetch_all(&mut *transaction)
            .await;
        transaction.rollback().await.attempted(DOING)?;
        match found.attempted(DOING) {
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
fn known(catalog: &Catalog, rows: Vec<(String, Uuid)>) -> Vec<(FileId, SchemaName)> {
    let known = |schema: &String| catalog.file_tables.iter().find(|file| file.schema.as_str() == schema);
    rows.into_iter()
        .filter_map(|(schema, id)| Some((FileId::from(id), known(&schema)?.schema.clone())))
        .collect()
}

//! A few files of the database, and how many there are: for people who bind it to buckets.

use std::sync::Arc;

use uuid::Uuid;

use super::Db;
use super::alive::in_s3;
use super::catalog::Catalog;
use super::error::{Attempted, DbError};
use super::sql::{built, quote_literal};
use crate::file::{FileId, SchemaName};

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
        let known = |schema: &String| catalog.file_tables.iter().find(|file| file.schema.as_str() == schema);
        Ok(rows
            .into_iter()
            .filter_map(|(schema, id)| Some((FileId::from(id), known(&schema)?.schema.clone())))
            .collect())
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

//! Where the contents of files are, by their rows, and what rows still have in `"Data"`. Of that column nothing but its
//! length is asked, which PostgreSQL knows without reading the content; and only where this role may read it, since
//! running needs no right to it.

use std::collections::BTreeSet;
use std::sync::Arc;

use sqlx::FromRow;
use uuid::Uuid;

use super::Db;
use super::catalog::{Asks, Catalog, FILE_TYPE, FileTable};
use super::error::{Attempted, Class, DbError};
use super::explain::{ENTITY_LINK_TYPE, WEB_LINK_TYPE};
use super::sql::{built, quote_identifier, quote_literal};

/// What counting may take, in milliseconds: it reads every row of every table of files.
const PATIENCE_MS: u32 = 3_000;
/// The code of the storage that is the database itself.
pub const DATABASE: &str = "Database";

/// The tables of files whose `"Data"` this role may read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadableData {
    tables: BTreeSet<String>,
    unread: u64,
}

/// Rows and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Amount {
    /// How many.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Where the contents of all files are, by their rows. Links have none and are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// In the database.
    pub database: Amount,
    /// In a storage that is ours.
    pub ours: Amount,
    /// In another storage.
    pub others: Amount,
    /// The row does not tell.
    pub unknown: Amount,
    /// What rows in a storage of ours have in `"Data"` all the same; nothing where no `"Data"` can be read.
    pub left: Option<Amount>,
}

#[derive(FromRow)]
struct Raw {
    side: String,
    files: i64,
    bytes: i64,
    left_files: i64,
    left_bytes: i64,
}

impl ReadableData {
    /// May any be read?
    pub fn is_any(&self) -> bool {
        !self.tables.is_empty()
    }

    /// How many tables have a `"Data"` that cannot be read.
    pub fn unread(&self) -> u64 {
        self.unread
    }

    /// Bytes of a row's `"Data"`, as an expression over a row of this table; NULL where that cannot be known.
    pub(super) fn length(&self, file: &FileTable) -> &'static str {
        if self.tables.contains(&file.table.name) {
            r#"coalesce(octet_length("Data"), 0)::bigint"#
        } else {
            "NULL::bigint"
        }
    }
}

impl Db {
    /// Which tables' `"Data"` this role may read. The catalogue is asked, which needs no right.
    pub async fn readable_data(&self, catalog: &Catalog) -> Result<ReadableData, DbError> {
        let tables: Vec<&str> = catalog.file_tables.iter().map(|file| file.table.name.as_str()).collect();
        if tables.is_empty() {
            return Ok(ReadableData::default());
        }
        let rows: Vec<(String, bool)> = sqlx::query_as(
            "SELECT c.relname::text, has_column_privilege(c.oid, a.attnum, 'SELECT')
               FROM pg_class AS c
               JOIN pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = $1
               JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'Data' AND a.attnum > 0
                    AND NOT a.attisdropped AND a.atttypid = 'bytea'::regtype
              WHERE c.relkind IN ('r', 'p') AND c.relname = ANY($2::name[])",
        )
        .bind(&catalog.schema)
        .bind(tables)
        .fetch_all(&self.pool)
        .await
        .attempted("asking which contents this role may read")?;
        let unread = rows.iter().filter(|(_, may)| !may).count() as u64;
        let tables = rows.into_iter().filter(|(_, may)| *may).map(|(name, _)| name).collect();
        Ok(ReadableData { tables, unread })
    }

    /// Counts where contents are, by one look at every row; nothing where that takes too long, or a table is locked.
    pub async fn where_contents_are(
        &self,
        catalog: &Catalog,
        readable: &ReadableData,
    ) -> Result<Option<Contents>, DbError> {
        if catalog.asks != Asks::Creatio || catalog.file_tables.is_empty() {
            return Ok(Some(Contents::default()));
        }
        let counted = match self.count_contents(catalog, readable).await {
            Err(error) if matches!(error.class(), Some(Class::TooLong | Class::Contention)) => {
                return Ok(None);
            }
            counted => counted?,
        };
        let mut contents = Contents { left: readable.is_any().then(Amount::default), ..Contents::default() };
        for row in counted {
            let side = match row.side.as_str() {
                "database" => &mut contents.database,
                "ours" => &mut contents.ours,
                "others" => &mut contents.others,
                _ => &mut contents.unknown,
            };
            side.add(row.files, row.bytes);
            if let Some(left) = contents.left.as_mut().filter(|_| row.side == "ours") {
                left.add(row.left_files, row.left_bytes);
            }
        }
        Ok(Some(contents))
    }

    async fn count_contents(&self, catalog: &Catalog, readable: &ReadableData) -> Result<Vec<Raw>, DbError> {
        const DOING: &str = "counting where contents are";
        let storages = catalog.named("SysFileContentStorage").quoted();
        let tables: Vec<String> =
            catalog.file_tables.iter().map(|file| counted(file, readable, &storages)).collect();
        let sql: Arc<str> = tables.join(" UNION ALL ").into();
        let mut tx = self.pool.begin().await.attempted(DOING)?;
        sqlx::query("SELECT set_config('statement_timeout', $1, true), set_config('lock_timeout', $1, true)")
            .bind(PATIENCE_MS.to_string())
            .execute(&mut *tx)
            .await
            .attempted(DOING)?;
        let rows =
            sqlx::query_as(built(&sql)).bind(&catalog.storages).fetch_all(&mut *tx).await.attempted(DOING)?;
        tx.rollback().await.attempted(DOING)?;
        Ok(rows)
    }
}

impl Amount {
    fn add(&mut self, files: i64, bytes: i64) {
        self.files += files.unsigned_abs();
        self.bytes = self.bytes.saturating_add(bytes.unsigned_abs());
    }
}

/// Sides, rows and bytes of one table; `$1` are the storages that are ours.
fn counted(file: &FileTable, readable: &ReadableData, storages: &str) -> String {
    let bytes = if file.sized { r#"coalesce("Size", 0)::bigint"# } else { "0::bigint" };
    let (side, no_content) = if file.tells_storage {
        let [file_type, web_link, entity_link] =
            [FILE_TYPE, WEB_LINK_TYPE, ENTITY_LINK_TYPE].map(|id| format!("{}::uuid", quote_literal(id)));
        let database = quote_literal(DATABASE);
        (
            format!(
                r#"CASE WHEN "TypeId" IS DISTINCT FROM {file_type} THEN 'unknown'
                        WHEN "SysFileStorageId" = ANY($1) THEN 'ours'
                        WHEN "SysFileStorageId" IS NULL THEN 'database'
                        WHEN "SysFileStorageId" IN (SELECT "Id" FROM {storages} WHERE "Code" = {database}) THEN 'database'
                        ELSE 'others' END"#
            ),
            format!(r#"coalesce("TypeId" IN ({web_link}, {entity_link}), false)"#),
        )
    } else {
        ("'unknown'".to_owned(), "$1::uuid[] IS NULL".to_owned())
    };
    format!(
        "SELECT side, count(*) AS files, coalesce(sum(size), 0)::bigint AS bytes,
                count(*) FILTER (WHERE data > 0) AS left_files, coalesce(sum(data), 0)::bigint AS left_bytes
           FROM (SELECT {side} AS side, {bytes} AS size, {data} AS data FROM {table} WHERE NOT {no_content}) AS rows
          GROUP BY side",
        data = readable.length(file),
        table = file.table.quoted(),
    )
}

/// The statement by which an administrator of the CRM has a file read from its row again.
pub(super) fn back_to_the_row(catalog: &Catalog, table: &str, id: Uuid) -> String {
    format!(
        r#"UPDATE {table} SET {storage} = (SELECT "Id" FROM {storages} WHERE "Code" = {database}) WHERE "Id" = '{id}' AND octet_length("Data") > 0"#,
        storage = quote_identifier("SysFileStorageId"),
        storages = catalog.named("SysFileContentStorage").quoted(),
        database = quote_literal(DATABASE),
    )
}

//! Rows that we deleted because their record was gone, brought back from the images that were kept of them.

use std::sync::Arc;

use sqlx::FromRow;
use uuid::Uuid;

use super::PAGE;
use crate::db::Db;
use crate::db::catalog::mapped::Column;
use crate::db::catalog::{Asks, Catalog};
use crate::db::dangling::exists;
use crate::db::error::{Attempted, DbError, Problem};
use crate::db::sql::{TableName, built, quote_identifier, quote_literal};
use crate::file::{FileId, ObjectKey, SchemaName};

const BACK: &str = "bringing a row back";

/// The image of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowImage {
    /// The file.
    pub id: FileId,
    /// Its schema, which is the table's name.
    pub schema: SchemaName,
    /// Its object's key, where columns of the row make it; otherwise the key template gives it.
    pub key: Option<ObjectKey>,
    /// Size in bytes, as the row said.
    pub size: Option<u64>,
    /// The record that it hung on.
    record: (SchemaName, String),
    /// Every column but the content, as JSON: numbers as they are, whatever their digits.
    row: String,
}

/// What keeps a row from coming back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// A file table has a row of this id.
    RowIsThere,
    /// The record that it hung on is not there.
    NoRecord,
    /// The database is a replica, or its environment is another one than a moment ago.
    OtherEnvironment,
}

#[derive(FromRow)]
struct Raw {
    row_id: String,
    schema: String,
    key: Option<String>,
    size: Option<i64>,
    record_schema: String,
    record_id: String,
    row: String,
}

#[derive(FromRow)]
struct Facts {
    environment: bool,
    there: bool,
    record: bool,
}

/// One table whose rows' images can come back: its schema, its name, what makes a row's size, and its key where
/// columns make it.
struct Origin<'a> {
    schema: &'a SchemaName,
    table: &'a TableName,
    size: String,
    key: String,
}

impl Db {
    /// The newest image of each of these rows.
    pub async fn row_images(&self, catalog: &Catalog, ids: &[String]) -> Result<Vec<RowImage>, DbError> {
        self.images(catalog, "image.row_id = ANY($1) AND $2::text IS NULL", ids, None, None).await
    }

    /// Images of the rows that went with this record: those after `after`, a row's id and its schema, at most 1,000.
    pub async fn row_images_of(
        &self,
        catalog: &Catalog,
        (schema, id): (&SchemaName, &str),
        after: Option<(&FileId, &SchemaName)>,
    ) -> Result<Vec<RowImage>, DbError> {
        let condition = "image.record_id = ANY($1) AND image.record_schema = $2";
        let after = after.map(|(id, schema)| (id.as_str(), schema.as_str()));
        self.images(catalog, condition, &[id.to_owned()], Some(schema.as_str()), after).await
    }

    async fn images(
        &self,
        catalog: &Catalog,
        condition: &str,
        ids: &[String],
        record_schema: Option<&str>,
        after: Option<(&str, &str)>,
    ) -> Result<Vec<RowImage>, DbError> {
        const DOING: &str = "reading images of deleted rows";
        let selects: Vec<String> = origins(catalog)
            .map(|origin| {
                let populated = format!(
                    "jsonb_populate_record(NULL::{}, image.row) AS item",
                    origin.table.quoted()
                );
                format!(
                    "SELECT image.row_id, {schema}::text AS schema, {key} AS key, {size} AS size, image.record_schema,
                            image.record_id, image.row::text AS row, image.recycled_at
                       FROM file_recycler.image AS image, LATERAL {populated}
                      WHERE image.table_name = {name} AND {condition}",
                    schema = quote_literal(origin.schema.as_str()),
                    key = origin.key,
                    size = origin.size,
                    name = quote_literal(&origin.table.name),
                )
            })
            .collect();
        if selects.is_empty() {
            return Ok(Vec::new());
        }
        let sql: Arc<str> = format!(
            r#"SELECT DISTINCT ON (row_id COLLATE "C", schema COLLATE "C") * FROM ({}) AS found
                WHERE $3::text IS NULL OR (row_id COLLATE "C", schema COLLATE "C") > ($3, $4::text)
                ORDER BY row_id COLLATE "C", schema COLLATE "C", recycled_at DESC LIMIT {PAGE}"#,
            selects.join(" UNION ALL ")
        )
        .into();
        let rows: Vec<Raw> = sqlx::query_as(built(&sql))
            .bind(ids)
            .bind(record_schema)
            .bind(after.map(|(id, _)| id))
            .bind(after.map(|(_, schema)| schema))
            .fetch_all(&self.pool)
            .await
            .attempted(DOING)?;
        let bad = |_| DbError::new(DOING, Problem::Internal("an image that is no file's".to_owned()));
        rows.into_iter().map(|row| row.image().map_err(bad)).collect()
    }

    /// What would keep this row from coming back now; nothing where it may. With `force` its record need not be there.
    pub async fn obstacle(
        &self,
        catalog: &Catalog,
        image: &RowImage,
        environment: Uuid,
        force: bool,
    ) -> Result<Option<Obstacle>, DbError> {
        let facts = Conditions::of(catalog, image, force);
        let sql: Arc<str> = format!(
            "SELECT {} AS environment, {} AS there, {} AS record",
            facts.environment, facts.there, facts.record
        )
        .into();
        let facts: Facts = sqlx::query_as(built(&sql))
            .bind(image.id.as_str())
            .bind(&image.record.1)
            .bind(environment)
            .fetch_one(&self.pool)
            .await
            .attempted("asking whether a row may come back")?;
        Ok(match facts {
            Facts { environment: false, .. } => Some(Obstacle::OtherEnvironment),
            Facts { there: true, .. } => Some(Obstacle::RowIsThere),
            Facts { record: false, .. } => Some(Obstacle::NoRecord),
            Facts { .. } => None,
        })
    }

    /// Inserts the row again, in one statement with every condition: this environment, the primary, no row of the
    /// id in any file table, and the record there again (not with `force`). Columns that are gone are left out, and
    /// new ones have their defaults.
    ///
    /// # Errors
    /// One for which [`DbError::is_denied`] is true where the role may not insert: that right is not the running role's.
    pub async fn bring_row_back(
        &self,
        catalog: &Catalog,
        image: &RowImage,
        environment: Uuid,
        force: bool,
    ) -> Result<Option<Obstacle>, DbError> {
        let table = catalog.named(image.schema.as_str());
        let columns: Vec<String> = sqlx::query_scalar(
            "SELECT attname::text FROM pg_attribute
              WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
                AND $2::text::jsonb ? attname::text ORDER BY attnum",
        )
        .bind(table.quoted())
        .bind(&image.row)
        .fetch_all(&self.pool)
        .await
        .attempted(BACK)?;
        if columns.is_empty() {
            let gone = format!("{table} has none of the columns that the row had");
            return Err(DbError::new(BACK, Problem::NotReady(gone)));
        }
        let quoted: Vec<String> = columns.iter().map(|column| quote_identifier(column)).collect();
        let values: Vec<String> = quoted.iter().map(|column| format!("item.{column}")).collect();
        let facts = Conditions::of(catalog, image, force);
        let sql: Arc<str> = format!(
            "INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE
             SELECT {values} FROM jsonb_populate_record(NULL::{table}, $4::text::jsonb) AS item
              WHERE {environment} AND NOT {there} AND {record}",
            table = table.quoted(),
            columns = quoted.join(", "),
            values = values.join(", "),
            environment = facts.environment,
            there = facts.there,
            record = facts.record,
        )
        .into();
        let inserted = sqlx::query(built(&sql))
            .bind(image.id.as_str())
            .bind(&image.record.1)
            .bind(environment)
            .bind(&image.row)
            .execute(&self.pool)
            .await
            .attempted(BACK)?
            .rows_affected();
        match inserted {
            1 => Ok(None),
            0 => match self.obstacle(catalog, image, environment, force).await? {
                Some(obstacle) => Ok(Some(obstacle)),
                None => Err(DbError::new(BACK, Problem::Unsettled)),
            },
            more => Err(DbError::new(BACK, Problem::Broken(format!("{more} rows were inserted")))),
        }
    }
}

/// Conditions of a row's coming back; `$1` is its id as text, `$2` its record's, `$3` the environment.
struct Conditions {
    environment: String,
    there: String,
    record: String,
}

impl Conditions {
    fn of(catalog: &Catalog, image: &RowImage, force: bool) -> Self {
        let named = match &catalog.asks {
            Asks::Creatio => catalog
                .file_tables
                .iter()
                .map(|file| format!(r#"EXISTS (SELECT FROM {} WHERE "Id" = $1::uuid)"#, file.table.quoted()))
                .collect(),
            Asks::Mapping(mapped) => mapped
                .tables
                .iter()
                .filter(|table| table.schema == image.schema)
                .map(|table| {
                    let is_it = table.id.is_one_of("ARRAY[$1]::text[]");
                    format!("EXISTS (SELECT FROM {} AS item WHERE {is_it})", table.table.quoted())
                })
                .collect(),
            Asks::Nothing => Vec::new(),
        };
        let there = if named.is_empty() { "false".to_owned() } else { format!("({})", named.join(" OR ")) };
        let record = exists(catalog, &image.record.0).unwrap_or_else(|| "false".to_owned());
        let force = force || crate::failpoint::removed("protection::record_of_row");
        let record = if force { "true".to_owned() } else { record };
        Self {
            environment: "(NOT pg_is_in_recovery() AND EXISTS (SELECT FROM file_recycler.environment AS e
                             WHERE e.id = $3 AND e.adopted_at IS NOT NULL))"
                .to_owned(),
            there,
            // Named in any case, so that all are bound alike.
            record: format!("({record} AND $1::text IS NOT NULL AND $2::text IS NOT NULL)"),
        }
    }
}

fn origins(catalog: &Catalog) -> impl Iterator<Item = Origin<'_>> {
    let creatio = catalog.file_tables.iter().map(|file| Origin {
        schema: &file.schema,
        table: &file.table,
        size: if file.sized { r#"item."Size"::bigint"#.to_owned() } else { "NULL::bigint".to_owned() },
        key: "NULL::text".to_owned(),
    });
    let listed = catalog.mapped().into_iter().flat_map(|mapped| &mapped.tables).map(|table| Origin {
        schema: &table.schema,
        table: &table.table,
        size: table
            .size
            .as_ref()
            .map_or_else(|| "NULL::bigint".to_owned(), |size| format!("{}::bigint", Column::text(size))),
        key: table.key(),
    });
    creatio.chain(listed)
}

impl Raw {
    fn image(self) -> Result<RowImage, crate::file::NameError> {
        Ok(RowImage {
            id: FileId::try_from(self.row_id)?,
            schema: SchemaName::try_from(self.schema)?,
            key: self.key.map(ObjectKey::try_from).transpose()?,
            size: self.size.and_then(|size| u64::try_from(size).ok()),
            record: (SchemaName::try_from(self.record_schema)?, self.record_id),
            row: self.row,
        })
    }
}

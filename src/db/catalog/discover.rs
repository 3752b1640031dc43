//! Discovery of a Creatio database: by inheritance of schemas, not by the look of names.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{Postgres, Transaction};
use std::sync::Arc;

use super::parent::{OnDelete, ParentLink, choose, doubts};
use super::{Asks, Catalog, FILE_LINK, FileTable, Named, RecordTable, fingerprint_expression};
use crate::config::Crm;
use crate::db::Db;
use crate::db::error::{Attempted, DbError, Problem};
use crate::db::sql::{MAX_IDENTIFIER, TableName, built, cut, quote_identifier};
use crate::file::SchemaName;

/// The schema that all file schemas inherit from.
const FILE_SCHEMA: &str = "556c5867-60a7-4456-aae1-a57a122bef70";
const DOING: &str = "discovering the CRM's tables";
/// Most distinct record schemas that weak files and links may name.
const MAX_NAMED: i64 = 10_000;

type Tx = Transaction<'static, Postgres>;

/// Discovers everything in one read-only snapshot.
pub(super) async fn creatio(db: &Db, crm: &Crm, named: Named<'_>) -> Result<Catalog, DbError> {
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
    let mut tx = db.pool.begin_with(begin).await.attempted(DOING)?;
    let reader = Reader { schema: &crm.schema };
    let (fingerprint, storages) = reader.fingerprint(&mut tx, crm).await?;
    let tables = reader.tables(&mut tx).await?;
    let bare = super::without_index(&mut tx, &crm.schema).await?;
    let parts = super::parts(&mut tx, &crm.schema).await?;
    let sections: BTreeSet<String> = reader.sections(&mut tx).await?.into_iter().collect();
    let file_schemas: Vec<String> = reader
        .file_schemas(&mut tx)
        .await?
        .into_iter()
        .filter(|name| tables.contains(table_of(name)))
        .collect();
    if file_schemas.is_empty() {
        let why = format!("no table of files was found in the schema '{}': is this the CRM?", crm.schema);
        return Err(DbError::new(DOING, Problem::NotReady(why)));
    }
    let columns = reader.columns(&mut tx, &file_schemas).await?;
    let references = reader.references(&mut tx, &file_schemas).await?;
    let parts_of = |table: &str| -> Vec<TableName> {
        let root = TableName { schema: crm.schema.clone(), name: table.to_owned() };
        std::iter::once(root).chain(parts.get(table).into_iter().flatten().cloned()).collect()
    };
    let mut file_tables = Vec::with_capacity(file_schemas.len());
    let mut remarks = Vec::new();
    for name in &file_schemas {
        let candidates = references.get(table_of(name)).cloned().unwrap_or_default();
        let parent = choose(name, candidates.clone(), |schema| sections.contains(schema.as_str()));
        let columns = columns.get(table_of(name)).cloned().unwrap_or_default();
        let file = file_table(name, parts_of(table_of(name)), &columns, parent)?;
        if file.tells_storage && !file.weak {
            remarks.extend(doubts(name, file.parent.as_ref(), &candidates));
        }
        file_tables.push(file);
    }
    let mut records = sections;
    records.extend(file_tables.iter().filter_map(|file| Some(file.parent.as_ref()?.schema.to_string())));
    let has_links = tables.contains(FILE_LINK);
    match named {
        Named::Skip => {}
        Named::Ask => records.extend(reader.named(&mut tx, &file_tables, has_links).await?),
        Named::As(known) => records.extend(known.record_tables.iter().map(|table| table.schema.to_string())),
    }
    tx.rollback().await.attempted(DOING)?;
    let records = by_table(&records, &tables);
    let asked = file_schemas.iter().map(|name| table_of(name)).chain(records.keys().copied());
    refuse_unfinished(&bare, asked.chain(has_links.then_some(FILE_LINK)))?;
    remarks.extend(nameless(&records));
    let record_tables = records
        .into_iter()
        .filter_map(|(table, name)| {
            Some(RecordTable { schema: SchemaName::try_from(name).ok()?, parts: parts_of(table) })
        })
        .collect();
    Ok(Catalog {
        fingerprint,
        fingerprint_sql: fingerprint_expression(crm),
        asks: Asks::Creatio,
        schema: crm.schema.clone(),
        storage_codes: crm.storage_codes.clone(),
        storages,
        file_tables,
        record_tables,
        file_link: has_links.then(|| parts_of(FILE_LINK)),
        tables,
        remarks,
    })
}

/// By table: a name that was cut to fit and the whole one are the same, and the whole one comes later.
fn by_table<'a>(records: &'a BTreeSet<String>, tables: &BTreeSet<String>) -> BTreeMap<&'a str, &'a str> {
    let there = records.iter().filter(|name| tables.contains(table_of(name)));
    there.map(|name| (table_of(name), name.as_str())).collect()
}

/// A schema's name with what no event may carry replaced: its rows keep files alive like any, whatever it is called.
fn printable(name: &str) -> Result<SchemaName, DbError> {
    let shown: String =
        name.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect();
    let nameless =
        |error| DbError::new(DOING, Problem::NotReady(format!("the name of a file schema {error}")));
    SchemaName::try_from(shown).map_err(nameless)
}

/// Sections whose deletion no event can name.
fn nameless(records: &BTreeMap<&str, &str>) -> Vec<String> {
    let nameless = records.values().filter(|name| SchemaName::try_from(**name).is_err());
    nameless
        .map(|name| {
            format!(
                "{name:?}: the name has a character that no event may carry; its deletions are not captured"
            )
        })
        .collect()
}

/// None of the tables that are asked may be one that a restore is still filling.
fn refuse_unfinished<'a>(
    bare: &BTreeSet<String>,
    mut asked: impl Iterator<Item = &'a str>,
) -> Result<(), DbError> {
    match asked.find(|table| bare.contains(*table)) {
        None => Ok(()),
        Some(table) => {
            let why = format!(
                "the table '{table}' has no index: a restore of the database seems to be under way, or its primary \
                 key was lost; what is alive cannot be told before it is there"
            );
            Err(DbError::new(DOING, Problem::NotReady(why)))
        }
    }
}

/// The name of a schema's table.
fn table_of(schema: &str) -> &str {
    cut(schema, MAX_IDENTIFIER)
}

fn file_table(
    name: &str,
    parts: Vec<TableName>,
    columns: &BTreeMap<String, String>,
    parent: Option<ParentLink>,
) -> Result<FileTable, DbError> {
    let is =
        |column: &str, types: &[&str]| columns.get(column).is_some_and(|kind| types.contains(&kind.as_str()));
    Ok(FileTable {
        schema: printable(name)?,
        table: parts.first().cloned().ok_or_else(|| DbError::new(DOING, Problem::Unsettled))?,
        weak: is("RecordSchemaName", &["varchar", "text", "bpchar", "citext"]) && is("RecordId", &["uuid"]),
        tells_storage: is("TypeId", &["uuid"]) && is("SysFileStorageId", &["uuid"]),
        sized: is("Size", &["int2", "int4", "int8"]),
        parent: parent.filter(|link| is(&link.column, &["uuid"])),
        columns: columns.keys().filter(|column| *column != "Data").cloned().collect(),
        parts,
    })
}

/// The questions to the catalogue, each one statement.
struct Reader<'a> {
    schema: &'a str,
}

impl Reader<'_> {
    fn table(&self, name: &str) -> String {
        format!("{}.{}", quote_identifier(self.schema), quote_identifier(name))
    }

    async fn fingerprint(&self, tx: &mut Tx, crm: &Crm) -> Result<(String, Vec<uuid::Uuid>), DbError> {
        let sql: Arc<str> = format!(
            r#"SELECT {}, ARRAY(SELECT "Id" FROM {} WHERE "Code" = ANY($1) ORDER BY "Id")"#,
            fingerprint_expression(crm),
            self.table("SysFileContentStorage"),
        )
        .into();
        sqlx::query_as(built(&sql)).bind(&crm.storage_codes).fetch_one(&mut **tx).await.attempted(DOING)
    }

    /// Every table with an `"Id"` of type uuid.
    async fn tables(&self, tx: &mut Tx) -> Result<BTreeSet<String>, DbError> {
        let names: Vec<String> = sqlx::query_scalar(
            "SELECT c.relname::text
               FROM pg_class AS c
               JOIN pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = $1
               JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'Id' AND a.attnum > 0
                    AND NOT a.attisdropped AND a.atttypid = 'uuid'::regtype
              WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition",
        )
        .bind(self.schema)
        .fetch_all(&mut **tx)
        .await
        .attempted(DOING)?;
        Ok(names.into_iter().collect())
    }

    /// The root of the files and everything below it. By name, because a schema that a later package
    /// replaces has several rows, any of which a child may hang on.
    async fn file_schemas(&self, tx: &mut Tx) -> Result<Vec<String>, DbError> {
        let sql: Arc<str> = format!(
            r#"WITH RECURSIVE below AS (
                 SELECT "Name"::text AS name FROM {schemas} WHERE "UId" = $1::uuid AND "ManagerName" = 'EntitySchemaManager'
                 UNION
                 SELECT child."Name"::text FROM below
                   JOIN {schemas} AS parent ON parent."Name" = below.name AND parent."ManagerName" = 'EntitySchemaManager'
                   JOIN {schemas} AS child ON child."ParentId" = parent."Id" AND child."ManagerName" = 'EntitySchemaManager')
               SELECT name FROM below ORDER BY name"#,
            schemas = self.table("SysSchema"),
        )
        .into();
        sqlx::query_scalar(built(&sql)).bind(FILE_SCHEMA).fetch_all(&mut **tx).await.attempted(DOING)
    }

    async fn sections(&self, tx: &mut Tx) -> Result<Vec<String>, DbError> {
        let sql: Arc<str> = format!(
            r#"SELECT DISTINCT s."Name"::text FROM {} AS m
                 JOIN {} AS e ON e."Id" = m."SysModuleEntityId"
                 JOIN {} AS s ON s."UId" = e."SysEntitySchemaUId""#,
            self.table("SysModule"),
            self.table("SysModuleEntity"),
            self.table("SysSchema"),
        )
        .into();
        sqlx::query_scalar(built(&sql)).fetch_all(&mut **tx).await.attempted(DOING)
    }

    /// Columns of the tables with the names of their types.
    async fn columns(
        &self,
        tx: &mut Tx,
        tables: &[String],
    ) -> Result<BTreeMap<String, BTreeMap<String, String>>, DbError> {
        let rows: Vec<(String, String, String)> = sqlx::query_as(
            "SELECT c.relname::text, a.attname::text, t.typname::text FROM pg_class AS c
               JOIN pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = $1
               JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
               JOIN pg_type AS t ON t.oid = a.atttypid
              WHERE c.relkind IN ('r', 'p') AND c.relname = ANY($2::name[])",
        )
        .bind(self.schema)
        .bind(tables)
        .fetch_all(&mut **tx)
        .await
        .attempted(DOING)?;
        let mut columns = BTreeMap::<String, BTreeMap<String, String>>::new();
        for (table, column, kind) in rows {
            columns.entry(table).or_default().insert(column, kind);
        }
        Ok(columns)
    }

    /// Foreign keys of one column, and lookups of the CRM that have none.
    async fn references(
        &self,
        tx: &mut Tx,
        tables: &[String],
    ) -> Result<BTreeMap<String, Vec<ParentLink>>, DbError> {
        let sql: Arc<str> = format!(
            r#"SELECT c.relname::text, a.attname::text, target.relname::text, k.confdeltype::text
                 FROM pg_constraint AS k
                 JOIN pg_class AS c ON c.oid = k.conrelid AND c.relname = ANY($2::name[])
                 JOIN pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = $1
                 JOIN pg_class AS target ON target.oid = k.confrelid AND target.relnamespace = n.oid
                 JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = k.conkey[1]
                WHERE k.contype = 'f' AND cardinality(k.conkey) = 1
                UNION
               SELECT s."Name"::name::text, r."ColumnName"::text, t."Name"::text, NULL
                 FROM {references} AS r
                 JOIN {schemas} AS s ON s."Id" = r."SysSchemaId"
                 JOIN {schemas} AS t ON t."Id" = r."ReferenceSchemaId"
                WHERE s."Name"::name = ANY($2::name[])"#,
            references = self.table("SysEntitySchemaReference"),
            schemas = self.table("SysSchema"),
        )
        .into();
        let rows: Vec<(String, String, String, Option<String>)> = sqlx::query_as(built(&sql))
            .bind(self.schema)
            .bind(tables)
            .fetch_all(&mut **tx)
            .await
            .attempted(DOING)?;
        let mut links = BTreeMap::<String, Vec<ParentLink>>::new();
        for (table, column, target, letter) in rows {
            let Ok(schema) = SchemaName::try_from(target) else { continue };
            let on_delete = letter.as_deref().map(OnDelete::of);
            links.entry(table).or_default().push(ParentLink { column, schema, on_delete });
        }
        Ok(links)
    }

    /// Record schemas that weak files and links name.
    async fn named(&self, tx: &mut Tx, files: &[FileTable], links: bool) -> Result<Vec<String>, DbError> {
        let link = links.then(|| self.table(FILE_LINK));
        let sources: Vec<String> = files
            .iter()
            .filter(|file| file.weak)
            .map(|file| file.table.quoted())
            .chain(link)
            .map(|table| format!(r#"SELECT DISTINCT "RecordSchemaName"::text AS name FROM {table}"#))
            .collect();
        if sources.is_empty() {
            return Ok(Vec::new());
        }
        let sql: Arc<str> =
            format!("SELECT DISTINCT name FROM ({}) AS named LIMIT $1", sources.join(" UNION ALL ")).into();
        sqlx::query_scalar(built(&sql)).bind(MAX_NAMED).fetch_all(&mut **tx).await.attempted(DOING)
    }
}

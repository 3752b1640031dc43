//! Which rights does this role lack? PostgreSQL says "permission denied for table x", and neither which right nor what
//! to do; so it is asked for every right that is needed, before any of them is missed.
//!
//! What is needed here is what `deploy/rights/database-run.sql` grants: a test takes each grant away by itself.

mod migrate;
mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sqlx::FromRow;

use super::Db;
use super::catalog::{Catalog, FILE_LINK, FileTable};
use super::dangling::{IS_OF_RIGHTS, weak_tables};
use super::error::{Attempted, DbError, Problem};
use super::schema::SCHEMA;
use super::sql::{TableName, built, quote_identifier};
use crate::config::{Crm, DanglingRows, Profile};

/// Rights that are named in one sentence, and columns of each: it must fit where it is told.
const TOLD: usize = 4;
const DOING: &str = "looking at the rights of this role";

/// Of our own tables and sequences.
const OWN: &[(&str, &[&str])] = &[
    ("_sqlx_migrations", &["SELECT"]),
    ("outbox", &["SELECT", "DELETE"]),
    ("outbox_id_seq", &["SELECT"]),
    ("capture_failures", &["SELECT"]),
    ("capture_seen", &["SELECT"]),
    ("ledger", &["SELECT", "INSERT"]),
    ("image", &["SELECT", "INSERT"]),
    ("environment", &["SELECT", "INSERT", "UPDATE"]),
    ("trail", &["INSERT"]),
    ("replay", &["SELECT", "INSERT", "UPDATE"]),
    ("discarded", &["SELECT", "INSERT", "UPDATE"]),
    ("suspect", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("silence", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("process", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("held_record", &["SELECT", "INSERT", "DELETE"]),
];

/// What `erase` needs beside them (`deploy/rights/database-erase.sql`); who never erases does without.
const TO_ERASE: &[(&str, &[&str])] = &[("image", &["DELETE"]), ("erasure", &["SELECT", "INSERT", "UPDATE"])];

/// Of the tables by which the CRM's files are found. Without these nothing else can be asked.
const FOUND_BY: &[(&str, &[&str])] = &[
    ("SysSchema", &["Id", "UId", "Name", "ManagerName", "ParentId", "xmin"]),
    ("SysModule", &["SysModuleEntityId"]),
    ("SysModuleEntity", &["Id", "SysEntitySchemaUId"]),
    ("SysEntitySchemaReference", &["SysSchemaId", "ReferenceSchemaId", "ColumnName"]),
    ("SysFileContentStorage", &["Id", "Code"]),
];

/// One right on one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Right {
    schema: String,
    name: String,
    column: Option<String>,
    privilege: &'static str,
}

/// One that is missing. Without a name it is the schema's, with parentheses a function's.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
struct Missing {
    schema: String,
    name: Option<String>,
    column: Option<String>,
    privilege: String,
}

impl Db {
    /// The rights that running needs and this role lacks, in a sentence; nothing where it has all. What is not there
    /// (the own schema, before it is installed) needs no right.
    pub async fn lacking(&self, crm: &Crm) -> Result<Option<String>, DbError> {
        let mut needed: Vec<Right> = Vec::new();
        for (name, privileges) in OWN {
            needed.extend(privileges.iter().map(|privilege| Right::on(SCHEMA, name, privilege)));
        }
        needed.push(Right::of_column(SCHEMA, "outbox", "seen_at", "UPDATE"));
        for (table, columns) in FOUND_BY {
            needed
                .extend(columns.iter().map(|column| Right::of_column(&crm.schema, table, column, "SELECT")));
        }
        let mut missing = self.missing_outside_tables(&[SCHEMA, &crm.schema]).await?;
        missing.extend(self.missing(&needed).await?);
        if missing.is_empty() {
            let catalog = self.discover(crm).await?;
            let referring = self.referring(&catalog).await?;
            let schemas: Vec<&str> = referring.iter().map(|right| right.schema.as_str()).collect();
            missing.extend(self.missing_outside_tables(&schemas).await?);
            let deletes = crm.dangling_rows == DanglingRows::Delete;
            let needed = [of_the_crm(&catalog, deletes), of_listed_tables(&catalog, deletes), referring];
            missing.extend(self.missing(&needed.concat()).await?);
        }
        if missing.is_empty() {
            return Ok(None);
        }
        let role = self.role().await?;
        let file = match crm.profile {
            Profile::Mapping(_) => {
                "apply deploy/rights/database-run.sql, and see \"Rights\" in docs/mapping.md"
            }
            Profile::Creatio | Profile::Events => "apply deploy/rights/database-run.sql",
        };
        Ok(Some(format!("role {role} lacks {}: {file}", told(&missing))))
    }

    /// The rights that `erase` needs beside those to run and this role lacks, in a sentence.
    pub async fn lacking_to_erase(&self) -> Result<Option<String>, DbError> {
        let rights = TO_ERASE.iter().flat_map(|(name, privileges)| {
            privileges.iter().map(|privilege| Right::on(SCHEMA, name, privilege))
        });
        let missing = self.missing(&rights.collect::<Vec<_>>()).await?;
        if missing.is_empty() {
            return Ok(None);
        }
        let role = self.role().await?;
        Ok(Some(format!("role {role} lacks {}: apply deploy/rights/database-erase.sql", told(&missing))))
    }

    /// Tables of the CRM, beside those that have files or sections, of which this role may not even see the ids: an
    /// event about a record of theirs would wait. Not to be asked often, and no reason to stop.
    pub async fn lacking_elsewhere(&self, crm: &Crm) -> Result<Option<String>, DbError> {
        let missing: Vec<Missing> = sqlx::query_as(
            r#"SELECT n.nspname::text AS schema, c.relname::text AS name, a.attname::text AS "column", 'SELECT' AS privilege
                 FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
                 JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'Id' AND a.atttypid = 'uuid'::regtype
                WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND NOT c.relispartition
                  AND NOT has_column_privilege(c.oid, a.attnum, 'SELECT') ORDER BY 2"#,
        )
        .bind(&crm.schema)
        .fetch_all(&self.pool)
        .await
        .attempted(DOING)?;
        if missing.is_empty() {
            return Ok(None);
        }
        let role = self.role().await?;
        let told = told(&missing);
        Ok(Some(format!(
            "role {role} lacks {told}, so that events about their records would wait: apply \
             deploy/rights/database-run.sql"
        )))
    }

    /// The rights that installing needs and this role lacks, in a sentence; nothing where it has all.
    pub(super) async fn lacking_to_install(
        &self,
        catalog: Option<&Catalog>,
    ) -> Result<Option<String>, DbError> {
        let may_create: bool = sqlx::query_scalar(
            "SELECT has_database_privilege(current_database(), 'CREATE') OR EXISTS (
               SELECT FROM pg_namespace WHERE nspname = $1 AND pg_has_role(nspowner, 'USAGE'))",
        )
        .bind(SCHEMA)
        .fetch_one(&self.pool)
        .await
        .attempted(DOING)?;
        let role = self.role().await?;
        let advice = "apply deploy/rights/database-install.sql";
        if !may_create {
            return Ok(Some(format!(
                "role {role} lacks CREATE on the database, and does not own the schema {SCHEMA}: {advice}"
            )));
        }
        let tables: Vec<TableName> = catalog.map(captured_tables).unwrap_or_default();
        let owners: Vec<(String, String)> = sqlx::query_as(
            "SELECT format('%I.%I', n.nspname, c.relname), quote_ident(pg_get_userbyid(c.relowner))
               FROM unnest($1::text[], $2::text[]) AS wanted (schema, name)
               JOIN pg_namespace AS n ON n.nspname = wanted.schema
               JOIN pg_class AS c ON c.relnamespace = n.oid AND c.relname = wanted.name
              WHERE NOT pg_has_role(c.relowner, 'USAGE') ORDER BY 1",
        )
        .bind(tables.iter().map(|table| table.schema.as_str()).collect::<Vec<_>>())
        .bind(tables.iter().map(|table| table.name.as_str()).collect::<Vec<_>>())
        .fetch_all(&self.pool)
        .await
        .attempted(DOING)?;
        let Some((table, owner)) = owners.first() else { return Ok(None) };
        let more = owners.len() - 1;
        let more = if more == 0 { String::new() } else { format!(" and {more} more tables") };
        Ok(Some(format!(
            "role {role} lacks membership in {owner}, which owns {table}{more}; only a table's owner can make a \
             trigger fire always: {advice}"
        )))
    }

    async fn role(&self) -> Result<String, DbError> {
        sqlx::query_scalar("SELECT quote_ident(current_user)").fetch_one(&self.pool).await.attempted(DOING)
    }

    /// Which of these rights are missing. Looked up in the catalogue, which needs none.
    async fn missing(&self, needed: &[Right]) -> Result<Vec<Missing>, DbError> {
        fn each<'a, T>(needed: &'a [Right], of: impl FnMut(&'a Right) -> T) -> Vec<T> {
            needed.iter().map(of).collect()
        }
        sqlx::query_as(
            r#"SELECT wanted.schema, wanted.name, wanted."column", wanted.privilege
                 FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) WITH ORDINALITY
                   AS wanted (schema, name, "column", privilege, position)
                 JOIN pg_namespace AS n ON n.nspname = wanted.schema
                 JOIN pg_class AS c ON c.relnamespace = n.oid AND c.relname = wanted.name
                 LEFT JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = wanted."column" AND NOT a.attisdropped
                WHERE NOT CASE WHEN c.relkind = 'S' THEN has_sequence_privilege(c.oid, wanted.privilege)
                               WHEN wanted."column" IS NULL THEN has_table_privilege(c.oid, wanted.privilege)
                               WHEN a.attnum IS NULL THEN true
                               ELSE has_column_privilege(c.oid, a.attnum, wanted.privilege) END
                ORDER BY position"#,
        )
        .bind(each(needed, |right| right.schema.as_str()))
        .bind(each(needed, |right| right.name.as_str()))
        .bind(each(needed, |right| right.column.as_deref()))
        .bind(each(needed, |right| right.privilege))
        .fetch_all(&self.pool)
        .await
        .attempted(DOING)
    }

    /// The same for schemas, and for the function that makes partitions.
    async fn missing_outside_tables(&self, schemas: &[&str]) -> Result<Vec<Missing>, DbError> {
        sqlx::query_as(
            r#"SELECT nspname::text AS schema, NULL::text AS name, NULL::text AS "column", 'USAGE' AS privilege
                 FROM pg_namespace WHERE nspname = ANY($1) AND NOT has_schema_privilege(oid, 'USAGE')
               UNION ALL
               SELECT nspname::text, proname || '()', NULL, 'EXECUTE'
                 FROM pg_proc JOIN pg_namespace AS n ON n.oid = pronamespace
                WHERE nspname = $2 AND $2 = ANY($1) AND proname = 'make_partitions'
                  AND NOT has_function_privilege(pg_proc.oid, 'EXECUTE')"#,
        )
        .bind(schemas)
        .bind(SCHEMA)
        .fetch_all(&self.pool)
        .await
        .attempted(DOING)
    }

    /// The columns of foreign keys that point at rows which we may delete, in whatever schema.
    async fn referring(&self, catalog: &Catalog) -> Result<Vec<Right>, DbError> {
        let sql: Arc<str> = format!(
            "SELECT n.nspname::text, c.relname::text, a.attname::text
               FROM pg_constraint AS k
               JOIN pg_class AS c ON c.oid = k.conrelid
               JOIN pg_namespace AS n ON n.oid = c.relnamespace
               JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = ANY(k.conkey)
               JOIN pg_class AS target ON target.oid = k.confrelid AND target.relname = ANY($2)
               JOIN pg_namespace AS space ON space.oid = target.relnamespace AND space.nspname = $1
              WHERE k.contype = 'f' AND k.conparentid = 0 AND NOT {IS_OF_RIGHTS} ORDER BY 1, 2, 3"
        )
        .into();
        let weak: Vec<_> = weak_tables(catalog).map(|file| file.table.name.as_str()).collect();
        let asked = sqlx::query_as(built(&sql)).bind(&catalog.schema).bind(weak);
        let rows: Vec<(String, String, String)> = asked.fetch_all(&self.pool).await.attempted(DOING)?;
        Ok(rows
            .iter()
            .map(|(schema, name, column)| Right::of_column(schema, name, column, "SELECT"))
            .collect())
    }
}

impl Right {
    fn on(schema: &str, name: &str, privilege: &'static str) -> Self {
        Self { schema: schema.to_owned(), name: name.to_owned(), column: None, privilege }
    }

    fn of_column(schema: &str, name: &str, column: &str, privilege: &'static str) -> Self {
        Self { column: Some(column.to_owned()), ..Self::on(schema, name, privilege) }
    }
}

/// The rights on tables of files, of records and of links.
fn of_the_crm(catalog: &Catalog, deletes: bool) -> Vec<Right> {
    let schema = catalog.schema.as_str();
    let mut needed = Vec::new();
    for file in &catalog.file_tables {
        let columns = columns_of(file, deletes);
        let select = |column: &str| Right::of_column(schema, &file.table.name, column, "SELECT");
        needed.extend(columns.into_iter().map(select));
    }
    for record in catalog.record_tables.iter().filter_map(|record| record.parts.first()) {
        needed.push(Right::of_column(&record.schema, &record.name, "Id", "SELECT"));
    }
    if catalog.file_link.is_some() {
        let columns = ["Id", "RecordSchemaName", "RecordId", "FileSchemaName", "FileRecordId"];
        needed.extend(columns.map(|column| Right::of_column(schema, FILE_LINK, column, "SELECT")));
    }
    if deletes {
        let links = catalog.file_link.is_some().then_some(FILE_LINK);
        for table in weak_tables(catalog).map(|file| file.table.name.as_str()).chain(links) {
            needed.push(Right::on(schema, table, "DELETE"));
            // To lock rows; nothing is updated.
            needed.push(Right::of_column(schema, table, "Id", "UPDATE"));
        }
    }
    needed
}

/// The rights on the tables that the configuration lists, and on those of their records.
fn of_listed_tables(catalog: &Catalog, deletes: bool) -> Vec<Right> {
    let mut needed = Vec::new();
    for table in catalog.mapped().into_iter().flat_map(|mapped| &mapped.tables) {
        let TableName { schema, name } = &table.table;
        let dangles = deletes && table.is_weak();
        let read: BTreeSet<&str> = if dangles {
            table.columns.iter().map(String::as_str).collect()
        } else {
            table.read_columns().map(|column| column.name.as_str()).collect()
        };
        needed.extend(read.into_iter().map(|column| Right::of_column(schema, name, column, "SELECT")));
        if dangles {
            needed.push(Right::on(schema, name, "DELETE"));
            // To lock rows; nothing is updated.
            needed.push(Right::of_column(schema, name, &table.id.name, "UPDATE"));
        }
    }
    for record in catalog.mapped().into_iter().flat_map(|mapped| &mapped.records) {
        let TableName { schema, name } = &record.parts[0];
        needed.push(Right::of_column(schema, name, &record.id.name, "SELECT"));
    }
    needed
}

/// The columns of a table of files that are read. Never its content.
fn columns_of(file: &FileTable, deletes: bool) -> BTreeSet<&str> {
    if file.weak && deletes {
        return file.columns.iter().map(String::as_str).chain(["tableoid"]).collect();
    }
    let read = ["Id", "TypeId", "SysFileStorageId", "Size", "CreatedOn", "RecordSchemaName", "RecordId"];
    let parent = file.parent.as_ref().map(|link| link.column.as_str());
    let there = |column: &&str| file.columns.iter().any(|known| known == column);
    read.into_iter().chain(parent).filter(there).chain(["tableoid"]).collect()
}

/// The tables that triggers are on.
fn captured_tables(catalog: &Catalog) -> Vec<TableName> {
    let mapped = catalog.mapped();
    let listed = mapped.into_iter().flat_map(|mapped| &mapped.tables).flat_map(|table| &table.parts);
    let named = mapped.into_iter().flat_map(|mapped| &mapped.records).flat_map(|record| &record.parts);
    let files = catalog.file_tables.iter().filter(|file| file.tells_storage).flat_map(|file| &file.parts);
    let records = catalog.record_tables.iter().flat_map(|record| &record.parts);
    let links = catalog.file_link.iter().flatten();
    files.chain(records).chain(links).chain(listed).chain(named).cloned().collect()
}

/// `SELECT ("Id", "Size") on public."ContactFile", DELETE on …`
fn told(missing: &[Missing]) -> String {
    let mut by_object = BTreeMap::<(String, &str), Vec<String>>::new();
    for lacks in missing {
        let object = match &lacks.name {
            None => format!("schema {}", quote_identifier(&lacks.schema)),
            Some(name) if name.ends_with("()") => format!("function {}.{name}", lacks.schema),
            Some(name) => format!("{}.{}", lacks.schema, quote_identifier(name)),
        };
        let columns = by_object.entry((object, lacks.privilege.as_str())).or_default();
        columns.extend(lacks.column.as_deref().map(quote_identifier));
    }
    let more = by_object.len().saturating_sub(TOLD);
    let first = by_object.iter().take(TOLD).map(|((object, privilege), columns)| {
        let more = columns.len().saturating_sub(TOLD);
        let named = columns[..columns.len() - more].join(", ");
        let columns = match (columns.is_empty(), more) {
            (true, _) => String::new(),
            (false, 0) => format!(" ({named})"),
            (false, more) => format!(" ({named} and {more} more)"),
        };
        format!("{privilege}{columns} on {object}")
    });
    let first = first.collect::<Vec<_>>().join(", ");
    if more == 0 { first } else { format!("{first} and {more} more") }
}

/// In place of an error about a missing right: which one it is, where that can be told.
pub(super) async fn explained(
    error: DbError,
    lacking: impl Future<Output = Result<Option<String>, DbError>>,
) -> DbError {
    if !error.is_denied() {
        return error;
    }
    match lacking.await {
        Ok(Some(why)) => error.because(Problem::NotReady(why)),
        Ok(None) | Err(_) => error,
    }
}

#[cfg(test)]
mod tests;

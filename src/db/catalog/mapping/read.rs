//! The questions to PostgreSQL's own catalogue, each one statement, in one snapshot.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sqlx::{Postgres, Transaction};

use super::DOING;
use crate::config::{Crm, FileTable, RecordLink};
use crate::db::Db;
use crate::db::catalog::mapped::{Column, ColumnKind};
use crate::db::catalog::{Asks, Named, fingerprint_expression};
use crate::db::error::{Attempted, DbError, Problem};
use crate::db::sql::{TableName, built, quote_identifier};

/// Most distinct record tables that rows may name.
const MAX_NAMED: i64 = 10_000;

type Tx = Transaction<'static, Postgres>;

/// A column as the database has it.
#[derive(Clone, Debug)]
pub(super) struct ColumnFound {
    pub(super) column: Column,
    pub(super) type_name: String,
    pub(super) never_null: bool,
    pub(super) is_bytes: bool,
    /// Its text depends on no setting of a session.
    pub(super) is_comparable: bool,
}

/// A foreign key of one column.
#[derive(Clone, Debug)]
pub(super) struct ForeignKey {
    pub(super) table: String,
    pub(super) column: String,
    /// Where it leads.
    pub(super) target: TableName,
    pub(super) target_column: String,
    /// That column is the primary key there.
    pub(super) is_primary: bool,
    /// It holds for every row, also for those that were there before it.
    pub(super) is_validated: bool,
}

/// What the database has.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// By table and name.
    pub(super) columns: BTreeMap<String, BTreeMap<String, ColumnFound>>,
    /// The primary key of every table where it is one column.
    pub(super) keys: BTreeMap<String, Column>,
    /// Those of one column, of the listed tables.
    pub(super) foreign_keys: Vec<ForeignKey>,
    /// The first column of each index, by table; `None` is an expression.
    pub(super) indexes: BTreeMap<String, BTreeSet<Option<String>>>,
    /// Tables without any index.
    pub(super) bare: BTreeSet<String>,
    parts: BTreeMap<String, Vec<TableName>>,
}

/// All of it.
pub(super) struct Scan {
    pub(super) fingerprint: String,
    pub(super) found: Found,
    /// Words by which rows name a table of records.
    pub(super) models: BTreeSet<String>,
}

impl Found {
    /// The table itself first, then its partitions and heirs.
    pub(super) fn parts(&self, schema: &str, table: &str) -> Vec<TableName> {
        let root = TableName { schema: schema.to_owned(), name: table.to_owned() };
        std::iter::once(root).chain(self.parts.get(table).into_iter().flatten().cloned()).collect()
    }
}

pub(super) async fn scan(
    db: &Db,
    crm: &Crm,
    tables: &[FileTable],
    named: Named<'_>,
) -> Result<Scan, DbError> {
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
    let mut tx = db.pool.begin_with(begin).await.attempted(DOING)?;
    let encoding: String = sqlx::query_scalar("SELECT current_setting('server_encoding')")
        .fetch_one(&mut *tx)
        .await
        .attempted(DOING)?;
    if encoding != "UTF8" {
        let why = format!("the database's encoding is {encoding}, and keys can be compared in UTF8 only");
        return Err(DbError::new(DOING, Problem::NotReady(why)));
    }
    let listed: Vec<String> = tables.iter().map(|table| table.table.clone()).collect();
    let sql: Arc<str> = format!("SELECT {}", fingerprint_expression(crm)).into();
    let fingerprint = sqlx::query_scalar(built(&sql)).fetch_one(&mut *tx).await.attempted(DOING)?;
    let found = Found {
        columns: columns(&mut tx, crm, &listed).await?,
        keys: keys(&mut tx, crm).await?,
        foreign_keys: foreign_keys(&mut tx, crm, &listed).await?,
        indexes: indexes(&mut tx, crm, &listed).await?,
        bare: super::super::without_index(&mut tx, &crm.schema).await?,
        parts: super::super::parts(&mut tx, &crm.schema).await?,
    };
    let models = match named {
        Named::Skip => BTreeSet::new(),
        Named::As(known) => match &known.asks {
            Asks::Mapping(known) => known.records.iter().map(|record| record.schema.to_string()).collect(),
            Asks::Creatio | Asks::Nothing => BTreeSet::new(),
        },
        Named::Ask => models(&mut tx, crm, tables, &found).await?,
    };
    tx.rollback().await.attempted(DOING)?;
    Ok(Scan { fingerprint, found, models })
}

async fn columns(
    tx: &mut Tx,
    crm: &Crm,
    tables: &[String],
) -> Result<BTreeMap<String, BTreeMap<String, ColumnFound>>, DbError> {
    let rows: Vec<(String, String, String, bool, bool)> = sqlx::query_as(
        "SELECT c.relname::text, a.attname::text, coalesce(base.typname, t.typname)::text, a.attnotnull,
                t.typtype = 'e'
           FROM pg_class AS c
           JOIN pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = $1
           JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
           JOIN pg_type AS t ON t.oid = a.atttypid
           LEFT JOIN pg_type AS base ON base.oid = t.typbasetype
          WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relname = ANY($2::name[])",
    )
    .bind(&crm.schema)
    .bind(tables)
    .fetch_all(&mut **tx)
    .await
    .attempted(DOING)?;
    let mut columns = BTreeMap::<String, BTreeMap<String, ColumnFound>>::new();
    for (table, name, type_name, never_null, is_enum) in rows {
        let kind = ColumnKind::of(&type_name);
        let found = ColumnFound {
            is_bytes: type_name == "bytea",
            is_comparable: is_enum || kind != ColumnKind::Other || type_name == "bool",
            column: Column { name: name.clone(), kind },
            type_name,
            never_null,
        };
        columns.entry(table).or_default().insert(name, found);
    }
    Ok(columns)
}

async fn keys(tx: &mut Tx, crm: &Crm) -> Result<BTreeMap<String, Column>, DbError> {
    let rows: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT c.relname::text, a.attname::text, coalesce(base.typname, t.typname)::text
           FROM pg_constraint AS k
           JOIN pg_class AS c ON c.oid = k.conrelid AND c.relkind IN ('r', 'p') AND NOT c.relispartition
           JOIN pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = $1
           JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = k.conkey[1]
           JOIN pg_type AS t ON t.oid = a.atttypid
           LEFT JOIN pg_type AS base ON base.oid = t.typbasetype
          WHERE k.contype = 'p' AND cardinality(k.conkey) = 1",
    )
    .bind(&crm.schema)
    .fetch_all(&mut **tx)
    .await
    .attempted(DOING)?;
    let column = |(table, name, type_name): (String, String, String)| {
        let kind = ColumnKind::of(&type_name);
        (kind != ColumnKind::Other).then_some((table, Column { name, kind }))
    };
    Ok(rows.into_iter().filter_map(column).collect())
}

async fn foreign_keys(tx: &mut Tx, crm: &Crm, tables: &[String]) -> Result<Vec<ForeignKey>, DbError> {
    // One onto a partitioned table has a further constraint for each partition, with the first as its parent.
    let rows: Vec<(String, String, String, String, String, bool, bool)> = sqlx::query_as(
        "SELECT c.relname::text, a.attname::text, there.nspname::text, target.relname::text, named.attname::text,
                EXISTS (SELECT FROM pg_constraint AS p
                         WHERE p.conrelid = target.oid AND p.contype = 'p' AND p.conkey = k.confkey),
                k.convalidated
           FROM pg_constraint AS k
           JOIN pg_class AS c ON c.oid = k.conrelid AND c.relname = ANY($2::name[])
           JOIN pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = $1
           JOIN pg_class AS target ON target.oid = k.confrelid
           JOIN pg_namespace AS there ON there.oid = target.relnamespace
           JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = k.conkey[1]
           JOIN pg_attribute AS named ON named.attrelid = target.oid AND named.attnum = k.confkey[1]
          WHERE k.contype = 'f' AND k.conparentid = 0 AND cardinality(k.conkey) = 1
          ORDER BY k.conname",
    )
    .bind(&crm.schema)
    .bind(tables)
    .fetch_all(&mut **tx)
    .await
    .attempted(DOING)?;
    let foreign_key = |(table, column, schema, name, target_column, is_primary, is_validated)| ForeignKey {
        table,
        column,
        target: TableName { schema, name },
        target_column,
        is_primary,
        is_validated,
    };
    Ok(rows.into_iter().map(foreign_key).collect())
}

async fn indexes(
    tx: &mut Tx,
    crm: &Crm,
    tables: &[String],
) -> Result<BTreeMap<String, BTreeSet<Option<String>>>, DbError> {
    let rows: Vec<(String, Option<String>)> = sqlx::query_as(
        "SELECT c.relname::text, a.attname::text
           FROM pg_index AS i
           JOIN pg_class AS c ON c.oid = i.indrelid AND c.relname = ANY($2::name[])
           JOIN pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = $1
           LEFT JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
          WHERE i.indisvalid AND i.indpred IS NULL",
    )
    .bind(&crm.schema)
    .bind(tables)
    .fetch_all(&mut **tx)
    .await
    .attempted(DOING)?;
    let mut indexes = BTreeMap::<String, BTreeSet<Option<String>>>::new();
    for (table, column) in rows {
        indexes.entry(table).or_default().insert(column);
    }
    Ok(indexes)
}

/// The words by which rows name tables of records.
async fn models(
    tx: &mut Tx,
    crm: &Crm,
    tables: &[FileTable],
    found: &Found,
) -> Result<BTreeSet<String>, DbError> {
    let sources: Vec<String> = tables
        .iter()
        .filter_map(|table| match &table.record {
            Some(RecordLink::Weak { model, .. })
                if found.columns.get(&table.table).is_some_and(|columns| columns.contains_key(model)) =>
            {
                let name = TableName { schema: crm.schema.clone(), name: table.table.clone() };
                Some(format!(
                    "SELECT DISTINCT {}::text COLLATE \"C\" AS name FROM {}",
                    quote_identifier(model),
                    name.quoted()
                ))
            }
            _ => None,
        })
        .collect();
    if sources.is_empty() {
        return Ok(BTreeSet::new());
    }
    let sql: Arc<str> = format!(
        "SELECT DISTINCT name FROM ({}) AS named WHERE name <> '' LIMIT $1",
        sources.join(" UNION ALL ")
    )
    .into();
    let names: Vec<String> =
        sqlx::query_scalar(built(&sql)).bind(MAX_NAMED).fetch_all(&mut **tx).await.attempted(DOING)?;
    Ok(names.into_iter().collect())
}

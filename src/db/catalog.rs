//! The catalogue: which tables of the CRM hold files, which hold records, and which storages are ours.
//!
//! It is discovered in one snapshot, with a fingerprint that the alive check compares: a table made since
//! is noticed by the very question that would have missed it.

mod discover;
mod forgotten;
pub mod mapped;
mod mapping;
mod parent;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sqlx::{Postgres, Transaction};
use uuid::Uuid;

use super::Db;
use super::connections::{SEVERAL_WITHIN, within};
use super::error::{Attempted, DbError};
use super::sql::{MAX_IDENTIFIER, TableName, cut, quote_identifier, quote_literal};
use crate::config::{Crm, Profile};
use crate::file::SchemaName;

pub(super) use forgotten::forgotten;
pub use mapped::{Mapped, MappedTable};
pub use parent::{OnDelete, ParentLink};

/// Are the record tables wanted that only rows name: weak files, links, or a mapping's models?
#[derive(Clone, Copy)]
enum Named<'a> {
    Skip,
    Ask,
    /// As an earlier discovery found them: asking reads the whole of those tables.
    As(&'a Catalog),
}

/// How long a discovery may take that reads the whole of some tables.
const SCANNED_WITHIN: Duration = Duration::from_mins(10);
/// `"TypeId"` of a row that is a file, not a link.
pub(super) const FILE_TYPE: &str = "529bc2f8-0ee0-df11-971b-001d60e938c6";
/// The table by which one file appears on further records.
pub(super) const FILE_LINK: &str = "FileLink";

/// What the CRM's database looks like, as far as files go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catalog {
    /// What the tables and storages looked like; equal fingerprints mean an equal catalogue.
    pub fingerprint: String,
    /// The scalar expression that gives the fingerprint.
    pub(super) fingerprint_sql: String,
    /// Whose tables these are.
    pub asks: Asks,
    /// The PostgreSQL schema of the CRM's tables.
    pub schema: String,
    /// Codes of the storages that are ours.
    pub storage_codes: Vec<String>,
    /// Ids of the storages that are ours.
    pub storages: Vec<Uuid>,
    /// Every table of files.
    pub file_tables: Vec<FileTable>,
    /// Every table of records whose deletion matters.
    pub record_tables: Vec<RecordTable>,
    /// The table of links, with what it is made of; `None` where the CRM has none.
    pub file_link: Option<Vec<TableName>>,
    /// Every table that has an `"Id"` of type uuid (of a mapped application: every table that is listed, and every
    /// one with a primary key of one column): a record schema that is not among them is not known.
    pub tables: BTreeSet<String>,
    /// Where the CRM's list of lookups and the database's foreign keys differ, a sentence each.
    pub remarks: Vec<String>,
}

/// By which application's rules the database is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asks {
    /// Creatio: everything is in the other fields.
    Creatio,
    /// A mapped application: everything is in here, and the other fields name no table of files or records.
    Mapping(Mapped),
    /// There is no application in this database.
    Nothing,
}

/// A table of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileTable {
    /// The schema's (and table's) name.
    pub schema: SchemaName,
    /// The table.
    pub table: TableName,
    /// The table itself first, then its partitions and heirs: a deletion on one of those fires only its own
    /// triggers.
    pub parts: Vec<TableName>,
    /// Its rows name their record by `"RecordSchemaName"` and `"RecordId"`, without a foreign key.
    pub weak: bool,
    /// Its rows say what they are (`"TypeId"`) and where their content is (`"SysFileStorageId"`).
    pub tells_storage: bool,
    /// Its rows have a `"Size"`.
    pub sized: bool,
    /// The column that names the record.
    pub parent: Option<ParentLink>,
    /// Every column but `"Data"`.
    pub columns: Vec<String>,
}

/// A table of records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordTable {
    /// The schema's (and table's) name.
    pub schema: SchemaName,
    /// As [`FileTable::parts`].
    pub parts: Vec<TableName>,
}

impl Db {
    /// Discovers the tables. Record tables are sections and parents of files; those that are merely named
    /// by weak files and links are left out, because finding them reads the whole of those tables.
    ///
    /// # Errors
    /// [`NotReady`](super::error::Problem::NotReady) where a table that had files is left out, too: what is asked by this
    /// catalogue would not see its rows.
    pub async fn discover(&self, crm: &Crm) -> Result<Catalog, DbError> {
        let catalog = self.discovered(crm, Named::Skip, SEVERAL_WITHIN).await?;
        self.insist_on_all(catalog).await
    }

    /// As [`Db::discover`], whatever is left out, with every record table that a weak file or a link names: what the triggers
    /// must be on.
    pub async fn discover_all(&self, crm: &Crm) -> Result<Catalog, DbError> {
        self.discovered(crm, Named::Ask, SCANNED_WITHIN).await
    }

    /// As [`Db::discover_all`], with the record tables that `known` has, in place of reading which ones weak
    /// files and links name: from the catalogue only, so cheap enough for every few seconds.
    pub async fn discover_like(&self, crm: &Crm, known: &Catalog) -> Result<Catalog, DbError> {
        self.discovered(crm, Named::As(known), SEVERAL_WITHIN).await
    }

    async fn discovered(&self, crm: &Crm, named: Named<'_>, limit: Duration) -> Result<Catalog, DbError> {
        within(limit, "discovering the tables", async {
            match &crm.profile {
                Profile::Creatio => discover::creatio(self, crm, named).await,
                Profile::Mapping(tables) => mapping::mapping(self, crm, tables, named).await,
                Profile::Events => Ok(nothing(crm)),
            }
        })
        .await
    }
}

impl FileTable {
    /// The same without what a capture can do without: size and record.
    pub(super) fn plain(&self) -> Self {
        Self { sized: false, weak: false, parent: None, ..self.clone() }
    }
}

impl Catalog {
    /// Is there a table of this schema, with an id? Where there is no application in the database, every schema
    /// counts as known.
    pub fn knows(&self, schema: &SchemaName) -> bool {
        self.asks == Asks::Nothing || self.tables.contains(schema.as_str())
    }

    /// The mapped application, where it is one.
    pub fn mapped(&self) -> Option<&Mapped> {
        match &self.asks {
            Asks::Mapping(mapped) => Some(mapped),
            Asks::Creatio | Asks::Nothing => None,
        }
    }

    /// What an operator should do so that the questions stay cheap.
    pub fn hints(&self) -> Vec<String> {
        self.mapped().map(Mapped::hints).unwrap_or_default()
    }

    /// The table of a schema that is known to have one.
    pub(super) fn table(&self, schema: &SchemaName) -> Option<TableName> {
        let name = cut(schema.as_str(), MAX_IDENTIFIER);
        self.tables.contains(name).then(|| self.named(name))
    }

    /// A table of the CRM by its name.
    pub(super) fn named(&self, table: &str) -> TableName {
        TableName { schema: self.schema.clone(), name: table.to_owned() }
    }
}

/// The catalogue without any of the CRM's tables: where no application's database can be asked, and what a mapped one
/// begins with.
fn nothing(crm: &Crm) -> Catalog {
    Catalog {
        remarks: Vec::new(),
        fingerprint: NOTHING.to_owned(),
        fingerprint_sql: fingerprint_expression(crm),
        asks: Asks::Nothing,
        schema: crm.schema.clone(),
        storage_codes: Vec::new(),
        storages: Vec::new(),
        file_tables: Vec::new(),
        record_tables: Vec::new(),
        file_link: None,
        tables: BTreeSet::new(),
    }
}

/// The fingerprint of no tables at all.
const NOTHING: &str = "nothing";

/// A scalar expression whose value changes with the tables of the CRM, what is a part or heir of what, its schemas and its
/// storages; of a mapped application, with its tables and the columns of those that are listed. It reads rows' transaction
/// numbers, so that it needs no triggers and misses no change of a definition.
pub(super) fn fingerprint_expression(crm: &Crm) -> String {
    let table = |name: &str| format!("{}.{}", quote_identifier(&crm.schema), quote_identifier(name));
    // An heir that is taken off changes no row of a table's own.
    let tables = format!(
        "(SELECT concat_ws(':', count(*), max(c.oid::bigint), sum(c.xmin::text::bigint)) FROM pg_catalog.pg_class AS c
        WHERE c.relkind IN ('r', 'p') AND c.relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = {})),
      (SELECT concat_ws(':', count(*), sum(i.xmin::text::bigint)) FROM pg_catalog.pg_inherits AS i)",
        quote_literal(&crm.schema),
    );
    match &crm.profile {
        Profile::Creatio => format!(
            r#"concat_ws(' ',
      {tables},
      (SELECT concat_ws(':', count(*), sum(s.xmin::text::bigint)) FROM {} AS s),
      (SELECT md5(string_agg(concat_ws(':', s."Id", s."Code"), ',' ORDER BY s."Id")) FROM {} AS s))"#,
            table("SysSchema"),
            table("SysFileContentStorage"),
        ),
        Profile::Mapping(listed) => {
            let names: Vec<String> = listed.iter().map(|listed| quote_literal(&listed.table)).collect();
            format!(
                "concat_ws(' ',
      {tables},
      (SELECT concat_ws(':', count(*), sum(a.xmin::text::bigint)) FROM pg_catalog.pg_attribute AS a
         JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid
        WHERE a.attnum > 0 AND c.relname = ANY(ARRAY[{}]::name[])
          AND c.relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = {})))",
                names.join(", "),
                quote_literal(&crm.schema),
            )
        }
        Profile::Events => format!("{}::text", quote_literal(NOTHING)),
    }
}

/// Tables without any index. A restore loads rows first and makes indexes afterwards: such a table may still lack rows
/// that are alive.
async fn without_index(
    tx: &mut Transaction<'static, Postgres>,
    schema: &str,
) -> Result<BTreeSet<String>, DbError> {
    if crate::failpoint::removed("protection::restore_under_way") {
        return Ok(BTreeSet::new());
    }
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT c.relname::text FROM pg_class AS c
           JOIN pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = $1
          WHERE c.relkind = 'r' AND NOT c.relispartition
            AND NOT EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = c.oid)",
    )
    .bind(schema)
    .fetch_all(&mut **tx)
    .await
    .attempted("looking for tables without an index")?;
    Ok(names.into_iter().collect())
}

/// Partitions and heirs, at every depth, by the name of their root. One that is being detached is none any more for who
/// asks its root.
async fn parts(
    tx: &mut Transaction<'static, Postgres>,
    schema: &str,
) -> Result<BTreeMap<String, Vec<TableName>>, DbError> {
    let rows: Vec<(String, String, String)> = sqlx::query_as(
        "WITH RECURSIVE below AS (
           SELECT inhparent AS root, inhrelid AS part FROM pg_inherits WHERE NOT inhdetachpending
           UNION
           SELECT below.root, i.inhrelid
             FROM below JOIN pg_inherits AS i ON i.inhparent = below.part AND NOT i.inhdetachpending)
         SELECT root.relname::text, space.nspname::text, part.relname::text
           FROM below
           JOIN pg_class AS root ON root.oid = below.root AND root.relkind IN ('r', 'p')
           JOIN pg_namespace AS n ON n.oid = root.relnamespace AND n.nspname = $1
           JOIN pg_class AS part ON part.oid = below.part AND part.relkind IN ('r', 'p')
           JOIN pg_namespace AS space ON space.oid = part.relnamespace
          ORDER BY 1, 2, 3",
    )
    .bind(schema)
    .fetch_all(&mut **tx)
    .await
    .attempted("reading partitions and heirs")?;
    let mut parts = BTreeMap::<String, Vec<TableName>>::new();
    for (root, schema, name) in rows {
        parts.entry(root).or_default().push(TableName { schema, name });
    }
    Ok(parts)
}

//! The catalogue: which tables of the CRM hold files, which hold records, and which storages are ours.
//!
//! It is discovered in one snapshot, with a fingerprint that the alive check compares: a table made since
//! is noticed by the very question that would have missed it.

mod discover;
mod parent;

use std::collections::BTreeSet;

use uuid::Uuid;

use super::Db;
use super::error::{DbError, Problem};
use super::sql::{MAX_IDENTIFIER, TableName, cut, quote_identifier, quote_literal};
use crate::config::{Crm, Profile};
use crate::file::SchemaName;

pub use parent::{OnDelete, ParentLink};

/// `"TypeId"` of a row that is a file, not a link.
pub(super) const FILE_TYPE: &str = "529bc2f8-0ee0-df11-971b-001d60e938c6";
/// The table by which one file appears on further records.
pub(super) const FILE_LINK: &str = "FileLink";

/// What the CRM's database looks like, as far as files go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catalog {
    /// What the tables and storages looked like; equal fingerprints mean an equal catalogue.
    pub fingerprint: String,
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
    /// Every table that has an `"Id"` of type uuid: a record schema that is not among them is not known.
    pub tables: BTreeSet<String>,
    /// Where the CRM's list of lookups and the database's foreign keys differ, a sentence each.
    pub remarks: Vec<String>,
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
    pub async fn discover(&self, crm: &Crm) -> Result<Catalog, DbError> {
        match &crm.profile {
            Profile::Creatio => discover::creatio(self, crm, discover::Named::Skip).await,
            Profile::Mapping(_) => Err(unsupported("crm.profile = \"mapping\"")),
            Profile::Events => Err(unsupported("asking the database with crm.profile = \"events\"")),
        }
    }

    /// As [`Db::discover`], with every record table that a weak file or a link names: what the triggers
    /// must be on.
    pub async fn discover_all(&self, crm: &Crm) -> Result<Catalog, DbError> {
        match &crm.profile {
            Profile::Creatio => discover::creatio(self, crm, discover::Named::Ask).await,
            Profile::Mapping(_) => Err(unsupported("crm.profile = \"mapping\"")),
            Profile::Events => Err(unsupported("capturing with crm.profile = \"events\"")),
        }
    }

    /// As [`Db::discover_all`], with the record tables that `known` has, in place of reading which ones weak
    /// files and links name: from the catalogue only, so cheap enough for every few seconds.
    pub async fn discover_like(&self, crm: &Crm, known: &Catalog) -> Result<Catalog, DbError> {
        match &crm.profile {
            Profile::Creatio => discover::creatio(self, crm, discover::Named::As(known)).await,
            Profile::Mapping(_) => Err(unsupported("crm.profile = \"mapping\"")),
            Profile::Events => Err(unsupported("capturing with crm.profile = \"events\"")),
        }
    }
}

impl FileTable {
    /// The same without what a capture can do without: size and record.
    pub(super) fn plain(&self) -> Self {
        Self { sized: false, weak: false, parent: None, ..self.clone() }
    }
}

impl Catalog {
    /// Is there a table of this schema, with an id?
    pub fn knows(&self, schema: &SchemaName) -> bool {
        self.tables.contains(schema.as_str())
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

/// A scalar expression whose value changes with the tables of the CRM, its schemas and its storages. It
/// reads rows' transaction numbers, so that it needs no triggers and misses no change of a definition.
pub(super) fn fingerprint_expression(schema: &str) -> String {
    let table = |name: &str| format!("{}.{}", quote_identifier(schema), quote_identifier(name));
    format!(
        r#"concat_ws(' ',
      (SELECT concat_ws(':', count(*), max(c.oid::bigint), sum(c.xmin::text::bigint)) FROM pg_catalog.pg_class AS c
        WHERE c.relkind IN ('r', 'p') AND c.relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = {})),
      (SELECT concat_ws(':', count(*), sum(s.xmin::text::bigint)) FROM {} AS s),
      (SELECT md5(string_agg(concat_ws(':', s."Id", s."Code"), ',' ORDER BY s."Id")) FROM {} AS s))"#,
        quote_literal(schema),
        table("SysSchema"),
        table("SysFileContentStorage"),
    )
}

fn unsupported(what: &'static str) -> DbError {
    DbError::new("discovering the CRM's tables", Problem::Unsupported(what))
}

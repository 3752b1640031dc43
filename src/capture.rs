//! What the triggers captured: one row of the outbox, as the relay reads it.

use time::OffsetDateTime;

use crate::file::{FileId, ObjectKey, RecordId, SchemaName};

/// One outbox row: what one statement deleted from one table, at most 1,000 ids of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured {
    /// The row's id: ascending by capture, not by commit.
    pub row: i64,
    /// The capturing transaction (PostgreSQL's 64-bit id).
    pub transaction: u64,
    /// When the statement captured it.
    pub at: OffsetDateTime,
    /// What was deleted.
    pub what: What,
}

/// What was deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Rows of a record table.
    Records {
        /// The table's schema name.
        schema: SchemaName,
        /// The records.
        ids: Vec<RecordId>,
    },
    /// Rows of a file table, or files that lost a link.
    Files {
        /// The files' schema name.
        schema: SchemaName,
        /// The files.
        files: Vec<CapturedFile>,
    },
}

/// One captured file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapturedFile {
    /// The file's id.
    pub id: FileId,
    /// Its size in bytes, where the row tells.
    pub size: Option<u64>,
    /// Its key, where a mapping reads it from the row.
    pub key: Option<ObjectKey>,
    /// The record that it belonged to, where the row tells.
    pub parent: Option<(SchemaName, RecordId)>,
}

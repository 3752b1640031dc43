//! Catalogue in, triggers out: pure. Each trigger has a function of its own, which does one
//! `INSERT … SELECT` from the transition table and nothing else.

use md5::{Digest, Md5};

use super::mapped;
use crate::config::OnCaptureError;
use crate::db::catalog::{Catalog, FILE_TYPE, FileTable, RecordTable};
use crate::db::schema::SCHEMA;
use crate::db::sql::{MAX_IDENTIFIER, TableName, cut, hex, quote_body, quote_identifier, quote_literal};

/// Most ids in one outbox row.
pub(super) const CHUNK: u32 = 1_000;
/// What an `INSERT` fails with when a column that it reads was dropped, renamed or made another type.
const CHANGED_COLUMN: &str = "undefined_column OR datatype_mismatch OR cannot_coerce OR data_exception";
/// A statement that deleted nothing has nothing to wait for, and nothing to lose.
const UNLESS_EMPTY: &str = "  IF NOT EXISTS (SELECT FROM gone) THEN
    RETURN NULL;
  END IF;
";
/// The bit of a truncate trigger in `pg_trigger.tgtype`.
const TRUNCATE: i16 = 32;
/// The transition table of what a statement removed.
pub(super) const GONE: &str = "gone";

/// One trigger with its function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capture {
    /// The table that it is on.
    pub table: TableName,
    /// What it captures.
    pub kind: Kind,
    /// The function's name in our schema.
    pub function: String,
    /// The function's body.
    pub body: String,
    /// How long the function may wait for a lock.
    lock_timeout: &'static str,
}

/// What a trigger captures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Deleted files.
    FilesDelete,
    /// A truncated table of files.
    FilesTruncate,
    /// Rows of a mapped table that name another object now.
    FilesUpdate,
    /// Deleted records.
    RecordsDelete,
    /// A truncated table of records.
    RecordsTruncate,
    /// Deleted links.
    LinksDelete,
    /// Links that name another file or record now.
    LinksUpdate,
    /// All links truncated.
    LinksTruncate,
}

impl Kind {
    /// The trigger's name; it is the same on every table.
    pub const fn trigger(self) -> &'static str {
        match self {
            Self::FilesDelete => "file_recycler_files_delete",
            Self::FilesTruncate => "file_recycler_files_truncate",
            Self::FilesUpdate => "file_recycler_files_update",
            Self::RecordsDelete => "file_recycler_records_delete",
            Self::RecordsTruncate => "file_recycler_records_truncate",
            Self::LinksDelete => "file_recycler_links_delete",
            Self::LinksUpdate => "file_recycler_links_update",
            Self::LinksTruncate => "file_recycler_links_truncate",
        }
    }

    /// `AFTER DELETE REFERENCING …` and so on.
    const fn timing(self) -> (&'static str, &'static str) {
        match self {
            Self::FilesDelete | Self::RecordsDelete | Self::LinksDelete => {
                ("AFTER DELETE", "REFERENCING OLD TABLE AS gone ")
            }
            Self::FilesUpdate | Self::LinksUpdate => {
                ("AFTER UPDATE", "REFERENCING OLD TABLE AS gone NEW TABLE AS kept ")
            }
            // Afterwards there is nothing left to read.
            Self::FilesTruncate | Self::RecordsTruncate | Self::LinksTruncate => ("BEFORE TRUNCATE", ""),
        }
    }

    /// `pg_trigger.tgtype`: BEFORE is 2, DELETE 8, UPDATE 16, TRUNCATE 32; per statement adds nothing.
    pub(super) const fn catalog_type(self) -> i16 {
        match self {
            Self::FilesDelete | Self::RecordsDelete | Self::LinksDelete => 8,
            Self::FilesUpdate | Self::LinksUpdate => 16,
            Self::FilesTruncate | Self::RecordsTruncate | Self::LinksTruncate => 34,
        }
    }
}

/// Every trigger that a catalogue needs.
pub fn captures(catalog: &Catalog, policy: OnCaptureError) -> Vec<Capture> {
    let files = catalog.file_tables.iter().filter(|file| file.tells_storage).flat_map(|file| {
        file.parts.iter().flat_map(move |part| {
            [(Kind::FilesDelete, GONE.to_owned()), (Kind::FilesTruncate, only(part))].map(|(kind, source)| {
                let plain = files(catalog, &file.plain(), &source);
                capture(part, kind, policy, &files(catalog, file, &source), Some(&plain))
            })
        })
    });
    let records = catalog.record_tables.iter().flat_map(|record| {
        record.parts.iter().flat_map(move |part| {
            [
                capture(part, Kind::RecordsDelete, policy, &records(record, GONE), None),
                capture(part, Kind::RecordsTruncate, policy, &records(record, &only(part)), None),
            ]
        })
    });
    let links = catalog.file_link.iter().flatten().flat_map(|part| {
        [
            capture(part, Kind::LinksDelete, policy, &links(GONE), None),
            capture(part, Kind::LinksUpdate, policy, &links(CHANGED), None),
            capture(part, Kind::LinksTruncate, policy, &links(&only(part)), None),
        ]
    });
    files.chain(records).chain(links).chain(mapped::captures(catalog, policy)).collect()
}

impl Capture {
    /// Function and trigger, replaced where they are there. The trigger fires for sessions with
    /// `session_replication_role = replica` too: their deletions are as real as any.
    pub fn sql(&self) -> String {
        let (when, tables) = self.kind.timing();
        let function = format!("{SCHEMA}.{}()", quote_identifier(&self.function));
        let (table, trigger) = (self.table.quoted(), self.kind.trigger());
        let settings = self.settings().map(|(key, value)| format!("SET {key} = {value}")).join(" ");
        format!(
            "CREATE OR REPLACE FUNCTION {function} RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER {settings}\n\
             AS {body};\n\
             REVOKE ALL ON FUNCTION {function} FROM PUBLIC;\n\
             CREATE OR REPLACE TRIGGER {trigger} {when} ON {table} {tables}FOR EACH STATEMENT EXECUTE FUNCTION {function};\n\
             ALTER TABLE {table} ENABLE ALWAYS TRIGGER {trigger};",
            body = quote_body(&self.body),
        )
    }

    /// What the function is set to while it runs.
    fn settings(&self) -> [(&'static str, &'static str); 3] {
        [("search_path", "pg_catalog, pg_temp"), ("row_security", "off"), ("lock_timeout", self.lock_timeout)]
    }

    /// The settings as `pg_proc.proconfig` has them.
    pub(super) fn configuration(&self) -> Vec<String> {
        self.settings().iter().map(|(key, value)| format!("{key}={}", value.trim_matches('\''))).collect()
    }
}

/// `plain` is what is inserted where the CRM has meanwhile dropped or changed a column that `insert` reads: the
/// deletion is captured all the same, with less beside it, until the trigger is repaired.
pub(super) fn capture(
    table: &TableName,
    kind: Kind,
    policy: OnCaptureError,
    insert: &str,
    plain: Option<&str>,
) -> Capture {
    let begin = if kind.catalog_type() & TRUNCATE == 0 { UNLESS_EMPTY } else { "" };
    let (body, lock_timeout) = match policy {
        OnCaptureError::Skip => (skipping(begin, insert, plain), "'100ms'"),
        OnCaptureError::Fail => (failing(begin, insert, plain), "'5s'"),
    };
    Capture { table: table.clone(), kind, function: function_name(table, kind), body, lock_timeout }
}

/// Errors of ours are the CRM's, but for a column that it changed itself.
fn failing(begin: &str, insert: &str, plain: Option<&str>) -> String {
    let otherwise = plain.map_or_else(String::new, |plain| {
        format!("EXCEPTION WHEN {CHANGED_COLUMN} THEN\n{plain}\n  RETURN NULL;\n")
    });
    format!("\nBEGIN\n{begin}{insert}\n  RETURN NULL;\n{otherwise}END\n")
}

/// No error of ours reaches the CRM; it is counted in a sequence, which survives a rollback. After the first
/// lock that was not to be had, the transaction waits no more: ten thousand deletions wait once.
fn skipping(begin: &str, insert: &str, plain: Option<&str>) -> String {
    let counted = format!(
        "  BEGIN
    PERFORM set_config('file_recycler.impatient', 'on', true);
    PERFORM nextval('{SCHEMA}.capture_failures');
    RAISE LOG 'file_recycler: a deletion from % was not captured: % (SQLSTATE %)', TG_RELID::regclass, SQLERRM, SQLSTATE;
  EXCEPTION WHEN OTHERS THEN
    NULL;
  END;
  RETURN NULL;
"
    );
    let otherwise = plain.map_or_else(String::new, |plain| {
        format!("WHEN {CHANGED_COLUMN} THEN\n  BEGIN\n{plain}\n  RETURN NULL;\n  EXCEPTION WHEN OTHERS THEN\n{counted}  END;\n")
    });
    format!(
        "
BEGIN
{begin}  IF current_setting('file_recycler.impatient', true) = 'on' THEN
    PERFORM set_config('lock_timeout', '1ms', true);
  END IF;
{insert}
  RETURN NULL;
EXCEPTION {otherwise}WHEN OTHERS THEN
{counted}END
"
    )
}

/// Readable, unique, and never longer than an identifier may be.
pub(in crate::db) fn function_name(table: &TableName, kind: Kind) -> String {
    let hash = Md5::digest(format!("{}\n{}\n{}", table.schema, table.name, kind.trigger()));
    let hash = hex(&hash[..5]);
    let prefix = kind.trigger().trim_start_matches("file_recycler_");
    let room = MAX_IDENTIFIER - prefix.len() - hash.len() - 2;
    format!("{prefix}_{}_{hash}", cut(&table.name, room))
}

/// A table itself, without its partitions and heirs, which have triggers of their own.
pub(super) fn only(table: &TableName) -> String {
    format!("ONLY {}", table.quoted())
}

/// Deleted files whose content is in S3. The storages are looked up when a file is deleted, so that one which
/// the CRM adds later counts at once.
fn files(catalog: &Catalog, file: &FileTable, source: &str) -> String {
    let schema = quote_literal(file.schema.as_str());
    let (size, sizes) =
        if file.sized { (", \"Size\"", "array_agg(\"Size\"::bigint)") } else { ("", "NULL::bigint[]") };
    let (parent, parents) = match &file.parent {
        _ if file.weak => (
            r#", "RecordSchemaName", "RecordId""#.to_owned(),
            r#"NULL, array_agg("RecordSchemaName"::text), array_agg("RecordId")"#.to_owned(),
        ),
        Some(link) => {
            let (schema, column) = (quote_literal(link.schema.as_str()), quote_identifier(&link.column));
            (format!(", {column}"), format!("{schema}, NULL::text[], array_agg({column})"))
        }
        None => (String::new(), "NULL, NULL::text[], NULL::uuid[]".to_owned()),
    };
    let codes: Vec<String> = catalog.storage_codes.iter().map(|code| quote_literal(code)).collect();
    format!(
        r#"  INSERT INTO {SCHEMA}.outbox (kind, schema, n, ids, parent_schema, parent_schemas, parents, sizes)
  SELECT 'files', {schema}, count(*), array_agg("Id"), {parents}, {sizes}
    FROM (SELECT "Id"{size}{parent}, row_number() OVER () - 1 AS position FROM {source}
           WHERE "TypeId" = {file_type}
             AND "SysFileStorageId" IN (SELECT "Id" FROM {storages} WHERE "Code" IN ({codes}))) AS file
   GROUP BY position / {CHUNK};"#,
        file_type = quote_literal(FILE_TYPE),
        storages = catalog.named("SysFileContentStorage").quoted(),
        codes = if codes.is_empty() { "NULL".to_owned() } else { codes.join(", ") },
    )
}

/// Every deleted record: weak links may hang on it.
fn records(record: &RecordTable, source: &str) -> String {
    format!(
        r#"  INSERT INTO {SCHEMA}.outbox (kind, schema, n, ids)
  SELECT 'records', {}, count(*), array_agg("Id")
    FROM (SELECT "Id", row_number() OVER () - 1 AS position FROM {source}) AS record
   GROUP BY position / {CHUNK};"#,
        quote_literal(record.schema.as_str()),
    )
}

/// Links that do not name the same file for the same record any more.
const CHANGED: &str = r#"gone LEFT JOIN kept USING ("Id")
           WHERE (gone."FileRecordId", gone."RecordSchemaName", gone."RecordId")
                 IS DISTINCT FROM (kept."FileRecordId", kept."RecordSchemaName", kept."RecordId")"#;

/// Files that lost a link. One that names no file is none; one that names no schema means the file all the same.
fn links(source: &str) -> String {
    let gone = if source == CHANGED { "gone." } else { "" };
    format!(
        r#"  INSERT INTO {SCHEMA}.outbox (kind, schema, n, ids)
  SELECT 'files', schema, count(*), array_agg(id)
    FROM (SELECT coalesce({gone}"FileSchemaName"::text, '') AS schema, {gone}"FileRecordId" AS id,
                 row_number() OVER (PARTITION BY {gone}"FileSchemaName") - 1 AS position
            FROM {source}) AS link
   WHERE id IS NOT NULL
   GROUP BY schema, position / {CHUNK};"#,
    )
}

#[cfg(test)]
mod tests;

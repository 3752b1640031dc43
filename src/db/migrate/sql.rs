//! The statements of a migration for one table.

use std::sync::Arc;
use std::time::Duration;

use sqlx::Postgres;
use sqlx::postgres::PgArguments;
use sqlx::query::QueryAs;
use time::PrimitiveDateTime;
use uuid::Uuid;

use super::{Content, Direction, Migration};
use crate::db::catalog::{FILE_TYPE, FileTable};
use crate::db::sql::{quote_identifier, quote_literal};
use crate::failpoint;
use crate::file::SchemaName;

/// Rows of a page.
pub const PAGE: usize = 1_000;
/// How long a row must have been as it is before its content goes, where nobody says from when on: an upload in pieces changes it
/// more often.
pub const STILL: Duration = Duration::from_secs(15);

/// One table's statements.
#[derive(Clone, Debug)]
pub(super) struct Statements {
    /// `$1` the id with which it begins, `$2` the storages of ours, `$3` the database's, `$4` a record's id, `$5` a
    /// moment, `$6` a size.
    pub(super) page: Arc<str>,
    /// The same binds.
    pub(super) count: Arc<str>,
    /// The same binds, `$7` ids: those of them that say that their content is in the database, where it is.
    pub(super) left: Arc<str>,
    /// `$1` ids, `$2` versions, `$3` a storage: is each still the same, does it name this storage, and has it no content?
    pub(super) now: Arc<str>,
    /// `$1` ids, `$2` versions: whole contents.
    pub(super) contents: Arc<str>,
    /// `$1` ids, `$2` versions: their MD5s.
    pub(super) digests: Arc<str>,
    /// `$1` id, `$2` version, `$3` first byte from 1 on, `$4` length, `$5` length of a step: a piece, in steps.
    pub(super) piece: Arc<str>,
    /// The same binds without the step: the MD5 of a piece.
    pub(super) piece_digest: Arc<str>,
    /// `$1` ids, `$2` versions, `$3` the new storage.
    pub(super) to_storage: Arc<str>,
    /// `$1` ids, `$2` versions.
    pub(super) clear: Arc<str>,
    /// `$1` ids, `$2` versions, `$3` the new storage, `$4` contents, `$5` their MD5s.
    pub(super) to_database: Arc<str>,
    /// The table, and that a row is still the version `want.version`.
    pub(super) table: String,
    pub(super) same: String,
}

impl Statements {
    pub(super) fn new(
        file: &FileTable,
        direction: Direction,
        content: Option<&Content>,
        record: Option<&SchemaName>,
    ) -> Self {
        let table = file.table.quoted();
        let size = if file.sized { r#"item."Size"::bigint"# } else { "NULL::bigint" };
        let length = r#"octet_length(item."Data")::bigint"#;
        let stored = r#"pg_column_size(item."Data")::bigint"#;
        let bytes = if direction == Direction::ToDatabase { size } else { length };
        let modified = content.is_some_and(|content| content.modified);
        let left = condition(file, left(), record, modified, length);
        let condition = condition(file, meant(direction), record, modified, bytes);
        let fresh = fresh(modified);
        let read = format!(
            r#"SELECT item."Id" AS id, item.xmin::text AS version, {size} AS size, {length} AS length, {stored} AS stored,
       {fresh} AS is_fresh
  FROM {table} AS item WHERE item."Id" >= $1"#
        );
        let same = version_is("want.version");
        let plain = format!(
            r#"FROM {table} AS item JOIN unnest($1::uuid[], $2::text[]) AS want(id, version) ON item."Id" = want.id AND {same}"#
        );
        let one = format!(r#"FROM {table} AS item WHERE item."Id" = $1 AND {}"#, version_is("$2"));
        let empty = if content.is_some_and(|content| content.required) { r"''::bytea" } else { "NULL" };
        Self {
            page: format!(r#"{read} AND {condition} ORDER BY item."Id" LIMIT {PAGE}"#).into(),
            count: format!(
                r#"SELECT count(*) AS files, coalesce(sum({bytes}), 0)::bigint AS bytes,
       coalesce(sum({stored}), 0)::bigint AS stored FROM {table} AS item WHERE item."Id" >= $1 AND {condition}"#
            )
            .into(),
            left: format!(r#"{read} AND item."Id" = ANY($7) AND {left}"#).into(),
            now: format!(
                r#"SELECT item."Id" AS id, item.xmin::text = want.version AS is_same,
       coalesce(item."SysFileStorageId" = $3, false) AS is_there, coalesce(octet_length(item."Data"), 0) = 0 AS is_empty
  FROM {table} AS item JOIN unnest($1::uuid[], $2::text[]) AS want(id, version) ON item."Id" = want.id"#
            )
            .into(),
            contents: format!(r#"SELECT item."Id", item."Data" {plain}"#).into(),
            digests: format!(r#"SELECT item."Id", md5(item."Data") {plain}"#).into(),
            piece: format!(
                r#"SELECT at, substring(item."Data" FROM at FOR least($5, $3 + $4 - at))
  FROM (SELECT item."Data" {one}) AS item, generate_series($3, $3 + $4 - 1, $5) AS steps(at)"#
            )
            .into(),
            piece_digest: format!(
                r#"SELECT md5(substring(item."Data" FROM $3 FOR $4)) {one}"#
            )
            .into(),
            to_storage: switch(&table, r#""SysFileStorageId" = $3"#, &plain, ""),
            clear: switch(&table, &format!(r#""Data" = {empty}"#), &plain, ""),
            to_database: switch(
                &table,
                r#""SysFileStorageId" = $3, "Data" = same.data"#,
                // What comes in is compared with its digest once more, before the row has it.
                &format!(
                    r#"FROM {table} AS item
    JOIN unnest($1::uuid[], $2::text[], $4::bytea[], $5::text[]) AS want(id, version, data, digest)
      ON item."Id" = want.id AND {same} AND md5(want.data) = want.digest
     AND {}"#,
                    of_its_own(r#"md5(item."Data") = want.digest"#)
                ),
                ", want.data",
            ),
            table,
            same,
        }
    }
}

/// Changes the rows that are still what was read. Who edits a row right now has it locked: it is left to the next run.
fn switch(table: &str, set: &str, from: &str, with: &str) -> Arc<str> {
    format!(
        r#"WITH same AS (
  SELECT item.tableoid AS part, item.ctid AS place{with}
    {from}
     FOR NO KEY UPDATE OF item SKIP LOCKED)
UPDATE {table} AS item SET {set} FROM same WHERE item.tableoid = same.part AND item.ctid = same.place
RETURNING item."Id""#
    )
    .into()
}

/// The row has no content of its own, or the very one that comes: nothing says that another one is older.
fn of_its_own(digest: &str) -> String {
    if failpoint::removed("protection::content_of_its_own") {
        return "true".to_owned();
    }
    format!(r#"(coalesce(octet_length(item."Data"), 0) = 0 OR {digest})"#)
}

/// The pieces of this temporary table, put together, into the row. It tells how many bytes the row has then: nothing where the
/// pieces are not what was sent. `$1` ids, `$2` versions, `$3` the new storage, `$4` the SHA-256 of all pieces.
pub(super) fn arrived(statements: &Statements, pieces: &str) -> Arc<str> {
    let Statements { table, same, .. } = statements;
    // By a column of `want`, not by `$4`: a condition on the row alone would be asked of each row that is looked at.
    let own = of_its_own(r#"sha256(item."Data") = want.digest"#);
    let proven =
        if failpoint::removed("protection::digest_of_pieces") { "$4 = $4" } else { "sha256(data) = $4" };
    // A subquery by itself: it is asked once, and what it says is nowhere kept beside the row.
    format!(
        r#"WITH same AS (
  SELECT item.tableoid AS part, item.ctid AS place
    FROM {table} AS item JOIN unnest($1::uuid[], $2::text[], ARRAY[$4::bytea]) AS want(id, version, digest)
      ON item."Id" = want.id AND {same} AND {own}
     FOR NO KEY UPDATE OF item SKIP LOCKED)
UPDATE {table} AS item SET "SysFileStorageId" = $3, "Data" = (
       SELECT CASE WHEN {proven} THEN data END FROM (
         SELECT string_agg(piece, ''::bytea) AS data FROM (SELECT piece FROM {pieces} ORDER BY number) AS ordered) AS whole)
  FROM same WHERE item.tableoid = same.part AND item.ctid = same.place
RETURNING octet_length(item."Data")"#
    )
    .into()
}

fn version_is(what: &str) -> String {
    if failpoint::removed("protection::version_of_row") {
        format!("{what} IS NOT NULL")
    } else {
        format!("item.xmin::text = {what}")
    }
}

/// Those of the ids `$1` of which a row has another storage than none and `$2`.
pub(super) fn other_storage(files: &[FileTable]) -> Arc<str> {
    let none = "SELECT NULL::uuid WHERE $1::uuid[] IS NULL AND $2::uuid IS NULL".to_owned();
    let tables = files.iter().filter(|file| file.tells_storage).map(|file| {
        format!(
            r#"SELECT "Id" FROM {} WHERE "Id" = ANY($1) AND "SysFileStorageId" IS NOT NULL
   AND ($2 IS NULL OR "SysFileStorageId" <> $2)"#,
            file.table.quoted()
        )
    });
    std::iter::once(none).chain(tables).collect::<Vec<_>>().join("\n    UNION ALL ").into()
}

/// Has the id `$1` rows in several tables?
pub(super) fn several(files: &[FileTable]) -> Arc<str> {
    let rows =
        files.iter().map(|file| format!(r#"SELECT "Id" FROM {} WHERE "Id" = $1"#, file.table.quoted()));
    format!("SELECT count(*) > 1 FROM (\n    {}) AS item", rows.collect::<Vec<_>>().join("\n    UNION ALL "))
        .into()
}

/// Does the table say of its rows that they are this schema's records'?
pub(super) fn names(file: &FileTable, record: &SchemaName) -> bool {
    file.weak || file.parent.as_ref().is_some_and(|link| link.schema == *record)
}

/// Rows in the database. One without a storage is (what the CRM did before it knew any other).
const IN_DATABASE: &str =
    r#"(item."SysFileStorageId" IS NULL OR item."SysFileStorageId" = $3) AND $2::uuid[] IS NOT NULL"#;
/// Rows in S3.
const IN_S3: &str = r#"item."SysFileStorageId" = ANY($2) AND ($3::uuid IS NULL OR true)"#;

/// Rows in the database with their content: there is something to compare with.
fn left() -> String {
    format!(r#"{IN_DATABASE} AND item."Data" IS NOT NULL"#)
}

/// Rows whose contents go this way.
fn meant(direction: Direction) -> String {
    match direction {
        Direction::ToStorage => IN_DATABASE.to_owned(),
        Direction::Reclaim => format!(r#"{IN_S3} AND octet_length(item."Data") > 0"#),
        Direction::ToDatabase => IN_S3.to_owned(),
    }
}

/// A row that was changed within [`STILL`], or that does not say when; the CRM keeps UTC.
fn fresh(modified: bool) -> String {
    if !modified {
        return "true".to_owned();
    }
    let still = STILL.as_secs();
    format!(
        r#"coalesce(item."ModifiedOn" > timezone('UTC', clock_timestamp()) - interval '{still} seconds', true)"#
    )
}

fn condition(
    file: &FileTable,
    meant: String,
    record: Option<&SchemaName>,
    modified: bool,
    measured: &str,
) -> String {
    let mut all = vec![format!(r#"item."TypeId" = {}::uuid"#, quote_literal(FILE_TYPE)), meant];
    all.push(match (record, file.parent.as_ref()) {
        (Some(schema), _) if file.weak => format!(
            r#"item."RecordSchemaName" = {} AND item."RecordId" = $4"#,
            quote_literal(schema.as_str())
        ),
        (Some(_), Some(link)) => format!("item.{} = $4", quote_identifier(&link.column)),
        // Without a column for it, no table of a record's is asked.
        (None, _) | (Some(_), None) => "$4::uuid IS NULL".to_owned(),
    });
    all.push(if modified {
        r#"($5::timestamp IS NULL OR item."ModifiedOn" IS NULL OR item."ModifiedOn" < $5)"#.to_owned()
    } else {
        "$5::timestamp IS NULL".to_owned()
    });
    all.push(format!("($6::bigint IS NULL OR {measured} > $6)"));
    all.join("\n   AND ")
}

type Query<'q, T> = QueryAs<'q, Postgres, T, PgArguments>;

impl Migration {
    /// Binds what pages and counts ask by.
    pub(super) fn bind<'q, T>(&'q self, query: Query<'q, T>, begin: Uuid) -> Query<'q, T> {
        let moment = self.filter.modified_before.map(|moment| {
            let moment = moment.to_offset(time::UtcOffset::UTC);
            PrimitiveDateTime::new(moment.date(), moment.time())
        });
        query
            .bind(begin)
            .bind(&self.storages)
            .bind(self.database)
            .bind(self.filter.record.as_ref().map(|(_, id)| *id))
            .bind(moment)
            .bind(self.filter.larger_than.map(|size| i64::try_from(size).unwrap_or(i64::MAX)))
    }
}

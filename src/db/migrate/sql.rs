//! The statements of a migration for one table.

use std::sync::Arc;

use sqlx::Postgres;
use sqlx::postgres::PgArguments;
use sqlx::query::QueryAs;
use time::PrimitiveDateTime;
use uuid::Uuid;

use super::{Direction, Migration};
use crate::db::catalog::{FILE_TYPE, FileTable};
use crate::db::sql::{quote_identifier, quote_literal};
use crate::failpoint;
use crate::file::SchemaName;

/// Rows of a page.
pub const PAGE: usize = 1_000;

/// One table's statements.
#[derive(Clone, Debug)]
pub(super) struct Statements {
    /// `$1` the id with which it begins, `$2` the storages of ours, `$3` the database's, `$4` a record's id, `$5` a
    /// moment, `$6` a size.
    pub(super) page: Arc<str>,
    /// The same binds.
    pub(super) count: Arc<str>,
    /// `$1` ids, `$2` versions, `$3` a storage: is each still the same, and does it name this storage?
    pub(super) now: Arc<str>,
    /// `$1` ids, `$2` versions: whole contents.
    pub(super) contents: Arc<str>,
    /// `$1` ids, `$2` versions: their MD5s.
    pub(super) digests: Arc<str>,
    /// `$1` id, `$2` version, `$3` first byte from 1 on, `$4` length: a piece.
    pub(super) piece: Arc<str>,
    /// The same binds: the MD5 of a piece.
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
        required: bool,
        record: Option<&SchemaName>,
    ) -> Self {
        let table = file.table.quoted();
        let size = if file.sized { r#"item."Size"::bigint"# } else { "NULL::bigint" };
        let length = r#"octet_length(item."Data")::bigint"#;
        let stored = r#"pg_column_size(item."Data")::bigint"#;
        let condition = condition(
            file,
            direction,
            record,
            if direction == Direction::ToDatabase { size } else { length },
        );
        let bytes = if direction == Direction::ToDatabase { size } else { length };
        let same = version_is("want.version");
        let plain = format!(
            r#"FROM {table} AS item JOIN unnest($1::uuid[], $2::text[]) AS want(id, version) ON item."Id" = want.id AND {same}"#
        );
        let one = format!(r#"FROM {table} AS item WHERE item."Id" = $1 AND {}"#, version_is("$2"));
        let empty = if required { r"''::bytea" } else { "NULL" };
        Self {
            page: format!(
                r#"SELECT item."Id" AS id, item.xmin::text AS version, {size} AS size, {length} AS length, {stored} AS stored
  FROM {table} AS item WHERE item."Id" >= $1 AND {condition} ORDER BY item."Id" LIMIT {PAGE}"#
            )
            .into(),
            count: format!(
                r#"SELECT count(*) AS files, coalesce(sum({bytes}), 0)::bigint AS bytes,
       coalesce(sum({stored}), 0)::bigint AS stored FROM {table} AS item WHERE item."Id" >= $1 AND {condition}"#
            )
            .into(),
now: format!(
                r#"SELECT item."Id", item.xmin::text = want.version, coalesce(item."SysFileStorageId" = $3, false)
  FROM {table} AS item JOIN unnest($1::uuid[], $2::text[]) AS want(id, version) ON item."Id" = want.id"#
            )
            .into(),
            contents: format!(r#"SELECT item."Id", item."Data" {plain}"#).into(),
            digests: format!(r#"SELECT item."Id", md5(item."Data") {plain}"#).into(),
            piece: format!(
                r#"SELECT substring(item."Data" FROM $3 FOR $4) {one}"#
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
                    of_its_own("want.digest")
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
    format!(r#"(coalesce(octet_length(item."Data"), 0) = 0 OR md5(item."Data") = {digest})"#)
}

/// The pieces of this temporary table, put together, into the row; only if all of them are there. `$1` ids, `$2`
/// versions, `$3` the new storage, `$4` how many pieces there are, `$5` how many bytes, `$6` the MD5 of them all.
pub(super) fn arrived(statements: &Statements, pieces: &str) -> Arc<str> {
    let Statements { table, same, .. } = statements;
    let own = of_its_own("$6");
    format!(
        r#"WITH same AS (
  SELECT item.tableoid AS part, item.ctid AS place
    FROM {table} AS item JOIN unnest($1::uuid[], $2::text[]) AS want(id, version) ON item."Id" = want.id AND {same}
   WHERE (SELECT count(DISTINCT number) = $4 AND count(*) = $4 AND sum(octet_length(piece)) = $5 FROM {pieces}) AND {own}
     FOR NO KEY UPDATE OF item SKIP LOCKED)
UPDATE {table} AS item SET "SysFileStorageId" = $3,
       "Data" = (SELECT string_agg(piece, ''::bytea ORDER BY number) FROM {pieces})
  FROM same WHERE item.tableoid = same.part AND item.ctid = same.place
RETURNING item."Id""#
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

/// Has a row with the id `$1` another storage than none and `$2`?
pub(super) fn other_storage(files: &[FileTable]) -> Arc<str> {
    let tables = files.iter().filter(|file| file.tells_storage).map(|file| {
        format!(
            r#"EXISTS (SELECT FROM {} WHERE "Id" = $1 AND "SysFileStorageId" IS DISTINCT FROM $2
                 AND "SysFileStorageId" IS NOT NULL)"#,
            file.table.quoted()
        )
    });
    let tables: Vec<String> = tables.collect();
    let any = if tables.is_empty() { "false".to_owned() } else { tables.join("\n    OR ") };
    format!("SELECT $1::uuid IS NULL OR $2::uuid IS NULL OR {any}").into()
}

/// Does the table say of its rows that they are this schema's records'?
pub(super) fn names(file: &FileTable, record: &SchemaName) -> bool {
    file.weak || file.parent.as_ref().is_some_and(|link| link.schema == *record)
}

fn condition(file: &FileTable, direction: Direction, record: Option<&SchemaName>, measured: &str) -> String {
    let ours = r#"item."SysFileStorageId" = ANY($2)"#;
    // A row without a storage is the database's (what the CRM did before it knew any other).
    let database = r#"(item."SysFileStorageId" IS NULL OR item."SysFileStorageId" = $3)"#;
    let mut all = vec![format!(r#"item."TypeId" = {}::uuid"#, quote_literal(FILE_TYPE))];
    all.push(match direction {
        Direction::ToStorage => format!("{database} AND $2::uuid[] IS NOT NULL"),
        Direction::Reclaim => {
            format!(r#"{ours} AND octet_length(item."Data") > 0 AND ($3::uuid IS NULL OR true)"#)
        }
        Direction::ToDatabase => format!("{ours} AND ($3::uuid IS NULL OR true)"),
    });
    all.push(match (record, file.parent.as_ref()) {
        (Some(schema), _) if file.weak => format!(
            r#"item."RecordSchemaName" = {} AND item."RecordId" = $4"#,
            quote_literal(schema.as_str())
        ),
        (Some(_), Some(link)) => format!("item.{} = $4", quote_identifier(&link.column)),
        // Without a column for it, no table of a record's is asked.
        (None, _) | (Some(_), None) => "$4::uuid IS NULL".to_owned(),
    });
    let modified = file.columns.iter().any(|column| column == "ModifiedOn");
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

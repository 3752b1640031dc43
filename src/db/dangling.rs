//! Rows that hang on a record which is gone: weakly linked files, and links. Nothing in the CRM deletes
//! them, so they are deleted here, and our own triggers capture that like any other deletion.
//!
//! A row goes only when its record is absent, its content is in S3, no link of another record names it and no
//! foreign key from elsewhere points at it, but for the CRM's record rights; all of that holds in the statement that deletes it. The row's
//! image (less its content) is kept, and the transaction commits only if the triggers captured every row of
//! it: otherwise its object would be forgotten.

mod page;

use std::sync::Arc;

use super::Db;
use super::catalog::{Asks, Catalog, FILE_LINK, FileTable, Mapped, MappedTable};
use super::conditions::{Conditions, every_row, sees_every_row};
use super::error::{Attempted, Class, DbError, Problem};
use super::held;
use super::sql::{TableName, built, quote_literal};
use crate::file::{RecordId, SchemaName};
pub(super) use page::IS_OF_RIGHTS;
use page::Page;
use sqlx::{Postgres, Transaction};

/// Most rows of one table in one transaction.
const PAGE: i64 = 1_000;
const DOING: &str = "deleting rows of a deleted record";

type Tx = Transaction<'static, Postgres>;

/// Which record, and what may be done about it.
#[derive(Clone, Copy, Debug)]
pub struct DeletedRecord<'a> {
    /// The record's schema.
    pub schema: &'a SchemaName,
    /// The record.
    pub id: &'a RecordId,
    /// The event that says so: it is noted with each image.
    pub event_id: &'a str,
    /// Our triggers captured the deletion (or the event's producer is trusted as much), and
    /// `crm.dangling_rows` is `delete`. Otherwise rows are counted only.
    pub may_delete: bool,
}

/// What was found and done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DanglingReport {
    /// The record is there (or its table is not known and the deletion was not captured): nothing was done.
    pub record_exists: bool,
    /// Rows of weak tables that were deleted, with their image kept.
    pub deleted: u64,
    /// Links of the record that were deleted, with their image kept.
    pub links_deleted: u64,
    /// Rows that could have been deleted, but may not.
    pub left_reported: u64,
    /// Rows whose content is not in S3: the database is its only place.
    pub left_elsewhere: u64,
    /// Rows that a link of another record names.
    pub left_linked: u64,
    /// Rows that a foreign key points at, or that the CRM's own rules keep.
    pub left_referenced: u64,
    /// There is more to delete: ask again.
    pub more: bool,
}

impl DanglingReport {
    /// Rows that are left, for whatever reason.
    pub fn left(&self) -> u64 {
        self.left_reported + self.left_elsewhere + self.left_linked + self.left_referenced
    }
}

impl Db {
    /// Deletes one page of what hangs on the record, or only counts it; ask again while `more`. An id that is
    /// no UUID names no row here.
    pub async fn dangling(
        &self,
        catalog: &Catalog,
        record: DeletedRecord<'_>,
    ) -> Result<DanglingReport, DbError> {
        let mut report = DanglingReport::default();
        let uuid = record.id.as_uuid();
        let id = match (&catalog.asks, uuid) {
            (Asks::Creatio, Some(id)) => id.to_string(),
            (Asks::Mapping(_), _) => record.id.to_string(),
            (Asks::Creatio, None) | (Asks::Nothing, _) => return Ok(report),
        };
        let found = self.look(catalog, record, &id).await?;
        every_row(found.sees_every_row, DOING)?;
        if found.record_exists || !found.anything {
            // The usual end: nothing hangs on most records, and one statement says so.
            report.record_exists = found.record_exists;
            return Ok(report);
        }
        let mut tx = self.pool.begin().await.attempted(DOING)?;
        if record.may_delete && is_paused(&mut tx).await? {
            return Err(DbError::new(DOING, Problem::Paused));
        }
        let first = last_outbox_id(&mut tx).await?;
        let mut refused = Vec::new();
        if record.may_delete && catalog.file_link.is_some() {
            let done = Page::links(catalog, record.schema).delete(&mut tx, record, &id, &mut refused).await?;
            report.links_deleted = done.deleted;
            report.more |= done.more;
        }
        let mut pages = Vec::new();
        for page in Page::all(&mut tx, catalog, record).await? {
            if record.may_delete {
                let done = page.delete(&mut tx, record, &id, &mut refused).await?;
                report.deleted += done.deleted;
                report.more |= done.more;
            }
            pages.push(page);
        }
        crate::failpoint::reach("dangling::deleted");
        insist_on_catalogue(&mut tx, catalog).await?;
        insist_on_capture(&mut tx, first, report.deleted + report.links_deleted).await?;
        if !report.more {
            for page in pages {
                page.count(&mut tx, record, &id, &refused, &mut report).await?;
            }
            // A mapped application has no links that could keep a row.
            if let Some(id) = uuid.filter(|_| record.may_delete && catalog.asks == Asks::Creatio) {
                report.more = held::settle(&mut tx, record, id, &report).await?;
            }
        }
        tx.commit().await.attempted(DOING)?;
        Ok(report)
    }

    /// Is the record there, and does anything hang on it? One statement, outside any transaction: whoever
    /// deletes afterwards asks again.
    async fn look(&self, catalog: &Catalog, record: DeletedRecord<'_>, id: &str) -> Result<Found, DbError> {
        // A table that we do not know counts as holding it, unless it is gone and the deletion was captured.
        let exists = exists(catalog, record.schema)
            .unwrap_or_else(|| format!("({} OR {})", !record.may_delete, is_there(catalog, record.schema)));
        let link = catalog.file_link.as_ref().map(|_| catalog.named(FILE_LINK));
        let hangs: Vec<String> = weak_tables(catalog)
            .map(|file| file.table.clone())
            .chain(link)
            .map(|table| {
                let table = table.quoted();
                format!(
                    r#"EXISTS (SELECT FROM {table} WHERE "RecordSchemaName" = $1 AND "RecordId" = $2::uuid)"#
                )
            })
            .chain(catalog.mapped().into_iter().flat_map(weak_mapped).filter_map(|table| {
                let hangs = hangs_on(table)?;
                Some(format!("EXISTS (SELECT FROM {} AS item WHERE {hangs})", table.table.quoted()))
            }))
            .collect();
        let hangs = if hangs.is_empty() { "false".to_owned() } else { hangs.join(" OR ") };
        let sees = sees_every_row(catalog);
        let sql =
            format!("SELECT {exists} AS record_exists, {hangs} AS anything, {sees} AS sees_every_row").into();
        sqlx::query_as(built(&sql))
            .bind(record.schema.as_str())
            .bind(id)
            .fetch_one(&self.pool)
            .await
            .attempted("looking for what hangs on a deleted record")
    }
}

#[derive(sqlx::FromRow)]
struct Found {
    record_exists: bool,
    anything: bool,
    sees_every_row: bool,
}

/// Tables whose rows can dangle, and can say what is in S3.
pub(super) fn weak_tables(catalog: &Catalog) -> impl Iterator<Item = &FileTable> {
    catalog.file_tables.iter().filter(|file| file.weak && file.tells_storage)
}

/// Listed tables whose rows can dangle.
fn weak_mapped(mapped: &Mapped) -> impl Iterator<Item = &MappedTable> {
    mapped.tables.iter().filter(|table| table.is_weak())
}

/// The row of a listed table hangs on the record; `$1` is its schema, `$2` its id as text.
fn hangs_on(table: &MappedTable) -> Option<String> {
    table.names_record("$1", "ARRAY[$2]::text[]")
}

/// The record with the id `$2` (as text) is there; nothing where its table is not known.
pub(super) fn exists(catalog: &Catalog, schema: &SchemaName) -> Option<String> {
    if let Asks::Mapping(mapped) = &catalog.asks {
        let column = mapped.keys.get(schema.as_str())?;
        let (table, is_it) = (catalog.named(schema.as_str()).quoted(), column.is_one_of("ARRAY[$2]::text[]"));
        return Some(format!("EXISTS (SELECT FROM {table} AS item WHERE {is_it})"));
    }
    let table = catalog.table(schema)?.quoted();
    Some(format!(r#"EXISTS (SELECT FROM {table} AS record WHERE record."Id" = $2::uuid)"#))
}

/// There is something of the schema's name, although we do not know how to ask it for a record: a table whose primary key
/// is away for a moment, or is not one column; a view.
fn is_there(catalog: &Catalog, schema: &SchemaName) -> String {
    format!("to_regclass({}) IS NOT NULL", quote_literal(&catalog.named(schema.as_str()).quoted()))
}

/// Asked in the deletion's own transaction: after a pause nothing is deleted, page by page.
async fn is_paused(tx: &mut Tx) -> Result<bool, DbError> {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM file_recycler.environment WHERE paused_at IS NOT NULL)")
        .fetch_one(&mut **tx)
        .await
        .attempted(DOING)
}

/// Are the tables still those that were asked? Links that moved to another table kept nothing here. What was asked is
/// locked until the end, so that one look after the last question is enough.
async fn insist_on_catalogue(tx: &mut Tx, catalog: &Catalog) -> Result<(), DbError> {
    let sql: Arc<str> = format!("SELECT {}", Conditions::asked(catalog)).into();
    let asked = sqlx::query_as::<_, Conditions>(built(&sql)).fetch_one(&mut **tx).await;
    asked.attempted(DOING)?.insist(catalog, DOING)
}

async fn last_outbox_id(tx: &mut Tx) -> Result<i64, DbError> {
    sqlx::query_scalar(
        "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM file_recycler.outbox_id_seq",
    )
    .fetch_one(&mut **tx)
    .await
    .attempted(DOING)
}

/// Did our triggers capture as much as we deleted? They may be missing, disabled, or have skipped it.
async fn insist_on_capture(tx: &mut Tx, first: i64, deleted: u64) -> Result<(), DbError> {
    if deleted == 0 {
        return Ok(());
    }
    let captured: i64 = sqlx::query_scalar(
        "SELECT coalesce(sum(n), 0)::bigint FROM file_recycler.outbox
          WHERE id > $1 AND transaction = pg_current_xact_id() AND kind = 'files'",
    )
    .bind(first)
    .fetch_one(&mut **tx)
    .await
    .attempted(DOING)?;
    if captured.unsigned_abs() >= deleted || crate::failpoint::removed("protection::captured_dangling") {
        return Ok(());
    }
    let why = format!(
        "the triggers captured {captured} of {deleted} deleted rows, so nothing was deleted; \
         file-recycler listener status says which are missing"
    );
    Err(DbError::new(DOING, Problem::Broken(why)))
}

//! One table's rows that hang on a record: the statements that lock, delete and count them, alike for the CRM's
//! tables and for mapped ones.

use std::sync::Arc;

use super::{Attempted, Catalog, Class, DOING, DanglingReport, DbError, DeletedRecord, FILE_LINK, PAGE};
use super::{TableName, Tx, built, exists, hangs_on, is_there, weak_mapped, weak_tables};
use crate::db::alive::in_s3;
use crate::db::catalog::{FileTable, MappedTable};
use crate::db::sql::{quote_identifier, quote_literal};
use crate::file::SchemaName;
use sqlx::{Acquire, FromRow};

/// The conditions under which rows of one table go. In all SQL here, `$1` is the record's schema, `$2` its id as
/// text, and `item` the row.
pub(super) struct Page {
    table: TableName,
    columns: Vec<String>,
    /// The column of the row's id.
    id: String,
    /// The row's id is one of `$3`, as text.
    is_one: String,
    /// The row names the record.
    hangs: String,
    /// The record is not there.
    absent: String,
    /// The row's content is in S3.
    in_s3: String,
    /// A link of another record names the row.
    linked: String,
    /// A foreign key points at the row.
    referenced: String,
}

/// The same of the CRM's tables.
const ID: &str = "Id";
const IS_ONE: &str = r#"item."Id" = ANY($3::uuid[])"#;
const HANGS: &str = r#"item."RecordSchemaName" = $1 AND item."RecordId" = $2::uuid"#;

/// What one page did.
#[derive(Default)]
pub(super) struct Done {
    pub(super) deleted: u64,
    pub(super) more: bool,
}

#[derive(FromRow)]
struct Counts {
    elsewhere: i64,
    linked: i64,
    referenced: i64,
    free: i64,
}

impl Page {
    /// Links of the record.
    pub(super) fn links(catalog: &Catalog, schema: &SchemaName) -> Self {
        let columns = ["Id", "RecordSchemaName", "RecordId", "FileSchemaName", "FileRecordId"];
        Self {
            table: catalog.named(FILE_LINK),
            columns: columns.map(str::to_owned).to_vec(),
            id: ID.to_owned(),
            is_one: IS_ONE.to_owned(),
            hangs: HANGS.to_owned(),
            absent: absent(catalog, schema),
            in_s3: "true".to_owned(),
            linked: "false".to_owned(),
            referenced: "false".to_owned(),
        }
    }

    /// All tables whose rows can hang on a record.
    pub(super) async fn all(
        tx: &mut Tx,
        catalog: &Catalog,
        record: DeletedRecord<'_>,
    ) -> Result<Vec<Self>, DbError> {
        let mut pages = Vec::new();
        for file in weak_tables(catalog) {
            pages.push(Self::files(tx, catalog, file, record).await?);
        }
        for table in catalog.mapped().into_iter().flat_map(weak_mapped) {
            pages.extend(Self::mapped(tx, catalog, table, record).await?);
        }
        Ok(pages)
    }

    /// Rows of a listed table. One without an object of ours is left: our triggers do not capture it, either.
    async fn mapped(
        tx: &mut Tx,
        catalog: &Catalog,
        table: &MappedTable,
        record: DeletedRecord<'_>,
    ) -> Result<Option<Self>, DbError> {
        let Some(hangs) = hangs_on(table) else { return Ok(None) };
        if record.may_delete {
            lock(tx, &table.table).await?;
        }
        Ok(Some(Self {
            table: table.table.clone(),
            columns: table.columns.clone(),
            id: table.id.name.clone(),
            is_one: table.id.is_one_of("$3"),
            hangs,
            absent: absent(catalog, record.schema),
            in_s3: table.holds(),
            linked: "false".to_owned(),
            referenced: referenced(tx, &table.table).await?,
        }))
    }

    /// Files that the record owns weakly. Foreign keys are read now; where rows may be deleted, under a lock that
    /// keeps new ones away until the transaction ends. Who only counts needs neither the lock nor the right to have it.
    async fn files(
        tx: &mut Tx,
        catalog: &Catalog,
        file: &FileTable,
        record: DeletedRecord<'_>,
    ) -> Result<Self, DbError> {
        if record.may_delete {
            lock(tx, &file.table).await?;
        }
        let linked = catalog.file_link.as_ref().map_or_else(
            || "false".to_owned(),
            |_| {
                format!(
                    r#"EXISTS (SELECT FROM {} AS link WHERE link."FileRecordId" = item."Id"
                          AND (link."RecordSchemaName" = $1 AND link."RecordId" = $2::uuid) IS NOT TRUE)"#,
                    catalog.named(FILE_LINK).quoted()
                )
            },
        );
        Ok(Self {
            table: file.table.clone(),
            columns: file.columns.clone(),
            id: ID.to_owned(),
            is_one: IS_ONE.to_owned(),
            hangs: HANGS.to_owned(),
            absent: absent(catalog, record.schema),
            in_s3: in_s3(file, &storages(catalog)),
            linked,
            referenced: referenced(tx, &file.table).await?,
        })
    }

    /// Deletes up to [`PAGE`] rows that nothing holds. Rows that the CRM's own rules keep are added to
    /// `refused`.
    pub(super) async fn delete(
        &self,
        tx: &mut Tx,
        record: DeletedRecord<'_>,
        id: &str,
        refused: &mut Vec<String>,
    ) -> Result<Done, DbError> {
        // Locked first: whoever is about to point a foreign key at a row waits for us, and whoever has done so
        // is seen by the next statement.
        let lock: Arc<str> = format!(
            "SELECT item.{row}::text FROM {table} AS item WHERE {} ORDER BY item.{row} LIMIT $3 FOR UPDATE OF item",
            self.free(),
            row = quote_identifier(&self.id),
            table = self.table.quoted(),
        )
        .into();
        let rows: Vec<String> = sqlx::query_scalar(built(&lock))
            .bind(record.schema.as_str())
            .bind(id)
            .bind(PAGE)
            .fetch_all(&mut **tx)
            .await
            .attempted(DOING)?;
        if rows.is_empty() {
            return Ok(Done::default());
        }
        let mut deleted = 0;
        match self.delete_rows(tx, record, id, &rows).await {
            Ok(count) => deleted += count,
            Err(error) if error.class() == Some(Class::Constraint) => {
                for row in &rows {
                    match self.delete_rows(tx, record, id, std::slice::from_ref(row)).await {
                        Ok(count) => deleted += count,
                        Err(error) if error.class() == Some(Class::Constraint) => refused.push(row.clone()),
                        Err(error) => return Err(error),
                    }
                }
            }
            Err(error) => return Err(error),
        }
        // A page of which nothing could go would come again for ever.
        Ok(Done { deleted, more: deleted > 0 && i64::try_from(rows.len()) == Ok(PAGE) })
    }

    /// Deletes rows under a savepoint, and keeps their images.
    async fn delete_rows(
        &self,
        tx: &mut Tx,
        record: DeletedRecord<'_>,
        id: &str,
        rows: &[String],
    ) -> Result<u64, DbError> {
        let columns: Vec<String> =
            self.columns.iter().map(|column| format!("item.{}", quote_identifier(column))).collect();
        let delete: Arc<str> = format!(
            r"WITH gone AS (DELETE FROM {table} AS item WHERE {is_one} AND {free} RETURNING {columns})
               INSERT INTO file_recycler.image (table_name, row_id, record_schema, record_id, event_id, row)
               SELECT {name}, gone.{row}::text, $1, $2::text, $4, to_jsonb(gone) FROM gone",
            is_one = self.is_one,
            row = quote_identifier(&self.id),
            table = self.table.quoted(),
            free = self.free(),
            columns = columns.join(", "),
            name = quote_literal(&self.table.name),
        )
        .into();
        let mut savepoint = tx.begin().await.attempted(DOING)?;
        let deleted = sqlx::query(built(&delete))
            .bind(record.schema.as_str())
            .bind(id)
            .bind(rows)
            .bind(record.event_id)
            .execute(&mut *savepoint)
            .await
            .attempted(DOING)?
            .rows_affected();
        savepoint.commit().await.attempted(DOING)?;
        Ok(deleted)
    }

    /// Counts what is left of the record's rows, by the reason.
    pub(super) async fn count(
        &self,
        tx: &mut Tx,
        record: DeletedRecord<'_>,
        id: &str,
        refused: &[String],
        report: &mut DanglingReport,
    ) -> Result<(), DbError> {
        let sql: Arc<str> = format!(
            r"SELECT count(*) FILTER (WHERE NOT s3) AS elsewhere,
                      count(*) FILTER (WHERE s3 AND linked) AS linked,
                      count(*) FILTER (WHERE s3 AND NOT linked AND referenced) AS referenced,
                      count(*) FILTER (WHERE s3 AND NOT linked AND NOT referenced) AS free
                 FROM (SELECT {in_s3} AS s3, {linked} AS linked, {referenced} OR {is_one} AS referenced
                         FROM {table} AS item
                        WHERE {hangs}) AS found",
            is_one = self.is_one,
            hangs = self.hangs,
            in_s3 = self.in_s3,
            linked = self.linked,
            referenced = self.referenced,
            table = self.table.quoted(),
        )
        .into();
        let counts: Counts = sqlx::query_as(built(&sql))
            .bind(record.schema.as_str())
            .bind(id)
            .bind(refused)
            .fetch_one(&mut **tx)
            .await
            .attempted(DOING)?;
        report.left_elsewhere += counts.elsewhere.unsigned_abs();
        report.left_linked += counts.linked.unsigned_abs();
        report.left_referenced += counts.referenced.unsigned_abs();
        report.left_reported += counts.free.unsigned_abs();
        Ok(())
    }

    /// The row hangs on the record, the record is gone, and nothing else holds the row.
    fn free(&self) -> String {
        format!(
            "{} AND {} AND {} AND NOT {} AND NOT {}",
            self.hangs, self.absent, self.in_s3, self.linked, self.referenced
        )
    }
}

/// The record is not there. Its table may not be, either: then it is gone with it. One that is there and cannot be asked
/// counts as holding it.
fn absent(catalog: &Catalog, schema: &SchemaName) -> String {
    if crate::failpoint::removed("protection::record_still_absent") {
        return "true".to_owned();
    }
    let there = exists(catalog, schema).unwrap_or_else(|| format!("({})", is_there(catalog, schema)));
    format!("NOT {there}")
}

/// Keeps new foreign keys away from the table until the transaction ends.
async fn lock(tx: &mut Tx, table: &TableName) -> Result<(), DbError> {
    let lock: Arc<str> = format!("LOCK TABLE {} IN ROW EXCLUSIVE MODE", table.quoted()).into();
    sqlx::query(built(&lock)).execute(&mut **tx).await.attempted(DOING)?;
    Ok(())
}

/// The ids of our storages as an array.
fn storages(catalog: &Catalog) -> String {
    let ids: Vec<String> = catalog.storages.iter().map(|id| quote_literal(&id.to_string())).collect();
    format!("ARRAY[{}]::uuid[]", ids.join(", "))
}

/// The foreign key `k` of the table `c` says who may do what with a row of ours: the CRM's record rights
/// (`Sys…Right`, a row for each user or role), which go with the row. Creatio keeps them where a schema is administrated by
/// records; any other table's key holds the row.
pub(in crate::db) const IS_OF_RIGHTS: &str = r"(k.confdeltype = 'c' AND c.relname ~ '^Sys.+Right$'
            AND ARRAY(SELECT a.attname::text FROM pg_attribute AS a
                       WHERE a.attrelid = k.conrelid AND a.attnum = ANY(k.conkey)) = ARRAY['RecordId']
            AND EXISTS (SELECT FROM pg_attribute AS a
                         WHERE a.attrelid = k.conrelid AND a.attname = 'SysAdminUnitId' AND NOT a.attisdropped))";

/// A foreign key of whatever table points at the row.
async fn referenced(tx: &mut Tx, table: &TableName) -> Result<String, DbError> {
    let sql: Arc<str> = format!(
        "SELECT n.nspname::text, c.relname::text,
                ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY AS key (number, position)
                        JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = key.number ORDER BY position),
                ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY AS key (number, position)
                        JOIN pg_attribute AS a ON a.attrelid = k.confrelid AND a.attnum = key.number ORDER BY position)
           FROM pg_constraint AS k
           JOIN pg_class AS c ON c.oid = k.conrelid
           JOIN pg_namespace AS n ON n.oid = c.relnamespace
           JOIN pg_class AS target ON target.oid = k.confrelid AND target.relname = $2
           JOIN pg_namespace AS space ON space.oid = target.relnamespace AND space.nspname = $1
          WHERE k.contype = 'f' AND k.conparentid = 0 AND NOT {IS_OF_RIGHTS}
          ORDER BY 1, 2, 3"
    )
    .into();
    let asked = sqlx::query_as(built(&sql)).bind(&table.schema).bind(&table.name);
    let keys: Vec<(String, String, Vec<String>, Vec<String>)> =
        asked.fetch_all(&mut **tx).await.attempted(DOING)?;
    let conditions: Vec<String> = keys
        .into_iter()
        .map(|(schema, name, columns, targets)| {
            let matches: Vec<String> = columns
                .iter()
                .zip(&targets)
                .map(|(column, target)| {
                    format!("other.{} = item.{}", quote_identifier(column), quote_identifier(target))
                })
                .collect();
            let from = TableName { schema, name }.quoted();
            format!("EXISTS (SELECT FROM {from} AS other WHERE {})", matches.join(" AND "))
        })
        .collect();
    Ok(if conditions.is_empty() { "false".to_owned() } else { format!("({})", conditions.join(" OR ")) })
}

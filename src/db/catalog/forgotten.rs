//! Tables that had files and are none of the catalogue's any more: renamed or moved to another schema before the
//! application's own catalogue says so, a partition that was detached, links under another name. What their rows name may be
//! alive, and nobody would ask them. They are known by our own triggers, which stay with a table whatever becomes of its name.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Asks, Catalog, FileTable};
use crate::db::Db;
use crate::db::error::{Attempted, DbError, Problem};
use crate::db::sql::{TableName, built};
use crate::db::triggers::{Kind, function_name};

impl Catalog {
    /// Every table that is asked whether a file is in use, partitions and heirs included.
    fn asked(&self) -> BTreeSet<&TableName> {
        let files = self.file_tables.iter().flat_map(|file| &file.parts);
        let links = self.file_link.iter().flatten();
        let mapped =
            self.mapped().into_iter().flat_map(|mapped| &mapped.tables).flat_map(|table| &table.parts);
        files.chain(links).chain(mapped).collect()
    }
}

/// Those of the tables with these triggers of ours that had files or links, and are not asked.
pub(in crate::db) fn forgotten(catalog: &Catalog, own: &[(TableName, String)]) -> Vec<TableName> {
    if catalog.asks == Asks::Nothing {
        return Vec::new();
    }
    let asked = catalog.asked();
    let of_files = |trigger: &str| {
        ["file_recycler_files_", "file_recycler_links_"].iter().any(|prefix| trigger.starts_with(prefix))
    };
    let tables = own.iter().filter(|(table, trigger)| of_files(trigger) && !asked.contains(table));
    let mut tables: Vec<TableName> = tables.map(|(table, _)| table.clone()).collect();
    tables.dedup();
    tables
}

impl Db {
    /// The tables that have our triggers for files or links, and are not asked.
    pub(in crate::db) async fn forgotten_tables(&self, catalog: &Catalog) -> Result<Vec<TableName>, DbError> {
        Ok(forgotten(catalog, &self.own_triggers().await?))
    }

    /// Was it a table of the CRM's files, and has the one that was made in its place every row of it? Which one that is, the
    /// function of its trigger says, which names the table that it was made for.
    pub(in crate::db) async fn is_set_aside(
        &self,
        catalog: &Catalog,
        table: &TableName,
    ) -> Result<bool, DbError> {
        const DOING: &str = "comparing a table that was kept aside";
        let functions: Vec<String> = sqlx::query_scalar(
            r"SELECT p.proname::text FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid
               WHERE t.tgrelid = to_regclass($1) AND NOT t.tgisinternal AND t.tgname LIKE 'file\_recycler\_files\_%'",
        )
        .bind(table.quoted())
        .fetch_all(&self.pool)
        .await
        .attempted(DOING)?;
        let is_of = |file: &&FileTable| functions.contains(&function_name(&file.table, Kind::FilesDelete));
        let Some(new) = catalog.file_tables.iter().find(is_of) else { return Ok(false) };
        let sql: Arc<str> = format!(
            r#"SELECT NOT EXISTS (SELECT FROM {} AS was
                WHERE NOT EXISTS (SELECT FROM {} AS item WHERE item."Id" = was."Id"))"#,
            table.quoted(),
            new.table.quoted()
        )
        .into();
        sqlx::query_scalar(built(&sql)).fetch_one(&self.pool).await.attempted(DOING)
    }

    /// Refuses a catalogue that leaves such a table out: in doubt, everything stays.
    pub(super) async fn insist_on_all(&self, catalog: Catalog) -> Result<Catalog, DbError> {
        let forgotten = self.forgotten_tables(&catalog).await?;
        let Some(table) = forgotten.first() else { return Ok(catalog) };
        if crate::failpoint::removed("protection::forgotten_tables") {
            return Ok(catalog);
        }
        let more = match forgotten.len() - 1 {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        let why = format!(
            "{table}{more} has our triggers, and is no table of files or links any more by what the application says: renamed, \
             moved, detached, or in the middle of an update. Its rows may name living files, so nothing moves. Where that is \
             meant, `file-recycler listener install` takes our triggers off it, and it counts no longer"
        );
        Err(DbError::new("looking for tables that had files", Problem::NotReady(why)))
    }
}

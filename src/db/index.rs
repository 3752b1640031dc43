//! Indexes that the CRM does not have and that our questions need: without one, each check reads a whole table.

use super::Db;
use super::catalog::{Catalog, FILE_LINK};
use super::dangling::weak_tables;
use super::error::{Attempted, DbError};
use super::sql::{TableName, quote_identifier};

/// Pages below which reading a whole table costs nothing worth telling: 8 MB.
const SMALL: i64 = 1_000;

/// A column by which a large table is asked and has no index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingIndex {
    /// The table.
    pub table: TableName,
    /// The column with which the index would begin.
    pub column: String,
    /// The table's size in pages of 8 KiB, by the last VACUUM or ANALYZE.
    pub pages: i64,
}

impl std::fmt::Display for MissingIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { table, column, pages } = self;
        let (table, column) = (table.quoted(), quote_identifier(column));
        write!(
            f,
            "{table} ({} MB) has no index that begins with {column}, so that each check reads all of it: CREATE INDEX CONCURRENTLY ON {table} ({column})",
            pages / 128
        )
    }
}

impl Db {
    /// The indexes that large tables of this catalogue want. It reads the system catalogues only.
    pub async fn missing_indexes(&self, catalog: &Catalog) -> Result<Vec<MissingIndex>, DbError> {
        let links = catalog.file_link.iter().flat_map(|_| {
            ["FileRecordId", "RecordId"].map(|column| (catalog.named(FILE_LINK), column.to_owned()))
        });
        let weak = weak_tables(catalog).map(|file| (file.table.clone(), "RecordId".to_owned()));
        let asked: Vec<(TableName, String)> = links.chain(weak).collect();
        let of =
            |part: fn(&(TableName, String)) -> &String| asked.iter().map(part).cloned().collect::<Vec<_>>();
        let missing: Vec<(i64, i64)> = sqlx::query_as(
            "SELECT asked.place, c.relpages::bigint
               FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS asked (namespace, name, attribute, place)
               JOIN pg_namespace AS n ON n.nspname = asked.namespace
               JOIN pg_class AS c ON c.relnamespace = n.oid AND c.relname = asked.name
               JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = asked.attribute
              WHERE c.relpages > $4
                AND NOT EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = c.oid AND i.indisvalid
                                   AND i.indkey[0] = a.attnum AND i.indpred IS NULL)
              ORDER BY asked.place",
        )
        .bind(of(|(table, _)| &table.schema))
        .bind(of(|(table, _)| &table.name))
        .bind(of(|(_, column)| column))
        .bind(SMALL)
        .fetch_all(&self.pool)
        .await
        .attempted("asking for indexes")?;
        let named = |(place, pages): (i64, i64)| {
            let (table, column) = asked.get(usize::try_from(place).ok()?.checked_sub(1)?)?.clone();
            Some(MissingIndex { table, column, pages })
        };
        Ok(missing.into_iter().filter_map(named).collect())
    }
}

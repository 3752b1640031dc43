//! Do rows of files vanish while nothing is captured? PostgreSQL's statistics of tables, and what the
//! listeners made of them.
//!
//! The statistics count what rolled-back transactions did, too, for the files' tables and for the outbox
//! alike; they may come some seconds late, and a crash of the server sets them to zero.

use std::fmt;

use time::OffsetDateTime;
use uuid::Uuid;

use super::Db;
use super::catalog::{Catalog, FILE_TYPE};
use super::error::{Attempted, DbError};
use super::sql::TableName;

/// Tables named in a sentence.
const TOLD: usize = 3;

/// The statistics at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct DeletionCounts {
    /// Rows that were ever put into the outbox.
    pub captured: u64,
    /// For each table of files, partitions and heirs each for themselves.
    pub tables: Vec<TableCount>,
}

/// The statistics of one table of files.
#[derive(Clone, Debug, PartialEq)]
pub struct TableCount {
    /// The table.
    pub table: TableName,
    /// Rows that were ever deleted from it.
    pub deleted: u64,
    /// Which share of its rows has its content in S3, as the planner's statistics estimate it; 1 where there
    /// are none. Other rows are not captured, on purpose.
    pub in_s3: f64,
}

/// Deletions of which nothing was heard.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Silent {
    /// Since when.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// How many rows.
    pub deletions: u64,
    /// From which tables.
    pub tables: Vec<String>,
}

impl fmt::Display for Silent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, more) = self.tables.split_at(TOLD.min(self.tables.len()));
        let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
        write!(
            f,
            "a hint: {} rows vanished from {}{more} since {} and no deletion was captured meanwhile; look for \
             what passes by the triggers, and run `file-recycler audit` (deletions that were rolled back, and \
             files whose content is not in S3, count here too)",
            self.deletions,
            first.join(", "),
            // A time of the database's always has a text.
            self.since.format(&time::format_description::well_known::Rfc3339).unwrap_or_default(),
        )
    }
}

impl Db {
    /// Reads the statistics of the outbox and of this catalogue's tables of files that are captured.
    pub async fn deletion_counts(&self, catalog: &Catalog) -> Result<DeletionCounts, DbError> {
        const DOING: &str = "reading the statistics of deletions";
        let watched = catalog.file_tables.iter().filter(|file| file.tells_storage);
        // Of a mapped application only tables that cannot have rows without an object: of others nobody knows how many
        // of the deleted rows had one.
        let mapped = catalog.mapped().into_iter().flat_map(|mapped| &mapped.tables);
        let mapped = mapped.filter(|table| table.always_holds).flat_map(|table| &table.parts);
        let parts: Vec<&TableName> = watched.flat_map(|file| &file.parts).chain(mapped).collect();
        let rows: Vec<(String, String, i64, f64)> = sqlx::query_as(
            "SELECT wanted.schema, wanted.name, pg_stat_get_tuples_deleted(c.oid), share.in_s3
               FROM unnest($1::text[], $2::text[]) AS wanted (schema, name)
               JOIN pg_namespace AS n ON n.nspname = wanted.schema
               JOIN pg_class AS c ON c.relnamespace = n.oid AND c.relname = wanted.name AND c.relkind = 'r'
              CROSS JOIN LATERAL (
                SELECT coalesce(min(least(1, column_share.share)) FILTER (WHERE attname = 'TypeId'), 1)
                     * coalesce(min(least(1, column_share.share)) FILTER (WHERE attname = 'SysFileStorageId'), 1) AS in_s3
                  FROM (SELECT s.attname,
                               CASE WHEN s.most_common_vals IS NULL THEN 1 - s.null_frac::float8
                                    ELSE (SELECT coalesce(sum(common.frequency::float8), 0)
                                            FROM unnest(s.most_common_vals::text::text[], s.most_common_freqs)
                                              AS common (value, frequency)
                                           WHERE common.value = ANY(CASE s.attname WHEN 'TypeId' THEN ARRAY[$3] ELSE $4 END))
                                END AS share
                          FROM pg_stats AS s
                         WHERE s.schemaname = wanted.schema AND s.tablename = wanted.name AND NOT s.inherited
                           AND s.attname IN ('TypeId', 'SysFileStorageId')) AS column_share) AS share",
        )
        .bind(parts.iter().map(|part| part.schema.as_str()).collect::<Vec<_>>())
        .bind(parts.iter().map(|part| part.name.as_str()).collect::<Vec<_>>())
        .bind(FILE_TYPE)
        .bind(catalog.storages.iter().map(Uuid::to_string).collect::<Vec<_>>())
        .fetch_all(&self.pool)
        .await
        .attempted(DOING)?;
        // Read last: what was captured with a deletion is counted no later than the deletion.
        let captured: i64 =
            sqlx::query_scalar("SELECT pg_stat_get_tuples_inserted('file_recycler.outbox'::regclass)")
                .fetch_one(&self.pool)
                .await
                .attempted(DOING)?;
        let count = |(schema, name, deleted, in_s3): (String, String, i64, f64)| TableCount {
            table: TableName { schema, name },
            deleted: deleted.unsigned_abs(),
            in_s3,
        };
        Ok(DeletionCounts {
            captured: captured.unsigned_abs(),
            tables: rows.into_iter().map(count).collect(),
        })
    }

    /// Notes that these deletions were not heard of; the first note's time stays.
    pub async fn note_silence(&self, deletions: u64, tables: &[TableName]) -> Result<(), DbError> {
        sqlx::query(
            "INSERT INTO file_recycler.silence (deletions, tables) VALUES ($1, $2)
             ON CONFLICT (only_row) DO UPDATE SET deletions = excluded.deletions, tables = excluded.tables",
        )
        .bind(i64::try_from(deletions).unwrap_or(i64::MAX))
        .bind(tables.iter().map(ToString::to_string).collect::<Vec<_>>())
        .execute(&self.pool)
        .await
        .attempted("noting silent deletions")?;
        Ok(())
    }

    /// Deletions are captured again: the note goes.
    pub async fn forget_silence(&self) -> Result<(), DbError> {
        sqlx::query("DELETE FROM file_recycler.silence")
            .execute(&self.pool)
            .await
            .attempted("forgetting silent deletions")?;
        Ok(())
    }

    /// What is noted. Only where the own schema is current.
    pub async fn silence(&self) -> Result<Option<Silent>, DbError> {
        let row: Option<(OffsetDateTime, i64, Vec<String>)> =
            sqlx::query_as("SELECT since, deletions, tables FROM file_recycler.silence")
                .fetch_optional(&self.pool)
                .await
                .attempted("reading what is noted of silent deletions")?;
        Ok(row.map(|(since, deletions, tables)| Silent {
            since,
            deletions: deletions.unsigned_abs(),
            tables,
        }))
    }
}

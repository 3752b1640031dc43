//! Rows over to where their content is, a group in one statement; and what became of those that it left.

use uuid::Uuid;

use super::asking::is_of_rows;
use super::{FileResult, Migrated, Migrator};
use crate::db::migrate::{Candidate, Direction, Table, Version};
use crate::outcome::{Advice, Failure};

/// What is said of rows.
#[derive(Clone, Copy, Debug)]
pub(super) enum Statement {
    /// Their content is in the storage.
    ToStorage,
    /// They have no content of their own any more.
    Clear,
}

/// A row with what was to be said of it, and whether it was.
pub(super) type Switched<T> = (Candidate, T, Result<bool, Failure>);

impl Migrator {
    /// All of them in one statement. Where something in the database refuses that for one of them, each by itself.
    pub(super) async fn in_one_statement<T>(
        &self,
        table: &Table,
        statement: Statement,
        rows: Vec<(Candidate, T)>,
    ) -> Result<Vec<Switched<T>>, Failure> {
        let versions: Vec<Version> = rows.iter().map(|(row, _)| row.version()).collect();
        match self.say(table, statement, &versions).await {
            Ok(done) => Ok(rows
                .into_iter()
                .map(|(row, what)| {
                    let is_done = done.contains(&row.id);
                    (row, what, Ok(is_done))
                })
                .collect()),
            Err(failure) if is_of_rows(&failure) => {
                let mut switched = Vec::new();
                for (row, what) in rows {
                    let said = self.say(table, statement, &[row.version()]).await;
                    switched.push((row, what, said.map(|done| !done.is_empty())));
                }
                Ok(switched)
            }
            Err(failure) => Err(failure),
        }
    }

    async fn say(&self, table: &Table, statement: Statement, rows: &[Version]) -> Result<Vec<Uuid>, Failure> {
        let (db, migration) = (&self.parts.db, &self.parts.migration);
        match statement {
            Statement::ToStorage => self.database(|| db.switch_to_storage(migration, table, rows)).await,
            Statement::Clear => self.database(|| db.clear_contents(table, rows)).await,
        }
    }

    /// Rows that a statement left: is each gone, or changed?
    pub(super) async fn what_became(
        &self,
        table: &Table,
        rows: Vec<Candidate>,
    ) -> Result<Vec<(Candidate, bool)>, Failure> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
        let there = self.database(|| self.parts.db.migration_still_there(table, &ids)).await?;
        Ok(rows
            .into_iter()
            .map(|row| {
                let is_gone = !there.contains(&row.id);
                (row, is_gone)
            })
            .collect())
    }

    /// The lines of rows that a statement left, where nothing is to be done about it.
    pub(super) async fn left(&self, table: &Table, rows: Vec<Candidate>) -> Result<Vec<FileResult>, Failure> {
        let became = self.what_became(table, rows).await?;
        let what = |is_gone| if is_gone { Migrated::Gone } else { Migrated::Edited };
        Ok(became.iter().map(|(row, is_gone)| self.told(table, row, what(*is_gone), None)).collect())
    }

    /// A file's line.
    pub(super) fn told(
        &self,
        table: &Table,
        row: &Candidate,
        result: Migrated,
        why: Option<String>,
    ) -> FileResult {
        let (bytes, stored) = match self.settings.direction {
            Direction::ToStorage | Direction::Reclaim => (row.length, row.stored),
            // What the row has, if anything, is of before.
            Direction::ToDatabase => (row.size, None),
        };
        let known = |bytes: Option<i64>| bytes.and_then(|bytes| u64::try_from(bytes).ok());
        let (bytes, stored) = (known(bytes), known(stored).unwrap_or_default());
        let key = self.key(row.id, &table.schema).ok();
        let schema = table.schema.clone();
        FileResult { file_id: row.id, schema, key, result, bytes, why, stored, outage: false }
    }

    /// The line of a file that could not be done.
    pub(super) fn failed(&self, table: &Table, row: &Candidate, failure: &Failure) -> FileResult {
        let outage = matches!(failure.advice, Advice::Outage(_));
        FileResult { outage, ..self.told(table, row, Migrated::Failed, Some(failure.error.clone())) }
    }
}

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

/// What has become of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Now {
    /// It is the version that was read.
    Same,
    /// It is another one, and as our own statement makes it, whose answer was lost: it says that its content is where it was
    /// to go, or has none any more. No other migration runs.
    Switched,
    /// It is another one.
    Changed,
    /// It is not there.
    Gone,
}

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
            Statement::Clear => self.database(|| db.clear_contents(migration, table, rows)).await,
        }
    }

    /// What has become of rows by now.
    pub(super) async fn now(
        &self,
        table: &Table,
        rows: Vec<Candidate>,
    ) -> Result<Vec<(Candidate, Now)>, Failure> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let versions: Vec<Version> = rows.iter().map(Candidate::version).collect();
        let (db, migration) = (&self.parts.db, &self.parts.migration);
        let there = self.database(|| db.migration_now(migration, table, &versions)).await?;
        let clears = self.settings.direction == Direction::Reclaim;
        let now = |row: Candidate| {
            let now = match there.iter().find(|found| found.id == row.id) {
                None => Now::Gone,
                Some(found) if found.is_same => Now::Same,
                Some(found) if found.is_there && (found.is_empty || !clears) => Now::Switched,
                Some(_) => Now::Changed,
            };
            (row, now)
        };
        Ok(rows.into_iter().map(now).collect())
    }

    /// The lines of rows that a statement left, where nothing is to be done about it. One that is still the same is in
    /// somebody's hands right now.
    pub(super) async fn left(&self, table: &Table, rows: Vec<Candidate>) -> Result<Vec<FileResult>, Failure> {
        let line = |(row, now): (Candidate, Now)| {
            let own = self.settings.direction == Direction::ToDatabase && row.length.unwrap_or_default() > 0;
            match now {
                Now::Gone => self.told(table, &row, Migrated::Gone, None),
                Now::Switched if self.settings.direction == Direction::Reclaim => {
                    self.told(table, &row, Migrated::Reclaimed, None)
                }
                Now::Switched => self.told(table, &row, Migrated::Migrated, None),
                Now::Same if own => {
                    let why = "the row has another content of its own, and nothing says which of them is newer; or somebody \
                               has it locked";
                    self.told(table, &row, Migrated::Differs, Some(why.to_owned()))
                }
                Now::Same | Now::Changed => self.told(table, &row, Migrated::Edited, None),
            }
        };
        Ok(self.now(table, rows).await?.into_iter().map(line).collect())
    }

    /// The lines of rows whose object is not what it would have to be: unless it was the row that changed.
    pub(super) async fn not(
        &self,
        table: &Table,
        rows: Vec<(Candidate, Migrated, Option<String>)>,
    ) -> Result<Vec<FileResult>, Failure> {
        let mut lines = Vec::new();
        let asked = rows.iter().map(|(row, ..)| row.clone()).collect();
        for ((row, now), (_, what, why)) in self.now(table, asked).await?.into_iter().zip(rows) {
            lines.push(match now {
                Now::Same => self.told(table, &row, what, why),
                Now::Changed | Now::Switched => self.told(table, &row, Migrated::Edited, None),
                Now::Gone => self.told(table, &row, Migrated::Gone, None),
            });
        }
        Ok(lines)
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
        FileResult { file_id: row.id, schema, key, result, bytes, why, stored, outage: false, stays: false }
    }

    /// The line of a file that could not be done.
    pub(super) fn failed(&self, table: &Table, row: &Candidate, failure: &Failure) -> FileResult {
        let outage = matches!(failure.advice, Advice::Outage(_));
        FileResult { outage, ..self.told(table, row, Migrated::Failed, Some(failure.error.clone())) }
    }
}

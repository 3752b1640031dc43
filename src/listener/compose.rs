//! From captured rows to events (pure): files go with their record where one transaction deleted both.

use std::collections::HashMap;

use time::OffsetDateTime;
use uuid::Uuid;

use crate::capture::{Captured, CapturedFile, What};
use crate::event::{Deleted, Event, MAX_BYTES, MAX_FILES};
use crate::file::{FileRef, RecordId, SchemaName};

/// A transaction with more ids than this (in one batch) is composed row by row.
const MAX_COMPOSED_IDS: usize = 5_000;
/// What an event's files may take as JSON, reckoned generously; the rest is for everything else in it.
const MAX_FILES_BYTES: usize = MAX_BYTES - 16 * 1024;

/// An event and the outbox rows that it stems from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Composed {
    /// The rows, each once. A row may be deleted when every event that it went into is confirmed.
    pub rows: Vec<i64>,
    /// The event.
    pub event: Event,
}

/// Makes events of one batch of rows.
///
/// Every captured record and file goes into exactly one event. An event's id is a UUIDv5 of the environment
/// and of its first row and the position there, so that the same rows give the same ids again. (Rows that are
/// composed in another company, because another relay holds some, may give other ids: an event less or more,
/// never a file less.)
pub fn compose(rows: &[Captured], environment: Uuid, source: &str) -> Vec<Composed> {
    let writer = Writer { environment, source };
    let mut events = Vec::new();
    for transaction in by_transaction(rows) {
        if transaction.iter().map(|row| row.what.count()).sum::<usize>() > MAX_COMPOSED_IDS {
            for row in transaction {
                writer.write(&[row], &mut events);
            }
        } else {
            writer.write(&transaction, &mut events);
        }
    }
    events
}

fn by_transaction(rows: &[Captured]) -> Vec<Vec<&Captured>> {
    let mut groups: Vec<Vec<&Captured>> = Vec::new();
    let mut index = HashMap::new();
    for row in rows {
        let group = *index.entry(row.transaction).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        groups[group].push(row);
    }
    groups
}

impl What {
    /// How many ids the row holds.
    fn count(&self) -> usize {
        match self {
            Self::Records { ids, .. } => ids.len(),
            Self::Files { files, .. } => files.len(),
        }
    }
}

/// A captured record, with the files that went with it.
struct Record<'a> {
    row: &'a Captured,
    position: usize,
    schema: &'a SchemaName,
    id: &'a RecordId,
    files: Vec<File<'a>>,
}

/// A captured file and where it was captured.
struct File<'a> {
    row: &'a Captured,
    position: usize,
    schema: &'a SchemaName,
    captured: &'a CapturedFile,
}

struct Writer<'a> {
    environment: Uuid,
    source: &'a str,
}

impl Writer<'_> {
    fn write(&self, rows: &[&Captured], events: &mut Vec<Composed>) {
        let mut records = records(rows);
        let mut owners = HashMap::new();
        for (index, record) in records.iter().enumerate() {
            owners.entry((record.schema, record.id)).or_insert(index);
        }
        let mut alone = Vec::new();
        for file in files(rows) {
            let parent = file.captured.parent.as_ref();
            match parent.and_then(|(schema, id)| owners.get(&(schema, id))) {
                Some(&owner) => records[owner].files.push(file),
                None => alone.push(file),
            }
        }
        events.extend(records.iter().flat_map(|record| self.about_record(record)));
        events.extend(chunks(&alone).map(|chunk| self.about_files(chunk)));
    }

    fn about_record(&self, record: &Record<'_>) -> Vec<Composed> {
        let mut chunks: Vec<&[File<'_>]> = chunks(&record.files).collect();
        if chunks.is_empty() {
            // Weak links may hang on a record without files.
            chunks.push(&[]);
        }
        let first = format!("{}/{}", record.row.row, record.position);
        let event = |(number, chunk): (usize, &[File<'_>])| {
            let name = if number == 0 { first.clone() } else { format!("{first}/{number}") };
            let data = Deleted::Record {
                schema: record.schema.clone(),
                record_id: record.id.clone(),
                files: chunk.iter().map(File::reference).collect(),
            };
            let rows = std::iter::once(record.row.row).chain(chunk.iter().map(|file| file.row.row));
            self.composed(&name, record.row.at, rows, data)
        };
        chunks.into_iter().enumerate().map(event).collect()
    }

    fn about_files(&self, chunk: &[File<'_>]) -> Composed {
        // A chunk is never empty, and its first file is the first of no other.
        let first = &chunk[0];
        let name = format!("{}/{}", first.row.row, first.position);
        let data = Deleted::Files { files: chunk.iter().map(File::reference).collect() };
        self.composed(&name, first.row.at, chunk.iter().map(|file| file.row.row), data)
    }

    fn composed(
        &self,
        name: &str,
        at: OffsetDateTime,
        rows: impl Iterator<Item = i64>,
        data: Deleted,
    ) -> Composed {
        let mut rows: Vec<i64> = rows.collect();
        rows.sort_unstable();
        rows.dedup();
        let id = Uuid::new_v5(&self.environment, name.as_bytes()).to_string();
        Composed { rows, event: Event::new(id, self.source.to_owned(), at, Some(self.environment), data) }
    }
}

fn records<'a>(rows: &[&'a Captured]) -> Vec<Record<'a>> {
    let mut records = Vec::new();
    for &row in rows {
        if let What::Records { schema, ids } = &row.what {
            records.extend(ids.iter().enumerate().map(|(position, id)| Record {
                row,
                position,
                schema,
                id,
                files: Vec::new(),
            }));
        }
    }
    records
}

fn files<'a>(rows: &[&'a Captured]) -> Vec<File<'a>> {
    let mut found = Vec::new();
    for &row in rows {
        if let What::Files { schema, files } = &row.what {
            found.extend(files.iter().enumerate().map(|(position, captured)| File {
                row,
                position,
                schema,
                captured,
            }));
        }
    }
    found
}

impl File<'_> {
    fn reference(&self) -> FileRef {
        FileRef {
            file_id: self.captured.id.clone(),
            schema: Some(self.schema.clone()),
            size: self.captured.size,
            key: self.captured.key.clone(),
        }
    }

    /// What the file takes as JSON at most: a byte becomes six when it has to be escaped.
    fn most_bytes(&self) -> usize {
        const NAMES_AND_SIZE: usize = 80;
        let key = self.captured.key.as_ref().map_or(0, |key| key.as_str().len());
        NAMES_AND_SIZE + 6 * (self.captured.id.as_str().len() + self.schema.as_str().len() + key)
    }
}

/// Cuts files into pieces that one event may hold, by number and by size.
fn chunks<'a, 'b>(files: &'b [File<'a>]) -> impl Iterator<Item = &'b [File<'a>]> {
    let mut rest = files;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let mut fits = |file: &File<'_>| {
            bytes += file.most_bytes();
            bytes <= MAX_FILES_BYTES
        };
        let count = rest.iter().take(MAX_FILES).take_while(|file| fits(file)).count();
        // One file always fits: its names are bounded.
        let (chunk, left) = rest.split_at(count.max(1).min(rest.len()));
        rest = left;
        (!chunk.is_empty()).then_some(chunk)
    })
}

#[cfg(test)]
mod tests;

//! What there is under each key: rows of the database, an object, a copy in the recycle bucket. Three streams that
//! ascend, merged; memory is flat at any size, and each bucket is listed once.
//!
//! Rows and listings are of different moments: what seems to be wrong by one entry has to be asked again before it is
//! believed.

mod ahead;
mod ranges;
mod read;

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::db::Db;
use crate::db::inventory::{Again, InventoryRow, Owner, Reading};
use crate::failpoint;
use crate::file::{FileId, Named, ObjectKey, SchemaName};
use crate::key_template::KeyTemplate;
use crate::outcome::Failure;
use crate::retry::{ON_THE_WAY, Pauses, Schedule, outlast};
use crate::storage::{Head, Listed, Side, Storage};
use ahead::{Ahead, Keyed};

pub use ranges::Range;

/// Ranges that are walked side by side. Each holds some pages of rows and of both listings in memory.
pub const RANGES_AT_ONCE: usize = 8;
/// Rows of one key that are kept; any more say the same.
const ROWS_KEPT: usize = 16;

/// Both buckets and the database, as they are walked.
#[derive(Clone, Debug)]
pub struct Inventory {
    db: Db,
    storage: Storage,
    reading: Arc<Reading>,
    template: KeyTemplate,
    /// The recycle bucket is listed, too.
    copies: bool,
}

/// What there is under one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Rows that name it.
    pub rows: Vec<InventoryRow>,
    /// The object in the object bucket.
    pub object: Option<Listed>,
    /// The copy in the recycle bucket.
    pub copy: Option<Listed>,
}

/// The entries of one range.
pub struct Entries {
    rows: Vec<Ahead<KeyedRow>>,
    object: Ahead<Listed>,
    copy: Ahead<Listed>,
}

/// How long a walk has waited for whom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waited {
    /// For the buckets' listings.
    pub listing: Duration,
    /// For the database's rows.
    pub rows: Duration,
}

/// A row with the key that it names.
#[derive(Debug)]
struct KeyedRow {
    key: ObjectKey,
    row: InventoryRow,
}

impl Keyed for KeyedRow {
    fn key(&self) -> &str {
        self.key.as_str()
    }
}

impl Keyed for Listed {
    fn key(&self) -> &str {
        &self.key
    }
}

impl Inventory {
    /// By these statements; [`Inventory::apart`] tells how those have to be made.
    pub fn new(db: Db, storage: Storage, reading: Arc<Reading>, template: KeyTemplate) -> Self {
        Self { db, storage, reading, template, copies: true }
    }

    /// Without the recycle bucket, which is not listed then.
    #[must_use]
    pub fn without_copies(self) -> Self {
        Self { copies: false, ..self }
    }

    /// Has each table to be a stream of its own, because the file's schema is in the key?
    pub fn apart(template: &KeyTemplate) -> bool {
        template.needs_schema()
    }

    /// All keys, in ranges that may be walked side by side.
    pub fn ranges(&self) -> Vec<Range> {
        if self.reading.catalog().mapped().is_some() {
            ranges::whole()
        } else {
            ranges::by_first_digit(&self.template)
        }
    }

    /// The entries of a range, in ascending order of their keys; objects of our own are left out.
    pub fn entries(&self, range: &Range) -> Entries {
        let listing = |side: Side| {
            let (storage, range) = (self.storage.clone(), range.clone());
            let wanted = side == Side::Object || self.copies;
            Ahead::new(format!("listing the {side} bucket"), move |pages| async move {
                if wanted {
                    read::listing(storage, side, range, pages).await;
                }
            })
        };
        let rows = (0..self.reading.groups()).map(|group| {
            let (db, reading, template) = (self.db.clone(), Arc::clone(&self.reading), self.template.clone());
            let bounds: (Uuid, Uuid) = (range.first, range.last);
            Ahead::new("reading the rows of files".to_owned(), move |pages| {
                read::rows(db, reading, template, group, bounds, pages)
            })
        });
        Entries { rows: rows.collect(), object: listing(Side::Object), copy: listing(Side::Recycle) }
    }

    /// What the database says of these files now, for whoever doubts an entry; waits for an outage to end, as the
    /// readers do.
    ///
    /// # Errors
    /// The database's; [`Advice::Hold`](crate::outcome::Advice::Hold) where the tables have changed.
    pub async fn ask_again(&self, files: &[Named]) -> Result<Again, Failure> {
        outlast(patience(), || async {
            self.db.rows_again(&self.reading, files).await.map_err(read::unless_it_passes)
        })
        .await
    }

    /// Are the tables still those that are read? Else rows of new ones were overlooked.
    ///
    /// # Errors
    /// As [`Inventory::ask_again`].
    pub async fn is_settled(&self) -> Result<(), Failure> {
        outlast(patience(), || async {
            self.db.is_settled(&self.reading).await.map_err(read::unless_it_passes)
        })
        .await
    }

    /// The object as it is now.
    ///
    /// # Errors
    /// The storage's, after an outage was waited for.
    pub async fn look(&self, side: Side, key: &ObjectKey) -> Result<Option<Head>, Failure> {
        outlast(patience(), || async { Ok(self.storage.head(side, key).await?) }).await
    }

    /// Do both buckets answer? Some servers say of a bucket that is away what they say of an object.
    ///
    /// # Errors
    /// The storage's.
    pub async fn check_buckets(&self) -> Result<(), Failure> {
        outlast(patience(), || async { Ok(self.storage.check().await?) }).await
    }

    /// The key that a row names.
    pub fn key_of(&self, row: &InventoryRow) -> Option<ObjectKey> {
        key_of(&self.reading, &self.template, row)
    }

    /// The file that the key template could give this key to; nothing where it is no key of a file's.
    pub fn owner(&self, key: &str) -> Option<FileId> {
        let key = ObjectKey::try_from(key).ok()?;
        let catalog = self.reading.catalog();
        if let Some(mapped) = catalog.mapped() {
            // Only its rows say whose a key is: as an id it serves where it can be one.
            let possible = mapped.tables.iter().any(|table| table.could_give(key.as_str()));
            return FileId::try_from(key.as_str()).ok().filter(|_| possible);
        }
        let gives = |id: &FileId, schema: Option<&SchemaName>| {
            self.template.key(id, schema).is_ok_and(|given| given == key)
        };
        let schemas = || catalog.file_tables.iter().map(|file| &file.schema);
        self.template.owners(&key).map(FileId::from).find(|id| {
            if self.template.needs_schema() {
                schemas().any(|schema| gives(id, Some(schema)))
            } else {
                gives(id, None)
            }
        })
    }
}

/// Of many rows some are kept; one that says more is never the one that is left out.
fn keep(rows: &mut Vec<InventoryRow>, row: InventoryRow) {
    let says = |row: &InventoryRow| (row.in_s3, row.in_s3 && row.owner == Owner::Fine);
    if rows.len() < ROWS_KEPT {
        rows.push(row);
    } else if let Some(lesser) = rows.iter_mut().find(|kept| says(kept) < says(&row)) {
        *lesser = row;
    }
}

/// How long an outage is waited for.
fn patience() -> Pauses {
    let impatient = failpoint::removed("protection::patience_on_the_way");
    Pauses::system(if impatient { Schedule { count: Some(0), ..ON_THE_WAY } } else { ON_THE_WAY })
}

/// The key that a row names; nothing where it can have no object.
fn key_of(reading: &Reading, template: &KeyTemplate, row: &InventoryRow) -> Option<ObjectKey> {
    if reading.catalog().mapped().is_some() {
        row.key.clone()
    } else {
        template.key(row.id.as_ref()?, Some(&row.schema)).ok()
    }
}

impl Entries {
    /// The next entry; nothing at the end.
    ///
    /// # Errors
    /// A listing or a reading that failed, or does not ascend: then entries are missing.
    pub async fn next(&mut self) -> Result<Option<Entry>, Failure> {
        let mut least: Option<String> = None;
        let mut consider = |key: Option<&str>| {
            if let Some(key) = key
                && least.as_deref().is_none_or(|least| key < least)
            {
                least = Some(key.to_owned());
            }
        };
        consider(self.object.peek().await?.map(Keyed::key));
        consider(self.copy.peek().await?.map(Keyed::key));
        for rows in &mut self.rows {
            consider(rows.peek().await?.map(Keyed::key));
        }
        let Some(key) = least else { return Ok(None) };
        let mut rows = Vec::new();
        for stream in &mut self.rows {
            while let Some(row) = stream.take(&key).await? {
                keep(&mut rows, row.row);
            }
        }
        let object = self.object.take(&key).await?;
        let copy = self.copy.take(&key).await?;
        Ok(Some(Entry { key, rows, object, copy }))
    }

    /// How long was waited for whom, so far.
    pub fn waited(&self) -> Waited {
        Waited {
            listing: self.object.waited() + self.copy.waited(),
            rows: self.rows.iter().map(Ahead::waited).sum(),
        }
    }
}

#[cfg(test)]
mod tests;

//! Rows against both buckets: what each file is, and what there is besides.
//!
//! In: an [`Inventory`]. Out: a [`Finding`] for every file and every object, and their totals. What seems wrong is asked
//! again by row and HEAD before it is told: rows and listings are of different moments.

pub mod class;
mod doubt;
mod walk;

use std::collections::BTreeMap;

use time::OffsetDateTime;
use tokio::sync::mpsc;

use crate::file::{FileId, ObjectKey, SchemaName};
use crate::inventory::{Inventory, Waited};
use crate::outcome::Failure;
use crate::stop::Stop;
use crate::storage::Side;

pub use class::Class;

/// Batches of findings that wait to be written.
const WAITING: usize = 16;

/// What was found under one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file; nothing where it is none.
    pub file: Option<FileId>,
    /// Its schema, where a row tells it.
    pub schema: Option<SchemaName>,
    /// The key, as the listing or the row has it.
    pub key: String,
    /// What it is.
    pub class: Class,
    /// Its size in bytes: the object's, else the copy's, else what the row says.
    pub size: Option<u64>,
    /// The size that the row says, where the object has another.
    pub row_size: Option<u64>,
    /// Bytes of content that its rows have all the same, although they say that it is in S3; nothing where that cannot
    /// be known.
    pub data: Option<u64>,
}

impl Finding {
    /// Bytes of content in its rows, where there are any.
    pub fn data_in_row(&self) -> Option<u64> {
        self.data.filter(|bytes| *bytes > 0)
    }
}

/// Files and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Total {
    /// How many.
    pub files: u64,
    /// Their bytes together.
    pub bytes: u64,
}

/// What an audit found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Totals by class.
    pub classes: BTreeMap<Class, Total>,
    /// Objects in each bucket, our own left out.
    pub buckets: [Total; 2],
    /// Rows that were read.
    pub rows: u64,
    /// Files whose object has another size than their row says.
    pub other_size: u64,
    /// Rows in S3 that have content all the same.
    pub data_left: Total,
    /// Files that are lost in both buckets, and whose rows have content.
    pub lost_with_data: Total,
    /// The first orphans, as many as were asked for.
    pub orphans: Vec<Orphan>,
    /// Why it is not complete; empty where it is.
    pub missing: Vec<String>,
    /// How long the walks waited, added up.
    pub waited: Waited,
}

/// An object without a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// The file that it would be.
    pub file: FileId,
    /// Its key.
    pub key: ObjectKey,
    /// Its size in bytes.
    pub size: u64,
}

/// An audit to be made.
#[derive(Clone, Debug)]
pub struct Audit {
    /// What is walked.
    pub inventory: Inventory,
    /// An object without a row is an orphan if it was written before.
    pub orphan_before: OffsetDateTime,
    /// Orphans that are remembered.
    pub keep_orphans: usize,
}

/// What a walk along one range tells the collector.
struct Batch {
    range: usize,
    /// How far the range has come, from 0 to 1.
    progress: f64,
    findings: Vec<Finding>,
    buckets: [Total; 2],
    rows: u64,
    data_left: Total,
}

impl Total {
    fn add(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }

    fn join(&mut self, other: Self) {
        self.files += other.files;
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// The place of a bucket's totals.
fn at(side: Side) -> usize {
    match side {
        Side::Object => 0,
        Side::Recycle => 1,
    }
}

impl Found {
    /// Was everything seen?
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty()
    }

    /// How many there are of a class.
    pub fn count(&self, class: Class) -> u64 {
        self.classes.get(&class).map_or(0, |total| total.files)
    }

    /// The objects of one bucket.
    pub fn bucket(&self, side: Side) -> Total {
        self.buckets[at(side)]
    }

    fn add(&mut self, finding: &Finding, keep_orphans: usize) {
        self.classes.entry(finding.class).or_default().add(finding.size.unwrap_or_default());
        self.other_size += u64::from(finding.row_size.is_some());
        if let Some(bytes) = finding.data_in_row().filter(|_| finding.class == Class::Lost) {
            self.lost_with_data.add(bytes);
        }
        if finding.class == Class::Orphan
            && self.orphans.len() < keep_orphans
            && let Some(file) = &finding.file
            && let Ok(key) = ObjectKey::try_from(finding.key.as_str())
        {
            let size = finding.size.unwrap_or_default();
            self.orphans.push(Orphan { file: file.clone(), key, size });
        }
    }
}

impl Audit {
    /// Walks everything. `told` gets every finding, in no order, and `progress` how far it has come, from 0 to 1.
    ///
    /// What could not be read is in [`Found::missing`], and the rest goes on; so does what a stop left out.
    ///
    /// # Errors
    /// `told`'s alone: a report that cannot be written.
    pub async fn run<E>(
        &self,
        stop: &Stop,
        mut told: impl FnMut(&Finding) -> Result<(), E>,
        progress: impl Fn(f64),
    ) -> Result<Found, E> {
        let mut found = Found::default();
        let ranges = self.inventory.ranges();
        let mut come = vec![0.0; ranges.len()];
        let (batches, mut collected) = mpsc::channel(WAITING);
        let walks = walk::all(self.clone(), ranges, stop.clone(), batches);
        let walks = tokio::spawn(walks);
        loop {
            let batch = tokio::select! {
                batch = collected.recv() => batch,
                // The second signal: what is in hand is dropped.
                () = stop.at_once() => {
                    walks.abort();
                    None
                }
            };
            let Some(Batch { range, progress: far, findings, buckets, rows, data_left }) = batch else {
                break;
            };
            for finding in &findings {
                found.add(finding, self.keep_orphans);
                if let Err(error) = told(finding) {
                    walks.abort();
                    return Err(error);
                }
            }
            found.rows += rows;
            found.data_left.join(data_left);
            for (total, more) in found.buckets.iter_mut().zip(buckets) {
                total.join(more);
            }
            come[range] = far;
            #[allow(clippy::cast_precision_loss)] // For people.
            progress(come.iter().sum::<f64>() / come.len().max(1) as f64);
        }
        match walks.await {
            Ok((waited, failures)) => {
                found.waited = waited;
                found.missing.extend(failures.into_iter().map(|failure: Failure| failure.error));
            }
            Err(error) if error.is_cancelled() => {}
            Err(_) => found.missing.push("a walk along the buckets panicked".to_owned()),
        }
        if stop.is_requested() {
            found.missing.push("it was stopped".to_owned());
        } else if let Err(failure) = self.inventory.is_settled().await {
            found.missing.push(failure.error);
        }
        // The same trouble in many ranges is one.
        found.missing.sort();
        found.missing.dedup();
        Ok(found)
    }
}

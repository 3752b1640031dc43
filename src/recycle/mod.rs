//! One file and its outcome: check that it is dead, copy, prove the copy, check again, delete, note.
//!
//! The steps of many files run side by side; the questions to the database and the deletions are gathered
//! into batches. Whatever step a process dies after, the next try finds by the truth table
//! ([`decision`]) what is left to do.

mod alive;
pub mod buckets;
pub mod decision;
mod delete;
mod in_flight;
#[cfg(test)]
mod model;
mod mover;
mod progress;
mod refusal;
mod steps;

use std::future::Future;

use time::OffsetDateTime;

use crate::file::{FileRef, Named, ObjectKey, RecordId, SchemaName};
use crate::outcome::{Failure, Liveness, Outcome};
use crate::storage::ETag;

pub use buckets::Buckets;
pub use mover::Recycler;
pub use progress::Move;

/// One file to be recycled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The file.
    pub file: FileRef,
    /// Its object's key, the same in both buckets.
    pub key: ObjectKey,
    /// Why.
    pub event: EventContext,
}

impl Job {
    /// The file as the alive check asks for it.
    fn named(&self) -> Named {
        Named { id: self.file.file_id.clone(), key: self.key.clone() }
    }
}

/// The event that a job comes from: for log lines and the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventContext {
    /// The event's id.
    pub id: String,
    /// The deleted record, where the event is about one.
    pub record: Option<(SchemaName, RecordId)>,
    /// When the deletion was captured.
    pub deleted_at: Option<OffsetDateTime>,
}

/// What the ledger keeps of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerEntry {
    /// The file.
    pub file: FileRef,
    /// Its object's key.
    pub key: ObjectKey,
    /// ETag of the object in the recycle bucket; nothing where it is missing.
    pub etag: Option<ETag>,
    /// Its size in bytes; nothing where it is missing.
    pub size: Option<u64>,
    /// The event that it went with.
    pub event: EventContext,
    /// What became of it: [`Outcome::Moved`], [`Outcome::AlreadyMoved`] or [`Outcome::Missing`].
    pub outcome: Outcome,
    /// When the copy was written, as far as is known: what its retention counts from.
    pub recycled_at: OffsetDateTime,
}

/// What knows which files are alive, and remembers what became of the others.
pub trait Registry: Send + Sync + 'static {
    /// Are these files alive? At most 500 of them; one answer for each, in their order, from the primary.
    ///
    /// A failure stops the files: a check that could be blind is no check.
    fn check(&self, files: Vec<Named>) -> impl Future<Output = Result<Vec<Liveness>, Failure>> + Send;

    /// Notes what became of files, at most 1,000 at once, and says whether they are alive after all; one
    /// answer for each, in their order.
    fn note(&self, entries: Vec<LedgerEntry>) -> impl Future<Output = Result<Vec<Liveness>, Failure>> + Send;

    /// Are these still the buckets of this environment, asked of the storage now? Asked before a file is
    /// believed to be missing from both.
    fn confirm_environment(&self) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Could this file be under another key than the one that was looked for? Asked before it is believed to be
    /// missing; a failure holds it.
    fn doubt_key(&self, file: &FileRef) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// One file that moved, for whoever counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moved {
    /// Its size.
    pub bytes: u64,
    /// Seconds from the first step of the try that moved it to the ledger's note.
    pub seconds: f64,
    /// Seconds from the captured deletion to now, where the event has its time.
    pub seconds_since_deletion: Option<f64>,
}

/// What somebody may want to count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Counted {
    /// A file moved.
    Moved(Moved),
    /// A file was found alive after its object had moved.
    AliveAfterMove,
}

/// Called for everything that may be counted; it must not block.
pub type Meter = std::sync::Arc<dyn Fn(Counted) + Send + Sync>;

/// Most files of one [`Registry::check`].
const MAX_CHECKED: usize = 500;

/// One answer for each question, or the answers are nobody's.
fn one_each<T>(answers: Vec<T>, questions: usize) -> Result<Vec<T>, Failure> {
    use crate::outcome::{Advice, DeadReason};
    if answers.len() == questions {
        return Ok(answers);
    }
    let error = format!("{questions} files got {} answers", answers.len());
    Err(Failure::new(Advice::GiveUp(DeadReason::Internal), error))
}

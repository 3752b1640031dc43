//! How far one file has come, from one try to the next.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

use super::Job;
use super::decision::{Intent, Look, Seen, may_be_read_as_another};
use super::in_flight::Held;
use crate::storage::{ETag, Head};

/// One file on its way. After a failure the next try begins where this one came to: a delete that failed is
/// repeated alone. To forget it costs requests, never a file.
#[derive(Debug)]
pub struct Move {
    pub(super) job: Arc<Job>,
    /// The only object that may be moved; nothing: any.
    expected: Option<ETag>,
    /// Another one was found in its place.
    replaced: AtomicBool,
    proven: Mutex<Option<Proven>>,
    /// A copy without a look took too long: it may be larger than the event says.
    doubted: AtomicBool,
}

/// A file whose copy is proven: its source may go, if the file is still dead.
#[derive(Clone, Debug)]
pub(super) struct Proven {
    pub(super) job: Arc<Job>,
    /// What was copied, and what alone may be deleted.
    pub(super) source: ETag,
    /// What the recycle bucket has.
    pub(super) copy: ETag,
    /// Its size in bytes.
    pub(super) size: u64,
    pub(super) started: Instant,
}

impl From<Job> for Move {
    fn from(job: Job) -> Self {
        Self {
            job: Arc::new(job),
            expected: None,
            replaced: AtomicBool::new(false),
            proven: Mutex::default(),
            doubted: AtomicBool::new(false),
        }
    }
}

impl Move {
    /// Of the object with this ETag alone: one that was written since is left, as a living one is.
    pub fn of_object(job: Job, etag: ETag) -> Self {
        Self { expected: Some(etag), ..Self::from(job) }
    }

    /// Was another object found than the one that was meant?
    pub fn is_replaced(&self) -> bool {
        self.replaced.load(Ordering::Relaxed)
    }

    /// Has it to be seen which object it is?
    pub(super) fn is_of_one_object(&self) -> bool {
        self.expected.is_some()
    }

    /// Is this not the object that is meant? It is remembered.
    pub(super) fn is_another(&self, source: &Head) -> bool {
        let another = self.expected.as_ref().is_some_and(|expected| *expected != source.etag)
            && !crate::failpoint::removed("protection::object_that_was_proven");
        if another {
            self.replaced.store(true, Ordering::Relaxed);
        }
        another
    }

    /// The key of its object.
    pub fn key(&self) -> &crate::file::ObjectKey {
        &self.job.key
    }

    pub(super) fn doubt(&self) {
        self.doubted.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_doubted(&self) -> bool {
        self.doubted.load(Ordering::Relaxed)
    }

    pub(super) fn proven(&self) -> Option<Proven> {
        self.proven.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_proven(&self, proven: Option<Proven>) {
        *self.proven.lock().unwrap_or_else(PoisonError::into_inner) = proven;
    }
}

/// A deletion that is under way. It goes on when whoever asked for it is gone, and holds the key until its end: who
/// comes next must not find an object between its deletion and its way back.
#[derive(Debug)]
pub(super) struct Doomed {
    pub(super) proven: Proven,
    pub(super) held: Arc<Held>,
}

/// One try: what it has seen and done so far.
pub(super) struct Try {
    pub(super) seen: Seen,
    pub(super) intent: Intent,
    /// This try has written a copy.
    pub(super) fresh: bool,
    /// What a look found to differ, source and copy.
    differed: Option<(ETag, ETag)>,
    pub(super) started: Instant,
    /// The key is this one's.
    pub(super) held: Arc<Held>,
}

impl Try {
    pub(super) fn new(job: &Job, look: Look, held: Held) -> Self {
        let intent = Intent { size: job.file.size, odd_key: may_be_read_as_another(&job.key), look };
        Self {
            seen: Seen::Nothing,
            intent,
            fresh: false,
            differed: None,
            started: Instant::now(),
            held: Arc::new(held),
        }
    }

    /// Something was not as it was taken for: what was seen is of the past.
    pub(super) fn look_again(&mut self) {
        self.seen = Seen::Nothing;
        self.intent.look = Look::AtBoth;
    }

    /// Has a look before this one found the same two to differ? Two looks that go out together may see two
    /// moments, and the copy's look comes after its source's; what is seen twice was there at once.
    pub(super) fn differ_still(&mut self, source: &Head, copy: &Head) -> bool {
        let pair = Some((source.etag.clone(), copy.etag.clone()));
        let still = self.differed == pair;
        self.differed = pair;
        still
    }
}

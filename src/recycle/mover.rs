//! The way of one file, from the first question to its outcome.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::try_join;

use super::decision::{Action, Look, Seen, decide};
use super::delete::{Ended, delete_batch};
use super::in_flight::InFlight;
use super::progress::{Doomed, Move, Proven, Try};
use super::refusal::refused;
use super::{Buckets, Job, LedgerEntry, MAX_CHECKED, Meter, Registry, one_each};
use crate::batch::{Batcher, Limits};
use crate::clock::Clock;
use crate::config::Mode;
use crate::failpoint;
use crate::file::{Named, ObjectKey};
use crate::outcome::{Advice, DeadReason, Failure, Liveness, Outcome};
use crate::storage::{self, Capabilities, ETag, Head, Side, Storage, StorageError, UnseenClass};

/// Questions to the database wait some milliseconds for company, and no more of them are held.
const CHECKS: Limits = questions(MAX_CHECKED);
/// Notes of files for which there was nothing to delete.
const NOTES: Limits = questions(storage::MAX_KEYS);
/// Deletions wait longer: one request for many is worth it. With 250 files to a request a file costs 1.004; at a
/// pace at which so many do not come within a few tens of milliseconds, a request for each fifty is no burden.
const DELETES: Limits = Limits {
    size: storage::MAX_KEYS,
    enough: 250,
    linger: linger(80),
    idle: linger(20),
    concurrent: 4,
    queue: 4_096,
};
/// Most steps of one try, looks included: the longest honest way has nine, the rest is for buckets that change
/// under its hands.
const STEPS: usize = 16;
/// One file of so many is looked at where none has to be: a storage class that the probe did not see is noticed.
const LOOKED_AT: u64 = 1_024;

/// The model that the unit tests run on has no time at all: there, nobody waits for company.
const fn linger(millis: u64) -> Duration {
    if cfg!(test) { Duration::ZERO } else { Duration::from_millis(millis) }
}

const fn questions(size: usize) -> Limits {
    Limits { size, enough: size, linger: linger(5), idle: linger(5), concurrent: 2, queue: 4_096 }
}

/// Moves files. One for the whole process: its batches gather the files of all messages.
pub struct Recycler<R, B = Storage> {
    shared: Arc<Shared<R, B>>,
    pub(super) checks: Batcher<Named, Liveness>,
    deletes: Batcher<Doomed, Result<Ended, Failure>>,
    pub(super) notes: Batcher<LedgerEntry, Liveness>,
    in_flight: InFlight,
    begun: AtomicU64,
    /// An object has a storage class that a copy without a look would lose.
    classes_differ: AtomicBool,
}

/// What a file on its way needs.
pub(super) struct Shared<R, B> {
    pub(super) buckets: B,
    pub(super) server: Capabilities,
    pub(super) registry: R,
    pub(super) mode: Mode,
    pub(super) clock: Clock,
    pub(super) meter: Meter,
}

impl<R, B: fmt::Debug> fmt::Debug for Recycler<R, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recycler({:?})", self.shared.buckets)
    }
}

impl<R: Registry, B: Buckets> Recycler<R, B> {
    /// A recycler between these buckets, whose server can do what `server` says. Its batches run on the
    /// current tokio runtime.
    pub fn new(
        buckets: B,
        server: Capabilities,
        registry: R,
        mode: Mode,
        clock: Clock,
        meter: Meter,
    ) -> Self {
        let shared = Arc::new(Shared { buckets, server, registry, mode, clock, meter });
        let checks = Batcher::new(CHECKS, {
            let shared = Arc::clone(&shared);
            move |files: Vec<Named>| {
                let shared = Arc::clone(&shared);
                async move {
                    let count = files.len();
                    one_each(shared.registry.check(files).await?, count)
                }
            }
        });
        let deletes = Batcher::new(DELETES, {
            let shared = Arc::clone(&shared);
            move |batch: Vec<Doomed>| {
                let shared = Arc::clone(&shared);
                async move { delete_batch(&shared, batch).await }
            }
        });
        let notes = Batcher::new(NOTES, {
            let shared = Arc::clone(&shared);
            move |entries: Vec<LedgerEntry>| {
                let shared = Arc::clone(&shared);
                async move {
                    let count = entries.len();
                    one_each(shared.registry.note(entries).await?, count)
                }
            }
        });
        let (begun, classes_differ) = (AtomicU64::new(0), AtomicBool::new(false));
        Self { shared, checks, deletes, notes, in_flight: InFlight::default(), begun, classes_differ }
    }

    pub(super) fn shared(&self) -> &Shared<R, B> {
        &self.shared
    }

    /// Brings one file to its outcome by a single try.
    pub async fn recycle(&self, job: Job) -> Result<Outcome, Failure> {
        self.attempt(&Move::from(job)).await
    }

    /// One try to bring a file to its outcome. After a failure everything may be repeated, and a next try of
    /// the same [`Move`] goes on from where this one came to.
    ///
    /// [`Outcome::Conflict`] and [`Outcome::Failed`] come as a [`Failure`], whose advice has the reason.
    pub async fn attempt(&self, file: &Move) -> Result<Outcome, Failure> {
        let job = &file.job;
        let held = self.in_flight.hold(&job.key).await;
        match self.checks.submit(job.named()).await? {
            Liveness::Alive => return Box::pin(self.leave_alone(job)).await,
            Liveness::Elsewhere => return Ok(Outcome::Elsewhere),
            Liveness::Dead => {}
        }
        failpoint::reach("recycle::after_check");
        let mut this = Try::new(job, self.looks_first(file), held);
        if let Some(proven) = file.proven()
            && let Some(outcome) = self.delete(file, &mut this, proven).await?
        {
            return Ok(outcome);
        }
        for _ in 0..STEPS {
            if let Some(outcome) = self.step(file, &mut this).await? {
                return Ok(outcome);
            }
        }
        let error = format!("the object '{}' keeps changing, or its copy does", job.key);
        Err(Failure::new(Advice::Retry, error))
    }

    fn looks_first(&self, file: &Move) -> Look {
        let assumes = self.shared.server.unseen_class == UnseenClass::AssumedStandard;
        let doubted = file.is_of_one_object() || file.is_doubted();
        let its_turn = || self.begun.fetch_add(1, Ordering::Relaxed) % LOOKED_AT == LOOKED_AT - 1;
        if self.shared.mode == Mode::Observe {
            Look::AtBoth
        } else if doubted || assumes && (self.classes_differ.load(Ordering::Relaxed) || its_turn()) {
            Look::AtSource
        } else {
            Look::Not
        }
    }

    /// The next step by the truth table; its outcome, where it was the last. All but the common ones are boxed: a
    /// file in flight takes as much memory as the largest of them.
    async fn step(&self, file: &Move, this: &mut Try) -> Result<Option<Outcome>, Failure> {
        let job = &file.job;
        let action = decide(&self.shared.server, &this.seen, this.intent, self.shared.clock.now());
        let (source, copy, compared) = match std::mem::take(&mut this.seen) {
            Seen::Nothing => (None, None, false),
            Seen::Source(source) => (Some(source), None, false),
            Seen::Both { source, copy, equal, .. } => (source, copy, equal.is_some()),
        };
        if source.as_ref().is_some_and(|source| file.is_another(source)) {
            return Ok(Some(Outcome::Alive));
        }
        match (action, source, copy) {
            (Action::CopyUnseen, ..) => self.copy_unseen(file, this).await,
            (Action::LookAtSource, ..) => Box::pin(self.look_at_source(job, this)).await,
            (Action::CopySeen, Some(source), _) => Box::pin(self.copy_seen(file, this, source)).await,
            (Action::Look, ..) => {
                let (source, copy) = Box::pin(self.look(&job.key)).await?;
                this.seen = Seen::Both { source, copy, equal: None, fresh: this.fresh };
                Ok(None)
            }
            (Action::Copy(_) | Action::Delete, Some(_), _) if self.shared.mode == Mode::Observe => {
                Ok(Some(Outcome::WouldMove))
            }
            (Action::Copy(over), Some(source), _) => Box::pin(self.copy(job, this, source, &over)).await,
            (Action::Compare, Some(source), Some(copy)) => {
                Box::pin(self.compare(job, this, source, copy)).await
            }
            (Action::Delete, Some(source), Some(copy)) => {
                failpoint::reach("recycle::after_prove");
                let (etag, size) = (copy.etag, copy.size);
                let proven = proven(job, this, source.etag, etag, size);
                self.delete(file, this, proven).await
            }
            (Action::AlreadyMoved, _, Some(copy)) => Box::pin(self.already_moved(job, copy)).await.map(Some),
            (Action::GiveUp(DeadReason::Conflict), Some(source), Some(copy))
                if !compared && !this.differ_still(&source, &copy) =>
            {
                this.look_again();
                Ok(None)
            }
            (Action::GiveUp(reason), source, copy) => {
                Err(refused(&job.key, reason, source.as_ref(), copy.as_ref()))
            }
            // The truth table says the others only of objects that are there.
            (
                Action::Missing
                | Action::CopySeen
                | Action::Copy(_)
                | Action::Compare
                | Action::Delete
                | Action::AlreadyMoved,
                ..,
            ) => Box::pin(self.missing(job)).await.map(Some),
        }
    }

    /// Deletes the source if it is what was proven; nothing where it is not any more.
    pub(super) async fn delete(
        &self,
        file: &Move,
        this: &mut Try,
        proven: Proven,
    ) -> Result<Option<Outcome>, Failure> {
        file.set_proven(Some(proven.clone()));
        match self.deletes.submit(Doomed { proven, held: Arc::clone(&this.held) }).await? {
            Ok(Ended::As(outcome)) => Ok(Some(outcome)),
            Ok(Ended::Changed) => {
                file.set_proven(None);
                // A copy without a look may lack what this source needs, such as its encryption: it is renewed.
                this.fresh = false;
                this.look_again();
                Ok(None)
            }
            Err(failure) => Err(failure),
        }
    }

    pub(super) async fn look(&self, key: &ObjectKey) -> Result<(Option<Head>, Option<Head>), Failure> {
        let buckets = &self.shared.buckets;
        let looks = try_join(buckets.head(Side::Object, key), buckets.head(Side::Recycle, key)).await;
        let (source, copy) = self.shared.judged(looks).await?;
        self.mind_class(source.as_ref());
        Ok((source, copy))
    }

    /// An object of another storage class, where all were taken for STANDARD ones.
    pub(super) fn mind_class(&self, source: Option<&Head>) {
        if self.shared.server.unseen_class == UnseenClass::AssumedStandard
            && source.is_some_and(|source| source.attributes.has_class())
            && !self.classes_differ.swap(true, Ordering::Relaxed)
        {
            tracing::info!("objects have storage classes of their own: every file is looked at from now on");
        }
    }
}

pub(super) fn proven(job: &Arc<Job>, this: &Try, source: ETag, copy: ETag, size: u64) -> Proven {
    Proven { job: Arc::clone(job), source, copy, size, started: this.started }
}

impl<R: Registry, B: Buckets> Shared<R, B> {
    /// The error as a failure, after the control question.
    pub(super) async fn judge(&self, error: StorageError) -> Failure {
        self.buckets.judge(error).await.into()
    }

    pub(super) async fn judged<T>(&self, result: Result<T, StorageError>) -> Result<T, Failure> {
        match result {
            Ok(value) => Ok(value),
            Err(error) => Err(self.judge(error).await),
        }
    }
}

//! The way of one file, from the first question to its outcome.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join;
use tokio::time::Instant;

use super::decision::{Action, decide, same_content};
use super::delete::{Proven, delete_batch};
use super::in_flight::InFlight;
use super::{Job, LedgerEntry, MAX_CHECKED, Meter, Registry, one_each};
use crate::batch::{Batcher, Limits};
use crate::clock::Clock;
use crate::config::Mode;
use crate::failpoint;
use crate::file::{FileId, ObjectKey};
use crate::outcome::{Advice, DeadReason, Failure, Liveness, Outcome};
use crate::storage::{self, Capabilities, Head, Kind, Over, Side, Storage, StorageError};

/// Questions to the database wait this long for company, and no more of them are held.
const CHECKS: Limits =
    Limits { size: MAX_CHECKED, linger: Duration::from_millis(5), concurrent: 2, queue: 4_096 };
/// Deletions wait longer: one request for many is worth it.
const DELETES: Limits =
    Limits { size: storage::MAX_KEYS, linger: Duration::from_millis(20), concurrent: 4, queue: 4_096 };
/// Notes of files for which there was nothing to delete.
const NOTES: Limits =
    Limits { size: storage::MAX_KEYS, linger: Duration::from_millis(5), concurrent: 2, queue: 4_096 };
/// How often one try looks again when the buckets change under its hands.
const LOOKS: usize = 3;

/// Moves files. One for the whole process: its batches gather the files of all messages.
pub struct Recycler<R> {
    shared: Arc<Shared<R>>,
    checks: Batcher<FileId, Liveness>,
    deletes: Batcher<Proven, Result<Outcome, Failure>>,
    notes: Batcher<LedgerEntry, Liveness>,
    in_flight: InFlight,
}

/// What a file on its way needs.
pub(super) struct Shared<R> {
    pub(super) storage: Storage,
    pub(super) server: Capabilities,
    pub(super) registry: R,
    pub(super) mode: Mode,
    pub(super) clock: Clock,
    pub(super) meter: Meter,
}

impl<R> fmt::Debug for Recycler<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recycler({:?})", self.shared.storage)
    }
}

impl<R: Registry> Recycler<R> {
    /// A recycler between the buckets of `storage`, which can do what `server` says. Its batches run on
    /// the current tokio runtime.
    pub fn new(
        storage: Storage,
        server: Capabilities,
        registry: R,
        mode: Mode,
        clock: Clock,
        meter: Meter,
    ) -> Self {
        let shared = Arc::new(Shared { storage, server, registry, mode, clock, meter });
        let checks = Batcher::new(CHECKS, {
            let shared = Arc::clone(&shared);
            move |files: Vec<FileId>| {
                let shared = Arc::clone(&shared);
                async move {
                    let count = files.len();
                    one_each(shared.registry.check(files).await?, count)
                }
            }
        });
        let deletes = Batcher::new(DELETES, {
            let shared = Arc::clone(&shared);
            move |batch: Vec<Proven>| {
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
        Self { shared, checks, deletes, notes, in_flight: InFlight::default() }
    }

    /// Brings one file to its outcome. After a failure everything may be repeated.
    ///
    /// [`Outcome::Conflict`] and [`Outcome::Failed`] come as a [`Failure`], whose advice has the reason.
    pub async fn recycle(&self, job: Job) -> Result<Outcome, Failure> {
        let _held = self.in_flight.hold(&job.key).await;
        match self.checks.submit(job.file.file_id.clone()).await? {
            Liveness::Alive => return self.leave_alone(&job).await,
            Liveness::Elsewhere => return Ok(Outcome::Elsewhere),
            Liveness::Dead => {}
        }
        failpoint::reach("recycle::after_check");
        for _ in 0..LOOKS {
            if let Some(outcome) = self.look_and_act(&job).await? {
                return Ok(outcome);
            }
        }
        let error = format!("the object '{}' keeps changing, or its copy does", job.key);
        Err(Failure::new(Advice::Retry, error))
    }

    /// One look at both buckets, and what follows from it; nothing where they changed meanwhile.
    async fn look_and_act(&self, job: &Job) -> Result<Option<Outcome>, Failure> {
        let started = Instant::now();
        let (source, copy) = self.look(&job.key).await?;
        let action = decide(source.as_ref(), copy.as_ref(), &self.shared.server, self.shared.clock.now());
        match (action, source, copy) {
            (Action::Move(over), Some(source), _) => self.transfer(job, source, over, started).await,
            (Action::AlreadyMoved, _, Some(copy)) => self.already_moved(job, copy).await.map(Some),
            (Action::GiveUp(reason), source, copy) => {
                Err(refused(&job.key, reason, source.as_ref(), copy.as_ref()))
            }
            // The truth table says the first two only of objects that are there.
            (Action::Missing | Action::Move(_) | Action::AlreadyMoved, ..) => {
                self.missing(job).await.map(Some)
            }
        }
    }

    async fn look(&self, key: &ObjectKey) -> Result<(Option<Head>, Option<Head>), Failure> {
        let storage = &self.shared.storage;
        if may_be_read_as_another(key) && !self.shared.server.exact_keys {
            let error = format!("this server may take '{key}' for another key; nothing was touched");
            return Err(Failure::new(Advice::GiveUp(DeadReason::Unsupported), error));
        }
        let looks = try_join(storage.head(Side::Object, key), storage.head(Side::Recycle, key)).await;
        self.shared.judged(looks).await
    }

    async fn transfer(
        &self,
        job: &Job,
        source: Head,
        over: Over,
        started: Instant,
    ) -> Result<Option<Outcome>, Failure> {
        let shared = &self.shared;
        if shared.mode == Mode::Observe {
            return Ok(Some(Outcome::WouldMove));
        }
        match shared.storage.copy_to_recycle(&job.key, &source, &over, &shared.server).await {
            Ok(_) => {}
            // Our own earlier request whose answer was lost, another worker, the CRM: look again.
            Err(error) if changed_meanwhile(&error) => return Ok(None),
            Err(error) => return Err(shared.judge(error).await),
        }
        failpoint::reach("recycle::after_copy");
        let copy = shared.judged(shared.storage.head(Side::Recycle, &job.key).await).await?;
        // What the copy's answer claims is no proof. A copy that is not the source's content is other
        // content: the next look finds that out and says so.
        let Some(copy) = copy.filter(|copy| same_content(&source, copy)) else { return Ok(None) };
        failpoint::reach("recycle::after_prove");
        let proven = Proven { job: job.clone(), source: source.etag, copy, started };
        self.deletes.submit(proven).await?.map(Some)
    }

    async fn already_moved(&self, job: &Job, copy: Head) -> Result<Outcome, Failure> {
        self.believe_the_miss().await?;
        let entry = job.entry(Outcome::AlreadyMoved, Some(&copy), self.shared.clock.now());
        match self.notes.submit(entry).await? {
            Liveness::Dead | Liveness::Elsewhere => Ok(Outcome::AlreadyMoved),
            Liveness::Alive => self.shared.bring_back(job, &copy).await,
        }
    }

    /// That an object is not there is believed only after both buckets answered and are still this
    /// environment's: some servers say the same of a bucket that is away.
    async fn believe_the_miss(&self) -> Result<(), Failure> {
        self.shared.storage.check().await?;
        self.shared.registry.confirm_environment().await
    }

    /// In neither bucket.
    async fn missing(&self, job: &Job) -> Result<Outcome, Failure> {
        self.believe_the_miss().await?;
        tracing::warn!(
            event = job.event.id, file = %job.file.file_id, key = %job.key,
            "the file is in neither bucket"
        );
        self.notes.submit(job.entry(Outcome::Missing, None, self.shared.clock.now())).await?;
        Ok(Outcome::Missing)
    }

    /// A living file stays. Where an earlier try took its object away before the file was found alive, and
    /// died or failed before it could bring it back, that is done now.
    async fn leave_alone(&self, job: &Job) -> Result<Outcome, Failure> {
        if self.shared.mode == Mode::Observe {
            return Ok(Outcome::Alive);
        }
        match self.look(&job.key).await {
            Ok((None, Some(copy))) => self.shared.bring_back(job, &copy).await,
            // An object of a living file that we cannot handle is none of our business.
            Ok(_) | Err(Failure { advice: Advice::GiveUp(_), .. }) => Ok(Outcome::Alive),
            Err(failure) => Err(failure),
        }
    }
}

impl<R: Registry> Shared<R> {
    /// The error as a failure, after the control question.
    pub(super) async fn judge(&self, error: StorageError) -> Failure {
        self.storage.judge(error).await.into()
    }

    pub(super) async fn judged<T>(&self, result: Result<T, StorageError>) -> Result<T, Failure> {
        match result {
            Ok(value) => Ok(value),
            Err(error) => Err(self.judge(error).await),
        }
    }

    async fn has_object(&self, key: &ObjectKey) -> Result<bool, Failure> {
        Ok(self.judged(self.storage.head(Side::Object, key).await).await?.is_some())
    }

    /// Copies the object of a file that is alive after all back to where it belongs, never over a newer
    /// one. The copy in the recycle bucket stays.
    pub(super) async fn bring_back(&self, job: &Job, copy: &Head) -> Result<Outcome, Failure> {
        let (event, file, key) = (&job.event.id, &job.file.file_id, &job.key);
        match self.storage.copy_back(key, copy, &self.server).await {
            Ok(_) => {
                tracing::error!(event, %file, %key, "a file is alive after its object moved: copied back");
            }
            Err(error) if error.kind == Kind::PreconditionFailed && self.has_object(key).await? => {
                tracing::error!(event, %file, %key, "a file is alive after its object moved: it has a newer one");
            }
            Err(error) => {
                let failure = self.judge(error).await;
                tracing::error!(event, %file, %key, %failure, "a file is alive after its object moved");
                // Until it is back, this must not end: the next try comes here again.
                let advice = match failure.advice {
                    Advice::Outage(_) | Advice::SlowDown | Advice::Hold => failure.advice,
                    Advice::Retry | Advice::GiveUp(_) => Advice::Retry,
                };
                return Err(Failure { advice, ..failure });
            }
        }
        Ok(Outcome::Alive)
    }
}

fn changed_meanwhile(error: &StorageError) -> bool {
    matches!(error.kind, Kind::PreconditionFailed | Kind::ConcurrentRequest | Kind::NotFound)
}

/// Keys that some servers normalise before they look.
fn may_be_read_as_another(key: &ObjectKey) -> bool {
    let key = key.as_str();
    key.contains('\\') || key.split('/').any(|segment| matches!(segment, "" | "." | ".."))
}

/// Why the truth table refuses, and what the operator can do.
fn refused(key: &ObjectKey, reason: DeadReason, source: Option<&Head>, copy: Option<&Head>) -> Failure {
    let shown = |head: Option<&Head>| {
        head.map_or_else(|| "nothing".to_owned(), |head| format!("{} bytes, ETag {}", head.size, head.etag))
    };
    let error = match reason {
        DeadReason::Locked => format!(
            "the object '{key}' is under Object Lock or a legal hold; nothing was touched. Replay when it is free"
        ),
        DeadReason::Archived => {
            format!(
                "the object '{key}' is archived; nothing was touched. Restore it from the archive, then replay"
            )
        }
        _ => format!(
            "under '{key}' the recycle bucket holds what is not proven to be the same content ({}) as in the \
             object bucket ({}); nothing was touched. Compare the two, remove or rename the one that is not \
             needed, then replay",
            shown(copy),
            shown(source)
        ),
    };
    Failure::new(Advice::GiveUp(reason), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_a_server_may_normalise_are_recognised() {
        for (key, odd) in [
            ("0f8fad5b-d9cb-469f-a165-70867728950e", false),
            ("a/b/c.pdf", false),
            ("a..b/.c", false),
            ("a//b", true),
            ("/a", true),
            ("a/", true),
            ("a/../b", true),
            ("./a", true),
            ("a\\b", true),
        ] {
            assert_eq!(may_be_read_as_another(&ObjectKey::try_from(key).unwrap()), odd, "{key}");
        }
    }
}

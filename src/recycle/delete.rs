//! The last steps, for many files at once: check again, delete what is dead and unchanged, note it, and
//! bring back what turns out to be alive.

use futures_util::future::{join_all, try_join_all};
use time::OffsetDateTime;
use tokio::time::Instant;

use super::mover::Shared;
use super::{Job, LedgerEntry, MAX_CHECKED, Moved, Registry, one_each};
use crate::failpoint;
use crate::outcome::{Advice, DeadReason, Failure, Liveness, Outcome};
use crate::storage::{ETag, Head};

/// A file whose copy is proven: its source may go, if the file is still dead.
pub(super) struct Proven {
    pub(super) job: Job,
    /// What was copied, and what alone may be deleted.
    pub(super) source: ETag,
    pub(super) copy: Head,
    pub(super) started: Instant,
}

type Answer = Result<Outcome, Failure>;

/// Every file of the batch gets its own answer; only a failed check is everybody's.
pub(super) async fn delete_batch<R: Registry>(
    shared: &Shared<R>,
    batch: Vec<Proven>,
) -> Result<Vec<Answer>, Failure> {
    let alive = check(shared, &batch).await?;
    let doomed: Vec<_> = batch
        .iter()
        .zip(&alive)
        .filter(|(_, liveness)| **liveness == Liveness::Dead)
        .map(|(proven, _)| (proven.job.key.clone(), proven.source.clone()))
        .collect();
    failpoint::reach("recycle::before_delete");
    let mut deleted = shared.storage.delete_sources(&doomed, &shared.server).await.into_iter();
    failpoint::reach("recycle::after_delete");

    let mut answers = Vec::with_capacity(batch.len());
    for liveness in alive {
        answers.push(match liveness {
            // The copy stays where it is, and does no harm there.
            Liveness::Alive => Ok(Outcome::Alive),
            Liveness::Elsewhere => Ok(Outcome::Elsewhere),
            Liveness::Dead => match deleted.next() {
                Some(Ok(_)) => Ok(Outcome::Moved),
                // Written again since it was copied, or refused for this one: the others go on.
                Some(Err(error)) => Err(shared.judge(error).await),
                None => Err(Failure::new(Advice::GiveUp(DeadReason::Internal), "a deletion got no answer")),
            },
        });
    }
    note(shared, &batch, &mut answers).await;
    failpoint::reach("recycle::after_note");
    Ok(answers)
}

/// Asks about all files of the batch, in the portions that the question takes.
async fn check<R: Registry>(shared: &Shared<R>, batch: &[Proven]) -> Result<Vec<Liveness>, Failure> {
    let questions = batch.chunks(MAX_CHECKED).map(|portion| async {
        let files: Vec<_> = portion.iter().map(|proven| proven.job.file.file_id.clone()).collect();
        one_each(shared.registry.check(files).await?, portion.len())
    });
    Ok(try_join_all(questions).await?.concat())
}

/// Notes what moved. A file that is alive after all is brought back; one that could not be noted fails,
/// and the next try finds it moved already and notes that.
async fn note<R: Registry>(shared: &Shared<R>, batch: &[Proven], answers: &mut [Answer]) {
    let now = shared.clock.now();
    let moved: Vec<usize> = (0..answers.len()).filter(|at| answers[*at] == Ok(Outcome::Moved)).collect();
    if moved.is_empty() {
        return;
    }
    let entries = moved.iter().map(|at| batch[*at].job.entry(Outcome::Moved, Some(&batch[*at].copy), now));
    let noted = shared.registry.note(entries.collect()).await;
    let noted = match noted.and_then(|noted| one_each(noted, moved.len())) {
        Ok(noted) => noted,
        Err(failure) => {
            for at in moved {
                answers[at] = Err(failure.clone());
            }
            return;
        }
    };
    let brought_back = moved.into_iter().zip(noted).map(|(at, liveness)| async move {
        let proven = &batch[at];
        match liveness {
            Liveness::Dead | Liveness::Elsewhere => {
                shared.count(proven, now);
                (at, Ok(Outcome::Moved))
            }
            Liveness::Alive => (at, shared.bring_back(&proven.job, &proven.copy).await),
        }
    });
    for (at, answer) in join_all(brought_back).await {
        answers[at] = answer;
    }
}

impl<R> Shared<R> {
    fn count(&self, proven: &Proven, now: OffsetDateTime) {
        (self.meter)(Moved {
            bytes: proven.copy.size,
            seconds: proven.started.elapsed().as_secs_f64(),
            seconds_since_deletion: proven
                .job
                .event
                .deleted_at
                // Clocks differ: a negative time is none.
                .map(|deleted| (now - deleted).as_seconds_f64().max(0.0)),
        });
    }
}

impl Job {
    /// The ledger's entry for this file, with `copy` as it is in the recycle bucket.
    pub(super) fn entry(&self, outcome: Outcome, copy: Option<&Head>, now: OffsetDateTime) -> LedgerEntry {
        LedgerEntry {
            file: self.file.clone(),
            key: self.key.clone(),
            etag: copy.map(|copy| copy.etag.clone()),
            size: copy.map(|copy| copy.size),
            event: self.event.clone(),
            outcome,
            recycled_at: match outcome {
                // S3 tells whole seconds; where the copy was ours, we know better.
                Outcome::Moved => now,
                _ => copy.and_then(|copy| copy.last_modified).unwrap_or(now),
            },
        }
    }
}

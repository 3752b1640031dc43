//! The last steps, for many files at once: check again, delete what is dead and unchanged, note it, and
//! bring back what turns out to be alive.

use futures_util::future::{join_all, try_join_all};
use time::OffsetDateTime;

use super::mover::Shared;
use super::progress::{Doomed, Proven};
use super::{Buckets, Counted, Job, LedgerEntry, MAX_CHECKED, Moved, Registry, one_each};
use crate::failpoint;
use crate::outcome::{Advice, DeadReason, Failure, Liveness, Outcome};
use crate::storage::{ETag, Kind};

/// How a deletion ended for one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The file has its outcome.
    As(Outcome),
    /// The source is not what was copied: it stays, and somebody has to look.
    Changed,
}

type Answer = Result<Ended, Failure>;

const MOVED: Answer = Ok(Ended::As(Outcome::Moved));

/// Every file of the batch gets its own answer; only a failed check is everybody's.
pub(super) async fn delete_batch<R: Registry, B: Buckets>(
    shared: &Shared<R, B>,
    batch: Vec<Doomed>,
) -> Result<Vec<Answer>, Failure> {
    let (batch, _held): (Vec<_>, Vec<_>) =
        batch.into_iter().map(|doomed| (doomed.proven, doomed.held)).unzip();
    let alive = if failpoint::removed("protection::check_before_delete") {
        vec![Liveness::Dead; batch.len()]
    } else {
        check(shared, &batch).await?
    };
    failpoint::reach("recycle::checked_again");
    let doomed: Vec<_> = batch
        .iter()
        .zip(&alive)
        .filter(|(_, liveness)| **liveness == Liveness::Dead)
        .map(|(proven, _)| (proven.job.key.clone(), proven.source.clone()))
        .collect();
    failpoint::reach("recycle::before_delete");
    let mut deleted = shared.buckets.delete_sources(&doomed, &shared.server).await.into_iter();
    failpoint::reach("recycle::after_delete");

    let answers = alive.into_iter().map(|liveness| match liveness {
        // The copy stays where it is, and does no harm there.
        Liveness::Alive => Ok(Ok(Ended::As(Outcome::Alive))),
        Liveness::Elsewhere => Ok(Ok(Ended::As(Outcome::Elsewhere))),
        Liveness::Dead => match deleted.next() {
            Some(Ok(_)) => Ok(MOVED),
            Some(Err(error)) if error.kind == Kind::PreconditionFailed => Ok(Ok(Ended::Changed)),
            // Refused for this one: the others go on.
            Some(Err(error)) => Err(error),
            None => {
                let error = "a deletion got no answer";
                Ok(Err(Failure::new(Advice::GiveUp(DeadReason::Internal), error)))
            }
        },
    });
    let judged = answers.map(|answer| async {
        match answer {
            Ok(answer) => answer,
            Err(error) => Err(shared.judge(error).await),
        }
    });
    let mut answers = join_all(judged).await;
    note(shared, &batch, &mut answers).await;
    failpoint::reach("recycle::after_note");
    Ok(answers)
}

/// Asks about all files of the batch, in the portions that the question takes.
async fn check<R: Registry, B: Buckets>(
    shared: &Shared<R, B>,
    batch: &[Proven],
) -> Result<Vec<Liveness>, Failure> {
    let questions = batch.chunks(MAX_CHECKED).map(|portion| async {
        let files: Vec<_> = portion.iter().map(|proven| proven.job.named()).collect();
        one_each(shared.registry.check(files).await?, portion.len())
    });
    Ok(try_join_all(questions).await?.concat())
}

/// Notes what moved. A file that is alive after all is brought back; one that could not be noted fails,
/// and the next try finds it moved already and notes that.
async fn note<R: Registry, B: Buckets>(shared: &Shared<R, B>, batch: &[Proven], answers: &mut [Answer]) {
    let now = shared.clock.now();
    let moved: Vec<usize> = (0..answers.len()).filter(|at| answers[*at] == MOVED).collect();
    if moved.is_empty() {
        return;
    }
    let entries = moved.iter().map(|at| {
        let Proven { job, copy, size, .. } = &batch[*at];
        // S3 tells whole seconds; the copy was ours, and we know better.
        job.entry(Outcome::Moved, Some((copy, *size)), now)
    });
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
                (at, MOVED)
            }
            Liveness::Alive => (at, shared.bring_back(&proven.job).await.map(Ended::As)),
        }
    });
    for (at, answer) in join_all(brought_back).await {
        answers[at] = answer;
    }
}

impl<R, B> Shared<R, B> {
    fn count(&self, proven: &Proven, now: OffsetDateTime) {
        (self.meter)(Counted::Moved(Moved {
            bytes: proven.size,
            seconds: proven.started.elapsed().as_secs_f64(),
            seconds_since_deletion: proven
                .job
                .event
                .deleted_at
                // Clocks differ: a negative time is none.
                .map(|deleted| (now - deleted).as_seconds_f64().max(0.0)),
        }));
    }
}

impl Job {
    /// The ledger's entry for this file, with ETag and size of what the recycle bucket holds since then.
    pub(super) fn entry(
        &self,
        outcome: Outcome,
        copy: Option<(&ETag, u64)>,
        recycled_at: OffsetDateTime,
    ) -> LedgerEntry {
        LedgerEntry {
            file: self.file.clone(),
            key: self.key.clone(),
            etag: copy.map(|(etag, _)| etag.clone()),
            size: copy.map(|(_, size)| size),
            event: self.event.clone(),
            outcome,
            recycled_at,
        }
    }
}

//! Messages over which the worker may have died.
//!
//! The broker's count of deliveries makes a suspect, never a culprit: it counts what was given back in an
//! outage, and everything that was in hand beside a message that crashed the worker. So a suspect is tried
//! alone (`shift.rs`), under a mark in the database that outlives the process. Only a mark that a dead worker
//! left counts, and some of them condemn. A worker that is merely slow or cut off keeps its mark alive.

use std::time::Duration;

use tracing::{debug, info, warn};
use uuid::Uuid;

use super::Worker;
use super::message::{Handled, Judge};
use super::shift::ALONE;
use super::verdict::{Verdict, verdict_of_whole};
use crate::broker::Delivery;
use crate::db::suspect::Mark;
use crate::failpoint;
use crate::outcome::{Advice, DeadReason, Failure};
use crate::recycle::Registry;

/// A message that was in hand so often before is a suspect.
const SUSPECT_AFTER: u64 = 3;
/// So many deaths under a mark are a crash loop.
const CRASHES: u32 = 3;
/// A worker that has not moved its mark on for so long is dead.
const LEASE: Duration = Duration::from_secs(6);
/// How often it moves it on.
const BEAT: Duration = Duration::from_secs(2);
/// How often a mark of another is looked at again, and how many times before the message goes back.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
const LOOKS: u32 = 10;

/// Who marks: this process, and no other that ever had its name.
#[derive(Debug)]
pub struct Marks(Uuid);

impl Default for Marks {
    fn default() -> Self {
        Self(Uuid::new_v4())
    }
}

impl Marks {
    fn owner(&self) -> String {
        self.0.to_string()
    }
}

/// Has it been in hand suspiciously often?
pub(super) fn is_suspect(delivery: &Delivery) -> bool {
    delivery.delivery_count >= SUSPECT_AFTER
}

impl<R: Registry> Worker<R> {
    /// Handles a suspect under its mark; the mark is for [`Worker::unmark`], after the settlement.
    pub(super) async fn look_at_suspect(
        self: &std::sync::Arc<Self>,
        delivery: &Delivery,
        judge: Judge,
    ) -> (Handled, Option<Mark>) {
        let message = Uuid::new_v5(&Uuid::NAMESPACE_OID, &delivery.body);
        let mark = Mark { message, trial: Uuid::new_v4() };
        let crashes = match self.mark(mark, delivery).await {
            // Without this, whatever came often is condemned.
            Ok(_) if failpoint::removed("protection::only_marks_condemn") => CRASHES,
            Ok(crashes) => crashes,
            Err(failure) => return (Handled::whole(None, Verdict::GiveBack(failure)), None),
        };
        if crashes >= CRASHES {
            let error = format!("the worker died {crashes} times while it handled nothing but this message");
            let failure = Failure::new(Advice::GiveUp(DeadReason::CrashLoop), error);
            // Not even decoded: that may be what kills.
            return (Handled::whole(None, verdict_of_whole(&failure, &[], 0, &[])), Some(mark));
        }
        if crashes > 0 {
            info!(crashes, "a message over which a worker died is tried alone");
        }
        let mut looking = std::pin::pin!(self.look_at_guarded(delivery, judge));
        tokio::select! {
            handled = &mut looking => return (handled, Some(mark)),
            never = self.keep(mark) => match never {},
            () = tokio::time::sleep(ALONE) => {}
        }
        // Others begin beside it now: whatever kills the worker from here on may be one of them.
        self.unmark(mark, false).await;
        (looking.await, None)
    }

    /// Takes the mark, after the one of another worker that still lives.
    async fn mark(&self, mark: Mark, delivery: &Delivery) -> Result<u32, Failure> {
        for _ in 0..LOOKS {
            let marked = self.db.mark_suspect(mark, delivery.id.as_deref(), &self.marks.owner(), LEASE).await;
            match marked {
                Ok(Some(crashes)) => return Ok(crashes),
                Ok(None) => {}
                // The schema is older than this program, or may not be written: work goes on without marks.
                Err(error) if error.is_of_schema() => {
                    warn!(%error, "a suspect is tried without a mark: run `file-recycler listener install`");
                    return Ok(0);
                }
                Err(error) => return Err(error.into()),
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Err(Failure::new(Advice::Hold, "another worker is trying this message"))
    }

    async fn keep(&self, mark: Mark) -> std::convert::Infallible {
        loop {
            tokio::time::sleep(BEAT).await;
            if let Err(error) = self.db.keep_mark(mark, LEASE).await {
                info!(%error, "the mark of a suspect could not be moved on");
            }
        }
    }

    /// The worker ends in good order: what is dropped in flight did not kill it.
    pub(super) async fn unmark_all(&self) {
        let owner = self.marks.owner();
        let unmarked = self.db.unmark_worker(&owner);
        if let Ok(Err(error)) = tokio::time::timeout(BEAT, unmarked).await {
            debug!(%error, "the marks of this worker could not be taken away");
        }
    }

    /// Takes the mark away. Where that fails, it is this process's own, and no crash as long as it lives.
    pub(super) async fn unmark(&self, mark: Mark, settled: bool) {
        if let Err(error) = self.db.unmark_suspect(mark, settled).await {
            warn!(%error, "the mark of a suspect could not be taken away");
        }
    }
}

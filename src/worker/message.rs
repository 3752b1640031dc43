//! One message, from its bytes to the ends of its files.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::stream::{FuturesOrdered, StreamExt as _};
use tokio::sync::OwnedSemaphorePermit;
use tracing::field::Empty;
use tracing::{Instrument as _, Span, error, info_span};

use super::Worker;
use super::suspect::is_suspect;
use super::verdict::{To, Verdict, verdict, verdict_of_whole};
use crate::broker::{Delivery, Publisher};
use crate::circuit::End;
use crate::db::suspect::Mark;
use crate::event::{Deleted, Event};
use crate::outcome::{Advice, DeadReason, Dependency, Failure, FileEnd, Outcome};
use crate::recycle::{Job, Move, Registry};
use crate::retry::{self, Pauses, WITHIN_A_DELIVERY};

/// What became of a message, for `settle`.
pub(super) struct Handled {
    /// The event, where the bytes were one.
    pub(super) event: Option<Event>,
    /// The ends of its files; empty where it failed as a whole.
    pub(super) ends: Vec<FileEnd>,
    /// Files that were left alone without being named by the event.
    pub(super) left: Vec<(Outcome, u64)>,
    /// What becomes of the message.
    pub(super) verdict: Verdict,
    /// How often the storage had been proven when it began.
    pub(super) proofs: u64,
}

/// What every line about a message carries: the id of its event, which is the message's own where it has one.
pub(super) fn span_of(delivery: &Delivery) -> Span {
    info_span!("message", id = delivery.id.as_deref(), event = Empty)
}

impl<R: Registry> Worker<R> {
    /// Handles one delivery to its end.
    pub(super) async fn handle(self: Arc<Self>, delivery: Delivery, publisher: &Publisher, judge: Judge) {
        let span = span_of(&delivery);
        async {
            let (handled, mark) = self.look(&delivery, judge).await;
            self.finish(delivery, handled, mark, publisher).await;
        }
        .instrument(span)
        .await;
    }

    /// Handles a message up to its settlement; one that may crash the worker under a mark.
    pub(super) async fn look(self: &Arc<Self>, delivery: &Delivery, judge: Judge) -> (Handled, Option<Mark>) {
        let proofs = self.gate.proofs();
        let (handled, mark) = if is_suspect(delivery) {
            self.look_at_suspect(delivery, judge).await
        } else {
            (self.look_at_guarded(delivery, judge).await, None)
        };
        (Handled { proofs, ..handled }, mark)
    }

    /// Settles a message, and takes its mark away.
    pub(super) async fn finish(
        &self,
        delivery: Delivery,
        handled: Handled,
        mark: Option<Mark>,
        publisher: &Publisher,
    ) {
        let settled = self.settle(delivery, handled, publisher).await;
        if let Some(mark) = mark {
            self.unmark(mark, settled).await;
        }
    }

    /// A panic on the way is this one message's: it goes to the dead-letter queue as a fault of our own.
    pub(super) async fn look_at_guarded(self: &Arc<Self>, delivery: &Delivery, judge: Judge) -> Handled {
        // In a box: the layout of all that is below it is more than the compiler takes in one piece.
        let handled = AssertUnwindSafe(Box::pin(self.look_at(delivery, judge))).catch_unwind().await;
        handled.unwrap_or_else(|_| {
            error!("the worker panicked over this message");
            let failure =
                Failure::new(Advice::GiveUp(DeadReason::Internal), "the worker panicked over this message");
            Handled::whole(None, verdict_of_whole(&failure, &[], 0, &[]))
        })
    }

    async fn look_at(self: &Arc<Self>, delivery: &Delivery, judge: Judge) -> Handled {
        crate::failpoint::reach("worker::delivered");
        let event = match Event::decode(&delivery.body, self.resolver.id_kind()) {
            Ok(event) => event,
            Err(malformed) => {
                let failure = Failure::new(Advice::GiveUp(malformed.reason), malformed.to_string());
                return Handled::whole(None, verdict_of_whole(&failure, &[], 0, &[]));
            }
        };
        if delivery.id.as_deref() != Some(event.id.as_str()) {
            Span::current().record("event", &event.id);
        }
        crate::failpoint::reach("worker::decoded");
        crate::failpoint::reach_about("worker::about", &event.id);
        let attempts = delivery.history.attempts;
        let ours = match self.admit(&event) {
            Ok(ours) => ours,
            Err(failure) => return self.failed_whole(event, &failure, attempts),
        };
        if !ours && let Some(verdict) = self.rest(delivery).await {
            return Handled::whole(Some(event), verdict);
        }
        let resolved =
            retry::retry(Pauses::system(WITHIN_A_DELIVERY), || self.resolver.resolve(&event, ours)).await;
        match resolved {
            Err(failure) => self.failed_whole(event, &failure, attempts),
            Ok(resolved) => {
                crate::failpoint::reach("worker::resolved");
                let mut ends = resolved.ends;
                ends.extend(self.recycle_all(resolved.jobs).await);
                self.let_go(ours, &event, &mut ends).await;
                let verdict = verdict(&ends, attempts, &self.delays);
                let handled = Handled { event: Some(event), ends, left: resolved.left, verdict, proofs: 0 };
                match judge {
                    Judge::WithOthers => self.judged(handled),
                    Judge::ByItself => handled,
                }
            }
        }
    }

    /// The same end, unless too many others end like it: then it is nobody's own, and nothing is counted.
    fn judged(&self, handled: Handled) -> Handled {
        let Some((event, end)) = handled.event.as_ref().zip(handled.end()) else { return handled };
        if end == End::Failed
            && let Some(why) = self.gate.doubt()
        {
            // It was in flight when the outage was found.
            let outage = Failure::new(Advice::Outage(Dependency::Storage), why);
            return Handled { verdict: Verdict::GiveBack(outage), ..handled };
        }
        match self.judgement.ended(&event.id, end) {
            Some(outage) => Handled { verdict: Verdict::GiveBack(outage), ..handled },
            None => handled,
        }
    }

    /// Is the event one of this environment's own (`true`), or an outside one (`false`)?
    fn admit(self: &Arc<Self>, event: &Event) -> Result<bool, Failure> {
        let environment = self.guard.admitted()?;
        match event.environment {
            None => Ok(false),
            Some(captured_by) if captured_by == environment => Ok(true),
            Some(_) if crate::failpoint::removed("protection::foreign_event") => Ok(true),
            Some(foreign) => {
                self.stop_for_foreign(&event.id, foreign);
                Err(Failure::new(Advice::Hold, format!("event {} is of environment {foreign}", event.id)))
            }
        }
    }

    /// Every file by itself: one's trouble is not the others'. A file takes its place before anything is
    /// made for it, so that a thousand messages of a thousand files need no more memory than one.
    async fn recycle_all(&self, jobs: Vec<Job>) -> Vec<FileEnd> {
        let mut ends = Vec::with_capacity(jobs.len());
        // In the event's order, so that what is left of it keeps that order.
        let mut moving = FuturesOrdered::new();
        for job in jobs {
            let place = Arc::clone(&self.places).acquire_owned();
            tokio::pin!(place);
            let place = loop {
                tokio::select! {
                    place = &mut place => break place,
                    Some(end) = moving.next(), if !moving.is_empty() => ends.push(end),
                }
            };
            moving.push_back(self.recycle_one(job, place.ok()));
        }
        while let Some(end) = moving.next().await {
            ends.push(end);
        }
        ends
    }

    async fn recycle_one(&self, job: Job, _place: Option<OwnedSemaphorePermit>) -> FileEnd {
        let file = job.file.clone();
        let one = Move::from(job);
        let tries = retry::retry(Pauses::system(WITHIN_A_DELIVERY), || self.recycler.attempt(&one));
        FileEnd { result: tries.await, file }
    }

    /// A file that is alive after a deletion that was captured may hang on nothing but a link that is gone now.
    async fn let_go(&self, ours: bool, event: &Event, ends: &mut [FileEnd]) {
        let is_alive = |end: &&mut FileEnd| matches!(end.result, Ok(Outcome::Alive));
        let alive: Vec<_> = ends.iter_mut().filter(is_alive).collect();
        if !ours || alive.is_empty() || !matches!(event.data, Deleted::Files { .. }) {
            return;
        }
        let files: Vec<_> = alive.iter().map(|end| end.file.file_id.clone()).collect();
        let done = retry::retry(Pauses::system(WITHIN_A_DELIVERY), || self.resolver.let_go(&files)).await;
        if let Err(failure) = done {
            // Tried again later with these files.
            for end in alive {
                end.result = Err(failure.clone());
            }
        }
    }

    fn failed_whole(&self, event: Event, failure: &Failure, attempts: u32) -> Handled {
        let verdict = verdict_of_whole(failure, event.data.files(), attempts, &self.delays);
        Handled::whole(Some(event), verdict)
    }
}

/// Whose trouble a failure may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judge {
    /// Everybody's, where too many messages fail alike.
    WithOthers,
    /// Its own: it was in an outage, and others have been served since.
    ByItself,
}

impl Handled {
    /// How it went as far as the storage is concerned; nothing where that is not known.
    pub(super) fn end(&self) -> Option<End> {
        let served = |end: &FileEnd| match &end.result {
            Ok(outcome) => !matches!(outcome, Outcome::Alive | Outcome::Elsewhere),
            Err(failure) => matches!(
                failure.advice,
                Advice::GiveUp(DeadReason::Conflict | DeadReason::Locked | DeadReason::Archived)
            ),
        };
        let fails = |end: &FileEnd| end.result.as_ref().is_err_and(|error| error.advice == Advice::Retry);
        if self.ends.iter().any(served) {
            Some(End::Worked)
        } else {
            self.ends.iter().any(fails).then_some(End::Failed)
        }
    }

    pub(super) fn whole(event: Option<Event>, verdict: Verdict) -> Self {
        Self { event, ends: Vec::new(), left: Vec::new(), verdict, proofs: 0 }
    }

    /// The outcomes that are final now: of the files that are done, left alone, or given up.
    pub(super) fn outcomes(&self) -> Vec<(Outcome, u64)> {
        let done = self.ends.iter().filter_map(|end| end.result.as_ref().ok()).map(|outcome| (*outcome, 1));
        let parts = match &self.verdict {
            Verdict::Settle(parts) => parts.as_slice(),
            Verdict::GiveBack(_) | Verdict::Rest { .. } => &[],
        };
        let given_up = parts.iter().filter_map(|part| match part.to {
            To::Dead(DeadReason::Conflict) => Some((Outcome::Conflict, part.files.len() as u64)),
            To::Dead(_) => Some((Outcome::Failed, part.files.len() as u64)),
            To::Wait(_) => None,
        });
        done.chain(given_up).chain(self.left.iter().copied()).collect()
    }
}

//! Drives one history: gives the turns, delivers and redelivers as a worker does, and judges.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::{JoinHandle, yield_now};

use super::history::{History, Turn};
use super::invariants::{Broken, Invariant};
use super::lies::Lie;
use super::world::{Port, State};
use crate::outcome::{Advice, Failure, Outcome};
use crate::recycle::Recycler;
use crate::storage::Side;

/// After so many yields every worker has come to its next turn: on the longest way there are a few tasks that
/// wake each other.
const YIELDS: usize = 10;
/// More steps than this and it does not end: a delivery has a few dozen, and a history a few deliveries.
const MAX_STEPS: usize = 1_000;
/// With nobody in its way, a file has its outcome after so many deliveries.
const LAST_DELIVERIES: usize = 2;
/// After so many failed deliveries a file is dead-lettered.
const MAX_FAILED: usize = 3;

/// How a delivery of one file ended.
pub(super) type End = Result<Outcome, Failure>;

/// A delivery that is under way.
pub(super) struct Delivery {
    pub(super) file: usize,
    pub(super) process: usize,
    pub(super) since: usize,
    /// How many deliveries have failed before this one.
    pub(super) failed: usize,
    pub(super) task: JoinHandle<End>,
}

/// A history on its way.
pub(super) struct Drive<'a> {
    pub(super) history: &'a History,
    pub(super) world: Arc<Mutex<State>>,
    /// The process in each of the two slots.
    pub(super) processes: [usize; 2],
    pub(super) recyclers: HashMap<usize, Arc<Recycler<Port, Port>>>,
    pub(super) deliveries: Vec<Delivery>,
}

/// Runs a history from its beginning to its end; what was broken, and how it came to that.
pub(super) fn run(history: &History, lie: Option<Lie>) -> Result<(), (Broken, String)> {
    // Without time: whatever would wait for some would panic.
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut state = State::new(history.server, lie);
    for (at, start) in history.files.iter().enumerate() {
        state.add_file(&format!("{}{at}", if start.odd { "odd//" } else { "plain/" }));
        for (side, what) in [(Side::Object, start.object), (Side::Recycle, start.recycle)] {
            if let Some((content, shape)) = what {
                let object = state.object(content, shape, None);
                state.put(at, side, object);
            }
        }
    }
    state.happened("the beginning");
    let world = Arc::new(Mutex::new(state));
    let drive = Drive {
        history,
        world: Arc::clone(&world),
        processes: [0, 1],
        recyclers: HashMap::new(),
        deliveries: Vec::new(),
    };
    runtime.block_on(drive.run());
    drop(runtime);
    let mut state = world.lock().unwrap_or_else(PoisonError::into_inner);
    match state.broken.take() {
        None => Ok(()),
        Some(broken) => Err((broken, state.log.join("\n"))),
    }
}

impl Drive<'_> {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(mut self) {
        for file in 0..self.history.files.len() {
            self.deliver(file, 0, 0);
        }
        let turns = &self.history.turns;
        let mut turns = turns.iter().copied();
        while self.advance(&mut turns).await {}
        // Nobody is in its way any more: what was dead-lettered is replayed, what was done comes again.
        for file in 0..self.history.files.len() {
            for left in (0..LAST_DELIVERIES).rev() {
                let end = self.last(file).await;
                let mut state = self.state();
                let Some(end) = end.filter(|_| state.broken.is_none()) else { return };
                let again =
                    matches!(&end, Err(Failure { advice, .. }) if !matches!(advice, Advice::GiveUp(_)));
                if !again || left == 0 {
                    state.judge_last(file, &end);
                    break;
                }
            }
        }
    }

    /// One turn; `false` when there is nothing left to come.
    async fn advance(&mut self, turns: &mut impl Iterator<Item = Turn>) -> bool {
        self.settle().await;
        self.collect().await;
        let turn = turns.next();
        if turn.is_none() && self.deliveries.is_empty() || self.state().broken.is_some() {
            return false;
        }
        self.take(turn.unwrap_or(Turn::Go { which: 0, fault: None }));
        let mut state = self.state();
        state.judge_steps(MAX_STEPS);
        true
    }

    async fn settle(&self) {
        for _ in 0..YIELDS {
            yield_now().await;
        }
    }

    /// Ends what has ended. What may be tried later comes again, as from a wait queue.
    async fn collect(&mut self) {
        while let Some(at) = self.deliveries.iter().position(|delivery| delivery.task.is_finished()) {
            let Delivery { file, process, since, failed, task } = self.deliveries.remove(at);
            let Ok(end) = task.await else {
                self.state().hold(Invariant::Ends, false, || "the worker panicked".to_owned());
                return;
            };
            let failed = match &end {
                Ok(_) | Err(Failure { advice: Advice::GiveUp(_), .. }) => MAX_FAILED,
                Err(Failure { advice: Advice::Retry, .. }) => failed + 1,
                Err(_) => failed,
            };
            let mut state = self.state();
            let step = state.step;
            state.log.push(format!("{step:3} {process} is done with file {file}: {end:?}"));
            state.judge_end(file, process, since, &end);
            drop(state);
            if failed < MAX_FAILED {
                self.deliver(file, process % 2, failed);
            }
        }
    }

    /// One delivery in peace.
    async fn last(&mut self, file: usize) -> Option<End> {
        self.deliver(file, 0, 0);
        let delivery = self.deliveries.pop()?;
        while !delivery.task.is_finished() {
            self.settle().await;
            self.state().judge_steps(MAX_STEPS);
            if self.state().broken.is_some() {
                return None;
            }
            self.take(Turn::Go { which: 0, fault: None });
            self.settle().await;
        }
        let end = delivery.task.await.ok()?;
        let mut state = self.state();
        state.judge_end(file, delivery.process, delivery.since, &end);
        Some(end)
    }
}

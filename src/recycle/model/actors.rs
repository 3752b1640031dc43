//! What happens next: a request goes on, somebody else acts, a worker dies or gets a message once more.

use std::sync::PoisonError;

use super::drive::{Delivery, Drive};
use super::history::Turn;
use super::server::Shape;
use crate::storage::Side;

impl Drive<'_> {
    /// Takes this turn.
    pub(super) fn take(&mut self, turn: Turn) {
        let files = self.history.files.len();
        let file = |file: u8| usize::from(file) % files;
        let mut state = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        match turn {
            Turn::Go { which, fault } => {
                if state.waiting.is_empty() {
                    state.step += 1;
                } else {
                    let which = usize::from(which) % state.waiting.len();
                    state.waiting.remove(which).go(fault);
                }
                return;
            }
            Turn::GoTogether => {
                for waiting in std::mem::take(&mut state.waiting) {
                    waiting.go(None);
                }
                return;
            }
            Turn::Crash { slot } => {
                drop(state);
                return self.crash(usize::from(slot));
            }
            Turn::Abandon { delivery } => {
                drop(state);
                return self.abandon(usize::from(delivery));
            }
            Turn::Deliver { file: at, slot } => {
                drop(state);
                return self.deliver(file(at), usize::from(slot), 0);
            }
            Turn::Write { file: at, content, shape } => {
                let object = state.object(content, shape, None);
                state.put(file(at), Side::Object, object);
            }
            Turn::WriteBack { file: at } => {
                if let Some((content, shape)) = self.history.files[file(at)].object {
                    let object = state.object(content, shape, None);
                    state.put(file(at), Side::Object, object);
                }
            }
            Turn::Remove { file: at } => {
                state.files[file(at)].object = None;
            }
            Turn::CopyByOthers { file: at } => {
                if let Some(source) = state.files[file(at)].object.clone() {
                    let copy = state.object(source.content, Shape::Whole, source.stamp);
                    state.others_touch_the_copy(file(at), Some(copy));
                }
            }
            Turn::WriteToRecycle { file: at, content } => {
                let object = state.object(content, Shape::Whole, None);
                state.others_touch_the_copy(file(at), Some(object));
            }
            Turn::Expire { file: at } => {
                state.others_touch_the_copy(file(at), None);
            }
            Turn::Live { file: at, liveness } => {
                state.set_liveness(file(at), liveness);
            }
        }
        state.happened(&format!("{turn:?}"));
    }

    /// The process dies: nothing that it has under way goes on. Its messages come again, to a new one.
    fn crash(&mut self, slot: usize) {
        let died = self.processes[slot];
        self.processes[slot] += 2;
        self.recyclers.remove(&died);
        {
            let mut state = self.state();
            state.died.insert(died);
            state.waiting.retain(|waiting| waiting.process != died);
            state.happened(&format!("{died} dies"));
        }
        let (lost, kept) = self.deliveries.drain(..).partition(|delivery| delivery.process == died);
        self.deliveries = kept;
        for delivery in Vec::<Delivery>::into_iter(lost) {
            delivery.task.abort();
            self.deliver(delivery.file, slot, delivery.failed);
        }
    }

    fn abandon(&mut self, which: usize) {
        if self.deliveries.is_empty() {
            return;
        }
        let delivery = self.deliveries.remove(which % self.deliveries.len());
        delivery.task.abort();
        let Delivery { file, process, failed, .. } = delivery;
        self.state().dropped.insert(process);
        self.state().happened(&format!("{process} drops its delivery of file {file}"));
        self.deliver(file, process % 2, failed);
    }
}

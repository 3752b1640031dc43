//! Deliveries of the event to a worker of the model.

use std::sync::{Arc, PoisonError};

use time::OffsetDateTime;

use super::drive::{Delivery, Drive, End};
use super::server::size;
use super::world::Port;
use crate::clock::Clock;
use crate::config::Mode;
use crate::file::FileRef;
use crate::outcome::{Advice, Failure};
use crate::recycle::{EventContext, Job, Move, Recycler};
use crate::retry::WITHIN_A_DELIVERY;

/// Most deliveries of one file at the same time.
const AT_ONCE: usize = 3;

impl Drive<'_> {
    /// A delivery of the event to the worker in this slot.
    pub(super) fn deliver(&mut self, file: usize, slot: usize, failed: usize) {
        if self.deliveries.iter().filter(|delivery| delivery.file == file).count() >= AT_ONCE {
            return;
        }
        let process = self.processes[slot];
        let recycler = self.recyclers.entry(process).or_insert_with(|| {
            let port = Port { world: Arc::clone(&self.world), process };
            let clock = Clock::from_fn(|| OffsetDateTime::UNIX_EPOCH);
            let can = self.history.server.can;
            Arc::new(Recycler::new(port.clone(), can, port, Mode::Move, clock, Arc::new(|_| ())))
        });
        let recycler = Arc::clone(recycler);
        let start = &self.history.files[file];
        let mut state = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        let size = start.object.filter(|_| start.sized).map(|(content, _)| size(content));
        let (file_id, key) = (state.files[file].id.clone(), state.files[file].key.clone());
        let job = Job {
            file: FileRef { file_id, schema: None, size, key: None },
            key,
            event: EventContext { id: "event".to_owned(), record: None, deleted_at: None },
        };
        let since = state.step;
        state.happened(&format!("{process} gets file {file}"));
        let task = tokio::spawn(async move { tries(&recycler, job).await });
        self.deliveries.push(Delivery { file, process, since, failed, task });
    }
}

/// What `worker/message.rs` does with a file, without the pauses.
async fn tries(recycler: &Recycler<Port, Port>, job: Job) -> End {
    let one = Move::from(job);
    let mut left = WITHIN_A_DELIVERY.count.unwrap_or_default();
    loop {
        match recycler.attempt(&one).await {
            Err(Failure { advice: Advice::Retry | Advice::SlowDown, .. }) if left > 0 => left -= 1,
            end => return end,
        }
    }
}

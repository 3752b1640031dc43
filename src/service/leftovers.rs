//! Sweeps up after dead workers: copies in parts that were begun and that nobody goes on with.

use std::time::Duration;

use tracing::{debug, warn};

use crate::clock::Clock;
use crate::gate::{self, Gate};
use crate::stop::Stop;
use crate::storage::Storage;

/// How often there is a look. What is swept has been idle for a day.
const EVERY: Duration = Duration::from_hours(1);

/// Looks at once and then every hour, while everything is there that a worker needs.
pub(super) async fn sweep(storage: Storage, gate: Gate, clock: Clock, stop: Stop) {
    loop {
        tokio::select! {
            () = stop.requested() => return,
            () = gate.opened(gate::WORKER) => {}
        }
        match storage.abort_leftovers(clock.now()).await {
            Ok(leftovers) => debug!(?leftovers, "looked for copies in parts that were left behind"),
            // Nothing depends on it, and an outage is told by those whom it keeps from working.
            Err(error) if error.is_outage() => debug!(%error, "no look for copies left behind"),
            Err(error) => warn!(%error, "copies in parts that were left behind could not be swept up"),
        }
        tokio::select! {
            () = stop.requested() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

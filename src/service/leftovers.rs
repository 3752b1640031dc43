//! Sweeps up: copies in parts that dead workers have begun and that nobody goes on with, and memory of deleted records
//! that nothing hangs on any more.

use std::time::Duration;

use tracing::{debug, warn};

use super::Parts;
use crate::db::DbError;
use crate::gate;
use crate::stop::Stop;

/// How often there is a look. What is swept has been idle for a day.
const EVERY: Duration = Duration::from_hours(1);

/// Looks at once and then every hour, while everything is there that a worker needs.
pub(super) async fn sweep(parts: Parts, stop: Stop) {
    loop {
        tokio::select! {
            () = stop.requested() => return,
            () = parts.gate.opened(gate::WORKER) => {}
        }
        match parts.storage.abort_leftovers(parts.clock.now()).await {
            Ok(leftovers) => debug!(?leftovers, "looked for copies in parts that were left behind"),
            // Nothing depends on it, and an outage is told by those whom it keeps from working.
            Err(error) if error.is_outage() => debug!(%error, "no look for copies left behind"),
            Err(error) => warn!(%error, "copies in parts that were left behind could not be swept up"),
        }
        match parts.forget_held().await {
            Ok(forgotten) => debug!(forgotten, "looked for deleted records that nothing hangs on any more"),
            Err(error) => debug!(%error, "no look for deleted records that nothing hangs on any more"),
        }
        tokio::select! {
            () = stop.requested() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

impl Parts {
    async fn forget_held(&self) -> Result<u64, DbError> {
        let known = self.registry.catalog().await?;
        // Not only as the worker knows it: a table may be new. Nor only as it is now: in the middle of the CRM's update one may
        // be away.
        let catalog = self.db.discover(&self.config.crm).await?;
        if known.fingerprint != catalog.fingerprint {
            return Ok(0);
        }
        self.db.forget_held(&catalog).await
    }
}

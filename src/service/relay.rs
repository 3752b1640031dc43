//! The relay, whenever everything that it needs is there: one connection's worth of relaying at a time.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Parts;
use crate::clock::Clock;
use crate::db::outbox::Backlog;
use crate::gate;
use crate::listener::{Observer, Relay, Relayed};
use crate::metrics::{Half, Metrics};
use crate::outcome::{Advice, Failure};
use crate::stop::Stop;

/// How long the broker may take to confirm.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(30);

/// Counts what the relay does.
struct Counter(Metrics, Clock);

impl Observer for Counter {
    fn relayed(&self, relayed: &Relayed) {
        self.0.succeeded(Half::Listener, self.1.now());
        info!(rows = relayed.rows, records = relayed.record_events, files = relayed.file_events, "relayed");
    }

    fn backlog(&self, backlog: &Backlog) {
        self.0.outbox(backlog.rows, backlog.oldest.unwrap_or_default());
    }
}

impl Parts {
    /// Relays until the stop; servers that come and go do not end it.
    pub(super) async fn listen(self, stop: Stop) {
        loop {
            tokio::select! {
                () = stop.requested() => return,
                () = self.gate.opened(gate::RELAY) => {}
            }
            if let Err(failure) = self.relay(&stop).await {
                warn!(error = %failure, "relaying was interrupted; what was not confirmed stays in the outbox");
                self.gate.report(&failure);
                if self.gate.why_closed(gate::RELAY).is_none() {
                    // Nobody's outage, like a deadlock: it passes.
                    tokio::time::sleep(self.config.listener.poll).await;
                }
            }
        }
    }

    /// Relays until the gate shuts, the connection breaks, or the stop. The environment is asked anew each
    /// time: it may have been adopted again meanwhile.
    async fn relay(&self, stop: &Stop) -> Result<(), Failure> {
        let environment = self.guard.admitted()?;
        let Some(database) = self.guard.database_name() else { return Ok(()) };
        let session = self.broker.connect_without_reading().await?;
        let publisher = session.publisher(&self.topology, CONFIRM_TIMEOUT).await?;
        let mut relay = Relay::new(self.db.clone(), environment, &database, self.config.recycle.grace);
        info!(%environment, "relaying");
        let over = CancellationToken::new();
        let relaying = async {
            let may_proceed = || std::future::ready(self.gate.why_closed(gate::RELAY).is_none());
            let counter = Counter(self.metrics.clone(), self.clock.clone());
            loop {
                let poll = self.config.listener.poll;
                match relay.run(&publisher, poll, &may_proceed, &counter, &over).await {
                    // Not an outage: whoever needs no publication goes on. And not a matter of connecting again.
                    Err(failure) if failure.advice == Advice::Hold && self.broker.blocked().is_some() => {
                        info!(error = %failure, "relaying waits; what was not confirmed stays in the outbox");
                        tokio::select! {
                            () = over.cancelled() => return Ok(()),
                            () = publisher.unblocked() => {}
                        }
                    }
                    ended => return ended,
                }
            }
        };
        let ends = async {
            tokio::select! {
                () = stop.requested() => {}
                (cause, why) = self.gate.shut(gate::RELAY) => info!(?cause, why, "no longer relaying"),
            }
            over.cancel();
            // The batch in flight is finished first, within its own bounds.
            std::future::pending::<()>().await;
        };
        let result = tokio::select! {
            result = relaying => result,
            () = ends => Ok(()),
        };
        drop(publisher);
        session.close().await;
        result
    }
}

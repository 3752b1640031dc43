//! The stop in two stages: first finish what is in flight, then stop at once.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Tells loops to stop. Cheap to clone; all clones are one stop.
#[derive(Clone, Debug)]
pub struct Stop {
    soft: CancellationToken,
    hard: CancellationToken,
    patience: Duration,
}

impl Stop {
    /// A stop that waits for `patience` for what is in flight.
    pub fn new(patience: Duration) -> Self {
        Self { soft: CancellationToken::new(), hard: CancellationToken::new(), patience }
    }

    /// Asks every loop to finish what it has begun.
    pub fn request(&self) {
        self.soft.cancel();
    }

    /// Waits until a stop was requested.
    pub async fn requested(&self) {
        self.soft.cancelled().await;
    }

    /// Was a stop requested?
    pub fn is_requested(&self) -> bool {
        self.soft.is_cancelled()
    }

    /// Waits until it is time to drop everything: the second signal, or the patience is over.
    pub async fn at_once(&self) {
        self.requested().await;
        tokio::select! {
            () = self.hard.cancelled() => {}
            () = tokio::time::sleep(self.patience) => {}
        }
    }

    /// Waits for tasks in flight, as long as the stop allows; what is left then is dropped.
    pub async fn drain(&self, in_flight: &mut JoinSet<()>) {
        let finished = async { while in_flight.join_next().await.is_some() {} };
        tokio::select! {
            () = finished => return,
            () = self.at_once() => {}
        }
        warn!(dropped = in_flight.len(), "stopped before everything in flight was finished");
        in_flight.shutdown().await;
    }

    /// Listens to SIGTERM and SIGINT: the first requests the stop, the second ends all patience.
    pub fn on_signals(&self) -> std::io::Result<()> {
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let stop = self.clone();
        tokio::spawn(async move { stop.follow(terminate, interrupt).await });
        Ok(())
    }

    async fn follow(&self, mut terminate: Signal, mut interrupt: Signal) {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if self.soft.is_cancelled() {
                info!("stopping at once");
                self.hard.cancel();
            } else {
                // Who reads the line may rely on it: nothing new begins any more.
                self.soft.cancel();
                info!(patience = ?self.patience, "stopping: finishing what is in flight");
            }
        }
    }
}

//! Watches one dependency each: opens and closes the gate, and keeps health and metrics true.

use std::time::Duration;

use tokio::time::Instant;

use crate::gate::{Cause, Gate};
use crate::health::Health;
use crate::outcome::{Dependency, Failure};
use crate::retry::{Pauses, UNTIL_BACK};
use crate::stop::Stop;

/// How long a dependency must have held before its next outage is probed quickly again: one that fails
/// for the work while it answers the probe must not be tried in a tight circle.
const SETTLED: Duration = Duration::from_mins(1);

/// One look at a dependency.
pub(super) trait Look: Send {
    /// Is it there, and as it must be?
    fn look(&mut self) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// A dependency under watch.
pub(super) struct Monitor {
    pub(super) dependency: Dependency,
    /// Pause between looks while all is well.
    pub(super) every: Duration,
    pub(super) gate: Gate,
    pub(super) health: Health,
}

impl Monitor {
    /// Looks until the stop; an outage that the loops report makes it look with growing pauses.
    pub(super) async fn run(self, stop: Stop, mut look: impl Look) {
        let mut pauses = Pauses::system(UNTIL_BACK);
        let mut up_since: Option<Instant> = None;
        loop {
            let looked = tokio::select! {
                () = stop.requested() => return,
                looked = look.look() => looked,
            };
            let pause = match looked {
                Ok(()) => {
                    self.gate.calm(self.dependency).await;
                    self.gate.open(self.cause());
                    match self.doubt() {
                        // Open for a trial, and not well before it has gone well.
                        Some(why) => self.health.down(self.dependency, &why),
                        None => self.health.up(self.dependency),
                    }
                    let since = *up_since.get_or_insert_with(Instant::now);
                    if since.elapsed() > SETTLED && self.doubt().is_none() {
                        pauses = Pauses::system(UNTIL_BACK);
                    }
                    self.every
                }
                Err(failure) => {
                    self.down(&failure.error);
                    up_since = None;
                    pauses.next().unwrap_or(UNTIL_BACK.longest)
                }
            };
            tokio::select! {
                () = stop.requested() => return,
                () = tokio::time::sleep(pause) => {}
                () = self.gate.undoubted(), if self.doubt().is_some() => {}
                () = self.gate.alarm(self.dependency), if up_since.is_some() => {
                    let Some((_, why)) = self.gate.why_closed(&[self.cause()]) else { continue };
                    self.down(&why);
                    up_since = None;
                    let pause = pauses.next().unwrap_or(UNTIL_BACK.longest);
                    tokio::select! {
                        () = stop.requested() => return,
                        () = tokio::time::sleep(pause) => {}
                    }
                }
            }
        }
    }

    fn cause(&self) -> Cause {
        self.dependency.into()
    }

    /// What files met at the storage before, and none has proven over since.
    fn doubt(&self) -> Option<String> {
        let doubt = (self.dependency == Dependency::Storage).then(|| self.gate.doubt()).flatten();
        doubt.map(|why| format!("{why}; files that wait are tried one by one"))
    }

    fn down(&self, why: &str) {
        self.gate.close(self.cause(), why);
        self.health.down(self.dependency, why);
    }
}

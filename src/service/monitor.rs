//! Watches one dependency each: opens and closes the gate, and keeps health and metrics true.

use std::time::Duration;

use tokio::time::Instant;

use crate::gate::{Cause, Gate};
use crate::health::Health;
use crate::outcome::{Advice, Dependency, Failure};
use crate::retry::{Pauses, UNTIL_BACK};
use crate::stop::Stop;

/// How long a dependency must have held before its next outage is probed quickly again: one that fails
/// for the work while it answers the probe must not be tried in a tight circle.
const SETTLED: Duration = Duration::from_mins(1);

/// How long a look may take. Each of its questions has bounds of its own, unless the other end has gone without a word.
const LOOKS_WITHIN: Duration = Duration::from_mins(2);

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
            // What is reported from here on, this look may have come too early for.
            self.gate.calm(self.dependency).await;
            let looked = tokio::select! {
                () = stop.requested() => return,
                looked = tokio::time::timeout(LOOKS_WITHIN, look.look()) => looked.unwrap_or_else(|_| {
                    let silent = format!("no look at it ends within {} s", LOOKS_WITHIN.as_secs());
                    Err(Failure::new(Advice::Outage(self.dependency), silent))
                }),
            };
            let pause = match looked {
                Ok(()) if self.gate.calm(self.dependency).await => self.reported(&mut up_since, &mut pauses),
                Ok(()) => {
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
                    let pause = self.reported(&mut up_since, &mut pauses);
                    tokio::select! {
                        () = stop.requested() => return,
                        () = tokio::time::sleep(pause) => {}
                    }
                }
            }
        }
    }

    /// Work has met an outage: tells it, and gives how long to wait before the next look.
    fn reported(&self, up_since: &mut Option<Instant>, pauses: &mut Pauses) -> Duration {
        // Nothing where another watcher of the gate has opened it since.
        let Some((_, why)) = self.gate.why_closed(&[self.cause()]) else { return Duration::ZERO };
        self.down(&why);
        *up_since = None;
        pauses.next().unwrap_or(UNTIL_BACK.longest)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::metrics::Metrics;

    /// All is well, whenever it is asked; but while it looks the first time, work meets an outage.
    struct TooEarly {
        gate: Gate,
        health: Health,
        /// Before each look: is it open, and is the dependency up?
        seen: tokio::sync::mpsc::UnboundedSender<(bool, bool)>,
        looks: u32,
    }

    impl Look for TooEarly {
        async fn look(&mut self) -> Result<(), Failure> {
            let open = self.gate.why_closed(&[Cause::Broker]).is_none();
            self.seen.send((open, self.health.is_up(Dependency::Broker))).unwrap();
            self.looks += 1;
            if self.looks == 2 {
                self.gate.report(&Failure::new(Advice::Outage(Dependency::Broker), "the queue is gone"));
            }
            Ok(())
        }
    }

    #[tokio::test]
    async fn an_outage_that_is_met_while_a_look_is_under_way_is_not_over_with_that_look() {
        let (gate, health) = (Gate::default(), Health::new(Clock::system(), Metrics::new()));
        let (seen, mut looks) = tokio::sync::mpsc::unbounded_channel();
        let look = TooEarly { gate: gate.clone(), health: health.clone(), seen, looks: 0 };
        let every = Duration::from_millis(10);
        let monitor = Monitor { dependency: Dependency::Broker, every, gate, health };
        let stop = Stop::new(Duration::ZERO);
        let running = tokio::spawn(monitor.run(stop.clone(), look));
        let mut next = async || looks.recv().await.unwrap();
        assert_eq!(next().await, (false, false), "nothing was looked at yet");
        assert_eq!(next().await, (true, true));
        assert_eq!(next().await, (false, false), "the look that came too early opened the gate");
        assert_eq!(next().await, (true, true), "it is over with the next one");
        stop.request();
        running.await.unwrap();
    }
}

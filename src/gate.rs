//! What keeps the loops from working: each cause is closed and opened by whoever watches it, and every
//! loop waits until all causes that concern it are open.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use crate::outcome::{Advice, Dependency, Failure};

/// Something that can forbid work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// PostgreSQL is out.
    Database,
    /// RabbitMQ is out.
    Broker,
    /// The S3 server is out.
    Storage,
    /// The guard refuses, or the operator has paused.
    Guard,
    /// The broker's queues are not as they must be.
    Topology,
    /// The listener is not installed.
    Listener,
}

impl Cause {
    const ALL: [Self; 6] =
        [Self::Database, Self::Broker, Self::Storage, Self::Guard, Self::Topology, Self::Listener];
}

impl From<Dependency> for Cause {
    fn from(dependency: Dependency) -> Self {
        match dependency {
            Dependency::Database => Self::Database,
            Dependency::Broker => Self::Broker,
            Dependency::Storage => Self::Storage,
        }
    }
}

/// What a worker needs.
pub const WORKER: &[Cause] = &[Cause::Database, Cause::Broker, Cause::Storage, Cause::Guard, Cause::Topology];
/// What a relay needs; not the storage: events are published while it is out.
pub const RELAY: &[Cause] = &[Cause::Database, Cause::Broker, Cause::Guard, Cause::Topology, Cause::Listener];

/// What a publisher of outside events needs; not the database: whoever deletes a record elsewhere cannot wait for ours.
/// What the guard saw last holds meanwhile.
pub const INTAKE: &[Cause] = &[Cause::Broker, Cause::Topology, Cause::Guard];

/// The causes that are closed now, each with its reason. Cheap to clone; all clones are one gate.
///
/// The storage has a third state between closed and open. An outage that work has met is not over when a look
/// finds the storage well: the look asks about our own objects, and files may fare otherwise. So it is in doubt
/// (the circuit is half open) until waiting files were tried: [`Gate::doubt`] and [`Gate::proven`].
#[derive(Clone, Debug)]
pub struct Gate {
    closed: Arc<watch::Sender<BTreeMap<Cause, String>>>,
    doubt: Arc<watch::Sender<Option<String>>>,
    proofs: Arc<AtomicU64>,
    alarms: Arc<[Notify; 3]>,
}

impl Default for Gate {
    /// A gate at which everything is closed: nothing has been looked at yet.
    fn default() -> Self {
        let closed = Cause::ALL.into_iter().map(|cause| (cause, "not checked yet".to_owned())).collect();
        Self {
            closed: Arc::new(watch::Sender::new(closed)),
            doubt: Arc::default(),
            proofs: Arc::default(),
            alarms: Arc::default(),
        }
    }
}

impl Gate {
    /// Opens a cause.
    pub fn open(&self, cause: Cause) {
        self.closed.send_if_modified(|closed| closed.remove(&cause).is_some());
    }

    /// Closes a cause, or changes the reason why it is closed.
    pub fn close(&self, cause: Cause, why: impl Into<String>) {
        let why = why.into();
        self.closed.send_if_modified(|closed| closed.insert(cause, why.clone()) != Some(why.clone()));
    }

    /// Why work that needs `needs` cannot go on; nothing when it can.
    pub fn why_closed(&self, needs: &[Cause]) -> Option<(Cause, String)> {
        first_closed(&self.closed.borrow(), needs)
    }

    /// Waits until all of `needs` are open.
    pub async fn opened(&self, needs: &[Cause]) {
        // The sender lives in `self`, so the wait cannot end otherwise.
        let _ = self.closed.subscribe().wait_for(|closed| first_closed(closed, needs).is_none()).await;
    }

    /// Waits until one of `needs` is closed, and says which and why.
    pub async fn shut(&self, needs: &[Cause]) -> (Cause, String) {
        let mut changes = self.closed.subscribe();
        loop {
            if let Some(closed) = first_closed(&changes.borrow_and_update(), needs) {
                return closed;
            }
            if changes.changed().await.is_err() {
                // The sender lives in `self`: unreachable, and waiting is the safe answer.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Takes note of a failure that concerns everybody: an outage closes its dependency at once and wakes
    /// the monitor that will find out when it is back.
    pub fn report(&self, failure: &Failure) {
        let dependency = match failure.advice {
            Advice::Outage(dependency) => dependency,
            Advice::SlowDown => Dependency::Storage,
            Advice::Retry | Advice::Hold | Advice::GiveUp(_) => return,
        };
        if dependency == Dependency::Storage {
            self.doubt.send_replace(Some(failure.error.clone()));
        }
        self.close(dependency.into(), failure.error.clone());
        self.alarms[dependency as usize].notify_one();
    }

    /// Takes note of what a message has met that began when the storage had been proven `proofs` times. What began
    /// before the last proof may have met the outage that is over: it must not begin a new one.
    pub fn report_since(&self, proofs: u64, failure: &Failure) {
        let of_storage = matches!(failure.advice, Advice::Outage(Dependency::Storage) | Advice::SlowDown);
        if !of_storage || proofs == self.proofs() {
            self.report(failure);
        }
    }

    /// How many times waiting files have shown that an outage of the storage is over.
    pub fn proofs(&self) -> u64 {
        self.proofs.load(Ordering::Relaxed)
    }

    /// What work has met at the storage, as long as no work has shown that it is over.
    pub fn doubt(&self) -> Option<String> {
        self.doubt.borrow().clone()
    }

    /// Waiting files were tried, and the storage served them: its circuit is closed.
    pub fn proven(&self) {
        self.proofs.fetch_add(1, Ordering::Relaxed);
        self.doubt.send_if_modified(|doubt| doubt.take().is_some());
    }

    /// Waits until nothing is in doubt.
    pub async fn undoubted(&self) {
        // The sender lives in `self`, so the wait cannot end otherwise.
        let _ = self.doubt.subscribe().wait_for(Option::is_none).await;
    }

    /// Forgets an alarm that has been looked into: it must not ring again once the gate is open. Says whether there was one.
    pub async fn calm(&self, dependency: Dependency) -> bool {
        let rung = self.alarms[dependency as usize].notified();
        tokio::time::timeout(Duration::ZERO, rung).await.is_ok()
    }

    /// Waits until an outage of `dependency` is reported.
    pub async fn alarm(&self, dependency: Dependency) {
        self.alarms[dependency as usize].notified().await;
    }
}

fn first_closed(closed: &BTreeMap<Cause, String>, needs: &[Cause]) -> Option<(Cause, String)> {
    needs.iter().find_map(|need| closed.get(need).map(|why| (*need, why.clone())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open_gate() -> Gate {
        let gate = Gate::default();
        for cause in Cause::ALL {
            gate.open(cause);
        }
        gate
    }

    #[tokio::test]
    async fn a_gate_is_closed_until_every_need_was_looked_at() {
        let gate = Gate::default();
        assert_eq!(gate.why_closed(RELAY), Some((Cause::Database, "not checked yet".into())));
        for cause in RELAY {
            gate.open(*cause);
        }
        gate.opened(RELAY).await;
        assert_eq!(gate.why_closed(WORKER), Some((Cause::Storage, "not checked yet".into())));
    }

    #[tokio::test]
    async fn an_outage_shuts_the_gate_and_rings_its_alarm() {
        let gate = open_gate();
        gate.report(&Failure::new(Advice::Outage(Dependency::Storage), "no answer"));
        assert_eq!(gate.shut(WORKER).await, (Cause::Storage, "no answer".into()));
        assert_eq!(gate.why_closed(RELAY), None);
        gate.alarm(Dependency::Storage).await;
        gate.report(&Failure::new(Advice::Outage(Dependency::Storage), "no answer"));
        assert!(gate.calm(Dependency::Storage).await);
        assert!(!gate.calm(Dependency::Storage).await, "once");
        let rings = tokio::time::timeout(Duration::from_millis(10), gate.alarm(Dependency::Storage)).await;
        assert!(rings.is_err(), "it was calmed");
    }

    #[tokio::test]
    async fn what_work_has_met_at_the_storage_stays_in_doubt_until_work_has_proven_otherwise() {
        let gate = open_gate();
        gate.report(&Failure::new(Advice::Outage(Dependency::Database), "no answer"));
        assert_eq!(gate.doubt(), None);
        gate.report(&Failure::new(Advice::Outage(Dependency::Storage), "refused"));
        gate.open(Cause::Storage);
        assert_eq!(gate.doubt().as_deref(), Some("refused"));
        gate.proven();
        gate.undoubted().await;
        assert_eq!(gate.doubt(), None);
    }

    #[test]
    fn what_began_before_the_storage_was_proven_begins_no_new_outage() {
        let gate = open_gate();
        let before = gate.proofs();
        gate.proven();
        for advice in [Advice::Outage(Dependency::Storage), Advice::SlowDown] {
            gate.report_since(before, &Failure::new(advice, "late"));
        }
        assert_eq!((gate.why_closed(WORKER), gate.doubt()), (None, None));
        gate.report_since(before, &Failure::new(Advice::Outage(Dependency::Database), "out"));
        assert_eq!(gate.why_closed(WORKER), Some((Cause::Database, "out".into())));
        gate.report_since(gate.proofs(), &Failure::new(Advice::SlowDown, "again"));
        assert_eq!(gate.doubt().as_deref(), Some("again"));
    }

    #[test]
    fn one_messages_trouble_leaves_the_gate_open() {
        let gate = open_gate();
        for advice in [Advice::Retry, Advice::Hold, Advice::GiveUp(crate::outcome::DeadReason::Locked)] {
            gate.report(&Failure::new(advice, "mine"));
        }
        assert_eq!(gate.why_closed(WORKER), None);
    }
}

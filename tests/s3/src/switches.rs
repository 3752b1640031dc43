//! The switches that the embedded server and the proxy have in common.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::bandwidth::Bandwidth;
use crate::counts::{Counters, Counts};
use crate::faults::{Fault, Faults};
use crate::fit::{Place, Unfit};
use crate::holds::Holds;
use crate::rule::Rule;

#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) counters: Counters,
    pub(crate) faults: Faults,
    pub(crate) holds: Holds,
    pub(crate) bandwidth: Bandwidth,
    latency_micros: AtomicU64,
    place: Place,
}

/// Counts, rules, latency and bandwidth of a running server or proxy. Cheap to clone; it outlives both.
#[derive(Debug, Clone)]
pub struct Switches(pub(crate) Arc<Parts>);

impl Switches {
    pub(crate) fn new(place: Place, latency: Duration) -> Self {
        let switches = Self(Arc::new(Parts {
            counters: Counters::default(),
            faults: Faults::default(),
            holds: Holds::default(),
            bandwidth: Bandwidth::default(),
            latency_micros: AtomicU64::new(0),
            place,
        }));
        switches.set_latency(latency);
        switches
    }

    /// What has been asked and answered since the start or the last reset.
    pub fn counts(&self) -> Counts {
        self.0.counters.read()
    }

    /// Sets all counts to zero, takes all rules away and lets go what is held. Latency,
    /// bandwidth and content stay.
    pub fn reset(&self) {
        self.0.counters.reset();
        self.0.faults.clear();
        self.0.holds.release();
    }

    /// Adds a rule after those there are.
    ///
    /// # Panics
    ///
    /// If the rule cannot be carried out here: a test that went on would prove nothing.
    #[track_caller]
    pub fn fault(&self, rule: Rule) {
        if let Err(error) = self.try_fault(rule) {
            panic!("{error}");
        }
    }

    /// Adds a rule after those there are, unless it cannot be carried out here.
    pub fn try_fault(&self, rule: Rule) -> Result<(), Unfit> {
        self.0.place.takes(&rule)?;
        self.0.faults.add(rule);
        Ok(())
    }

    /// The rules in force and what each has met.
    pub fn faults(&self) -> Vec<Fault> {
        self.0.faults.read()
    }

    /// Takes all rules away. What is held or stalled stays so.
    pub fn clear_faults(&self) {
        self.0.faults.clear();
    }

    /// Returns when a request is being held by [`Action::Hold`], at once if one is.
    ///
    /// [`Action::Hold`]: crate::Action::Hold
    pub async fn held(&self) {
        self.0.holds.any().await;
    }

    /// How many requests are being held.
    pub fn holding(&self) -> usize {
        self.0.holds.number()
    }

    /// Lets go what is being held now; what comes later is held anew.
    pub fn release(&self) {
        self.0.holds.release();
    }

    /// How long every request waits before anything else happens.
    pub fn latency(&self) -> Duration {
        Duration::from_micros(self.0.latency_micros.load(Ordering::Relaxed))
    }

    /// Makes every further request wait so long.
    pub fn set_latency(&self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.0.latency_micros.store(micros, Ordering::Relaxed);
    }

    /// Bytes a second that pass each way, of all connections together; 0 without a bound.
    pub fn bandwidth(&self) -> u64 {
        self.0.bandwidth.bound()
    }

    /// Lets no more than so many bytes a second pass each way, of all connections together, and any number
    /// with 0.
    pub fn set_bandwidth(&self, bytes_per_second: u64) {
        self.0.bandwidth.set(bytes_per_second);
    }
}

//! What `/readyz` says, what figures are compared with, and the storage's pace, as gauges.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use time::OffsetDateTime;

use super::{Gauges, Half, Labels, ListenerWord, Metrics, Seconds, add, signed};

const DAY: Duration = Duration::from_hours(24);

/// What `Health` knows at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a series of its own")]
pub struct Looks {
    /// `/readyz` would be 200.
    pub ready: bool,
    /// It works, with something that should be put right.
    pub degraded: bool,
    /// Nobody has advanced the nonce for too long.
    pub nonce_stale: bool,
    /// The guard lets files move.
    pub guard_open: bool,
    /// Exchange, queues and bindings are as they must be.
    pub topology_ok: bool,
    /// What the triggers are.
    pub listener: ListenerWord,
}

/// What `/readyz` says.
#[derive(Debug)]
pub(super) struct States {
    ready: Gauge,
    degraded: Gauge,
    nonce_stale: Gauge,
    guard_open: Gauge,
    topology_ok: Gauge,
    listener: Gauges<1>,
}

impl States {
    pub(super) fn new(registry: &mut Registry) -> Self {
        Self {
            ready: add(registry, "ready", "1 while /readyz answers 200", Gauge::default()),
            degraded: add(
                registry,
                "degraded",
                "1 while it works with something that should be put right",
                Gauge::default(),
            ),
            nonce_stale: add(
                registry,
                "nonce_stale",
                "1 while nobody has advanced the nonce for too long",
                Gauge::default(),
            ),
            guard_open: add(
                registry,
                "guard_open",
                "1 while the guard takes database and buckets for the ones that were adopted together",
                Gauge::default(),
            ),
            topology_ok: add(
                registry,
                "topology_ok",
                "1 while exchange, queues and bindings are as they must be",
                Gauge::default(),
            ),
            listener: add(
                registry,
                "listener_state",
                "1 for what the triggers are, 0 for everything else",
                Gauges::default(),
            ),
        }
    }

    pub(super) fn create_all(&self) {
        for word in ListenerWord::ALL {
            drop(self.listener.get_or_create(&[("state", word.as_str())]));
        }
    }
}

/// What the listener's watch counts.
#[derive(Debug)]
pub(super) struct Capture {
    failures: Gauge,
    unknown: Gauge,
    silent: Gauge,
}

impl Capture {
    pub(super) fn new(registry: &mut Registry) -> Self {
        Self {
            failures: add(
                registry,
                "capture_failures",
                "Deletions that the triggers could not capture, since they were installed",
                Gauge::default(),
            ),
            unknown: add(
                registry,
                "outbox_unknown_rows",
                "Outbox rows of kinds that this version does not know",
                Gauge::default(),
            ),
            silent: add(
                registry,
                "listener_silent_deletions",
                "Rows of files that vanished while nothing was captured (a hint)",
                Gauge::default(),
            ),
        }
    }
}

/// How work ended.
#[derive(Debug)]
pub(super) struct Ends {
    alive_after_move: Counter,
    last_success: Family<Labels<1>, Seconds>,
}

impl Ends {
    pub(super) fn new(registry: &mut Registry) -> Self {
        Self {
            alive_after_move: add(
                registry,
                "alive_after_move",
                "Times that a file was found alive after its object had moved",
                Counter::default(),
            ),
            last_success: add(
                registry,
                "last_success_timestamp_seconds",
                "When this half last brought work to its end, in seconds since 1970; 0: not yet",
                Family::default(),
            ),
        }
    }

    pub(super) fn create_all(&self) {
        for half in Half::ALL {
            drop(self.last_success.get_or_create(&[("half", half.as_str())]));
        }
    }
}

/// What figures are compared with.
#[derive(Debug)]
pub(super) struct Settings {
    grace: Seconds,
    retention: Seconds,
    backups: Seconds,
}

impl Settings {
    pub(super) fn new(registry: &mut Registry) -> Self {
        Self {
            grace: add(
                registry,
                "grace_seconds",
                "recycle.grace: how long after its deletion a file moves at the earliest, in seconds",
                Seconds::default(),
            ),
            retention: add(
                registry,
                "retention_seconds",
                "How long the recycle bucket's rules keep every file, in seconds; +Inf: for ever, NaN: not known",
                Seconds::default(),
            ),
            backups: add(
                registry,
                "database_backups_seconds",
                "retention.database_backups: the age of the oldest backup, in seconds; 0: not set",
                Seconds::default(),
            ),
        }
    }
}

/// A message in hand, counted until this is dropped.
#[derive(Debug)]
pub struct InHand(Gauge);

impl Drop for InHand {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The storage's pace.
#[derive(Debug)]
pub(super) struct Pace {
    limit: Gauge,
    in_flight: Gauge,
}

impl Pace {
    pub(super) fn new(registry: &mut Registry) -> Self {
        Self {
            limit: add(
                registry,
                "storage_requests_limit",
                "Most requests to the storage at once, as it is now; recycle.concurrency is its bound",
                Gauge::default(),
            ),
            in_flight: add(
                registry,
                "storage_requests_in_flight",
                "Requests to the storage that wait for their answer",
                Gauge::default(),
            ),
        }
    }
}

impl Metrics {
    /// What `/readyz` would say now, dependencies aside. `Health` calls it.
    pub fn looks(&self, looks: Looks) {
        let states = &self.0.states;
        states.ready.set(i64::from(looks.ready));
        states.degraded.set(i64::from(looks.degraded));
        states.nonce_stale.set(i64::from(looks.nonce_stale));
        states.guard_open.set(i64::from(looks.guard_open));
        states.topology_ok.set(i64::from(looks.topology_ok));
        for word in ListenerWord::ALL {
            let is = i64::from(*word == looks.listener);
            states.listener.get_or_create(&[("state", word.as_str())]).set(is);
        }
    }

    /// What is configured: the grace period, and the age of the oldest database backup.
    pub fn configured(&self, grace: Duration, backups: Option<Duration>) {
        self.0.settings.grace.set(grace.as_secs_f64());
        self.0.settings.backups.set(backups.unwrap_or_default().as_secs_f64());
        self.0.settings.retention.set(f64::NAN);
    }

    /// The recycle bucket's rules keep every file for so many days; infinity: for ever; NaN: nobody knows.
    pub fn retention_days(&self, days: f64) {
        self.0.settings.retention.set(days * DAY.as_secs_f64());
    }

    /// So many requests to the storage may be in flight, and so many are.
    pub fn storage_pace(&self, limit: usize, in_flight: usize) {
        self.0.pace.limit.set(signed(limit as u64));
        self.0.pace.in_flight.set(signed(in_flight as u64));
    }

    /// One more message is in hand.
    pub fn in_hand(&self) -> InHand {
        self.0.in_hand.inc();
        InHand(self.0.in_hand.clone())
    }

    /// The triggers failed this many times so far.
    pub fn capture_failures(&self, failures: u64) {
        self.0.capture.failures.set(signed(failures));
    }

    /// So many outbox rows are of kinds that this version does not know.
    pub fn outbox_unknown(&self, rows: u64) {
        self.0.capture.unknown.set(signed(rows));
    }

    /// So many rows of files vanished while nothing was captured.
    pub fn silent_deletions(&self, rows: u64) {
        self.0.capture.silent.set(signed(rows));
    }

    /// A file was found alive after its object had moved.
    pub fn alive_after_move(&self) {
        self.0.ends.alive_after_move.inc();
    }

    /// This half brought work to its end.
    pub fn succeeded(&self, half: Half, at: OffsetDateTime) {
        let since_1970 = (at - OffsetDateTime::UNIX_EPOCH).as_seconds_f64();
        self.0.ends.last_success.get_or_create(&[("half", half.as_str())]).set(since_1970);
    }
}

//! What `/metrics` says: every name and label of the contract, there from the start with the value 0.

mod classic;
mod labels;
mod process;
mod states;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry};
use time::OffsetDateTime;

use crate::event::EventType;
use crate::outcome::{DeadReason, Dependency, Outcome};

pub use labels::{Half, IntakeResult, ListenerWord, QueueKind, RequestResult, StorageOperation};
pub use states::{InHand, Looks};

/// Upper bounds of the time of one move, in seconds.
const MOVE_SECONDS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0, 600.0];
/// Upper bounds of the time from a deletion to its files' rest, in seconds: outages are in it.
const DELETE_TO_RECYCLE_SECONDS: [f64; 14] =
    [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0, 21_600.0];

/// Labels with their values; every word comes from an enum.
type Labels<const N: usize> = [(&'static str, &'static str); N];
type Counters<const N: usize> = Family<Labels<N>, Counter>;
type Gauges<const N: usize> = Family<Labels<N>, Gauge>;
/// A gauge of seconds, or of a moment.
type Seconds = Gauge<f64, AtomicU64>;

/// All metrics of this process. A clone writes to the same ones.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    events: Counters<1>,
    files: Counters<1>,
    move_seconds: Histogram,
    delete_to_recycle: Histogram,
    outbox_rows: Gauge,
    outbox_oldest: Seconds,
    queue_messages: Gauges<1>,
    in_hand: Gauge,
    dead_letters: Counters<1>,
    dependency_up: Gauges<1>,
    storage_requests: Counters<2>,
    bytes: Counter,
    paused: Gauge,
    capture: states::Capture,
    intake_events: Counters<1>,
    ends: states::Ends,
    states: states::States,
    settings: states::Settings,
    pace: states::Pace,
}

impl Metrics {
    /// Fresh metrics, all 0.
    pub fn new() -> Self {
        let mut all = Registry::default();
        all.register_collector(Box::new(process::Process::began(OffsetDateTime::now_utc())));
        let registry = all.sub_registry_with_prefix("file_recycler");
        registry.register("build", "What runs", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        registry.register_collector(Box::new(process::HeldBack));
        let inner = Inner {
            events: add(registry, "events", "Events consumed, by type", Counters::default()),
            files: add(registry, "files", "Files done with, by outcome", Counters::default()),
            move_seconds: add(
                registry,
                "move_seconds",
                "Time that one file's move took, in seconds",
                Histogram::new(MOVE_SECONDS),
            ),
            delete_to_recycle: add(
                registry,
                "delete_to_recycle_seconds",
                "Time from a deletion to its file being in the recycle bucket, in seconds",
                Histogram::new(DELETE_TO_RECYCLE_SECONDS),
            ),
            outbox_rows: add(registry, "outbox_rows", "Rows that wait in the outbox", Gauge::default()),
            outbox_oldest: add(
                registry,
                "outbox_oldest_seconds",
                "Age of the oldest row in the outbox, in seconds",
                Gauge::default(),
            ),
            queue_messages: add(
                registry,
                "queue_messages",
                "Messages that are ready, by kind of queue",
                Gauges::default(),
            ),
            in_hand: add(
                registry,
                "deliveries_in_hand",
                "Messages of the work queue that were taken and are not settled yet",
                Gauge::default(),
            ),
            dead_letters: add(registry, "dead_letters", "Dead letters, by reason", Counters::default()),
            dependency_up: add(registry, "dependency_up", "1 while it answers", Gauges::default()),
            storage_requests: add(
                registry,
                "storage_requests",
                "Requests to the storage, by operation and result",
                Counters::default(),
            ),
            bytes: add(registry, "bytes", "Bytes of the files moved", Counter::default()),
            paused: add(registry, "paused", "1 while an operator has paused all work", Gauge::default()),
            capture: states::Capture::new(registry),
            intake_events: add(registry, "intake_events", "Events posted, by result", Counters::default()),
            ends: states::Ends::new(registry),
            states: states::States::new(registry),
            settings: states::Settings::new(registry),
            pace: states::Pace::new(registry),
            registry: all,
        };
        inner.create_all();
        Self(Arc::new(inner))
    }

    /// An event was consumed.
    pub fn event(&self, kind: EventType) {
        self.0.events.get_or_create(&[("type", kind.as_str())]).inc();
    }

    /// A file was done with.
    pub fn file(&self, outcome: Outcome) {
        self.0.files.get_or_create(&[("outcome", outcome.as_str())]).inc();
    }

    /// A file's move took this long.
    pub fn move_seconds(&self, took: Duration) {
        self.0.move_seconds.observe(took.as_secs_f64());
    }

    /// A file came to rest this long after its deletion.
    pub fn delete_to_recycle(&self, took: Duration) {
        self.0.delete_to_recycle.observe(took.as_secs_f64());
    }

    /// The outbox has this many rows, the oldest of this age.
    pub fn outbox(&self, rows: u64, oldest: Duration) {
        self.0.outbox_rows.set(signed(rows));
        self.0.outbox_oldest.set(oldest.as_secs_f64());
    }

    /// Queues of this kind hold this many messages.
    pub fn queue(&self, kind: QueueKind, messages: u64) {
        self.0.queue_messages.get_or_create(&[("queue", kind.as_str())]).set(signed(messages));
    }

    /// A message went to the dead-letter queue.
    pub fn dead_letter(&self, reason: DeadReason) {
        self.0.dead_letters.get_or_create(&[("reason", reason.as_str())]).inc();
    }

    /// A dependency answers, or does not. `Health` calls it, so that the two never differ.
    pub fn dependency_up(&self, name: Dependency, up: bool) {
        self.0.dependency_up.get_or_create(&[("name", name.as_str())]).set(i64::from(up));
    }

    /// One try of a request to the storage ended.
    pub fn storage_request(&self, operation: StorageOperation, result: RequestResult) {
        let labels = [("operation", operation.as_str()), ("result", result.as_str())];
        self.0.storage_requests.get_or_create(&labels).inc();
    }

    /// A moved file had this many bytes.
    pub fn bytes(&self, bytes: u64) {
        self.0.bytes.inc_by(bytes);
    }

    /// An operator has paused all work, or resumed it. `Health` calls it.
    pub fn paused(&self, paused: bool) {
        self.0.paused.set(i64::from(paused));
    }

    /// An event was handed over by HTTP.
    pub fn intake(&self, result: IntakeResult) {
        self.0.intake_events.get_or_create(&[("result", result.as_str())]).inc();
    }

    /// Everything in the OpenMetrics text format 1.0.
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail; half an answer would be no worse than none.
        let _ = encode(&mut text, &self.0.registry);
        // As the format wants it.
        text.replace(" inf\n", " +Inf\n")
    }

    /// Everything in the Prometheus text format 0.0.4.
    pub fn render_classic(&self) -> String {
        classic::from_open_metrics(&self.render())
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Inner {
    /// A series that is there from the start has a rate also for its first event.
    fn create_all(&self) {
        for kind in EventType::ALL {
            drop(self.events.get_or_create(&[("type", kind.as_str())]));
        }
        for outcome in Outcome::ALL {
            drop(self.files.get_or_create(&[("outcome", outcome.as_str())]));
        }
        for kind in QueueKind::ALL {
            drop(self.queue_messages.get_or_create(&[("queue", kind.as_str())]));
        }
        for reason in DeadReason::ALL {
            drop(self.dead_letters.get_or_create(&[("reason", reason.as_str())]));
        }
        for result in IntakeResult::ALL {
            drop(self.intake_events.get_or_create(&[("result", result.as_str())]));
        }
        self.ends.create_all();
        self.states.create_all();
        for name in Dependency::ALL {
            drop(self.dependency_up.get_or_create(&[("name", name.as_str())]));
        }
        for operation in StorageOperation::ALL {
            for result in RequestResult::ALL {
                let labels = [("operation", operation.as_str()), ("result", result.as_str())];
                drop(self.storage_requests.get_or_create(&labels));
            }
        }
    }
}

/// Registers a metric and hands it back.
fn add<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

/// A gauge counts with a sign; what does not fit is shown as its largest value.
fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;

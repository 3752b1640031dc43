//! What `/metrics` says: every name and label of the contract, there from the start with the value 0.

mod classic;
mod labels;

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

use crate::event::EventType;
use crate::outcome::{DeadReason, Dependency, Outcome};

pub use labels::{IntakeResult, QueueKind, RequestResult, StorageOperation};

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
    outbox_oldest: Gauge<f64, AtomicU64>,
    queue_messages: Gauges<1>,
    dead_letters: Counters<1>,
    dependency_up: Gauges<1>,
    storage_requests: Counters<2>,
    bytes: Counter,
    paused: Gauge,
    capture_failures: Gauge,
    outbox_unknown: Gauge,
    silent_deletions: Gauge,
    intake_events: Counters<1>,
}

impl Metrics {
    /// Fresh metrics, all 0.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("file_recycler");
        registry.register("build", "What runs", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        let inner = Inner {
            events: add(&mut registry, "events", "Events consumed, by type", Counters::default()),
            files: add(&mut registry, "files", "Files done with, by outcome", Counters::default()),
            move_seconds: add(
                &mut registry,
                "move_seconds",
                "Time that one file's move took, in seconds",
                Histogram::new(MOVE_SECONDS),
            ),
            delete_to_recycle: add(
                &mut registry,
                "delete_to_recycle_seconds",
                "Time from a deletion to its file being in the recycle bucket, in seconds",
                Histogram::new(DELETE_TO_RECYCLE_SECONDS),
            ),
            outbox_rows: add(&mut registry, "outbox_rows", "Rows that wait in the outbox", Gauge::default()),
            outbox_oldest: add(
                &mut registry,
                "outbox_oldest_seconds",
                "Age of the oldest row in the outbox, in seconds",
                Gauge::default(),
            ),
            queue_messages: add(
                &mut registry,
                "queue_messages",
                "Messages that are ready, by kind of queue",
                Gauges::default(),
            ),
            dead_letters: add(&mut registry, "dead_letters", "Dead letters, by reason", Counters::default()),
            dependency_up: add(&mut registry, "dependency_up", "1 while it answers", Gauges::default()),
            storage_requests: add(
                &mut registry,
                "storage_requests",
                "Requests to the storage, by operation and result",
                Counters::default(),
            ),
            bytes: add(&mut registry, "bytes", "Bytes of the files moved", Counter::default()),
            paused: add(&mut registry, "paused", "1 while an operator has paused all work", Gauge::default()),
            capture_failures: add(
                &mut registry,
                "capture_failures",
                "Deletions that the triggers could not capture, since they were installed",
                Gauge::default(),
            ),
            outbox_unknown: add(
                &mut registry,
                "outbox_unknown_rows",
                "Outbox rows of kinds that this version does not know",
                Gauge::default(),
            ),
            silent_deletions: add(
                &mut registry,
                "listener_silent_deletions",
                "Rows of files that vanished while nothing was captured (a hint)",
                Gauge::default(),
            ),
            intake_events: add(
                &mut registry,
                "intake_events",
                "Events posted, by result",
                Counters::default(),
            ),
            registry,
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

    /// The triggers failed this many times so far.
    pub fn capture_failures(&self, failures: u64) {
        self.0.capture_failures.set(signed(failures));
    }

    /// So many outbox rows are of kinds that this version does not know.
    pub fn outbox_unknown(&self, rows: u64) {
        self.0.outbox_unknown.set(signed(rows));
    }

    /// So many rows of files vanished while nothing was captured.
    pub fn silent_deletions(&self, rows: u64) {
        self.0.silent_deletions.set(signed(rows));
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
        text
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
mod tests {
    use super::*;

    #[test]
    fn every_contracted_series_is_there_from_the_start() {
        let text = Metrics::new().render();
        for line in [
            "file_recycler_events_total{type=\"crm.record.deleted.v1\"} 0",
            "file_recycler_events_total{type=\"crm.file.deleted.v1\"} 0",
            "file_recycler_files_total{outcome=\"already_moved\"} 0",
            "file_recycler_move_seconds_count 0",
            "file_recycler_delete_to_recycle_seconds_bucket{le=\"+Inf\"} 0",
            "file_recycler_outbox_rows 0",
            "file_recycler_outbox_oldest_seconds 0.0",
            "file_recycler_queue_messages{queue=\"dead\"} 0",
            "file_recycler_dead_letters_total{reason=\"crash-loop\"} 0",
            "file_recycler_dependency_up{name=\"storage\"} 0",
            "file_recycler_storage_requests_total{operation=\"copy_object\",result=\"retry\"} 0",
            "file_recycler_bytes_total 0",
            "file_recycler_paused 0",
            "file_recycler_capture_failures 0",
            "file_recycler_outbox_unknown_rows 0",
            "file_recycler_listener_silent_deletions 0",
            "file_recycler_intake_events_total{result=\"unavailable\"} 0",
            concat!("file_recycler_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn what_happened_is_counted_under_its_own_label() {
        let metrics = Metrics::new();
        let clone = metrics.clone();
        clone.event(EventType::FileDeleted);
        clone.file(Outcome::Moved);
        clone.file(Outcome::Moved);
        clone.move_seconds(Duration::from_millis(20));
        clone.outbox(7, Duration::from_millis(1_500));
        clone.queue(QueueKind::Wait, 3);
        clone.dead_letter(DeadReason::Conflict);
        clone.dependency_up(Dependency::Broker, true);
        clone.storage_request(StorageOperation::DeleteObjects, RequestResult::Error);
        clone.bytes(4_096);
        clone.paused(true);
        clone.intake(IntakeResult::Accepted);
        clone.capture_failures(u64::MAX);
        let text = metrics.render();
        for line in [
            "file_recycler_events_total{type=\"crm.file.deleted.v1\"} 1",
            "file_recycler_files_total{outcome=\"moved\"} 2",
            "file_recycler_move_seconds_bucket{le=\"0.01\"} 0",
            "file_recycler_move_seconds_bucket{le=\"0.025\"} 1",
            "file_recycler_outbox_rows 7",
            "file_recycler_outbox_oldest_seconds 1.5",
            "file_recycler_queue_messages{queue=\"wait\"} 3",
            "file_recycler_dead_letters_total{reason=\"conflict\"} 1",
            "file_recycler_dependency_up{name=\"broker\"} 1",
            "file_recycler_storage_requests_total{operation=\"delete_objects\",result=\"error\"} 1",
            "file_recycler_bytes_total 4096",
            "file_recycler_paused 1",
            "file_recycler_intake_events_total{result=\"accepted\"} 1",
            "file_recycler_capture_failures 9223372036854775807",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}

//! Tests of `health`: what makes it ready, and that each change is one line of log.

use std::io;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use time::{Duration, OffsetDateTime};

use super::*;

/// A clock that the test sets, in seconds after 1970.
fn clock() -> (Clock, Arc<AtomicI64>) {
    let seconds = Arc::new(AtomicI64::new(0));
    let read = seconds.clone();
    let now = move || OffsetDateTime::UNIX_EPOCH + Duration::seconds(read.load(Ordering::SeqCst));
    (Clock::from_fn(now), seconds)
}

fn well() -> Health {
    let health = Health::new(clock().0, Metrics::new());
    for name in Dependency::ALL {
        health.up(*name);
    }
    health.guard(GuardState::Open);
    health.topology(Ok(()));
    health.listener(ListenerState::Installed);
    health
}

#[test]
fn nothing_is_well_before_it_was_checked() {
    let health = Health::new(clock().0, Metrics::new());
    let report = health.report();
    assert!(!report.ready);
    assert_eq!(report.dependencies.storage.message.as_deref(), Some("not checked yet"));
    assert_eq!(report.listener.state, ListenerWord::Unknown);
    assert!(!health.is_up(Dependency::Database));
    assert!(well().report().ready);
}

#[test]
fn each_trouble_alone_makes_it_not_ready() {
    type Trouble = (&'static str, fn(&Health));
    let troubles: [Trouble; 9] = [
        ("database", |health| health.down(Dependency::Database, "x")),
        ("broker", |health| health.down(Dependency::Broker, "x")),
        ("storage", |health| health.down(Dependency::Storage, "x")),
        ("blocked", |health| health.blocked(true)),
        ("guard", |health| health.guard(GuardState::Refused("x".into()))),
        ("guard unknown", |health| health.guard(GuardState::Unknown)),
        ("topology", |health| health.topology(Err("x".into()))),
        ("listener", |health| health.listener(ListenerState::NotInstalled("x".into()))),
        ("capture", |health| health.listener(ListenerState::Failing("x".into()))),
    ];
    for (name, trouble) in troubles {
        let health = well();
        trouble(&health);
        assert!(!health.report().ready, "{name}");
    }
}

#[test]
fn drift_is_degraded_and_a_pause_or_a_listener_elsewhere_changes_nothing() {
    let health = well();
    health.listener(ListenerState::Drift("ContactFile has no trigger".into()));
    let report = health.report();
    assert!(report.ready && report.degraded && report.listener.is.ok);
    health.listener(ListenerState::Silent("rows vanish".into()));
    let report = health.report();
    assert!(report.ready && report.degraded && report.listener.state == ListenerWord::Silent);
    health.listener(ListenerState::NotOurs);
    health.paused(Some("a restore".into()));
    let report = health.report();
    assert!(report.ready && !report.degraded);
    assert_eq!(report.paused.map(|paused| paused.why).as_deref(), Some("a restore"));
}

#[test]
fn the_json_has_the_contracted_names_and_times_of_the_last_change() {
    let (clock, seconds) = clock();
    let health = Health::new(clock, Metrics::new());
    seconds.store(10, Ordering::SeqCst);
    health.down(Dependency::Broker, "connection refused\n");
    health.up(Dependency::Database);
    seconds.store(20, Ordering::SeqCst);
    health.down(Dependency::Broker, "timed out");
    health.up(Dependency::Database);
    let json = serde_json::to_value(health.report()).unwrap();
    assert_eq!(json["ready"], false);
    assert_eq!(json["dependencies"]["database"]["since"], "1970-01-01T00:00:10Z");
    assert_eq!(json["dependencies"]["database"]["message"], serde_json::Value::Null);
    // Down since the start: what was never asked was never up.
    assert_eq!(json["dependencies"]["broker"]["since"], "1970-01-01T00:00:00Z");
    assert_eq!(json["dependencies"]["broker"]["message"], "timed out");
    for (section, field) in [
        ("listener", "state"),
        ("listener", "ok"),
        ("guard", "ok"),
        ("guard", "since"),
        ("topology", "message"),
    ] {
        assert!(json[section].get(field).is_some(), "{section}.{field}");
    }
    assert!(json["paused"].is_null());
}

#[test]
fn the_metrics_say_what_the_report_says() {
    let metrics = Metrics::new();
    let health = Health::new(clock().0, metrics.clone());
    health.up(Dependency::Storage);
    health.paused(Some("x".into()));
    let text = metrics.render();
    assert!(text.contains("file_recycler_dependency_up{name=\"storage\"} 1\n"), "{text}");
    assert!(text.contains("file_recycler_paused 1\n"));
    health.down(Dependency::Storage, "x");
    health.paused(None);
    let text = metrics.render();
    assert!(text.contains("file_recycler_dependency_up{name=\"storage\"} 0\n"), "{text}");
    assert!(text.contains("file_recycler_paused 0\n"));
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn each_change_is_one_line_of_log_and_a_repetition_none() {
    let log = Log::default();
    let writer = log.clone();
    // While there are two, a place in the code that another test reaches first, without a log, is not taken for one that
    // nobody listens to.
    let _another = tracing::Dispatch::new(tracing_subscriber::registry());
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(subscriber, || {
        let health = Health::new(clock().0, Metrics::new());
        for message in ["refused", "refused", "timed out"] {
            health.down(Dependency::Broker, message);
        }
        health.up(Dependency::Broker);
        health.up(Dependency::Broker);
        health.blocked(true);
        health.blocked(true);
        health.blocked(false);
        health.paused(Some("a".into()));
        health.paused(Some("a".into()));
        health.paused(None);
        health.listener(ListenerState::NotInstalled("x".into()));
        health.listener(ListenerState::NotInstalled("x".into()));
        health.listener(ListenerState::Installed);
    });
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let levels: Vec<&str> = log.lines().map(|line| line.split_whitespace().nth(1).unwrap()).collect();
    assert_eq!(levels, ["WARN", "INFO", "WARN", "INFO", "WARN", "INFO", "WARN", "INFO"], "{log}");
}

#[test]
fn the_metrics_say_what_readyz_says() {
    let metrics = Metrics::new();
    let health = Health::new(clock().0, metrics.clone());
    let says = |line: &str| {
        health.tell_metrics();
        metrics.render().lines().any(|found| found == line)
    };
    assert!(says("file_recycler_ready 0") && says("file_recycler_listener_state{state=\"unknown\"} 1"));
    for name in Dependency::ALL {
        health.up(*name);
    }
    health.guard(GuardState::Open);
    health.topology(Ok(()));
    health.listener(ListenerState::Silent("x".into()));
    assert!(says("file_recycler_ready 1") && says("file_recycler_degraded 1"));
    assert!(says("file_recycler_listener_state{state=\"silent\"} 1"));
    // Silence degrades it, and says nothing of the nonce; the nonce is told beside it.
    assert!(says("file_recycler_nonce_stale 0"));
    health.stale_nonce(Some("x".into()));
    assert!(says("file_recycler_nonce_stale 1"));
    health.stale_nonce(None);
    assert!(says("file_recycler_nonce_stale 0"));
    // It answers, and takes nothing.
    health.blocked(true);
    assert!(says("file_recycler_ready 0") && says("file_recycler_dependency_up{name=\"broker\"} 0"));
    health.blocked(false);
    health.guard(GuardState::Refused("x".into()));
    health.topology(Err("x".into()));
    assert!(says("file_recycler_guard_open 0") && says("file_recycler_topology_ok 0"));
}

//! Tests of `metrics`: every series is there from the start, and what happened is under its own label.

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
        "file_recycler_deliveries_in_hand 0",
        "file_recycler_dead_letters_total{reason=\"crash-loop\"} 0",
        "file_recycler_dependency_up{name=\"storage\"} 0",
        "file_recycler_storage_requests_total{operation=\"copy_object\",result=\"retry\"} 0",
        "file_recycler_bytes_total 0",
        "file_recycler_paused 0",
        "file_recycler_capture_failures 0",
        "file_recycler_outbox_unknown_rows 0",
        "file_recycler_listener_silent_deletions 0",
        "file_recycler_intake_events_total{result=\"unavailable\"} 0",
        "file_recycler_ready 0",
        "file_recycler_nonce_stale 0",
        "file_recycler_guard_open 0",
        "file_recycler_alive_after_move_total 0",
        "file_recycler_last_success_timestamp_seconds{half=\"worker\"} 0.0",
        "file_recycler_listener_state{state=\"installed\"} 0",
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

#[test]
fn what_is_in_hand_is_counted_until_it_is_dropped() {
    let metrics = Metrics::new();
    let says = |line: &str| {
        metrics.render().lines().any(|found| found == format!("file_recycler_deliveries_in_hand {line}"))
    };
    let (one, two) = (metrics.in_hand(), metrics.clone().in_hand());
    assert!(says("2"));
    drop(one);
    assert!(says("1"));
    drop(two);
    assert!(says("0"));
}

#[test]
fn what_readyz_says_is_one_state_at_a_time() {
    let metrics = Metrics::new();
    let looks = Looks {
        ready: true,
        degraded: true,
        nonce_stale: true,
        guard_open: true,
        topology_ok: false,
        listener: ListenerWord::Drift,
    };
    metrics.looks(Looks { listener: ListenerWord::Unknown, ..looks });
    metrics.looks(looks);
    let text = metrics.render();
    let states: Vec<&str> =
        text.lines().filter(|line| line.starts_with("file_recycler_listener_state{")).collect();
    assert_eq!(states.len(), ListenerWord::ALL.len(), "{states:?}");
    let on: Vec<&&str> = states.iter().filter(|line| line.ends_with(" 1")).collect();
    assert_eq!(on, [&"file_recycler_listener_state{state=\"drift\"} 1"]);
    for line in [
        "file_recycler_ready 1",
        "file_recycler_degraded 1",
        "file_recycler_nonce_stale 1",
        "file_recycler_topology_ok 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}

#[test]
fn days_are_a_number_for_ever_or_not_known() {
    let metrics = Metrics::new();
    let line = |metrics: &Metrics| {
        let text = metrics.render();
        let line = text.lines().find(|line| line.starts_with("file_recycler_retention_seconds ")).unwrap();
        line.rsplit(' ').next().unwrap().to_owned()
    };
    metrics.configured(Duration::from_mins(15), Some(Duration::from_hours(36)));
    assert_eq!(line(&metrics), "NaN");
    metrics.retention_days(f64::INFINITY);
    assert_eq!(line(&metrics), "+Inf");
    metrics.retention_days(30.0);
    assert_eq!(line(&metrics), "2592000.0");
    let text = metrics.render();
    assert!(text.contains("\nfile_recycler_grace_seconds 900.0\n"), "{text}");
    assert!(text.contains("\nfile_recycler_database_backups_seconds 129600.0\n"), "{text}");
}

#[test]
fn the_processs_own_figures_have_the_usual_names() {
    let before = (OffsetDateTime::now_utc() - OffsetDateTime::UNIX_EPOCH).as_seconds_f64();
    let text = Metrics::new().render_classic();
    let figure = |name: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} is not in\n{text}")).parse().unwrap()
    };
    assert!(figure("process_start_time_seconds") >= before);
    assert!(figure("process_cpu_seconds_total") >= 0.0);
    let (resident, space) = (figure("process_resident_memory_bytes"), figure("process_virtual_memory_bytes"));
    assert!(resident > 1e6 && resident < space, "{resident} of {space}");
    assert!(figure("process_open_fds") >= 3.0 && figure("process_open_fds") <= figure("process_max_fds"));
    assert!(figure("process_threads") >= 1.0);
}

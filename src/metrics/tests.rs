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

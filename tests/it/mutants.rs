//! For each protection of the move: without it, a named test fails. The test runs in a process of its own, in which
//! the protection is taken away (`failpoint::removed`).

use futures_util::StreamExt as _;
use tokio::process::Command;

/// The protection, and the test that has to fail without it.
const MUTANTS: &[(&str, &str)] = &[
    ("condition_on_copy", "move_race::an_object_that_appears_in_the_recycle_bucket_is_never_overwritten"),
    (
        "pinned_source",
        "move_race::a_source_that_changes_before_the_copy_is_not_taken_for_the_one_that_was_looked_at",
    ),
    ("proof_of_copy", "move_crash::case_03_a_copy_that_is_not_what_was_copied_keeps_its_source"),
    ("etag_on_delete", "move_race::case_12_a_file_rewritten_between_copy_and_delete_survives"),
    ("check_before_delete", "move_race::case_46_a_file_that_comes_alive_after_the_copy_is_not_deleted"),
    ("errors_per_key", "move_decides::case_16_one_bad_file_among_five_hundred_is_the_only_one_that_stays"),
    ("abort_of_parts", "move_parts::case_06_parts_are_aborted_on_failure"),
    ("doubt_of_a_miss", "move_faults::case_49_a_miss_is_believed_only_after_the_buckets_answered_after_it"),
    ("control_question", "move_outage::a_refusal_of_one_key_is_its_own_and_one_of_every_key_is_an_outage"),
    (
        "linked_remembered",
        "spine_links::a_weak_file_that_links_keep_goes_with_the_last_of_them_and_its_kin_too",
    ),
    ("confirm_awaited", "broker_publishing::a_connection_cut_while_publishing_loses_no_confirmed_message"),
    ("intake_confirm", "intake::a_post_is_answered_only_after_the_brokers_confirm"),
    ("x_death_stripped", "broker_faults::case_20_fifty_rounds_through_a_wait_queue_are_no_cycle"),
    ("evidence", "move_outage::case_48_rights_lost_for_files_and_not_for_our_own_object_are_an_outage"),
    ("outage_counts_nothing", "outage::a_message_that_meets_an_outage_goes_back_uncounted"),
    ("only_marks_condemn", "crash_loop::case_44_thirty_rounds_of_giving_back_condemn_nobody"),
    (
        "ack_before_confirm_in_replay",
        "dlq_replay::case_53_cut_before_the_publication_is_known_it_says_what_may_be_done_twice",
    ),
    (
        "boundary_of_replay",
        "dlq_replay::a_message_that_dies_again_during_a_replay_is_left_for_the_next_one_and_its_reason_is_told",
    ),
    (
        "max_failures",
        "spine_dead_letters::one_event_that_is_dead_for_two_reasons_is_two_letters_and_both_are_replayed",
    ),
    ("settled_before_ack", "crash_loop::a_worker_that_dies_between_copying_and_settling_loses_no_message"),
    (
        "compare_at_each_poll",
        "silence::case_40_whatever_was_changed_in_the_catalogue_is_found_at_the_next_look",
    ),
    (
        "silent_deletions",
        "silence::case_40_rows_that_vanish_past_the_triggers_are_a_hint_until_something_is_captured",
    ),
    ("delete_only_confirmed", "relay_outbox::a_row_whose_event_was_unroutable_stays_and_the_others_go"),
    ("low_water_mark", "relay_size::case_56_dead_rows_behind_a_long_snapshot_are_not_read_again"),
    ("relay_batch", "relay_size::case_56_the_relays_memory_does_not_grow_with_a_transaction"),
    ("nonce_of_its_own", "nonce::a_process_killed_while_it_advances_leaves_what_the_next_one_completes"),
    ("rolling_nonce", "nonce::case_41_a_physical_clone_moves_nothing_and_swallows_no_event"),
    (
        "nonce_of_commands",
        "audit::untouched::case_41_a_clone_of_a_database_that_is_only_audited_moves_no_orphan",
    ),
    (
        "environment_identity",
        "spine_service::case_36_a_copy_of_the_database_moves_nothing_in_the_originals_buckets",
    ),
    (
        "primary_asked",
        "triggers::replicas::case_45_a_question_that_a_pooler_sends_to_a_replica_is_not_answered",
    ),
    ("foreign_event", "spine_service::case_42_a_foreign_event_stops_consuming_and_stays_in_the_queue"),
    (
        "catalogue_fits",
        "db_alive::case_45_a_file_table_made_or_dropped_since_discovery_is_noticed_by_the_question",
    ),
    ("rows_hidden", "db_alive::case_45_a_pooler_that_ignores_options_hides_no_row"),
    ("row_security", "db_alive::case_45_a_check_that_would_be_blind_is_an_outage"),
    ("captured_dangling", "db_dangling::a_deletion_that_the_triggers_would_not_capture_does_not_happen"),
    (
        "record_still_absent",
        "db_dangling::a_record_that_is_saved_again_while_its_rows_are_about_to_go_keeps_them",
    ),
    (
        "trust_of_triggers_alone",
        "spine_links::case_47_an_outside_event_deletes_no_rows_and_moves_only_what_is_gone",
    ),
    ("mark_of_triggers", "intake::an_event_that_names_our_environment_has_no_row_deleted"),
    (
        "grace",
        "spine_links::case_38_nothing_moves_before_its_grace_period_is_over_with_or_without_wait_queues",
    ),
    (
        "template_compared",
        "template::a_template_that_finds_nothing_where_another_does_is_refused_and_the_right_one_is_named",
    ),
    ("template_doubted", "template::with_nothing_to_compare_the_first_misses_are_doubted"),
    ("wait_for_others", "beside::case_46_what_is_not_committed_yet_beside_a_deletion_is_waited_for"),
    ("digest_of_pieces", "migrate::back::a_large_content_that_changes_on_its_way_into_the_row_is_undone"),
    ("content_of_its_own", "migrate::back::a_row_with_another_content_of_its_own_keeps_it"),
    (
        "version_of_row",
        "migrate::meanwhile::a_file_that_is_edited_on_the_way_is_left_for_the_next_run_which_moves_the_newer_content",
    ),
    ("still_rows", "migrate::selected::what_was_changed_just_now_goes_once_it_is_still"),
    ("condition_on_put", "migrate::there::the_same_content_counts_as_done_and_other_content_is_untouched"),
    (
        "object_that_was_proven",
        "migrate::meanwhile::an_object_that_is_written_after_it_was_proven_does_not_go",
    ),
    ("object_of_another_row", "migrate::there::nothing_is_written_where_another_rows_object_would_be"),
    ("several_rows", "migrate::there::nothing_is_written_where_another_rows_object_would_be"),
    (
        "forgotten_tables",
        "triggers::changes::case_45_a_table_of_files_that_is_none_any_more_stops_every_move",
    ),
    (
        "proof_of_left_behind",
        "migrate::left::what_an_earlier_run_left_is_recycled_where_its_content_is_the_rows",
    ),
    ("mark_of_migration", "migrate::there::the_same_content_counts_as_done_and_other_content_is_untouched"),
    ("proof_of_reclaim", "migrate::reclaimed::only_what_the_object_is_proven_to_have_is_cleared"),
    (
        "restore_under_way",
        "triggers::copies::case_45_a_restore_that_is_half_done_says_of_no_file_that_it_is_dead",
    ),
    (
        "short_locks",
        "triggers::an_installation_beside_a_long_transaction_holds_no_deletion_up_and_ends_when_it_can",
    ),
    ("age_of_orphans", "audit::an_object_is_no_orphan_before_its_time_and_nothing_bad_is_exit_0"),
    ("audit_asks_again", "audit::what_changes_after_the_listing_is_asked_again_and_not_reported"),
    ("patience_on_the_way", "audit::a_short_outage_of_the_storage_is_waited_for"),
    (
        "look_before_restore",
        "restore::newer::case_39_an_object_that_appears_between_the_look_and_the_copy_is_not_overwritten",
    ),
    (
        "newer_than_backup",
        "restore::versions::the_version_of_the_backups_time_comes_back_on_top_and_the_newer_one_is_kept",
    ),
    ("row_for_restore", "restore::a_file_without_a_row_comes_back_only_by_force_and_with_a_warning"),
    (
        "guard_of_restore",
        "restore::elsewhere::a_copy_of_the_database_and_one_that_was_never_adopted_change_nothing_and_say_so",
    ),
    (
        "guard_of_commands",
        "dlq_guard::case_36_from_a_copy_of_the_database_nothing_is_published_replayed_or_discarded",
    ),
    ("guard_beside_replay", "dlq_guard::a_replay_under_way_stops_at_a_pause_and_says_so"),
    ("record_of_row", "restore::rows::a_row_comes_back_with_its_object_once_its_record_is_there_again"),
    (
        "proof_before_removal",
        "restore::belongings::a_copy_is_removed_only_by_that_option_and_only_where_the_object_is_the_same",
    ),
    ("erase_alive_first", "erase::refused::case_51_a_living_file_is_refused_and_what_names_it_is_told"),
    (
        "erase_alive_again",
        "erase::refused::case_51_a_file_that_comes_alive_between_the_two_checks_is_not_erased",
    ),
    ("erase_legal_hold", "erase::refused::a_legal_hold_on_any_version_is_refused_until_it_is_taken_off"),
    ("bound_on_lines", "logs::three_hundred_lines_of_one_kind_are_told_by_their_number"),
    ("pause", "pause::a_pause_stops_two_thousand_deletions_on_their_way_and_a_resume_finishes_them"),
];

/// Runs one test in a process of its own; whether it passed.
async fn passes(test: &str, removed: Option<&str>) -> bool {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--include-ignored"]).kill_on_drop(true);
    command.envs(removed.map(|name| ("REMOVED_PROTECTION", format!("protection::{name}"))));
    let output = command.output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("running 1 test"), "there is no test '{test}':\n{said}");
    output.status.success()
}

#[tokio::test]
async fn without_a_protection_a_named_test_fails() {
    // A few at a time: each waits most of the time.
    let tried = futures_util::stream::iter(MUTANTS).map(|mutant| async move {
        let (protection, test) = mutant;
        passes(test, Some(protection)).await.then_some(mutant)
    });
    let survived: Vec<&(&str, &str)> =
        tried.buffer_unordered(3).filter_map(std::future::ready).collect().await;
    assert!(survived.is_empty(), "nobody noticed that these are gone: {survived:?}");
}

/// Every switch in the code has its line in the table above, and the other way round.
#[test]
fn every_protection_that_can_be_taken_away_is_tested() {
    let mut found = Vec::new();
    for path in crate::tidy::rust_files("src") {
        let text = std::fs::read_to_string(path).unwrap();
        let names = text
            .match_indices("removed(\"protection::")
            .filter_map(|(at, start)| text[at + start.len()..].split('"').next().map(str::to_owned));
        found.extend(names);
    }
    found.sort();
    found.dedup();
    let mut expected: Vec<_> = MUTANTS.iter().map(|(name, _)| (*name).to_owned()).collect();
    // Not a protection of files, but of the count of requests: `case_50` runs with and without it.
    expected.push("retries_of_our_own".to_owned());
    expected.sort();
    assert_eq!(found, expected);
}

/// The SDK's own retries, which are off, repeat conditional requests whose answer was lost: that harms nothing.
#[tokio::test]
async fn case_50_the_sdks_own_retries_change_no_outcome() {
    for test in [
        "move_race::case_50_a_repeated_copy_or_delete_is_no_conflict",
        "move_race::case_50_concurrent_writers_of_one_copy_are_looked_at_again",
    ] {
        assert!(passes(test, Some("retries_of_our_own")).await, "{test}");
    }
}

//! What goes wrong between the worker and the storage, on the embedded server and, through a proxy, on the one that
//! others wrote.

use std::time::Duration;

use file_recycler::config::{Mode, Storage as Settings};
use file_recycler::outcome::{Advice, DeadReason, Dependency, Failure, Outcome};
use file_recycler::recycle::{Move, Recycler};
use file_recycler::storage::{Kind, Side, Support};
use futures_util::future::join_all;
use recycler_test_s3::{Action, Operation, Options, Rule, When};

use crate::support::registry::{Script, job, job_of, paths, recycler};
use crate::support::storage::{TestStorage, connect};

const KEY: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";
const OUTAGE: Advice = Advice::Outage(Dependency::Storage);

fn status(status: u16, code: &str, when: When) -> Action {
    Action::Status { status, code: code.to_owned(), when }
}

fn copies(action: Action) -> Rule {
    Rule::new(Operation::CopyObject, action).key(KEY)
}

#[tokio::test]
async fn case_02_a_copy_that_answers_200_with_an_error_keeps_its_source() {
    for world in TestStorage::both_disturbed().await {
        for (server, when) in paths(world.storage.probe().await.unwrap()).into_iter().zip([
            When::Before,
            When::After,
            When::After,
        ]) {
            world.put(Side::Object, KEY, b"content").await;
            world.delete(Side::Recycle, KEY).await;
            let body = Action::ErrorBody { code: "InternalError".to_owned(), when };
            world.switches().fault(copies(body));
            let recycler = recycler(&world.storage, server, &Script::default());
            let failure = recycler.recycle(job(KEY)).await.unwrap_err();
            assert_eq!(failure.advice, Advice::Retry, "{}: {failure}", world.name);
            assert_eq!(world.get(Side::Object, KEY).await.as_deref(), Some(&b"content"[..]));
            world.switches().clear_faults();
            assert_eq!(recycler.recycle(job(KEY)).await, Ok(Outcome::Moved), "{}", world.name);
            world.holds(KEY, None, Some(b"content")).await;
        }
    }
}

/// The server stores something else than what it was to copy, and tells that thing's ETag.
#[tokio::test]
async fn case_03_a_copy_of_other_content_keeps_its_source() {
    for wrong in ["", "CONTENT", "longer than it was"] {
        let world = TestStorage::embedded(Options::default()).await;
        for server in paths(world.storage.probe().await.unwrap()) {
            world.put(Side::Object, KEY, b"content").await;
            world.delete(Side::Recycle, KEY).await;
            world.control().fault(copies(Action::Corrupt { content: wrong.to_owned() }));
            let recycler = recycler(&world.storage, server, &Script::default());
            let failure = recycler.recycle(job(KEY)).await.unwrap_err();
            assert_eq!(failure.advice, Advice::GiveUp(DeadReason::Conflict), "{failure}");
            world.holds(KEY, Some(b"content"), Some(wrong.as_bytes())).await;
            world.control().clear_faults();
        }
    }
}

/// The move's end by further tries: where the machine is slow, they may meet the short time-outs once more.
async fn further(recycler: &Recycler<Script>, one: &Move) -> Result<Outcome, Failure> {
    let mut ended = recycler.attempt(one).await;
    for _ in 0..5 {
        if !ended.as_ref().is_err_and(|failure| [Advice::Retry, OUTAGE].contains(&failure.advice)) {
            break;
        }
        ended = recycler.attempt(one).await;
    }
    ended
}

/// Answers that stop in the middle, never begin, or never get through. The time-outs are those of an operator, made
/// shorter; the silence lasts longer than all of them together.
#[tokio::test]
async fn case_07_a_silent_storage_is_bounded_by_time_outs_and_retried() {
    for world in TestStorage::both_disturbed().await {
        let probed = world.storage.probe().await.unwrap();
        let address = world.switches_address();
        let (attempt, operation) = (Duration::from_secs(1), Duration::from_secs(2));
        let settings = Settings {
            service_url: Some(address.parse().unwrap()),
            attempt_timeout: attempt,
            operation_timeout: operation,
            ..world.settings()
        };
        let storage = connect(&settings, Mode::Move).await;
        for server in paths(probed) {
            for (operation, action) in [
                (Operation::CopyObject, Action::Stall { when: When::Before }),
                (Operation::CopyObject, Action::Stall { when: When::After }),
                (Operation::CopyObject, Action::StallBody { bytes: 40 }),
                (Operation::CopyObject, Action::CutBody { bytes: 40 }),
                (Operation::DeleteObjects, Action::Stall { when: When::Before }),
                (Operation::DeleteObjects, Action::StallBody { bytes: 40 }),
                (Operation::DeleteObjects, Action::CutBody { bytes: 40 }),
            ] {
                world.put(Side::Object, KEY, b"content").await;
                world.delete(Side::Recycle, KEY).await;
                world.switches().fault(Rule::new(operation, action.clone()).key(KEY).times(1));
                let (recycler, one) = (recycler(&storage, server, &Script::default()), Move::from(job(KEY)));
                let tried = tokio::time::timeout(Duration::from_secs(30), recycler.attempt(&one)).await;
                let failure = tried.expect("bounded").unwrap_err();
                assert_eq!(failure.advice, Advice::Retry, "{} {action:?}: {failure}", world.name);
                assert_eq!(further(&recycler, &one).await, Ok(Outcome::Moved), "{} {action:?}", world.name);
                world.holds(KEY, None, Some(b"content")).await;
                world.switches().reset();
            }
        }
    }
}

/// Two bodies are read where nothing else tells: they may fall silent too.
#[tokio::test]
async fn case_07_a_body_that_stops_in_the_middle_is_a_time_out() {
    let world = TestStorage::embedded(Options { opaque_etags: true, ..Options::default() }).await;
    let server = world.storage.probe().await.unwrap();
    let settings = Settings { attempt_timeout: Duration::from_secs(2), ..world.settings() };
    let storage = connect(&settings, Mode::Move).await;
    for side in [Side::Object, Side::Recycle] {
        world.put(side, KEY, b"content").await;
    }
    let silent = Action::StallBody { bytes: 3 };
    world.control().fault(Rule::new(Operation::GetObject, silent).bucket(&world.recycle).times(1));
    let recycler = recycler(&storage, server, &Script::default());
    let failure = recycler.recycle(job(KEY)).await.unwrap_err();
    assert_eq!(failure.advice, Advice::Retry, "{failure}");
    assert!(failure.error.contains("in the middle of the answer"), "{failure}");
    assert_eq!(recycler.recycle(job(KEY)).await, Ok(Outcome::Moved));
    world.holds(KEY, None, Some(b"content")).await;
}

/// Found out before the first file, and named.
#[tokio::test]
async fn case_09_credentials_that_may_not_read_or_write_tags_are_found_at_the_probe() {
    for world in TestStorage::both_disturbed().await {
        for operation in [Operation::GetObjectTagging, Operation::PutObjectTagging] {
            world.switches().fault(Rule::new(operation, status(403, "AccessDenied", When::Before)));
            let error = world.storage.probe().await.unwrap_err();
            assert_eq!(error.kind, Kind::AccessDenied, "{}: {error}", world.name);
            assert!(error.to_string().starts_with(operation.name()), "{error}");
            world.switches().clear_faults();
        }
        // A server without tags has none to lose.
        world
            .switches()
            .fault(Rule::new(Operation::GetObjectTagging, status(501, "NotImplemented", When::Before)));
        let server = world.storage.probe().await.unwrap();
        assert_eq!(server.copy_if_none_match, Support::Honoured);
    }
}

#[tokio::test]
async fn case_14_a_delete_that_fails_after_the_copy_is_retried_alone() {
    for world in TestStorage::both_disturbed().await {
        for server in paths(world.storage.probe().await.unwrap()) {
            world.put(Side::Object, KEY, b"content").await;
            world.delete(Side::Recycle, KEY).await;
            world.switches().reset();
            let error = Action::KeyError { code: "InternalError".to_owned(), when: When::Before };
            world.switches().fault(Rule::new(Operation::DeleteObjects, error).key(KEY).times(1));
            let (recycler, one) =
                (recycler(&world.storage, server, &Script::default()), Move::from(job(KEY)));
            let failure = recycler.attempt(&one).await.unwrap_err();
            assert_eq!(failure.advice, Advice::Retry, "{}: {failure}", world.name);
            world.holds(KEY, Some(b"content"), Some(b"content")).await;
            let copies = || world.switches().counts().of(Operation::CopyObject);
            let before = copies();
            assert_eq!(recycler.attempt(&one).await, Ok(Outcome::Moved), "{}", world.name);
            assert_eq!(copies(), before, "{}: not copied again", world.name);
            world.holds(KEY, None, Some(b"content")).await;
        }
    }
}

#[tokio::test]
async fn case_16_one_bad_file_among_many_is_the_only_one_that_stays() {
    for world in TestStorage::both_disturbed().await {
        let server = world.storage.probe().await.unwrap();
        let keys: Vec<String> = (0..50).map(|n| format!("file-{n}")).collect();
        join_all(keys.iter().map(|key| world.put(Side::Object, key, b"content"))).await;
        let error = Action::KeyError { code: "InternalError".to_owned(), when: When::Before };
        world.switches().fault(Rule::new(Operation::DeleteObjects, error).key("file-7"));
        let recycler = recycler(&world.storage, server, &Script::default());
        let ended = join_all(keys.iter().map(|key| recycler.recycle(job(key)))).await;
        for (key, ended) in keys.iter().zip(ended) {
            match key.as_str() {
                "file-7" => assert_eq!(ended.unwrap_err().advice, Advice::Retry, "{}", world.name),
                _ => assert_eq!(ended, Ok(Outcome::Moved), "{}: {key}", world.name),
            }
        }
        assert_eq!(world.keys(Side::Object).await, ["file-7"]);
    }
}

/// The pace is the storage's affair alone: no try is counted, and all is done when the storm is over.
#[tokio::test]
async fn case_19_a_storm_of_slow_down_costs_no_tries_and_ends() {
    for world in TestStorage::both_disturbed().await {
        let server = world.storage.probe().await.unwrap();
        let keys: Vec<String> = (0..60).map(|n| format!("file-{n}")).collect();
        join_all(keys.iter().map(|key| world.put(Side::Object, key, b"content"))).await;
        world
            .switches()
            .fault(Rule::new(Operation::CopyObject, status(503, "SlowDown", When::Before)).times(150));
        let recycler = recycler(&world.storage, server, &Script::default());
        let start = world.storage.pace().limit;
        let mut lowest = start;
        let moves: Vec<Move> = keys.iter().map(|key| Move::from(job(key))).collect();
        let mut left: Vec<&Move> = moves.iter().collect();
        while !left.is_empty() {
            let ended = join_all(left.iter().map(|one| recycler.attempt(one))).await;
            lowest = lowest.min(world.storage.pace().limit);
            let failed = left.iter().zip(&ended).filter_map(|(one, ended)| match ended {
                Ok(outcome) => {
                    assert_eq!(*outcome, Outcome::Moved, "{}", world.name);
                    None
                }
                Err(failure) => {
                    assert_eq!(failure.advice, Advice::SlowDown, "{}: {failure}", world.name);
                    Some(*one)
                }
            });
            left = failed.collect();
        }
        assert!(lowest < start, "{}: the pace fell from {start} to {lowest}", world.name);
        assert_eq!(world.keys(Side::Object).await, Vec::<String>::new(), "{}", world.name);
        assert_eq!(world.keys(Side::Recycle).await.len(), 60, "{}", world.name);
    }
}

/// A bucket that vanishes and a marker that is another's, after the miss: the miss is not believed.
#[tokio::test]
async fn case_49_a_miss_is_believed_only_after_the_buckets_answered_after_it() {
    for world in TestStorage::both_disturbed().await {
        for server in paths(world.storage.probe().await.unwrap()) {
            let script = Script::default();
            let recycler = recycler(&world.storage, server, &script);
            world
                .switches()
                .fault(Rule::new(Operation::HeadBucket, status(404, "NoSuchBucket", When::Before)));
            let failure = recycler.recycle(job_of(KEY, Some(7))).await.unwrap_err();
            assert_eq!(failure.advice, OUTAGE, "{}: {failure}", world.name);
            assert_eq!((script.ledger(), script.environment_asked()), (vec![], 0), "{}", world.name);
            world.switches().clear_faults();
            assert_eq!(recycler.recycle(job_of(KEY, Some(7))).await, Ok(Outcome::Missing), "{}", world.name);
            assert_eq!(script.environment_asked(), 1, "{}", world.name);
        }
    }
}

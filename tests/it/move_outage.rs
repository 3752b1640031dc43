//! Whose trouble is an error? One file's, or everybody's.

use std::time::Duration;

use file_recycler::config::{Mode, Storage as Settings};
use file_recycler::outcome::{Advice, DeadReason, Dependency, Failure, Outcome};
use file_recycler::storage::Side;
use futures_util::future::join_all;
use recycler_test_s3::{Action, Operation, Options, Rule, When};

use crate::support::registry::{Script, careful, job, job_of, recycler};
use crate::support::storage::{TestStorage, connect};

const KEY: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";
const OUTAGE: Advice = Advice::Outage(Dependency::Storage);

fn status(status: u16, code: &str) -> Action {
    Action::Status { status, code: code.to_owned(), when: When::Before }
}

/// Recycles `KEY` on a server with these faults, and says how that failed; the object stays. Without a size, it is
/// looked at first.
async fn fails_with(rules: Vec<Rule>, size: Option<u64>) -> Failure {
    let world = TestStorage::embedded(Options::default()).await;
    let server = world.storage.probe().await.unwrap();
    world.put(Side::Object, KEY, b"content").await;
    let recycler = recycler(&world.storage, server, &Script::default());
    for rule in rules {
        world.control().fault(rule);
    }
    let failure = recycler.recycle(job_of(KEY, size)).await.unwrap_err();
    world.control().clear_faults();
    assert_eq!(world.get(Side::Object, KEY).await.as_deref(), Some(&b"content"[..]), "the source stays");
    assert_eq!(recycler.recycle(job(KEY)).await, Ok(Outcome::Moved), "it goes on when the fault is gone");
    failure
}

#[tokio::test]
async fn a_refusal_of_one_key_is_its_own_and_one_of_every_key_is_an_outage() {
    let forbidden = Advice::GiveUp(DeadReason::Forbidden);
    let unsupported = Advice::GiveUp(DeadReason::Unsupported);
    let cases = [
        (Operation::HeadObject, status(403, "AccessDenied"), forbidden, OUTAGE),
        (Operation::CopyObject, status(403, "AccessDenied"), forbidden, OUTAGE),
        (Operation::CopyObject, status(500, "InternalError"), Advice::Retry, OUTAGE),
        (Operation::CopyObject, Action::Close { when: When::Before }, Advice::Retry, OUTAGE),
        (Operation::CopyObject, status(400, "InvalidArgument"), unsupported, OUTAGE),
        (Operation::CopyObject, status(503, "SlowDown"), Advice::SlowDown, Advice::SlowDown),
        (Operation::CopyObject, status(403, "InvalidAccessKeyId"), OUTAGE, OUTAGE),
    ];
    for (operation, action, one, everybody) in cases {
        for size in [Some(7), None] {
            if operation == Operation::HeadObject && size.is_some() {
                // It is moved without a look.
                continue;
            }
            let failure = fails_with(vec![Rule::new(operation, action.clone()).key(KEY)], size).await;
            assert_eq!(failure.advice, one, "one key, {operation:?} {action:?}: {failure}");
            let failure = fails_with(vec![Rule::new(operation, action.clone())], size).await;
            assert_eq!(failure.advice, everybody, "every key, {operation:?} {action:?}: {failure}");
        }
    }
}

/// An encryption key that only files have, or a policy on their names: our own object works all the while.
#[tokio::test]
async fn case_48_rights_lost_for_files_and_not_for_our_own_object_are_an_outage() {
    for (operation, size) in [(Operation::CopyObject, Some(7)), (Operation::HeadObject, None)] {
        let world = TestStorage::embedded(Options::default()).await;
        let keys: Vec<String> = (0..10).map(|n| format!("file-{n}")).collect();
        for key in &keys {
            world.control().put(&world.object, key, "content");
            world.control().fault(Rule::new(operation, status(403, "AccessDenied")).key(key));
        }
        let recycler = recycler(&world.storage, world.storage.probe().await.unwrap(), &Script::default());
        let failed = join_all(keys.iter().map(|key| recycler.recycle(job_of(key, size)))).await;
        for failure in failed {
            assert_eq!(failure.unwrap_err().advice, OUTAGE, "{operation:?}");
        }
        // Two of them fail and the others work: now it is their own.
        world.control().clear_faults();
        for key in &keys[..2] {
            world.control().fault(Rule::new(operation, status(403, "AccessDenied")).key(key));
        }
        let ended = join_all(keys.iter().map(|key| recycler.recycle(job_of(key, size)))).await;
        for (key, ended) in keys.iter().zip(ended) {
            match ended {
                Err(failure) => assert_eq!(failure.advice, Advice::GiveUp(DeadReason::Forbidden), "{key}"),
                Ok(outcome) => assert_eq!(outcome, Outcome::Moved, "{key}"),
            }
        }
        assert_eq!(world.control().keys(&world.object), keys[..2], "{operation:?}");
    }
}

/// The object bucket answers all the while: that says nothing about the other one.
#[tokio::test]
async fn case_48_rights_lost_in_one_bucket_for_files_alone_are_an_outage() {
    let world = TestStorage::embedded(Options::default()).await;
    let server = careful(world.storage.probe().await.unwrap());
    let keys: Vec<String> = (0..10).map(|n| format!("file-{n}")).collect();
    for key in &keys {
        world.control().put(&world.object, key, "content");
        let denied = Rule::new(Operation::HeadObject, status(403, "AccessDenied"));
        world.control().fault(denied.bucket(&world.recycle).key(key));
    }
    let recycler = recycler(&world.storage, server, &Script::default());
    for failure in join_all(keys.iter().map(|key| recycler.recycle(job(key)))).await {
        assert_eq!(failure.unwrap_err().advice, OUTAGE);
    }
}

#[tokio::test]
async fn a_refused_delete_is_the_keys_own_while_others_work() {
    let denied = Action::KeyError { code: "AccessDenied".to_owned(), when: When::Before };
    let failure =
        fails_with(vec![Rule::new(Operation::DeleteObjects, denied.clone()).key(KEY)], Some(7)).await;
    assert_eq!(failure.advice, Advice::GiveUp(DeadReason::Forbidden));
    let failure = fails_with(vec![Rule::new(Operation::DeleteObjects, denied)], Some(7)).await;
    assert_eq!(failure.advice, OUTAGE);
}

#[tokio::test]
async fn a_key_that_makes_a_whole_delete_fail_is_singled_out() {
    let world = TestStorage::embedded(Options::default()).await;
    let server = world.storage.probe().await.unwrap();
    let keys: Vec<String> = (0..20).map(|n| format!("file-{n}")).collect();
    for key in &keys {
        world.control().put(&world.object, key, "content");
    }
    world.control().fault(Rule::new(Operation::DeleteObjects, status(400, "MalformedXML")).key("file-7"));
    let recycler = recycler(&world.storage, server, &Script::default());
    let outcomes = join_all(keys.iter().map(|key| recycler.recycle(job(key)))).await;
    for (key, outcome) in keys.iter().zip(outcomes) {
        match key.as_str() {
            "file-7" => assert_eq!(outcome.unwrap_err().advice, Advice::GiveUp(DeadReason::Unsupported)),
            _ => assert_eq!(outcome, Ok(Outcome::Moved), "{key}"),
        }
    }
    assert_eq!(world.control().keys(&world.object), ["file-7"]);
}

#[tokio::test]
async fn case_02_an_error_inside_an_answer_of_success_is_an_error() {
    let body = Action::ErrorBody { code: "InternalError".to_owned(), when: When::Before };
    let failure = fails_with(vec![Rule::new(Operation::CopyObject, body).key(KEY)], Some(7)).await;
    assert_eq!(failure.advice, Advice::Retry, "{failure}");
}

#[tokio::test]
async fn case_17_an_archived_object_is_given_up_at_once() {
    let failure = fails_with(
        vec![Rule::new(Operation::CopyObject, status(403, "InvalidObjectState")).key(KEY)],
        Some(7),
    )
    .await;
    assert_eq!(failure.advice, Advice::GiveUp(DeadReason::Archived));
}

/// Without the right to list, the server says 403 of an object that does not exist.
#[tokio::test]
async fn case_05_a_403_for_a_missing_object_is_never_taken_for_missing() {
    let world = TestStorage::embedded(Options::default()).await;
    let server = world.storage.probe().await.unwrap();
    world.control().fault(Rule::new(Operation::HeadObject, status(403, "AccessDenied")));
    let script = Script::default();
    let failure = recycler(&world.storage, server, &script).recycle(job(KEY)).await.unwrap_err();
    assert_eq!(failure.advice, OUTAGE);
    assert!(failure.error.contains("s3:ListBucket"), "{failure}");
    assert_eq!(script.ledger(), []);
}

/// Some servers say `NoSuchKey` when the bucket is not there.
#[tokio::test]
async fn case_05_a_file_is_not_missing_when_the_bucket_is() {
    for world in TestStorage::both().await {
        let server = world.storage.probe().await.unwrap();
        for bucket in [&world.object, &world.recycle] {
            world.client.delete_bucket().bucket(bucket).send().await.unwrap();
        }
        let script = Script::default();
        let recycler = recycler(&world.storage, server, &script);
        for size in [Some(7), None] {
            let failure = recycler.recycle(job_of(KEY, size)).await.unwrap_err();
            assert_eq!(failure.advice, OUTAGE, "{}: {failure}", world.name);
            assert_eq!(script.ledger(), []);
        }
    }
}

#[tokio::test]
async fn case_15_a_recycle_bucket_that_vanished_is_an_outage_and_the_source_stays() {
    for world in TestStorage::both().await {
        let server = world.storage.probe().await.unwrap();
        world.put(Side::Object, KEY, b"content").await;
        world.client.delete_bucket().bucket(&world.recycle).send().await.unwrap();
        let failure =
            recycler(&world.storage, server, &Script::default()).recycle(job(KEY)).await.unwrap_err();
        assert_eq!(failure.advice, OUTAGE, "{}: {failure}", world.name);
        assert_eq!(world.get(Side::Object, KEY).await.as_deref(), Some(&b"content"[..]));
    }
}

#[tokio::test]
async fn case_07_a_server_that_never_answers_is_an_outage_within_the_time_out() {
    let world = TestStorage::embedded(Options::default()).await;
    let server = world.storage.probe().await.unwrap();
    let short = Duration::from_secs(1);
    let settings = Settings { attempt_timeout: short, operation_timeout: short, ..world.settings() };
    let storage = connect(&settings, Mode::Move).await;
    world.put(Side::Object, KEY, b"content").await;
    world.control().fault(Rule::new(Operation::CopyObject, Action::Stall { when: When::Before }));
    let recycling = recycler(&storage, server, &Script::default());
    let failure = tokio::time::timeout(Duration::from_mins(1), recycling.recycle(job(KEY))).await.unwrap();
    assert_eq!(failure.unwrap_err().advice, OUTAGE);
    world.control().clear_faults();
    assert_eq!(recycling.recycle(job(KEY)).await, Ok(Outcome::Moved));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_outage_and_the_error_shows_no_address() {
    let world = TestStorage::embedded(Options::default()).await;
    let server = world.storage.probe().await.unwrap();
    // Nobody is given this port, as one that is free now may be.
    let settings = Settings { service_url: Some("http://127.0.0.1:1".parse().unwrap()), ..world.settings() };
    let storage = connect(&settings, Mode::Move).await;
    let failure = recycler(&storage, server, &Script::default()).recycle(job(KEY)).await.unwrap_err();
    assert_eq!(failure.advice, OUTAGE);
    assert!(failure.error.contains("connection refused"), "{failure}");
    assert!(!failure.error.contains("127.0.0.1"), "{failure}");
}

//! Every fault that can be asked for is what a client sees.

use std::time::{Duration, Instant};

use recycler_test_s3::{Action, Operation, Rule, When};
use tokio::time::timeout;

use crate::client::World;

fn status(status: u16, code: &str, when: When) -> Action {
    Action::Status { status, code: code.to_owned(), when }
}

async fn with(rule: Rule) -> World {
    let world = World::new().await;
    world.put("/source/a", "x").await;
    world.put("/source/b", "x").await;
    world.control.fault(rule);
    world
}

#[tokio::test]
async fn an_error_before_the_work_leaves_nothing() {
    for (code, number) in [
        ("SlowDown", 503),
        ("AccessDenied", 403),
        ("NoSuchBucket", 404),
        ("InternalError", 500),
        ("ConditionalRequestConflict", 409),
        ("MadeUp", 418),
    ] {
        let action = status(number, code, When::Before);
        let world = with(Rule::new(Operation::CopyObject, action).times(1)).await;
        let copied = world.copy("source/a", "/target/a").send().await;
        assert_eq!(copied.refusal(), (number, code));
        assert!(world.control.keys("target").is_empty());
        assert_eq!(world.copy("source/a", "/target/a").send().await.status, 200);
    }
}

#[tokio::test]
async fn an_error_after_the_work_leaves_it_done() {
    let world = with(Rule::new(Operation::CopyObject, status(500, "InternalError", When::After))).await;
    let copied = world.copy("source/a", "/target/a").send().await;
    assert_eq!(copied.refusal(), (500, "InternalError"));
    assert_eq!(world.control.keys("target"), ["a"]);
    assert_eq!(world.control.counts().answered(Operation::CopyObject, 500), 1);
}

#[tokio::test]
async fn a_connection_is_closed_before_or_after_the_work() {
    for (when, left) in [(When::Before, 2), (When::After, 1)] {
        let world = with(Rule::new(Operation::DeleteObject, Action::Close { when })).await;
        assert!(world.ask("DELETE", "/source/a").try_send().await.is_err());
        assert_eq!(world.control.keys("source").len(), left);
        let counts = world.control.counts();
        assert_eq!(counts.answers[&Operation::DeleteObject]["closed"], 1);
    }
}

#[tokio::test]
async fn a_stalled_request_gets_no_answer() {
    for (when, left) in [(When::Before, 2), (When::After, 1)] {
        let world = with(Rule::new(Operation::DeleteObject, Action::Stall { when })).await;
        let stalled = tokio::spawn(world.ask("DELETE", "/source/a").try_send());
        while world.control.counts().of(Operation::DeleteObject) == 0
            || world.control.keys("source").len() > left
        {
            tokio::task::yield_now().await;
        }
        assert!(timeout(Duration::from_millis(100), stalled).await.is_err());
        assert_eq!(world.control.keys("source").len(), left);
        assert_eq!(world.control.counts().of(Operation::DeleteObject), 1);
        assert!(!world.control.counts().answers.contains_key(&Operation::DeleteObject));
    }
}

#[tokio::test]
async fn a_delay_delays_and_lets_further_rules_act() {
    let world = with(Rule::new(Operation::GetObject, Action::Delay { milliseconds: 60 })).await;
    world.control.fault(Rule::new(Operation::GetObject, status(503, "SlowDown", When::Before)));
    let start = Instant::now();
    assert_eq!(world.get("/source/a").await.status, 503);
    assert!(start.elapsed() >= Duration::from_millis(60));
}

#[tokio::test]
async fn a_200_can_carry_an_error() {
    for (when, left) in [(When::Before, 0), (When::After, 1)] {
        let action = Action::ErrorBody { code: "InternalError".to_owned(), when };
        let world = with(Rule::new(Operation::CopyObject, action)).await;
        let copied = world.copy("source/a", "/target/a").send().await;
        assert_eq!(copied.refusal(), (200, "InternalError"));
        assert!(copied.text().contains("<Error>"));
        assert_eq!(world.control.keys("target").len(), left);
    }
}

#[tokio::test]
async fn completing_an_upload_can_fail_within_a_200() {
    let action = Action::ErrorBody { code: "InternalError".to_owned(), when: When::Before };
    let world = with(Rule::new(Operation::CompleteMultipartUpload, action).times(1)).await;
    let created = world.ask("POST", "/target/a").query("uploads", "").send().await;
    let id = created.element("UploadId").expect("an id");
    let part = world.ask("PUT", "/target/a").query("uploadId", id).query("partNumber", "1");
    let part = part.body("x").send().await;
    let body = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{}</ETag></Part>\
         </CompleteMultipartUpload>",
        part.etag()
    );
    let complete = || world.ask("POST", "/target/a").query("uploadId", id).body(body.clone()).send();
    assert_eq!(complete().await.refusal(), (200, "InternalError"));
    assert!(world.control.keys("target").is_empty());
    assert_eq!(complete().await.status, 200);
    assert_eq!(world.control.keys("target"), ["a"]);
}

#[tokio::test]
async fn one_key_of_a_batch_can_fail_alone() {
    for (when, left) in [(When::Before, vec!["a"]), (When::After, vec![])] {
        let action = Action::KeyError { code: "InternalError".to_owned(), when };
        let world = with(Rule::new(Operation::DeleteObjects, action).key("a")).await;
        let answer = world.delete_many("source", &[("a", None), ("b", None)]).send().await;
        assert_eq!((answer.status, answer.elements("Code")), (200, vec!["InternalError"]));
        assert_eq!(answer.elements("Key").len(), 2);
        assert!(answer.elements("Error")[0].contains("<Key>a</Key>"));
        assert_eq!(world.control.keys("source"), left);
    }
}

#[tokio::test]
async fn a_rule_for_a_key_meets_batches_that_name_it() {
    let action = status(503, "SlowDown", When::Before);
    let world = with(Rule::new(Operation::DeleteObjects, action).bucket("source").key("b")).await;
    assert_eq!(world.delete_many("source", &[("a", None)]).send().await.status, 200);
    let both = world.delete_many("source", &[("c", None), ("b", None)]).send().await;
    assert_eq!(both.refusal(), (503, "SlowDown"));
    assert_eq!(world.control.keys("source"), ["b"]);
}

#[tokio::test]
async fn a_rule_lets_the_first_through_and_ends_after_its_times() {
    let rule = Rule::new(Operation::HeadObject, status(500, "InternalError", When::Before));
    let world = with(rule.bucket("source").key("a").skip(1).times(2)).await;
    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(world.head("/source/a").await.status);
        assert_eq!(world.head("/source/b").await.status, 200);
    }
    assert_eq!(statuses, [200, 500, 500, 200, 200]);
    let fault = &world.control.faults()[0];
    assert_eq!((fault.seen, fault.hits), (5, 2));
    world.control.clear_faults();
    assert!(world.control.faults().is_empty());
}

#[tokio::test]
async fn a_rule_without_an_operation_meets_them_all() {
    let action = status(403, "AccessDenied", When::Before);
    let rule = Rule { operation: None, ..Rule::new(Operation::Other, action) };
    let world = with(rule.bucket("target")).await;
    assert_eq!(world.put("/target/a", "x").await.status, 403);
    assert_eq!(world.get("/target").await.status, 403);
    assert_eq!(world.delete_many("target", &[("a", None)]).send().await.status, 403);
    assert_eq!(world.get("/source/a").await.status, 200);
}

#[tokio::test]
async fn a_copy_can_store_other_content_and_tells_its_etag() {
    for content in ["other", ""] {
        let action = Action::Corrupt { content: content.to_owned() };
        let world = with(Rule::new(Operation::CopyObject, action).key("c").times(1)).await;
        let put = world.ask("PUT", "/source/c").body("hello").header("content-type", "text/plain");
        let put = put.send().await;
        let copy = world.copy("source/c", "/target/c").header("x-amz-storage-class", "STANDARD_IA");
        let copied = copy.send().await;
        let stored = world.get("/target/c").await;
        assert_eq!((copied.status, stored.text()), (200, content));
        assert_eq!(copied.element("ETag"), Some(stored.etag()));
        assert_ne!(stored.etag(), put.etag());
        assert_eq!(stored.header("content-type"), Some("text/plain"));
        assert_eq!(stored.header("x-amz-storage-class"), Some("STANDARD_IA"));
        assert_eq!(world.get("/source/c").await.text(), "hello");
        world.copy("source/c", "/target/c").send().await;
        assert_eq!(world.get("/target/c").await.text(), "hello");
    }
}

//! Single keys of a DeleteObjects that go wrong at the proxy.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use md5::Md5;
use recycler_test_s3::{Action, Operation, Rule, When};
use sha2::{Digest, Sha256};

use crate::client::{Answer, Request, World, hex};
use crate::proxied::{Proxied, Scribe};

fn key_error(when: When) -> Rule {
    let code = "InternalError".to_owned();
    Rule::new(Operation::DeleteObjects, Action::KeyError { code, when })
}

fn filled(proxied: Proxied) -> Proxied {
    for key in ["a&b", "c", "d"] {
        proxied.world.control.put("source", key, "x").expect("a bucket");
    }
    proxied
}

async fn delete_all(world: &World) -> Answer {
    let keys = [("a&amp;b", None), ("c", None), ("d", None)];
    world.delete_many("source", &keys).send().await
}

#[tokio::test]
async fn before_the_work_one_key_is_taken_out_and_the_rest_signed_anew() {
    let proxied = filled(Proxied::signing().await);
    proxied.control.fault(key_error(When::Before).key("a&b"));
    let answer = delete_all(&proxied.world).await;
    assert_eq!((answer.status, answer.elements("Deleted").len()), (200, 2), "{}", answer.text());
    assert_eq!((answer.elements("Code"), answer.elements("Error").len()), (vec!["InternalError"], 1));
    assert!(answer.elements("Error")[0].contains("<Key>a&amp;b</Key>"));
    assert_eq!(proxied.world.control.keys("source"), ["a&b"]);
}

#[tokio::test]
async fn a_request_signed_anew_has_sums_of_its_own() {
    let scribe = Scribe::saying("HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n<DeleteResult/>").await;
    let proxy = scribe.proxy().await;
    proxy.control().fault(key_error(When::Before).key("c"));
    let body = "<Delete><Object><Key>c</Key></Object><Object><Key>d</Key></Object></Delete>";
    let ask = Request::new(proxy.address(), "POST", "/source").query("delete", "").body(body);
    let ask =
        ask.header("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==").header("x-amz-checksum-crc32", "AAAAAA==");
    let answer = ask.header("x-amz-sdk-checksum-algorithm", "CRC32").send().await;
    assert_eq!((answer.status, answer.elements("Key")), (200, vec!["c"]), "{}", answer.text());
    let seen = scribe.seen.lock().expect("no panic");
    let rest = b"<Delete><Object><Key>d</Key></Object></Delete>";
    assert_eq!(seen.bodies, [rest]);
    let sum = BASE64_STANDARD.encode(Md5::digest(rest));
    assert!(seen.heads[0].contains(&format!("content-md5: {sum}\r\n")), "{}", seen.heads[0]);
    let sum = hex(&Sha256::digest(rest));
    assert!(seen.heads[0].contains(&format!("x-amz-content-sha256: {sum}\r\n")), "{}", seen.heads[0]);
    assert!(!seen.heads[0].contains("checksum"), "{}", seen.heads[0]);
}

#[tokio::test]
async fn before_the_work_all_keys_fail_without_the_server_s_knowing() {
    let proxied = filled(Proxied::new().await);
    proxied.control.fault(key_error(When::Before));
    let answer = delete_all(&proxied.world).await;
    assert_eq!((answer.status, answer.elements("Error").len()), (200, 3));
    assert_eq!(answer.elements("Key"), ["a&amp;b", "c", "d"]);
    assert_eq!(proxied.world.control.keys("source").len(), 3);
    assert_eq!(proxied.world.control.counts().total(), 0);
}

#[tokio::test]
async fn after_the_work_what_was_deleted_is_told_as_an_error() {
    let proxied = filled(Proxied::new().await);
    proxied.control.fault(key_error(When::After).key("c"));
    let answer = delete_all(&proxied.world).await;
    assert_eq!(answer.status, 200);
    let deleted = answer.elements("Deleted");
    assert_eq!(deleted, ["<Key>a&amp;b</Key>", "<Key>d</Key>"]);
    assert!(answer.elements("Error")[0].starts_with("<Key>c</Key><Code>InternalError</Code>"));
    assert!(proxied.world.control.keys("source").is_empty());
}

#[tokio::test]
async fn a_quiet_batch_tells_the_error_too() {
    let proxied = filled(Proxied::new().await);
    proxied.control.fault(key_error(When::After).key("c"));
    let body = "<Delete><Quiet>true</Quiet><Object><Key>c</Key></Object>\
                <Object><Key>d</Key></Object></Delete>";
    let answer = proxied.world.ask("POST", "/source").query("delete", "").body(body).send().await;
    assert_eq!((answer.elements("Deleted").len(), answer.elements("Key")), (0, vec!["c"]));
    assert_eq!(proxied.world.control.keys("source"), ["a&b"]);
}

#[tokio::test]
async fn the_server_s_own_error_stays() {
    let proxied = filled(Proxied::new().await);
    proxied.control.fault(key_error(When::After));
    let keys = [("c", Some("other")), ("d", None)];
    let answer = proxied.world.delete_many("source", &keys).send().await;
    let codes = answer.elements("Code");
    assert_eq!(codes, ["PreconditionFailed", "InternalError"]);
    let nowhere = proxied.world.delete_many("nowhere", &keys).send().await;
    assert_eq!(nowhere.refusal(), (404, "NoSuchBucket"));
}

#[tokio::test]
async fn a_rule_for_a_key_meets_batches_that_name_it() {
    let proxied = filled(Proxied::new().await);
    let action = Action::Status { status: 503, code: "SlowDown".to_owned(), when: When::Before };
    proxied.control.fault(Rule::new(Operation::DeleteObjects, action).bucket("source").key("a&b"));
    let one = proxied.world.delete_many("source", &[("c", None)]).send().await;
    assert_eq!(one.status, 200);
    assert_eq!(delete_all(&proxied.world).await.refusal(), (503, "SlowDown"));
    assert_eq!(proxied.world.control.keys("source"), ["a&b", "d"]);
}

#[tokio::test]
async fn a_batch_of_no_end_is_refused_while_there_are_rules() {
    let proxied = filled(Proxied::new().await);
    let long = "k".repeat(5 << 20);
    let send = || proxied.world.delete_many("source", &[(&long, None)]).send();
    assert_eq!(send().await.element("Code"), Some("KeyTooLongError"));
    proxied.control.fault(key_error(When::After));
    assert_eq!(send().await.refusal(), (413, "EntityTooLarge"));
}

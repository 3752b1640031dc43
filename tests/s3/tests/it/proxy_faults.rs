//! Every fault through the proxy: what the client sees, and what the server behind has afterwards.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use recycler_test_s3::{Action, Operation, Proxy, ProxyOptions, Rule, When};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::client::Request;
use crate::proxied::Proxied;

const BOTH: [When; 2] = [When::Before, When::After];

fn status(status: u16, code: &str, when: When) -> Action {
    Action::Status { status, code: code.to_owned(), when }
}

async fn with(rule: Rule) -> Proxied {
    let proxied = Proxied::new().await;
    for key in ["a", "b"] {
        proxied.world.control.put("source", key, "x").expect("a bucket");
    }
    proxied.control.fault(rule);
    proxied
}

/// How often the server behind was asked.
fn reached(proxied: &Proxied, operation: Operation) -> u64 {
    proxied.world.control.counts().of(operation)
}

fn times(when: When) -> u64 {
    u64::from(when == When::After)
}

#[tokio::test]
async fn an_error_replaces_the_request_or_the_answer() {
    for when in BOTH {
        let rule = Rule::new(Operation::CopyObject, status(503, "SlowDown", when)).times(1);
        let proxied = with(rule).await;
        let copied = proxied.world.copy("source/a", "/target/a").send().await;
        assert_eq!(copied.refusal(), (503, "SlowDown"));
        assert_eq!(reached(&proxied, Operation::CopyObject), times(when));
        let there = proxied.world.control.get("target", "a").is_some();
        assert_eq!(there, when == When::After);
        assert_eq!(proxied.control.counts().answered(Operation::CopyObject, 503), 1);
        assert_eq!(proxied.world.copy("source/a", "/target/a").send().await.status, 200);
    }
}

#[tokio::test]
async fn a_client_that_sends_much_is_heard_out_before_it_is_refused() {
    let proxied = with(Rule::new(Operation::PutObject, status(503, "SlowDown", When::Before))).await;
    let head = proxied.world.ask("PUT", "/source/big").head_only();
    let head = head.replace("content-length: 0", "content-length: 33554432");
    let mut stream = TcpStream::connect(proxied.world.address).await.expect("it listens");
    stream.write_all(head.as_bytes()).await.expect("heard");
    stream.write_all(&vec![b'x'; 32 << 20]).await.expect("heard out");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("readable");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert_eq!(reached(&proxied, Operation::PutObject), 0);
}

#[tokio::test]
async fn a_200_carries_an_error() {
    for when in BOTH {
        let action = Action::ErrorBody { code: "InternalError".to_owned(), when };
        let proxied = with(Rule::new(Operation::CopyObject, action)).await;
        let copied = proxied.world.copy("source/a", "/target/a").send().await;
        assert_eq!(copied.refusal(), (200, "InternalError"));
        assert_eq!(proxied.world.control.keys("target").len() as u64, times(when));
    }
}

#[tokio::test]
async fn the_connection_is_closed() {
    for when in BOTH {
        let proxied = with(Rule::new(Operation::DeleteObject, Action::Close { when })).await;
        assert!(proxied.world.ask("DELETE", "/source/a").try_send().await.is_err());
        assert_eq!(reached(&proxied, Operation::DeleteObject), times(when));
        assert_eq!(proxied.world.control.get("source", "a").is_none(), when == When::After);
        assert_eq!(proxied.control.counts().answers[&Operation::DeleteObject]["closed"], 1);
    }
}

#[tokio::test]
async fn the_request_gets_no_answer() {
    for when in BOTH {
        let proxied = with(Rule::new(Operation::DeleteObject, Action::Stall { when })).await;
        let stalled = tokio::spawn(proxied.world.ask("DELETE", "/source/a").try_send());
        while proxied.control.counts().of(Operation::DeleteObject) == 0
            || reached(&proxied, Operation::DeleteObject) < times(when)
            || proxied.world.control.get("source", "a").is_none() != (when == When::After)
        {
            tokio::task::yield_now().await;
        }
        assert!(timeout(Duration::from_millis(100), stalled).await.is_err());
        assert_eq!(reached(&proxied, Operation::DeleteObject), times(when));
        assert_eq!(proxied.world.control.get("source", "a").is_none(), when == When::After);
        assert!(proxied.control.counts().answers.is_empty());
    }
}

#[tokio::test]
async fn a_delay_delays_and_lets_further_rules_act() {
    let proxied = with(Rule::new(Operation::GetObject, Action::Delay { milliseconds: 60 })).await;
    let start = Instant::now();
    assert_eq!(proxied.world.get("/source/a").await.text(), "x");
    assert!(start.elapsed() >= Duration::from_millis(60));
    proxied.control.fault(Rule::new(Operation::GetObject, status(503, "SlowDown", When::Before)));
    assert_eq!(proxied.world.get("/source/a").await.status, 503);
}

#[tokio::test]
async fn a_rule_chooses_by_bucket_key_and_number() {
    let rule = Rule::new(Operation::HeadObject, status(500, "InternalError", When::Before));
    let proxied = with(rule.bucket("source").key("a b+c%20").skip(1).times(2)).await;
    proxied.world.control.put("source", "a b+c%20", "x").expect("a bucket");
    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(proxied.world.head("/source/a b+c%20").await.status);
        assert_eq!(proxied.world.head("/source/a").await.status, 200);
        assert_eq!(proxied.world.head("/target/a b+c%20").await.status, 404);
    }
    assert_eq!(statuses, [200, 500, 500, 200, 200]);
    let fault = &proxied.control.faults()[0];
    assert_eq!((fault.seen, fault.hits), (5, 2));
    proxied.control.clear_faults();
    assert!(proxied.control.faults().is_empty());
}

#[tokio::test]
async fn completing_an_upload_fails_although_it_is_done() {
    let proxied =
        with(Rule::new(Operation::CompleteMultipartUpload, Action::Close { when: When::After })).await;
    let world = &proxied.world;
    let created = world.ask("POST", "/target/a").query("uploads", "").send().await;
    let id = created.element("UploadId").expect("an id");
    let part = world.ask("PUT", "/target/a").query("uploadId", id).query("partNumber", "1");
    let part = part.body("x").send().await;
    let body = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{}</ETag></Part>\
         </CompleteMultipartUpload>",
        part.etag()
    );
    let complete = world.ask("POST", "/target/a").query("uploadId", id).body(body);
    assert!(complete.try_send().await.is_err());
    assert_eq!(world.control.get("target", "a").as_deref(), Some(b"x".as_slice()));
}

#[tokio::test]
async fn an_answer_is_lost_only_when_all_of_it_has_come() {
    // As CompleteMultipartUpload does, this server begins its answer while it still works.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let upstream = format!("http://{}", listener.local_addr().expect("it is bound"));
    let proxy = Proxy::start(ProxyOptions::to(upstream)).await.expect("a free port");
    proxy.control().fault(Rule::new(Operation::CopyObject, Action::Close { when: When::After }));
    let ask = Request::new(proxy.address(), "PUT", "/b/k").header("x-amz-copy-source", "b/a");
    let mut lost = tokio::spawn(ask.try_send());
    let (mut working, _) = listener.accept().await.expect("a connection");
    working.read_u8().await.expect("a request");
    working.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n ").await.expect("written");
    assert!(timeout(Duration::from_millis(100), &mut lost).await.is_err(), "lost too early");
    working.write_all(b".").await.expect("written");
    let lost = timeout(Duration::from_secs(10), lost).await.expect("in time");
    assert!(lost.expect("no panic").is_err());
}

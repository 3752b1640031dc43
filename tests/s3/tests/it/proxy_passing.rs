//! What passes through the proxy passes as it is.

use recycler_test_s3::{Operation, Proxy, ProxyOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::Request;
use crate::proxied::{Proxied, Scribe};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Twice: 1\r\nX-Twice: 2\r\n\r\nhi";

const ODD_KEYS: [&str; 12] = [
    "a b+c",
    "a%20b",
    "a%2Fb",
    "a//b",
    "/lead",
    "a/../b",
    "..",
    "файл 1.pdf",
    "🎉/🎉",
    "a?b&c=d#e",
    "<&>\"'",
    "~tilde!*'()",
];

#[tokio::test]
async fn odd_keys_pass_with_valid_signatures() {
    let Proxied { world, proxy: _proxy, .. } = Proxied::signing().await;
    for key in ODD_KEYS {
        assert_eq!(world.put(&format!("/source/{key}"), key).await.status, 200, "{key}");
        assert_eq!(world.control.keys("source"), [key]);
        assert_eq!(world.get(&format!("/source/{key}")).await.text(), key);
        let copied = world.copy(&format!("source/{key}"), &format!("/target/{key}")).send().await;
        assert_eq!(copied.status, 200, "{key}");
        assert_eq!(world.control.get("target", key).as_deref(), Some(key.as_bytes()));
        assert_eq!(world.delete(&format!("/source/{key}")).await.status, 204, "{key}");
        assert!(world.control.keys("source").is_empty(), "{key}");
    }
}

#[tokio::test]
async fn a_wrong_signature_stays_wrong() {
    let Proxied { world, control, proxy: _proxy } = Proxied::new().await;
    let refused = world.ask("PUT", "/source/a").body("x").secret(Some("other")).send().await;
    assert_eq!(refused.refusal(), (403, "SignatureDoesNotMatch"));
    assert_eq!(control.counts().answered(Operation::PutObject, 403), 1);
}

#[tokio::test]
async fn headers_and_the_answers_to_head_pass() {
    let Proxied { world, proxy: _proxy, .. } = Proxied::new().await;
    let put = world.ask("PUT", "/source/a").body("hello").header("x-amz-meta-owner", "crm");
    let etag = put.header("content-type", "text/plain").send().await.etag().to_owned();
    let head = world.head("/source/a").await;
    assert_eq!((head.status, head.body.len(), head.etag()), (200, 0, etag.as_str()));
    assert_eq!(head.header("content-length"), Some("5"));
    assert_eq!(head.header("x-amz-meta-owner"), Some("crm"));
    assert_eq!(world.head("/source/none").await.status, 404);
    let same = world.ask("GET", "/source/a").header("if-none-match", &etag).send().await;
    assert_eq!((same.status, same.body.len()), (304, 0));
    let range = world.ask("GET", "/source/a").header("range", "bytes=1-2").send().await;
    assert_eq!((range.status, range.text()), (206, "el"));
}

async fn exchange(stream: &mut TcpStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.expect("written");
    let mut answer = Vec::new();
    while !answer.ends_with(b"hi") {
        assert_ne!(stream.read_buf(&mut answer).await.expect("readable"), 0, "{answer:?}");
    }
    String::from_utf8(answer).expect("text")
}

#[tokio::test]
async fn the_server_gets_what_the_client_wrote() {
    let scribe = Scribe::saying(OK).await;
    let proxy = scribe.proxy().await;
    let mut stream = TcpStream::connect(proxy.address()).await.expect("it listens");
    let targets =
        ["/b/a%2fb%7E~//%d1%84+?x-id=Get&a=%20+&b&c=", "/b/k?", "/", "/?delete", "//b/./../k;v='*'"];
    for target in targets {
        let request = format!(
            "DELETE {target} HTTP/1.1\r\nHost: Some.Host:99\r\nX-Two: 1\r\nX-Two: 2\r\n\
             Connection: keep-alive\r\nUser-Agent: a/1  b\r\nContent-Length: 3\r\n\r\nxyz"
        );
        let answer = exchange(&mut stream, &request).await.to_lowercase();
        assert!(answer.starts_with("http/1.1 200 ok\r\n"), "{answer}");
        assert!(answer.contains("x-twice: 1\r\nx-twice: 2\r\n"), "{answer}");
    }
    let seen = scribe.seen.lock().expect("no panic");
    assert_eq!(seen.heads.len(), targets.len());
    for (head, target) in seen.heads.iter().zip(targets) {
        let mut lines: Vec<&str> = head.trim_end().split("\r\n").collect();
        assert_eq!(lines.remove(0), format!("DELETE {target} HTTP/1.1"));
        // Only the length may change its place.
        lines.sort_unstable();
        let expected =
            ["content-length: 3", "host: Some.Host:99", "user-agent: a/1  b", "x-two: 1", "x-two: 2"];
        assert_eq!(lines, expected);
    }
    assert!(seen.bodies.iter().all(|body| body == b"xyz"));
}

#[tokio::test]
async fn connections_to_the_server_are_used_again() {
    let scribe = Scribe::saying(OK).await;
    let proxy = scribe.proxy().await;
    for _ in 0..20 {
        // Each on a connection of its own.
        let answer = Request::new(proxy.address(), "GET", "/b/k").send().await;
        assert_eq!((answer.status, answer.text()), (200, "hi"));
    }
    let connections = scribe.seen.lock().expect("no panic").connections;
    // One that has just become free may be missed.
    assert!(connections < 10, "{connections} for 20 requests");
}

#[tokio::test]
async fn a_server_that_closes_after_each_answer_does_not_close_the_client_s_connection() {
    let answer = "HTTP/1.0 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi";
    let scribe = Scribe::saying(answer).await;
    let proxy = scribe.proxy().await;
    let mut stream = TcpStream::connect(proxy.address()).await.expect("it listens");
    for _ in 0..3 {
        let answer = exchange(&mut stream, "GET /b/k HTTP/1.1\r\nHost: h\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    }
    assert_eq!(scribe.seen.lock().expect("no panic").connections, 3);
    assert_eq!(proxy.control().counts().answered(Operation::GetObject, 200), 3);
}

#[tokio::test]
async fn while_the_server_is_gone_connections_are_closed_without_an_answer() {
    let Proxied { world, control, proxy: _proxy } = Proxied::new().await;
    let ask = world.ask("GET", "/source/a");
    world.server.stop().await;
    assert!(ask.try_send().await.is_err());
    assert_eq!(control.counts().answers[&Operation::GetObject]["closed"], 1);
}

#[tokio::test]
async fn an_upstream_is_a_plain_endpoint() {
    for upstream in ["127.0.0.1:1", "https://127.0.0.1:1", "http://127.0.0.1:1/path"] {
        let error = Proxy::start(ProxyOptions::to(upstream)).await.expect_err(upstream);
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    }
}

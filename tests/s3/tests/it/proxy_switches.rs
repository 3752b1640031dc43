//! Counting and switching at the proxy, and the proxy as a program.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::time::{Duration, Instant};

use recycler_test_s3::{Action, Operation, Rule, When};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::client::{Request, World};
use crate::proxied::{Proxied, both};

/// One request of each operation that the rest of the tests do not count.
async fn ask_all(world: &World) {
    world.put("/source/a", "x").await;
    world.copy("source/a", "/target/a").send().await;
    world.head("/source/a").await;
    world.get("/source/a").await;
    for (method, path, query) in [
        ("HEAD", "/source", ""),
        ("GET", "/", ""),
        ("GET", "/source", ""),
        ("GET", "/source", "list-type=2"),
        ("GET", "/source", "versions"),
        ("GET", "/source", "uploads"),
        ("GET", "/source", "versioning"),
        ("GET", "/source", "location"),
        ("GET", "/source", "lifecycle"),
        ("GET", "/source/a", "tagging"),
        ("GET", "/source/none", "tagging"),
        ("POST", "/source/a", "uploads"),
        ("PUT", "/source/a", "partNumber=1&uploadId=none"),
        ("GET", "/source/a", "uploadId=none"),
        ("DELETE", "/source/a", "uploadId=none"),
        ("DELETE", "/source/a", "tagging"),
        ("DELETE", "/source/a", ""),
        ("PUT", "/fresh", ""),
        ("DELETE", "/fresh", ""),
    ] {
        let mut ask = world.ask(method, path);
        for (name, value) in query.split('&').map(|it| it.split_once('=').unwrap_or((it, ""))) {
            if !name.is_empty() {
                ask = ask.query(name, value);
            }
        }
        ask.send().await;
    }
    let part = world.copy("source/a", "/target/a").query("partNumber", "1").query("uploadId", "none");
    part.send().await;
    world.delete_many("source", &[("a", None)]).send().await;
}

#[tokio::test]
async fn the_proxy_counts_as_the_server_behind_it_does() {
    let Proxied { world, control, proxy } = Proxied::new().await;
    ask_all(&world).await;
    let counts = control.counts();
    assert_eq!(counts, world.control.counts());
    assert_eq!(counts.requests.len(), 24, "{counts:?}");
    assert_eq!(counts.answered(Operation::GetObjectTagging, 404), 1);
    control.reset();
    assert_eq!(control.counts().total(), 0);
    assert_ne!(world.control.counts().total(), 0);
    proxy.stop().await;
}

#[tokio::test]
async fn every_request_waits_for_the_latency() {
    let Proxied { world, control, proxy: _proxy } = Proxied::new().await;
    control.set_latency(Duration::from_millis(80));
    let start = Instant::now();
    world.put("/source/a", "x").await;
    assert!(start.elapsed() >= Duration::from_millis(80));
    assert_eq!(control.latency(), Duration::from_millis(80));
}

#[tokio::test]
async fn the_switches_work_over_http() {
    for (world, switches, _proxy) in both().await {
        world.control.put("source", "a", "x").expect("a bucket");
        let ask = |method: &str, path: &str| world.ask(method, path).secret(None);
        let rules = [
            r#"{"operation":"GetObject","times":1,"action":{"do":"cut_body","bytes":0}}"#,
            r#"{"operation":"GetObject","times":1,"action":{"do":"stall_body","bytes":9}}"#,
            r#"{"operation":"HeadObject","action":{"do":"hold","when":"after"}}"#,
        ];
        for rule in rules {
            assert_eq!(ask("POST", "/-/faults").body(rule).send().await.status, 204, "{rule}");
        }
        let told = ask("GET", "/-/faults").send().await;
        for action in rules.map(|rule| rule.split_once("\"action\":").expect("one").1.trim_end_matches('}')) {
            assert!(told.text().contains(action), "{action} in {}", told.text());
        }
        assert_eq!(world.get("/source/a").await.text(), "");
        assert_eq!(ask("GET", "/-/held").send().await.text(), "0");
        let held = tokio::spawn(world.ask("HEAD", "/source/a").send());
        switches.held().await;
        assert_eq!(ask("GET", "/-/held").send().await.text(), "1");
        assert_eq!(ask("POST", "/-/release").send().await.status, 204);
        assert_eq!(held.await.expect("no panic").status, 200);
        assert!(ask("GET", "/-/counts").send().await.text().contains(r#""HeadObject":1"#));
        assert_eq!(ask("PUT", "/-/latency").body("1.5").send().await.status, 204);
        assert_eq!(switches.latency(), Duration::from_micros(1500));
        assert_eq!(ask("POST", "/-/reset").send().await.status, 204);
        assert_eq!((switches.counts().total(), switches.faults().len()), (0, 0));
    }
}

#[tokio::test]
async fn a_rule_that_cannot_be_carried_out_is_refused() {
    let key_error = |when| Action::KeyError { code: "InternalError".to_owned(), when };
    let corrupt = || Action::Corrupt { content: "other".to_owned() };
    let batch = |when| Rule::new(Operation::DeleteObjects, key_error(when));
    let [(server, at_server, _), (proxied, at_proxy, _proxy)] = both().await;
    let no_status = Action::Status { status: 42, code: "X".to_owned(), when: When::Before };
    for switches in [&at_server, &at_proxy] {
        for rule in [
            Rule::new(Operation::DeleteObject, key_error(When::After)),
            Rule::new(Operation::PutObject, corrupt()),
            Rule { operation: None, ..Rule::new(Operation::CopyObject, corrupt()) },
            Rule::new(Operation::PutObject, no_status.clone()),
        ] {
            assert!(switches.try_fault(rule.clone()).is_err(), "{rule:?}");
        }
        assert!(switches.faults().is_empty());
        switches.try_fault(batch(When::Before)).expect("all keys need no signature");
        switches.try_fault(batch(When::After).key("a")).expect("nor does an answer");
    }
    at_server.try_fault(batch(When::Before).key("a")).expect("the server can");
    let error = at_proxy.try_fault(batch(When::Before).key("a")).expect_err("it cannot sign");
    assert!(error.to_string().contains("credentials"), "{error}");
    let error = at_proxy.try_fault(Rule::new(Operation::CopyObject, corrupt())).expect_err("it cannot");
    assert!(error.to_string().contains("proxy"), "{error}");
    let rule = r#"{"operation":"CopyObject","action":{"do":"corrupt","content":""}}"#;
    let post = |world: &World| world.ask("POST", "/-/faults").secret(None).body(rule).send();
    assert_eq!(post(&server).await.status, 204);
    assert_eq!(post(&proxied).await.status, 400);
    let signing = Proxied::signing().await;
    signing.control.try_fault(batch(When::Before).key("a")).expect("it can sign");
}

#[tokio::test]
#[should_panic(expected = "a proxy cannot change what the server behind it copies")]
async fn adding_such_a_rule_in_a_test_ends_the_test() {
    let action = Action::Corrupt { content: String::new() };
    Proxied::new().await.control.fault(Rule::new(Operation::CopyObject, action));
}

async fn program(upstream: &str) -> (Child, SocketAddr) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_recycler-test-s3"))
        .args(["--listen", "127.0.0.1:0", "--upstream", upstream])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the program starts");
    let stdout = child.stdout.take().expect("it is piped");
    let mut lines = BufReader::new(stdout).lines();
    let line = timeout(Duration::from_mins(1), lines.next_line()).await.expect("in time");
    let line = line.expect("readable").expect("a line");
    let address = line.strip_prefix("listening on http://").expect("the promised words");
    (child, address.parse().expect("an address"))
}

#[tokio::test]
async fn the_program_is_a_proxy_when_told_an_upstream() {
    let mut world = World::new().await;
    let (mut child, address) = program(&world.server.endpoint()).await;
    world.address = address;
    assert_eq!(world.put("/source/a", "x").await.status, 200);
    assert_eq!(world.control.keys("source"), ["a"]);
    let counts = world.ask("GET", "/-/counts").secret(None).send().await;
    assert_eq!(counts.text(), r#"{"requests":{"PutObject":1},"answers":{"PutObject":{"200":1}}}"#);
    let id = child.id().expect("it runs").to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().await.expect("kill is there").success());
    let ended = timeout(Duration::from_mins(1), child.wait()).await.expect("in time");
    assert!(ended.expect("waited for").success());
}

#[tokio::test]
async fn a_server_s_arguments_are_none_of_a_proxy_s() {
    let program = Command::new(env!("CARGO_BIN_EXE_recycler-test-s3"))
        .args(["--upstream", "http://127.0.0.1:1", "--bucket", "one"])
        .output()
        .await;
    let output = program.expect("the program starts");
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot be used with"));
}

const BIG: u64 = 256 << 20;
const CHUNK: usize = 1 << 20;

/// Takes a body of that size and answers with another one.
async fn swallow(listener: TcpListener) {
    let (stream, _) = listener.accept().await.expect("a connection");
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        stream.read_line(&mut line).await.expect("a head");
    }
    let sink = &mut tokio::io::sink();
    let taken = tokio::io::copy(&mut (&mut stream).take(BIG), sink).await.expect("readable");
    assert_eq!(taken, BIG);
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {BIG}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("written");
    write_big(&mut stream.into_inner()).await;
}

async fn write_big(stream: &mut (impl AsyncWriteExt + Unpin)) {
    let chunk = vec![b'x'; CHUNK];
    for _ in 0..BIG / CHUNK as u64 {
        stream.write_all(&chunk).await.expect("written");
    }
}

/// The most memory that a process has had, in KiB.
fn peak(child: &Child) -> u64 {
    let path = format!("/proc/{}/status", child.id().expect("it runs"));
    let status = std::fs::read_to_string(path).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux says so");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[tokio::test]
async fn a_big_body_each_way_takes_no_memory() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let upstream = format!("http://{}", listener.local_addr().expect("it is bound"));
    tokio::spawn(swallow(listener));
    let (child, address) = program(&upstream).await;
    let before = peak(&child);
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let head = Request::new(address, "PUT", "/source/big").secret(None).head_only();
    let head = head.replace("content-length: 0", &format!("content-length: {BIG}"));
    stream.write_all(head.as_bytes()).await.expect("written");
    write_big(&mut stream).await;
    let answered = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.expect("readable");
    assert!(answered > BIG, "{answered}");
    let grown = peak(&child) - before;
    assert!(grown < 32 << 10, "{grown} KiB");
}

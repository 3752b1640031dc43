//! The control plane over HTTP, and the binary.

use std::process::Stdio;
use std::time::{Duration, Instant};

use recycler_test_s3::{Action, Operation, Options, Rule, Server, When};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use crate::client::{QUICK, World};

#[tokio::test]
async fn requests_are_counted_by_operation_and_status() {
    let world = World::new().await;
    world.put("/source/a", "x").await;
    world.copy("source/a", "/target/a").send().await;
    world.copy("source/none", "/target/a").send().await;
    let counts = world.control.counts();
    assert_eq!(counts.of(Operation::PutObject), 1);
    assert_eq!(counts.of(Operation::CopyObject), 2);
    assert_eq!(counts.answered(Operation::CopyObject, 200), 1);
    assert_eq!(counts.answered(Operation::CopyObject, 404), 1);
    assert_eq!(counts.total(), 3);
    world.control.reset();
    assert_eq!(world.control.counts().total(), 0);
}

#[tokio::test]
async fn the_switches_work_over_http_without_a_signature() {
    let world = World::new().await;
    world.put("/source/a", "x").await;
    let ask = |method: &str, path: &str| world.ask(method, path).secret(None);
    let counts = ask("GET", "/-/counts").send().await;
    let expected = r#"{"requests":{"PutObject":1},"answers":{"PutObject":{"200":1}}}"#;
    assert_eq!((counts.status, counts.text()), (200, expected));

    let rule = r#"{"operation":"GetObject","bucket":"source","key":"a","skip":1,"times":1,
                   "action":{"do":"status","status":503,"code":"SlowDown"}}"#;
    assert_eq!(ask("POST", "/-/faults").body(rule).send().await.status, 204);
    assert_eq!(world.get("/source/a").await.status, 200);
    assert_eq!(world.get("/source/a").await.refusal(), (503, "SlowDown"));
    assert_eq!(world.get("/source/a").await.status, 200);
    let faults = ask("GET", "/-/faults").send().await;
    assert!(faults.text().contains(r#""hits":1"#), "{}", faults.text());
    assert_eq!(ask("DELETE", "/-/faults").send().await.status, 204);
    assert_eq!(ask("GET", "/-/faults").send().await.text(), "[]");

    assert_eq!(ask("PUT", "/-/latency").body("1.5").send().await.status, 204);
    assert_eq!(world.control.latency(), Duration::from_micros(1500));
    assert_eq!(ask("POST", "/-/reset").send().await.status, 204);
    assert_eq!(world.control.counts().total(), 0);
}

#[tokio::test]
async fn a_switch_that_makes_no_sense_is_refused() {
    let world = World::new().await;
    let ask = |method: &str, path: &str, body: &str| world.ask(method, path).secret(None).body(body).send();
    let bad = [
        r#"{"operation":"Copy","action":{"do":"close"}}"#,
        r#"{"operation":"CopyObject","actoin":{"do":"close"}}"#,
        r#"{"operation":"CopyObject","action":{"do":"explode"}}"#,
        r#"{"action":{"do":"status","status":42,"code":"X"}}"#,
        "{",
    ];
    for rule in bad {
        let answer = ask("POST", "/-/faults", rule).await;
        assert_eq!(answer.status, 400, "{rule}");
        assert!(answer.text().contains("error"), "{rule}");
    }
    assert_eq!(ask("PUT", "/-/latency", "-1").await.status, 400);
    assert_eq!(ask("PUT", "/-/bandwidth", "-1").await.status, 400);
    assert_eq!(ask("GET", "/-/nothing", "").await.status, 404);
    assert!(world.control.faults().is_empty());
}

#[tokio::test]
async fn every_request_waits_for_the_latency() {
    let world = World::with(Options { latency: Duration::from_millis(80), ..Options::default() });
    let world = world.await;
    let start = Instant::now();
    world.put("/source/a", "x").await;
    assert!(start.elapsed() >= Duration::from_millis(80));
    // Of what was set in between a request would wait for an hour.
    world.control.set_latency(Duration::from_hours(1));
    world.control.set_latency(Duration::ZERO);
    timeout(Duration::from_mins(1), world.put("/source/a", "x")).await.expect("no latency any more");
}

#[tokio::test]
async fn all_connections_share_a_bandwidth_each_way() {
    const BYTES: usize = 1 << 20;
    let world = World::new().await;
    let ask = world.ask("PUT", "/-/bandwidth").secret(None);
    assert_eq!(ask.body(format!("{}", 8 * BYTES)).send().await.status, 204);
    assert_eq!(world.control.bandwidth(), 8 << 20);
    // Two at once, of an eighth of a second each; nobody waits behind the last that is read.
    let least = Duration::from_millis(150);
    let start = Instant::now();
    let (one, other) = ("/source/a", "/source/b");
    tokio::join!(world.put(one, vec![0; BYTES]), world.put(other, vec![0; BYTES]));
    assert!(start.elapsed() >= least, "{:?}", start.elapsed());
    let start = Instant::now();
    let (one, other) = tokio::join!(world.get(one), world.get(other));
    assert_eq!((one.body.len(), other.body.len()), (BYTES, BYTES));
    assert!(start.elapsed() >= least, "{:?}", start.elapsed());
    world.control.set_bandwidth(0);
}

#[tokio::test]
async fn stopping_ends_stalled_requests_and_frees_the_port() {
    let world = World::new().await;
    let stall = Action::Stall { when: When::Before };
    world.control.fault(Rule::new(Operation::PutObject, stall));
    let address = world.server.address();
    let stalled = tokio::spawn(world.ask("PUT", "/source/a").try_send());
    while world.control.counts().of(Operation::PutObject) == 0 {
        tokio::task::yield_now().await;
    }
    timeout(QUICK, world.server.stop()).await.expect("a quick stop");
    assert!(stalled.await.expect("no panic").is_err());
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn idle_connections_do_not_hold_up_a_stop() {
    let world = World::new().await;
    let _fresh = tokio::net::TcpStream::connect(world.server.address()).await.expect("connects");
    world.put("/source/a", "x").await;
    timeout(QUICK, world.server.stop()).await.expect("a quick stop");
}

#[tokio::test]
async fn a_bucket_s_name_is_checked_at_the_start() {
    let buckets = vec!["-".to_owned()];
    let started = Server::start(Options { buckets, ..Options::default() }).await;
    assert_eq!(started.expect_err("no name").kind(), std::io::ErrorKind::InvalidInput);
}

#[tokio::test]
async fn the_program_says_when_it_is_ready_and_stops_on_sigterm() {
    let ready = std::env::temp_dir().join(format!("recycler-test-s3-{}", std::process::id()));
    let mut child = Command::new(env!("CARGO_BIN_EXE_recycler-test-s3"))
        .args(["--listen", "127.0.0.1:0", "--bucket", "one", "--bucket", "two"])
        .args(["--access-key", "k", "--secret-key", "s", "--latency", "1ms", "--ready-file"])
        .arg(&ready)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the program starts");
    let stdout = child.stdout.take().expect("it is piped");
    let mut lines = BufReader::new(stdout).lines();
    let line = timeout(Duration::from_mins(1), lines.next_line()).await.expect("in time");
    let line = line.expect("readable").expect("a line");
    let endpoint = line.strip_prefix("listening on ").expect("the promised words").to_owned();
    while !ready.exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(std::fs::read_to_string(&ready).expect("readable"), endpoint);
    std::fs::remove_file(&ready).expect("it is there");
    let id = child.id().expect("it runs").to_string();
    let killed = Command::new("kill").args(["-TERM", &id]).status().await.expect("kill is there");
    assert!(killed.success());
    let ended = timeout(Duration::from_mins(1), child.wait()).await.expect("in time");
    assert!(ended.expect("waited for").success());
}

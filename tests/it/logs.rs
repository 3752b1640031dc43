//! The log: a line for each decision with its event's id, a bound on repeated lines, nothing secret. That every line of
//! every test is looked through is shown here, too.

use std::process::Stdio;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use lapin::BasicProperties;
use serde_json::Value;
use tokio::process::Command;
use uuid::Uuid;

use crate::support::broker;
use crate::support::process::{Service, eventually, looked_through};
use crate::support::told::{FILE_NAME, RECORD_NAME, is_unexpected};
use crate::support::world::{S3, world};

/// Lines that one place may write within ten seconds.
const BOUND: usize = 50;
/// Messages that are published at once.
const AT_ONCE: usize = 100;

fn count(log: &[String], part: &str) -> usize {
    log.iter().filter(|line| line.contains(part)).count()
}

/// What the log says of lines like this one that it held back.
fn held_back(log: &[String], like: &str) -> usize {
    let lines = log.iter().filter(|line| line.contains("more lines were held back") && line.contains(like));
    lines
        .map(|line| {
            let (_, rest) = line.split_once("held_back=").unwrap();
            rest.split(' ').next().unwrap().parse::<usize>().unwrap()
        })
        .sum()
}

#[tokio::test]
async fn three_hundred_lines_of_one_kind_are_told_by_their_number() {
    flood(300).await;
}

#[tokio::test]
async fn ten_thousand_malformed_messages_are_a_few_lines_and_their_number() {
    flood(10_000).await;
}

/// So many malformed messages at once: few lines, and no line less than they are once all is told.
async fn flood(messages: usize) {
    world(S3::Embedded, async |world| {
        let (_connection, channel) = broker::plain().await;
        let work = world.queues.topology.work();
        // It declares the queues.
        let _session = world.queues.session().await;
        let bad = || broker::put_through(&channel, &work, b"no event", BasicProperties::default());
        for _ in 0..messages / AT_ONCE {
            join_all((0..AT_ONCE).map(|_| bad())).await;
        }
        let mut service =
            Service::start(&world.environment, &["run"]).await.expect_log("dead-lettered").ready().await;
        let name = "file_recycler_dead_letters_total{reason=\"malformed\"}";
        eventually("all are dead letters", async || {
            (service.metric(name).await == messages as u64).then_some(())
        })
        .await;
        let held = service.metric("file_recycler_log_lines_held_back_total").await;
        assert_eq!(service.stop().await, Some(0));
        let log = service.log_to_its_end();
        let written = count(&log, " dead-lettered ");
        let told = held_back(&log, "like=\"dead-lettered\"");
        assert_eq!(written + told, messages, "{written} lines, and {told} are told of");
        assert!(written >= BOUND && written < messages, "{written} lines");
        assert!(held > 0, "the metric tells of them, too");
    })
    .await;
}

/// The log of a service in JSON, each line with what it has to do with.
fn json_lines(log: &[String]) -> Vec<Value> {
    log.iter().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"))).collect()
}

#[tokio::test]
async fn each_decision_is_a_line_with_the_id_of_its_event_also_as_json() {
    world(S3::Embedded, async |world| {
        let mut service = Service::start(&world.environment, &["run", "--log-format", "json"])
            .await
            .expect_log("dead-lettered")
            .ready()
            .await;
        world.moves_a_file().await;
        let odd = BasicProperties::default().with_message_id("a-bad-one".into());
        broker::put(&world.queues.topology.work(), b"no event", odd).await;
        // Its message has no id of its own.
        let (_, files) = world.record_with_files("Contact", "ContactFile", 1).await;
        let outside = serde_json::json!({
            "specversion": "1.0", "id": "from-outside", "source": "/test", "type": "crm.file.deleted.v1",
            "data": { "files": [{ "file_id": files[0], "schema": "ContactFile" }] }
        });
        broker::put(
            &world.queues.topology.work(),
            outside.to_string().as_bytes(),
            BasicProperties::default(),
        )
        .await;
        let all = "file_recycler_events_total{type=\"crm.file.deleted.v1\"}";
        eventually("the last one is done", async || (service.metric(all).await > 0).then_some(())).await;
        world.quiet(&service).await;
        assert_eq!(service.stop().await, Some(0));

        let lines = json_lines(&service.log_to_its_end());
        let decisions: Vec<&Value> = lines
            .iter()
            .filter(|line| {
                ["done", "dead-lettered"].iter().any(|decision| line["fields"]["message"] == *decision)
            })
            .collect();
        assert_eq!(decisions.len(), 3, "{decisions:?}");
        for decision in &decisions {
            let span = &decision["span"];
            assert!(span["id"].is_string() || span["event"].is_string(), "{decision}");
        }
        let of = |id: &str| {
            let is = |line: &&&Value| line["span"]["id"] == id || line["span"]["event"] == id;
            decisions.iter().find(is).unwrap_or_else(|| panic!("{id}: {decisions:?}"))["fields"].clone()
        };
        assert_eq!(
            (&of("a-bad-one")["reason"], &of("from-outside")["files"]),
            (&"malformed".into(), &"alive 1".into())
        );
        let moved = decisions.iter().find(|line| line["fields"]["files"] == "moved 1").unwrap();
        let id = moved["span"]["id"].as_str().unwrap();
        assert!(Uuid::parse_str(id).is_ok(), "{moved}");
        let ledger = format!("SELECT count(*) FROM file_recycler.ledger WHERE event_id::text = '{id}'");
        assert_eq!(world.crm.number(ledger).await, 1, "it is the event's id");
    })
    .await;
}

#[tokio::test]
async fn all_that_can_be_logged_tells_no_secret_and_nobodys_name() {
    world(S3::Foreign, async |world| {
        let mut environment = world.with(&[("HTTP__TOKEN", "the-token-of-the-test")]);
        environment.push(("RUST_LOG".to_owned(), "trace".to_owned()));
        // The service looks through every line as it is read.
        let mut service =
            Service::start(&environment, &["run"]).await.expect_log("dead-lettered").ready().await;
        // Off, unless somebody asks for them: the one tells of the end of its own connections, the other of slow answers.
        service.expects(&["lapin", "sqlx"]);
        world.moves_a_file().await;
        broker::put(&world.queues.topology.work(), b"no event", BasicProperties::default()).await;
        world.quiet(&service).await;
        service.stop().await;
        let log = service.log_to_its_end();
        assert!(count(&log, "DEBUG") > 10 && count(&log, "lapin") > 0, "it logs all there is: {log:?}");
    })
    .await;
}

fn environment() -> Vec<(String, String)> {
    let of = |key: &str, value: &str| (format!("FILE_RECYCLER_{key}"), value.to_owned());
    let file = std::env::temp_dir().join(format!("file-recycler-{}", Uuid::new_v4().simple()));
    std::fs::write(&file, "the-secret-of-a-file\n").unwrap();
    vec![
        of("DATABASE__URL", "postgres://crm:short@127.0.0.1/crm"),
        of("BROKER__URL", "amqp://crm:a-long-password@127.0.0.1/%2f"),
        of("STORAGE__SECRET_KEY", "the-secret-key"),
        of("HTTP__TOKEN_FILE", file.to_str().unwrap()),
        ("PATH".to_owned(), std::env::var("PATH").unwrap()),
    ]
}

#[tokio::test]
async fn a_secret_a_name_or_trouble_in_what_a_command_prints_fails_its_test() {
    let environment = environment();
    for (printed, is_refused) in [
        ("all is well, and the password is short", false),
        ("postgres://crm:short@127.0.0.1/crm", true),
        ("the password is a-long-password", true),
        ("key=the-secret-key", true),
        ("token: the-secret-of-a-file", true),
        ("GET /?X-Amz-Signature=0123", true),
        (FILE_NAME, true),
        (RECORD_NAME, true),
        ("2026-11-28T10:00:00Z  WARN file_recycler: odd", true),
        ("2026-11-28T10:00:00Z  WARN file_recycler: announced", false),
        (r#"{"timestamp":"x","level":"ERROR","fields":{}}"#, true),
        ("thread 'main' panicked at", true),
    ] {
        let mut command = Command::new("sh");
        command.args(["-c", "printf '%s\\n' \"$0\" >&2", printed]).stdin(Stdio::null());
        let looked = looked_through(&environment, command, &["announced"]);
        let ended = std::panic::AssertUnwindSafe(looked).catch_unwind().await;
        assert_eq!(ended.is_err(), is_refused, "{printed}");
    }
}

#[tokio::test]
async fn a_secret_in_the_log_of_a_service_fails_its_test() {
    world(S3::Embedded, async |world| {
        // The queue's name is no secret, and it is in the log; here it is a token as well.
        let token = world.queues.topology.prefix.clone();
        let service = Service::start(&world.with(&[("HTTP__TOKEN", &token)]), &["run"]).await.ready().await;
        eventually("the log names the queue", async || {
            service.log().iter().any(|line| line.contains(&token)).then_some(())
        })
        .await;
        let dropped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(service)));
        let why = dropped.expect_err("the service's end fails the test");
        let why = why.downcast_ref::<String>().unwrap();
        assert!(why.contains("secrets in the log") && why.contains(&token), "{why}");
    })
    .await;
}

#[test]
fn trouble_is_known_in_both_forms_of_the_log() {
    assert!(is_unexpected(r#"{"level":"WARN","message":"x"}"#, &[]));
    assert!(!is_unexpected(r#"{"level":"INFO","message":"a WARNING"}"#, &[]));
}

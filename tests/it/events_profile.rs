//! `crm.profile = "events"`: the CRM's database cannot be asked, and events come from outside alone.

use std::sync::Arc;

use file_recycler::storage::Side;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::broker::put;
use crate::support::crm::Crm;
use crate::support::process::{self, Output, Service, eventually};
use crate::support::world::{S3, World, bare_world_on};

const TOKEN: &str = "a-very-secret-token";
const SETTINGS: [(&str, &str); 3] =
    [("CRM__PROFILE", "events"), ("CRM__TRUST_OUTSIDE_EVENTS", "true"), ("HTTP__TOKEN", TOKEN)];

/// Runs a test in a database of its own, with nothing in it.
async fn events(test: impl AsyncFnOnce(Arc<World>)) {
    bare_world_on(S3::Embedded, Crm::with("SELECT 1").await, async |world| {
        cli(&world, &["listener", "install"]).await.expect(0);
        cli(&world, &["adopt", "--apply"]).await.expect(0);
        test(world).await;
    })
    .await;
}

async fn cli(world: &World, arguments: &[&str]) -> Output {
    process::run(&world.with(&SETTINGS), arguments).await
}

async fn start(world: &World, half: &str) -> Service {
    Service::start(&world.with(&SETTINGS), &[half]).await.ready().await
}

fn event(id: &str, files: &Value) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "/crm/oracle", "type": "crm.record.deleted.v1",
        "data": { "schema": "ORDERS", "record_id": "4711/a", "files": files }
    })
}

async fn post(service: &Service, event: &Value) -> String {
    let body = event.to_string();
    let mut stream = TcpStream::connect(service.http).await.unwrap();
    let request = format!(
        "POST /v1/events HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Type: application/cloudevents+json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.lines().next().unwrap_or_default().to_owned()
}

async fn upload(world: &World, key: &str) {
    world.storage.put(Side::Object, key, key.as_bytes()).await;
}

async fn recycled(world: &World, key: &str) {
    eventually(&format!("'{key}' is recycled"), async || {
        (world.storage.get(Side::Object, key).await.is_none()
            && world.storage.get(Side::Recycle, key).await == Some(key.as_bytes().to_vec()))
        .then_some(())
    })
    .await;
}

#[tokio::test]
async fn files_move_that_an_event_names_over_http_amqp_or_by_hand() {
    events(async |world| {
        let service = start(&world, "run").await;
        let with_uuid = "scans/0f8fad5b-d9cb-469f-a165-70867728950e.pdf";
        for key in ["ORD-1/scan", "files/7", with_uuid, "by-amqp", "by-hand", "stays"] {
            upload(&world, key).await;
        }
        // Ids are any text; the template gives the key, or the file carries its own.
        let files = json!([{ "file_id": "ORD-1/scan" }, { "file_id": "7", "key": "files/7" }, { "file_id": "8", "key": with_uuid }]);
        assert!(post(&service, &event("e-1", &files)).await.contains(" 202 "));
        recycled(&world, "ORD-1/scan").await;
        recycled(&world, "files/7").await;
        recycled(&world, with_uuid).await;
        let body = event("e-2", &json!([{ "file_id": "by-amqp" }])).to_string();
        put(&world.queues.topology.work(), body.as_bytes(), lapin::BasicProperties::default()).await;
        recycled(&world, "by-amqp").await;
        cli(&world, &["emit", "--schema", "ORDERS", "--record", "1", "--file", "by-hand"]).await.expect(0);
        recycled(&world, "by-hand").await;
        world.quiet(&service).await;
        world.storage.holds("stays", Some(b"stays"), None).await;
        let noted =
            "SELECT count(*) FROM file_recycler.ledger WHERE outcome = 'moved' AND record_id = '4711/a'";
        assert_eq!(world.crm.number(noted).await, 4);
        let told =
            service.log().iter().filter(|line| line.contains("rests on whoever sends the events")).count();
        assert_eq!(told, 1);
        let told = cli(&world, &["explain", "ORD-1/scan", "--json"]).await.expect(0).json();
        assert_eq!(
            (told["kind"].as_str(), told["ledger"][0]["outcome"].as_str()),
            (Some("file"), Some("moved")),
            "{told}"
        );
        upload(&world, "ORD-9/SCAN").await;
        let told = cli(&world, &["explain", "ord-9/scan", "--json"]).await.expect(0).json();
        let verdict = told["verdict"].as_str().unwrap();
        assert!(verdict.contains("the object bucket has an object of it under 'ORD-9/SCAN'"), "{told}");
        let status = cli(&world, &["status", "--json"]).await.expect(0).json();
        assert_eq!(status["healthy"], true);
    })
    .await;
}

#[tokio::test]
async fn without_trust_it_is_a_wrong_configuration_and_listening_is_pointless() {
    events(async |world| {
        let settings = [("CRM__PROFILE", "events")];
        for command in [&["run"][..], &["status"], &["listener", "install"]] {
            let refused = process::run(&world.with(&settings), command).await.expect(2);
            assert!(refused.stderr.contains("needs crm.trust_outside_events = true"), "{refused:?}");
        }
        let refused = cli(&world, &["listen"]).await.expect(2);
        assert!(refused.stderr.contains("there is no database to listen to"), "{refused:?}");
        let status = cli(&world, &["listener", "status", "--json"]).await.expect(0).json();
        assert_eq!((status["state"].as_str(), status["triggers"].as_u64()), (Some("installed"), Some(0)));
        assert_eq!(status["crm"], serde_json::json!(null));
        let told = cli(&world, &["listener", "status"]).await.expect(0).stdout;
        assert!(!told.contains("the CRM"), "{told}");
    })
    .await;
}

#[tokio::test]
async fn what_is_paused_or_not_installed_or_bad_moves_nothing() {
    events(async |world| {
        upload(&world, "later").await;
        upload(&world, "0f8fad5b-d9cb-469f-a165-70867728950e").await;
        cli(&world, &["emit", "--schema", "ORDERS", "--record", "1", "--file", "later"]).await.expect(0);
        cli(&world, &["pause", "--why", "a test"]).await.expect(0);
        let refused = cli(&world, &["emit", "--schema", "ORDERS", "--record", "2"]).await.expect(1);
        assert!(refused.stderr.contains("nothing is changed: paused: a test"), "{refused:?}");
        let service = Service::start(&world.with(&SETTINGS), &["work"]).await.expect_log("dead-lettered");
        let service = service.expect_log("paused by an operator");
        eventually("it is paused", async || {
            service.readyz().await.is_some_and(|answer| answer.to_string().contains("a test")).then_some(())
        })
        .await;
        world.storage.holds("later", Some(b"later"), None).await;
        cli(&world, &["resume"]).await.expect(0);
        recycled(&world, "later").await;
        // The key is, by the template, another file's.
        let other = json!([{ "file_id": "mine", "key": "0f8fad5b-d9cb-469f-a165-70867728950e" }]);
        let body = event("e-2", &other).to_string();
        put(&world.queues.topology.work(), body.as_bytes(), lapin::BasicProperties::default()).await;
        eventually("it is dead", async || {
            let listed = cli(&world, &["dlq", "list", "--json"]).await.expect(0).json();
            (listed["messages"][0]["reason"] == "malformed").then_some(())
        })
        .await;
        let shown = cli(&world, &["dlq", "show", "--json"]).await.expect(0);
        assert!(shown.stdout.contains("its key is that of file"), "{shown:?}");
    })
    .await;

    bare_world_on(S3::Embedded, Crm::with("SELECT 1").await, async |world| {
        let service = Service::start(&world.with(&SETTINGS), &["run"]).await;
        let service = service.expect_log("state=\"not_installed\"").expect_log("guard");
        eventually("it says that it is not installed", async || {
            let answer = service.readyz().await?;
            (answer["ready"] == false && answer["listener"]["state"] == "not_installed").then_some(())
        })
        .await;
        let refused = cli(&world, &["adopt", "--apply"]).await.expect(1);
        assert!(refused.stderr.contains("listener install"), "{refused:?}");
    })
    .await;
}

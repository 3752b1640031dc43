//! Events that others hand over by `POST /v1/events`: taken when the broker has them, refused with the field, and
//! nothing of them or of the token is ever told.

mod examples;

use std::net::SocketAddr;

use lapin::options::BasicGetOptions;
use lapin::types::FieldTable;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::support::broker::{Scene, plain, until_depth, url_through};
use crate::support::node::Node;
use crate::support::process::{Service, eventually};
use crate::support::proxy::{Proxy, Weather};
use crate::support::world::{S3, World, world};

const TOKEN: &str = "a-very-secret-token";

/// An answer: its status, its head, its document.
struct Answer {
    status: u16,
    head: String,
    body: Value,
}

/// A POST as it is; nothing where the connection was cut before an answer.
async fn try_post(address: SocketAddr, headers: &str, body: &[u8]) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let head = format!("POST /v1/events HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(&[head.as_bytes(), body].concat()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, head: head.to_owned(), body: serde_json::from_str(body).ok()? })
}

async fn post_as(service: &Service, token: &str, body: &[u8]) -> Answer {
    let headers = format!(
        "Authorization: Bearer {token}\r\nContent-Type: application/cloudevents+json\r\nContent-Length: {}\r\n",
        body.len()
    );
    try_post(service.http, &headers, body).await.expect("an answer")
}

async fn post(service: &Service, event: &Value) -> Answer {
    post_as(service, TOKEN, event.to_string().as_bytes()).await
}

/// Posts it until it is taken. A connection whose heartbeats come each second is lost where somebody is slow, and made anew.
async fn is_taken(service: &Service, event: &Value) {
    eventually("it is taken", async || (post(service, event).await.status == 202).then_some(())).await;
}

fn deleted(id: &str, record: Uuid, files: &[Uuid]) -> Value {
    let files: Vec<_> =
        files.iter().map(|file| json!({ "file_id": file, "schema": "ContactFile" })).collect();
    json!({
        "specversion": "1.0", "id": id, "source": "/another/crm", "type": "crm.record.deleted.v1",
        "subject": "free", "time": "2026-11-23T10:00:00Z", "name": "a secret name",
        "data": { "schema": "Contact", "record_id": record, "files": files }
    })
}

/// The environment in which events may be handed over.
fn with_token(world: &World) -> Vec<(String, String)> {
    world.with(&[("HTTP__TOKEN", TOKEN)])
}

/// The ids of a record and of files that are gone from the database unseen, and whose objects are left.
async fn deleted_elsewhere(world: &World, files: usize) -> (Uuid, Vec<Uuid>) {
    let files: Vec<_> = (0..files).map(|_| Uuid::new_v4()).collect();
    for file in &files {
        world.upload(*file).await;
    }
    (Uuid::new_v4(), files)
}

async fn environment_of(world: &World) -> Uuid {
    sqlx::query_scalar("SELECT id FROM file_recycler.environment").fetch_one(&world.crm.pool).await.unwrap()
}

/// Ends the service, and looks through all that it has logged.
async fn nothing_was_told(mut service: Service) {
    service.kill().await;
    // Once it is accepted, the worker's lines have its id.
    let log = service.log_to_its_end().into_iter().filter(|line| !line.contains(" message{id="));
    for line in log {
        for secret in [TOKEN, "a secret name", "wrong-token", "an-event-id"] {
            assert!(!line.contains(secret), "the log tells '{secret}': {line}");
        }
    }
}

#[tokio::test]
async fn the_files_of_a_posted_event_move_and_posting_it_again_changes_nothing() {
    world(S3::Embedded, async |world| {
        let (record, files) = deleted_elsewhere(&world, 2).await;
        let mut environment = with_token(&world);
        environment.push(("RUST_LOG".to_owned(), "debug,hyper=info,lapin=off,sqlx=error".to_owned()));
        let service = Service::start(&environment, &["run"]).await.ready().await;
        let event = deleted("an-event-id", record, &files);
        for _ in 0..3 {
            let answer = post(&service, &event).await;
            assert_eq!((answer.status, answer.body), (202, json!({ "id": "an-event-id" })));
        }
        for file in &files {
            world.recycled(*file).await;
        }
        world.quiet(&service).await;
        let letters = world.cli(&["dlq", "list", "--json"]).await.expect(0).json();
        assert_eq!(letters["total"], 0, "{letters}");
        assert_eq!(service.metric(r#"file_recycler_intake_events_total{result="accepted"}"#).await, 3);
        assert!(!service.log().iter().any(|line| line.contains(TOKEN)), "the log tells the token");
    })
    .await;
}

#[tokio::test]
async fn what_is_published_is_the_event_as_it_was_understood_and_nobodys_capture() {
    world(S3::Embedded, async |world| {
        let service = Service::start(&with_token(&world), &["listen"]).await.ready().await;
        let environment = environment_of(&world).await;
        let mut event = deleted("an-event-id", Uuid::from_u128(7), &[Uuid::from_u128(8)]);
        event["environment"] = json!(environment);
        assert_eq!(post(&service, &event).await.status, 202);

        let (_connection, channel) = plain().await;
        let queue = world.queues.topology.work();
        let message = channel.basic_get(queue.into(), BasicGetOptions::default()).await.unwrap().unwrap();
        let body: Value = serde_json::from_slice(&message.delivery.data).unwrap();
        event.as_object_mut().unwrap().remove("environment");
        event.as_object_mut().unwrap().remove("name");
        event["datacontenttype"] = json!("application/json");
        assert_eq!(body, event, "no field that means nothing here enters the broker");
        let properties = &message.delivery.properties;
        assert_eq!(properties.message_id(), &Some("an-event-id".into()));
        assert_eq!(properties.content_type(), &Some("application/cloudevents+json".into()));
        assert_eq!(properties.delivery_mode(), &Some(2));

        event["environment"] = json!(Uuid::from_u128(1));
        let answer = post(&service, &event).await;
        assert_eq!((answer.status, &answer.body["field"]), (400, &json!("environment")));
        nothing_was_told(service).await;
    })
    .await;
}

#[tokio::test]
async fn an_event_that_names_our_environment_has_no_row_deleted() {
    world(S3::Embedded, async |world| {
        let record = Uuid::new_v4();
        let file = world.crm.weak_file("SysFile", "Contact", record).await;
        world.upload(file).await;
        let service = Service::start(&with_token(&world), &["run"]).await.ready().await;
        let environment = environment_of(&world).await;
        let mut event = deleted("an-event-id", record, &[file]);
        event["environment"] = json!(environment);
        assert_eq!(post(&service, &event).await.status, 202);
        // That nothing came of it is known only once it was worked on.
        eventually("the file was found alive", async || {
            (service.metric(r#"file_recycler_files_total{outcome="alive"}"#).await >= 1).then_some(())
        })
        .await;
        world.quiet(&service).await;
        assert_eq!(world.crm.number(r#"SELECT count(*) FROM "SysFile""#).await, 1);
        world.is_untouched(file).await;
    })
    .await;
}

#[tokio::test]
async fn every_refusal_has_its_status() {
    world(S3::Embedded, async |world| {
        let service = Service::start(&with_token(&world), &["work"]).await.ready().await;
        let event = deleted("an-event-id", Uuid::from_u128(7), &[Uuid::from_u128(8)]);
        let answer = post_as(&service, "wrong-token", event.to_string().as_bytes()).await;
        assert_eq!(answer.status, 401);
        assert!(answer.head.contains("www-authenticate: Bearer"), "{}", answer.head);
        let mut wrong = event.clone();
        wrong["data"]["files"] = json!([
            { "file_id": Uuid::from_u128(1) }, { "file_id": Uuid::from_u128(2) }, { "file_id": Uuid::from_u128(3) },
            { "file_id": "a secret name" }
        ]);
        let answer = post(&service, &wrong).await;
        assert_eq!(answer.status, 400);
        let field = "data.files[3].file_id";
        assert_eq!(answer.body, json!({ "error": format!("{field}: is not a UUID"), "field": field }));
        let mut wrong = event.clone();
        wrong["time"] = json!("0000-01-01T00:00:00+01:00");
        let answer = post(&service, &wrong).await;
        assert_eq!((answer.status, &answer.body["field"]), (400, &json!("time")));
        let typed = format!("Authorization: Bearer {TOKEN}\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n");
        assert_eq!(try_post(service.http, &typed, b"{}").await.unwrap().status, 415);
        assert_eq!(post_as(&service, TOKEN, &vec![b' '; 1024 * 1024 + 1]).await.status, 413);
        assert_eq!(service.metric(r#"file_recycler_intake_events_total{result="refused"}"#).await, 5);

        let tokenless = Service::start(&world.environment, &["work"]).await.ready().await;
        assert_eq!(post(&tokenless, &event).await.status, 403);
        nothing_was_told(service).await;
        assert_eq!(world.queues.unfinished().await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_large_body_without_a_length_is_refused_in_bounded_memory() {
    world(S3::Embedded, async |world| {
        let service = Service::start(&with_token(&world), &["listen"]).await.ready().await;
        let headers = format!(
            "Authorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
        );
        let chunks = |count: usize| {
            let chunk = [b"100000\r\n".as_slice(), &vec![b' '; 1024 * 1024], b"\r\n"].concat();
            [chunk.repeat(count), b"0\r\n\r\n".to_vec()].concat()
        };
        assert_eq!(try_post(service.http, &headers, &chunks(5)).await.unwrap().status, 413);
        let before = service.peak_kib();
        let huge = chunks(100);
        let posts = (0..8).map(|_| try_post(service.http, &headers, &huge));
        for answer in futures_util::future::join_all(posts).await {
            // One that sends on and on is cut off.
            assert!(answer.is_none_or(|answer| answer.status == 413));
        }
        let grown = service.peak_kib() - before;
        assert!(grown < 40 * 1024, "800 MiB were sent, and {grown} KiB of memory taken");
    })
    .await;
}

#[tokio::test]
async fn while_paused_or_refused_nothing_is_taken_and_then_it_is() {
    world(S3::Embedded, async |world| {
        let service = Service::start(&with_token(&world), &["listen"]).await.ready().await;
        let service = service.expect_log("paused").expect_log("not well");
        let event = deleted("an-event-id", Uuid::from_u128(7), &[]);
        world.cli(&["pause", "--why", "a restore"]).await.expect(0);
        let answer = eventually("the pause is seen", async || {
            Some(post(&service, &event).await).filter(|answer| answer.status == 503)
        })
        .await;
        assert!(answer.head.contains("retry-after: 5"), "{}", answer.head);
        assert_eq!(answer.body, json!({ "error": "an operator has paused everything" }));
        world.cli(&["resume"]).await.expect(0);
        eventually("it goes on", async || (post(&service, &event).await.status == 202).then_some(())).await;

        let marker = ".file-recycler/environment.json";
        world.storage.delete(file_recycler::storage::Side::Object, marker).await;
        eventually("the guard refuses", async || {
            let answer = post(&service, &event).await;
            (answer.status == 503 && answer.body["error"] == "the environment guard refuses").then_some(())
        })
        .await;
    })
    .await;
}

/// A listener whose broker is behind a proxy.
async fn behind_a_proxy(world: &World) -> (Service, Proxy) {
    let (_, proxy) = world.queues.proxied().await;
    let mut environment = with_token(world);
    environment.retain(|(name, _)| name != "FILE_RECYCLER_BROKER__URL");
    environment.push(("FILE_RECYCLER_BROKER__URL".to_owned(), url_through(&proxy).to_string()));
    let service = Service::start(&environment, &["listen"]).await.ready().await;
    (service.expect_log("not well").expect_log("relaying was interrupted"), proxy)
}

#[tokio::test]
async fn a_post_is_answered_only_after_the_brokers_confirm() {
    world(S3::Embedded, async |world| {
        let (service, proxy) = behind_a_proxy(&world).await;
        let event = deleted("an-event-id", Uuid::from_u128(7), &[]);
        is_taken(&service, &event).await;
        proxy.set(Weather::BlackHole);
        // There is an answer at all: the client is told before its connection ends.
        let answer = post(&service, &event).await;
        assert_eq!(answer.status, 503, "nobody has confirmed anything: {}", answer.body);
        proxy.set(Weather::Fair);
        is_taken(&service, &event).await;
        nothing_was_told(service).await;
    })
    .await;
}

#[tokio::test]
async fn without_a_broker_a_post_is_503_and_one_connection_comes_back_by_itself() {
    world(S3::Embedded, async |world| {
        let (service, proxy) = behind_a_proxy(&world).await;
        let event = deleted("an-event-id", Uuid::from_u128(7), &[]);
        for weather in [Weather::Cut, Weather::Reset] {
            is_taken(&service, &event).await;
            proxy.set(weather);
            for _ in 0..3 {
                let answer = post(&service, &event).await;
                assert_eq!(answer.status, 503);
                assert!(answer.head.contains("retry-after: 5"), "{}", answer.head);
            }
            proxy.set(Weather::Fair);
            is_taken(&service, &event).await;
        }
        let sent = proxy.connections();
        for _ in 0..20 {
            is_taken(&service, &event).await;
        }
        // The relay and whoever looks at the queues come back in their own time.
        assert!(proxy.connections() - sent < 20, "no connection for each request");
        nothing_was_told(service).await;
    })
    .await;
}

#[tokio::test]
async fn while_the_broker_is_short_of_memory_a_post_is_503() {
    world(S3::Embedded, async |world| {
        let node = Node::start("", "").await;
        let mut environment = with_token(&world);
        environment.retain(|(name, _)| name != "FILE_RECYCLER_BROKER__URL");
        environment.push(("FILE_RECYCLER_BROKER__URL".to_owned(), node.url().to_string()));
        let service = Service::start(&environment, &["listen"]).await.ready().await;
        let service = service.expect_log("the broker blocks publishing");
        let event = deleted("an-event-id", Uuid::from_u128(7), &[]);
        assert_eq!(post(&service, &event).await.status, 202);
        node.memory_watermark(0.0).await;
        let answer = eventually("the alarm is heard", async || {
            Some(post(&service, &event).await).filter(|answer| answer.status == 503)
        })
        .await;
        assert_eq!(answer.body, json!({ "error": "the broker takes no messages at present" }));
        node.memory_watermark(0.9).await;
        eventually("it goes on", async || (post(&service, &event).await.status == 202).then_some(())).await;
    })
    .await;
}

#[tokio::test]
async fn many_posts_at_once_are_all_in_the_queue_after_a_stop() {
    world(S3::Embedded, async |world| {
        let mut service = Service::start(&with_token(&world), &["listen"]).await.ready().await;
        let address = service.http;
        let posting = (0..200_u128).map(|number| async move {
            let body = deleted(&number.to_string(), Uuid::from_u128(number), &[]).to_string().into_bytes();
            let headers = format!(
                "Authorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n",
                body.len()
            );
            try_post(address, &headers, &body).await.is_some_and(|answer| answer.status == 202)
        });
        let posting = futures_util::future::join_all(posting);
        let stopping = async {
            eventually("some are taken", async || {
                (service.metric(r#"file_recycler_intake_events_total{result="accepted"}"#).await > 0)
                    .then_some(())
            })
            .await;
            service.terminate().await;
        };
        let (taken, ()) = tokio::join!(posting, stopping);
        assert_eq!(service.ended().await, Some(0));
        let taken = taken.into_iter().filter(|taken| *taken).count();
        assert!(taken > 0);
        let queued = Scene::drain(&world.queues, &world.queues.topology.work()).await.len();
        assert!(queued >= taken, "{taken} were answered with 202, and {queued} are in the queue");
    })
    .await;
}

#[tokio::test]
async fn a_post_that_no_queue_takes_is_503_and_the_queue_is_bound_again() {
    world(S3::Embedded, async |world| {
        let service = Service::start(&with_token(&world), &["listen"]).await.ready().await;
        let service = service.expect_log("not well").expect_log("relaying was interrupted");
        let event = deleted("an-event-id", Uuid::from_u128(7), &[]);
        let topology = &world.queues.topology;
        let (_connection, channel) = plain().await;
        channel
            .queue_unbind(
                topology.work().into(),
                topology.events().into(),
                "record.deleted".into(),
                FieldTable::default(),
            )
            .await
            .unwrap();
        let answer = post(&service, &event).await;
        assert_eq!(
            (answer.status, &answer.body["error"]),
            (503, &json!("the broker's queues are not as they must be"))
        );
        eventually("it is bound again", async || (post(&service, &event).await.status == 202).then_some(()))
            .await;
        let session = world.queues.broker.connect().await.unwrap();
        until_depth(&session, &topology.work(), 1).await;
    })
    .await;
}

//! Looking at the broker disturbs no queue, and a server that is down hides its own part only.

use file_recycler::storage::Side;
use lapin::BasicProperties;
use lapin::options::BasicGetOptions;
use lapin::types::AMQPValue;
use serde_json::{Value, json};
use uuid::Uuid;

use super::is;
use crate::support::broker::{long, plain, put, table};
use crate::support::process;
use crate::support::world::{S3, World, world};

/// How often the first message of a queue was delivered before, by the broker's count; it stays there.
async fn deliveries(queue: &str) -> i64 {
    let (_connection, channel) = plain().await;
    let message =
        channel.basic_get(queue.into(), BasicGetOptions::default()).await.unwrap().expect("a message");
    let headers = message.delivery.properties.headers().clone().unwrap_or_default();
    match headers.inner().get("x-delivery-count") {
        None => 0,
        Some(AMQPValue::LongLongInt(count)) => *count,
        Some(other) => panic!("{other:?}"),
    }
}

fn event_about(file: Uuid) -> Vec<u8> {
    let event = json!({
        "specversion": "1.0", "id": file, "source": "/test", "type": "crm.file.deleted.v1",
        "data": { "files": [{ "file_id": file, "schema": "ContactFile", "size": 36 }] }
    });
    event.to_string().into_bytes()
}

/// What is said of an id once the numbers are true: a broker whose queue does not answer in a quarter of a second says that
/// it is empty.
async fn counted(world: &World, id: Uuid) -> Value {
    process::eventually("one message waits, and six are dead", async || {
        let said = world.explained(id).await;
        (said["queues"]["work"] == 1 && said["queues"]["dead"] == 6).then_some(said)
    })
    .await
}

#[tokio::test]
async fn a_dead_letter_is_told_and_looking_leaves_every_queue_as_it_was() {
    world(S3::Embedded, async |world| {
        world.queues.session().await.close().await;
        let files: Vec<Uuid> = (0..5).map(|_| Uuid::new_v4()).collect();
        let (dead, work) = (world.queues.topology.dead(), world.queues.topology.work());
        for file in &files {
            world.upload(*file).await;
            let headers = table(&[
                ("x-fr-reason", long("conflict")),
                ("x-fr-error", long("it was put here by a test")),
                ("x-fr-attempts", AMQPValue::LongInt(3)),
            ]);
            let id = file.to_string();
            let properties =
                BasicProperties::default().with_message_id(id.as_str().into()).with_headers(headers);
            put(&dead, &event_about(*file), properties).await;
        }
        let odd = Uuid::new_v4();
        put(&dead, format!("no event, but {odd}").as_bytes(), BasicProperties::default()).await;
        let waiting = Uuid::new_v4();
        world.upload(waiting).await;
        put(&work, &event_about(waiting), BasicProperties::default()).await;

        for _ in 0..4 {
            let said = counted(&world, files[2]).await;
            is(&said, "file", "move", "its message is in the dead-letter queue (conflict): after the repair");
            let letter = &said["messages"][0];
            assert_eq!((&letter["id"], &letter["reason"]), (&json!(files[2]), &json!("conflict")), "{said}");
            assert_eq!((&letter["attempts"], &letter["names"]), (&json!(3), &json!("file")), "{said}");
            assert!(
                said["queues"]["not_looked_at"].as_str().unwrap().contains("count of deliveries"),
                "{said}"
            );
        }
        is(
            &counted(&world, waiting).await,
            "file",
            "move",
            "may be among the 1 messages of the work and wait queues",
        );
        assert_eq!(counted(&world, odd).await["messages"][0]["names"], "text");

        let letters = world.dead_letters(6).await;
        let order: Vec<_> =
            letters.iter().take(5).map(|letter| letter["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(order, files.iter().map(Uuid::to_string).collect::<Vec<_>>());
        assert_eq!(deliveries(&work).await, 0, "nobody has had it in hand");
        world.storage.holds(&waiting.to_string(), Some(waiting.to_string().as_bytes()), None).await;

        // Other content in its place: the code that would move it says that it would not.
        world.storage.put(Side::Recycle, &files[2].to_string(), b"other content").await;
        is(&world.explained(files[2]).await, "file", "stay", "nothing names it any more (conflict)");
    })
    .await;
}

#[tokio::test]
async fn a_record_is_not_deleted_on_the_word_of_a_message_that_does_not_count() {
    world(S3::Embedded, async |world| {
        world.queues.session().await.close().await;
        let ours = world.explained(Uuid::new_v4()).await["environment"]["id"].as_str().unwrap().to_owned();
        let record = |id: Uuid, environment: Option<&str>, file: &str| {
            let mut event = json!({
                "specversion": "1.0", "id": id, "source": "/test", "type": "crm.record.deleted.v1",
                "data": { "schema": "Contact", "record_id": id, "files": [{ "file_id": file }] }
            });
            if let Some(environment) = environment {
                event["environment"] = json!(environment);
            }
            event.to_string().into_bytes()
        };
        let (own, outside, foreign, odd) = (Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4());
        let (file, other) = (Uuid::new_v4().to_string(), Uuid::new_v4().to_string());
        let dead = world.queues.topology.dead();
        for body in [
            record(own, Some(&ours), &file),
            record(outside, None, &file),
            record(foreign, Some(&other), &file),
            // A file's id that is none: it is read as an event here, and was malformed for the worker.
            record(odd, Some(&ours), "no id"),
        ] {
            put(&dead, &body, BasicProperties::default()).await;
        }
        let no = "no deletion of it is known here: it may not be saved yet";
        for (id, would, origin, core) in [
            (own, "move", "own", "It was deleted, and the message about it is in the dead-letter queue"),
            (outside, "move", "outside", "which does not count: it came from outside"),
            (foreign, "stay", "foreign", "which does not count: it is another environment's"),
            (odd, "stay", "malformed", "which does not count: it is malformed"),
        ] {
            let said = world.explained(id).await;
            is(&said, "record", would, core);
            assert_eq!(said["messages"][0]["origin"], origin, "{said}");
            assert_eq!(said["verdict"].as_str().unwrap().contains(no), id != own, "{said}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_server_that_is_down_hides_its_own_part_only() {
    world(S3::Embedded, async |world| {
        let (contact, files) = world.record_with_files("Contact", "ContactFile", 1).await;
        world.queues.session().await.close().await;
        // Nobody is given this port, as one that is free now may be.
        let nobody = "127.0.0.1:1";
        let id = files[0].to_string();
        let asked = async |key: &str, value: String| {
            let said =
                process::run(&world.with(&[(key, &value)]), &["explain", &id, "--json"]).await.expect(1);
            assert!(!said.stdout.contains("recycler-secret") && !said.stdout.contains("guest:"), "{said:?}");
            said.json()
        };

        let storage = asked("STORAGE__SERVICE_URL", format!("http://{nobody}")).await;
        is(&storage, "file", "stay", &format!("belongs to Contact {contact}"));
        assert!(storage["objects"].is_null() && !storage["errors"]["objects"].is_null(), "{storage}");
        assert_eq!(storage["rows"].as_array().unwrap().len(), 1);

        let broker = asked("BROKER__URL", format!("amqp://guest:guest@{nobody}")).await;
        is(&broker, "file", "stay", "The file stays");
        assert!(broker["messages"].is_null() && !broker["errors"]["messages"].is_null(), "{broker}");
        assert!(!broker["objects"]["object"].is_null(), "{broker}");

        let database =
            asked("DATABASE__URL", format!("postgres://nobody:recycler-secret@{nobody}/crm")).await;
        is(&database, "file", "nothing", "It cannot be told what would happen (database: ");
        assert!(database["rows"].is_null() && database["ledger"].is_null(), "{database}");
        assert!(!database["objects"]["object"].is_null() && !database["messages"].is_null(), "{database}");
        let away = world.with(&[("DATABASE__URL", &format!("postgres://nobody@{nobody}/crm"))]);
        let text = process::run(&away, &["explain", &id]).await.expect(1).stdout;
        for part in ["links", "ledger", "outbox", "processes"] {
            assert!(text.contains(&format!("{part:<12} not asked\n")), "{part}: {text}");
        }
    })
    .await;
}

//! The whole program while its queues and bindings vanish, its connection fails, and others publish garbage.

use lapin::BasicProperties;
use lapin::options::QueueDeleteOptions;
use lapin::types::FieldTable;
use recycler_test_s3::{Action, Operation, Rule};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::broker::{plain, put, short_delay, url_through};
use crate::support::process::{Service, eventually};
use crate::support::proxy::Weather;
use crate::support::world::{S3, World, world};

/// An event that somebody else publishes, about one file.
fn event_about(file: &Value) -> Vec<u8> {
    json!({
        "specversion": "1.0", "id": Uuid::new_v4(), "source": "/test", "type": "crm.file.deleted.v1",
        "data": { "files": [file] }
    })
    .to_string()
    .into_bytes()
}

async fn delete_queue(queue: &str) {
    let (_connection, channel) = plain().await;
    channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await.unwrap();
}

/// Takes the exchange's bindings away.
async fn unbind(world: &World) {
    let (_connection, channel) = plain().await;
    let topology = &world.queues.topology;
    for binding in topology.bindings() {
        let (queue, exchange) = (binding.queue.into(), topology.events().into());
        channel.queue_unbind(queue, exchange, binding.key.into(), FieldTable::default()).await.unwrap();
    }
}

#[tokio::test]
async fn case_21_a_message_whose_wait_queue_is_gone_is_kept_and_goes_on_when_it_is_back() {
    world(S3::Embedded, async |world| {
        // An outside event rests in a wait queue for the grace period.
        let environment = world.with(&[("RECYCLE__GRACE", "300ms")]);
        let service = Service::start(&environment, &["run"])
            .await
            .ready()
            .await
            .expect_log("could not be published")
            .expect_log("not well");
        let (work, wait) = (world.queues.topology.work(), world.queues.topology.wait(&short_delay()));
        let told = |part: &str| {
            let why = format!("no queue takes messages for queue '{wait}'");
            service.log().iter().any(|line| line.contains(part) && line.contains(&why))
        };
        // The worker declares a missing queue again within seconds, and may do so just before the message comes, or before
        // health has heard of it: then once more.
        while !(told("could not be published") && told("not well")) {
            delete_queue(&wait).await;
            let file = Uuid::new_v4();
            world.upload(file).await;
            put(&work, &event_about(&json!({ "file_id": file })), BasicProperties::default()).await;
            world.recycled(file).await;
        }
        let service = service.ready().await;
        world.quiet(&service).await;
        assert_eq!(world.cli(&["dlq", "list", "--json"]).await.expect(0).json()["total"], 0);
    })
    .await;
}

#[tokio::test]
async fn case_25_an_event_for_which_no_queue_is_bound_stays_in_the_outbox_and_health_is_red() {
    world(S3::Embedded, async |world| {
        let service = world.run().await.expect_log("relaying was interrupted").expect_log("not well");
        unbind(&world).await;
        let (record, files) = world.record_with_files("Contact", "ContactFile", 1).await;
        world.crm.delete("Contact", record).await;
        // It binds anew by itself; as long as somebody takes the binding away, it says so.
        eventually("health is red and says why", async || {
            let answer = service.readyz().await?;
            let message = answer["dependencies"]["broker"]["message"].to_string();
            if !message.contains("no queue takes messages for exchange") {
                unbind(&world).await;
                return None;
            }
            assert_eq!(answer["ready"], false);
            Some(())
        })
        .await;
        // Its one event was returned: were it not in the outbox all the same, nobody would ever come for the file.
        world.recycled(files[0]).await;
        let _service = service.ready().await;
    })
    .await;
}

#[tokio::test]
async fn a_work_queue_deleted_while_it_is_consumed_is_made_anew_and_consumed_again() {
    world(S3::Embedded, async |world| {
        let service = world.run().await.expect_log("not well").expect_log("could not be acknowledged");
        let taken = || service.log().iter().filter(|line| line.contains("taking messages queue")).count();
        eventually("the worker takes messages", async || (taken() >= 1).then_some(())).await;
        let before = taken();
        delete_queue(&world.queues.topology.work()).await;
        let (record, files) = world.record_with_files("Contact", "ContactFile", 2).await;
        eventually("the worker takes messages from the new queue", async || (taken() > before).then_some(()))
            .await;
        world.crm.delete("Contact", record).await;
        for file in files {
            world.recycled(file).await;
        }
    })
    .await;
}

#[tokio::test]
async fn case_24_the_whole_program_goes_on_through_resets_ends_and_silence() {
    world(S3::Embedded, async |world| {
        let (_, proxy) = world.queues.proxied().await;
        let environment = world.with(&[("BROKER__URL", url_through(&proxy).as_str())]);
        let service = Service::start(&environment, &["run"])
            .await
            .ready()
            .await
            .expect_log("not well")
            .expect_log("relaying was interrupted")
            .expect_log("could not be acknowledged")
            .expect_log("could not be published");
        let slow = Action::Delay { milliseconds: 100 };
        world.storage.control().fault(Rule::new(Operation::CopyObject, slow));
        let mut all = Vec::new();
        for weather in [Weather::Reset, Weather::BlackHole, Weather::Cut] {
            let mut records = Vec::new();
            for _ in 0..10 {
                let (record, files) = world.record_with_files("Contact", "ContactFile", 3).await;
                records.push(record);
                all.extend(files);
            }
            for record in records {
                world.crm.delete("Contact", record).await;
            }
            proxy.turn_after(1_000, weather);
            // A connection that broke before may be noticed first.
            eventually("the weather turned", async || proxy.has_turned().then_some(())).await;
            eventually("health noticed", async || {
                let answer = service.readyz().await?;
                (answer["dependencies"]["broker"]["ok"] == false).then_some(())
            })
            .await;
            proxy.set(Weather::Fair);
            eventually("all is well again", async || {
                service.readyz().await.filter(|answer| answer["ready"] == true)
            })
            .await;
        }
        for file in &all {
            world.recycled(*file).await;
        }
        world.quiet(&service).await;
        // Not the metrics: an acknowledgement may arrive of which nobody knows any more, since its connection broke.
        let noted = world.crm.number("SELECT count(DISTINCT file_id) FROM file_recycler.ledger").await;
        assert_eq!(noted, i64::try_from(all.len()).unwrap(), "every file is in the ledger");
        assert_eq!(world.cli(&["dlq", "list", "--json"]).await.expect(0).json()["total"], 0);
    })
    .await;
}

/// What nobody should publish, and what it gets.
fn garbage() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let event = |change: fn(&mut Value)| {
        let mut event = json!({
            "specversion": "1.0", "id": "i", "source": "s", "type": "crm.record.deleted.v1",
            "data": { "schema": "Contact", "record_id": Uuid::from_u128(1) }
        });
        change(&mut event);
        event.to_string().into_bytes()
    };
    let nested = |depth: usize| ["[".repeat(depth), "]".repeat(depth)].concat().into_bytes();
    let injection = json!({ "file_id": Uuid::from_u128(2), "schema": r#"x"; DROP TABLE "ContactFile"; --"# });
    let mut injected_record = event(|_| ());
    injected_record = String::from_utf8(injected_record)
        .unwrap()
        .replace("Contact", r"Contact\'; DROP TABLE \u0022ContactFile\u0022; --")
        .replace(r"\'", "'")
        .into_bytes();
    vec![
        ("not JSON", b"DELETE FROM x".to_vec(), "malformed"),
        ("not UTF-8", [&b"{\"id\":\""[..], &[0xc3, 0x28, 0xff], b"\"}"].concat(), "malformed"),
        ("a wrong type", b"42".to_vec(), "malformed"),
        ("an unknown version", event(|event| event["type"] = json!("crm.record.deleted.v9")), "unsupported"),
        ("10 MB", event_about(&json!({ "file_id": "x".repeat(10 * 1024 * 1024) })), "malformed"),
        ("deep nesting", nested(200_000), "malformed"),
        ("a bad UUID", event(|event| event["data"]["record_id"] = json!("0-0-0")), "malformed"),
        (
            "a missing field",
            event(|event| drop(event["data"].as_object_mut().unwrap().remove("record_id"))),
            "malformed",
        ),
        ("an unknown schema with a quote", event_about(&injection), "malformed"),
        ("a record's schema with quotes", injected_record, "malformed"),
    ]
}

#[tokio::test]
async fn case_27_garbage_is_dead_lettered_with_a_reason_and_no_sql_comes_of_it() {
    world(S3::Embedded, async |world| {
        let service = world.run().await.expect_log("dead-lettered");
        let work = world.queues.topology.work();
        let mut neighbours = Vec::new();
        for (name, body, _) in garbage() {
            put(&work, &body, BasicProperties::default().with_message_id(name.into())).await;
            let file = Uuid::new_v4();
            world.upload(file).await;
            put(&work, &event_about(&json!({ "file_id": file })), BasicProperties::default()).await;
            neighbours.push(file);
        }
        for file in neighbours {
            world.recycled(file).await;
        }
        let letters = eventually("all garbage is dead", async || {
            let listed = world.cli(&["dlq", "list", "--json"]).await.expect(0).json();
            (listed["total"] == garbage().len()).then(|| listed["messages"].clone())
        })
        .await;
        for (name, _, reason) in garbage() {
            let letter = letters.as_array().unwrap().iter().find(|letter| letter["id"] == name);
            let letter = letter.unwrap_or_else(|| panic!("{name}: {letters}"));
            assert_eq!(letter["reason"], reason, "{letter}");
            assert!(letter["error"].as_str().is_some_and(|error| error.len() > 10), "{letter}");
        }
        assert_eq!(world.crm.number(r#"SELECT count(*) FROM "ContactFile""#).await, 0, "the table is there");
        eventually("it lives", async || service.readyz().await).await;
    })
    .await;
}

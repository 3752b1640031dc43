//! What cannot be done ends in the dead-letter queue with a reason, and is done after the repair.

use file_recycler::history;
use file_recycler::storage::Side;
use lapin::BasicProperties;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::broker::{published_headers, put};
use crate::support::process::eventually;
use crate::support::world::{S3, World, world};

impl World {
    /// Waits until the dead-letter queue has `count` messages, and gives what `dlq list` says of them.
    pub async fn dead_letters(&self, count: usize) -> Vec<Value> {
        eventually(&format!("{count} dead letters"), async || {
            let listed = self.cli(&["dlq", "list", "--json"]).await.expect(0).json();
            let messages = listed["messages"].as_array().unwrap().clone();
            (listed["total"] == count && messages.len() == count).then_some(messages)
        })
        .await
    }

    /// An event of this world as somebody else would publish it.
    fn outside_event(id: &str, schema: &str, record: Uuid, files: &Value) -> Vec<u8> {
        json!({
            "specversion": "1.0", "id": id, "source": "/test", "type": "crm.record.deleted.v1",
            "data": { "schema": schema, "record_id": record, "files": files }
        })
        .to_string()
        .into_bytes()
    }
}

#[tokio::test]
async fn a_conflict_is_dead_lettered_with_every_header_and_done_after_its_repair() {
    world(S3::Embedded, async |world| {
        let service = world.run().await.expect_log("dead-lettered");
        let (record, files) = world.record_with_files("Contact", "ContactFile", 3).await;
        world.storage.put(Side::Recycle, &files[0].to_string(), b"other content").await;
        world.crm.delete("Contact", record).await;
        world.recycled(files[1]).await;
        world.recycled(files[2]).await;

        let letter = world.dead_letters(1).await.remove(0);
        let id = letter["id"].as_str().unwrap().to_owned();
        assert_eq!(letter["reason"], "conflict");
        assert_eq!(letter["type"], "crm.record.deleted.v1");
        assert_eq!(letter["schema"], "Contact");
        assert_eq!(letter["record_id"], record.to_string());
        assert_eq!(letter["files"], json!([files[0].to_string()]), "only the undone file");
        assert_eq!(letter["attempts"], 1);
        let headers = published_headers(&world.queues.topology.dead()).await;
        for name in [
            history::REASON,
            history::ERROR,
            history::ATTEMPTS,
            history::FIRST_FAILURE,
            history::LAST_FAILURE,
            history::WORKER,
        ] {
            assert!(headers.contains(&name.to_owned()), "{name} is missing: {headers:?}");
        }
        assert_eq!(world.object(Side::Object, files[0]).await.unwrap(), files[0].to_string().as_bytes());
        // Whose headers were looked at goes back when that connection has ended.
        eventually("it is shown", async || {
            let shown = world.cli(&["dlq", "show", "--id", &id]).await;
            (shown.code == 0 && shown.stdout.contains("the recycle bucket holds other content")).then_some(())
        })
        .await;
        let now = async || {
            let shown = world.cli(&["dlq", "show", "--id", &id, "--json"]).await.expect(0).json();
            shown["messages"][0]["now"].clone()
        };
        let still = now().await;
        assert_eq!(
            (&still["would"], &still["files"][0]["would"]),
            (&json!("fail"), &json!("fail")),
            "{still}"
        );

        let dry = world.cli(&["dlq", "replay", "--id", &id, "--json"]).await.expect(0).json();
        assert_eq!((&dry["applied"], &dry["selected"], &dry["left"]), (&json!(false), &json!(1), &json!(1)));
        assert_eq!(world.dead_letters(1).await.len(), 1, "a dry run changes nothing");

        let failed = world.cli(&["dlq", "replay", "--id", &id, "--apply", "--json"]).await.expect(1).json();
        assert_eq!((&failed["replayed"], &failed["failed"]), (&json!(1), &json!(1)), "not repaired yet");
        let again = world.dead_letters(1).await.remove(0);
        assert_eq!(again["id"], id, "it keeps its id");

        world.storage.delete(Side::Recycle, &files[0].to_string()).await;
        assert_eq!(now().await["would"], "move");
        assert_eq!(world.object(Side::Recycle, files[0]).await, None, "looking moves nothing");
        let done = world.cli(&["dlq", "replay", "--apply", "--json"]).await.expect(0).json();
        assert_eq!((&done["succeeded"], &done["failed"], &done["left"]), (&json!(1), &json!(0), &json!(0)));
        world.recycled(files[0]).await;
        assert_eq!(world.dead_letters(0).await.len(), 0);
        assert!(service.metric(r#"file_recycler_dead_letters_total{reason="conflict"}"#).await >= 2);
    })
    .await;
}

#[tokio::test]
async fn a_duplicate_delivery_changes_nothing() {
    world(S3::Embedded, async |world| {
        let service = world.run().await;
        let file = Uuid::new_v4();
        world.upload(file).await;
        let event = World::outside_event("twice", "Contact", Uuid::new_v4(), &json!([{ "file_id": file }]));
        let work = world.queues.topology.work();
        for _ in 0..2 {
            put(&work, &event, BasicProperties::default().with_message_id("twice".into())).await;
        }
        world.recycled(file).await;
        let settled = r#"file_recycler_events_total{type="crm.record.deleted.v1"}"#;
        eventually("both deliveries are settled", async || {
            (service.metric(settled).await >= 2).then_some(())
        })
        .await;
        world.recycled(file).await;
        world.counted(&service, "moved", 1).await;
        world.counted(&service, "already_moved", 1).await;
        let rows = format!("SELECT count(*) FROM file_recycler.ledger WHERE file_id = '{file}'");
        assert_eq!(world.crm.number(rows).await, 1);
    })
    .await;
}

/// Twenty kinds of messages that are no events, each with the reason that it gets.
fn bad_messages() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let event = |change: fn(&mut Value)| {
        let mut event = json!({
            "specversion": "1.0", "id": "i", "source": "s", "type": "crm.record.deleted.v1",
            "data": { "schema": "Contact", "record_id": Uuid::from_u128(1), "files": [] }
        });
        change(&mut event);
        event.to_string().into_bytes()
    };
    let file = |file: Value| {
        json!({
            "specversion": "1.0", "id": "i", "source": "s", "type": "crm.file.deleted.v1", "data": { "files": [file] }
        })
        .to_string()
        .into_bytes()
    };
    let id = Uuid::from_u128(2);
    vec![
        ("nothing", Vec::new(), "malformed"),
        ("not JSON", b"<event/>".to_vec(), "malformed"),
        ("not UTF-8", vec![b'"', 0xff, 0xfe, b'"'], "malformed"),
        ("a list", b"[]".to_vec(), "malformed"),
        ("two megabytes", vec![b' '; 2 * 1024 * 1024], "malformed"),
        ("a hundred thousand brackets", vec![b'['; 100_000], "malformed"),
        ("a newer major version", event(|event| event["specversion"] = json!("2.0")), "unsupported"),
        ("an unknown type", event(|event| event["type"] = json!("crm.record.created.v1")), "unsupported"),
        ("a newer type", event(|event| event["type"] = json!("crm.record.deleted.v2")), "unsupported"),
        ("another content", event(|event| event["datacontenttype"] = json!("text/xml")), "unsupported"),
        ("no id", event(|event| event["id"] = Value::Null), "malformed"),
        ("an id that is a number", event(|event| event["id"] = json!(7)), "malformed"),
        ("no data", event(|event| event["data"] = Value::Null), "malformed"),
        ("a record id that is no UUID", event(|event| event["data"]["record_id"] = json!("42")), "malformed"),
        (
            "a schema with a quote",
            event(|event| event["data"]["schema"] = json!("Contact\"; --")),
            "malformed",
        ),
        ("files that are no list", event(|event| event["data"]["files"] = json!({})), "malformed"),
        ("a time that is none", event(|event| event["time"] = json!("yesterday")), "malformed"),
        (
            "a time without UTC",
            event(|event| event["time"] = json!("9999-12-31T23:59:59-05:00")),
            "malformed",
        ),
        ("a file without an id", file(json!({ "size": 1 })), "malformed"),
        ("a negative size", file(json!({ "file_id": id, "size": -1 })), "malformed"),
        ("another file's key", file(json!({ "file_id": id, "key": Uuid::from_u128(3) })), "malformed"),
        (
            "our own object's key",
            file(json!({ "file_id": id, "key": ".file-recycler/environment.json" })),
            "malformed",
        ),
        ("a key of dots", file(json!({ "file_id": id, "key": "../.." })), "malformed"),
        ("a file schema that is not there", file(json!({ "file_id": id, "schema": "Nowhere" })), "malformed"),
    ]
}

#[tokio::test]
async fn every_bad_message_is_dead_lettered_with_its_reason_and_harms_no_other() {
    world(S3::Embedded, async |world| {
        let _service = world.run().await.expect_log("dead-lettered");
        let work = world.queues.topology.work();
        let bad = bad_messages();
        let mut good = Vec::new();
        for (name, body, _) in &bad {
            put(&work, body, BasicProperties::default().with_message_id((*name).into())).await;
            let file = Uuid::new_v4();
            world.upload(file).await;
            let event = World::outside_event(name, "Contact", Uuid::new_v4(), &json!([{ "file_id": file }]));
            put(&work, &event, BasicProperties::default()).await;
            good.push(file);
        }
        for file in good {
            world.recycled(file).await;
        }
        let letters = world.dead_letters(bad.len()).await;
        for (name, _, reason) in bad {
            let letter =
                letters.iter().find(|letter| letter["id"] == name).unwrap_or_else(|| panic!("{name}"));
            assert_eq!(letter["reason"], reason, "{name}: {letter}");
            assert!(letter["error"].as_str().is_some_and(|error| error.len() > 5), "{name}: {letter}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_message_without_an_id_gets_one_when_it_dies_and_keeps_its_bytes() {
    world(S3::Embedded, async |world| {
        let _service = world.run().await.expect_log("dead-lettered");
        put(&world.queues.topology.work(), b"\x00 not an event", BasicProperties::default()).await;
        let letter = world.dead_letters(1).await.remove(0);
        let id = letter["id"].as_str().unwrap();
        assert!(Uuid::try_parse(id).is_ok(), "{letter}");
        assert_eq!(world.cli(&["dlq", "show", "--id", id]).await.code, 0);
        assert_eq!(world.queues.drain(&world.queues.topology.dead()).await, [&b"\x00 not an event"[..]]);
    })
    .await;
}

#[tokio::test]
async fn a_file_that_fails_again_and_again_uses_up_its_tries_while_its_neighbours_move() {
    world(S3::Embedded, async |world| {
        use recycler_test_s3::{Action, Operation, Rule, When};
        let service = world.run().await.expect_log("dead-lettered").expect_log("tried again later");
        let (record, files) = world.record_with_files("Contact", "ContactFile", 5).await;
        let broken = files[0].to_string();
        let action = Action::Status { status: 400, code: "InvalidTag".to_owned(), when: When::Before };
        world.storage.control().fault(Rule::new(Operation::CopyObject, action).key(&broken));
        world.crm.delete("Contact", record).await;
        for file in &files[1..] {
            world.recycled(*file).await;
        }
        let letter = world.dead_letters(1).await.remove(0);
        assert_eq!(letter["files"], json!([broken]));
        assert!(world.object(Side::Object, files[0]).await.is_some(), "it stays where it was");
        drop(service);
    })
    .await;
}

#[tokio::test]
async fn one_event_that_is_dead_for_two_reasons_is_two_letters_and_both_are_replayed() {
    world(S3::Embedded, async |world| {
        let _service = world.run().await.expect_log("dead-lettered");
        let (conflict, stranger) = (Uuid::new_v4(), Uuid::new_v4());
        world.upload(conflict).await;
        world.storage.put(Side::Recycle, &conflict.to_string(), b"other content").await;
        let files = json!([{ "file_id": conflict }, { "file_id": stranger, "key": Uuid::new_v4() }]);
        let event = World::outside_event("two reasons", "Contact", Uuid::new_v4(), &files);
        let named = BasicProperties::default().with_message_id("two reasons".into());
        put(&world.queues.topology.work(), &event, named).await;
        let letters = world.dead_letters(2).await;
        assert!(letters.iter().all(|letter| letter["id"] == "two reasons"), "{letters:?}");

        let replayed = world.cli(&["dlq", "replay", "--apply", "--json"]).await.expect(1).json();
        assert_eq!((&replayed["replayed"], &replayed["failed"]), (&json!(2), &json!(2)), "{replayed}");
        assert_eq!(replayed["stopped"], Value::Null, "each has an outcome of its own: {replayed}");

        let stopped = world.cli(&["dlq", "replay", "--apply", "--max-failures", "1", "--json"]).await;
        let stopped = stopped.expect(1).json();
        assert_eq!((&stopped["replayed"], &stopped["left"]), (&json!(1), &json!(1)), "{stopped}");
        assert!(stopped["stopped"].is_string(), "{stopped}");
    })
    .await;
}

#[tokio::test]
async fn an_event_of_which_nothing_is_done_keeps_its_bytes() {
    world(S3::Embedded, async |world| {
        let _service = world.run().await.expect_log("dead-lettered");
        let files: Vec<Uuid> = (0..5).map(|_| Uuid::new_v4()).collect();
        for file in &files {
            world.upload(*file).await;
            world.storage.put(Side::Recycle, &file.to_string(), b"other content").await;
        }
        let files: Vec<_> = files.iter().map(|file| json!({ "colour": "blue", "file_id": file })).collect();
        let event = World::outside_event("exact", "Contact", Uuid::new_v4(), &json!(files));
        put(&world.queues.topology.work(), &event, BasicProperties::default()).await;
        world.dead_letters(1).await;
        assert_eq!(world.queues.drain(&world.queues.topology.dead()).await, [event]);
    })
    .await;
}

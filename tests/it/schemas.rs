//! The schemas in `deploy/schemas`: what is published is valid by them, what is wrong is wrong by them as well, and
//! they name what the code names.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use file_recycler::broker::{Argument, Topology};
use file_recycler::config::Delay;
use file_recycler::event::{CONTENT_TYPE, Event, EventType, IdKind, MAX_FILES};
use file_recycler::history;
use file_recycler::outcome::DeadReason;
use jsonschema::Validator;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::support::process::{Service, eventually, get};
use crate::support::world::{S3, World, world};

fn document(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/schemas").join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn validator(schema: &Value) -> Validator {
    jsonschema::meta::validate(schema).unwrap();
    jsonschema::options().should_validate_formats(true).build(schema).unwrap()
}

/// The schema where ids are UUIDs, and the one where they are any text, made as its description says.
fn event_schemas() -> [(IdKind, Validator); 2] {
    let uuids = document("event.schema.json");
    let mut texts = uuids.clone();
    texts["$defs"]["id"] = texts["$defs"]["text_id"].clone();
    [(IdKind::Uuid, validator(&uuids)), (IdKind::Text, validator(&texts))]
}

#[track_caller]
fn is_valid(schema: &Validator, document: &Value) {
    let errors: Vec<_> = schema.iter_errors(document).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}: {document}");
}

fn file(extra: &Value) -> Value {
    let mut file = json!({ "file_id": Uuid::from_u128(7) });
    file.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    file
}

fn record_deleted() -> Value {
    json!({
        "specversion": "1.0", "id": "1", "source": "crm", "type": "crm.record.deleted.v1",
        "data": { "schema": "Contact", "record_id": Uuid::from_u128(7), "files": [file(&json!({}))] }
    })
}

/// The document with a field set, by its path.
fn with(mut document: Value, path: &str, value: Value) -> Value {
    let (parent, name) = path.rsplit_once('/').unwrap();
    match document.pointer_mut(parent).unwrap() {
        Value::Object(fields) => drop(fields.insert(name.to_owned(), value)),
        Value::Array(items) => items[name.parse::<usize>().unwrap()] = value,
        other => panic!("{path} is in {other}"),
    }
    document
}

/// Right and wrong values for every field.
fn values() -> Vec<(&'static str, Value)> {
    let text = |length: usize| Value::from("x".repeat(length));
    let id = "0F8FAD5B-d9cb-469f-a165-70867728950e";
    let simple = id.replace('-', "");
    let mut values: Vec<(&'static str, Value)> = Vec::new();
    for (path, tried) in [
        ("/specversion", json!(["1.0", "1", "1.7", "2.0", "10", "", "v1", 1, null])),
        ("/type", json!(["crm.file.deleted.v1", "crm.record.deleted.v2", "", 7, null])),
        ("/id", json!(["a", "ж", "", "a\u{7}", "a\u{85}", 7, null, {}])),
        ("/source", json!(["/crm", "", "a\n", false, null])),
        ("/subject", json!(["", "a\nb", 7, [], null])),
        (
            "/time",
            json!([
                "2026-11-23T10:00:00Z",
                "2026-11-23T10:00:00.123456+02:00",
                "2026-11-23",
                "2026-13-01T00:00:00Z",
                "2026-11-23T25:00:00Z",
                "yesterday",
                "",
                7,
                null
            ]),
        ),
        (
            "/datacontenttype",
            json!(["application/json", " Application/JSON; charset=utf-8", "text/xml", "", 7, null]),
        ),
        ("/environment", json!([id, simple, "no-uuid", "", 7, null])),
        ("/data", json!([{}, [], "text", null])),
        ("/data/schema", json!(["Contact", "", "a\u{1b}", 7, null])),
        (
            "/data/record_id",
            json!([
                id,
                simple,
                format!("{{{id}}}"),
                format!("URN:uuid:{id}"),
                format!("{{{simple}}}"),
                "17",
                "",
                17,
                null
            ]),
        ),
        ("/data/files", json!([[], {}, "x", null, [null], ["x"], [{}]])),
        ("/data/files/0", json!([file(&json!({ "unknown": 1 })), { "file_id": null }, [], null])),
        ("/data/files/0/file_id", json!([id, "17", "", 17, null])),
        (
            "/data/files/0",
            json!([
                file(&json!({ "schema": "ContactFile" })),
                file(&json!({ "schema": "" })),
                file(&json!({ "schema": 1 })),
                file(&json!({ "size": 0 })),
                file(&json!({ "size": u64::MAX })),
                file(&json!({ "size": -1 })),
                file(&json!({ "size": 1.5 })),
                file(&json!({ "size": "1" })),
                file(&json!({ "size": null })),
                file(&json!({ "key": "a/b" })),
                file(&json!({ "key": "a\u{7}" })),
                file(&json!({ "key": "" })),
                file(&json!({ "key": "../." })),
                file(&json!({ "key": "a\u{0}b" })),
                file(&json!({ "key": 7 })),
                file(&json!({ "key": ".file-recycler/x" })),
                file(&json!({ "key": "x/.file-recycler/x" })),
                file(&json!({ "key": "x".repeat(1_024) })),
                file(&json!({ "key": "x".repeat(1_025) }))
            ]),
        ),
    ] {
        values.extend(tried.as_array().unwrap().iter().map(|value| (path, value.clone())));
    }
    for path in ["/id", "/source", "/data/schema", "/data/record_id", "/data/files/0/file_id"] {
        values.extend([(path, text(255)), (path, text(256))]);
    }
    let files = |count: usize| Value::from(vec![file(&json!({})); count]);
    values.extend([("/data/files", files(MAX_FILES)), ("/data/files", files(MAX_FILES + 1))]);
    values
}

#[test]
fn the_decoder_and_the_schema_agree_on_what_is_wrong() {
    let schemas = event_schemas();
    let (mut right, mut wrong) = (0, 0);
    let mut documents = vec![json!([]), json!("text"), json!(null), json!({})];
    for base in [record_deleted(), with(record_deleted(), "/type", json!("crm.file.deleted.v1"))] {
        documents.extend(values().into_iter().map(|(path, value)| with(base.clone(), path, value)));
    }
    for document in &documents {
        for (ids, schema) in &schemas {
            let decoded = Event::decode(document.to_string().as_bytes(), *ids);
            let by_schema = schema.is_valid(document);
            assert_eq!(decoded.is_ok(), by_schema, "{ids:?}: the decoder says {decoded:?} of {document}");
            if by_schema { right += 1 } else { wrong += 1 }
        }
    }
    assert!(right > 100 && wrong > 150, "{right} right and {wrong} wrong ones are no table");
}

/// Times whose year has no name in UTC: by what a schema can say they are right.
#[test]
fn what_only_the_decoder_can_refuse_is_described_beside_the_schema() {
    for time in ["0000-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"] {
        let document = with(record_deleted(), "/time", json!(time));
        for (ids, schema) in &event_schemas() {
            is_valid(schema, &document);
            let refused = Event::decode(document.to_string().as_bytes(), *ids).unwrap_err();
            assert_eq!(refused.path, "time", "{refused}");
        }
    }
    let described = document("event.schema.json")["description"].as_str().unwrap().to_owned();
    assert!(described.contains("a time is of the years 0 to 9999 in UTC"), "{described}");
}

async fn queued(world: &World, count: usize) -> Vec<Bytes> {
    let mut bodies = Vec::new();
    eventually("the events are in the queue", async || {
        bodies.extend(world.queues.drain(&world.queues.topology.work()).await);
        (bodies.len() >= count).then_some(())
    })
    .await;
    bodies
}

#[tokio::test]
async fn what_the_relay_and_emit_publish_is_valid_by_the_schema() {
    world(S3::Embedded, async |world| {
        let [(_, schema), _] = event_schemas();
        let service = Service::start(&world.environment, &["listen"]).await.ready().await;
        let (record, files) = world.record_with_files("Contact", "ContactFile", 3).await;
        world.crm.delete("ContactFile", files[0]).await;
        world.crm.delete("Contact", record).await;
        let id = Uuid::new_v4().to_string();
        world.cli(&["emit", "--schema", "Contact", "--record", &id, "--file", &id]).await.expect(0);
        world.cli(&["emit", "--schema", "Contact", "--record", &id]).await.expect(0);
        let mut kinds = Vec::new();
        for body in queued(&world, 4).await {
            let event: Value = serde_json::from_slice(&body).unwrap();
            is_valid(&schema, &event);
            kinds.push(event["type"].as_str().unwrap().to_owned());
        }
        for kind in EventType::ALL {
            assert!(kinds.iter().any(|found| found == kind.as_str()), "{kinds:?}");
        }

        let openapi = document("openapi.json");
        let mut ready = openapi["components"]["schemas"]["Ready"].clone();
        ready["components"] = openapi["components"].clone();
        let (_, body) = get(service.http, "/readyz").await.unwrap();
        is_valid(&validator(&ready), &serde_json::from_str(&body).unwrap());
    })
    .await;
}

/// The default topology, as the document has it.
fn topology() -> Topology {
    let delay = |(text, seconds): (&str, u64)| Delay {
        text: text.to_owned(),
        duration: Duration::from_secs(seconds),
    };
    let delays = [("10s", 10), ("1m", 60), ("10m", 600), ("1h", 3_600), ("6h", 21_600)];
    Topology { prefix: "file-recycler".to_owned(), delays: delays.map(delay).to_vec() }
}

#[test]
fn the_asyncapi_document_names_the_exchange_the_queues_and_their_arguments() {
    let asyncapi = document("asyncapi.json");
    let channels = asyncapi["channels"].as_object().unwrap();
    let topology = topology();
    let of = |is: &str| -> Vec<&Value> {
        channels.values().filter(|channel| channel["bindings"]["amqp"]["is"] == is).collect()
    };
    let mut documented: Vec<Value> = of("queue")
        .into_iter()
        .map(|channel| {
            let amqp = &channel["bindings"]["amqp"];
            assert_eq!(
                (&amqp["queue"]["name"], &amqp["queue"]["durable"]),
                (&channel["address"], &json!(true))
            );
            json!([channel["address"], amqp["x-arguments"]])
        })
        .collect();
    let mut declared: Vec<Value> = topology
        .queues()
        .into_iter()
        .map(|queue| {
            let arguments: Map<String, Value> = queue
                .arguments
                .into_iter()
                .map(|(name, value)| match value {
                    Argument::Text(text) => (name.to_owned(), json!(text)),
                    Argument::Number(number) => (name.to_owned(), json!(number)),
                })
                .collect();
            json!([queue.name, arguments])
        })
        .collect();
    documented.sort_by_key(ToString::to_string);
    declared.sort_by_key(ToString::to_string);
    assert_eq!(documented, declared);

    let keys: Vec<_> = of("routingKey")
        .into_iter()
        .map(|channel| {
            let amqp = &channel["bindings"]["amqp"];
            let exchange = &amqp["exchange"];
            assert_eq!(exchange["name"], topology.events());
            assert_eq!((&exchange["type"], &exchange["durable"]), (&json!("topic"), &json!(true)));
            (channel["address"].as_str().unwrap(), amqp["x-bound-to"].as_str().unwrap().to_owned())
        })
        .collect();
    let bindings: Vec<_> = topology.bindings().into_iter().map(|it| (it.key, it.queue)).collect();
    assert_eq!(keys, bindings);
}

#[test]
fn the_asyncapi_document_describes_the_message_and_its_headers() {
    let asyncapi = document("asyncapi.json");
    let message = &asyncapi["components"]["messages"]["event"];
    assert_eq!(message["contentType"], CONTENT_TYPE);
    assert_eq!(message["payload"]["schema"]["$ref"], "event.schema.json");
    let headers = &message["headers"]["properties"];
    let names: Vec<&str> = headers.as_object().unwrap().keys().map(String::as_str).collect();
    let ours = [
        history::REASON,
        history::ERROR,
        history::ATTEMPTS,
        history::FIRST_FAILURE,
        history::LAST_FAILURE,
        history::WORKER,
        history::ID,
    ];
    assert_eq!(names, ours);
    let reasons: Vec<Value> = DeadReason::ALL.iter().map(|reason| json!(reason.as_str())).collect();
    assert_eq!(headers["x-fr-reason"]["enum"], json!(reasons));
    for reference in references(&asyncapi) {
        if let Some(pointer) = reference.strip_prefix('#') {
            assert!(asyncapi.pointer(pointer).is_some(), "{reference} leads nowhere");
        }
    }
}

#[test]
fn every_reference_of_the_openapi_document_leads_somewhere() {
    let openapi = document("openapi.json");
    let references = references(&openapi);
    assert!(references.contains(&"event.schema.json".to_owned()));
    for reference in references.iter().filter_map(|reference| reference.strip_prefix('#')) {
        assert!(openapi.pointer(reference).is_some(), "{reference} leads nowhere");
    }
}

/// Every `$ref` of a document.
fn references(document: &Value) -> Vec<String> {
    match document {
        Value::Object(fields) => {
            let own = fields.get("$ref").and_then(Value::as_str).map(str::to_owned);
            own.into_iter().chain(fields.values().flat_map(references)).collect()
        }
        Value::Array(items) => items.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}

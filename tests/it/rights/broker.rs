//! `broker.sh` on a real node: exactly these permissions suffice, and each that is missing is named.

use lapin::options::{BasicConsumeOptions, BasicPublishOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, ErrorKind};
use serde_json::json;
use url::Url;
use uuid::Uuid;

use crate::support::broker::{plain_to, put_through};
use crate::support::node::Node;
use crate::support::process::{self, Service, eventually};
use crate::support::world::{S3, World, bare_world};

fn url_as(node: &Node, user: &str) -> Url {
    let mut url = node.url();
    url.set_username(user).unwrap();
    url.set_password(Some(user)).unwrap();
    url
}

async fn apply(node: &Node, prefix: &str) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/rights/broker.sh");
    node.script(script, &["/", prefix, "worker", "producer"]).await;
}

#[tokio::test]
async fn exactly_the_permissions_of_the_script_suffice_and_each_that_is_missing_is_named() {
    bare_world(S3::Embedded, async |world| {
        let node = Node::start("", "").await;
        let prefix = &world.queues.topology.prefix;
        node.control(&["add_user", "worker", "worker"]).await;
        node.control(&["add_user", "producer", "producer"]).await;
        apply(&node, prefix).await;
        let environment = world.with(&[("BROKER__URL", url_as(&node, "worker").as_str())]);
        let cli = async |arguments: &[&str]| process::run(&environment, arguments).await;
        cli(&["listener", "install"]).await.expect(0);
        cli(&["adopt", "--apply"]).await.expect(0);
        everything(&node, &world, &environment).await;
        let all_queues = "the broker's user may read every queue of its virtual host";
        let doctor = async |environment: &[(String, String)]| {
            let said = process::run(environment, &["doctor", "--json"]).await.json();
            let checks = said["checks"].as_array().unwrap();
            checks.iter().find(|check| check["name"] == "credentials").unwrap()["message"].to_string()
        };
        assert!(!doctor(&environment).await.contains(all_queues), "of exactly these permissions");
        let almighty = world.with(&[("BROKER__URL", node.url().as_str())]);
        assert!(doctor(&almighty).await.contains(all_queues), "of a user with all of them");
        a_producer_may_publish_to_the_exchange_and_nothing_else(&node, &world).await;

        let (record, files) = world.record_with_files("Contact", "ContactFile", 1).await;
        world.crm.delete("Contact", record).await;
        let own = format!("^{}\\..+$", prefix.replace('.', "\\."));
        let all = format!("^({}|amq\\.default)$", own.trim_matches(['^', '$']));
        let no_exchange = all.replace(".+", "(work|wait.*|dead)");
        let new = world.with(&[
            ("BROKER__URL", url_as(&node, "worker").as_str()),
            ("BROKER__PREFIX", &format!("{prefix}.new")),
        ]);
        for (environment, permissions, named) in [
            (&environment, ["^$", &all, &own], "needs the configure permission on it"),
            (&environment, [&own, "^$", &own], "needs the write permission on the queue"),
            (&environment, [&own, &no_exchange, &own], "needs the write permission on the exchange"),
            (&environment, [&own, &all, "^$"], "the read permission on the exchange"),
            // What a dead-lettering queue needs, the broker asks when it is made.
            (&new, [&own, &own, &own], "the write permission on the exchange amq.default"),
        ] {
            node.control(&[&["set_permissions", "worker"][..], &permissions[..]].concat()).await;
            let service = Service::start(environment, &["run"])
                .await
                .expect_log("not well")
                .expect_log("relaying was interrupted");
            eventually(&format!("'{named}' of {permissions:?} is missed"), async || {
                let answer = service.readyz().await?;
                let message = answer["dependencies"]["broker"]["message"].as_str()?;
                (answer["ready"] == false && message.contains(named)).then_some(())
            })
            .await;
            world.is_untouched(files[0]).await;
        }
        apply(&node, prefix).await;
        let service = Service::start(&environment, &["run"]).await.ready().await;
        world.recycled(files[0]).await;
        eventually("every event went", async || {
            (world.crm.number("SELECT count(*) FROM file_recycler.outbox").await == 0).then_some(())
        })
        .await;
        assert_eq!(cli(&["dlq", "list", "--json"]).await.expect(0).json()["total"], 0);
        drop(service);
    })
    .await;
}

/// A file that is moved, one that has to wait, dead letters that are looked at, replayed and discarded.
async fn everything(node: &Node, world: &World, environment: &[(String, String)]) {
    let cli = async |arguments: &[&str]| process::run(environment, arguments).await;
    let service = Service::start(environment, &["run"]).await.ready().await.expect_log("dead-lettered");
    let (record, files) = world.record_with_files("Contact", "ContactFile", 2).await;
    world.crm.delete("Contact", record).await;
    for file in &files {
        world.recycled(*file).await;
    }
    cli(&["emit", "--schema", "Contact", "--record", &Uuid::new_v4().to_string()]).await.expect(0);
    cli(&["status"]).await.expect(0);
    // Into a queue by the default exchange goes what waits and what is dead.
    let (_connection, channel) = plain_to(&node.url()).await;
    put_through(&channel, &world.queues.topology.work(), b"no event", BasicProperties::default()).await;
    let dead = async || cli(&["dlq", "list", "--json"]).await.expect(0).json()["total"] == 1;
    eventually("the message is dead-lettered", async || dead().await.then_some(())).await;
    cli(&["dlq", "replay", "--apply"]).await.expect(1);
    assert!(dead().await, "it is dead again");
    cli(&["dlq", "discard", "--why", "a test", "--apply"]).await.expect(0);
    assert!(!dead().await);
    drop(service);
}

async fn a_producer_may_publish_to_the_exchange_and_nothing_else(node: &Node, world: &World) {
    let topology = &world.queues.topology;
    let event = json!({
        "specversion": "1.0", "id": "one", "source": "/crm/other", "type": "crm.record.deleted.v1",
        "data": { "schema": "Contact", "record_id": Uuid::new_v4() }
    })
    .to_string();
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let properties = BasicProperties::default().with_content_type("application/cloudevents+json".into());
    for (exchange, key, allowed) in
        [(topology.events(), "record.deleted".to_owned(), true), (String::new(), topology.work(), false)]
    {
        let (_connection, channel) = plain_to(&url_as(node, "producer")).await;
        let sent = channel
            .basic_publish(
                exchange.as_str().into(),
                key.as_str().into(),
                options,
                event.as_bytes(),
                properties.clone(),
            )
            .await
            .unwrap();
        match sent.await {
            Ok(confirmation) => {
                assert!(allowed && confirmation.is_ack() && confirmation.take_message().is_none());
            }
            Err(error) => assert!(!allowed && is_refused(&error), "{exchange} {key}: {error}"),
        }
    }
    let (_connection, channel) = plain_to(&url_as(node, "producer")).await;
    let options = QueueDeclareOptions::durable();
    let declared = channel.queue_declare("mine".into(), options, FieldTable::default()).await;
    assert!(is_refused(&declared.unwrap_err()));
    let (_connection, channel) = plain_to(&url_as(node, "producer")).await;
    let work = topology.work();
    let consumes = BasicConsumeOptions::default();
    let reading =
        channel.basic_consume(work.as_str().into(), "".into(), consumes, FieldTable::default()).await;
    assert!(is_refused(&reading.unwrap_err()));
}

/// 403, ACCESS_REFUSED.
fn is_refused(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(answer) if answer.get_id() == 403)
}

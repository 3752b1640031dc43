//! The whole program on a broker that is killed, restarted, short of memory, or impatient.

use std::collections::HashSet;

use file_recycler::broker::{Session, Target};
use file_recycler::event::{Deleted, Event, EventType, IdKind};
use file_recycler::outcome::Advice;
use file_recycler::storage::Side;
use lapin::BasicProperties;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use recycler_test_s3::{Action, Operation, Rule};
use serde_json::json;
use tokio::time::timeout;
use uuid::Uuid;

use crate::support::broker::{
    SOON, Scene, broker_at, depth, next, outgoing, plain_to, put_through, until_depth,
};
use crate::support::node::Node;
use crate::support::process::{Service, eventually};
use crate::support::world::{S3, World, world};

impl World {
    /// The queues of this world, on another broker.
    fn queues_on(&self, node: &Node) -> Scene {
        Scene { broker: broker_at(&node.url()), topology: self.queues.topology.clone() }
    }

    /// Rows in the outbox.
    async fn outbox(&self) -> i64 {
        self.crm.number("SELECT count(*) FROM file_recycler.outbox").await
    }

    async fn relayed_all(&self) {
        eventually("the outbox is empty", async || (self.outbox().await == 0).then_some(())).await;
    }

    /// Makes `count` records without files and deletes them in one statement; their ids.
    async fn delete_many(&self, name: &str, count: u32) -> HashSet<Uuid> {
        let ids: Vec<Uuid> = (0..count).map(|_| Uuid::new_v4()).collect();
        let list = ids.iter().map(|id| format!("('{id}')")).collect::<Vec<_>>().join(",");
        self.crm.sql(format!(r#"INSERT INTO "{name}" ("Id") VALUES {list}"#)).await;
        self.crm.sql(format!(r#"DELETE FROM "{name}""#)).await;
        ids.into_iter().collect()
    }
}

/// An event that somebody else publishes: about one file, without a record that we know.
fn file_event(file: Uuid) -> Vec<u8> {
    json!({
        "specversion": "1.0", "id": file, "source": "/test", "type": "crm.file.deleted.v1",
        "data": { "files": [{ "file_id": file }] }
    })
    .to_string()
    .into_bytes()
}

/// Takes events from the work queue until all of `records` had theirs; those that had none.
async fn without_event(session: &Session, queue: &str, mut records: HashSet<Uuid>) -> HashSet<Uuid> {
    let mut consumer = session.consume(queue, 2_000).await.unwrap();
    while !records.is_empty() {
        // A broker that comes back reads its queues first.
        let next = timeout(SOON, consumer.next()).await;
        let Ok(Some(delivery)) = next else { break };
        let delivery = delivery.unwrap();
        let event = Event::decode(&delivery.body, IdKind::Uuid).unwrap();
        if let Deleted::Record { record_id, .. } = event.data {
            records.remove(&record_id.to_string().parse().unwrap());
        }
        delivery.ack().await.unwrap();
    }
    records
}

#[tokio::test]
async fn case_24_a_broker_killed_and_restarted_among_ten_thousand_events_loses_none() {
    let mut node = Node::start("", "").await;
    world(S3::Embedded, async |world| {
        let queues = world.queues_on(&node);
        let work = queues.topology.work();
        let environment = world.with(&[("BROKER__URL", node.url().as_str())]);
        let mut service = Service::start(&environment, &["listen"]).await.ready().await;
        service = service.expect_log("not well").expect_log("relaying was interrupted");

        let mut deleted = HashSet::new();
        // Killed after the last event, it tells nothing: then once more.
        loop {
            let before = deleted.len() as u64;
            deleted.extend(world.delete_many("Contact", 10_000).await);
            let begun = async {
                let session = queues.broker.connect().await.unwrap();
                while depth(&session, &work).await.is_none_or(|depth| depth.messages <= before) {
                    tokio::task::yield_now().await;
                }
            };
            timeout(SOON, begun).await.expect("relaying begins");
            node.kill().await;
            let is_amid = world.outbox().await > 0;
            node.run().await;
            world.relayed_all().await;
            if is_amid {
                break;
            }
        }
        let session = queues.broker.connect().await.unwrap();
        let lost = without_event(&session, &work, deleted).await;
        assert!(lost.is_empty(), "{} events were confirmed and are gone", lost.len());
        drop(session);
        assert!(service.peak_kib() < 256 * 1024, "{} KiB", service.peak_kib());
        assert_eq!(service.stop().await, Some(0));
        drop(service);

        a_worker_outlives_a_restart(&world, &mut node, &environment).await;
    })
    .await;
}

/// Files are in flight when the broker says goodbye, and a deletion comes while it is away.
async fn a_worker_outlives_a_restart(world: &World, node: &mut Node, environment: &[(String, String)]) {
    let service = Service::start(environment, &["run"]).await.ready().await;
    let service = service
        .expect_log("not well")
        .expect_log("relaying was interrupted")
        .expect_log("could not be acknowledged");
    let slow = Action::Delay { milliseconds: 2_000 };
    world.storage.control().reset();
    world.storage.control().fault(Rule::new(Operation::CopyObject, slow));
    let (record, files) = world.record_with_files("Contact", "ContactFile", 8).await;
    world.crm.delete("Contact", record).await;
    eventually("the files are in flight", async || {
        (world.storage.control().faults()[0].hits > 0 && world.outbox().await == 0).then_some(())
    })
    .await;
    node.stop().await;
    world
        .readyz_of(&service, "the broker is out", |answer| answer["dependencies"]["broker"]["ok"] == false)
        .await;
    let (record, more_files) = world.record_with_files("Contact", "ContactFile", 2).await;
    world.crm.delete("Contact", record).await;
    assert!(world.outbox().await > 0, "nothing can have been relayed");
    node.run().await;
    for file in [files, more_files].concat() {
        world.recycled(file).await;
    }
    world.relayed_all().await;
    let queues = world.queues_on(node);
    eventually("nothing is left over, and nothing is dead", async || {
        let session = queues.broker.connect().await.ok()?;
        let mut left = 0;
        for queue in queues.topology.queues() {
            left += session.depth(&queue.name).await.ok()??.messages;
        }
        (left == 0).then_some(())
    })
    .await;
}

impl World {
    async fn readyz_of(&self, service: &Service, what: &str, pick: impl Fn(&serde_json::Value) -> bool) {
        eventually(what, async || service.readyz().await.filter(|answer| pick(answer))).await;
    }
}

#[tokio::test]
async fn case_26_a_memory_alarm_stops_publishing_and_not_consuming() {
    let node = Node::start("", "").await;
    world(S3::Embedded, async |world| {
        let queues = world.queues_on(&node);
        let session = queues.session().await;
        let publisher = queues.publisher(&session).await;
        let environment = world.with(&[("BROKER__URL", node.url().as_str())]);
        let done: Vec<Uuid> = (0..20).map(|_| Uuid::new_v4()).collect();
        let work = queues.topology.work();
        for file in &done {
            world.upload(*file).await;
        }
        let (_connection, plain) = plain_to(&node.url()).await;
        let put = async |body: &[u8]| put_through(&plain, &work, body, BasicProperties::default()).await;
        for file in &done[..10] {
            put(&file_event(*file)).await;
        }
        put(b"this one must go to the dead-letter queue").await;
        for file in &done[10..] {
            put(&file_event(*file)).await;
        }
        node.memory_watermark(0.0).await;

        let service = Service::start(&environment, &["run"])
            .await
            .expect_log("blocks publishing")
            .expect_log("dead-lettered");
        for file in &done {
            world.recycled(*file).await;
        }
        let (record, files) = world.record_with_files("Contact", "ContactFile", 2).await;
        world.crm.delete("Contact", record).await;
        world
            .readyz_of(&service, "health says that the broker blocks", |answer| {
                answer["ready"] == false
                    && answer["dependencies"]["broker"]["message"].to_string().contains("blocks")
            })
            .await;
        // Somebody who publishes now is told why, within a bound, and nobody takes it for an outage.
        let (target, message) = outgoing(EventType::FileDeleted, done[0].as_u128());
        let answer = timeout(2 * SOON, publisher.publish(target, message)).await;
        let error = answer.expect("publishing is bounded").unwrap_err();
        assert_eq!(error.advice(), Advice::Hold, "{error:?}");
        assert!(queues.broker.blocked().is_some(), "every session of it knows");
        eventually("all is done that needs no publication", async || {
            let done = service.metric(r#"file_recycler_events_total{type="crm.file.deleted.v1"}"#).await;
            (done == 20).then_some(())
        })
        .await;
        assert_eq!(world.outbox().await, 2, "what is not confirmed stays");
        assert!(world.object(Side::Object, files[0]).await.is_some());
        // New messages could not come; but the consumer is there, and holds the one that cannot go on.
        let depth = depth(&session, &work).await.unwrap();
        assert_eq!((depth.messages, depth.consumers), (0, 1), "the one waits in hand");

        node.memory_watermark(0.6).await;
        for file in files {
            world.recycled(file).await;
        }
        let service = service.ready().await;
        timeout(SOON, publisher.unblocked()).await.expect("every session knows that it is over");
        // Another publisher of the service may have heard of it first.
        let (mut browser, letter) = next(&session, &queues.topology.dead()).await;
        assert_eq!(letter.history.attempts, 1, "waiting is no try");
        assert!(browser.next().await.unwrap().is_none(), "and it died once");
        browser.close().await.unwrap();
        let again = publisher.publish(Target::Dead, file_recycler::broker::Outgoing::fresh("2", "{}".into()));
        timeout(SOON, again).await.unwrap().unwrap();
        drop(service);
    })
    .await;
}

#[tokio::test]
async fn case_23_work_longer_than_the_consumer_time_out_is_done_once_and_ends() {
    let terms = "{consumer_timeout, 3000}, {channel_tick_interval, 500}";
    let node = Node::start("", terms).await;
    world(S3::Embedded, async |world| {
        let environment = world.with(&[("BROKER__URL", node.url().as_str())]);
        let service = Service::start(&environment, &["run"]).await.ready().await;
        let service = service.expect_log("could not be acknowledged");
        let (slow, slow_files) = world.record_with_files("Contact", "ContactFile", 1).await;
        let (quick, quick_files) = world.record_with_files("Contact", "ContactFile", 5).await;
        let key = slow_files[0].to_string();
        let control = world.storage.control();
        let delay = Action::Delay { milliseconds: 6_000 };
        // The second delivery comes while the first is still at it, and is as slow.
        control.fault(Rule::new(Operation::CopyObject, delay).key(&key).times(2));
        world.crm.delete("Contact", slow).await;
        world.crm.delete("Contact", quick).await;
        for file in quick_files {
            world.recycled(file).await;
        }
        world.recycled(slow_files[0]).await;
        let queues = world.queues_on(&node);
        eventually("the messages are done and nobody holds one", async || {
            let taken = service.log().iter().filter(|line| line.contains("taking messages")).count();
            assert!(taken < 10, "it goes in circles:\n{}", service.log().join("\n"));
            let done = service.metric(r#"file_recycler_events_total{type="crm.record.deleted.v1"}"#).await;
            (done >= 2).then_some(())
        })
        .await;
        let ledger = format!("SELECT count(*) FROM file_recycler.ledger WHERE file_id = '{}'", slow_files[0]);
        assert_eq!(world.crm.number(&ledger).await, 1, "one effect");
        // Were it still in somebody's hands, it would come again now. A delivery that was done in the very moment in which its
        // time ran out does: to another service, which is quick about it.
        let mut service = service;
        assert_eq!(service.stop().await, Some(0));
        while queues.unfinished().await > 0 {
            let mut next = Service::start(&environment, &["run"]).await.ready().await;
            eventually("it is done once more", async || {
                let done = next.metric(r#"file_recycler_events_total{type="crm.record.deleted.v1"}"#).await;
                (done >= 1).then_some(())
            })
            .await;
            assert_eq!(next.stop().await, Some(0));
        }
        assert_eq!(world.crm.number(ledger).await, 1, "one effect");
    })
    .await;
}

#[tokio::test]
async fn a_queue_whose_leader_is_slow_to_answer_is_not_told_as_an_empty_one() {
    let node = Node::start("", "").await;
    let scene = Scene { broker: broker_at(&node.url()), ..Scene::new() };
    let session = scene.session().await;
    let work = scene.topology.work();
    let (_connection, channel) = plain_to(&node.url()).await;
    for number in 0..3_u8 {
        put_through(&channel, &work, &[number], BasicProperties::default()).await;
    }
    until_depth(&session, &work, 3).await;
    // A quorum queue's leader is a process whose name is made of host and queue.
    let slow = format!("L = '%2F_{work}', sys:suspend(L), timer:sleep(3000), sys:resume(L).");
    let eval = ["eval", &slow];
    let asking = async {
        eventually("the broker says that it is empty", async || {
            let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
            let told = channel.queue_declare(work.as_str().into(), options, FieldTable::default()).await;
            (told.unwrap().message_count() == 0).then_some(())
        })
        .await;
        let told = depth(&session, &work).await.unwrap();
        assert_eq!(told.messages, 3, "silence was taken for an empty queue");
    };
    tokio::join!(node.control(&eval), asking);
}

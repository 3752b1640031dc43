//! What can be wrong with broker and queues. What is missing stays missing: it is `run` that declares.

use lapin::BasicProperties;
use lapin::options::QueueDeleteOptions;

use super::{doctor, healthy, still};
use crate::support::broker::{long, plain, put, put_queue};
use crate::support::node::Node;
use crate::support::process::eventually;
use crate::support::world::{S3, World};

async fn delete(queue: &str) {
    let (_connection, channel) = plain().await;
    channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await.unwrap();
}

#[tokio::test]
async fn a_queue_that_is_missing_or_another_one_is_told_and_not_made() {
    still(S3::Embedded, async |world| {
        let topology = &world.queues.topology;
        for queue in topology.queues() {
            delete(&queue.name).await;
            let said = doctor(world, &[]).await;
            said.only(&["broker-topology"], &["processes"]);
            let advice = said.check("broker-topology", "fail", &format!("{} is missing", queue.name));
            assert!(advice.contains("`file-recycler run`"), "{advice}");
            let session = world.queues.broker.connect().await.unwrap();
            assert_eq!(session.depth(&queue.name).await.unwrap(), None, "it was made");
            session.declare(topology).await.unwrap();
            session.close().await;
        }
        delete(&topology.dead()).await;
        put_queue(&topology.dead(), true, &[("x-queue-type", long("classic"))]).await;
        let said = doctor(world, &[]).await;
        said.only(&["broker-topology"], &["processes"]);
        said.check("broker-topology", "fail", "is not what it must be, so messages could be lost");
    })
    .await;
}

#[tokio::test]
async fn dead_letters_and_work_that_nobody_does_are_told_and_left_where_they_are() {
    still(S3::Embedded, async |world| {
        let topology = &world.queues.topology;
        for queue in [topology.work(), topology.dead()] {
            put(&queue, b"no event", BasicProperties::default()).await;
        }
        for _ in 0..3 {
            let said = doctor(world, &[]).await;
            said.only(&[], &["dead-letters", "processes", "queues"]);
            assert!(said.check("dead-letters", "warn", "1 messages").contains("`file-recycler dlq list`"));
            said.check(
                "queues",
                "warn",
                "1 events wait for a worker, 0 for their next try; no worker consumes",
            );
        }
        for queue in [topology.work(), topology.dead()] {
            let session = world.queues.broker.connect().await.unwrap();
            let mut browser = session.browse(&queue).await.unwrap();
            let message = browser.next().await.unwrap().expect("it is there");
            assert!(!message.redelivered, "nobody had it in hand");
        }
    })
    .await;
}

/// What is published and rolled back is in no queue, and a worker is not disturbed.
#[tokio::test]
async fn rights_are_tried_without_a_message() {
    healthy(S3::Embedded, async |world| {
        for _ in 0..5 {
            doctor(world, &[]).await.check("broker-rights", "ok", "nothing was refused");
        }
        world.moves_a_file().await;
        eventually("no message is left", async || (world.queues.unfinished().await == 0).then_some(())).await;
        assert_eq!(world.queues.drain(&world.queues.topology.dead()).await.len(), 0);
    })
    .await;
}

/// One node for both: it takes seconds to start.
#[tokio::test]
async fn each_permission_that_is_missing_and_an_alarm_are_told_by_name() {
    still(S3::Embedded, async |world: &World| {
        let node = Node::start("", "").await;
        node.control(&["add_user", "worker", "worker"]).await;
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/rights/broker.sh");
        let topology = &world.queues.topology;
        node.script(script, &["/", &topology.prefix, "worker"]).await;
        let mut url = node.url();
        url.set_username("worker").unwrap();
        url.set_password(Some("worker")).unwrap();
        let settings = [("BROKER__URL", url.as_str())];
        let of_node = crate::support::broker::broker_at(&url);
        doctor(world, &settings).await.only(&[], &["broker-topology", "processes"]);
        of_node.connect().await.unwrap().declare(topology).await.unwrap();
        doctor(world, &settings).await.only(&[], &["processes"]);

        let own = format!("^{}\\..+$", topology.prefix.replace('.', "\\."));
        let all = format!("^({}|amq\\.default)$", own.trim_matches(['^', '$']));
        let without = |part: &str| all.replace(".+", part);
        for (permissions, named) in [
            (["^$", &all, &own], "needs the configure permission on it"),
            ([&own, &own, &own], "needs the write permission on the exchange amq.default"),
            (
                [&own, &without("(work|wait.*|dead)"), &own],
                "needs the write permission on the exchange test.",
            ),
            ([&own, &without("(events|wait.*|dead)"), &own], "needs the write permission on the queue"),
            ([&own, &all, &own.replace(".+", "(work|wait.*|dead)")], "the read permission on the exchange"),
            ([&own, &all, &own.replace(".+", "(events|wait.*|dead)")], "needs the read permission on it"),
        ] {
            node.control(&[&["set_permissions", "worker"][..], &permissions[..]].concat()).await;
            let said = doctor(world, &settings).await;
            assert!(said.check("broker-rights", "fail", named).contains("deploy/rights/broker.sh"));
        }
        node.script(script, &["/", &topology.prefix, "worker"]).await;
        doctor(world, &settings).await.only(&[], &["processes"]);

        node.memory_watermark(0.0).await;
        let said = doctor(world, &settings).await;
        said.only(&["broker-alarm"], &["broker-rights", "processes"]);
        said.check("broker-alarm", "fail", "takes no messages at present");
        node.memory_watermark(0.6).await;
        doctor(world, &settings).await.only(&[], &["processes"]);
    })
    .await;
}

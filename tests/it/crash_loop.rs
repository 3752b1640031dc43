//! Messages that crash the worker, and messages that only look as if they did.

use std::collections::HashSet;

use file_recycler::storage::Side;
use futures_util::StreamExt as _;
use lapin::BasicProperties;
use lapin::options::{BasicConsumeOptions, BasicNackOptions, BasicQosOptions};
use lapin::types::FieldTable;
use serde_json::json;
use uuid::Uuid;

use crate::support::broker::{plain, put};
use crate::support::process::{Service, eventually};
use crate::support::world::{S3, World, world};

/// Publishes an outside event about one file without a row, whose object is there; its id is the file's.
async fn event_of(world: &World, file: Uuid) {
    world.upload(file).await;
    let event = json!({
        "specversion": "1.0", "id": file, "source": "/elsewhere", "type": "crm.file.deleted.v1",
        "data": { "files": [{ "file_id": file, "schema": "ContactFile", "size": 36 }] }
    });
    let properties = BasicProperties::default().with_message_id(file.to_string().into());
    put(&world.queues.topology.work(), event.to_string().as_bytes(), properties).await;
}

/// Files whose events wait in the work queue; no worker runs yet.
async fn waiting_events(world: &World, count: usize) -> Vec<Uuid> {
    world.queues.session().await.close().await;
    let mut files = Vec::new();
    for _ in 0..count {
        let file = Uuid::new_v4();
        event_of(world, file).await;
        files.push(file);
    }
    files
}

/// A message's mark goes after its file and its acknowledgement: the worker must live for it.
async fn nobody_is_a_suspect(world: &World) {
    eventually("nobody is a suspect any more", async || {
        (world.crm.number("SELECT count(*) FROM file_recycler.suspect").await == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn case_22_a_message_that_crashes_the_worker_is_dead_lettered_and_its_neighbours_are_done() {
    world(S3::Embedded, async |world| {
        let files = waiting_events(&world, 50).await;
        let poison = files[20];
        let mut environment = world.environment.clone();
        environment.push(("FAILPOINTS".to_owned(), format!("worker::about=return({poison})")));
        let mut crashes = 0;
        loop {
            let mut service = Service::start(&environment, &["work"]).await.expect_log("dead-lettered");
            let dead = eventually("it dies, or the message is dead", async || {
                if service.has_ended() {
                    return Some(false);
                }
                let dead = world.queues.session().await.depth(&world.queues.topology.dead()).await.unwrap();
                (dead.unwrap().messages == 1).then_some(true)
            })
            .await;
            if dead {
                for file in files.iter().filter(|file| **file != poison) {
                    world.recycled(*file).await;
                }
                nobody_is_a_suspect(&world).await;
                break;
            }
            crashes += 1;
            assert!(crashes < 25, "it crashes the worker for ever");
        }
        assert!(crashes > 3, "it was tried more than once: {crashes}");
        let letters = world.cli(&["dlq", "list", "--json"]).await.expect(0).json();
        assert_eq!(letters["total"], 1, "{letters}");
        assert_eq!(letters["messages"][0]["id"], poison.to_string());
        assert_eq!(letters["messages"][0]["reason"], "crash-loop");
        world.is_untouched(poison).await;
    })
    .await;
}

#[tokio::test]
async fn case_44_thirty_rounds_of_giving_back_condemn_nobody() {
    world(S3::Embedded, async |world| {
        const MESSAGES: usize = 256;
        let files = waiting_events(&world, MESSAGES).await;
        for _ in 0..30 {
            let (connection, channel) = plain().await;
            channel.basic_qos(256, BasicQosOptions::default()).await.unwrap();
            let work = world.queues.topology.work();
            let mut consumer = channel
                .basic_consume(
                    work.as_str().into(),
                    "".into(),
                    BasicConsumeOptions::default(),
                    FieldTable::default(),
                )
                .await
                .unwrap();
            let mut held = Vec::new();
            while held.len() < MESSAGES {
                held.push(consumer.next().await.unwrap().unwrap());
            }
            for delivery in held {
                delivery.nack(BasicNackOptions { multiple: false, requeue: true }).await.unwrap();
            }
            connection.close(200, "OK".into()).await.unwrap();
        }
        let service = Service::start(&world.environment, &["work"]).await;
        let control = world.storage.control();
        eventually("all are recycled", async || {
            let dead = world.queues.session().await.depth(&world.queues.topology.dead()).await.unwrap();
            assert_eq!(dead.unwrap().messages, 0, "somebody was condemned");
            (control.keys(&world.storage.recycle).len() >= MESSAGES).then_some(())
        })
        .await;
        world.quiet(&service).await;
        let recycled: HashSet<_> = control.keys(&world.storage.recycle).into_iter().collect();
        assert!(files.iter().all(|file| recycled.contains(&file.to_string())));
        assert!(world.storage.get(Side::Object, &files[0].to_string()).await.is_none());
        assert_eq!(world.cli(&["dlq", "list", "--json"]).await.expect(0).json()["total"], 0);
        nobody_is_a_suspect(&world).await;
    })
    .await;
}

/// Acknowledged before its undone part is in its next queue, it would be gone.
#[tokio::test]
async fn a_worker_that_dies_between_copying_and_settling_loses_no_message() {
    world(S3::Embedded, async |world| {
        world.queues.session().await.close().await;
        let work = world.queues.topology.work();
        put(&work, b"not an event", BasicProperties::default().with_message_id("garbage".into())).await;
        let mut environment = world.environment.clone();
        let points = environment.iter_mut().find(|(name, _)| name == "FAILPOINTS");
        let point = "worker::before_settling=return";
        match points {
            Some((_, others)) => *others = format!("{others};{point}"),
            None => environment.push(("FAILPOINTS".to_owned(), point.to_owned())),
        }
        let mut doomed = Service::start(&environment, &["work"]).await;
        assert_eq!(doomed.ended().await, None, "it dies there");
        eventually("the broker has taken the dead worker's message back", async || {
            (world.queues.unfinished().await == 1).then_some(())
        })
        .await;
        let service = Service::start(&world.environment, &["work"]).await.expect_log("dead-lettered");
        eventually("it is dead-lettered", async || {
            let letters = world.cli(&["dlq", "list", "--json"]).await.expect(0).json();
            (letters["total"] == 1).then_some(())
        })
        .await;
        drop(service);
    })
    .await;
}

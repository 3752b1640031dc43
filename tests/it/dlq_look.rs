//! Looking at the dead-letter queue: it hurts nothing, keeps the order, and needs no memory for the queue's length.

use std::process::Stdio;

use file_recycler::broker::{Outgoing, Target};
use lapin::BasicProperties;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use uuid::Uuid;

use crate::support::broker::put;
use crate::support::process::command;
use crate::support::told::Secrets;
use crate::support::world::{S3, World, world};

const MANY: usize = 100_000;
/// The program itself has about 30 MB, unoptimised.
const MOST_MEMORY_KIB: u64 = 100 * 1024;

#[tokio::test]
async fn case_43_looking_at_the_dead_letters_a_hundred_times_loses_none_and_keeps_their_order() {
    world(S3::Embedded, async |world| {
        world.queues.session().await.close().await;
        let names: Vec<String> = (0..5).map(|number| format!("letter {number}")).collect();
        for name in &names {
            let properties = BasicProperties::default().with_message_id(name.as_str().into());
            put(&world.queues.topology.dead(), b"dead", properties).await;
        }
        for _ in 0..50 {
            world.cli(&["dlq", "list", "--limit", "2"]).await.expect(0);
            world.cli(&["dlq", "show", "--json"]).await.expect(0);
        }
        let letters = world.dead_letters(5).await;
        let seen: Vec<_> = letters.iter().map(|letter| letter["id"].as_str().unwrap()).collect();
        assert_eq!(seen, names);
        assert_eq!(world.cli(&["dlq", "list", "--reason", "sunshine"]).await.code, 2);
        assert_eq!(world.cli(&["dlq", "show", "--id", "nobody"]).await.code, 1);
    })
    .await;
}

/// Runs a command; gives how many lines it printed, the last of them, and the most memory that it had, in KiB.
async fn watched(world: &World, arguments: &[&str]) -> (usize, String, u64) {
    let mut child = command(&world.environment, arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    let status = format!("/proc/{}/status", child.id().unwrap());
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (mut count, mut last, mut peak) = (0, String::new(), 0);
    let secrets = Secrets::of(&world.environment);
    let mut ticks = tokio::time::interval(std::time::Duration::from_millis(50));
    loop {
        tokio::select! {
            line = lines.next_line() => match line.unwrap() {
                Some(line) => {
                    secrets.look_through("standard output", &line);
                    (count, last) = (count + 1, line);
                }
                None => break,
            },
            _ = ticks.tick() => {
                let now = std::fs::read_to_string(&status).unwrap_or_default();
                let high = now.lines().find_map(|line| line.strip_prefix("VmHWM:"));
                let high = high.and_then(|line| line.split_whitespace().next()?.parse().ok());
                peak = peak.max(high.unwrap_or(0));
            }
        }
    }
    assert!(child.wait().await.unwrap().success(), "{arguments:?}");
    assert!(peak > 0, "its memory was never seen");
    (count, last, peak)
}

#[tokio::test]
async fn a_hundred_thousand_dead_letters_are_looked_at_with_flat_memory() {
    world(S3::Embedded, async |world| {
        let session = world.queues.session().await;
        let publisher = world.queues.publisher(&session).await;
        let padding = "x".repeat(1_000);
        let ids: Vec<Uuid> = (0..MANY).map(|_| Uuid::new_v4()).collect();
        for chunk in ids.chunks(1_000) {
            let letters = chunk.iter().map(|id| {
                let body = format!(r#"{{"id":"{id}","padding":"{padding}"}}"#);
                (Target::Dead, Outgoing::fresh(&id.to_string(), body.into()))
            });
            for answer in publisher.publish_all(letters.collect()).await {
                answer.unwrap();
            }
        }
        drop(publisher);
        session.close().await;
        let (lines, last, peak) = watched(&world, &["dlq", "list"]).await;
        assert_eq!(lines, MANY + 1, "a line for each, and one for their number");
        assert!(last.starts_with(&ids[MANY - 1].to_string()), "{last}");
        assert!(peak < MOST_MEMORY_KIB, "listing took {peak} KiB");
        let wanted = ids[MANY / 2].to_string();
        let (_, summary, peak) = watched(&world, &["dlq", "replay", "--id", &wanted, "--json"]).await;
        assert_eq!(serde_json::from_str::<Value>(&summary).unwrap()["selected"], 1);
        assert!(peak < MOST_MEMORY_KIB, "a dry run took {peak} KiB");
    })
    .await;
}

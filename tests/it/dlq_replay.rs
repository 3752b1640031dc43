//! Replay and discard: in the order of death, nothing lost when they are cut off, nothing done twice unsaid.

use std::time::Duration;

use file_recycler::clock::Clock;
use file_recycler::db::{Actor, Db};
use file_recycler::history;
use file_recycler::outcome::DeadReason;
use file_recycler::replay::{Replay, Selection, Walk, Wanted};
use file_recycler::stop::Stop;
use file_recycler::storage::Side;
use lapin::BasicProperties;
use secrecy::SecretString;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::broker::{depth, long, put, table};
use crate::support::process::{self, Output, Service, eventually};
use crate::support::world::{S3, World, world};

impl World {
    /// Puts a dead letter about one file of its own, whose object is there, and gives the file.
    async fn dead_letter(&self, reason: &str, schema: &str) -> Uuid {
        let file = Uuid::new_v4();
        self.upload(file).await;
        let event = json!({
            "specversion": "1.0", "id": file, "source": "/test", "type": "crm.file.deleted.v1",
            "data": { "files": [{ "file_id": file, "schema": schema, "size": 36 }] }
        });
        let headers = table(&[
            (history::REASON, long(reason)),
            (history::ERROR, long("it was put here by a test")),
            (history::LAST_FAILURE, long("2026-11-23T10:00:00Z")),
        ]);
        let properties =
            BasicProperties::default().with_message_id(file.to_string().into()).with_headers(headers);
        put(&self.queues.topology.dead(), event.to_string().as_bytes(), properties).await;
        file
    }

    async fn dead_letters_of(&self, count: usize, reason: &str) -> Vec<Uuid> {
        self.queues.session().await.close().await;
        let mut files = Vec::new();
        for _ in 0..count {
            files.push(self.dead_letter(reason, "ContactFile").await);
        }
        files
    }

    /// Runs a command that dies at `point`.
    async fn cut(&self, arguments: &[&str], point: &str) {
        let mut environment = self.environment.clone();
        environment.retain(|(name, _)| name != "FAILPOINTS");
        let removed = std::env::var("REMOVED_PROTECTION").map(|name| format!(";{name}=return"));
        let points = format!("{point}=return{}", removed.unwrap_or_default());
        environment.push(("FAILPOINTS".to_owned(), points));
        let output: Output = process::run(&environment, arguments).await;
        assert_eq!(output.code, -1, "it dies at {point}: {output:?}");
    }

    async fn depth(&self, queue: &str) -> u64 {
        let session = self.queues.session().await;
        let depth = depth(&session, queue).await.unwrap().messages;
        session.close().await;
        depth
    }
}

fn ids(listed: &Value) -> Vec<String> {
    let messages = listed["messages"].as_array().unwrap();
    messages.iter().map(|message| message["id"].as_str().unwrap().to_owned()).collect()
}

const REPLAY: &[&str] = &["dlq", "replay", "--apply", "--json"];

#[tokio::test]
async fn case_30_messages_go_back_to_work_in_the_order_of_their_death_and_an_interruption_loses_none() {
    world(S3::Embedded, async |world| {
        let files = world.dead_letters_of(300, "conflict").await;
        let (work, dead) = (world.queues.topology.work(), world.queues.topology.dead());
        // Nobody works: the outcomes do not come, and the replay waits for them.
        let mut replay = Service::start(&world.environment, &["dlq", "replay", "--apply"]).await;
        eventually("all are in the work queue", async || (world.depth(&work).await == 300).then_some(())).await;
        replay.terminate().await;
        assert_eq!(replay.ended().await, Some(1), "it was interrupted");
        assert_eq!(world.depth(&dead).await, 0, "each was removed when it was confirmed");
        let bodies = world.queues.drain(&work).await;
        let order: Vec<Uuid> = bodies
            .iter()
            .map(|body| serde_json::from_slice::<Value>(body).unwrap()["id"].as_str().unwrap().parse().unwrap())
            .collect();
        let places: Vec<_> = order.iter().map(|file| files.iter().position(|other| other == file).unwrap()).collect();
        assert!(places.is_sorted(), "out of order: {places:?}");
        assert_eq!(places.len(), files.len());
        let audit = "SELECT count(*) FROM file_recycler.replay WHERE published_at IS NOT NULL AND removed_at IS NOT NULL";
        assert_eq!(world.crm.number(audit).await, 300, "a row for each message");
    })
    .await;
}

/// Cut off at each of its steps, and run again while a worker works.
async fn cut_and_run_again(point: &'static str) -> Value {
    let summary = std::sync::Arc::new(std::sync::Mutex::new(Value::Null));
    let told = std::sync::Arc::clone(&summary);
    world(S3::Embedded, async move |world| {
        let files = world.dead_letters_of(5, "conflict").await;
        world.cut(REPLAY, point).await;
        let service = Service::start(&world.environment, &["work"]).await;
        eventually("the dead replay's connection is gone", async || {
            let dead = world.depth(&world.queues.topology.dead()).await;
            (dead == if point == "replay::after_ack" { 0 } else { 5 }).then_some(())
        })
        .await;
        *told.lock().unwrap() = world.cli(REPLAY).await.expect(0).json();
        for file in &files {
            world.recycled(*file).await;
        }
        world.quiet(&service).await;
        assert_eq!(world.depth(&world.queues.topology.dead()).await, 0, "{point}");
        let twice = "SELECT count(*) FROM (SELECT 1 FROM file_recycler.ledger GROUP BY file_id HAVING count(*) > 1) t";
        assert_eq!(world.crm.number(twice).await, 0, "{point}");
    })
    .await;
    let summary = summary.lock().unwrap().clone();
    assert_eq!(summary["stopped"], Value::Null, "{point}: {summary}");
    assert_eq!(summary["left"], 0, "{point}: {summary}");
    summary
}

#[tokio::test]
async fn case_53_cut_before_the_publication_is_known_it_says_what_may_be_done_twice() {
    let summary = cut_and_run_again("replay::noted").await;
    assert_eq!((&summary["replayed"], &summary["maybe_twice"]), (&json!(5), &json!(5)), "{summary}");
    assert_eq!(summary["succeeded"], 5, "{summary}");
    // Here they are in the work queue already: those of which a worker has told by now are only removed.
    let summary = cut_and_run_again("replay::confirmed").await;
    let number = |name: &str| summary[name].as_u64().unwrap();
    assert_eq!(number("replayed") + number("finished_earlier"), 5, "{summary}");
    assert_eq!(number("maybe_twice"), number("replayed"), "{summary}");
    assert_eq!(summary["succeeded"], 5, "{summary}");
}

#[tokio::test]
async fn case_53_cut_between_publication_and_removal_nothing_is_replayed_twice() {
    let summary = cut_and_run_again("replay::before_ack").await;
    assert_eq!((&summary["replayed"], &summary["finished_earlier"]), (&json!(0), &json!(5)), "{summary}");
    assert_eq!(summary["maybe_twice"], 0, "{summary}");
    let summary = cut_and_run_again("replay::after_ack").await;
    assert_eq!((&summary["selected"], &summary["replayed"]), (&json!(0), &json!(0)), "{summary}");
}

#[tokio::test]
async fn a_message_that_dies_again_during_a_replay_is_left_for_the_next_one_and_its_reason_is_told() {
    world(S3::Embedded, async |world| {
        let files = world.dead_letters_of(3, "conflict").await;
        for file in &files {
            world.storage.put(Side::Recycle, &file.to_string(), b"other content").await;
        }
        let _service = Service::start(&world.environment, &["work"]).await.expect_log("dead-lettered");
        // The bound is there for what would go on for ever.
        let bounded = [REPLAY, &["--max-failures", "20"]].concat();
        let summary = world.cli(&bounded).await.expect(1).json();
        assert_eq!((&summary["replayed"], &summary["failed"]), (&json!(3), &json!(3)), "{summary}");
        assert_eq!(summary["same_reason"], json!([["conflict", 3]]), "{summary}");
        assert_eq!(world.dead_letters(3).await.len(), 3);
        let told = world.cli(&["dlq", "replay", "--apply", "--limit", "1"]).await.expect(1).stdout;
        assert!(told.contains("WARNING: 1 are dead again for the same reason (conflict)"), "{told}");
    })
    .await;
}

#[tokio::test]
async fn two_replays_at_once_replay_each_message_once() {
    world(S3::Embedded, async |world| {
        let files = world.dead_letters_of(200, "conflict").await;
        let service = Service::start(&world.environment, &["work"]).await;
        let (one, other) = tokio::join!(world.cli(REPLAY), world.cli(REPLAY));
        let mut summaries = vec![one.json(), other.json()];
        // Both may have met while each held what the other looked for.
        summaries.push(world.cli(REPLAY).await.expect(0).json());
        let replayed: u64 = summaries.iter().map(|summary| summary["replayed"].as_u64().unwrap()).sum();
        assert_eq!(replayed, 200, "{summaries:?}");
        for file in &files {
            world.recycled(*file).await;
        }
        world.quiet(&service).await;
        let events =
            async || service.metric(r#"file_recycler_events_total{type="crm.file.deleted.v1"}"#).await;
        // An event counts after its acknowledgement.
        eventually("all have counted", async || (events().await >= 200).then_some(())).await;
        assert_eq!(events().await, 200);
    })
    .await;
}

/// A walk that lets go after each window: what it passes by stays in its place, what it takes is taken once.
#[tokio::test]
async fn case_53_a_filtered_replay_holds_no_other_message_for_long() {
    world(S3::Embedded, async |world| {
        let session = world.queues.session().await;
        let mut chosen = Vec::new();
        let mut others = Vec::new();
        for number in 0..40 {
            let reason = if number % 4 == 0 { "forbidden" } else { "locked" };
            let file = world.dead_letter(reason, "ContactFile").await;
            if number % 4 == 0 { chosen.push(file) } else { others.push(file.to_string()) }
        }
        let _service = Service::start(&world.environment, &["work"]).await;
        let db = Db::connect(&SecretString::from(world.crm.url.clone())).unwrap();
        let selection = Selection {
            ids: vec![],
            reason: Some(DeadReason::Forbidden),
            schema: None,
            since: None,
            limit: usize::MAX,
        };
        let replay = Replay {
            session: &session,
            topology: &world.queues.topology,
            db: &db,
            operator: Actor { who: "a test".into(), host: "here".into() },
            // One under way at a time: a window each.
            wanted: Wanted { max_failures: Some(1), ..Wanted::default() },
            clock: Clock::system(),
            stop: Stop::new(Duration::from_secs(1)),
        };
        let walk = Walk::begin(&session, &world.queues.topology, &selection).await.unwrap();
        let mut walk = walk.anew_after(Duration::ZERO);
        let summary = replay.run(&mut walk, 10, &|_| {}).await;
        walk.end().await.unwrap();
        assert_eq!((summary.replayed, summary.succeeded, summary.left), (10, 10, 0), "{summary:?}");
        for file in chosen {
            world.recycled(file).await;
        }
        let listed = world.cli(&["dlq", "list", "--json"]).await.expect(0).json();
        assert_eq!(ids(&listed), others, "in their places");
        db.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_ramp_and_a_rate_replay_everything_and_wrong_ones_are_refused() {
    world(S3::Embedded, async |world| {
        let files = world.dead_letters_of(6, "conflict").await;
        let _service = Service::start(&world.environment, &["work"]).await;
        let limited = [REPLAY, &["--limit", "3", "--rate", "50/s"]].concat();
        assert_eq!(world.cli(&limited).await.expect(0).json()["succeeded"], 3);
        assert_eq!(world.cli(&[REPLAY, &["--ramp"]].concat()).await.expect(0).json()["succeeded"], 3);
        for file in &files {
            world.recycled(*file).await;
        }
        for wrong in [["--rate", "5"], ["--rate", "0/s"], ["--rate", "-1/s"], ["--max-failures", "0"]] {
            assert_eq!(world.cli(&[REPLAY, &wrong].concat()).await.code, 2, "{wrong:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_discarded_message_is_kept_whole_and_a_cut_leaves_no_second_row() {
    world(S3::Embedded, async |world| {
        let files = world.dead_letters_of(4, "locked").await;
        let keep = world.dead_letter("conflict", "AccountFile").await;
        let reason = ["dlq", "discard", "--reason", "locked"];
        assert_eq!(world.cli(&reason).await.code, 2, "it wants to know why");
        let why = [&reason[..], &["--why", "the file is a duplicate", "--json"]].concat();
        let dry = world.cli(&why).await.expect(0).json();
        assert_eq!((&dry["applied"], &dry["selected"], &dry["left"]), (&json!(false), &json!(4), &json!(4)));
        let apply = [&why[..], &["--apply"]].concat();
        world.cut(&apply, "discard::kept").await;
        eventually("all are in the queue again", async || {
            (world.depth(&world.queues.topology.dead()).await == 5).then_some(())
        })
        .await;
        let done = world.cli(&apply).await.expect(0).json();
        assert_eq!((&done["discarded"], &done["left"]), (&json!(4), &json!(0)), "{done}");
        let kept = "SELECT count(*) FROM file_recycler.discarded WHERE removed_at IS NOT NULL \
                    AND why = 'the file is a duplicate' AND reason = 'locked'";
        assert_eq!(world.crm.number(kept).await, 4);
        assert_eq!(world.crm.number("SELECT count(*) FROM file_recycler.discarded").await, 4);
        let body = format!(
            "SELECT count(*) FROM file_recycler.discarded WHERE convert_from(body, 'UTF8') LIKE '%{}%'",
            files[2]
        );
        assert_eq!(world.crm.number(body).await, 1);
        let listed = world.cli(&["dlq", "list", "--json"]).await.expect(0).json();
        assert_eq!(ids(&listed), [keep.to_string()]);
        assert!(world.object(Side::Object, files[0]).await.is_some(), "discarding touches no file");
    })
    .await;
}

//! What an operator sends or takes by hand passes the guard as well: `emit`, `dlq replay` and `dlq discard` change nothing
//! where no worker may work.

use file_recycler::storage::Side;
use lapin::BasicProperties;
use recycler_test_s3::{Action, Operation, Rule, When};
use serde_json::{Value, json};

use crate::support::broker::put;
use crate::support::crm::Crm;
use crate::support::process::{self, eventually};
use crate::support::world::{S3, World, bare_world, world};

const RECORD: &str = "7c9e6679-7425-40de-944b-e07fc1f90ae7";
const EMIT: &[&str] = &["emit", "--schema", "Contact", "--record", RECORD, "--file", RECORD];
const REPLAY: &[&str] = &["dlq", "replay"];
const DISCARD: &[&str] = &["dlq", "discard", "--why", "a test"];

impl World {
    async fn with_dead_letters(&self, count: usize) -> Vec<String> {
        self.queues.session().await.close().await;
        let ids: Vec<String> = (0..count).map(|number| format!("letter {number}")).collect();
        for id in &ids {
            let event = json!({
                "specversion": "1.0", "id": id, "source": "/test", "type": "crm.record.deleted.v1",
                "data": { "schema": "Contact", "record_id": RECORD }
            });
            let properties = BasicProperties::default().with_message_id(id.as_str().into());
            put(&self.queues.topology.dead(), event.to_string().as_bytes(), properties).await;
        }
        ids
    }

    /// Each of the three is refused with `why`, dry runs are not; nothing has left the dead-letter queue, nothing is
    /// published, and the database has nothing.
    async fn refuses(&self, database: &Crm, why: &str) {
        let environment = self.with(&[("DATABASE__URL", &database.url)]);
        let before = self.dead_letters(2).await;
        for line in [EMIT, &[REPLAY, &["--apply"]].concat(), &[DISCARD, &["--apply"]].concat()] {
            let refused = process::run(&environment, line).await.expect(1).stderr;
            assert!(refused.contains("nothing is changed: ") && refused.contains(why), "{line:?}: {refused}");
        }
        for line in [REPLAY, DISCARD] {
            let dry = process::run(&environment, &[line, &["--json"]].concat()).await.expect(0).json();
            assert_eq!((&dry["applied"], &dry["selected"]), (&json!(false), &json!(2)), "{dry}");
        }
        process::run(&environment, &["dlq", "show", "--json"]).await.expect(0);
        assert_eq!(self.dead_letters(2).await, before, "{why}");
        assert_eq!(self.queues.unfinished().await, 0, "{why}");
        for table in ["discarded", "replay"] {
            let rows = database.number(format!("SELECT count(*) FROM file_recycler.{table}")).await;
            assert_eq!(rows, 0, "{table}: {why}");
        }
    }
}

#[tokio::test]
async fn case_36_from_a_copy_of_the_database_nothing_is_published_replayed_or_discarded() {
    world(S3::Embedded, async |world| {
        world.with_dead_letters(2).await;
        world.crm.pool.close().await;
        let copy = Crm::copy_of(&world.crm).await;
        world.refuses(&copy, "is it a copy?").await;
        copy.drop_database().await;
    })
    .await;
}

#[tokio::test]
async fn where_nothing_was_adopted_or_it_was_set_back_or_adopted_for_restore_alone_neither() {
    bare_world(S3::Embedded, async |world| {
        world.cli(&["listener", "install"]).await.expect(0);
        world.with_dead_letters(2).await;
        world.refuses(&world.crm, "was never adopted").await;
        world.cli(&["adopt", "--for", "restore", "--apply"]).await.expect(0);
        world.refuses(&world.crm, "restore alone").await;
        world.cli(&["adopt", "--apply"]).await.expect(0);
        world
            .crm
            .sql("UPDATE file_recycler.environment SET nonce = gen_random_uuid(), pending_nonce = NULL")
            .await;
        world.refuses(&world.crm, "it was set back to a backup, or is a copy").await;
    })
    .await;
}

#[tokio::test]
async fn while_somebody_has_paused_or_the_storage_cannot_be_asked_neither_and_afterwards_it_is() {
    world(S3::Embedded, async |world| {
        world.with_dead_letters(2).await;
        world.cli(&["pause", "--why", "moving house"]).await.expect(0);
        world.refuses(&world.crm, "paused: moving house").await;
        world.cli(&["resume"]).await.expect(0);
        let down = Action::Status { status: 503, code: "ServiceUnavailable".into(), when: When::Before };
        world.storage.control().fault(Rule::new(Operation::GetObject, down));
        world.refuses(&world.crm, "ServiceUnavailable").await;
        world.storage.control().clear_faults();

        world.cli(EMIT).await.expect(0);
        assert_eq!(world.queues.unfinished().await, 1);
        let done = [DISCARD, &["--apply", "--json"]].concat();
        assert_eq!(world.cli(&done).await.expect(0).json()["discarded"], 2);
        let kept = "SELECT count(*) FROM file_recycler.discarded WHERE removed_at IS NOT NULL";
        assert_eq!(world.crm.number(kept).await, 2);
        assert!(world.storage.keys(Side::Recycle).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_replay_under_way_stops_at_a_pause_and_says_so() {
    world(S3::Embedded, async |world| {
        let many = world.with_dead_letters(150).await.len() as u64;
        let slowly = [REPLAY, &["--apply", "--rate", "5/s", "--json"]].concat();
        let pause = async {
            eventually("some are replayed", async || (world.queues.unfinished().await > 0).then_some(()))
                .await;
            world.cli(&["pause", "--why", "moving house"]).await.expect(0);
        };
        let (replay, ()) = tokio::join!(world.cli(&slowly), pause);
        let summary: Value = replay.expect(1).json();
        let stopped = summary["stopped"].as_str().unwrap();
        assert!(stopped.contains("paused: moving house"), "{summary}");
        let left = summary["left"].as_u64().unwrap();
        assert!(left > 0, "{summary}");
        world.dead_letters(usize::try_from(left).unwrap()).await;
        assert_eq!(world.queues.unfinished().await, many - left, "{summary}");
    })
    .await;
}

//! The service around the moves: what it waits for, what it refuses, how an operator stops it.

use file_recycler::storage::Side;
use lapin::types::AMQPValue;
use recycler_test_s3::{Action, Operation, Rule, When};
use serde_json::{Value, json};

use crate::support::broker::{long, put_queue};
use crate::support::crm::Crm;
use crate::support::process::{self, Service, eventually, get};
use crate::support::world::{S3, World, bare_world, takes_messages, world};

impl World {
    /// Waits until `/readyz` gives a value other than nothing for `pick`.
    async fn readyz_says(&self, service: &Service, what: &str, pick: impl Fn(&Value) -> bool) {
        eventually(what, async || service.readyz().await.filter(|answer| pick(answer))).await;
    }
}

#[tokio::test]
async fn a_service_that_is_not_installed_or_adopted_waits_and_says_so() {
    bare_world(S3::Embedded, async |world| {
        let service = Service::start(&world.environment, &["run"])
            .await
            .expect_log("not well")
            .expect_log("not installed")
            // Seen while half of it is installed.
            .expect_log("state=\"drift\"");
        eventually("it is alive", async || (get(service.http, "/healthz").await?.0 == 200).then_some(()))
            .await;
        world
            .readyz_says(&service, "it is not ready", |answer| {
                answer["ready"] == false
                    && answer["guard"]["message"].as_str().unwrap_or("").contains("adopt")
            })
            .await;
        let status = world.cli(&["status", "--json"]).await.expect(1).json();
        assert_eq!(status["healthy"], false);
        assert_eq!(world.cli(&["listener", "status"]).await.code, 1);
        assert_eq!(world.cli(&["adopt", "--apply"]).await.code, 1, "the own schema comes first");

        world.cli(&["listener", "install"]).await.expect(0);
        let shown = world.cli(&["adopt", "--json"]).await.expect(0).json();
        assert_eq!(shown["applied"], false);
        world.readyz_says(&service, "it is still not adopted", |answer| answer["ready"] == false).await;
        world.cli(&["adopt", "--apply"]).await.expect(0);
        let service = service.ready().await;
        world.moves_a_file().await;
        drop(service);
    })
    .await;
}

#[tokio::test]
async fn commands_say_what_is_true() {
    world(S3::Embedded, async |world| {
        let _service = world.run().await;
        // A process that has become ready tells the database so a moment later.
        let status = eventually("it is healthy", async || {
            let status = world.cli(&["status", "--json"]).await;
            (status.code == 0).then(|| status.json())
        })
        .await;
        assert_eq!(status["healthy"], true, "{status}");
        assert_eq!(status["outbox"]["rows"], 0);
        assert_eq!(status["queues"], json!({ "work": 0, "wait": 0, "dead": 0 }));
        assert_eq!(status["dependencies"]["storage"]["ok"], true);
        let listener = world.cli(&["listener", "status", "--json"]).await.expect(0).json();
        assert_eq!(listener["state"], "installed");
        let again = world.cli(&["listener", "install", "--json"]).await.expect(0).json();
        assert_eq!(again["tables"], json!([]), "a second installation changes nothing");
        let shown = world.cli(&["config", "show", "--sources"]).await.expect(0).stdout;
        assert!(shown.contains("storage.secret_key") && !shown.contains("test-secret"), "{shown}");
        for half in ["--help", "--version"] {
            assert_eq!(world.cli(&[half]).await.code, 0);
        }
        assert_eq!(world.cli(&["sing"]).await.code, 2);
    })
    .await;
}

#[tokio::test]
async fn a_dropped_trigger_is_drift_and_is_repaired() {
    world(S3::Embedded, async |world| {
        let service = world.run().await.expect_log("drift");
        world.crm.sql(r#"DROP TRIGGER file_recycler_files_delete ON "ContactFile""#).await;
        let listener = world.cli(&["listener", "status", "--json"]).await.expect(1).json();
        assert_eq!(listener["state"], "drifted");
        world
            .readyz_says(&service, "drift is degraded, not unready", |answer| {
                answer["degraded"] == true && answer["ready"] == true
            })
            .await;
        world.cli(&["listener", "install"]).await.expect(0);
        world.cli(&["listener", "status"]).await.expect(0);
    })
    .await;
}

#[tokio::test]
async fn a_pause_holds_everything_and_a_resume_lets_it_go_on() {
    world(S3::Embedded, async |world| {
        let service = world.run().await.expect_log("paused");
        world.cli(&["pause", "--why", "moving house"]).await.expect(0);
        world
            .readyz_says(&service, "the pause is shown", |answer| {
                answer["paused"].to_string().contains("moving house")
            })
            .await;
        let (record, files) = world.record_with_files("Contact", "ContactFile", 3).await;
        world.crm.delete("Contact", record).await;
        let status = world.cli(&["status", "--json"]).await.json();
        assert!(status["paused"].to_string().contains("moving house"), "{status}");
        eventually("the deletion waits in the outbox", async || {
            (world.crm.number("SELECT count(*) FROM file_recycler.outbox").await == 2).then_some(())
        })
        .await;
        for file in &files {
            world.is_untouched(*file).await;
        }
        world.cli(&["resume"]).await.expect(0);
        for file in &files {
            world.recycled(*file).await;
        }
        assert_eq!(
            world
                .crm
                .number("SELECT count(*) FROM file_recycler.trail WHERE action IN ('pause', 'resume')")
                .await,
            2
        );
    })
    .await;
}

#[tokio::test]
async fn the_brake_pauses_when_too_many_files_move() {
    world(S3::Embedded, async |world| {
        let environment = world.with(&[("RECYCLE__BRAKE", "4")]);
        let service = Service::start(&environment, &["run"])
            .await
            .ready()
            .await
            .expect_log("recycle.brake")
            .expect_log("paused");
        for _ in 0..5 {
            let (record, _) = world.record_with_files("Contact", "ContactFile", 2).await;
            world.crm.delete("Contact", record).await;
        }
        world
            .readyz_says(&service, "the brake is shown", |answer| {
                answer["paused"].to_string().contains("recycle.brake")
            })
            .await;
        world.cli(&["resume"]).await.expect(0);
    })
    .await;
}

#[tokio::test]
async fn case_36_a_copy_of_the_database_moves_nothing_in_the_originals_buckets() {
    world(S3::Embedded, async |world| {
        let (record, files) = world.record_with_files("Contact", "ContactFile", 1).await;
        world.crm.pool.close().await;
        let copy = Crm::copy_of(&world.crm).await;
        let environment = world.with(&[("DATABASE__URL", &copy.url)]);
        let service = Service::start(&environment, &["run"]).await.expect_log("not well");
        world
            .readyz_says(&service, "the copy is refused", |answer| {
                answer["guard"]["message"].as_str().unwrap_or("").contains("is it a copy?")
            })
            .await;
        copy.delete("Contact", record).await;
        assert_eq!(process::run(&environment, &["status"]).await.code, 1);
        assert_eq!(
            copy.number("SELECT count(*) FROM file_recycler.outbox").await,
            2,
            "no event is swallowed"
        );
        world.is_untouched(files[0]).await;
        drop(service);
        copy.drop_database().await;
    })
    .await;
}

#[tokio::test]
async fn a_marker_that_vanished_or_is_anothers_stops_everything() {
    world(S3::Embedded, async |world| {
        let service = world.run().await.expect_log("not well");
        let marker = ".file-recycler/environment.json";
        // Before that, it may be written once more, and what was read is an old one.
        takes_messages(&service).await;
        let ours = world.storage.get(Side::Object, marker).await.unwrap();
        world.storage.delete(Side::Object, marker).await;
        service.guard_says("is gone from the object bucket").await;
        let anothers = json!({ "environment": uuid::Uuid::new_v4() }).to_string();
        world.storage.put(Side::Object, marker, anothers.as_bytes()).await;
        service.guard_says("the object bucket belongs to environment").await;
        let (record, files) = world.record_with_files("Contact", "ContactFile", 1).await;
        world.crm.delete("Contact", record).await;
        world.is_untouched(files[0]).await;
        world.storage.put(Side::Object, marker, &ours).await;
        world.recycled(files[0]).await;
    })
    .await;
}

#[tokio::test]
async fn case_42_a_foreign_event_stops_consuming_and_stays_in_the_queue() {
    world(S3::Embedded, async |world| {
        let service = world.run().await.expect_log("another environment").expect_log("not well");
        let event = json!({
            "specversion": "1.0", "id": "foreign", "source": "/crm/other", "type": "crm.record.deleted.v1",
            "environment": uuid::Uuid::new_v4(),
            "data": { "schema": "Contact", "record_id": uuid::Uuid::new_v4() }
        });
        let work = world.queues.topology.work();
        crate::support::broker::put(&work, event.to_string().as_bytes(), lapin::BasicProperties::default())
            .await;
        world
            .readyz_says(&service, "health is red", |answer| {
                answer["ready"] == false
                    && answer["guard"]["message"].as_str().unwrap_or("").contains("foreign")
            })
            .await;
        eventually("the event is back in its queue", async || {
            (world.queues.unfinished().await == 1).then_some(())
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_storage_outage_uses_up_no_tries_and_ends_by_itself() {
    world(S3::Embedded, async |world| {
        let service = world.run().await.expect_log("not well").expect_log("could not be probed");
        let control = world.storage.control();
        let action = || Action::Status { status: 503, code: "ServiceUnavailable".into(), when: When::Before };
        for operation in
            [Operation::HeadObject, Operation::HeadBucket, Operation::CopyObject, Operation::GetObject]
        {
            control.fault(Rule::new(operation, action()));
        }
        let (record, files) = world.record_with_files("Contact", "ContactFile", 3).await;
        world.crm.delete("Contact", record).await;
        world
            .readyz_says(&service, "the storage is down", |answer| {
                answer["dependencies"]["storage"]["ok"] == false
            })
            .await;
        control.clear_faults();
        for file in &files {
            world.recycled(*file).await;
        }
        assert_eq!(world.cli(&["dlq", "list", "--json"]).await.expect(0).json()["total"], 0);
    })
    .await;
}

#[tokio::test]
async fn a_queue_with_other_arguments_is_refused_by_name() {
    world(S3::Embedded, async |world| {
        let work = world.queues.topology.work();
        put_queue(
            &work,
            true,
            &[("x-queue-type", long("quorum")), ("x-message-ttl", AMQPValue::LongInt(1_000))],
        )
        .await;
        let service = Service::start(&world.environment, &["run"]).await.expect_log("not well");
        world
            .readyz_says(&service, "the queue is named", |answer| {
                answer["ready"] == false
                    && answer["topology"]["message"].as_str().unwrap_or("").contains(&work)
            })
            .await;
    })
    .await;
}

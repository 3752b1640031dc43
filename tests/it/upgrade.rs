//! Versions side by side: older schemas, newer ones, events of later versions, and two releases at one queue.

mod migrations;

use std::path::Path;

use file_recycler::storage::Side;
use futures_util::StreamExt as _;
use lapin::BasicProperties;
use serde_json::json;
use sqlx::migrate::Migrator;
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use crate::support::broker::put;
use crate::support::process::{Service, eventually};
use crate::support::world::{S3, World, bare_world, takes_messages, world};

/// The own schema as it was up to a migration.
async fn schema_up_to(world: &World, version: i64) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let mut migrator = Migrator::new(folder.as_path()).await.unwrap();
    migrator.dangerous_set_table_name("file_recycler._sqlx_migrations");
    migrator.create_schema("file_recycler");
    let mut connection = PgConnection::connect(&world.crm.url).await.unwrap();
    migrator.run_to(version, &mut connection).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn whatever_version_made_the_schema_listener_install_is_enough() {
    let versions = migrations::versions();
    let (newest, older) = versions.split_last().unwrap();
    assert!(older.len() >= 10, "{versions:?}");
    let upgrades = older.iter().map(|version| {
        bare_world(S3::Embedded, async |world| is_brought_up_to_date(&world, *version, *newest).await)
    });
    // Most of it is waiting.
    futures_util::stream::iter(upgrades).buffer_unordered(5).collect::<Vec<()>>().await;
}

async fn is_brought_up_to_date(world: &World, version: i64, newest: i64) {
    schema_up_to(world, version).await;
    // Of what such a version knew.
    world
        .crm
        .sql("INSERT INTO file_recycler.ledger (file_id, key, event_id, outcome) VALUES ('old', 'old', 'old', 'moved')")
        .await;
    let told = world.cli(&["adopt"]).await.expect(1).stderr;
    assert!(told.ends_with("next:  file-recycler listener install\n"), "{version}: {told}");
    world.cli(&["listener", "install"]).await.expect(0);
    world.cli(&["listener", "status"]).await.expect(0);
    let at = world.crm.number("SELECT max(version) FROM file_recycler._sqlx_migrations").await;
    assert_eq!(at, newest, "from {version}");
    world.cli(&["adopt", "--apply"]).await.expect(0);
    let mut service = world.run().await;
    world.moves_a_file().await;
    assert_eq!(service.stop().await, Some(0));
    let kept = world.crm.number("SELECT count(*) FROM file_recycler.ledger WHERE file_id = 'old'").await;
    assert_eq!(kept, 1, "from {version}");
}

/// What a later version would add, as the rules of docs/upgrade.md let it: nothing that this one would miss.
const OF_A_LATER_VERSION: &str = "
    ALTER TABLE file_recycler.ledger ADD COLUMN of_later text;
    ALTER TABLE file_recycler.outbox ADD COLUMN of_later text DEFAULT 'x';
    ALTER TABLE file_recycler.environment ADD COLUMN of_later text;
    ALTER TABLE file_recycler.process ADD COLUMN of_later text;
    CREATE TABLE file_recycler.of_later (id bigint PRIMARY KEY);
    INSERT INTO file_recycler._sqlx_migrations (version, description, success, checksum, execution_time)
    VALUES (99990101000000, 'of later', true, '\\x00', 0)";

#[tokio::test]
async fn a_newer_schema_is_worked_with_and_told() {
    world(S3::Embedded, async |world| {
        world.crm.sql(OF_A_LATER_VERSION).await;
        // Whether it looks while the trigger is away is chance.
        let mut service = world.run().await.expect_log("file_recycler_files_delete is missing");
        world.moves_a_file().await;
        let doctor = world.cli(&["doctor", "--json"]).await.json();
        let checks = doctor["checks"].as_array().unwrap();
        let schema = checks.iter().find(|check| check["name"] == "own-schema").unwrap();
        assert_eq!(schema["result"], "warn", "{schema}");
        assert!(schema["message"].as_str().unwrap().contains("of a newer version"), "{schema}");
        // Rolled back, it repairs its own triggers, and leaves what it does not know.
        world.crm.sql(r#"DROP TRIGGER file_recycler_files_delete ON "ContactFile""#).await;
        world.cli(&["listener", "install"]).await.expect(0);
        world.cli(&["listener", "status"]).await.expect(0);
        let there = "SELECT count(*) FROM file_recycler._sqlx_migrations WHERE version = 99990101000000";
        assert_eq!(world.crm.number(there).await, 1);
        world.moves_a_file().await;
        assert_eq!(service.stop().await, Some(0));
    })
    .await;
}

/// An event as another version would write it.
fn event(specversion: &str, kind: &str, record: Uuid, file: Uuid) -> Vec<u8> {
    json!({
        "specversion": specversion, "id": Uuid::new_v4(), "source": "/crm/other", "type": kind,
        "subject": format!("Contact/{record}"), "time": "2026-11-23T10:00:00Z", "datacontenttype": "application/json",
        "dataschema": "https://example.org/later", "oflater": 7,
        "data": {"schema": "Contact", "record_id": record, "of_later": {"a": [1, null]},
                 "files": [{"file_id": file, "schema": "ContactFile", "size": 36, "of_later": "x"}]}
    })
    .to_string()
    .into_bytes()
}

#[tokio::test]
async fn an_event_of_a_later_minor_version_is_done_and_one_of_a_major_version_waits_for_the_upgrade() {
    world(S3::Embedded, async |world| {
        let mut service = world.run().await.expect_log("dead");
        let work = world.queues.topology.work();
        let (minor, major) = (Uuid::new_v4(), Uuid::new_v4());
        for file in [minor, major] {
            world.upload(file).await;
        }
        let bodies = [
            event("1.0", "crm.record.deleted.v2", Uuid::new_v4(), major),
            event("1.1", "crm.record.deleted.v1", Uuid::new_v4(), minor),
        ];
        for body in &bodies {
            put(&work, body, BasicProperties::default().with_message_id("of-later".into())).await;
        }
        world.recycled(minor).await;
        let dead = world.dead_letters(1).await;
        assert_eq!(dead[0]["reason"], "unsupported", "{dead:?}");
        world.is_untouched(major).await;
        // To the byte what came: the version that knows it can replay it.
        let kept = world.queues.drain(&world.queues.topology.dead()).await;
        assert_eq!(kept, [bodies[0].clone()]);
        assert_eq!(service.stop().await, Some(0));
    })
    .await;
}

/// Names the binary of the previous release, once there is one: `FILE_RECYCLER_TEST_PREVIOUS_BIN`. Without it both
/// workers are of this version, which shows that the test works and nothing about versions.
fn previous() -> String {
    std::env::var("FILE_RECYCLER_TEST_PREVIOUS_BIN")
        .unwrap_or_else(|_| env!("CARGO_BIN_EXE_file-recycler").to_owned())
}

#[tokio::test]
async fn an_old_and_a_new_worker_share_one_queue() {
    world(S3::Embedded, async |world| {
        // One message in hand at a time, so that both get some.
        let environment = world.with(&[("WORKER__PREFETCH", "1")]);
        let listener = Service::start(&environment, &["listen"]).await.ready().await;
        let old = Service::start_of(&previous(), &environment, &["work"]).await.ready().await;
        let new = Service::start(&environment, &["work"]).await.ready().await;
        // One alone must not be through before the other has begun.
        for worker in [&old, &new] {
            takes_messages(worker).await;
        }
        let ids = world.many(40).await;
        // A transaction each, so that there are forty messages.
        for id in &ids {
            world
                .crm
                .sql(format!(
                    r#"DELETE FROM "Contact" WHERE "Id" = (SELECT "ContactId" FROM "ContactFile" WHERE "Id" = '{id}')"#
                ))
                .await;
        }
        for id in &ids {
            world.recycled(id.parse().unwrap()).await;
        }
        world.quiet(&listener).await;
        // Counted after the acknowledgement.
        let shares = eventually("each file is counted by one of them", async || {
            let moved = async |worker: &Service| {
                worker.metric(r#"file_recycler_files_total{outcome="moved"}"#).await
            };
            let shares = [moved(&old).await, moved(&new).await];
            (shares.iter().sum::<u64>() == 40).then_some(shares)
        })
        .await;
        assert!(shares.iter().all(|share| *share > 0), "one of them did nothing: {shares:?}");
        world.dead_letters(0).await;
        eventually("each file is in the ledger once", async || {
            (world.crm.number("SELECT count(*) FROM file_recycler.ledger WHERE outcome = 'moved'").await == 40).then_some(())
        })
        .await;
        assert!(world.storage.keys(Side::Object).await.iter().all(|key| key.starts_with(".file-recycler/")));
    })
    .await;
}

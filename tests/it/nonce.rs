//! The rolling nonce: a physical clone is told from its original, and a database from its own past.

use file_recycler::storage::Side;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::cluster::Cluster;
use crate::support::crm::{Crm, DATABASE_STORAGE};
use crate::support::process::{self, Output, Service, eventually};
use crate::support::world::{S3, World, bare_world, takes_messages, world};

type Environment = Vec<(String, String)>;

/// A database on a cluster of its own, installed and adopted.
async fn adopted(world: &World, cluster: &Cluster) -> (Crm, Environment) {
    let crm = Crm::on(&cluster.url()).await;
    let environment = world.with(&[("DATABASE__URL", &crm.url)]);
    for command in [&["listener", "install"][..], &["adopt", "--apply"]] {
        process::run(&environment, command).await.expect(0);
    }
    (crm, environment)
}

async fn record_with_file(world: &World, crm: &Crm) -> (Uuid, Uuid) {
    let record = crm.record("Contact").await;
    let file = crm.hard_file("ContactFile", "Contact", record).await;
    world.upload(file).await;
    (record, file)
}

async fn advances(crm: &Crm) -> i64 {
    crm.number("SELECT advances FROM file_recycler.environment").await
}

async fn marker(world: &World) -> Value {
    let bytes = world.storage.get(Side::Object, ".file-recycler/environment.json").await.unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

/// Waits until marker and database have the same nonce, confirmed, and nothing is pending.
async fn agree(world: &World, crm: &Crm) {
    eventually("marker and database agree", async || {
        let marker = marker(world).await;
        let nonce = marker["nonce"].as_str()?;
        let same = format!(
            "SELECT count(*) FROM file_recycler.environment
              WHERE nonce = '{nonce}' AND pending_nonce IS NULL AND advances = {}",
            marker["advances"]
        );
        (crm.number(same).await == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn case_41_a_physical_clone_moves_nothing_and_swallows_no_event() {
    bare_world(S3::Embedded, async |world| {
        let original = Cluster::start().await;
        let (crm, environment) = adopted(&world, &original).await;
        let (record, file) = record_with_file(&world, &crm).await;
        let mut clone = original.clone_of().await;
        clone.run().await;
        // The original goes on.
        let before = advances(&crm).await;
        let service = Service::start(&environment, &["run"]).await.ready().await;
        eventually("its start advances the nonce", async || (advances(&crm).await > before).then_some(()))
            .await;

        let copy = Crm::of(&clone.url(), &crm.name).await;
        let of_clone = world.with(&[("DATABASE__URL", &copy.url)]);
        let refused = Service::start(&of_clone, &["run"]).await.expect_log("not well");
        refused.guard_says("is not the one that wrote the object bucket's marker").await;
        copy.delete("Contact", record).await;
        assert_eq!(process::run(&of_clone, &["status"]).await.code, 1);
        assert_eq!(
            copy.number("SELECT count(*) FROM file_recycler.outbox").await,
            2,
            "no event is swallowed"
        );
        world.is_untouched(file).await;

        crm.delete("Contact", record).await;
        world.recycled(file).await;
        drop((service, refused));
        copy.pool.close().await;
        crm.pool.close().await;
    })
    .await;
}

#[tokio::test]
async fn case_41_a_migration_needs_no_worker_to_tell_its_database_from_a_clone() {
    bare_world(S3::Embedded, async |world| {
        let original = Cluster::start().await;
        let (crm, environment) = adopted(&world, &original).await;
        let file = crm.hard_file("ContactFile", "Contact", crm.record("Contact").await).await;
        crm.sql(format!(
            r#"UPDATE "ContactFile" SET "Data" = 'content', "Size" = 7, "SysFileStorageId" = '{DATABASE_STORAGE}' WHERE "Id" = '{file}'"#
        ))
        .await;
        let mut clone = original.clone_of().await;
        clone.run().await;
        let migrate = ["migrate", "--to", "storage", "--trust-template", "--older-than", "2100-01-01T00:00:00Z", "--apply"];
        process::run(&environment, &migrate).await.expect(0);
        agree(&world, &crm).await;

        let copy = Crm::of(&clone.url(), &crm.name).await;
        let of_clone = world.with(&[("DATABASE__URL", &copy.url)]);
        let refused = process::run(&of_clone, &migrate).await.expect(1);
        assert!(refused.stderr.contains("is not the one that wrote the object bucket's marker"), "{}", refused.stderr);
        let in_database = format!(r#"SELECT count(*) FROM "ContactFile" WHERE "SysFileStorageId" = '{DATABASE_STORAGE}'"#);
        assert_eq!((copy.number(&*in_database).await, crm.number(&*in_database).await), (1, 0));
        copy.pool.close().await;
        crm.pool.close().await;
    })
    .await;
}

#[tokio::test]
async fn case_41_an_original_that_its_clone_was_faster_than_stops_within_seconds() {
    bare_world(S3::Embedded, async |world| {
        let original = Cluster::start().await;
        let (crm, environment) = adopted(&world, &original).await;
        let service = Service::start(&environment, &["run"]).await.ready().await.expect_log("not well");
        // An advance after the clone's end would stop the clone.
        takes_messages(&service).await;
        let mut clone = original.clone_of().await;
        clone.run().await;
        let copy = Crm::of(&clone.url(), &crm.name).await;
        let of_clone = world.with(&[("DATABASE__URL", &copy.url)]);
        let other = Service::start(&of_clone, &["run"]).await;
        // Whichever of the two it is: one of them is left, and an operator has to say which.
        service.guard_says("is not the one that wrote the object bucket's marker").await;
        let (record, file) = record_with_file(&world, &crm).await;
        crm.delete("Contact", record).await;
        assert_eq!(crm.number("SELECT count(*) FROM file_recycler.outbox").await, 2);
        world.is_untouched(file).await;
        drop((service, other));
        copy.pool.close().await;
        crm.pool.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_database_that_was_set_back_moves_nothing_until_it_is_restored_and_adopted() {
    bare_world(S3::Embedded, async |world| {
        let mut original = Cluster::start().await;
        let (crm, environment) = adopted(&world, &original).await;
        let (record, file) = record_with_file(&world, &crm).await;
        let mut backup = original.clone_of().await;
        let service = Service::start(&environment, &["run"])
            .await
            .ready()
            .await
            .expect_log("not well")
            .expect_log("interrupted");
        crm.delete("Contact", record).await;
        world.recycled(file).await;
        // A message that is not settled yet would come again beside the backup, where the file is alive.
        world.quiet_with(&crm, &service).await;
        assert_eq!(crm.number("SELECT count(*) FROM file_recycler.ledger").await, 1);

        // The disaster, and the backup in its place: the record is there again, its file is not.
        crm.pool.close().await;
        original.kill().await;
        backup.take_the_place_of(&original);
        backup.run().await;
        service.guard_says("it was set back to a backup, or is a copy").await;
        let back = Crm::of(&backup.url(), &crm.name).await;
        let (other, another) = record_with_file(&world, &back).await;
        back.delete("Contact", other).await;

        let run = async |arguments: &[&str]| -> Output { process::run(&environment, arguments).await };
        let plan = run(&["adopt", "--json"]).await.expect(0).json();
        assert_eq!((&plan["nonce_differs"], &plan["adopted_already"]), (&true.into(), &false.into()));
        run(&["adopt", "--for", "restore", "--apply"]).await.expect(0);
        service.guard_says("for restore alone").await;
        world.is_untouched(another).await;
        run(&["adopt", "--apply"]).await.expect(0);
        world.recycled(another).await;
        drop(service);
        back.pool.close().await;
    })
    .await;
}

/// The same while the connections live on: what the alive check's own statement says stops the work.
#[tokio::test]
async fn rows_that_were_set_back_under_a_running_worker_stop_it() {
    world(S3::Embedded, async |world| {
        let service = world.run().await.expect_log("not well");
        // An advance that is under way would mend what is spoilt here.
        takes_messages(&service).await;
        let (record, file) = world.record_with_files("Contact", "ContactFile", 1).await;
        world.crm.sql("UPDATE file_recycler.environment SET advances = 0, nonce = gen_random_uuid()").await;
        world.crm.delete("Contact", record).await;
        service.guard_says("is not the one that wrote the object bucket's marker (").await;
        world.is_untouched(file[0]).await;
    })
    .await;
}

#[tokio::test]
async fn a_process_killed_while_it_advances_leaves_what_the_next_one_completes() {
    world(S3::Embedded, async |world| {
        for point in ["nonce::proposed", "nonce::in_the_marker"] {
            let mut doomed = world.doomed("work", point).await;
            eventually("it dies there", async || doomed.has_ended().then_some(())).await;
            let pending = "SELECT count(*) FROM file_recycler.environment WHERE pending_nonce IS NOT NULL";
            assert_eq!(world.crm.number(pending).await, 1, "{point}");
            let before = advances(&world.crm).await;
            drop(doomed);
            let service = world.run().await;
            agree(&world, &world.crm).await;
            world.moves_a_file().await;
            // A copy that was made meanwhile has the pending one, too.
            assert!(advances(&world.crm).await >= before + 2, "{point}: one of its own");
            drop(service);
        }
    })
    .await;
}

#[tokio::test]
async fn adopting_beside_a_worker_that_advances_the_nonce_is_tried_again() {
    world(S3::Embedded, async |world| {
        let nonce = "SELECT nonce::text FROM file_recycler.environment";
        let before: String = sqlx::query_scalar(nonce).fetch_one(&world.crm.pool).await.unwrap();
        let environment = world.with(&[]);
        let slowly = [environment, vec![("FAILPOINTS".to_owned(), "adopt::bound=1*sleep(15000)".to_owned())]];
        let adopting =
            tokio::spawn(
                async move { process::run(&slowly.concat(), &["adopt", "--apply"]).await.expect(0) },
            );
        eventually("the database is bound", async || {
            let now: String = sqlx::query_scalar(nonce).fetch_one(&world.crm.pool).await.unwrap();
            (now != before).then_some(())
        })
        .await;
        // Between database and marker, another one writes the marker.
        let mut other = marker(&world).await;
        other["advances"] = json!(7);
        world
            .storage
            .put(Side::Object, ".file-recycler/environment.json", other.to_string().as_bytes())
            .await;
        adopting.await.unwrap();
        agree(&world, &world.crm).await;
        assert!(advances(&world.crm).await > 7, "more than either has counted");
        let service = world.run().await;
        world.moves_a_file().await;
        drop(service);
    })
    .await;
}

#[tokio::test]
async fn a_nonce_that_nobody_advances_is_degraded_and_told() {
    world(S3::Embedded, async |world| {
        world
            .crm
            .sql("UPDATE file_recycler.environment SET advanced_at = clock_timestamp() - interval '61 minutes'")
            .await;
        let listener = Service::start(&world.environment, &["listen"])
            .await
            .ready()
            .await
            .expect_log("nobody has advanced the nonce for 61 minutes");
        let told = |answer: &Value| {
            answer["degraded"] == true
                && answer["ready"] == true
                && answer["guard"]["message"].as_str().is_some_and(|why| why.contains("for 61 minutes"))
        };
        eventually("it is told", async || listener.readyz().await.filter(told)).await;
        assert_eq!(listener.metric("file_recycler_nonce_stale").await, 1);
        let status = world.cli(&["status", "--json"]).await.json();
        assert!(status["warnings"].to_string().contains("for 61 minutes"), "{status}");

        let worker = Service::start(&world.environment, &["work"]).await;
        eventually("a worker advances it", async || {
            listener.readyz().await.filter(|answer| answer["degraded"] == false)
        })
        .await;
        assert_eq!(listener.metric("file_recycler_nonce_stale").await, 0);
        drop((listener, worker));
    })
    .await;
}

#[tokio::test]
async fn many_processes_that_start_at_once_agree_on_one_nonce() {
    world(S3::Embedded, async |world| {
        let mut services = vec![world.run().await];
        let begun = services.len();
        for _ in begun..5 {
            services.push(Service::start(&world.environment, &["work"]).await);
        }
        for service in &services {
            eventually("it is ready", async || {
                service.readyz().await.filter(|answer| answer["ready"] == true)
            })
            .await;
            takes_messages(service).await;
        }
        agree(&world, &world.crm).await;
        let (record, files) = world.record_with_files("Contact", "ContactFile", 3).await;
        world.crm.delete("Contact", record).await;
        for file in files {
            world.recycled(file).await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_installation_of_before_there_were_nonces_works_on_and_gets_one_with_the_new_schema() {
    world(S3::Embedded, async |world| {
        world
            .crm
            .sql(
                "ALTER TABLE file_recycler.environment DROP COLUMN nonce, DROP COLUMN pending_nonce,
                   DROP COLUMN advances, DROP COLUMN advanced_at, DROP COLUMN only_restore;
                 DROP TABLE file_recycler.erasure;
                 DELETE FROM file_recycler._sqlx_migrations WHERE version >= 20261125000008",
            )
            .await;
        let old =
            json!({ "environment": marker(&world).await["environment"], "database": "crm" }).to_string();
        world.storage.put(Side::Object, ".file-recycler/environment.json", old.as_bytes()).await;
        let moves = async || {
            world.moves_a_file().await;
        };
        let service =
            world.run().await.expect_log("run `file-recycler listener install`").expect_log("older");
        moves().await;
        world.cli(&["listener", "install"]).await.expect(0);
        drop(service);
        let service = world.run().await;
        agree(&world, &world.crm).await;
        moves().await;
        drop(service);
    })
    .await;
}

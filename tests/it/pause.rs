//! An operator's pause and the brake, under load: everything stops at once, and goes on where it was.

use std::collections::BTreeSet;
use std::time::Duration;

use file_recycler::storage::Side;

use crate::support::crm::{FILE_TYPE, S3_STORAGE};
use crate::support::process::{Service, eventually, eventually_within};
use crate::support::world::{S3, World, world};

/// Makes `count` contacts with a file each, and gives the files' ids.
async fn contacts_with_files(world: &World, count: usize) -> BTreeSet<String> {
    world
        .crm
        .sql(format!(
            r#"WITH made AS (INSERT INTO "Contact" ("Name") SELECT 'n' FROM generate_series(1, {count}) RETURNING "Id")
               INSERT INTO "ContactFile" ("TypeId", "SysFileStorageId", "Size", "ContactId")
               SELECT '{FILE_TYPE}', '{S3_STORAGE}', 36, "Id" FROM made"#
        ))
        .await;
    let ids: Vec<String> = sqlx::query_scalar(r#"SELECT "Id"::text FROM "ContactFile""#)
        .fetch_all(&world.crm.pool)
        .await
        .unwrap();
    for id in &ids {
        world.storage.control().put(&world.storage.object, id, id.clone());
    }
    ids.into_iter().collect()
}

/// What can be seen from outside of what was done.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Done {
    left: usize,
    copied: usize,
    outbox: i64,
    queued: u64,
}

async fn done(world: &World) -> Done {
    let control = world.storage.control();
    Done {
        left: control.keys(&world.storage.object).len(),
        copied: control.keys(&world.storage.recycle).len(),
        outbox: world.crm.number("SELECT count(*) FROM file_recycler.outbox").await,
        queued: world.queues.unfinished().await,
    }
}

/// Waits until these say that there is a pause, and why.
async fn say_why(services: &[&Service], why: &str) {
    for service in services {
        eventually(&format!("it says '{why}'"), async || {
            service.readyz().await?["paused"].to_string().contains(why).then_some(())
        })
        .await;
    }
}

/// Waits until all stands still: files that were checked before the pause may still go, and their messages go back. Where
/// something went on, it would do so until nothing is left.
async fn stands_still(world: &World) -> Done {
    let mut last = done(world).await;
    eventually("all stands still", async || {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        let now = done(world).await;
        let still = now == last;
        last = now;
        still.then_some(())
    })
    .await;
    last
}

async fn all_are_recycled(world: &World, service: &Service, ids: &BTreeSet<String>) {
    let control = world.storage.control();
    eventually_within(Duration::from_mins(3), "every file has arrived", async || {
        let arrived: BTreeSet<String> = control.keys(&world.storage.recycle).into_iter().collect();
        let left = control.keys(&world.storage.object);
        (arrived == *ids && left.iter().all(|key| key.starts_with(".file-recycler/"))).then_some(())
    })
    .await;
    world.quiet(service).await;
    let noted = "SELECT count(*) FROM file_recycler.ledger";
    let expected = i64::try_from(ids.len()).unwrap();
    eventually("each is in the ledger once", async || {
        (world.crm.number(noted).await == expected).then_some(())
    })
    .await;
    assert_eq!(world.cli(&["dlq", "list", "--json"]).await.expect(0).json()["total"], 0);
}

#[tokio::test]
async fn a_pause_stops_two_thousand_deletions_on_their_way_and_a_resume_finishes_them() {
    world(S3::Embedded, async |world| {
        let slowly = world.with(&[("RECYCLE__CONCURRENCY", "8")]);
        let relay = Service::start(&slowly, &["listen"]).await.ready().await.expect_log("paused");
        let one = Service::start(&slowly, &["work"]).await.ready().await.expect_log("paused");
        let two = Service::start(&slowly, &["work"]).await.ready().await.expect_log("paused");
        let mut ids = contacts_with_files(&world, 2_000).await;
        world.storage.control().set_latency(Duration::from_millis(100));
        world.crm.sql(r#"DELETE FROM "Contact""#).await;
        eventually("a hundred files have moved", async || {
            (world.storage.control().keys(&world.storage.object).len() < 1_900).then_some(())
        })
        .await;

        world.cli(&["pause", "--why", "a restore"]).await.expect(0);
        ids.extend(contacts_with_files(&world, 50).await);
        world.crm.sql(r#"DELETE FROM "Contact""#).await;
        let left = stands_still(&world).await;
        assert!(left.left > 100 && left.outbox > 0 && left.queued > 0, "it was in the midst of it: {left:?}");
        say_why(&[&relay, &one, &two], "a restore").await;

        world.storage.control().set_latency(Duration::ZERO);
        world.cli(&["resume"]).await.expect(0);
        all_are_recycled(&world, &one, &ids).await;
    })
    .await;
}

#[tokio::test]
async fn the_brake_stops_a_thousand_deletions_by_itself_and_a_resume_finishes_them() {
    world(S3::Embedded, async |world| {
        let environment = world.with(&[("RECYCLE__BRAKE", "600"), ("RECYCLE__CONCURRENCY", "8")]);
        let service = Service::start(&environment, &["run"])
            .await
            .ready()
            .await
            .expect_log("recycle.brake")
            .expect_log("paused");
        let ids = contacts_with_files(&world, 1_000).await;
        world.storage.control().set_latency(Duration::from_millis(20));
        world.crm.sql(r#"DELETE FROM "Contact""#).await;
        say_why(&[&service], "recycle.brake").await;
        let left = stands_still(&world).await;
        assert!(left.left > 1, "the brake came before the end: {left:?}");
        let status = world.cli(&["status", "--json"]).await.expect(0).json();
        assert!(status["paused"].to_string().contains("recycle.brake"), "{status}");
        let told = || service.log().iter().filter(|line| line.contains(" ERROR ")).count();
        eventually("it says so", async || (told() > 0).then_some(())).await;
        assert_eq!(told(), 1, "once");

        world.cli(&["resume"]).await.expect(0);
        all_are_recycled(&world, &service, &ids).await;
        assert!(world.storage.get(Side::Recycle, ids.first().unwrap()).await.is_some());
    })
    .await;
}

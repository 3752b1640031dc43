//! Kind to the database.

use serde_json::json;

use super::meanwhile::start;
use super::{S3, in_row, migrate};
use crate::support::world::world;

#[tokio::test]
async fn it_waits_while_the_log_grows_faster_than_it_may() {
    world(S3::Embedded, async |world| {
        // More than are in work at the same time.
        for _ in 0..16 {
            super::large(&world, 60_000).await;
        }
        migrate(&world, &["--to", "storage", "--apply"], 0).await;
        let mut run = start(&world, &["--to", "database", "--wal", "1KiB/s", "--apply"]);
        run.says(r#"waits_for="wal""#).await;
        run.interrupt().await;
        let said = run.ended(1).await;
        assert_eq!(said.summary["interrupted"], json!(true), "{}", said.summary);
        assert!(said.summary["waited_seconds"]["wal"].as_f64().unwrap() > 0.0, "{}", said.summary);
        assert!(said.summary["wal_bytes"].as_u64().unwrap() > 0, "{}", said.summary);
    })
    .await;
}

#[tokio::test]
async fn a_pause_holds_it_up_and_its_end_lets_it_go_on() {
    world(S3::Embedded, async |world| {
        for _ in 0..8 {
            super::large(&world, 50_000).await;
        }
        let mut run = start(&world, &["--to", "storage", "--rate", "2/s", "--apply"]);
        crate::support::process::eventually("it has begun", async || {
            let began = "SELECT count(*) FROM file_recycler.trail WHERE action = 'migrate'";
            (world.crm.number(began).await == 1).then_some(())
        })
        .await;
        world.cli(&["pause", "--why", "a test"]).await.expect(0);
        run.says(r#"waits_for="paused""#).await;
        world.cli(&["resume"]).await.expect(0);
        let said = run.ended(0).await;
        assert_eq!(said.counts(), json!({ "migrated": 8 }), "{:?}", said.files);
        assert!(said.summary["waited_seconds"]["paused"].as_f64().unwrap() > 0.0, "{}", said.summary);
    })
    .await;
}

#[tokio::test]
async fn where_nobody_may_work_it_changes_nothing() {
    world(S3::Embedded, async |world| {
        let file = in_row(&world, b"content").await;
        world.cli(&["pause", "--why", "a test"]).await.expect(0);
        let refused = world.cli(&["migrate", "--to", "storage", "--apply"]).await.expect(1);
        assert!(refused.stderr.contains("nothing is changed"), "{refused:?}");
        assert_eq!(migrate(&world, &["--to", "storage"], 0).await.counts(), json!({ "would_migrate": 1 }));
        super::row_is(&world, file, crate::support::crm::DATABASE_STORAGE, Some(b"content")).await;
    })
    .await;
}

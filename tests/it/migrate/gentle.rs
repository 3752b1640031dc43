//! Kind to the database, and careful before anything.

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

#[tokio::test]
async fn only_one_runs_at_a_time() {
    world(S3::Embedded, async |world| {
        let file = in_row(&world, b"content").await;
        let held = super::meanwhile::Held::at(&world, recycler_test_s3::Operation::PutObject, file);
        let run = start(&world, &["--to", "storage", "--apply"]);
        held.is_reached().await;
        let line = super::line(&["--reclaim", "--apply"]);
        let refused = world.cli(&line).await.expect(1);
        assert!(refused.stderr.contains("another migration is at work"), "{refused:?}");
        held.release();
        assert_eq!(run.ended(0).await.counts(), json!({ "migrated": 1 }));
        migrate(&world, &["--reclaim", "--apply"], 0).await;
    })
    .await;
}

#[tokio::test]
async fn nothing_is_written_by_a_key_template_that_nothing_shows_to_be_the_crms() {
    world(S3::Embedded, async |world| {
        let file = in_row(&world, b"content").await;
        let line =
            ["migrate", "--json", "--to", "storage", "--older-than", "2100-01-01T00:00:00Z", "--apply"];
        let refused = world.cli(&line).await.expect(1);
        assert!(refused.stderr.contains("nothing shows that storage.key_template"), "{refused:?}");
        // A file of the CRM's, under another template.
        let there = in_row(&world, b"there").await;
        let sql = format!(
            r#"UPDATE "ContactFile" SET "SysFileStorageId" = '{}', "Data" = NULL WHERE "Id" = '{there}'"#,
            crate::support::crm::S3_STORAGE
        );
        world.crm.sql(sql).await;
        let upper = there.to_string().to_uppercase();
        world.storage.put(file_recycler::storage::Side::Object, &upper, b"there").await;
        let refused = world.cli(&line).await.expect(1);
        assert!(refused.stderr.contains("{file_id:upper}"), "{refused:?}");
        super::row_is(&world, file, crate::support::crm::DATABASE_STORAGE, Some(b"content")).await;
        let right = [&line[..], &["--set", "storage.key_template={file_id:upper}"]].concat();
        world.cli(&right).await.expect(0);
        let object =
            world.storage.get(file_recycler::storage::Side::Object, &file.to_string().to_uppercase()).await;
        assert_eq!(object.as_deref(), Some(&b"content"[..]));
    })
    .await;
}

#[tokio::test]
async fn what_was_changed_within_the_hour_is_left() {
    world(S3::Embedded, async |world| {
        in_row(&world, b"content").await;
        let said = world.cli(&["migrate", "--json", "--to", "storage"]).await.expect(0).json();
        assert_eq!(said["counts"]["would_migrate"], 0, "{said}");
    })
    .await;
}

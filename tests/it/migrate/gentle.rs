//! Kind to the database, and careful before anything.

use file_recycler::storage::Side;
use recycler_test_s3::{Action, Operation, Rule, When};
use serde_json::json;
use uuid::Uuid;

use super::meanwhile::{start, start_in};
use super::{S3, in_row, migrate};
use crate::support::cluster::Cluster;
use crate::support::crm::{Crm, DATABASE_STORAGE, FILE_TYPE, S3_STORAGE};
use crate::support::process;
use crate::support::world::{World, bare_world, world};

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
        let control = world.storage.switches();
        // More than are in work at the same time; those that are cannot end before the pause.
        for _ in 0..16 {
            let file = super::large(&world, 50_000).await;
            let hold = Action::Hold { when: When::Before };
            control.fault(Rule::new(Operation::PutObject, hold).key(file.to_string()));
        }
        let mut run = start(&world, &["--to", "storage", "--apply"]);
        process::eventually("it has begun", async || (control.holding() > 0).then_some(())).await;
        world.cli(&["pause", "--why", "a test"]).await.expect(0);
        run.says(r#"waits_for="paused""#).await;
        control.clear_faults();
        control.release();
        world.cli(&["resume"]).await.expect(0);
        let said = run.ended(0).await;
        assert_eq!(said.counts(), json!({ "migrated": 16 }), "{:?}", said.files);
        assert!(said.summary["waited_seconds"]["paused"].as_f64().unwrap() > 0.0, "{}", said.summary);
    })
    .await;
}

/// A real one, which has ceased to apply what it gets.
#[tokio::test]
async fn a_replica_that_is_far_behind_is_waited_for() {
    bare_world(S3::Embedded, async |world| {
        let primary = Cluster::start().await;
        let crm = Crm::on(&primary.url()).await;
        let environment = world.with(&[("DATABASE__URL", &crm.url)]);
        for command in [&["listener", "install"][..], &["adopt", "--apply"]] {
            process::run(&environment, command).await.expect(0);
        }
        let rows = format!(
            r#"INSERT INTO "ContactFile" ("TypeId", "Size", "SysFileStorageId", "Data")
               SELECT '{FILE_TYPE}', 7, '{DATABASE_STORAGE}', 'content' FROM generate_series(1, 8)"#
        );
        crm.sql(rows).await;
        let mut standby = primary.standby_of().await;
        standby.run().await;
        let replica = Crm::of(&standby.url(), &crm.name).await;
        replica.sql("SELECT pg_wal_replay_pause()").await;
        crm.sql("SELECT pg_logical_emit_message(false, 'test', repeat('x', 80 << 20))").await;
        let behind =
            "SELECT coalesce(max(pg_wal_lsn_diff(pg_current_wal_insert_lsn(), replay_lsn)), 0)::bigint
                        FROM pg_stat_replication WHERE state = 'streaming'";
        process::eventually("it is behind", async || (crm.number(behind).await > 80 << 20).then_some(()))
            .await;
        let mut run = start_in(&environment, &["--to", "storage", "--wal", "0", "--apply"]);
        run.says(r#"waits_for="lag""#).await;
        let moved =
            format!(r#"SELECT count(*) FROM "ContactFile" WHERE "SysFileStorageId" = '{S3_STORAGE}'"#);
        assert_eq!(crm.number(&moved).await, 0, "nothing begins before");
        run.interrupt().await;
        run.ended(1).await;
        let any = ["--to", "storage", "--wal", "0", "--lag", "0", "--limit", "3", "--apply"];
        let said = start_in(&environment, &any).ended(0).await;
        assert_eq!(said.counts(), json!({ "migrated": 3 }), "{:?}", said.files);
        let mut run = start_in(&environment, &["--to", "storage", "--wal", "0", "--apply"]);
        run.says(r#"waits_for="lag""#).await;
        replica.sql("SELECT pg_wal_replay_resume()").await;
        let said = run.ended(0).await;
        assert_eq!(said.counts(), json!({ "migrated": 5 }), "{:?}", said.files);
        assert!(said.summary["waited_seconds"]["lag"].as_f64().unwrap() > 0.0, "{}", said.summary);
        for database in [replica, crm] {
            database.pool.close().await;
        }
    })
    .await;
}

#[tokio::test]
async fn it_ends_when_the_bucket_becomes_another_environments() {
    world(S3::Embedded, async |world| {
        let mut files = Vec::new();
        for _ in 0..60 {
            files.push(in_row(&world, b"content").await);
        }
        let marker = ".file-recycler/environment.json";
        let run = start(&world, &["--to", "storage", "--rate", "3/s", "--apply"]);
        let moved =
            format!(r#"SELECT count(*) FROM "ContactFile" WHERE "SysFileStorageId" = '{S3_STORAGE}'"#);
        process::eventually("it has begun", async || (world.crm.number(&moved).await > 0).then_some(()))
            .await;
        // As the run has written it.
        let ours = world.storage.get(Side::Object, marker).await.unwrap();
        let foreign = json!({ "environment": uuid::Uuid::new_v4() }).to_string();
        world.storage.put(Side::Object, marker, foreign.as_bytes()).await;
        let said = run.ended(1).await;
        let done = said.summary["counts"]["migrated"].as_i64().unwrap();
        assert!(done < 60, "{}", said.summary);
        assert!(
            said.summary["stopped"].as_str().unwrap().contains("the object bucket belongs to environment"),
            "{}",
            said.summary
        );
        assert_eq!(said.summary["interrupted"], json!(false), "{}", said.summary);
        // What was in hand is whole, and nothing else was begun.
        assert_eq!(world.crm.number(&moved).await, done);
        let objects = i64::try_from(world.storage.keys(Side::Object).await.len()).unwrap();
        assert_eq!(objects, done + 1);
        world.cli(&super::line(&["--to", "storage", "--apply"])).await.expect(1);
        world.storage.put(Side::Object, marker, &ours).await;
        let said = migrate(&world, &["--to", "storage", "--apply"], 0).await;
        assert_eq!(said.counts(), json!({ "migrated": 60 - done }), "{:?}", said.files);
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
        super::row_is(&world, file, DATABASE_STORAGE, Some(b"content")).await;
    })
    .await;
}

#[tokio::test]
async fn only_one_runs_at_a_time() {
    world(S3::Embedded, async |world| {
        let file = in_row(&world, b"content").await;
        let held = super::meanwhile::Held::at(&world, Operation::PutObject, file);
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

/// The row says that its content is in S3.
async fn in_s3(world: &World, file: Uuid) {
    let sql = format!(
        r#"UPDATE "ContactFile" SET "SysFileStorageId" = '{S3_STORAGE}', "Data" = NULL WHERE "Id" = '{file}'"#
    );
    world.crm.sql(sql).await;
}

#[tokio::test]
async fn nothing_is_written_by_a_key_template_that_the_crms_own_files_do_not_show() {
    world(S3::Embedded, async |world| {
        let line =
            ["migrate", "--json", "--to", "storage", "--older-than", "2100-01-01T00:00:00Z", "--apply"];
        // The CRM has put one there, and it is not where the template says.
        let lost = in_row(&world, b"lost").await;
        in_s3(&world, lost).await;
        let refused = world.cli(&line).await.expect(1);
        assert!(refused.stderr.contains("of the newest files in S3 no object was found"), "{refused:?}");
        world.crm.sql(format!(r#"DELETE FROM "ContactFile" WHERE "Id" = '{lost}'"#)).await;
        // It has put none there: that is told, and the rows keep what they have.
        let ours = in_row(&world, b"ours").await;
        let said = super::Said::of(&world.cli(&line).await.expect(0).stdout);
        assert_eq!(said.counts(), json!({ "migrated": 1 }));
        let warnings = said.summary["warnings"].to_string();
        assert!(warnings.contains("nothing shows that storage.key_template"), "{warnings}");
        super::row_is(&world, ours, S3_STORAGE, Some(b"ours")).await;
        let reclaim = ["migrate", "--json", "--reclaim", "--older-than", "2100-01-01T00:00:00Z"];
        let said = world.cli(&reclaim).await.expect(0).stdout;
        assert!(said.contains("a migration has put each file there"), "{said}");
        let file = in_row(&world, b"content").await;
        // What a migration has put there itself shows nothing, either.
        // A file of the CRM's, under another template.
        let there = in_row(&world, b"there").await;
        in_s3(&world, there).await;
        let upper = there.to_string().to_uppercase();
        world.storage.put(Side::Object, &upper, b"there").await;
        let refused = world.cli(&line).await.expect(1);
        assert!(refused.stderr.contains("{file_id:upper}"), "{refused:?}");
        // A dry run says so as well.
        let dry = world.cli(&line[..line.len() - 1]).await.expect(0);
        let told = dry.stdout.lines().last().unwrap();
        assert!(told.contains("would be refused") && told.contains("{file_id:upper}"), "{told}");
        super::row_is(&world, file, DATABASE_STORAGE, Some(b"content")).await;
        let right = [&line[..], &["--set", "storage.key_template={file_id:upper}"]].concat();
        world.cli(&right).await.expect(0);
        let object = world.storage.get(Side::Object, &file.to_string().to_uppercase()).await;
        assert_eq!(object.as_deref(), Some(&b"content"[..]));
    })
    .await;
}

#[tokio::test]
async fn it_takes_its_time_where_it_is_told_to() {
    world(S3::Embedded, async |world| {
        let seconds = async |bound: &[&str]| {
            let said = migrate(&world, &[&["--to", "storage", "--apply"], bound].concat(), 0).await;
            said.summary["seconds"].as_f64().unwrap()
        };
        for _ in 0..4 {
            in_row(&world, b"content").await;
        }
        // Two begin at once, the others a second later.
        assert!(seconds(&["--rate", "2/s"]).await >= 1.0);
        // Together they are more than what begins at once.
        for _ in 0..2 {
            super::large(&world, 50_000).await;
        }
        assert!(seconds(&["--bandwidth", "800000/s"]).await >= 1.0);
    })
    .await;
}

#[tokio::test]
async fn it_waits_while_others_are_at_work_at_the_server() {
    world(S3::Embedded, async |world| {
        in_row(&world, b"content").await;
        let busy: Vec<_> = (0..2)
            .map(|_| {
                let pool = world.crm.pool.clone();
                tokio::spawn(async move { sqlx::query("SELECT pg_sleep(600)").execute(&pool).await })
            })
            .collect();
        let at_work = "SELECT count(*) FROM pg_stat_activity
                        WHERE datname = current_database() AND query = 'SELECT pg_sleep(600)' AND wait_event = 'PgSleep'";
        process::eventually("they are at work", async || {
            (world.crm.number(at_work).await == 2).then_some(())
        })
        .await;
        let mut run = start(&world, &["--to", "storage", "--sessions", "1", "--apply"]);
        run.says(r#"waits_for="busy""#).await;
        run.interrupt().await;
        let said = run.ended(1).await;
        assert!(said.summary["waited_seconds"]["busy"].as_f64().unwrap() > 0.0, "{}", said.summary);
        let done = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity
                     WHERE datname = current_database() AND query = 'SELECT pg_sleep(600)'";
        world.crm.sql(done).await;
        for session in busy {
            session.await.unwrap().unwrap_err();
        }
    })
    .await;
}

//! Which files move when a record is deleted, and which stay.

use std::sync::Arc;
use std::time::{Duration, Instant};

use file_recycler::storage::Side;
use uuid::Uuid;

use crate::support::crm::{DATABASE_STORAGE, FILE_TYPE, S3_STORAGE, WEB_LINK_TYPE};
use crate::support::process::{Service, eventually};
use crate::support::world::{S3, World, world};

/// A record with one hard and two weak files is deleted: all three arrive.
async fn hard_and_weak(world: Arc<World>) {
    let service = world.run().await;
    let (record, hard) = world.record_with_files("Contact", "ContactFile", 1).await;
    let weak = world.crm.weak_file("SysFile", "Contact", record).await;
    let feed = world.crm.weak_file("FeedFile", "Contact", record).await;
    for file in [weak, feed] {
        world.upload(file).await;
    }
    world.crm.delete("Contact", record).await;
    for file in [hard[0], weak, feed] {
        world.recycled(file).await;
    }
    world.quiet(&service).await;
    let dangling = r#"SELECT count(*) FROM "SysFile" WHERE "RecordId" IS NOT NULL"#;
    assert_eq!(world.crm.number(dangling).await, 0);
    world.counted(&service, "moved", 3).await;
}

#[tokio::test]
async fn hard_and_weak_files_of_a_deleted_record_arrive_on_the_embedded_server() {
    world(S3::Embedded, hard_and_weak).await;
}

#[tokio::test]
async fn hard_and_weak_files_of_a_deleted_record_arrive_on_a_server_that_others_wrote() {
    world(S3::Foreign, hard_and_weak).await;
}

#[tokio::test]
async fn a_file_deleted_alone_moves_and_its_record_keeps_the_others() {
    world(S3::Embedded, async |world| {
        let service = world.run().await;
        let (_, files) = world.record_with_files("Account", "AccountFile", 2).await;
        world.crm.delete("AccountFile", files[0]).await;
        world.recycled(files[0]).await;
        world.quiet(&service).await;
        world.is_untouched(files[1]).await;
    })
    .await;
}

#[tokio::test]
async fn case_31_a_rolled_back_deletion_moves_nothing() {
    world(S3::Embedded, async |world| {
        let service = world.run().await;
        let (record, files) = world.record_with_files("Contact", "ContactFile", 1).await;
        let (other, gone) = world.record_with_files("Contact", "ContactFile", 1).await;
        world
            .crm
            .sql(format!(
                r#"BEGIN; DELETE FROM "Contact" WHERE "Id" = '{record}'; ROLLBACK;
                   BEGIN; SAVEPOINT s; DELETE FROM "Contact" WHERE "Id" = '{record}'; ROLLBACK TO s;
                   DELETE FROM "Contact" WHERE "Id" = '{other}'; COMMIT"#
            ))
            .await;
        world.recycled(gone[0]).await;
        world.quiet(&service).await;
        world.is_untouched(files[0]).await;
    })
    .await;
}

#[tokio::test]
async fn case_32_a_file_that_another_record_shows_stays_until_its_last_link_goes() {
    world(S3::Embedded, async |world| {
        let service = world.run().await;
        let (owner, files) = world.record_with_files("Contact", "ContactFile", 1).await;
        let weak = world.crm.weak_file("SysFile", "Contact", owner).await;
        world.upload(weak).await;
        let (second, _) = world.record_with_files("Account", "AccountFile", 0).await;
        world.crm.link("Account", second, "ContactFile", files[0]).await;
        world.crm.link("Account", second, "SysFile", weak).await;
        world.crm.delete("Contact", owner).await;
        eventually("the shared file was found alive", async || {
            (service.metric(r#"file_recycler_files_total{outcome="alive"}"#).await >= 1).then_some(())
        })
        .await;
        world.quiet(&service).await;
        world.is_untouched(files[0]).await;
        world.is_untouched(weak).await;

        world.crm.delete("Account", second).await;
        world.recycled(files[0]).await;
        world.recycled(weak).await;
        assert_eq!(world.crm.number("SELECT count(*) FROM file_recycler.held_record").await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_weak_file_that_links_keep_goes_with_the_last_of_them_and_its_kin_too() {
    world(S3::Embedded, async |world| {
        let service = world.run().await;
        let owner = world.crm.record("Contact").await;
        let (second, third) = (world.crm.record("Account").await, world.crm.record("Lead").await);
        let [shared, other] = [
            world.crm.weak_file("SysFile", "Contact", owner).await,
            world.crm.weak_file("FeedFile", "Contact", owner).await,
        ];
        for file in [shared, other] {
            world.upload(file).await;
            world.crm.link("Account", second, "SysFile", file).await;
        }
        world.crm.link("Lead", third, "SysFile", shared).await;
        world.crm.delete("Contact", owner).await;
        eventually("both files were found alive", async || {
            (service.metric(r#"file_recycler_files_total{outcome="alive"}"#).await >= 2).then_some(())
        })
        .await;
        world.crm.sql(r#"DELETE FROM "FileLink" WHERE "RecordSchemaName" = 'Account'"#).await;
        world.recycled(other).await;
        world.quiet(&service).await;
        world.is_untouched(shared).await;
        world.crm.delete("Lead", third).await;
        world.recycled(shared).await;
    })
    .await;
}

#[tokio::test]
async fn a_record_that_came_back_keeps_its_files_when_their_last_link_goes() {
    world(S3::Embedded, async |world| {
        let service = world.run().await;
        let owner = world.crm.record("Contact").await;
        let weak = world.crm.weak_file("SysFile", "Contact", owner).await;
        world.upload(weak).await;
        let second = world.crm.record("Account").await;
        world.crm.link("Account", second, "SysFile", weak).await;
        world.crm.delete("Contact", owner).await;
        eventually("the record is remembered", async || {
            let held = "SELECT count(*) FROM file_recycler.held_record";
            (world.crm.number(held).await == 1).then_some(())
        })
        .await;
        // The deletion is looked at once more after it was remembered: only then the record comes back.
        eventually("the file was found alive", async || {
            (service.metric(r#"file_recycler_files_total{outcome="alive"}"#).await >= 1).then_some(())
        })
        .await;
        world.crm.sql(format!(r#"INSERT INTO "Contact" ("Id") VALUES ('{owner}')"#)).await;
        world.crm.delete("Account", second).await;
        eventually("the file was found alive once more", async || {
            (service.metric(r#"file_recycler_files_total{outcome="alive"}"#).await >= 2).then_some(())
        })
        .await;
        world.quiet(&service).await;
        world.is_untouched(weak).await;
    })
    .await;
}

#[tokio::test]
async fn case_47_a_link_to_a_record_that_is_not_saved_yet_keeps_the_file() {
    world(S3::Embedded, async |world| {
        let service = world.run().await;
        let (owner, files) = world.record_with_files("Contact", "ContactFile", 1).await;
        world.crm.link("Account", Uuid::new_v4(), "ContactFile", files[0]).await;
        world.crm.delete("Contact", owner).await;
        eventually("the linked file was found alive", async || {
            (service.metric(r#"file_recycler_files_total{outcome="alive"}"#).await >= 1).then_some(())
        })
        .await;
        world.is_untouched(files[0]).await;
    })
    .await;
}

#[tokio::test]
async fn case_32_a_row_copied_to_another_table_under_the_same_id_keeps_the_file() {
    world(S3::Embedded, async |world| {
        let service = world.run().await;
        let (owner, files) = world.record_with_files("Contact", "ContactFile", 1).await;
        let file = files[0];
        world
            .crm
            .sql(format!(
                r#"INSERT INTO "SysFile" ("Id", "TypeId", "SysFileStorageId")
                   VALUES ('{file}', '{FILE_TYPE}', '{S3_STORAGE}')"#
            ))
            .await;
        world.crm.delete("Contact", owner).await;
        eventually("the copied file was found alive", async || {
            (service.metric(r#"file_recycler_files_total{outcome="alive"}"#).await >= 1).then_some(())
        })
        .await;
        world.is_untouched(file).await;
    })
    .await;
}

#[tokio::test]
async fn case_35_files_in_the_database_and_web_links_are_left_alone() {
    world(S3::Embedded, async |world| {
        let service = world.run().await;
        let (record, files) = world.record_with_files("Contact", "ContactFile", 5).await;
        let (moving, database, link, foreign, unknown) = (files[0], files[1], files[2], files[3], files[4]);
        // A storage of a kind that is not ours, and one that the list of storages does not even have.
        let azure = "0c9d3c2a-63c1-4b2e-9d3c-5a4f6f1d7e10";
        world
            .crm
            .sql(format!(
                r#"INSERT INTO "SysFileContentStorage" VALUES ('{azure}', 'Azure', 'Azure_storage_v2', 'X');
                   UPDATE "ContactFile" SET "SysFileStorageId" = '{azure}' WHERE "Id" = '{foreign}';
                   UPDATE "ContactFile" SET "SysFileStorageId" = '{}' WHERE "Id" = '{unknown}'"#,
                Uuid::new_v4()
            ))
            .await;
        world
            .crm
            .sql(format!(
                r#"UPDATE "ContactFile" SET "SysFileStorageId" = '{DATABASE_STORAGE}' WHERE "Id" = '{database}';
                   UPDATE "ContactFile" SET "TypeId" = '{WEB_LINK_TYPE}' WHERE "Id" = '{link}'"#
            ))
            .await;
        let weak = world.crm.weak_file("SysFile", "Contact", record).await;
        world.upload(weak).await;
        world
            .crm
            .sql(format!(r#"UPDATE "SysFile" SET "SysFileStorageId" = NULL, "Data" = 'x' WHERE "Id" = '{weak}'"#))
            .await;
        world.crm.delete("Contact", record).await;
        world.recycled(moving).await;
        world.quiet(&service).await;
        for file in [database, link, weak, foreign, unknown] {
            world.is_untouched(file).await;
        }
        // The weak row that was found and left.
        world.counted(&service, "elsewhere", 1).await;
        let kept = format!(r#"SELECT count(*) FROM "SysFile" WHERE "Id" = '{weak}' AND "Data" = 'x'"#);
        assert_eq!(world.crm.number(kept).await, 1, "content in the database is never deleted by us");
    })
    .await;
}

#[tokio::test]
async fn case_35_a_file_of_an_event_whose_row_is_in_the_database_counts_as_elsewhere() {
    world(S3::Embedded, async |world| {
        let service = world.run().await;
        let (record, files) = world.record_with_files("Contact", "ContactFile", 1).await;
        world.crm.sql(format!(r#"UPDATE "ContactFile" SET "SysFileStorageId" = '{DATABASE_STORAGE}'"#)).await;
        let (record, file) = (record.to_string(), files[0].to_string());
        let arguments = ["emit", "--schema", "Contact", "--record", &record, "--file", &file, "--json"];
        let emitted = world.cli(&arguments).await.expect(0).json();
        assert!(emitted["id"].is_string());
        eventually("it was found elsewhere", async || {
            (service.metric(r#"file_recycler_files_total{outcome="elsewhere"}"#).await >= 1).then_some(())
        })
        .await;
        world.is_untouched(files[0]).await;
    })
    .await;
}

#[tokio::test]
async fn case_47_an_outside_event_deletes_no_rows_and_moves_only_what_is_gone() {
    world(S3::Embedded, async |world| {
        let service = world.run().await;
        let record = Uuid::new_v4();
        let upload = world.crm.weak_file("SysFile", "Contact", record).await;
        let gone = Uuid::new_v4();
        for file in [upload, gone] {
            world.upload(file).await;
        }
        let (record, file) = (record.to_string(), gone.to_string());
        world.cli(&["emit", "--schema", "Contact", "--record", &record, "--file", &file]).await.expect(0);
        world.recycled(gone).await;
        world.quiet(&service).await;
        world.is_untouched(upload).await;
        let rows = format!(r#"SELECT count(*) FROM "SysFile" WHERE "Id" = '{upload}'"#);
        assert_eq!(world.crm.number(rows).await, 1, "a new record's uploads come before its row");
    })
    .await;
}

#[tokio::test]
async fn observe_mode_says_what_would_move_and_changes_nothing() {
    world(S3::Embedded, async |world| {
        let mut environment = world.with(&[("RECYCLE__MODE", "observe")]);
        environment.push(("RUST_LOG".into(), "info".into()));
        let service = Service::start(&environment, &["run"]).await.ready().await;
        let (record, files) = world.record_with_files("Contact", "ContactFile", 1).await;
        let weak = world.crm.weak_file("SysFile", "Contact", record).await;
        world.upload(weak).await;
        world.crm.delete("Contact", record).await;
        eventually("it would move", async || {
            (service.metric(r#"file_recycler_files_total{outcome="would_move"}"#).await >= 1).then_some(())
        })
        .await;
        world.quiet(&service).await;
        world.is_untouched(files[0]).await;
        world.is_untouched(weak).await;
        assert!(world.object(Side::Recycle, files[0]).await.is_none());
        assert_eq!(world.crm.number(r#"SELECT count(*) FROM "SysFile""#).await, 1);
    })
    .await;
}

#[tokio::test]
async fn case_38_a_file_whose_row_is_created_anew_within_the_grace_period_stays() {
    world(S3::Embedded, async |world| {
        // Long enough for the undo, however slow this test is.
        let environment = world.with(&[("RECYCLE__GRACE", "1h")]);
        let mut service = Service::start(&environment, &["run"]).await.ready().await;
        let (record, files) = world.record_with_files("Contact", "ContactFile", 2).await;
        let weak = world.crm.weak_file("SysFile", "Contact", record).await;
        world.upload(weak).await;
        // An undo, or an import that deletes and writes again: the record and one of its files are back.
        world
            .crm
            .sql(format!(
                r#"CREATE TABLE was AS SELECT * FROM "ContactFile" WHERE "Id" = '{}';
                   DELETE FROM "Contact" WHERE "Id" = '{record}'"#,
                files[0]
            ))
            .await;
        eventually("the relay has seen the deletion, and waits", async || {
            let seen = "SELECT count(*) FROM file_recycler.outbox WHERE seen_at IS NOT NULL";
            (world.crm.number(seen).await == 2).then_some(())
        })
        .await;
        world
            .crm
            .sql(format!(
                r#"INSERT INTO "Contact" ("Id") VALUES ('{record}'); INSERT INTO "ContactFile" SELECT * FROM was"#
            ))
            .await;
        assert_eq!(service.stop().await, Some(0));
        // Of what was seen then, it is soon over for a service with a shorter one.
        let environment = world.with(&[("RECYCLE__GRACE", "1s")]);
        let service = Service::start(&environment, &["run"]).await.ready().await;
        world.recycled(files[1]).await;
        world.quiet(&service).await;
        world.is_untouched(files[0]).await;
        world.is_untouched(weak).await;
        world.counted(&service, "alive", 1).await;
        assert_eq!(world.crm.number(r#"SELECT count(*) FROM "SysFile""#).await, 1);
    })
    .await;
}

#[tokio::test]
async fn case_38_nothing_moves_before_its_grace_period_is_over_with_or_without_wait_queues() {
    world(S3::Embedded, async |world| {
        // Longer than a move takes on a machine with much other work.
        let grace = Duration::from_secs(6);
        for delays in [r#"["200ms"]"#, "[]"] {
            let environment = world.with(&[("RECYCLE__GRACE", "6s"), ("RETRY__DELAYS", delays)]);
            let mut service = Service::start(&environment, &["run"]).await.ready().await;
            let outside = Uuid::new_v4();
            world.upload(outside).await;
            let (record, own) = world.record_with_files("Contact", "ContactFile", 1).await;
            let began = Instant::now();
            world.crm.delete("Contact", record).await;
            let (record, file) = (Uuid::new_v4().to_string(), outside.to_string());
            world.cli(&["emit", "--schema", "Contact", "--record", &record, "--file", &file]).await.expect(0);
            for file in [own[0], outside] {
                world.recycled(file).await;
                assert!(began.elapsed() >= grace, "{delays}: it moved after {:?}", began.elapsed());
            }
            assert_eq!(service.stop().await, Some(0));
        }
    })
    .await;
}

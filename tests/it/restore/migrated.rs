//! Files of both kinds in one table, in a database that was set back to before, or to after, they were migrated.

use file_recycler::storage::Side;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{counts, is_back, put, remembered, report, restore, restore_with, row, temporary};
use crate::audit::counts as classes;
use crate::drill::set_back;
use crate::support::crm::{Crm, DATABASE_STORAGE, S3_STORAGE};
use crate::support::process;
use crate::support::roles::Roles;
use crate::support::tools::Dump;
use crate::support::world::{S3, World, bare_world, world};

const ALL: [&str; 2] = ["--to-match-database", "--apply"];

/// Sets the database back to this backup, and adopts it as one restores.
async fn set_back_to(world: &World, dump: &Dump) -> Crm {
    let back = set_back(world, dump).await;
    world.cli(&["adopt", "--for", "restore", "--apply"]).await.expect(0);
    back
}

/// What an audit finds; the exit code is 1 where it is `bad`.
async fn audited(world: &World, bad: bool) -> Value {
    world.cli(&["audit", "--json"]).await.expect(i32::from(bad)).json()
}

#[tokio::test]
async fn set_back_to_before_a_migration_to_the_storage_nothing_has_to_come_back() {
    for s3 in [S3::Embedded, S3::Foreign, S3::Moto] {
        world(s3, async |world| {
            let files = [world.file_in_database().await, world.file_in_database().await];
            let in_s3 = row(&world).await;
            world.upload(in_s3).await;
            let before = Dump::of(&world.crm.url, &[]).await;
            for file in files {
                world.migrate(file).await;
            }
            world.clear_row(files[0]).await;

            let back = set_back_to(&world, &before).await;
            let done = restore(&world, &ALL, 0).await;
            assert_eq!(counts(&done), json!({ "present": 1 }), "{s3:?}: the one that was in S3: {done}");
            let told = audited(&world, false).await;
            assert_eq!(
                classes(&told),
                [("left_behind".to_owned(), 2), ("ok".to_owned(), 1)].into(),
                "{told}"
            );
            let whole = format!(
                r#"SELECT count(*) FROM "ContactFile" WHERE "Data" = convert_to("Id"::text, 'UTF8')
                      AND "SysFileStorageId" = '{DATABASE_STORAGE}'"#
            );
            assert_eq!(back.number(whole).await, 2, "the rows have their contents again");
            for file in files.iter().chain([&in_s3]) {
                world.is_untouched(*file).await;
            }
            let failed = restore(&world, &["--file", &files[0].to_string()], 1).await;
            assert_eq!(
                counts(&failed),
                json!({ "failed": 1 }),
                "{s3:?}: there is nothing to bring back: {failed}"
            );
            back.pool.close().await;
        })
        .await;
    }
}

#[tokio::test]
async fn set_back_to_after_a_migration_to_the_storage_every_object_is_where_it_belongs() {
    for s3 in [S3::Embedded, S3::Foreign, S3::Moto] {
        world(s3, async |world| {
            let [left, reclaimed, recycled] = [
                world.file_in_database().await,
                world.file_in_database().await,
                world.file_in_database().await,
            ];
            for file in [left, reclaimed, recycled] {
                world.migrate(file).await;
            }
            for file in [reclaimed, recycled] {
                world.clear_row(file).await;
            }
            let still_there = world.file_in_database().await;
            let after = Dump::of(&world.crm.url, &[]).await;
            // What comes after the backup: reclaimed, deleted, migrated.
            world.clear_row(left).await;
            world.crm.delete("ContactFile", recycled).await;
            world.storage.delete(Side::Object, &recycled.to_string()).await;
            put(&world, Side::Recycle, recycled).await;
            world.migrate(still_there).await;

            let back = set_back_to(&world, &after).await;
            let done = restore(&world, &ALL, 0).await;
            assert_eq!(counts(&done), json!({ "present": 2, "restored": 1 }), "{s3:?}: {done}");
            is_back(&world, recycled).await;
            let told = audited(&world, false).await;
            assert_eq!(
                classes(&told),
                [("left_behind".to_owned(), 1), ("ok".to_owned(), 3)].into(),
                "{told}"
            );
            assert_eq!(told["data_left"]["files"], 1, "as the backup has it: {told}");
            back.pool.close().await;
        })
        .await;
    }
}

#[tokio::test]
async fn set_back_to_before_a_migration_to_the_database_recycled_objects_come_back() {
    for s3 in [S3::Embedded, S3::Foreign, S3::Moto] {
        world(s3, async |world| {
            let files = [row(&world).await, row(&world).await];
            for file in files {
                world.upload(file).await;
            }
            let before = Dump::of(&world.crm.url, &[]).await;
            for file in files {
                world.fill_row(file).await;
                world.say_where(file, DATABASE_STORAGE).await;
            }
            // Of one the object was recycled; that of the other stays where it is.
            world.storage.delete(Side::Object, &files[0].to_string()).await;
            put(&world, Side::Recycle, files[0]).await;

            let back = set_back_to(&world, &before).await;
            let done = restore(&world, &ALL, 0).await;
            assert_eq!(counts(&done), json!({ "present": 1, "restored": 1 }), "{s3:?}: {done}");
            is_back(&world, files[0]).await;
            world.is_untouched(files[1]).await;
            back.pool.close().await;
        })
        .await;
    }
}

/// Why, by the file.
fn whys(lines: &[Value], file: Uuid) -> (&str, &str) {
    let line = lines.iter().find(|line| line["file_id"] == json!(file)).unwrap();
    (line["result"].as_str().unwrap(), line["why"].as_str().unwrap())
}

#[tokio::test]
async fn a_file_in_neither_bucket_whose_row_has_its_content_is_told_as_one_that_is_not_gone() {
    for s3 in [S3::Embedded, S3::Foreign, S3::Moto] {
        world(s3, async |world| {
            let [never, expired, gone] = [
                world.file_in_database().await,
                world.file_in_database().await,
                world.file_in_database().await,
            ];
            for file in [never, expired, gone] {
                world.say_where(file, S3_STORAGE).await;
            }
            remembered(&world, expired).await;
            world.clear_row(gone).await;
            let ids = [never, expired, gone].map(|file| file.to_string());
            for source in [&["--to-match-database"][..], &["--file", &ids[0], &ids[1], &ids[2]]] {
                let path = temporary("migrated.jsonl");
                let line = [source, &["--apply", "--report", path.to_str().unwrap()]].concat();
                let done = restore(&world, &line, 1).await;
                assert_eq!(counts(&done), json!({ "never_seen": 2, "expired": 1 }), "{s3:?}: {done}");
                let lines = report(&path);
                std::fs::remove_file(&path).unwrap();
                let saved = "its content is not lost: its row still has 36 bytes of it";
                for (file, result, why) in [
                    (never, "never_seen", "nothing says that it ever was"),
                    (expired, "expired", "the recycle bucket has it no more"),
                ] {
                    let (is, told) = whys(&lines, file);
                    assert_eq!(is, result);
                    assert!(told.starts_with(saved) && told.contains("file-recycler explain"), "{told}");
                    assert!(told.contains(why), "what became of its object is told as well: {told}");
                }
                let (is, told) = whys(&lines, gone);
                assert_eq!(is, "never_seen");
                assert!(!told.contains("its row"), "{told}");
            }
        })
        .await;
    }
}

#[tokio::test]
async fn a_role_that_may_not_read_contents_restores_all_the_same() {
    bare_world(S3::Embedded, async |world| {
        let roles = Roles::installed(&world).await;
        let as_run = world.with(&[("DATABASE__URL", &roles.url_as(&roles.run))]);
        process::run(&as_run, &["adopt", "--apply"]).await.expect(0);
        let [back, never] = [world.file_in_database().await, world.file_in_database().await];
        for file in [back, never] {
            world.say_where(file, S3_STORAGE).await;
        }
        put(&world, Side::Recycle, back).await;
        for source in [&["--file", &never.to_string()][..], &["--to-match-database"]] {
            let path = temporary("unread.jsonl");
            let line = [source, &["--apply", "--report", path.to_str().unwrap()]].concat();
            restore_with(&as_run, &line, 1).await;
            let lines = report(&path);
            std::fs::remove_file(&path).unwrap();
            let (is, told) = whys(&lines, never);
            assert_eq!(
                (is, told),
                ("never_seen", "it is in neither bucket, and nothing says that it ever was")
            );
        }
        is_back(&world, back).await;
        drop(roles);
    })
    .await;
}

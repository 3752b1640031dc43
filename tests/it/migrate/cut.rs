//! Killed at every step: each file is readable where its row says, and the next run finishes.

use std::os::unix::process::ExitStatusExt as _;

use file_recycler::storage::Side;
use serde_json::json;
use uuid::Uuid;

use super::{S3, in_row, is_readable, is_sound, large, migrate, row_is, same_as_row};
use crate::support::crm::{DATABASE_STORAGE, S3_STORAGE};
use crate::support::process;
use crate::support::world::{World, world};

const SIGKILL: i32 = 9;

/// Runs it until it is killed at this point.
async fn die(world: &World, point: &str, arguments: &[&str]) {
    let mut environment = world.environment.clone();
    environment.retain(|(name, _)| name != "FAILPOINTS");
    environment.push(("FAILPOINTS".to_owned(), format!("{point}=return")));
    let line = super::line(arguments);
    let died = process::command(&environment, &line).output().await.unwrap();
    assert_eq!(died.status.signal(), Some(SIGKILL), "{point}: {died:?}");
}

async fn files(world: &World) -> [Uuid; 2] {
    [in_row(world, b"content").await, in_row(world, b"another content").await]
}

#[tokio::test]
async fn on_the_way_to_the_storage() {
    for s3 in [S3::Embedded, S3::Foreign, S3::Moto] {
        for point in ["migrate::object_written", "migrate::row_switched"] {
            world(s3, async |world| {
                let [one, other] = files(&world).await;
                die(&world, point, &["--to", "storage", "--apply"]).await;
                is_readable(&world, one, b"content").await;
                is_readable(&world, other, b"another content").await;
                // Nothing that is there counts as lost, or as an orphan.
                is_sound(&world).await;
                let said = migrate(&world, &["--to", "storage", "--apply"], 0).await;
                let expected =
                    if point == "migrate::row_switched" { json!({}) } else { json!({ "already_there": 2 }) };
                assert_eq!(said.counts(), expected, "{point}: {:?}", said.files);
                for (file, content) in [(one, &b"content"[..]), (other, b"another content")] {
                    row_is(&world, file, S3_STORAGE, Some(content)).await;
                    world.storage.holds(&file.to_string(), Some(content), None).await;
                }
            })
            .await;
        }
    }
}

#[tokio::test]
async fn in_the_middle_of_a_large_file() {
    for s3 in [S3::Embedded, S3::Foreign, S3::Moto] {
        world(s3, async |world| {
            let file = large(&world, 1_200_000).await;
            die(&world, "migrate::part_written", &["--to", "storage", "--apply"]).await;
            let count = format!(
                r#"SELECT count(*) FROM "ContactFile" WHERE "Id" = '{file}' AND "SysFileStorageId" = '{DATABASE_STORAGE}'"#
            );
            assert_eq!(world.crm.number(count).await, 1);
            assert_eq!(world.object(Side::Object, file).await, None);
            let uploads = async || {
                let client = &world.storage.client;
                let key = file.to_string();
                let list = client.list_multipart_uploads().bucket(&world.storage.object).prefix(key).send().await;
                list.unwrap().uploads().len()
            };
            assert_eq!(uploads().await, 1, "begun and not finished");
            let said = migrate(&world, &["--to", "storage", "--apply"], 0).await;
            assert_eq!(said.counts(), json!({ "migrated": 1 }), "{:?}", said.files);
            same_as_row(&world, file).await;
            assert_eq!(uploads().await, 0);
            let notes = world.storage.keys(Side::Recycle).await;
            assert!(!notes.iter().any(|key| key.contains("uploads")), "{notes:?}");
        })
        .await;
    }
}

#[tokio::test]
async fn while_rows_are_cleared() {
    for point in ["migrate::content_proven", "migrate::content_cleared"] {
        world(S3::Foreign, async |world| {
            let [one, other] = files(&world).await;
            migrate(&world, &["--to", "storage", "--apply"], 0).await;
            die(&world, point, &["--reclaim", "--apply"]).await;
            is_readable(&world, one, b"content").await;
            is_readable(&world, other, b"another content").await;
            migrate(&world, &["--reclaim", "--apply"], 0).await;
            row_is(&world, one, S3_STORAGE, None).await;
            row_is(&world, other, S3_STORAGE, None).await;
            is_sound(&world).await;
        })
        .await;
    }
}

#[tokio::test]
async fn on_the_way_back() {
    for s3 in [S3::Embedded, S3::Foreign, S3::Moto] {
        for point in ["migrate::content_read", "migrate::content_in_row", "migrate::before_putting_away"] {
            world(s3, async |world| {
                let [one, other] = files(&world).await;
                let large = large(&world, 600_000).await;
                migrate(&world, &["--to", "storage", "--apply"], 0).await;
                migrate(&world, &["--reclaim", "--apply"], 0).await;
                let line = ["--to", "database", "--recycle-objects", "--apply"];
                die(&world, point, &line).await;
                is_readable(&world, one, b"content").await;
                is_readable(&world, other, b"another content").await;
                is_sound(&world).await;
                migrate(&world, &line, 0).await;
                row_is(&world, one, DATABASE_STORAGE, Some(b"content")).await;
                row_is(&world, other, DATABASE_STORAGE, Some(b"another content")).await;
                let whole = format!(
                    r#"SELECT count(*) FROM "ContactFile" WHERE "Id" = '{large}' AND octet_length("Data") = 9600000
                          AND "SysFileStorageId" = '{DATABASE_STORAGE}'"#
                );
                assert_eq!(world.crm.number(whole).await, 1, "{point}");
                // What was killed before it was put away is left behind, and `audit` names it.
                let audit = world.cli(&["audit", "--json"]).await.expect(0).json();
                let left = audit["counts"]["left_behind"].as_u64().unwrap();
                let recycled = world.storage.keys(Side::Recycle).await;
                let recycled = recycled.iter().filter(|key| !key.starts_with(".file-recycler/")).count() as u64;
                assert_eq!(left + recycled, 3, "{point}: {audit}");
            })
            .await;
        }
    }
}

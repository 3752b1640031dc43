//! Killed at every step: each file is readable where its row says, and the next run finishes.

use std::os::unix::process::ExitStatusExt as _;

use file_recycler::storage::Side;
use serde_json::json;
use uuid::Uuid;

use super::{S3, are_gone, in_row, is_readable, is_sound, large, migrate, row_is, same_as_row};
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
    are_gone(world).await;
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

/// Before its note: nobody finds the upload, which has no parts yet.
#[tokio::test]
async fn between_an_upload_and_its_note() {
    for s3 in [S3::Embedded, S3::Foreign, S3::Moto] {
        world(s3, async |world| {
            let file = large(&world, 600_000).await;
            die(&world, "migrate::upload_begun", &["--to", "storage", "--apply"]).await;
            assert!(!world.storage.keys(Side::Recycle).await.iter().any(|key| key.contains("uploads")));
            let said = migrate(&world, &["--to", "storage", "--apply"], 0).await;
            assert_eq!(said.counts(), json!({ "migrated": 1 }), "{:?}", said.files);
            same_as_row(&world, file).await;
            let (client, bucket) = (&world.storage.client, &world.storage.object);
            let left =
                client.list_multipart_uploads().bucket(bucket).prefix(file.to_string()).send().await.unwrap();
            let [upload] = left.uploads() else { panic!("{s3:?}: {left:?}") };
            // moto's answer is not as AWS documents it.
            if !matches!(s3, S3::Moto) {
                let parts = client.list_parts().bucket(bucket).key(file.to_string());
                let parts = parts.upload_id(upload.upload_id().unwrap()).send().await.unwrap();
                assert!(parts.parts().is_empty(), "it costs nothing: {parts:?}");
            }
            is_sound(&world).await;
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
                let said = migrate(&world, &line, 0).await;
                let counts = &said.summary["counts"];
                // What was switched and not put away is put away now.
                let done = ["migrated", "recycled"].map(|result| counts[result].as_u64().unwrap());
                assert!(done[0] + done[1] > 0, "{point}: {counts}");
                assert_eq!(done[1] > 0, point != "migrate::content_read", "{point}: {counts}");
                row_is(&world, one, DATABASE_STORAGE, Some(b"content")).await;
                row_is(&world, other, DATABASE_STORAGE, Some(b"another content")).await;
                let whole = format!(
                    r#"SELECT count(*) FROM "ContactFile" WHERE "Id" = '{large}' AND octet_length("Data") = 9600000
                          AND "SysFileStorageId" = '{DATABASE_STORAGE}'"#
                );
                assert_eq!(world.crm.number(whole).await, 1, "{point}");
                let audit = world.cli(&["audit", "--json"]).await.expect(0).json();
                assert_eq!(audit["counts"]["left_behind"], 0, "{point}: {audit}");
                assert_eq!(audit["buckets"]["object"]["files"], 0, "{point}: {audit}");
                assert_eq!(audit["buckets"]["recycle"]["files"], 3, "{point}: {audit}");
                world.storage.holds(&one.to_string(), None, Some(b"content")).await;
                world.storage.holds(&other.to_string(), None, Some(b"another content")).await;
            })
            .await;
        }
    }
}

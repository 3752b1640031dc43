//! Objects that a migration to the database has left behind: a later run takes them, and only those.

use file_recycler::storage::Side;
use serde_json::json;
use uuid::Uuid;

use super::{S3, SERVERS, in_row, is_sound, migrate, row_is};
use crate::support::crm::{DATABASE_STORAGE, FILE_TYPE, S3_STORAGE};
use crate::support::world::{World, world};

const BACK: [&str; 3] = ["--to", "database", "--apply"];
const AND_RECYCLE: [&str; 4] = ["--to", "database", "--recycle-objects", "--apply"];

/// Files that are back in the database, and whose objects are still there.
async fn back<const N: usize>(world: &World, contents: [&[u8]; N]) -> [Uuid; N] {
    let mut files = [Uuid::nil(); N];
    for (file, content) in files.iter_mut().zip(contents) {
        *file = in_row(world, content).await;
    }
    migrate(world, &["--to", "storage", "--apply"], 0).await;
    migrate(world, &["--reclaim", "--apply"], 0).await;
    migrate(world, &BACK, 0).await;
    files
}

#[tokio::test]
async fn what_an_earlier_run_left_is_recycled_where_its_content_is_the_rows() {
    for s3 in SERVERS.into_iter().chain([S3::Opaque]) {
        world(s3, async |world| {
            let [same, edited, foreign, shared] =
                back(&world, [&b"content"[..], b"older", b"content", b"content"]).await;
            let large = super::large(&world, 600_000).await;
            let content = super::hex(b"newer");
            world
                .crm
                .sql(format!(
                    r#"UPDATE "ContactFile" SET "Data" = '\x{content}', "Size" = 5 WHERE "Id" = '{edited}';
                       INSERT INTO "SysFile" ("Id", "TypeId", "Size", "SysFileStorageId")
                       VALUES ('{shared}', '{FILE_TYPE}', 7, '{S3_STORAGE}')"#
                ))
                .await;
            // Somebody else's, and one without a row.
            world.storage.put(Side::Object, &foreign.to_string(), b"another").await;
            let orphan = Uuid::new_v4();
            world.storage.put(Side::Object, &orphan.to_string(), b"orphan").await;
            migrate(
                &world,
                &["--to", "storage", "--schema", "ContactFile", "--larger-than", "1MiB", "--apply"],
                0,
            )
            .await;
            let kept = world.object(Side::Object, large).await.unwrap();
            migrate(&world, &["--to", "database", "--larger-than", "1MiB", "--apply"], 0).await;

            let of_table = ["--schema", "ContactFile"];
            let planned = ["--to", "database", "--recycle-objects"];
            let planned = migrate(&world, &[&planned[..], &of_table].concat(), 0).await;
            assert_eq!(planned.counts(), json!({ "would_recycle": 4 }), "{:?}", planned.files);
            world.storage.holds(&same.to_string(), Some(b"content"), None).await;

            let said = migrate(&world, &[&AND_RECYCLE[..], &of_table].concat(), 1).await;
            assert_eq!(said.counts(), json!({ "recycled": 2, "differs": 2 }), "{s3:?} {:?}", said.files);
            world.storage.holds(&same.to_string(), None, Some(b"content")).await;
            world.storage.holds(&edited.to_string(), Some(b"older"), None).await;
            world.storage.holds(&foreign.to_string(), Some(b"another"), None).await;
            world.storage.holds(&shared.to_string(), Some(b"content"), None).await;
            world.storage.holds(&orphan.to_string(), Some(b"orphan"), None).await;
            assert_eq!(world.object(Side::Recycle, large).await, Some(kept));
            assert_eq!(world.object(Side::Object, large).await, None);
            row_is(&world, same, DATABASE_STORAGE, Some(b"content")).await;
            row_is(&world, edited, DATABASE_STORAGE, Some(b"newer")).await;
            for (file, whose) in
                [(foreign, "and is not ours"), (edited, "though an earlier migration wrote it")]
            {
                let why = said.file(file)["why"].as_str().unwrap();
                assert!(why.starts_with("its object stays") && why.ends_with(whose), "{why}");
            }
        })
        .await;
    }
}

#[tokio::test]
async fn a_row_that_was_set_back_by_hand_keeps_the_only_content_that_there_is() {
    world(S3::Embedded, async |world| {
        let [gone, emptied, replaced] = [
            in_row(&world, b"content").await,
            in_row(&world, b"content").await,
            in_row(&world, b"content").await,
        ];
        migrate(&world, &["--to", "storage", "--apply"], 0).await;
        migrate(&world, &["--reclaim", "--apply"], 0).await;
        world
            .crm
            .sql(format!(
                r#"UPDATE "ContactFile" SET "SysFileStorageId" = '{DATABASE_STORAGE}';
                   UPDATE "ContactFile" SET "Data" = '' WHERE "Id" = '{emptied}';
                   UPDATE "ContactFile" SET "Data" = '-' WHERE "Id" = '{replaced}'"#
            ))
            .await;
        let said = migrate(&world, &AND_RECYCLE, 1).await;
        assert_eq!(said.counts(), json!({ "differs": 2 }), "{:?}", said.files);
        for file in [gone, emptied, replaced] {
            world.storage.holds(&file.to_string(), Some(b"content"), None).await;
        }
    })
    .await;
}

#[tokio::test]
async fn they_are_found_by_the_listing_and_within_the_bounds_that_were_given() {
    world(S3::Embedded, async |world| {
        let left = back(&world, [&b"1"[..], b"22", b"333"]).await;
        for _ in 0..40 {
            in_row(&world, b"never in S3").await;
        }
        let said = migrate(&world, &[&AND_RECYCLE[..], &["--larger-than", "10"]].concat(), 0).await;
        assert_eq!(said.counts(), json!({}), "{:?}", said.files);
        let looks = said.summary["requests"]["HeadObject"].as_u64().unwrap_or_default();
        assert!(looks < 30, "rows without an object are not looked for: {}", said.summary["requests"]);
        let said = migrate(&world, &[&AND_RECYCLE[..], &["--limit", "2"]].concat(), 0).await;
        assert_eq!(said.counts(), json!({ "recycled": 2 }), "{:?}", said.files);
        let said = migrate(&world, &[&AND_RECYCLE[..], &["--older-than", "1h"]].concat(), 0).await;
        assert_eq!(said.counts(), json!({}), "{:?}", said.files);
        let said = migrate(&world, &AND_RECYCLE, 0).await;
        assert_eq!(said.counts(), json!({ "recycled": 1 }), "{:?}", said.files);
        for file in left {
            assert_eq!(world.object(Side::Object, file).await, None);
            assert!(world.object(Side::Recycle, file).await.is_some());
        }
        is_sound(&world).await;
    })
    .await;
}

/// Nothing is in S3 any more that could show that the key template is right: the objects' contents do.
#[tokio::test]
async fn the_last_of_them_go_though_no_row_is_in_s3_any_more() {
    world(S3::Embedded, async |world| {
        let [file] = back(&world, [b"content"]).await;
        let line =
            [&["migrate", "--json", "--older-than", "2100-01-01T00:00:00Z"], &AND_RECYCLE[..]].concat();
        let said = super::Said::of(&world.cli(&line).await.expect(0).stdout);
        assert_eq!(said.counts(), json!({ "recycled": 1 }), "{:?}", said.files);
        world.storage.holds(&file.to_string(), None, Some(b"content")).await;
    })
    .await;
}

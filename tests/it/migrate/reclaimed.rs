//! `--reclaim`: a row loses its content only where the object is proven to have it.

use file_recycler::storage::Side;
use recycler_test_s3::Operation;
use serde_json::json;

use super::meanwhile::{Held, start};
use super::{S3, SERVERS, in_row, migrate, row_is};
use crate::support::crm::S3_STORAGE;
use crate::support::world::world;

#[tokio::test]
async fn only_what_the_object_is_proven_to_have_is_cleared() {
    for s3 in SERVERS.into_iter().chain([S3::Opaque]) {
        world(s3, async |world| {
            let mut files = Vec::new();
            for _ in 0..4 {
                files.push(in_row(&world, b"content").await);
            }
            let [good, missing, other, longer] = files[..] else { unreachable!() };
            let done = migrate(&world, &["--to", "storage", "--apply"], 0).await;
            assert_eq!(done.counts(), json!({ "migrated": 4 }), "{:?}", done.files);
            world.storage.delete(Side::Object, &missing.to_string()).await;
            world.storage.put(Side::Object, &other.to_string(), b"another").await;
            world.storage.put(Side::Object, &longer.to_string(), b"content and more").await;

            let done = migrate(&world, &["--reclaim", "--apply"], 1).await;
            assert_eq!(
                done.counts(),
                json!({ "reclaimed": 1, "missing": 1, "unproven": 2 }),
                "{:?}",
                done.files
            );
            row_is(&world, good, S3_STORAGE, None).await;
            for file in [missing, other, longer] {
                row_is(&world, file, S3_STORAGE, Some(b"content")).await;
                assert!(
                    done.file(file)["why"].as_str().is_some_and(|why| why.contains("keeps it")),
                    "{:?}",
                    done.file(file)
                );
            }
        })
        .await;
    }
}

/// The CRM writes a new version where the row says that the content is: what the row kept is of before.
#[tokio::test]
async fn a_file_that_was_edited_since_it_was_migrated_says_so() {
    world(S3::Embedded, async |world| {
        let [edited, changed] = [in_row(&world, b"content").await, in_row(&world, b"content").await];
        migrate(&world, &["--to", "storage", "--apply"], 0).await;
        world.storage.put(Side::Object, &edited.to_string(), b"a newer one").await;
        let (size, data) = (
            format!(r#"UPDATE "ContactFile" SET "Size" = 11, "Version" = 2 WHERE "Id" = '{edited}'"#),
            format!(r#"UPDATE "ContactFile" SET "Size" = 7, "Data" = 'changed' WHERE "Id" = '{changed}'"#),
        );
        world.crm.sql(size).await;
        world.crm.sql(data).await;
        let said = migrate(&world, &["--reclaim", "--apply"], 1).await;
        assert_eq!(said.counts(), json!({ "unproven": 2 }), "{:?}", said.files);
        let why = |file| said.file(file)["why"].as_str().unwrap();
        assert!(
            why(edited).contains("the file was edited since, and what the row keeps is of before"),
            "{}",
            why(edited)
        );
        // Which of these two is newer, nothing says.
        assert!(why(changed).contains("look at both"), "{}", why(changed));
        row_is(&world, edited, S3_STORAGE, Some(b"content")).await;
        row_is(&world, changed, S3_STORAGE, Some(b"changed")).await;
    })
    .await;
}

/// Or it would be used up by the same files in every run.
#[tokio::test]
async fn what_is_not_done_does_not_count_for_the_limit() {
    world(S3::Embedded, async |world| {
        let mut files = Vec::new();
        for _ in 0..7 {
            files.push(in_row(&world, b"content").await);
        }
        migrate(&world, &["--to", "storage", "--apply"], 0).await;
        files.sort_unstable();
        for file in &files[..4] {
            world.storage.put(Side::Object, &file.to_string(), b"edited since").await;
        }
        let line = ["--reclaim", "--limit", "2", "--apply"];
        let said = migrate(&world, &line, 1).await;
        assert_eq!(said.counts(), json!({ "unproven": 4, "reclaimed": 2 }), "{:?}", said.files);
        let said = migrate(&world, &line, 1).await;
        assert_eq!(said.counts(), json!({ "unproven": 4, "reclaimed": 1 }), "{:?}", said.files);
    })
    .await;
}

#[tokio::test]
async fn a_column_that_must_have_a_content_is_emptied() {
    world(S3::Embedded, async |world| {
        let file = in_row(&world, b"content").await;
        world.crm.sql(r#"ALTER TABLE "ContactFile" ALTER COLUMN "Data" SET NOT NULL"#).await;
        migrate(&world, &["--to", "storage", "--apply"], 0).await;
        assert_eq!(migrate(&world, &["--reclaim", "--apply"], 0).await.counts(), json!({ "reclaimed": 1 }));
        row_is(&world, file, S3_STORAGE, Some(b"")).await;
        assert_eq!(migrate(&world, &["--reclaim", "--apply"], 0).await.counts(), json!({}));
    })
    .await;
}

#[tokio::test]
async fn a_row_that_is_edited_after_the_proof_keeps_its_content() {
    world(S3::Embedded, async |world| {
        let [edited, other] = [in_row(&world, b"content").await, in_row(&world, b"other").await];
        migrate(&world, &["--to", "storage", "--apply"], 0).await;
        // The first look is for the key template.
        let held = Held::after(&world, Operation::HeadObject, edited, 1);
        let run = start(&world, &["--reclaim", "--apply"]);
        held.is_reached().await;
        let sql = format!(r#"UPDATE "ContactFile" SET "Data" = 'newer', "Size" = 5 WHERE "Id" = '{edited}'"#);
        world.crm.sql(sql).await;
        held.release();
        let said = run.ended(0).await;
        assert_eq!(said.counts(), json!({ "edited": 1, "reclaimed": 1 }), "{:?}", said.files);
        row_is(&world, edited, S3_STORAGE, Some(b"newer")).await;
        row_is(&world, other, S3_STORAGE, None).await;
    })
    .await;
}

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

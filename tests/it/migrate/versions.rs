//! Buckets that keep versions: there, back, and there again with another content.

use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use file_recycler::storage::Side;
use serde_json::json;

use super::{SERVERS, hex, in_row, is_sound, migrate, row_is};
use crate::support::crm::{DATABASE_STORAGE, S3_STORAGE};
use crate::support::world::{World, world};

async fn keeps_versions(world: &World, side: Side) {
    let status = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    let request = world.storage.client.put_bucket_versioning().bucket(world.storage.bucket(side));
    request.versioning_configuration(status).send().await.unwrap();
}

/// Versions and delete markers of the key.
async fn kept(world: &World, side: Side, key: &str) -> (usize, usize) {
    let request = world.storage.client.list_object_versions().bucket(world.storage.bucket(side)).prefix(key);
    let listed = request.send().await.unwrap();
    (listed.versions().len(), listed.delete_markers().len())
}

#[tokio::test]
async fn there_and_back_twice_keeps_every_content() {
    for s3 in SERVERS {
        world(s3, async |world| {
            keeps_versions(&world, Side::Object).await;
            keeps_versions(&world, Side::Recycle).await;
            let file = in_row(&world, b"content").await;
            let large = super::large(&world, 400_000).await;
            let key = file.to_string();
            let back = ["--to", "database", "--recycle-objects", "--apply"];
            for (round, content) in [(1, &b"content"[..]), (2, b"newer")] {
                let newer = format!(
                    r#"UPDATE "ContactFile" SET "Data" = '\x{}', "Size" = {} WHERE "Id" = '{file}'"#,
                    hex(content),
                    content.len()
                );
                world.crm.sql(newer).await;
                let said = migrate(&world, &["--to", "storage", "--apply"], 0).await;
                assert_eq!(said.counts(), json!({ "migrated": 2 }), "{s3:?} {round}: {:?}", said.files);
                migrate(&world, &["--reclaim", "--apply"], 0).await;
                row_is(&world, file, S3_STORAGE, None).await;
                world.storage.holds(&key, Some(content), (round == 2).then_some(b"content")).await;
                is_sound(&world).await;
                let said = migrate(&world, &back, 0).await;
                assert_eq!(said.counts(), json!({ "migrated": 2 }), "{s3:?} {round}: {:?}", said.files);
                row_is(&world, file, DATABASE_STORAGE, Some(content)).await;
                world.storage.holds(&key, None, Some(content)).await;
                assert_eq!(kept(&world, Side::Object, &key).await, (round, round), "{s3:?}");
                assert_eq!(kept(&world, Side::Recycle, &key).await, (round, 0), "{s3:?}");
                assert!(world.object(Side::Recycle, large).await.is_some());
            }
        })
        .await;
    }
}

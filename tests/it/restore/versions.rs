//! Buckets that keep versions: the one of the backup's time comes back, on top; of copies the one that fits the row.

use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use file_recycler::storage::Side;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{counts, put, restore, row, size};
use crate::support::process::eventually;
use crate::support::world::{S3, World, world};

async fn versioned(world: &World, side: Side) {
    set(world, side, BucketVersioningStatus::Enabled).await;
}

async fn set(world: &World, side: Side, status: BucketVersioningStatus) {
    let configuration = VersioningConfiguration::builder().status(status).build();
    let request = world.storage.client.put_bucket_versioning().bucket(world.storage.bucket(side));
    request.versioning_configuration(configuration).send().await.unwrap();
}

/// Versions and delete markers of the key.
async fn kept(world: &World, side: Side, key: &str) -> (usize, usize) {
    let request = world.storage.client.list_object_versions().bucket(world.storage.bucket(side)).prefix(key);
    let listed = request.send().await.unwrap();
    (listed.versions().len(), listed.delete_markers().len())
}

/// A moment after everything that was written, and before everything that will be: servers tell whole seconds.
async fn moment() -> String {
    let now = OffsetDateTime::now_utc();
    let moment = now.replace_nanosecond(0).unwrap() + time::Duration::seconds(1);
    eventually("the second is over", async || {
        (OffsetDateTime::now_utc() >= moment + time::Duration::seconds(1)).then_some(())
    })
    .await;
    moment.format(&Rfc3339).unwrap()
}

#[tokio::test]
async fn the_version_of_the_backups_time_comes_back_on_top_and_the_newer_one_is_kept() {
    for s3 in [S3::Embedded, S3::Foreign, S3::Moto] {
        world(s3, async |world| {
            versioned(&world, Side::Object).await;
            let [replaced, deleted, since] = [row(&world).await, row(&world).await, row(&world).await];
            let ids = [replaced.to_string(), deleted.to_string(), since.to_string()];
            put(&world, Side::Object, replaced).await;
            put(&world, Side::Object, deleted).await;
            let then = moment().await;
            world.storage.put(Side::Object, &ids[0], b"newer and of another size").await;
            world.storage.delete(Side::Object, &ids[1]).await;
            world.storage.put(Side::Object, &ids[2], &[b'x'; 36]).await;
            let files = ["--file", &ids[0], &ids[1], &ids[2]];

            let without = restore(&world, &[&files[..], &["--apply"]].concat(), 1).await;
            assert_eq!(
                counts(&without),
                json!({ "differs": 1, "expired": 1, "present": 1 }),
                "{s3:?}: {without}"
            );

            let path = super::temporary("versions.jsonl");
            let with = ["--backup-time", &then, "--apply", "--report", path.to_str().unwrap()];
            let done = restore(&world, &[&files[..], &with].concat(), 1).await;
            assert_eq!(counts(&done), json!({ "restored": 2, "differs": 1 }), "{s3:?}: {done}");
            let lines = super::report(&path);
            std::fs::remove_file(path).unwrap();
            for (line, told) in [(&ids[0], "version "), (&ids[1], "version "), (&ids[2], "after the backup")]
            {
                let line = lines.iter().find(|it| it["file_id"] == **line).unwrap();
                assert!(line["why"].as_str().unwrap().contains(told), "{s3:?}: {line}");
            }
            for key in &ids[..2] {
                assert_eq!(
                    world.storage.get(Side::Object, key).await,
                    Some(key.clone().into_bytes()),
                    "{s3:?}"
                );
            }
            assert_eq!(kept(&world, Side::Object, &ids[0]).await, (3, 0), "{s3:?}: nothing is lost");
            assert_eq!(world.storage.get(Side::Object, &ids[2]).await, Some(vec![b'x'; 36]), "{s3:?}");

            let again =
                restore(&world, &[&files[..], &["--backup-time", &then, "--apply"]].concat(), 1).await;
            assert_eq!(counts(&again), json!({ "present": 2, "differs": 1 }), "{s3:?}: {again}");
            assert_eq!(kept(&world, Side::Object, &ids[0]).await, (3, 0), "{s3:?}");
        })
        .await;
    }
}

#[tokio::test]
async fn where_versioning_is_suspended_the_version_of_then_is_copied_over_nothing_alone() {
    for s3 in [S3::Embedded, S3::Foreign] {
        world(s3, async |world| {
            versioned(&world, Side::Object).await;
            let [replaced, deleted] = [row(&world).await, row(&world).await];
            let ids = [replaced.to_string(), deleted.to_string()];
            put(&world, Side::Object, replaced).await;
            put(&world, Side::Object, deleted).await;
            let then = moment().await;
            set(&world, Side::Object, BucketVersioningStatus::Suspended).await;
            world.storage.put(Side::Object, &ids[0], b"newer and the only one").await;
            world.storage.delete(Side::Object, &ids[1]).await;

            let line = ["--file", &ids[0], &ids[1], "--backup-time", &then];
            let planned = restore(&world, &line, 1).await;
            assert_eq!(counts(&planned), json!({ "restored": 1, "differs": 1 }), "{s3:?}: {planned}");
            let path = super::temporary("suspended.jsonl");
            let apply = ["--apply", "--report", path.to_str().unwrap()];
            let done = restore(&world, &[&line[..], &apply].concat(), 1).await;
            // SeaweedFS takes it for a copy of an object onto itself and refuses it: the file fails, and stays a version.
            let result = if matches!(s3, S3::Embedded) { "restored" } else { "failed" };
            assert_eq!(counts(&done), json!({ (result): 1, "differs": 1 }), "{s3:?}: {done}");
            let lines = super::report(&path);
            std::fs::remove_file(path).unwrap();
            let told = lines.iter().find(|line| line["file_id"] == *ids[0]).unwrap();
            assert!(told["why"].as_str().unwrap().contains("suspended"), "{s3:?}: {told}");
            let newer = world.storage.get(Side::Object, &ids[0]).await;
            assert_eq!(newer.as_deref(), Some(&b"newer and the only one"[..]), "{s3:?}");
            assert_eq!(kept(&world, Side::Object, &ids[0]).await, (2, 0), "{s3:?}: nothing is lost");
            let back = world.storage.get(Side::Object, &ids[1]).await;
            let expected = Some(ids[1].clone().into_bytes()).filter(|_| result == "restored");
            assert_eq!(back, expected, "{s3:?}");
        })
        .await;
    }
}

#[tokio::test]
async fn a_version_of_several_parts_comes_back_in_its_parts_with_its_tags() {
    for s3 in [S3::Embedded, S3::Foreign] {
        world(s3, async |world| {
            versioned(&world, Side::Object).await;
            let file = row(&world).await;
            let key = file.to_string();
            let content = [vec![1; 5 << 20], vec![2; 3]];
            size(&world, file, content.concat().len()).await;
            crate::support::parts::put_in_parts(&world.storage, &key, &content).await;
            let head = async || {
                let request = world.storage.client.head_object().bucket(&world.storage.object).key(&key);
                request.send().await.unwrap()
            };
            let before = head().await;
            let then = moment().await;
            world.storage.put(Side::Object, &key, b"newer").await;
            let done = restore(&world, &["--file", &key, "--backup-time", &then, "--apply"], 0).await;
            assert_eq!(counts(&done), json!({ "restored": 1 }), "{s3:?}: {done}");
            let after = head().await;
            if matches!(s3, S3::Embedded) {
                assert_eq!(after.e_tag(), before.e_tag(), "{s3:?}");
            }
            assert_eq!(world.storage.get(Side::Object, &key).await, Some(content.concat()), "{s3:?}");
            let tags = world.storage.client.get_object_tagging().bucket(&world.storage.object).key(&key);
            assert_eq!(tags.send().await.unwrap().tag_set().len(), 2, "{s3:?}");
        })
        .await;
    }
}

#[tokio::test]
async fn of_several_copies_the_one_that_fits_the_row_comes_back_also_from_behind_a_marker() {
    for s3 in [S3::Embedded, S3::Foreign, S3::Moto] {
        world(s3, async |world| {
            versioned(&world, Side::Recycle).await;
            let [older, hidden, gone, none] =
                [row(&world).await, row(&world).await, row(&world).await, row(&world).await];
            let ids = [older.to_string(), hidden.to_string(), gone.to_string(), none.to_string()];
            for file in [older, hidden] {
                put(&world, Side::Recycle, file).await;
            }
            world.storage.put(Side::Recycle, &ids[0], b"another one").await;
            world.storage.delete(Side::Recycle, &ids[1]).await;
            // A marker alone: the version went by the lifecycle rule.
            put(&world, Side::Recycle, gone).await;
            let request = world.storage.client.head_object().bucket(&world.storage.recycle).key(&ids[2]);
            let version = request.send().await.unwrap().version_id.unwrap();
            world.storage.delete(Side::Recycle, &ids[2]).await;
            let remove = world.storage.client.delete_object().bucket(&world.storage.recycle).key(&ids[2]);
            remove.version_id(version).send().await.unwrap();

            let line = ["--file", &ids[0], &ids[1], &ids[2], &ids[3], "--apply"];
            let done = restore(&world, &line, 1).await;
            assert_eq!(
                counts(&done),
                json!({ "restored": 2, "expired": 1, "never_seen": 1 }),
                "{s3:?}: {done}"
            );
            for key in &ids[..2] {
                assert_eq!(
                    world.storage.get(Side::Object, key).await,
                    Some(key.clone().into_bytes()),
                    "{s3:?}"
                );
            }
            size(&world, older, 7).await;
            world.storage.delete(Side::Object, &ids[0]).await;
            let differs = restore(&world, &["--file", &ids[0]], 1).await;
            assert_eq!(counts(&differs), json!({ "differs": 1 }), "{s3:?}: {differs}");
        })
        .await;
    }
}

//! Files that the listings of both buckets say enough of: one request each, under the same conditions.

use aws_sdk_s3::types::StorageClass;
use file_recycler::storage::Side;
use recycler_test_s3::{Action, Operation, Rule, When};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{counts, is_back, put, restore, restore_with, row, size};
use crate::support::process::eventually;
use crate::support::world::{S3, World, world};

const ALL: [&str; 2] = ["--to-match-database", "--apply"];

fn heads(answer: &Value) -> u64 {
    answer["requests"]["HeadObject"].as_u64().unwrap_or(0)
}

/// How many HEADs a restore takes that has nothing to do.
async fn heads_of_nothing(environment: &[(String, String)]) -> u64 {
    let done = restore_with(environment, &ALL, 0).await;
    assert_eq!(counts(&done)["restored"], Value::Null, "{done}");
    heads(&done)
}

#[tokio::test]
async fn small_files_come_back_by_one_request_each_with_what_belongs_to_them() {
    for s3 in [S3::Embedded, S3::Foreign] {
        world(s3, async |world| {
            let mut files = Vec::new();
            for _ in 0..10 {
                let file = row(&world).await;
                let key = file.to_string();
                let copy = world.storage.client.put_object().bucket(&world.storage.recycle).key(&key);
                let copy = copy.content_type("text/x-test").metadata("colour", "blue").tagging("a=b");
                copy.body(key.into_bytes().into()).send().await.unwrap();
                files.push(file);
            }
            let done = restore(&world, &ALL, 0).await;
            assert_eq!(counts(&done), json!({ "restored": 10 }), "{s3:?}: {done}");
            for file in files {
                is_back(&world, file).await;
                let object = world.storage.client.head_object().bucket(&world.storage.object);
                let object = object.key(file.to_string()).send().await.unwrap();
                assert_eq!(object.content_type(), Some("text/x-test"), "{s3:?}");
                assert_eq!(object.metadata().unwrap().get("colour").map(String::as_str), Some("blue"));
                let tags = world.storage.client.get_object_tagging().bucket(&world.storage.object);
                assert_eq!(tags.key(file.to_string()).send().await.unwrap().tag_set().len(), 1);
            }
            let without = heads_of_nothing(&world.environment).await;
            assert_eq!(heads(&done), without, "{s3:?}: nothing was looked at");
        })
        .await;
    }
}

#[tokio::test]
async fn what_a_listing_does_not_say_enough_of_is_looked_at() {
    world(S3::Embedded, async |world| {
        let looked_at = async |environment: &[(String, String)], times: u64, what: &str| {
            let done = restore_with(environment, &ALL, 0).await;
            assert_eq!(counts(&done)["restored"], 1, "{what}: {done}");
            let without = heads_of_nothing(environment).await;
            assert_eq!(heads(&done), without + times, "{what}: {done}");
        };
        let in_class = async |class: StorageClass| {
            let key = row(&world).await.to_string();
            let copy = world.storage.client.put_object().bucket(&world.storage.recycle).key(&key);
            copy.storage_class(class).body(key.into_bytes().into()).send().await.unwrap();
        };

        in_class(StorageClass::StandardIa).await;
        looked_at(&world.environment, 2, "its class would be lost").await;
        in_class(StorageClass::StandardIa).await;
        let classed = world.with(&[("STORAGE__RECYCLE_CLASS", "STANDARD_IA")]);
        looked_at(&classed, 0, "the class is the recycle bucket's").await;
        in_class(StorageClass::IntelligentTiering).await;
        looked_at(&classed, 2, "it may be in an archive's tier").await;

        let large = row(&world).await;
        let content = vec![7; (5 << 20) + 1];
        world.storage.put(Side::Recycle, &large.to_string(), &content).await;
        size(&world, large, content.len()).await;
        looked_at(&world.environment, 2, "it is large").await;

        let parts = row(&world).await;
        size(&world, parts, 3).await;
        let create = world.storage.client.create_multipart_upload().bucket(&world.storage.recycle);
        let upload = create.key(parts.to_string()).send().await.unwrap().upload_id.unwrap();
        let part = world.storage.client.upload_part().bucket(&world.storage.recycle).key(parts.to_string());
        let part = part.upload_id(&upload).part_number(1).body(b"abc".to_vec().into()).send().await.unwrap();
        let part = aws_sdk_s3::types::CompletedPart::builder().part_number(1).set_e_tag(part.e_tag).build();
        let part = aws_sdk_s3::types::CompletedMultipartUpload::builder().parts(part).build();
        let complete = world.storage.client.complete_multipart_upload().bucket(&world.storage.recycle);
        let complete = complete.key(parts.to_string()).upload_id(upload).multipart_upload(part);
        complete.send().await.unwrap();
        looked_at(&world.environment, 2, "its ETag is of parts").await;
    })
    .await;
}

/// Runs the restore of all, held before it copies this file, and lets `meanwhile` happen.
async fn held_before_the_copy(world: &World, file: Uuid, meanwhile: impl AsyncFnOnce()) -> Value {
    let control = world.storage.control();
    let hold = Rule::new(Operation::CopyObject, Action::Hold { when: When::Before });
    control.fault(hold.bucket(&world.storage.object).key(file.to_string()).times(1));
    let running = tokio::spawn({
        let environment = world.environment.clone();
        async move { restore_with(&environment, &ALL, 1).await }
    });
    eventually("a copy is on its way", async || (control.holding() == 1).then_some(())).await;
    meanwhile().await;
    control.release();
    running.await.unwrap()
}

#[tokio::test]
async fn case_39_what_appears_or_changes_after_the_listing_is_neither_overwritten_nor_copied_unseen() {
    world(S3::Embedded, async |world| {
        let (appeared, changed) = (row(&world).await, row(&world).await);
        put(&world, Side::Recycle, appeared).await;
        let done = held_before_the_copy(&world, appeared, async || {
            world.storage.put(Side::Object, &appeared.to_string(), b"newer").await;
        })
        .await;
        assert_eq!(counts(&done)["differs"], 1, "{done}");
        let (key, copy) = (appeared.to_string(), appeared.to_string().into_bytes());
        world.storage.holds(&key, Some(b"newer"), Some(&copy)).await;

        put(&world, Side::Recycle, changed).await;
        let done = held_before_the_copy(&world, changed, async || {
            world.storage.put(Side::Recycle, &changed.to_string(), b"another copy").await;
        })
        .await;
        assert_eq!(counts(&done)["differs"], 2, "{done}");
        world.storage.holds(&changed.to_string(), None, Some(b"another copy")).await;
    })
    .await;
}

/// As of an object that is encrypted by a key of its own: what the listing did not tell is brought by a second copy.
#[tokio::test]
async fn a_copy_whose_etag_is_another_is_made_again_after_a_look() {
    world(S3::Embedded, async |world| {
        let file = row(&world).await;
        put(&world, Side::Recycle, file).await;
        let corrupt = Action::Corrupt { content: "something else of another size".into() };
        let once = Rule::new(Operation::CopyObject, corrupt).bucket(&world.storage.object);
        world.storage.control().fault(once.key(file.to_string()).times(1));
        let done = restore(&world, &ALL, 0).await;
        assert_eq!(counts(&done), json!({ "restored": 1 }), "{done}");
        is_back(&world, file).await;
    })
    .await;
}

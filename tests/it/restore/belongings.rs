//! Objects come back with everything that belongs to them, out of an archive too, and move again like any other.

use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::StorageClass;
use file_recycler::storage::Side;
use recycler_test_s3::{Action, Operation, Rule, When};
use serde_json::json;
use uuid::Uuid;

use super::{counts, is_back, put, restore, row};
use crate::support::crm::{FILE_TYPE, S3_STORAGE};
use crate::support::process::{Service, eventually};
use crate::support::world::{S3, World, world};

async fn head(world: &World, side: Side, key: &str) -> HeadObjectOutput {
    world.storage.client.head_object().bucket(world.storage.bucket(side)).key(key).send().await.unwrap()
}

async fn tags(world: &World, key: &str) -> Vec<(String, String)> {
    let request = world.storage.client.get_object_tagging().bucket(&world.storage.object).key(key);
    let mut tags: Vec<_> = request
        .send()
        .await
        .unwrap()
        .tag_set()
        .iter()
        .map(|tag| (tag.key().to_owned(), tag.value().to_owned()))
        .collect();
    tags.sort();
    tags
}

/// Its row once more, as a backup has it, and a record for it.
async fn row_again(world: &World, file: Uuid) -> Uuid {
    let record = world.crm.record("Contact").await;
    world
        .crm
        .sql(format!(
            r#"INSERT INTO "ContactFile" ("Id", "TypeId", "Size", "SysFileStorageId", "ContactId")
               VALUES ('{file}', '{FILE_TYPE}', 0, '{S3_STORAGE}', '{record}')"#
        ))
        .await;
    record
}

async fn moved(world: &World, key: &str) {
    eventually(&format!("'{key}' is recycled"), async || {
        let (object, copy) =
            (world.storage.get(Side::Object, key).await, world.storage.get(Side::Recycle, key).await);
        (object.is_none() && copy.is_some()).then_some(())
    })
    .await;
}

/// What belongs to two objects before they move: one in one piece, one in two parts.
struct Before {
    record: Uuid,
    files: [Uuid; 2],
    heads: [HeadObjectOutput; 2],
    content: Vec<u8>,
}

impl Before {
    async fn upload(world: &World) -> Self {
        let (record, files) = world.record_with_files("Contact", "ContactFile", 2).await;
        let files = [files[0], files[1]];
        let [whole, parts] = files.map(|file| file.to_string());
        let put = world.storage.client.put_object().bucket(&world.storage.object).key(&whole);
        let put = put.content_type("text/x-test").metadata("colour", "blue").tagging("a=b&c%20d=e");
        put.cache_control("no-store").body(b"content".to_vec().into()).send().await.unwrap();
        let content = [vec![1; 5 << 20], vec![2; 3]];
        crate::support::parts::put_in_parts(&world.storage, &parts, &content).await;
        let heads = [head(world, Side::Object, &whole).await, head(world, Side::Object, &parts).await];
        Self { record, files, heads, content: content.concat() }
    }

    fn keys(&self) -> [String; 2] {
        self.files.map(|file| file.to_string())
    }

    async fn is_back(&self, world: &World, same_etags: bool) {
        let both = vec![("a".to_owned(), "b".to_owned()), ("c d".to_owned(), "e".to_owned())];
        for (before, key) in self.heads.iter().zip(self.keys()) {
            let after = head(world, Side::Object, &key).await;
            assert_eq!(after.content_type(), Some("text/x-test"));
            assert_eq!(after.cache_control(), before.cache_control());
            assert_eq!(after.metadata().unwrap().get("colour").map(String::as_str), Some("blue"));
            assert!(!same_etags || after.e_tag() == before.e_tag(), "the same parts: {after:?}");
            assert_eq!(tags(world, &key).await, both);
        }
        assert_eq!(world.storage.get(Side::Object, &self.keys()[1]).await.as_ref(), Some(&self.content));
    }

    async fn moves(&self, world: &World, service: &Service) {
        for key in self.keys() {
            moved(world, &key).await;
        }
        world.quiet(service).await;
        let dead = world.cli(&["dlq", "list", "--json"]).await.expect(0).json();
        assert_eq!(dead["total"], 0, "{dead}");
    }
}

#[tokio::test]
async fn metadata_tags_and_parts_come_back_and_the_file_moves_again_when_it_is_deleted_again() {
    for s3 in [S3::Embedded, S3::Foreign, S3::Opaque] {
        world(s3, async |world| {
            let service = world.run().await;
            let before = Box::pin(Before::upload(&world)).await;
            world.crm.delete("Contact", before.record).await;
            before.moves(&world, &service).await;
            let [whole, parts] = before.keys();
            // Twice, so that what a restore leaves behind has been through a move.
            for round in 1..=2 {
                let mut records = Vec::new();
                for file in before.files {
                    records.push(row_again(&world, file).await);
                }
                let done = restore(&world, &["--file", &whole, &parts, "--apply"], 0).await;
                assert_eq!(counts(&done), json!({ "restored": 2 }), "{s3:?} {round}: {done}");
                // SeaweedFS makes ETags of pieces of its own.
                Box::pin(before.is_back(&world, matches!(s3, S3::Embedded))).await;
                let line = ["--file", &whole, &parts, "--backup-time", "1h", "--apply"];
                let again = restore(&world, &line, 0).await;
                assert_eq!(
                    counts(&again),
                    json!({ "present": 2 }),
                    "{s3:?} {round}: brought back since: {again}"
                );
                for record in records {
                    world.crm.delete("Contact", record).await;
                }
                before.moves(&world, &service).await;
            }
            drop(service);
        })
        .await;
    }
}

#[tokio::test]
async fn an_object_in_an_archive_is_asked_for_once_and_comes_back_when_it_can_be_read() {
    world(S3::Embedded, async |world| {
        let file = row(&world).await;
        let key = file.to_string();
        let put = world.storage.client.put_object().bucket(&world.storage.recycle).key(&key);
        let put = put.storage_class(StorageClass::Glacier).body(key.clone().into_bytes().into());
        put.send().await.unwrap();
        let asked = || world.storage.control().counts().of(Operation::RestoreObject);
        let line = ["--file", &key, "--archive-tier", "bulk", "--archive-days", "3"];
        let planned = restore(&world, &line, 1).await;
        assert_eq!((counts(&planned), asked()), (json!({ "requested": 1 }), 0), "{planned}");
        let line = [&line[..], &["--apply"]].concat();
        for _ in 0..2 {
            let waits = restore(&world, &line, 1).await;
            assert_eq!((counts(&waits), asked()), (json!({ "requested": 1 }), 1), "{waits}");
            assert_eq!(world.object(Side::Object, file).await, None);
        }
        world.storage.control().deliver_from_archive();
        let done = restore(&world, &line, 0).await;
        assert_eq!(counts(&done), json!({ "restored": 1 }), "{done}");
        is_back(&world, file).await;
        assert_eq!(head(&world, Side::Object, &key).await.storage_class(), None, "a living file can be read");
    })
    .await;
}

/// A server that others wrote: it hands the object over at once.
#[tokio::test]
async fn an_object_in_an_archive_comes_back_on_another_server_too() {
    world(S3::Moto, async |world| {
        let file = row(&world).await;
        let key = file.to_string();
        let put = world.storage.client.put_object().bucket(&world.storage.recycle).key(&key);
        let put = put.storage_class(StorageClass::Glacier).body(key.clone().into_bytes().into());
        put.send().await.unwrap();
        let line = ["--file", &key, "--apply"];
        let asked = restore(&world, &line, 1).await;
        assert_eq!(counts(&asked), json!({ "requested": 1 }), "{asked}");
        let done = restore(&world, &line, 0).await;
        assert_eq!(counts(&done), json!({ "restored": 1 }), "{done}");
        is_back(&world, file).await;
        assert_eq!(head(&world, Side::Object, &key).await.storage_class(), None);
    })
    .await;
}

#[tokio::test]
async fn a_copy_is_removed_only_by_that_option_and_only_where_the_object_is_the_same() {
    for s3 in [S3::Embedded, S3::Foreign, S3::Moto, S3::Opaque] {
        world(s3, async |world| {
            let [back, same, other] = [row(&world).await, row(&world).await, row(&world).await];
            for file in [back, same, other] {
                put(&world, Side::Recycle, file).await;
            }
            put(&world, Side::Object, same).await;
            // Of the row's size, and of other content.
            world.storage.put(Side::Object, &other.to_string(), &[b'x'; 36]).await;
            let ids = [back.to_string(), same.to_string(), other.to_string()];
            let line = ["--file", &ids[0], &ids[1], &ids[2], "--remove-copy"];
            let planned = restore(&world, &line, 0).await;
            assert_eq!(counts(&planned), json!({ "restored": 1, "present": 2 }), "{s3:?}: {planned}");
            for file in [back, same, other] {
                assert!(world.object(Side::Recycle, file).await.is_some(), "a dry run");
            }
            let done = restore(&world, &[&line[..], &["--apply"]].concat(), 0).await;
            assert_eq!(done["copies_removed"], 2, "{s3:?}: {done}");
            for file in [back, same] {
                world.is_untouched(file).await;
            }
            let (object, copy) = (vec![b'x'; 36], other.to_string().into_bytes());
            world.storage.holds(&ids[2], Some(&object), Some(&copy)).await;
        })
        .await;
    }
}

#[tokio::test]
async fn the_copy_of_a_file_that_no_row_names_any_more_stays() {
    world(S3::Embedded, async |world| {
        let (file, alone) = (row(&world).await, Uuid::new_v4());
        for file in [file, alone] {
            put(&world, Side::Recycle, file).await;
        }
        put(&world, Side::Object, file).await;
        let [key, other] = [file.to_string(), alone.to_string()];
        // The second look at the copy is the one before its removal.
        let control = world.storage.control();
        let hold = Rule::new(Operation::HeadObject, Action::Hold { when: When::Before });
        control.fault(hold.bucket(&world.storage.recycle).key(&key).skip(1).times(1));
        let path = super::temporary("alive.jsonl");
        let running = tokio::spawn({
            let (environment, key, path) = (world.environment.clone(), key.clone(), path.clone());
            async move {
                let line = ["--file", &key, "--remove-copy", "--apply", "--report", path.to_str().unwrap()];
                super::restore_with(&environment, &line, 0).await
            }
        });
        eventually("the copy is looked at again", async || (control.holding() == 1).then_some(())).await;
        world.crm.sql(format!(r#"DELETE FROM "ContactFile" WHERE "Id" = '{file}'"#)).await;
        control.release();
        let done = running.await.unwrap();
        assert_eq!((counts(&done), &done["copies_removed"]), (json!({ "present": 1 }), &json!(0)), "{done}");
        let told = super::report(&path);
        std::fs::remove_file(path).unwrap();
        assert!(told[0]["why"].as_str().unwrap().contains("its copy stays: no row"), "{told:?}");
        is_back(&world, file).await;

        let line = ["--file", &other, "--force", "--remove-copy"];
        let planned = restore(&world, &line, 0).await;
        let done = restore(&world, &[&line[..], &["--apply"]].concat(), 0).await;
        for told in [planned, done] {
            let told = (counts(&told), &told["copies_removed"]);
            assert_eq!(told, (json!({ "restored": 1 }), &json!(0)));
        }
        is_back(&world, alone).await;
    })
    .await;
}

#[tokio::test]
async fn a_key_that_the_server_reads_as_another_is_refused() {
    let environment = [("STORAGE__KEY_TEMPLATE", "files//{file_id}")];
    for (s3, result) in [(S3::Embedded, "restored"), (S3::Foreign, "failed")] {
        world(s3, async |world| {
            let file = row(&world).await;
            // Where the server reads one as the other, this is the neighbour's.
            world.storage.put(Side::Recycle, &format!("files/{file}"), b"neighbour").await;
            if matches!(s3, S3::Embedded) {
                world
                    .storage
                    .put(Side::Recycle, &format!("files//{file}"), file.to_string().as_bytes())
                    .await;
            }
            let code = i32::from(result == "failed");
            let line = ["--file", &file.to_string(), "--apply", "--remove-copy"];
            let done = super::restore_with(&world.with(&environment), &line, code).await;
            assert_eq!(done["counts"][result], 1, "{s3:?}: {done}");
            assert_eq!(
                world.storage.get(Side::Recycle, &format!("files/{file}")).await.as_deref(),
                Some(&b"neighbour"[..])
            );
        })
        .await;
    }
}

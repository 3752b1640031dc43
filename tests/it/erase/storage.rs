//! What the storage is asked: every version by its id, each key's own answer, and a look that finds nothing.

use file_recycler::file::ObjectKey;
use file_recycler::storage::Side;
use recycler_test_s3::{Action, Operation, Options, Rule, When};
use serde_json::json;
use uuid::Uuid;

use super::{erase, fill, keep_versions, receipt, versions};
use crate::support::storage::TestStorage;
use crate::support::world::{S3, world};

fn key(text: &str) -> ObjectKey {
    ObjectKey::try_from(text).unwrap()
}

#[tokio::test]
async fn versions_of_before_there_were_any_go_too_and_a_plain_object_without() {
    for world in TestStorage::all().await {
        let (storage, name) = (&world.storage, world.name);
        world.put(Side::Object, "plain", b"content").await;
        world.put(Side::Object, "plain-x", b"content").await;
        let plain = storage.stored(Side::Object, &key("plain")).await.unwrap();
        // moto says of a bucket that keeps no versions what the client cannot read; its list names the null version.
        let version = Some("null").filter(|_| name == "moto");
        assert_eq!(
            (plain.len(), plain[0].version.as_deref(), plain[0].size),
            (1, version, Some(7)),
            "{name}"
        );
        assert_eq!(storage.remove(Side::Object, &key("plain"), &plain).await, [Ok(())], "{name}");
        assert_eq!(storage.stored(Side::Object, &key("plain")).await, Ok(vec![]), "{name}");
        assert!(world.get(Side::Object, "plain-x").await.is_some(), "{name}");

        world.put(Side::Recycle, "old", b"of before").await;
        keep_versions(&world, Side::Recycle).await;
        world.put(Side::Recycle, "old", b"of later").await;
        world.delete(Side::Recycle, "old").await;
        let all = storage.stored(Side::Recycle, &key("old")).await.unwrap();
        let latest: Vec<_> = all.iter().filter(|one| one.latest).map(|one| one.size).collect();
        assert_eq!((all.len(), latest), (3, vec![None]), "{name}: {all:?}");
        assert_eq!(
            storage.remove(Side::Recycle, &key("old"), &all).await,
            [Ok(()), Ok(()), Ok(())],
            "{name}"
        );
        assert_eq!(storage.stored(Side::Recycle, &key("old")).await, Ok(vec![]), "{name}");
        assert_eq!(versions(&world, Side::Recycle, "old").await, (0, 0), "{name}");
        assert_eq!(
            storage.remove(Side::Recycle, &key("old"), &all).await,
            [Ok(()), Ok(()), Ok(())],
            "{name}: what is gone already is gone"
        );
    }
}

#[tokio::test]
async fn more_versions_than_one_request_takes_all_go() {
    let world = TestStorage::embedded(Options::default()).await;
    keep_versions(&world, Side::Recycle).await;
    for number in 0..1_001_u32 {
        world.put(Side::Recycle, "many", &number.to_le_bytes()).await;
    }
    let all = world.storage.stored(Side::Recycle, &key("many")).await.unwrap();
    assert_eq!(all.len(), 1_001);
    let removed = world.storage.remove(Side::Recycle, &key("many"), &all).await;
    assert!(removed.len() == 1_001 && removed.iter().all(Result::is_ok));
    assert_eq!(world.storage.stored(Side::Recycle, &key("many")).await, Ok(vec![]));
}

#[tokio::test]
async fn a_version_that_cannot_be_removed_makes_it_fail_and_the_next_one_finishes() {
    world(S3::Embedded, async |world| {
        for side in [Side::Object, Side::Recycle] {
            keep_versions(&world.storage, side).await;
        }
        let file = Uuid::new_v4();
        fill(&world.storage, file).await;
        for bucket in [&world.storage.object, &world.storage.recycle] {
            let error = Action::KeyError { code: "InternalError".to_owned(), when: When::Before };
            let rule = Rule::new(Operation::DeleteObjects, error).bucket(bucket).key(file.to_string());
            world.storage.control().fault(rule);
            let failed = receipt(&erase(&world, file, &["--apply"]).await.expect(1));
            assert_eq!(failed["result"], "failed", "{failed}");
            assert!(failed["message"].as_str().unwrap().contains("DeleteObjects of"), "{failed}");
            assert_eq!(failed["versions"]["recycle"][0]["removed"], false, "{failed}");
            world.storage.control().clear_faults();
        }
        let done = receipt(&erase(&world, file, &["--apply"]).await.expect(0));
        let counted = ["object", "recycle"].map(|side| done["versions"][side].as_array().unwrap().len());
        assert_eq!((&done["result"], counted), (&json!("erased"), [3, 2]), "{done}");
        let states: Vec<_> = done["earlier"].as_array().unwrap().iter().map(|it| &it["outcome"]).collect();
        assert_eq!(states, ["failed", "failed"]);
    })
    .await;
}

/// Its parts hold the content, although there is no object yet.
#[tokio::test]
async fn a_copy_in_parts_that_was_begun_is_aborted() {
    for s3 in [S3::Embedded, S3::Foreign] {
        world(s3, async |world| {
            let (file, client) = (Uuid::new_v4(), &world.storage.client);
            let (key, bucket) = (file.to_string(), &world.storage.recycle);
            let begun = client.create_multipart_upload().bucket(bucket).key(&key).send().await.unwrap();
            let upload = begun.upload_id.unwrap();
            let part = client.upload_part().bucket(bucket).key(&key).upload_id(&upload).part_number(1);
            part.body(b"content".to_vec().into()).send().await.unwrap();
            let note = json!({ "key": key, "upload": upload, "source_etag": "e", "size": 7, "class": null });
            let folder = Uuid::new_v5(&Uuid::NAMESPACE_OID, key.as_bytes());
            let note_key = format!(".file-recycler/copies/{folder}/note.json");
            world.storage.put(Side::Recycle, &note_key, note.to_string().as_bytes()).await;

            let planned = receipt(&erase(&world, file, &[]).await.expect(0));
            assert_eq!(
                (&planned["result"], &planned["unfinished_copies"]),
                (&json!("would_erase"), &json!(1))
            );
            let done = receipt(&erase(&world, file, &["--apply"]).await.expect(0));
            assert_eq!(
                (&done["result"], &done["unfinished_copies"]),
                (&json!("erased"), &json!(1)),
                "{done}"
            );
            let left = client.list_multipart_uploads().bucket(bucket).send().await.unwrap();
            assert_eq!(left.uploads().len(), 0, "{left:?}");
            assert_eq!(world.storage.get(Side::Recycle, &note_key).await, None);
        })
        .await;
    }
}

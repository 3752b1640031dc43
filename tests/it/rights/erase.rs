//! `iam-erase.json`: with exactly these rights a file is erased, and each that is missing is named.

use file_recycler::file::ObjectKey;
use file_recycler::storage::{Kind, Side, Storage, StorageError};
use recycler_test_s3::Options;
use serde_json::{Value, json};
use uuid::Uuid;

use super::storage::{Grant, KEYS, as_user, grants, set, without};
use crate::erase::keep_versions;
use crate::support::process;
use crate::support::storage::TestStorage;
use crate::support::weed::Weed;
use crate::support::world::{S3, world};

const FILE: &str = include_str!("../../../deploy/rights/iam-erase.json");

fn document((object, recycle): (&str, &str)) -> Value {
    let text = FILE.replace("OBJECT-BUCKET", object).replace("RECYCLE-BUCKET", recycle);
    serde_json::from_str(&text).unwrap()
}

/// A file in both buckets, and a copy in parts that was begun.
async fn arrange(storage: &TestStorage) -> ObjectKey {
    let key = Uuid::new_v4().to_string();
    for side in [Side::Object, Side::Recycle] {
        storage.put(side, &key, b"content").await;
    }
    let begun = storage.client.create_multipart_upload().bucket(&storage.recycle).key(&key);
    let upload = begun.send().await.unwrap().upload_id.unwrap();
    let note = json!({ "key": key, "upload": upload, "source_etag": "e", "size": 7, "class": null });
    let folder = Uuid::new_v5(&Uuid::NAMESPACE_OID, key.as_bytes());
    let note_key = format!(".file-recycler/copies/{folder}/note.json");
    storage.put(Side::Recycle, &note_key, note.to_string().as_bytes()).await;
    ObjectKey::try_from(key).unwrap()
}

/// Everything that an erasure asks of the storage.
async fn everything(storage: &Storage, key: &ObjectKey) -> Result<(), StorageError> {
    storage.marker().await?;
    for side in [Side::Object, Side::Recycle] {
        let stored = storage.stored(side, key).await?;
        assert!(!stored.is_empty(), "there is something in the {side} bucket");
        for removed in storage.remove(side, key, &stored).await {
            removed?;
        }
        assert_eq!(storage.stored(side, key).await?, []);
    }
    for copy in storage.unfinished_copies(key).await? {
        storage.abort_copy(key, &copy).await?;
    }
    storage.check().await
}

fn is_named(error: &StorageError, grant: &Grant) -> bool {
    let bucket = if grant.sid.contains("Recycle") || grant.sid.contains("Copies") {
        Side::Recycle
    } else {
        Side::Object
    };
    let told = error.to_string();
    let lists = grant.action == "s3:ListBucket" && told.contains(&grant.action);
    error.kind == Kind::AccessDenied
        && (told.contains(&format!("{} on the {bucket} bucket", grant.action)) || lists)
}

#[tokio::test]
async fn every_action_of_the_policy_is_necessary_with_or_without_versions_and_named() {
    let mut worlds = Vec::new();
    for versioned in [false, true] {
        let world = TestStorage::embedded(Options::default()).await;
        if versioned {
            keep_versions(&world, Side::Object).await;
            keep_versions(&world, Side::Recycle).await;
        }
        worlds.push(world);
    }
    let of = |world: &TestStorage| document((&world.object, &world.recycle));
    let mut wrong = Vec::new();
    for grant in &grants(&of(&worlds[0])) {
        let mut told = Vec::new();
        for world in &worlds {
            set(world, &without(&of(world), &[grant]));
            let key = arrange(world).await;
            told.push(everything(&as_user(world, KEYS.0).await, &key).await);
            set(world, &of(world));
            let key = arrange(world).await;
            everything(&as_user(world, KEYS.0).await, &key).await.expect("with the whole policy it works");
        }
        let errors: Vec<&StorageError> = told.iter().filter_map(|it| it.as_ref().err()).collect();
        if errors.is_empty() != grant.is_optional() || !errors.iter().all(|error| is_named(error, grant)) {
            wrong.push(format!("{grant:?}: {errors:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn with_exactly_the_policy_a_file_is_erased_and_a_missing_right_is_in_the_receipt() {
    world(S3::Embedded, async |world| {
        let storage = &world.storage;
        keep_versions(storage, Side::Recycle).await;
        let document = document((&storage.object, &storage.recycle));
        let environment = world.with(&[("STORAGE__ACCESS_KEY", KEYS.0), ("STORAGE__SECRET_KEY", KEYS.1)]);
        let key = arrange(storage).await;
        let line = ["erase", "--file", key.as_str(), "--why", "test", "--apply", "--json"];
        let grants = grants(&document);
        let grant = grants
            .iter()
            .find(|it| it.action == "s3:DeleteObjectVersion" && it.sid.contains("Copies"))
            .unwrap();
        set(storage, &without(&document, &[grant]));
        let failed = process::run(&environment, &line).await.expect(1).json();
        assert_eq!(failed["files"][0]["result"], "failed", "{failed}");
        let message = failed["files"][0]["message"].as_str().unwrap();
        assert!(message.contains("s3:DeleteObjectVersion on the recycle bucket"), "{message}");
        set(storage, &document);
        let done = process::run(&environment, &line).await.expect(0).json();
        assert_eq!(done["files"][0]["result"], "erased", "{done}");
    })
    .await;
}

/// What SeaweedFS does not ask for, by statement and action: its own reading of policies, not ours.
const NOT_ASKED_BY_SEAWEEDFS: &[&str] = &[];

#[tokio::test]
async fn a_server_that_others_wrote_reads_the_policy_alike() {
    let buckets = [TestStorage::bucket_names(), TestStorage::bucket_names()];
    let documents = buckets.clone().map(|(object, recycle)| document((&object, &recycle)));
    let grants = grants(&documents[0]);
    let mut users = Vec::new();
    for (n, document) in documents.iter().enumerate() {
        users.push((format!("whole-{n}"), document.clone()));
        let lacking = |(m, grant)| (format!("user-{n}-{m}"), without(document, &[grant]));
        users.extend(grants.iter().enumerate().map(lacking));
    }
    let weed = Weed::start(&users).await;
    let mut told = vec![Vec::new(); grants.len()];
    for (n, buckets) in buckets.into_iter().enumerate() {
        let world = TestStorage::named(&weed.server, buckets).await;
        if n == 1 {
            keep_versions(&world, Side::Object).await;
            keep_versions(&world, Side::Recycle).await;
        }
        let key = arrange(&world).await;
        let whole = as_user(&world, &format!("whole-{n}")).await;
        everything(&whole, &key).await.expect("with the whole policy it works");
        for (m, told) in told.iter_mut().enumerate() {
            let key = arrange(&world).await;
            told.push(everything(&as_user(&world, &format!("user-{n}-{m}")).await, &key).await);
        }
    }
    let mut wrong = Vec::new();
    for (grant, told) in grants.iter().zip(told) {
        let name = format!("{} {}", grant.sid, grant.action);
        let errors: Vec<&StorageError> = told.iter().filter_map(|it| it.as_ref().err()).collect();
        let is_asked = !grant.is_optional() && !NOT_ASKED_BY_SEAWEEDFS.contains(&name.as_str());
        if errors.is_empty() == is_asked || !errors.iter().all(|error| is_named(error, grant)) {
            wrong.push(format!("{name}: {errors:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

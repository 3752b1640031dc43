//! Versions and delete markers.

use crate::client::World;

async fn versioned(status: &str) -> World {
    let world = World::new().await;
    set(&world, status).await;
    world
}

async fn set(world: &World, status: &str) {
    let body = format!("<VersioningConfiguration><Status>{status}</Status></VersioningConfiguration>");
    let put = world.ask("PUT", "/source").query("versioning", "").body(body).send().await;
    assert_eq!(put.status, 200);
}

#[tokio::test]
async fn versioning_is_off_until_it_is_put_on() {
    let world = World::new().await;
    let get = || world.ask("GET", "/source").query("versioning", "").send();
    assert_eq!(get().await.element("Status"), None);
    assert_eq!(world.put("/source/a", "x").await.header("x-amz-version-id"), None);
    set(&world, "Enabled").await;
    assert_eq!(get().await.element("Status"), Some("Enabled"));
    assert_eq!(world.head("/source/a").await.header("x-amz-version-id"), Some("null"));
}

#[tokio::test]
async fn a_delete_leaves_a_marker_and_older_versions_stay() {
    let world = versioned("Enabled").await;
    let first = world.put("/source/a", "1").await;
    let first = first.header("x-amz-version-id").expect("an id");
    world.put("/source/a", "2").await;
    let deleted = world.delete("/source/a").await;
    assert_eq!(deleted.header("x-amz-delete-marker"), Some("true"));
    let marker = deleted.header("x-amz-version-id").expect("an id");

    let gone = world.get("/source/a").await;
    assert_eq!(gone.refusal(), (404, "NoSuchKey"));
    assert_eq!(gone.header("x-amz-delete-marker"), Some("true"));
    assert!(world.control.keys("source").is_empty());
    let by_id = |id: &str| world.ask("GET", "/source/a").query("versionId", id).send();
    assert_eq!(by_id(first).await.text(), "1");
    assert_eq!(by_id(marker).await.refusal(), (405, "MethodNotAllowed"));
    assert_eq!(by_id("none").await.refusal(), (404, "NoSuchVersion"));

    let restored = world.copy("source/a", "/source/a");
    let from = format!("source/a?versionId={first}");
    assert_eq!(restored.header("x-amz-copy-source", &from).send().await.status, 200);
    assert_eq!(world.get("/source/a").await.text(), "1");
    let from = format!("source/a?versionId={marker}");
    let refused = world.copy("source/a", "/target/a").header("x-amz-copy-source", &from).send().await;
    assert_eq!(refused.refusal(), (400, "InvalidRequest"));
}

#[tokio::test]
async fn removing_the_marker_brings_the_object_back() {
    let world = versioned("Enabled").await;
    world.put("/source/a", "1").await;
    let batch = world.delete_many("source", &[("a", None)]).send().await;
    let marker = batch.element("DeleteMarkerVersionId").expect("an id").to_owned();
    let undone = world.ask("DELETE", "/source/a").query("versionId", &marker).send().await;
    assert_eq!(undone.header("x-amz-delete-marker"), Some("true"));
    assert_eq!(world.get("/source/a").await.text(), "1");
}

#[tokio::test]
async fn a_suspended_bucket_keeps_one_null_version() {
    let world = versioned("Enabled").await;
    world.put("/source/a", "1").await;
    set(&world, "Suspended").await;
    for body in ["2", "3"] {
        let put = world.put("/source/a", body).await;
        assert_eq!(put.header("x-amz-version-id"), Some("null"));
    }
    let versions = world.ask("GET", "/source").query("versions", "").send().await;
    assert_eq!(versions.elements("Version").len(), 2);
    world.delete("/source/a").await;
    let versions = world.ask("GET", "/source").query("versions", "").send().await;
    assert_eq!(versions.elements("Version").len(), 1);
    assert_eq!(versions.elements("DeleteMarker").len(), 1);
}

#[tokio::test]
async fn a_marker_counts_as_no_object_for_conditions() {
    let world = versioned("Enabled").await;
    let put = world.put("/source/a", "1").await;
    world.delete("/source/a").await;
    let delete = world.ask("DELETE", "/source/a").header("if-match", put.etag()).send().await;
    assert_eq!(delete.refusal(), (404, "NoSuchKey"));
    let again = world.ask("PUT", "/source/a").header("if-none-match", "*").send().await;
    assert_eq!(again.status, 200);
}

#[tokio::test]
async fn versions_are_listed_newest_first_across_pages() {
    let world = versioned("Enabled").await;
    for (key, body) in [("a", "1"), ("a", "22"), ("b", "1"), ("c/1", "1"), ("c/2", "1")] {
        world.put(&format!("/source/{key}"), body).await;
    }
    world.delete("/source/b").await;
    let whole = world.ask("GET", "/source").query("versions", "").send().await;
    assert_eq!(whole.elements("Size"), ["2", "1", "1", "1", "1"]);
    assert_eq!(whole.elements("IsLatest").iter().filter(|it| **it == "true").count(), 4);

    let (mut seen, mut key, mut id) = (Vec::new(), String::new(), String::new());
    loop {
        let mut ask = world.ask("GET", "/source").query("versions", "").query("max-keys", "1");
        if !key.is_empty() {
            ask = ask.query("key-marker", &key);
        }
        if !id.is_empty() {
            ask = ask.query("version-id-marker", &id);
        }
        let page = ask.query("delimiter", "/").send().await;
        seen.extend(page.elements("VersionId").into_iter().map(str::to_owned));
        seen.extend(page.elements("CommonPrefixes").into_iter().map(str::to_owned));
        if page.element("IsTruncated") == Some("false") {
            break;
        }
        page.element("NextKeyMarker").expect("a marker").clone_into(&mut key);
        page.element("NextVersionIdMarker").unwrap_or("").clone_into(&mut id);
    }
    assert_eq!(seen.len(), 5, "two of a, one of b and its marker, one prefix: {seen:?}");
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 5);
}

#[tokio::test]
async fn an_object_lock_is_for_buckets_that_keep_versions_and_is_kept_as_it_was_given() {
    let world = World::new().await;
    let ask = |method: &str| world.ask(method, "/source").query("object-lock", "");
    assert_eq!(ask("GET").send().await.refusal(), (404, "ObjectLockConfigurationNotFoundError"));
    let lock = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>\
                <Mode>GOVERNANCE</Mode><Days>7</Days></DefaultRetention></Rule></ObjectLockConfiguration>";
    assert_eq!(ask("PUT").body(lock).send().await.refusal(), (409, "InvalidBucketState"));
    set(&world, "Enabled").await;
    assert_eq!(ask("PUT").body(lock).send().await.status, 200);
    let kept = ask("GET").send().await;
    assert_eq!((kept.element("Mode"), kept.element("Days")), (Some("GOVERNANCE"), Some("7")));
}

#[tokio::test]
async fn a_bucket_encrypts_by_keys_of_the_storage_until_it_is_told_otherwise() {
    let world = World::new().await;
    let ask = |method: &str| world.ask(method, "/source").query("encryption", "");
    assert_eq!(ask("GET").send().await.element("SSEAlgorithm"), Some("AES256"));
    let kms = "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault>\
               <SSEAlgorithm>aws:kms</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule>\
               </ServerSideEncryptionConfiguration>";
    assert_eq!(ask("PUT").body(kms).send().await.status, 200);
    assert_eq!(ask("GET").send().await.element("SSEAlgorithm"), Some("aws:kms"));
}

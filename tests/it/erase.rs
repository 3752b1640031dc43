//! `erase`: a file goes for good, with all its versions, and what is remembered of its name; a living or protected one
//! does not.

mod keyed;
mod refused;
mod storage;

use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use file_recycler::storage::Side;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::process::Output;
use crate::support::storage::TestStorage;
use crate::support::world::{S3, World, world};

const WHY: &str = "request 17 of the data protection officer";

/// From here on the bucket keeps versions.
pub async fn keep_versions(storage: &TestStorage, side: Side) {
    let versioned = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    let request = storage.client.put_bucket_versioning().bucket(storage.bucket(side));
    request.versioning_configuration(versioned).send().await.unwrap();
}

/// Versions and delete markers of one key in a bucket.
async fn versions(storage: &TestStorage, side: Side, key: &str) -> (usize, usize) {
    let request = storage.client.list_object_versions().bucket(storage.bucket(side)).prefix(key);
    let page = request.send().await.unwrap();
    let versions = page.versions().iter().filter(|one| one.key() == Some(key)).count();
    let markers = page.delete_markers().iter().filter(|one| one.key() == Some(key)).count();
    (versions, markers)
}

async fn erase(world: &World, file: Uuid, more: &[&str]) -> Output {
    let file = file.to_string();
    let line = [&["erase", "--file", &file, "--why", WHY, "--json"], more].concat();
    world.cli(&line).await
}

/// The one receipt of a run.
fn receipt(output: &Output) -> Value {
    let document = output.json();
    let files = document["files"].as_array().unwrap();
    assert_eq!(files.len(), 1, "{document}");
    files[0].clone()
}

/// Two versions and a delete marker where living files are, two versions in the recycle bucket, and neighbours whose keys
/// begin alike.
async fn fill(storage: &TestStorage, file: Uuid) -> [String; 2] {
    let key = file.to_string();
    let neighbours = [format!("{key}-x"), format!("{key}/y")];
    for side in [Side::Object, Side::Recycle] {
        for content in [&b"first"[..], b"second"] {
            storage.put(side, &key, content).await;
        }
        for neighbour in &neighbours {
            storage.put(side, neighbour, neighbour.as_bytes()).await;
        }
    }
    storage.delete(Side::Object, &key).await;
    neighbours
}

async fn image(world: &World, file: Uuid) {
    world
        .crm
        .sql(format!(
            r#"INSERT INTO file_recycler.image (table_name, row_id, record_schema, record_id, event_id, row)
               VALUES ('SysFile', '{file}', 'Contact', '{}', 'event', '{{"Name": "a secret name.pdf"}}')"#,
            Uuid::new_v4()
        ))
        .await;
}

async fn images(world: &World, file: Uuid) -> i64 {
    world.crm.number(format!("SELECT count(*) FROM file_recycler.image WHERE row_id = '{file}'")).await
}

#[tokio::test]
async fn case_51_all_versions_go_from_both_buckets_with_the_image_and_no_other_key_is_touched() {
    for s3 in [S3::Embedded, S3::Foreign] {
        world(s3, async |world| {
            for side in [Side::Object, Side::Recycle] {
                keep_versions(&world.storage, side).await;
            }
            let (file, other) = (Uuid::new_v4(), Uuid::new_v4());
            let (neighbours, key) = (fill(&world.storage, file).await, file.to_string());
            image(&world, file).await;
            image(&world, other).await;

            let planned = receipt(&erase(&world, file, &[]).await.expect(0));
            assert_eq!((&planned["result"], &planned["images"]), (&json!("would_erase"), &json!(1)));
            assert_eq!(planned["versions"]["object"].as_array().unwrap().len(), 3, "{planned}");
            assert_eq!(versions(&world.storage, Side::Object, &key).await, (2, 1), "nothing is changed");
            assert_eq!(versions(&world.storage, Side::Recycle, &key).await, (2, 0), "nothing is changed");
            assert_eq!(images(&world, file).await, 1);
            assert_eq!(world.crm.number("SELECT count(*) FROM file_recycler.erasure").await, 0);

            let done = receipt(&erase(&world, file, &["--apply"]).await.expect(0));
            assert_eq!(done["result"], "erased", "{done}");
            for (side, count) in [("object", 3), ("recycle", 2)] {
                let removed = done["versions"][side].as_array().unwrap();
                let bytes: u64 = removed.iter().filter_map(|one| one["size"].as_u64()).sum();
                assert_eq!((removed.len(), bytes), (count, 11), "{done}");
                assert!(removed.iter().all(|one| one["removed"] == true && one["version_id"].is_string()));
            }
            for side in [Side::Object, Side::Recycle] {
                assert_eq!(versions(&world.storage, side, &key).await, (0, 0));
                for neighbour in &neighbours {
                    let content = world.storage.get(side, neighbour).await;
                    assert_eq!(content.as_deref(), Some(neighbour.as_bytes()), "{neighbour}");
                }
            }
            assert_eq!((images(&world, file).await, images(&world, other).await), (0, 1));
            noted(&world, file, &done).await;

            let again = receipt(&erase(&world, file, &["--apply"]).await.expect(0));
            assert_eq!(again["result"], "already_erased", "{again}");
            assert_eq!(again["earlier"][0]["erasure"], done["erasure"]);
        })
        .await;
    }
}

/// Ledger, trail and environment know who erased it and why; nothing has its name any more.
async fn noted(world: &World, file: Uuid, receipt: &Value) {
    for noted in [
        format!(
            "file_recycler.ledger WHERE file_id = '{file}' AND outcome = 'erased' AND detail LIKE '{WHY} (by %'"
        ),
        format!(
            "file_recycler.trail WHERE action = 'erase' AND detail LIKE 'file {file}, key ''{file}''%{WHY}'"
        ),
        format!("file_recycler.erasure WHERE file_id = '{file}' AND outcome = 'erased' AND why = '{WHY}'"),
        format!("file_recycler.environment WHERE id::text = '{}'", receipt["environment"].as_str().unwrap()),
    ] {
        assert_eq!(world.crm.number(format!("SELECT count(*) FROM {noted}")).await, 1, "{noted}");
    }
    assert_eq!(receipt["why"], WHY);
    assert!(receipt["who"].is_string() && receipt["host"].is_string() && receipt["at"].is_string());
}

#[tokio::test]
async fn a_file_that_moved_is_erased_from_buckets_without_versions_and_its_name_is_forgotten() {
    for s3 in [S3::Embedded, S3::Foreign] {
        world(s3, async |world| {
            let service = world.run().await;
            let record = world.crm.record("Contact").await;
            let file = world.crm.weak_file("SysFile", "Contact", record).await;
            world.upload(file).await;
            world.crm.delete("Contact", record).await;
            world.recycled(file).await;
            world.quiet(&service).await;
            assert_eq!(images(&world, file).await, 1, "the row that hung on the record is kept as an image");

            let done = receipt(&erase(&world, file, &["--apply"]).await.expect(0));
            assert_eq!((&done["result"], &done["images"]), (&json!("erased"), &json!(1)), "{done}");
            assert_eq!(done["versions"]["object"], json!([]));
            let removed = &done["versions"]["recycle"][0];
            assert_eq!((&removed["version_id"], &removed["size"]), (&Value::Null, &json!(36)), "{done}");
            world.storage.holds(&file.to_string(), None, None).await;
            assert_eq!(images(&world, file).await, 0);
            let kept = format!("SELECT count(*) FROM file_recycler.ledger WHERE file_id = '{file}'");
            assert_eq!(world.crm.number(kept).await, 2, "moved, and erased");
            let id = file.to_string();
            let told = world.cli(&["explain", &id, "--json"]).await.expect(0).json();
            assert!(told["verdict"].as_str().unwrap().contains("erased for good"), "{told}");
            let shown = world.cli(&["retention", "show", "--json"]).await.expect(0).json();
            assert_eq!(shown["forecast"]["files_now"], 0, "{shown}");
        })
        .await;
    }
}

#[tokio::test]
async fn the_receipt_is_written_once_and_never_over_another() {
    world(S3::Embedded, async |world| {
        let path =
            std::env::temp_dir().join(format!("file-recycler-receipt-{}.json", Uuid::new_v4().simple()));
        let written = path.to_str().unwrap();
        let [first, second] = [Uuid::new_v4(), Uuid::new_v4()];
        for file in [first, second] {
            world.storage.put(Side::Recycle, &file.to_string(), b"content").await;
        }
        erase(&world, first, &["--receipt", written]).await.expect(0);
        assert!(!path.exists(), "a dry run writes none");
        let done = erase(&world, first, &["--apply", "--receipt", written]).await.expect(0);
        let kept: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(kept, done.json());
        for more in [&["--receipt", written][..], &["--apply", "--receipt", written]] {
            let told = erase(&world, second, more).await.expect(2).stderr;
            assert!(told.contains("--receipt"), "{told}");
        }
        assert!(world.storage.get(Side::Recycle, &second.to_string()).await.is_some());
        std::fs::remove_file(&path).unwrap();

        let text =
            world.cli(&["erase", "--file", &second.to_string(), "--why", WHY, "--apply"]).await.expect(0);
        for line in ["ERASED", &second.to_string(), WHY, &world.storage.recycle] {
            assert!(text.stdout.contains(line), "{line}: {}", text.stdout);
        }
    })
    .await;
}

#[tokio::test]
async fn of_several_files_each_has_a_receipt_and_an_unknown_one_is_not_found() {
    world(S3::Embedded, async |world| {
        let [known, unknown] = [Uuid::new_v4(), Uuid::new_v4()];
        world.storage.put(Side::Recycle, &known.to_string(), b"content").await;
        let line = [known.to_string(), unknown.to_string()];
        let line = ["erase", "--file", &line[0], "--file", &line[1], "--why", WHY, "--apply", "--json"];
        let document = world.cli(&line).await.expect(1).json();
        assert_eq!((&document["counts"]["erased"], &document["counts"]["not_found"]), (&json!(1), &json!(1)));
        let ends: Vec<&Value> =
            document["files"].as_array().unwrap().iter().map(|it| &it["result"]).collect();
        assert_eq!(ends, ["erased", "not_found"]);
        let noted = "SELECT count(*) FROM file_recycler.erasure";
        assert_eq!(world.crm.number(noted).await, 1, "of nothing there is no note");
        for wrong in
            [&["erase", "--file", "42", "--why", WHY][..], &["erase", "--file", line[2], "--why", " "]]
        {
            world.cli(wrong).await.expect(2);
        }
    })
    .await;
}

#[cfg(feature = "failpoints")]
#[tokio::test]
async fn case_51_an_erasure_that_is_killed_anywhere_is_finished_by_the_next_with_a_whole_receipt() {
    world(S3::Embedded, async |world| {
        for side in [Side::Object, Side::Recycle] {
            keep_versions(&world.storage, side).await;
        }
        for point in ["begun", "object_bucket", "recycle_bucket", "proven", "finished"] {
            let (file, mut doomed) = (Uuid::new_v4(), world.with(&[]));
            fill(&world.storage, file).await;
            image(&world, file).await;
            doomed.push(("FAILPOINTS".to_owned(), format!("erase::{point}=return")));
            let (id, key) = (file.to_string(), file.to_string());
            let line = ["erase", "--file", &id, "--why", WHY, "--apply"];
            let killed = crate::support::process::run(&doomed, &line).await;
            assert_eq!(killed.code, -1, "{point}: {killed:?}");

            let done = receipt(&erase(&world, file, &["--apply"]).await.expect(0));
            let expected = if point == "finished" { "already_erased" } else { "erased" };
            assert_eq!(done["result"], expected, "{point}: {done}");
            if point != "finished" {
                let removed = |side: &str| done["versions"][side].as_array().unwrap().len();
                assert_eq!((removed("object"), removed("recycle")), (3, 2), "{point}: {done}");
            }
            for side in [Side::Object, Side::Recycle] {
                assert_eq!(versions(&world.storage, side, &key).await, (0, 0), "{point}");
            }
            assert_eq!(images(&world, file).await, 0, "{point}");
            let ledger = format!(
                "SELECT count(*) FROM file_recycler.ledger WHERE file_id = '{file}' AND outcome = 'erased'"
            );
            assert_eq!(world.crm.number(ledger).await, 1, "{point}: noted once");
        }
    })
    .await;
}

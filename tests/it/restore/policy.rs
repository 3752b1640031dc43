//! `iam-restore.json`: every action of it is necessary, and named when it is missing.

use aws_sdk_s3::types::{BucketVersioningStatus, StorageClass, VersioningConfiguration};
use file_recycler::storage::Side;
use recycler_test_s3::Policy;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::{row, temporary};
use crate::support::process::{self, eventually};
use crate::support::world::{S3, World, world};

const FILE: &str = include_str!("../../../deploy/rights/iam-restore.json");
const KEYS: (&str, &str) = ("restorer", "restorer-secret");

fn document(world: &World) -> Value {
    let buckets = (&world.storage.object, &world.storage.recycle);
    let text = FILE.replace("OBJECT-BUCKET", buckets.0).replace("RECYCLE-BUCKET", buckets.1);
    serde_json::from_str(&text).unwrap()
}

fn actions(statement: &Value) -> Vec<String> {
    match &statement["Action"] {
        Value::String(one) => vec![one.clone()],
        more => serde_json::from_value(more.clone()).unwrap(),
    }
}

/// The policy without one action of one statement.
fn without(document: &Value, statement: usize, action: &str) -> Value {
    let mut document = document.clone();
    let mut left = actions(&document["Statement"][statement]);
    left.retain(|it| it != action);
    document["Statement"][statement]["Action"] = json!(left);
    let statements = document["Statement"].as_array_mut().unwrap();
    statements.retain(|statement| statement["Action"] != json!([]));
    document
}

fn set(world: &World, policy: &Value) {
    world.storage.control().user(KEYS.0, KEYS.1, Policy::parse(&policy.to_string()).unwrap());
}

/// Everything that a restore does, with versions, tags, an archive and removals; what it said where something failed.
async fn everything(world: &World, then: &str) -> Result<(), String> {
    let environment = world.with(&[("STORAGE__ACCESS_KEY", KEYS.0), ("STORAGE__SECRET_KEY", KEYS.1)]);
    let client = &world.storage.client;
    let mut files = Vec::new();
    for _ in 0..4 {
        files.push(row(world).await.to_string());
    }
    let [plain, parts, old, archived] = [&files[0], &files[1], &files[2], &files[3]];
    for file in [plain, old] {
        let put = client.put_object().bucket(&world.storage.recycle).key(file).tagging("a=b");
        put.body(file.clone().into_bytes().into()).send().await.unwrap();
    }
    world.storage.put(Side::Recycle, old, b"another size").await;
    let put =
        client.put_object().bucket(&world.storage.recycle).key(archived).storage_class(StorageClass::Glacier);
    put.body(archived.clone().into_bytes().into()).send().await.unwrap();
    let content = [vec![1; 5 << 20], vec![2; 1]];
    super::size(world, parts.parse::<Uuid>().unwrap(), content.concat().len()).await;
    let upload = client.create_multipart_upload().tagging("a=b");
    let upload = upload.bucket(&world.storage.recycle).key(parts).send().await.unwrap().upload_id.unwrap();
    let mut done = Vec::new();
    for (part, number) in content.iter().zip(1..) {
        let request = client.upload_part().bucket(&world.storage.recycle).key(parts).upload_id(&upload);
        let sent = request.part_number(number).body(part.clone().into()).send().await.unwrap();
        let part = aws_sdk_s3::types::CompletedPart::builder().part_number(number).e_tag(sent.e_tag.unwrap());
        done.push(part.build());
    }
    let done = aws_sdk_s3::types::CompletedMultipartUpload::builder().set_parts(Some(done)).build();
    let complete = client.complete_multipart_upload().bucket(&world.storage.recycle).key(parts);
    complete.upload_id(upload).multipart_upload(done).send().await.unwrap();

    let path = temporary("policy.jsonl");
    let mut line = vec!["restore", "--json", "--apply", "--remove-copy", "--backup-time", then];
    line.extend(["--report", path.to_str().unwrap(), "--file"]);
    line.extend(files.iter().map(String::as_str));
    let output = process::run(&environment, &line).await;
    let report = std::fs::read_to_string(&path).unwrap_or_default();
    let _ = std::fs::remove_file(path);
    let told: Value = serde_json::from_str(&output.stdout).unwrap_or_default();
    let (counts, removed) = (&told["counts"], &told["copies_removed"]);
    if (&counts["restored"], &counts["requested"], removed) == (&json!(3), &json!(1), &json!(2)) {
        return Ok(());
    }
    Err(format!("{} {report} {}", output.stderr, output.stdout))
}

#[tokio::test]
async fn every_action_is_necessary_and_named_when_it_is_missing() {
    world(S3::Embedded, async |world| {
        for bucket in [&world.storage.object, &world.storage.recycle] {
            let on = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
            let request = world.storage.client.put_bucket_versioning().bucket(bucket);
            request.versioning_configuration(on).send().await.unwrap();
        }
        let then = OffsetDateTime::now_utc().format(&Rfc3339).unwrap();
        let document = document(&world);
        set(&world, &document);
        everything(&world, &then).await.expect("with the whole policy everything works");
        let mut wrong = Vec::new();
        for (number, statement) in document["Statement"].as_array().unwrap().iter().enumerate() {
            let optional = statement["Sid"].as_str().unwrap().starts_with("Optional");
            for action in actions(statement) {
                set(&world, &without(&document, number, &action));
                match everything(&world, &then).await {
                    Ok(()) if optional => {}
                    Ok(()) => wrong.push(format!("not necessary: {statement} {action}")),
                    Err(told) if optional => wrong.push(format!("not optional: {action}: {told}")),
                    Err(told) if !told.contains(&action) => {
                        wrong.push(format!("{action} is not named: {told}"));
                    }
                    Err(_) => {}
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        set(&world, &document);
        eventually("and with all of it again", async || everything(&world, &then).await.ok()).await;
    })
    .await;
}

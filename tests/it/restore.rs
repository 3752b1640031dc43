//! `restore`: the truth about every file, objects back with all that belongs to them, and nothing newer overwritten.

mod belongings;
#[cfg(feature = "failpoints")]
mod cut;
mod elsewhere;
mod listed;
mod many;
mod migrated;
mod newer;
mod policy;
mod rows;
mod versions;

use file_recycler::storage::Side;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::crm::DATABASE_STORAGE;
use crate::support::process;
use crate::support::world::{S3, World, world};

/// Runs `restore` with these arguments, and reads its answer.
async fn restore(world: &World, arguments: &[&str], code: i32) -> Value {
    restore_with(&world.environment, arguments, code).await
}

async fn restore_with(environment: &[(String, String)], arguments: &[&str], code: i32) -> Value {
    let line = [&["restore", "--json"], arguments].concat();
    process::run(environment, &line).await.expect(code).json()
}

/// The results that are not zero.
fn counts(answer: &Value) -> Value {
    let counts = answer["counts"].as_object().unwrap_or_else(|| panic!("{answer}"));
    counts
        .iter()
        .filter(|(_, count)| **count != 0)
        .map(|(name, count)| (name.clone(), count.clone()))
        .collect()
}

/// A row whose object would be its id, and is nowhere yet.
async fn row(world: &World) -> Uuid {
    let record = world.crm.record("Contact").await;
    let file = world.crm.hard_file("ContactFile", "Contact", record).await;
    size(world, file, 36).await;
    file
}

async fn size(world: &World, file: Uuid, size: usize) {
    world.crm.sql(format!(r#"UPDATE "ContactFile" SET "Size" = {size} WHERE "Id" = '{file}'"#)).await;
}

/// The content that is the file's id.
async fn put(world: &World, side: Side, file: Uuid) {
    world.storage.put(side, &file.to_string(), file.to_string().as_bytes()).await;
}

/// The same as if it had been recycled.
async fn remembered(world: &World, file: Uuid) {
    world
        .crm
        .sql(format!(
            "INSERT INTO file_recycler.ledger (file_id, key, recycle_bucket, event_id, outcome, deleted_at)
             VALUES ('{file}', '{file}', '{}', 'e', 'moved', clock_timestamp())",
            world.storage.recycle
        ))
        .await;
}

async fn is_back(world: &World, file: Uuid) {
    let key = file.to_string();
    world.storage.holds(&key, Some(key.as_bytes()), Some(key.as_bytes())).await;
}

/// Lines of a report by the file's id.
fn report(path: &std::path::Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn temporary(name: &str) -> std::path::PathBuf {
    std::env::temp_dir().join(format!("file-recycler-{}-{name}", Uuid::new_v4().simple()))
}

#[tokio::test]
async fn every_file_has_one_result_and_the_dry_run_changes_nothing() {
    for s3 in [S3::Embedded, S3::Foreign, S3::Moto] {
        world(s3, async |world| {
            let [back, present, expired, never, other, database, grown] = [
                row(&world).await,
                row(&world).await,
                row(&world).await,
                row(&world).await,
                row(&world).await,
                row(&world).await,
                row(&world).await,
            ];
            let alone = Uuid::new_v4();
            put(&world, Side::Recycle, back).await;
            put(&world, Side::Object, present).await;
            remembered(&world, expired).await;
            world.storage.put(Side::Object, &other.to_string(), b"another").await;
            put(&world, Side::Recycle, other).await;
            put(&world, Side::Recycle, database).await;
            world
                .crm
                .sql(format!(
                    r#"UPDATE "ContactFile" SET "SysFileStorageId" = '{DATABASE_STORAGE}' WHERE "Id" = '{database}'"#
                ))
                .await;
            world.storage.put(Side::Recycle, &grown.to_string(), b"longer or shorter").await;
            put(&world, Side::Recycle, alone).await;
            let expected = [
                (back, "restored"),
                (present, "present"),
                (expired, "expired"),
                (never, "never_seen"),
                (other, "differs"),
                (database, "failed"),
                (grown, "differs"),
                (alone, "failed"),
            ];
            let ids: Vec<String> = expected.iter().map(|(file, _)| file.to_string()).collect();
            let mut line = vec!["--file"];
            line.extend(ids.iter().map(String::as_str));
            let all = json!({ "restored": 1, "present": 1, "expired": 1, "never_seen": 1, "differs": 2, "failed": 2 });

            let planned = restore(&world, &line, 1).await;
            assert_eq!((&planned["applied"], counts(&planned)), (&json!(false), all.clone()), "{planned}");
            assert_eq!((&planned["estimate"]["requests"], &planned["refused"]), (&json!(1), &Value::Null), "{planned}");
            assert_eq!(planned["bytes"]["restored"], 36, "{planned}");
            let of_a_move = ["CopyObject", "PutObject", "DeleteObject", "DeleteObjects"];
            assert!(of_a_move.iter().all(|name| planned["requests"][name].is_null()), "{planned}");
            assert_eq!(world.object(Side::Object, back).await, None, "a dry run");
            let trail = "SELECT count(*) FROM file_recycler.trail WHERE action = 'restore'";
            assert_eq!(world.crm.number(trail).await, 0);

            let path = temporary("report.jsonl");
            line.extend(["--apply", "--report", path.to_str().unwrap()]);
            let done = restore(&world, &line, 1).await;
            assert_eq!((&done["applied"], counts(&done)), (&json!(true), all), "{done}");
            is_back(&world, back).await;
            world.storage.holds(&other.to_string(), Some(b"another"), Some(other.to_string().as_bytes())).await;
            assert_eq!(world.object(Side::Object, grown).await, None);
            assert_eq!(world.object(Side::Object, alone).await, None);
            let lines = report(&path);
            assert_eq!(lines.len(), expected.len(), "{lines:?}");
            for (file, result) in expected {
                let line = lines.iter().find(|line| line["file_id"] == file.to_string()).unwrap();
                assert_eq!((&line["result"], &line["key"]), (&json!(result), &json!(file.to_string())), "{line}");
                assert!(result == "restored" || result == "present" || line["why"].is_string(), "{line}");
            }
            std::fs::remove_file(path).unwrap();
            assert_eq!(world.crm.number(trail).await, 1, "once for the command");

            let again = restore(&world, &["--file", &back.to_string(), &present.to_string(), "--apply"], 0).await;
            assert_eq!(counts(&again), json!({ "present": 2 }), "{again}");
        })
        .await;
    }
}

#[tokio::test]
async fn a_report_whose_name_ends_in_csv_is_one() {
    world(S3::Embedded, async |world| {
        let file = row(&world).await;
        put(&world, Side::Recycle, file).await;
        let path = temporary("report.csv");
        restore(&world, &["--file", &file.to_string(), "--report", path.to_str().unwrap()], 0).await;
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "file_id,schema,key,result,size,why,row_inserted,copy_removed");
        assert_eq!(lines[1], format!("{file},ContactFile,{file},restored,36,,false,false"));
        std::fs::remove_file(path).unwrap();
        let line = ["restore", "--file", &file.to_string(), "--report", "/nowhere/x"];
        let said = world.cli(&line).await.expect(1).stderr;
        assert!(said.contains("--report /nowhere/x"), "{said}");
    })
    .await;
}

#[tokio::test]
async fn a_file_without_a_row_comes_back_only_by_force_and_with_a_warning() {
    world(S3::Embedded, async |world| {
        let service = world.run().await;
        let (record, files) = world.record_with_files("Contact", "ContactFile", 2).await;
        world.crm.delete("Contact", record).await;
        for file in &files {
            world.recycled(*file).await;
        }
        world.quiet(&service).await;
        let named = format!("Contact:{record}");
        let refused = restore(&world, &["--record", &named, "--apply"], 1).await;
        assert_eq!(counts(&refused), json!({ "failed": 2 }), "{refused}");
        assert_eq!(world.object(Side::Object, files[0]).await, None);

        let done = restore(&world, &["--record", &named, "--force", "--apply"], 0).await;
        assert_eq!(counts(&done), json!({ "restored": 2 }), "{done}");
        let warning = done["warnings"][0].as_str().unwrap();
        assert!(warning.contains("an event about it that still waits"), "{warning}");
        for file in &files {
            is_back(&world, *file).await;
        }
        let text = world.cli(&["restore", "--record", &named, "--force"]).await.expect(0).stdout;
        assert!(text.contains("present already") && text.contains("Nothing is changed yet"), "{text}");
        drop(service);
    })
    .await;
}

#[tokio::test]
async fn what_is_asked_for_must_make_sense() {
    world(S3::Embedded, async |world| {
        for (line, told) in [
            (&["restore"][..], "--file <ID>..."),
            (&["restore", "--file", "x"], "'x' is no UUID"),
            (&["restore", "--record", "Contact"], "is not SCHEMA:ID"),
            (&["restore", "--record", "Contact:7"], "'7' is no UUID"),
            (&["restore", "--deleted-since", "soon"], "neither a time"),
            (&["restore", "--deleted-since", "1h", "--file", "x"], "cannot be used with"),
            (&["restore", "--deleted-since", "1h", "--archive-days", "0"], "0 is not in 1..=3650"),
        ] {
            let said = world.cli(line).await.expect(2).stderr;
            assert!(said.contains(told), "{line:?}: {said}");
        }
        let nothing = restore(&world, &["--deleted-since", "1h"], 0).await;
        assert_eq!(counts(&nothing), json!({}), "{nothing}");
    })
    .await;
}

//! Interrupted, killed, and run again.

use file_recycler::storage::Side;
use recycler_test_s3::{Action, Operation, Rule, When};
use serde_json::json;
use tokio::io::AsyncBufReadExt as _;
use uuid::Uuid;

use super::{is_back, put, restore, row};
use crate::support::process::{self, PATIENCE, eventually};
use crate::support::told::Secrets;
use crate::support::world::{S3, World, world};

async fn some(world: &World, files: usize) -> Vec<Uuid> {
    let mut all = Vec::new();
    for _ in 0..files {
        let file = row(world).await;
        put(world, Side::Recycle, file).await;
        all.push(file);
    }
    all
}

fn line(files: &[Uuid]) -> Vec<String> {
    let mut line = vec!["restore".to_owned(), "--json".into(), "--apply".into(), "--file".into()];
    line.extend(files.iter().map(ToString::to_string));
    line
}

#[tokio::test]
async fn case_39_an_interrupted_restore_finishes_what_is_in_flight_and_goes_on_when_it_is_run_again() {
    world(S3::Embedded, async |world| {
        let files = some(&world, 12).await;
        let environment = world.with(&[("RECYCLE__CONCURRENCY", "2")]);
        let control = world.storage.control();
        control.fault(
            Rule::new(Operation::CopyObject, Action::Hold { when: When::Before })
                .bucket(&world.storage.object),
        );
        let arguments = line(&files);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut child = process::command(&environment, &arguments)
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        eventually("both places are taken", async || (control.holding() == 2).then_some(())).await;
        let pid = child.id().unwrap().to_string();
        assert!(tokio::process::Command::new("kill").args(["-INT", &pid]).status().await.unwrap().success());
        // Only once the stop is known to have arrived.
        let mut log = tokio::io::BufReader::new(child.stderr.take().unwrap()).lines();
        let secrets = Secrets::of(&environment);
        let told = async {
            while let Some(line) = log.next_line().await.unwrap() {
                secrets.look_through("standard error", &line);
                if line.contains("finishing what is in flight") {
                    return;
                }
            }
            panic!("it ended without a word");
        };
        tokio::time::timeout(PATIENCE, told).await.expect("the stop arrives");
        control.clear_faults();
        control.release();
        let ended = tokio::time::timeout(PATIENCE, child.wait_with_output());
        let output = ended.await.expect("it ends").unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        secrets.look_through("standard output", &said);
        let told: serde_json::Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}"));
        assert_eq!((output.status.code(), &told["interrupted"]), (Some(1), &json!(true)), "{told}");
        let restored = told["counts"]["restored"].as_u64().unwrap();
        assert_eq!(restored, 2, "what was in flight, and no more: {told}");

        let again: Vec<&str> = arguments[2..].to_vec();
        let done = restore(&world, &again, 0).await;
        let present = done["counts"]["present"].as_u64().unwrap();
        let sum = present + done["counts"]["restored"].as_u64().unwrap();
        assert_eq!((present, sum), (restored, 12), "{told} then {done}");
        for file in files {
            is_back(&world, file).await;
        }
    })
    .await;
}

#[tokio::test]
async fn case_39_a_restore_that_is_killed_at_any_step_goes_on_when_it_is_run_again() {
    world(S3::Embedded, async |world| {
        for point in ["restore::before_copy", "restore::after_copy", "restore::before_removal"] {
            let files = some(&world, 3).await;
            let mut environment = world.environment.clone();
            environment.push(("FAILPOINTS".to_owned(), format!("{point}=return")));
            let mut arguments = line(&files);
            arguments.push("--remove-copy".into());
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let output = process::run(&environment, &arguments).await;
            assert_eq!(output.code, -1, "{point}: it was killed: {output:?}");
            for file in &files {
                let (object, copy) =
                    (world.object(Side::Object, *file).await, world.object(Side::Recycle, *file).await);
                assert!(object.is_some() || copy.is_some(), "{point}: {file} is lost");
            }
            let done = process::run(&world.environment, &arguments).await.expect(0).json();
            let sum =
                done["counts"]["present"].as_u64().unwrap() + done["counts"]["restored"].as_u64().unwrap();
            assert_eq!((sum, &done["copies_removed"]), (3, &json!(3)), "{point}: {done}");
            for file in &files {
                let key = file.to_string();
                world.storage.holds(&key, Some(key.as_bytes()), None).await;
            }
        }
    })
    .await;
}

//! The process is killed at every step of a move: the next delivery finishes it.

use std::os::unix::process::ExitStatusExt;

use file_recycler::outcome::{Advice, DeadReason, Outcome};
use file_recycler::storage::Side;
use recycler_test_s3::Options;

use crate::support::registry::{Script, careful, job, job_of, recycler};
use crate::support::storage::{TestStorage, storage_of_the_parent};

const KEY: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";
const SIGKILL: i32 = 9;

/// Not a test: the process that dies, started by the test below.
#[tokio::test]
#[ignore = "runs only as a child of the test below"]
async fn a_worker_that_dies() {
    let _scenario = fail::FailScenario::setup();
    let storage = storage_of_the_parent().await;
    let probed = storage.probe().await.unwrap();
    let server = if std::env::var("MOVE_TEST_CAREFUL").is_ok() { careful(probed) } else { probed };
    let size = std::env::var("MOVE_TEST_SIZE").ok().map(|size| size.parse().unwrap());
    let _ = recycler(&storage, server, &Script::default()).recycle(job_of(KEY, size)).await;
}

#[tokio::test]
async fn case_13_a_process_killed_after_any_step_loses_nothing_and_the_next_delivery_finishes() {
    let content = Some(&b"content"[..]);
    for opaque_etags in [false, true] {
        let mut worlds = vec![TestStorage::embedded(Options { opaque_etags, ..Options::default() }).await];
        if !opaque_etags {
            worlds.push(TestStorage::foreign().await);
        }
        for world in worlds {
            let probed = world.storage.probe().await.unwrap();
            for (server, is_careful) in [(probed, opaque_etags), (careful(probed), true)] {
                for (point, object, recycled, outcome) in [
                    ("after_check", content, None, Outcome::Moved),
                    ("after_copy", content, content, Outcome::Moved),
                    ("after_prove", content, content, Outcome::Moved),
                    ("before_delete", content, content, Outcome::Moved),
                    ("after_delete", None, content, Outcome::AlreadyMoved),
                    ("after_note", None, content, Outcome::AlreadyMoved),
                ] {
                    if point == "after_prove" && !is_careful {
                        // The two conditions are the proof.
                        continue;
                    }
                    world.put(Side::Object, KEY, b"content").await;
                    world.delete(Side::Recycle, KEY).await;
                    die(&world, &format!("recycle::{point}"), Some(7), is_careful).await;
                    world.holds(KEY, object, recycled).await;
                    let next = recycler(&world.storage, server, &Script::default()).recycle(job(KEY)).await;
                    assert_eq!(next, Ok(outcome), "{} after {point}", world.name);
                    world.holds(KEY, None, content).await;
                }
            }
        }
    }
}

/// Starts a worker that dies at this point over a file of this size, and waits for its death.
pub async fn die_at(world: &TestStorage, point: &str, size: Option<u64>) {
    die(world, point, size, false).await;
}

async fn die(world: &TestStorage, point: &str, size: Option<u64>, is_careful: bool) {
    let died = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "move_crash::a_worker_that_dies", "--ignored"])
        .envs(world.environment())
        .envs(is_careful.then_some(("MOVE_TEST_CAREFUL", "1")))
        .envs(size.map(|size| ("MOVE_TEST_SIZE", size.to_string())))
        .env("FAILPOINTS", format!("{point}=return"))
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    assert_eq!(died.status.signal(), Some(SIGKILL), "{point}: {died:?}");
}

/// A copy that claims success and is something else: the source stays, and an operator has to look.
#[tokio::test]
async fn case_03_a_copy_that_is_not_what_was_copied_keeps_its_source() {
    for wrong in ["", "CONTENT"] {
        let world = TestStorage::embedded(Options::default()).await;
        let server = world.storage.probe().await.unwrap();
        world.put(Side::Object, KEY, b"content").await;
        // Other tests of this process pass this point too: what happens there is harmless to them.
        let (control, bucket) = (world.control(), world.recycle.clone());
        let spoil = move || {
            control.put(&bucket, KEY, wrong);
        };
        fail::cfg_callback("recycle::after_copy", spoil).unwrap();
        let recycler = recycler(&world.storage, careful(server), &Script::default());
        let failure = recycler.recycle(job(KEY)).await.unwrap_err();
        fail::remove("recycle::after_copy");
        assert_eq!(failure.advice, Advice::GiveUp(DeadReason::Conflict), "{failure}");
        world.holds(KEY, Some(b"content"), Some(wrong.as_bytes())).await;
    }
}

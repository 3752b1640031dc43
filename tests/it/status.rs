//! `status`: one screen, and one look after another.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::ChildStdout;

use crate::support::process::{self, eventually};
use crate::support::told::Secrets;
use crate::support::world::{S3, world};

async fn until(
    (lines, secrets): &mut (Lines<BufReader<ChildStdout>>, Secrets),
    what: &str,
    holds: impl Fn(&Value) -> bool,
) -> Value {
    let mut last = Value::Null;
    for _ in 0..60 {
        let line =
            lines.next_line().await.unwrap().unwrap_or_else(|| panic!("it ended before {what}: {last}"));
        secrets.look_through("standard output", &line);
        last = serde_json::from_str(&line).unwrap();
        if holds(&last) {
            return last;
        }
    }
    panic!("60 looks, and never {what}: {last}");
}

#[tokio::test]
async fn a_watcher_sees_it_work_stop_and_go_on_and_ends_well_when_it_is_told_to() {
    world(S3::Embedded, async |world| {
        let mut watcher = process::command(&world.environment, &["status", "--watch", "1", "--json"])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(watcher.stdout.take().unwrap()).lines();
        let mut lines = (lines, Secrets::of(&world.environment));
        let nobody = until(&mut lines, "nobody works", |it| it["processes"] == serde_json::json!([])).await;
        let said = nobody["headline"].as_str().unwrap();
        assert!(said.starts_with("stopped by the broker") || said.starts_with("nobody works"), "{nobody}");

        let service = world.run().await.expect_log("paused by an operator");
        world.moves_a_file().await;
        // A process that has become ready tells the database so a moment later.
        let works = until(&mut lines, "a file has moved", |it| {
            it["rates"]["last_minute"] == 1 && it["healthy"] == true
        })
        .await;
        assert_eq!(works["rates"]["last_hour"], 1, "{works}");
        world.cli(&["pause", "--why", "a test"]).await.expect(0);
        until(&mut lines, "the pause", |it| {
            it["headline"].as_str().is_some_and(|said| said.starts_with("paused: a test"))
        })
        .await;
        let (record, _) = world.record_with_files("Contact", "ContactFile", 1).await;
        world.crm.delete("Contact", record).await;
        until(&mut lines, "what waits", |it| it["outbox"]["rows"].as_u64() > Some(0)).await;
        world.cli(&["resume"]).await.expect(0);
        until(&mut lines, "it works again", |it| it["headline"] == "working: nothing waits").await;
        drop(service);

        let told =
            std::process::Command::new("kill").args(["-INT", &watcher.id().unwrap().to_string()]).status();
        assert!(told.unwrap().success());
        let ended = watcher.wait().await.unwrap();
        assert_eq!(ended.code(), Some(0), "{ended}");
    })
    .await;
}

#[tokio::test]
async fn the_screen_has_a_headline_and_no_colours_where_nobody_looks() {
    world(S3::Embedded, async |world| {
        let service = world.run().await;
        world.moves_a_file().await;
        // The move is noted a moment after it, by a message that is in nobody's queue meanwhile.
        let screen = eventually("it is healthy, and the move is noted", async || {
            let status = world.cli(&["status"]).await;
            let noted = status.stdout.contains("moved      1 in the last minute, 1 in the last hour");
            (status.code == 0 && status.stdout.contains("nothing waits") && noted).then_some(status.stdout)
        })
        .await;
        assert!(screen.starts_with("healthy      working: nothing waits\n"), "{screen}");
        assert!(!screen.contains('\u{1b}'), "{screen}");
        drop(service);
        for wrong in ["0", "x", "3601"] {
            world.cli(&["status", "--watch", wrong]).await.expect(2);
        }
    })
    .await;
}

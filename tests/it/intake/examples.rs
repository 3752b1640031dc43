//! The examples of producers run as their headers say, and the files of their events are recycled.

use std::path::{Path, PathBuf};

use tokio::process::Command;
use uuid::Uuid;

use super::{TOKEN, deleted, deleted_elsewhere, nothing_was_told, post, with_token};
use crate::support::process::{Service, eventually};
use crate::support::world::{S3, world};

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/examples").join(name)
}

/// Runs an example as its header says.
async fn runs(program: &Path, service: &Service, arguments: &[String]) -> std::process::Output {
    let token = std::env::temp_dir().join(format!("file-recycler-token-{}", Uuid::new_v4().simple()));
    std::fs::write(&token, format!("{TOKEN}\n")).unwrap();
    let output = Command::new(program)
        .args(arguments)
        .env("FILE_RECYCLER_URL", format!("http://{}", service.http))
        .env("FILE_RECYCLER_TOKEN_FILE", &token)
        .kill_on_drop(true)
        .output()
        .await;
    std::fs::remove_file(&token).unwrap();
    output.unwrap()
}

#[tokio::test]
async fn the_examples_in_curl_and_python_have_their_files_recycled() {
    world(S3::Embedded, async |world| {
        let service = Service::start(&with_token(&world), &["run"]).await.ready().await.expect_log("paused");
        for program in ["curl/post-event.sh", "python/post_event.py"] {
            let (record, files) = deleted_elsewhere(&world, 2).await;
            let mut arguments = vec!["Contact".to_owned(), record.to_string()];
            arguments.extend(files.iter().map(Uuid::to_string));
            // While paused it is 503, and both try again.
            world.cli(&["pause", "--why", "a test"]).await.expect(0);
            let event = deleted("an-event-id", record, &[]);
            eventually("the pause is seen", async || {
                (post(&service, &event).await.status == 503).then_some(())
            })
            .await;
            let refused = service.metric(r#"file_recycler_intake_events_total{result="unavailable"}"#).await;
            let resuming = async {
                eventually("it was told to wait", async || {
                    let now = r#"file_recycler_intake_events_total{result="unavailable"}"#;
                    (service.metric(now).await > refused).then_some(())
                })
                .await;
                world.cli(&["resume"]).await.expect(0);
            };
            let path = example(program);
            let (output, ()) = tokio::join!(runs(&path, &service, &arguments), resuming);
            assert!(output.status.success(), "{program}: {output:?}");
            for file in &files {
                world.recycled(*file).await;
            }
            arguments[1] = "no-uuid".to_owned();
            let output = runs(&path, &service, &arguments).await;
            assert!(!output.status.success(), "{program}: what is wrong is not tried again: {output:?}");
            let told = format!("{output:?}");
            assert!(told.contains("data.record_id") && !told.contains(TOKEN), "{told}");
        }
        nothing_was_told(&service);
    })
    .await;
}

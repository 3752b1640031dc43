//! The compose file and the manifests: what they tell the program, and the demo that the compose file brings.

use std::fs;

use tokio::process::Command;

use super::{Folder, repository};
use crate::support::cluster::bin;
use crate::support::process::{self, Output};
use crate::support::world::{S3, World, world};

/// The variables of the program that a file sets, with their values.
fn variables(path: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut lines = text.lines().map(str::trim);
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        let pair = match line.strip_prefix("- name: ") {
            // In a manifest, the value is on the line below.
            Some(name) if name.starts_with("FILE_RECYCLER_") => {
                let value = lines.next().and_then(|line| line.strip_prefix("value: "));
                (name, value.unwrap_or_else(|| panic!("{path}: {name} has no value")))
            }
            _ if line.starts_with("FILE_RECYCLER_") => line.split_once(": ").expect("a value"),
            _ => continue,
        };
        found.push((pair.0.to_owned(), pair.1.trim_matches('"').to_owned()));
    }
    assert!(!found.is_empty(), "{path} tells the program nothing");
    found
}

#[tokio::test]
async fn the_program_understands_what_compose_file_and_manifests_tell_it() {
    let folder = Folder::new();
    for path in ["docker-compose.yml", "deploy/kubernetes/deployment.yaml"] {
        let mut environment = variables(path);
        for (name, value) in &mut environment {
            if name.ends_with("_FILE") {
                let secret = folder.path(&name.to_lowercase());
                let content = match name.as_str() {
                    name if name.contains("BROKER") => "amqp://host",
                    name if name.contains("DATABASE") => "postgres://host/crm",
                    _ => "what-nobody-may-read",
                };
                fs::write(&secret, content).unwrap();
                *value = secret.to_str().unwrap().to_owned();
            }
        }
        let shown = process::run(&environment, &["config", "show", "--sources", "--json"]).await;
        let shown = shown.expect(0).json();
        for key in ["database.url", "broker.url", "storage.access_key", "storage.secret_key"] {
            assert!(shown[key]["source"].to_string().contains("FILE_RECYCLER_"), "{path}: {key}: {shown}");
        }
    }
}

async fn demo(world: &World, what: &str) -> Output {
    let (access_key, secret_key) = world.storage.credentials();
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new(repository("deploy/compose/demo"));
    command
        .arg(what)
        .env_clear()
        .env("PATH", format!("{}:{path}", bin().display()))
        .env("DEMO_DATABASE_URL", &world.crm.url)
        .env("DEMO_S3_URL", world.storage.endpoint())
        .env("DEMO_S3_ACCESS_KEY", access_key)
        .env("DEMO_S3_SECRET_KEY", secret_key)
        .env("DEMO_OBJECT_BUCKET", &world.storage.object)
        .env("DEMO_RECYCLE_BUCKET", &world.storage.recycle)
        .env("DEMO_FILES", "40")
        .kill_on_drop(true);
    process::looked_through(&world.environment, command, &[]).await
}

#[tokio::test]
async fn the_demo_of_the_compose_file_shows_recycled_files_and_runs_once() {
    world(S3::Foreign, async |world| {
        demo(&world, "buckets").await.expect(0);
        let service = world.run().await;
        let told = demo(&world, "run").await.expect(0).stdout;
        assert_eq!(told.matches("PASS").count(), 2, "{told}");
        // Its records are there already.
        let again = demo(&world, "run").await.expect(2);
        assert!(again.stderr.contains("has run in this database"), "{again:?}");
        drop(service);
    })
    .await;
}

//! Two things that nobody thinks of when a file does not move: the key template is wrong, and nobody is at work.

use file_recycler::storage::Side;
use uuid::Uuid;

use super::is;
use crate::support::process::{self, Service, eventually};
use crate::support::world::{S3, World, world};

fn upper(file: Uuid) -> String {
    file.to_string().to_uppercase()
}

async fn file_under_another_key(world: &World) -> (Uuid, Uuid) {
    let record = world.crm.record("Contact").await;
    let file = world.crm.hard_file("ContactFile", "Contact", record).await;
    world.storage.put(Side::Object, &upper(file), b"content").await;
    (record, file)
}

#[tokio::test]
async fn a_file_that_is_under_another_templates_key_is_not_told_as_missing() {
    world(S3::Embedded, async |world| {
        world.queues.session().await.close().await;
        let (record, file) = file_under_another_key(&world).await;
        let asks = "the object bucket has an object of it under";
        let said = world.explained(file).await;
        is(&said, "file", "stay", asks);
        assert!(
            said["verdict"].as_str().unwrap().contains("says whether the template is the right one"),
            "{said}"
        );
        let other = &said["objects"]["other"];
        assert_eq!(other["key"], upper(file), "{said}");
        assert_eq!(
            (&other["template"], &other["object"]),
            (&"{file_id:upper}".into(), &true.into()),
            "{said}"
        );
        assert!(world.explained_text(file).await.contains("OTHER    key "));

        world.crm.delete("Contact", record).await;
        let said = world.explained(file).await;
        is(&said, "file", "nothing", asks);
        assert!(!said["verdict"].as_str().unwrap().contains("in neither bucket,"), "{said}");
        // With the right one it is a file like any.
        let right = world.with(&[("STORAGE__KEY_TEMPLATE", "{file_id:upper}")]);
        let said = process::run(&right, &["explain", &file.to_string(), "--json"]).await.expect(0).json();
        is(&said, "file", "move", "its deletion has waited in the outbox");
        assert!(said["objects"]["other"].is_null(), "{said}");
        let schema = world.with(&[("STORAGE__KEY_TEMPLATE", "{schema}/{file_id}")]);
        let said = process::run(&schema, &["explain", &file.to_string(), "--json"]).await.expect(0).json();
        assert_eq!(said["objects"]["other"]["template"], "{file_id:upper}", "{said}");
    })
    .await;
}

#[tokio::test]
async fn who_is_at_work_is_told_and_why_nobody_is_where_something_would_move() {
    world(S3::Embedded, async |world| {
        world.queues.session().await.close().await;
        let (record, files) = world.record_with_files("Contact", "ContactFile", 1).await;
        world.crm.delete("Contact", record).await;
        let said = world.explained(files[0]).await;
        is(&said, "file", "move", "Nobody is at work: no process of this environment has told of itself");
        assert_eq!(said["processes"], serde_json::json!([]), "{said}");

        let worker = Service::start(&world.environment, &["work"]).await.ready().await;
        eventually("a listener is missed", async || {
            let said = world.explained(files[0]).await;
            let told = said["verdict"].as_str().unwrap().contains("No listener is at work");
            (told && said["processes"][0]["halves"] == "work").then_some(())
        })
        .await;
        drop(worker);

        // Its objects are elsewhere, and a worker has found that: it says so, and so does this.
        let (_, other) = file_under_another_key(&world).await;
        let stuck = Service::start(&world.environment, &["run"]).await.expect_log("not well");
        stuck.guard_says("set storage.key_template").await;
        eventually("the worker's reason is told", async || {
            let said = world.explained(files[0]).await;
            let verdict = said["verdict"].as_str().unwrap().to_owned();
            (verdict.contains(" is ready: ") && verdict.contains("set storage.key_template")).then_some(())
        })
        .await;
        assert!(world.explained_text(files[0]).await.contains("processes    run "));
        world.is_untouched(files[0]).await;
        assert!(world.storage.get(Side::Object, &upper(other)).await.is_some());
        drop(stuck);
    })
    .await;
}

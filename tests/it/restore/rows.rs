//! `--with-rows`: rows that went with their record come back from their images, after their objects.

use file_recycler::storage::Side;
use recycler_test_s3::{Action, Operation, Rule, When};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{counts, is_back, restore, restore_with};
use crate::support::process::eventually;
use crate::support::roles::Roles;
use crate::support::world::{S3, World, world};

/// A file that hung on a contact and went with it; the contact.
async fn dangled(world: &World) -> (Uuid, Uuid) {
    let service = world.run().await;
    let contact = world.crm.record("Contact").await;
    let file = world.crm.weak_file("SysFile", "Contact", contact).await;
    world
        .crm
        .sql(format!(
            r#"UPDATE "SysFile" SET "Name" = 'plan.pdf', "Size" = 36, "Version" = 3 WHERE "Id" = '{file}'"#
        ))
        .await;
    world.upload(file).await;
    world.crm.delete("Contact", contact).await;
    world.recycled(file).await;
    world.quiet(&service).await;
    assert_eq!(rows(world, file).await, 0);
    (contact, file)
}

async fn rows(world: &World, file: Uuid) -> i64 {
    world
        .crm
        .number(format!(
            r#"SELECT count(*) FROM "SysFile" WHERE "Id" = '{file}' AND "Name" = 'plan.pdf' AND "Version" = 3"#
        ))
        .await
}

async fn contact_again(world: &World, contact: Uuid) {
    world.crm.sql(format!(r#"INSERT INTO "Contact" ("Id") VALUES ('{contact}')"#)).await;
}

fn told(answer: &Value) -> (Value, Value) {
    (counts(answer), answer["rows_inserted"].clone())
}

#[tokio::test]
async fn a_row_comes_back_with_its_object_once_its_record_is_there_again() {
    world(S3::Embedded, async |world| {
        let (contact, file) = dangled(&world).await;
        let record = format!("Contact:{contact}");
        let line = ["--record", &record, "--with-rows", "--apply"];
        let path = super::temporary("rows.jsonl");
        let refused = restore(&world, &[&line[..], &["--report", path.to_str().unwrap()]].concat(), 1).await;
        assert_eq!(told(&refused), (json!({ "failed": 1 }), json!(0)), "{refused}");
        assert!(super::report(&path)[0]["why"].as_str().unwrap().contains("does not exist"), "{refused}");
        std::fs::remove_file(path).unwrap();
        assert_eq!(world.object(Side::Object, file).await, None, "nothing was touched");

        contact_again(&world, contact).await;
        let planned = restore(&world, &line[..3], 0).await;
        assert_eq!(told(&planned), (json!({ "restored": 1 }), json!(1)), "{planned}");
        assert_eq!(
            (rows(&world, file).await, world.object(Side::Object, file).await),
            (0, None),
            "a dry run"
        );

        let done = restore(&world, &line, 0).await;
        assert_eq!(told(&done), (json!({ "restored": 1 }), json!(1)), "{done}");
        is_back(&world, file).await;
        assert_eq!(rows(&world, file).await, 1);
        let images = format!("SELECT count(*) FROM file_recycler.image WHERE row_id = '{file}'");
        assert_eq!(world.crm.number(images).await, 1, "the image is kept");
        let again = restore(&world, &line, 0).await;
        assert_eq!(told(&again), (json!({ "present": 1 }), json!(0)), "{again}");

        // It is a file like any other now.
        let service = world.run().await;
        world.crm.delete("Contact", contact).await;
        world.recycled(file).await;
        world.quiet(&service).await;
        drop(service);
    })
    .await;
}

#[tokio::test]
async fn without_its_record_a_row_comes_back_by_force_and_one_that_is_there_is_left() {
    world(S3::Embedded, async |world| {
        let (_, file) = dangled(&world).await;
        let id = file.to_string();
        let done = restore(&world, &["--file", &id, "--with-rows", "--force", "--apply"], 0).await;
        assert_eq!(told(&done), (json!({ "restored": 1 }), json!(1)), "{done}");
        assert_eq!(rows(&world, file).await, 1);
        world.crm.sql(r#"UPDATE "SysFile" SET "Name" = 'renamed'"#).await;
        world.storage.delete(Side::Object, &id).await;
        let done = restore(&world, &["--file", &id, "--with-rows", "--force", "--apply"], 0).await;
        assert_eq!(told(&done), (json!({ "restored": 1 }), json!(0)), "{done}");
        assert_eq!(world.crm.number(r#"SELECT count(*) FROM "SysFile" WHERE "Name" = 'renamed'"#).await, 1);
    })
    .await;
}

#[tokio::test]
async fn a_row_is_not_inserted_before_its_object_is_there() {
    world(S3::Embedded, async |world| {
        let (contact, file) = dangled(&world).await;
        contact_again(&world, contact).await;
        world.storage.delete(Side::Recycle, &file.to_string()).await;
        let done = restore(&world, &["--file", &file.to_string(), "--with-rows", "--apply"], 1).await;
        assert_eq!(told(&done), (json!({ "expired": 1 }), json!(0)), "{done}");
        assert_eq!(rows(&world, file).await, 0);
    })
    .await;
}

#[tokio::test]
async fn an_object_that_a_move_takes_before_its_row_is_there_comes_back_once_more() {
    world(S3::Embedded, async |world| {
        let (contact, file) = dangled(&world).await;
        contact_again(&world, contact).await;
        super::put(&world, Side::Object, file).await;
        let key = file.to_string();
        // The first look is the one that finds it, the second the one after its row.
        let control = world.storage.control();
        let hold = Rule::new(Operation::HeadObject, Action::Hold { when: When::Before });
        control.fault(hold.bucket(&world.storage.object).key(&key).skip(1).times(1));
        let running = tokio::spawn({
            let (environment, key) = (world.environment.clone(), key.clone());
            async move { restore_with(&environment, &["--file", &key, "--with-rows", "--apply"], 0).await }
        });
        eventually("the object is looked for again", async || (control.holding() == 1).then_some(())).await;
        assert_eq!(rows(&world, file).await, 1);
        world.storage.delete(Side::Object, &key).await;
        control.release();
        let done = running.await.unwrap();
        assert_eq!(told(&done), (json!({ "restored": 1 }), json!(1)), "{done}");
        is_back(&world, file).await;
    })
    .await;
}

#[tokio::test]
async fn the_right_to_insert_is_named_with_its_file_and_is_all_that_is_needed() {
    world(S3::Embedded, async |world| {
        let (contact, file) = dangled(&world).await;
        contact_again(&world, contact).await;
        let roles = Roles::create(&world.crm.url).await;
        roles.allow_run(&[]).await;
        let environment = world.with(&[("DATABASE__URL", &roles.url_as(&roles.run))]);
        let path = super::temporary("rights.jsonl");
        let id = file.to_string();
        let line = ["--file", &id, "--with-rows", "--apply", "--report", path.to_str().unwrap()];
        let refused = restore_with(&environment, &line, 1).await;
        assert_eq!(told(&refused), (json!({ "failed": 1 }), json!(0)), "{refused}");
        let why = super::report(&path)[0]["why"].as_str().unwrap().to_owned();
        assert!(why.contains("SysFile") && why.contains("deploy/rights/database-restore.sql"), "{why}");

        roles.allow_restore().await;
        let done = restore_with(&environment, &line, 0).await;
        assert_eq!(told(&done), (json!({ "present": 1 }), json!(1)), "{done}");
        assert_eq!(rows(&world, file).await, 1);
        std::fs::remove_file(path).unwrap();
        drop(roles);
    })
    .await;
}

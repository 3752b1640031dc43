//! `storage.key_template`: one that is not the right one moves nothing, and names the right one.

use file_recycler::storage::Side;
use uuid::Uuid;

use crate::support::crm::{FILE_TYPE, S3_STORAGE};
use crate::support::process::{Service, eventually};
use crate::support::world::{S3, World, world};

async fn record_with_file_under(world: &World, key: impl Fn(Uuid) -> String) -> (Uuid, Uuid) {
    let record = world.crm.record("Contact").await;
    let file = world.crm.hard_file("ContactFile", "Contact", record).await;
    world.storage.put(Side::Object, &key(file), file.to_string().as_bytes()).await;
    (record, file)
}

fn upper(file: Uuid) -> String {
    file.to_string().to_uppercase()
}

#[tokio::test]
async fn a_template_that_finds_nothing_where_another_does_is_refused_and_the_right_one_is_named() {
    world(S3::Embedded, async |world| {
        for (right, key) in [
            ("{file_id:upper}", upper as fn(Uuid) -> String),
            ("{file_id:simple}", |file| file.simple().to_string()),
            ("{schema}/{file_id}", |file| format!("ContactFile/{file}")),
        ] {
            world.crm.sql(r#"TRUNCATE "Contact" CASCADE; TRUNCATE file_recycler.outbox"#).await;
            let (record, file) = record_with_file_under(&world, key).await;
            let service = Service::start(&world.environment, &["run"]).await.expect_log("not well");
            service.guard_says(&format!("set storage.key_template = \"{right}\"")).await;
            world.crm.delete("Contact", record).await;
            world.storage.holds(&key(file), Some(file.to_string().as_bytes()), None).await;
            drop(service);

            let environment = world.with(&[("STORAGE__KEY_TEMPLATE", right)]);
            let mut service = Service::start(&environment, &["run"]).await.ready().await;
            eventually("it moves under the right one", async || {
                world.storage.get(Side::Recycle, &key(file)).await
            })
            .await;
            world.quiet(&service).await;
            // What it still had in hand would come again, under the next template.
            assert_eq!(service.stop().await, Some(0));
            assert_eq!(world.storage.get(Side::Object, &key(file)).await, None);
        }
    })
    .await;
}

async fn nothing_to_compare(service: &Service) {
    eventually("there was nothing to compare", async || {
        let log = service.log();
        log.iter().any(|line| line.contains("the key template cannot be compared")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn with_nothing_to_compare_the_first_misses_are_doubted() {
    world(S3::Embedded, async |world| {
        let service = world.run().await.expect_log("not well");
        nothing_to_compare(&service).await;
        let record = world.crm.record("Contact").await;
        let mut files = Vec::new();
        for _ in 0..3 {
            files.push(world.crm.hard_file("ContactFile", "Contact", record).await);
            world.storage.put(Side::Object, &upper(files[files.len() - 1]), b"content").await;
        }
        world.crm.delete("Contact", record).await;
        service.guard_says("set storage.key_template = \"{file_id:upper}\"").await;
        eventually("the message is back in its queue", async || {
            (world.queues.unfinished().await == 1).then_some(())
        })
        .await;
        assert_eq!(service.metric(r#"file_recycler_files_total{outcome="missing"}"#).await, 0);
        drop(service);

        let environment = world.with(&[("STORAGE__KEY_TEMPLATE", "{file_id:upper}")]);
        let service = Service::start(&environment, &["run"]).await.ready().await;
        for file in files {
            eventually("it moves", async || world.storage.get(Side::Recycle, &upper(file)).await).await;
        }
        world.quiet(&service).await;
    })
    .await;
}

#[tokio::test]
async fn one_object_under_another_template_holds_up_nobody_else() {
    world(S3::Embedded, async |world| {
        // Once another file has proven the template, the odd one counts as missing at its next try; unless it has used up
        // its tries by then.
        let service = world.run().await.expect_log("in neither bucket").expect_log("dead-lettered");
        nothing_to_compare(&service).await;
        let (odd, file) = record_with_file_under(&world, upper).await;
        world.crm.delete("Contact", odd).await;
        eventually("it waits for its next try", async || {
            service.log().iter().any(|line| line.contains("tried again later")).then_some(())
        })
        .await;
        let (record, files) = world.record_with_files("Contact", "ContactFile", 1).await;
        world.crm.delete("Contact", record).await;
        world.recycled(files[0]).await;
        world.storage.holds(&upper(file), Some(file.to_string().as_bytes()), None).await;
        drop(service);
    })
    .await;
}

#[tokio::test]
async fn a_file_that_is_nowhere_is_missing_once_the_template_is_proven_or_no_other_finds_it() {
    world(S3::Embedded, async |world| {
        let service = world.run().await.expect_log("in neither bucket");
        for proven in [false, true] {
            let record = world.crm.record("Contact").await;
            world.crm.hard_file("ContactFile", "Contact", record).await;
            world.crm.delete("Contact", record).await;
            let missing = if proven { 2 } else { 1 };
            eventually("it is missing", async || {
                let count = service.metric(r#"file_recycler_files_total{outcome="missing"}"#).await;
                (count == missing).then_some(())
            })
            .await;
            let (record, files) = world.record_with_files("Contact", "ContactFile", 1).await;
            world.crm.delete("Contact", record).await;
            world.recycled(files[0]).await;
        }
    })
    .await;
}

/// More files than are looked at, of before and after a day on which the CRM began to name them otherwise.
async fn files_of_two_templates(world: &World) {
    const EACH: usize = 25;
    let record = world.crm.record("Contact").await;
    for (age, key) in [("1 year", upper as fn(Uuid) -> String), ("1 day", |file| file.to_string())] {
        for _ in 0..EACH {
            let file = Uuid::new_v4();
            world
                .crm
                .sql(format!(
                    r#"INSERT INTO "ContactFile" ("Id", "Name", "TypeId", "Size", "SysFileStorageId", "ContactId", "CreatedOn")
                       VALUES ('{file}', 'name', '{FILE_TYPE}', 5, '{S3_STORAGE}', '{record}',
                               timezone('UTC', now()) - interval '{age}')"#
                ))
                .await;
            world.storage.put(Side::Object, &key(file), b"content").await;
        }
    }
}

#[tokio::test]
async fn the_newest_files_show_the_right_one() {
    world(S3::Embedded, async |world| {
        files_of_two_templates(&world).await;
        drop(world.run().await);
        let old = world.with(&[("STORAGE__KEY_TEMPLATE", "{file_id:upper}")]);
        let service = Service::start(&old, &["run"]).await.expect_log("not well");
        service.guard_says("set storage.key_template = \"{file_id}\"").await;
    })
    .await;
}

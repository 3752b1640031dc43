//! The CRM's own listener beside ours: what it has moved itself, and what a crash of it leaves behind.

use file_recycler::storage::Side;
use uuid::Uuid;

use crate::support::process::eventually;
use crate::support::world::{S3, World, world};

/// What the CRM's own listener does with one file: copy, delete, and then the row.
async fn moved_by_the_crm(world: &World, file: Uuid) {
    let content = world.object(Side::Object, file).await.unwrap();
    world.storage.put(Side::Recycle, &file.to_string(), &content).await;
    world.storage.delete(Side::Object, &file.to_string()).await;
}

/// How the CRM's own listener begins: the files lose their parent, and the record goes.
async fn begins_with(world: &World, record: Uuid) {
    world
        .crm
        .sql(format!(
            r#"UPDATE "ContactFile" SET "ContactId" = NULL WHERE "ContactId" = '{record}';
               DELETE FROM "Contact" WHERE "Id" = '{record}'"#
        ))
        .await;
}

#[tokio::test]
async fn what_the_crm_has_moved_itself_is_already_moved_and_stays_as_it_is() {
    world(S3::Embedded, async |world| {
        let service = world.run().await;
        let (record, files) = world.record_with_files("Contact", "ContactFile", 3).await;
        // Its order: parents to NULL, the record, then file by file; the last one is left to us.
        begins_with(&world, record).await;
        for file in &files[..2] {
            moved_by_the_crm(&world, *file).await;
            world.crm.delete("ContactFile", *file).await;
        }
        world.crm.delete("ContactFile", files[2]).await;
        for file in &files {
            world.recycled(*file).await;
        }
        world.quiet(&service).await;
        world.counted(&service, "already_moved", 2).await;
        world.counted(&service, "moved", 1).await;
        assert_eq!(service.metric(r#"file_recycler_files_total{outcome="missing"}"#).await, 0);
        assert_eq!(world.cli(&["dlq", "list", "--json"]).await.expect(0).json()["total"], 0);
    })
    .await;
}

#[tokio::test]
async fn rows_that_the_crms_own_listener_left_without_a_record_stay_and_explain_says_why() {
    world(S3::Embedded, async |world| {
        let service = world.run().await;
        let (record, files) = world.record_with_files("Contact", "ContactFile", 2).await;
        // It died after the first step, with the record gone.
        begins_with(&world, record).await;
        world.quiet(&service).await;
        // Not even somebody who names the file moves it.
        let (record, file) = (record.to_string(), files[0].to_string());
        world.cli(&["emit", "--schema", "Contact", "--record", &record, "--file", &file]).await.expect(0);
        eventually("it was found alive", async || {
            (service.metric(r#"file_recycler_files_total{outcome="alive"}"#).await == 1).then_some(())
        })
        .await;
        for file in &files {
            world.is_untouched(*file).await;
            let said = world.cli(&["explain", &file.to_string(), "--json"]).await.expect(0).json();
            assert_eq!(said["would"], "stay");
            let verdict = said["verdict"].as_str().unwrap();
            assert!(verdict.contains("its row is in ContactFile; it names no record"), "{verdict}");
        }
        // Once their rows go, they do.
        world.crm.sql(r#"DELETE FROM "ContactFile""#).await;
        for file in files {
            world.recycled(file).await;
        }
    })
    .await;
}

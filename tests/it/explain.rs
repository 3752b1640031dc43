//! `explain`: what it says of one file or record is what the servers have, by the contracted names, and looking changes
//! nothing.

mod doubts;
mod gone;
mod migrated;
mod odd;
mod queues;

use file_recycler::storage::Side;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::crm::{DATABASE_STORAGE, WEB_LINK_TYPE};
use crate::support::process;
use crate::support::world::{S3, World, world};

/// Every name that scripts use.
const CONTRACT: &[&str] = &["kind", "verdict", "would", "rows", "links", "objects", "ledger", "messages"];

impl World {
    /// What `explain --json` says of an id whose every part can be asked.
    async fn explained(&self, id: Uuid) -> Value {
        let said = self.cli(&["explain", &id.to_string(), "--json"]).await.expect(0);
        assert_eq!(said.stderr, "", "it has nothing to complain of");
        let said = said.json();
        for name in CONTRACT {
            assert!(!said[*name].is_null(), "'{name}' is missing: {said}");
        }
        assert_eq!(said["errors"], json!({}), "{said}");
        assert!(
            said["objects"].get("object").is_some() && said["objects"].get("recycle").is_some(),
            "{said}"
        );
        said
    }

    async fn explained_text(&self, id: Uuid) -> String {
        self.cli(&["explain", &id.to_string()]).await.expect(0).stdout
    }
}

/// Asserts kind, would and the core of the sentence.
fn is(said: &Value, kind: &str, would: &str, core: &str) {
    assert_eq!((&said["kind"], &said["would"]), (&json!(kind), &json!(would)), "{said}");
    assert!(said["verdict"].as_str().unwrap().contains(core), "'{core}' is not in: {}", said["verdict"]);
}

#[tokio::test]
async fn a_living_file_stays_and_nobodys_name_is_told() {
    world(S3::Embedded, async |world| {
        let (contact, files) = world.record_with_files("Contact", "ContactFile", 2).await;
        let said = world.explained(files[0]).await;
        is(&said, "file", "stay", &format!("its row is in ContactFile and belongs to Contact {contact}, which exists"));
        let row = &said["rows"][0];
        assert_eq!(row["table"], "public.ContactFile", "{row}");
        assert_eq!((&row["what"], &row["type"], &row["storage"]), (&json!("file"), &json!("file"), &json!("S3_storage")));
        assert_eq!(row["parent"], json!({ "schema": "Contact", "id": contact, "column": "ContactId", "weak": false, "exists": true }));
        let object = &said["objects"]["object"];
        assert_eq!((&object["present"], &object["size"]), (&json!(true), &json!(36)), "{object}");
        assert_eq!(said["objects"]["key"], files[0].to_string());
        assert!(said["objects"]["recycle"].is_null());
        assert!(said["environment"]["adopted_at"].is_string(), "{said}");

        let record = world.explained(contact).await;
        is(&record, "record", "stay", "The record exists in Contact: its 2 own files stay");
        assert_eq!(record["files"].as_array().unwrap().len(), 2);
        for shown in [world.explained_text(files[0]).await, said.to_string(), record.to_string()] {
            assert!(!shown.contains("secret name"), "{shown}");
        }
        let text = world.explained_text(files[0]).await;
        assert!(text.starts_with("The file stays: its row is in ContactFile"), "{text}");
        assert!(text.contains("objects      key "), "{text}");
    })
    .await;
}

#[tokio::test]
async fn a_file_that_a_link_shows_stays_although_its_owner_was_deleted() {
    world(S3::Embedded, async |world| {
        let mut service = world.run().await;
        let (owner, files) = world.record_with_files("Contact", "ContactFile", 1).await;
        let weak = world.crm.weak_file("SysFile", "Contact", owner).await;
        world.upload(weak).await;
        let account = world.crm.record("Account").await;
        world.crm.link("Account", account, "ContactFile", files[0]).await;
        world.crm.link("Account", account, "SysFile", weak).await;
        world.crm.delete("Contact", owner).await;
        process::eventually("the record is remembered", async || {
            (world.crm.number("SELECT count(*) FROM file_recycler.held_record").await == 1).then_some(())
        })
        .await;
        world.quiet(&service).await;

        let shown = format!("Account {account} still shows it through a link, although its");
        is(&world.explained(files[0]).await, "file", "stay", &format!("{shown} own row was deleted"));
        let said = world.explained(weak).await;
        is(&said, "file", "stay", &format!("{shown} owner was deleted; it goes with the last such link"));
        assert_eq!(said["links"][0]["record_exists"], true, "{said}");
        assert_eq!(said["held"][0]["record_id"], owner.to_string(), "{said}");
        is(&world.explained(owner).await, "record", "stay", "1 file stays through links of other records");

        assert_eq!(service.stop().await, Some(0));
        world
            .crm
            .sql(format!(
                r#"ALTER TABLE "Account" DISABLE TRIGGER ALL; DELETE FROM "Account" WHERE "Id" = '{account}'"#
            ))
            .await;
        is(&world.explained(files[0]).await, "file", "stay", "that record does not exist");
    })
    .await;
}

#[tokio::test]
async fn a_recycled_file_is_told_with_its_event_and_its_record() {
    world(S3::Embedded, async |world| {
        let service = world.run().await;
        let (record, files) = world.record_with_files("Contact", "ContactFile", 1).await;
        let weak = world.crm.weak_file("FeedFile", "Contact", record).await;
        world.upload(weak).await;
        world.crm.delete("Contact", record).await;
        for file in [files[0], weak] {
            world.recycled(file).await;
        }
        world.quiet(&service).await;
        let said = world.explained(files[0]).await;
        let event = said["ledger"][0]["event_id"].as_str().unwrap();
        is(&said, "file", "nothing", &format!("moved by event {event}; nothing would happen"));
        assert_eq!((&said["ledger"][0]["outcome"], &said["rows"]), (&json!("moved"), &json!([])));
        assert!(
            said["objects"]["object"].is_null() && said["objects"]["recycle"]["present"] == true,
            "{said}"
        );
        let said = world.explained(weak).await;
        is(&said, "file", "nothing", "It is in the recycle bucket since");
        assert_eq!(said["images"][0]["record_id"], record.to_string(), "{said}");
        is(
            &world.explained(record).await,
            "record",
            "nothing",
            "that is worked off: nothing more would move",
        );

        world.storage.delete(Side::Recycle, &files[0].to_string()).await;
        is(&world.explained(files[0]).await, "file", "nothing", "It is in neither bucket");
    })
    .await;
}

#[tokio::test]
async fn what_waits_in_the_outbox_would_move_unless_the_environment_is_paused_or_refused() {
    world(S3::Embedded, async |world| {
        let (record, files) = world.record_with_files("Contact", "ContactFile", 1).await;
        let weak = world.crm.weak_file("SysFile", "Contact", record).await;
        world.upload(weak).await;
        let unsaved = world.crm.weak_file("SysFile", "Contact", Uuid::new_v4()).await;
        world.upload(unsaved).await;
        world.queues.session().await.close().await;
        world.crm.delete("Contact", record).await;
        let said = world.explained(files[0]).await;
        is(&said, "file", "move", "its deletion has waited in the outbox since");
        assert_eq!(said["outbox"][0]["kind"], "files", "{said}");
        is(
            &world.explained(weak).await,
            "file",
            "move",
            &format!("Contact {record} was deleted; that deletion has waited"),
        );
        is(&world.explained(unsaved).await, "file", "stay", "it may not be saved yet");
        is(&world.explained(record).await, "record", "move", "its files would move");

        world.cli(&["pause", "--why", "the storage moves"]).await.expect(0);
        let said = world.explained(files[0]).await;
        is(
            &said,
            "file",
            "nothing",
            "Nothing would move now because the environment is paused: the storage moves",
        );
        assert_eq!(said["then"], "move", "{said}");
        assert!(said["verdict"].as_str().unwrap().contains("when it is resumed, it would move"), "{said}");
        world.cli(&["resume"]).await.expect(0);

        world.storage.delete(Side::Object, ".file-recycler/environment.json").await;
        is(&world.explained(files[0]).await, "file", "nothing", "the guard refuses: the marker");
        world.is_untouched(files[0]).await;
        assert_eq!(
            world.crm.number("SELECT count(*) FROM file_recycler.outbox").await,
            2,
            "nothing was taken"
        );
    })
    .await;
}

#[tokio::test]
async fn a_migrated_file_and_a_web_link_stay_and_an_object_that_is_left_is_told() {
    world(S3::Embedded, async |world| {
        let (_, files) = world.record_with_files("Contact", "ContactFile", 2).await;
        let set = async |column: &str, value: &str, file: Uuid| {
            world
                .crm
                .sql(format!(r#"UPDATE "ContactFile" SET "{column}" = '{value}' WHERE "Id" = '{file}'"#))
                .await;
        };
        set("SysFileStorageId", DATABASE_STORAGE, files[0]).await;
        let said = world.explained(files[0]).await;
        is(&said, "file", "stay", "not in S3 but in storage 'Database'");
        is(&said, "file", "stay", "An object under its key is in the object bucket all the same");
        assert_eq!(
            (&said["rows"][0]["storage"], &said["rows"][0]["in_s3"]),
            (&json!("Database"), &json!(false))
        );
        set("TypeId", WEB_LINK_TYPE, files[1]).await;
        is(
            &world.explained(files[1]).await,
            "file",
            "stay",
            "is a web link, which has no content of its own",
        );
    })
    .await;
}

#[tokio::test]
async fn looking_takes_no_lock_that_a_writer_would_wait_for() {
    world(S3::Embedded, async |world| {
        let account = world.crm.record("Account").await;
        let file = world.crm.weak_file("SysFile", "Account", account).await;
        world.upload(file).await;
        world.crm.sql(&format!(r#"DELETE FROM "Account" WHERE "Id" = '{account}'"#)).await;
        // As CREATE INDEX holds it: writers wait for it, readers do not.
        let mut index = world.crm.pool.begin().await.unwrap();
        sqlx::query(r#"LOCK TABLE "SysFile" IN SHARE MODE"#).execute(&mut *index).await.unwrap();
        let said = world.explained(account).await;
        assert_eq!(said["kind"], "record", "{said}");
        index.rollback().await.unwrap();
    })
    .await;
}

//! Where it may be done: adopted for restore, paused, never in a copy; and other applications.

use file_recycler::storage::Side;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{counts, is_back, put, restore, restore_with, row};
use crate::support::crm::Crm;
use crate::support::mapped::mapped;
use crate::support::process;
use crate::support::world::{S3, bare_world, bare_world_on, world};

#[tokio::test]
async fn it_works_paused_and_adopted_for_restore_alone() {
    world(S3::Embedded, async |world| {
        let files = [row(&world).await, row(&world).await];
        for file in files {
            put(&world, Side::Recycle, file).await;
        }
        world.cli(&["pause", "--why", "test"]).await.expect(0);
        restore(&world, &["--file", &files[0].to_string(), "--apply"], 0).await;
        is_back(&world, files[0]).await;
        world.cli(&["adopt", "--for", "restore", "--apply"]).await.expect(0);
        restore(&world, &["--file", &files[1].to_string(), "--apply"], 0).await;
        is_back(&world, files[1]).await;
    })
    .await;
}

#[tokio::test]
async fn a_copy_of_the_database_and_one_that_was_never_adopted_change_nothing_and_say_so() {
    world(S3::Embedded, async |world| {
        let file = row(&world).await;
        put(&world, Side::Recycle, file).await;
        world.crm.pool.close().await;
        let copy = Crm::copy_of(&world.crm).await;
        let environment = world.with(&[("DATABASE__URL", &copy.url)]);
        let id = file.to_string();
        let planned = restore_with(&environment, &["--file", &id], 0).await;
        assert_eq!(counts(&planned), json!({ "restored": 1 }), "{planned}");
        assert!(planned["refused"].as_str().unwrap().contains("is it a copy?"), "{planned}");
        let refused = process::run(&environment, &["restore", "--file", &id, "--apply"]).await.expect(1);
        assert!(
            refused.stderr.contains("nothing is changed: ") && refused.stderr.contains("is it a copy?"),
            "{refused:?}"
        );
        assert_eq!(world.object(Side::Object, file).await, None);
        copy.drop_database().await;
    })
    .await;
    bare_world(S3::Embedded, async |world| {
        let file = row(&world).await;
        put(&world, Side::Recycle, file).await;
        let line = ["restore", "--file", &file.to_string(), "--apply"];
        let said = world.cli(&line).await.expect(1).stderr;
        assert!(said.contains("run `file-recycler listener install` first"), "{said}");
        world.cli(&["listener", "install"]).await.expect(0);
        let planned = restore(&world, &line[1..3], 0).await;
        assert!(planned["refused"].as_str().unwrap().contains("never adopted"), "{planned}");
        let said = world.cli(&line).await.expect(1).stderr;
        assert!(said.contains("never adopted"), "{said}");
        assert_eq!(world.object(Side::Object, file).await, None);
    })
    .await;
}

#[tokio::test]
async fn a_file_without_a_key_fails_alone() {
    world(S3::Embedded, async |world| {
        let (file, unknown) = (row(&world).await, Uuid::new_v4());
        put_key(&world, &format!("ContactFile/{file}")).await;
        let environment = world.with(&[("STORAGE__KEY_TEMPLATE", "{schema}/{file_id}")]);
        super::size(&world, file, format!("ContactFile/{file}").len()).await;
        for name in ["keyless.jsonl", "keyless.csv"] {
            let path = super::temporary(name);
            let line = ["--file", &unknown.to_string(), &file.to_string(), "--report"];
            let done = restore_with(&environment, &[&line[..], &[path.to_str().unwrap()]].concat(), 1).await;
            assert_eq!(counts(&done), json!({ "restored": 1, "failed": 1 }), "{done}");
            assert_eq!(done["stopped"], Value::Null, "{done}");
            let text = std::fs::read_to_string(&path).unwrap();
            std::fs::remove_file(path).unwrap();
            let told = text.lines().find(|line| line.contains(&unknown.to_string())).unwrap();
            assert!(told.contains("the key template needs the file's schema"), "{text}");
        }
    })
    .await;
}

async fn put_key(world: &crate::support::world::World, key: &str) {
    world.storage.put(Side::Recycle, key, key.as_bytes()).await;
}

#[tokio::test]
async fn mapped_files_come_back_by_their_keys() {
    mapped(async |app| {
        let world = &app.world;
        app.sql(
            "INSERT INTO res_partner (id) VALUES (7);
             INSERT INTO attachment (id, res_model, res_id, store_name, file_size) VALUES
               (42, 'res.partner', 7, 'ab/cd', 5), (43, 'res.partner', 7, 'ab/cd', 5), (44, 'res.partner', 7, 'ef', 2);
             INSERT INTO attachment (id, res_model, res_id, kind, store_name) VALUES (45, 'res.partner', 7, 'url', NULL);
             INSERT INTO document (code) VALUES ('D');
             INSERT INTO page_scan (code, document_code, object_name, bytes) VALUES ('42', 'D', 'page', 10);
             INSERT INTO voice_note (id, partner_id) VALUES (42, 7)",
        )
        .await;
        for key in ["ab/cd", "ef", "scans/page", "42"] {
            put_key(world, key).await;
        }
        let run = async |line: &[&str], code| {
            app.cli(&[&["restore", "--json"], line].concat()).await.expect(code).json()
        };
        // One id is three files.
        let done = run(&["--file", "42", "--apply"], 0).await;
        assert_eq!(counts(&done), json!({ "restored": 3 }), "{done}");
        for key in ["ab/cd", "scans/page", "42"] {
            world.storage.holds(key, Some(key.as_bytes()), Some(key.as_bytes())).await;
        }
        let record = run(&["--record", "res_partner:7", "--apply"], 0).await;
        assert_eq!(counts(&record), json!({ "present": 3, "restored": 1 }), "{record}");
        assert!(record["warnings"][0].as_str().unwrap().starts_with("1 rows of the record"), "{record}");
        let document = run(&["--record", "document:D"], 0).await;
        assert_eq!(counts(&document), json!({ "present": 1 }), "{document}");

        // A row that went with its record, without a foreign key.
        let service = app.run().await;
        app.sql("DELETE FROM res_partner WHERE id = 7").await;
        for key in ["ab/cd", "ef", "42"] {
            app.recycled(key).await;
        }
        app.quiet(&service).await;
        drop(service);
        let gone = run(&["--deleted-since", "1h", "--apply"], 1).await;
        // Both attachments of one object have a line of their own.
        let lines = gone["counts"]["failed"].as_u64().unwrap();
        assert!(lines >= 3 && gone["counts"]["restored"] == 0, "{gone}");
        app.sql("INSERT INTO res_partner (id) VALUES (7)").await;
        let done = run(&["--record", "res_partner:7", "--with-rows", "--apply"], 0).await;
        assert_eq!(done["rows_inserted"], 4, "{done}");
        let rows = "SELECT count(*) FROM attachment WHERE res_id = 7 AND store_name IS NOT NULL";
        assert_eq!(world.crm.number(rows).await, 3);
        for key in ["ab/cd", "ef", "42"] {
            world.storage.holds(key, Some(key.as_bytes()), Some(key.as_bytes())).await;
        }
    })
    .await;
}

#[tokio::test]
async fn where_no_database_can_be_asked_files_come_back_from_the_ledger_by_force_only() {
    let settings = [("CRM__PROFILE", "events"), ("CRM__TRUST_OUTSIDE_EVENTS", "true")];
    bare_world_on(S3::Embedded, Crm::with("SELECT 1").await, async |world| {
        let environment = world.with(&settings);
        for line in [&["listener", "install"][..], &["adopt", "--apply"]] {
            process::run(&environment, line).await.expect(0);
        }
        for (id, key, dated) in [("7", "files/7", "clock_timestamp()"), ("8", "8", "NULL")] {
            put_key(&world, key).await;
            world
                .crm
                .sql(format!(
                    "INSERT INTO file_recycler.ledger (file_id, key, record_schema, record_id, event_id, outcome, deleted_at)
                     VALUES ('{id}', '{key}', 'ORDERS', '4711/a', 'e', 'moved', {dated})"
                ))
                .await;
        }
        for line in [&["--file", "7"][..], &["--file", "7", "--with-rows", "--force"]] {
            let said = process::run(&environment, &[&["restore"], line].concat()).await.expect(2).stderr;
            assert!(said.contains("crm.profile is events"), "{said}");
        }
        let back = async |line: &[&str], code| -> Value { restore_with(&environment, line, code).await };
        let one = back(&["--file", "7", &Uuid::nil().to_string(), "--force", "--apply"], 1).await;
        assert_eq!(counts(&one), json!({ "restored": 1, "never_seen": 1 }), "{one}");
        let record = back(&["--record", "ORDERS:4711/a", "--force"], 0).await;
        assert_eq!(counts(&record), json!({ "present": 1, "restored": 1 }), "{record}");
        let since = back(&["--deleted-since", "1h", "--force", "--apply"], 0).await;
        assert_eq!(counts(&since), json!({ "present": 1, "restored": 1 }), "{since}");
        for key in ["files/7", "8"] {
            world.storage.holds(key, Some(key.as_bytes()), Some(key.as_bytes())).await;
        }
    })
    .await;
}

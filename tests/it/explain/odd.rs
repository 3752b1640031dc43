//! Ids and names that are unusual: shared, many, unknown, quoted.

use serde_json::json;
use uuid::Uuid;

use super::is;
use crate::support::crm::{FILE_TYPE, S3_STORAGE};
use crate::support::process;
use crate::support::world::{S3, bare_world, world};

#[tokio::test]
async fn one_id_in_two_tables_and_as_a_record_is_told_of_each() {
    world(S3::Embedded, async |world| {
        let (contact, files) = world.record_with_files("Contact", "ContactFile", 1).await;
        let id = files[0];
        let copy = r#"INSERT INTO "SysFile" ("Id", "TypeId", "SysFileStorageId", "RecordSchemaName", "RecordId")
               SELECT "Id", "TypeId", "SysFileStorageId", 'Contact', "ContactId" FROM "ContactFile";
               CREATE TABLE "AccountFile_part" () INHERITS ("AccountFile")"#;
        world.crm.sql(copy).await;
        is(&world.explained(id).await, "file", "stay", "rows of ContactFile and SysFile have its id");
        world.crm.sql(format!(r#"INSERT INTO "Account" ("Id") VALUES ('{id}')"#)).await;
        let said = world.explained(id).await;
        is(&said, "both", "stay", "As a record: The record exists in Account");
        assert_eq!(said["rows"].as_array().unwrap().len(), 3, "{said}");

        world.crm.sql(format!(r#"INSERT INTO "Lead" ("Id") VALUES ('{contact}')"#)).await;
        let both = world.explained(contact).await;
        assert_eq!(both["rows"].as_array().unwrap().len(), 2, "{both}");
        let narrowed = world
            .cli(&["explain", &contact.to_string(), "--schema", "Lead", "--json"])
            .await
            .expect(0)
            .json();
        assert_eq!(
            (&narrowed["rows"][0]["schema"], &narrowed["files"]),
            (&json!("Lead"), &json!([])),
            "{narrowed}"
        );

        let part = Uuid::new_v4();
        world.crm.sql(format!(r#"INSERT INTO "AccountFile_part" ("Id") VALUES ('{part}')"#)).await;
        let said = world.explained(part).await;
        assert_eq!(said["rows"][0]["table"], "public.AccountFile_part", "{said}");
        is(&said, "file", "stay", "its TypeId is empty; its storage is 'Database'");
    })
    .await;
}

#[tokio::test]
async fn a_record_with_many_weak_files_lists_some_and_counts_all() {
    world(S3::Embedded, async |world| {
        let record = world.crm.record("Account").await;
        world
            .crm
            .sql(format!(
                r#"INSERT INTO "SysFile" ("TypeId", "SysFileStorageId", "RecordSchemaName", "RecordId")
                   SELECT '{FILE_TYPE}', '{S3_STORAGE}', 'Account', '{record}' FROM generate_series(1, 130);
                   INSERT INTO "FileLink" ("RecordSchemaName", "RecordId", "FileSchemaName", "FileRecordId")
                   SELECT 'Account', '{record}', 'SysFile', gen_random_uuid() FROM generate_series(1, 120)"#
            ))
            .await;
        let said = world.explained(record).await;
        is(&said, "record", "stay", "its 130 own files stay, and it shows others through links");
        assert_eq!((said["files"].as_array().unwrap().len(), &said["files_total"]), (100, &json!(130)));
        assert_eq!((said["links"].as_array().unwrap().len(), &said["links_total"]), (100, &json!(120)));
        assert!(said["notes"].to_string().contains("100 of 130 files are listed"), "{said}");
        // An id that nothing captured, and rows that name it: a record that is not saved yet.
        world
            .crm
            .sql(format!(
                r#"ALTER TABLE "Account" DISABLE TRIGGER ALL; DELETE FROM "Account" WHERE "Id" = '{record}'"#
            ))
            .await;
        is(&world.explained(record).await, "record", "stay", "What names it stays: 130 files and");
    })
    .await;
}

#[tokio::test]
async fn an_unknown_id_is_no_error_and_what_is_no_id_is_one() {
    world(S3::Embedded, async |world| {
        let id = Uuid::new_v4();
        let said = world.explained(id).await;
        is(&said, "unknown", "nothing", &format!("Nothing is known of {id}"));
        let spelled =
            world.cli(&["explain", &id.simple().to_string().to_uppercase(), "--json"]).await.expect(0).json();
        assert_eq!(spelled["id"], id.to_string());
        for wrong in ["nobody", "' OR 1=1 --", "", "Contact"] {
            assert!(world.cli(&["explain", wrong]).await.expect(2).stderr.contains("is no UUID"), "{wrong}");
        }
        world.cli(&["explain"]).await.expect(2);
        let odd = ["explain", &id.to_string(), "--schema", r#"Con"tact'; DROP TABLE "Contact" --"#, "--json"];
        let said = world.cli(&odd).await.expect(0).json();
        assert!(said["notes"].to_string().contains("the database has no table of the schema"), "{said}");
        let templated = world.with(&[("STORAGE__KEY_TEMPLATE", "f/{schema}/{file_id}")]);
        let said = process::run(&templated, &["explain", &id.to_string(), "--json"]).await.expect(0).json();
        assert_eq!(said["kind"], "unknown", "{said}");
    })
    .await;
}

#[tokio::test]
async fn names_with_quotes_are_names() {
    world(S3::Embedded, async |world| {
        let (section, table) = (r#"Do"c's"#, r#"Do"c'sFile"#);
        world.crm.sql(format!("SELECT make_section('{}', 'CASCADE')", section.replace('\'', "''"))).await;
        world.cli(&["listener", "install"]).await.expect(0);
        let (record, file) = (Uuid::new_v4(), Uuid::new_v4());
        let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        world
            .crm
            .sql(format!(
                r#"INSERT INTO {} ("Id") VALUES ('{record}');
                   INSERT INTO {} ("Id", "TypeId", "SysFileStorageId", {}) VALUES ('{file}', '{}', '{}', '{record}')"#,
                quoted(section),
                quoted(table),
                quoted(&format!("{section}Id")),
                FILE_TYPE,
                S3_STORAGE
            ))
            .await;
        let said = world.explained(file).await;
        is(&said, "file", "stay", &format!("its row is in {table} and belongs to {section} {record}, which exists"));
        is(&said, "file", "stay", "But its object is in neither bucket");
        is(&world.explained(record).await, "record", "stay", &format!("The record exists in {section}: its 1 own file"));
    })
    .await;
}

#[tokio::test]
async fn before_anything_is_installed_the_crms_part_is_told_all_the_same() {
    bare_world(S3::Embedded, async |world| {
        let (_, files) = world.record_with_files("Contact", "ContactFile", 1).await;
        let said = world.cli(&["explain", &files[0].to_string(), "--json"]).await.expect(1).json();
        is(&said, "file", "nothing", "It cannot be told what would happen (would: ");
        assert_eq!(said["rows"][0]["schema"], "ContactFile", "{said}");
        assert!(said["environment"]["guard"].as_str().unwrap().contains("never adopted"), "{said}");
        assert!(said["ledger"].is_null() && said["errors"]["ledger"].is_string(), "{said}");
    })
    .await;
}

//! Hostile names in the database and in events: nothing leaves its quotes, and nothing is broken by them.

use file_recycler::config::OnCaptureError;
use file_recycler::db::triggers::CaptureState;
use serde_json::json;
use uuid::Uuid;

use crate::support::database::{TestDatabase, crm};
use crate::support::process::eventually;
use crate::support::world::{S3, World, world};

/// A name that a table can have and no event may carry.
const CONTROL: &str = "Usr\nDeal\t\r";

/// Names that a table can have, and that break what is not quoted.
fn names() -> Vec<String> {
    let mut names: Vec<String> = [
        r#"Usr"Deal""#,
        "Usr'Deal' OR 1=1 --",
        r#"Usr"; DROP TABLE "Contact"; --"#,
        r"Usr\'Deal\",
        "Usr$$Deal$1$",
        "$file_recycler$",
        CONTROL,
        "Usr%I%s{}",
        "Договір №1 «Ї»",
        "案件😀",
        "usr deal.public",
        "Usr/*Deal*/",
        "a\u{202E}b",
    ]
    .map(str::to_owned)
    .into();
    // As long as PostgreSQL allows, to the byte.
    names.push("Ж".repeat(31) + "x");
    names.push("y".repeat(63));
    names
}

fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', r"\\").replace('\'', "''"))
}

fn identifier(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

#[tokio::test]
async fn sections_of_any_name_are_captured_under_it_and_let_go() {
    let database = TestDatabase::create().await;
    for (number, name) in names().iter().enumerate() {
        database.run(&format!("SELECT make_section({}, 'CASCADE', 'UsrFiles{number}')", literal(name))).await;
    }
    database.install(OnCaptureError::Skip).await;
    let status = database.db().capture_status(&crm(), OnCaptureError::Skip).await.unwrap();
    assert_eq!(status.state(), CaptureState::Installed, "{:?}", status.drift);
    for name in names() {
        let table = identifier(&name);
        database.run(&format!("INSERT INTO {table} DEFAULT VALUES; DELETE FROM {table}")).await;
        let captured = database.captured().await;
        if name == CONTROL {
            assert_eq!(captured, [""; 0], "no event can name it");
            assert!(
                status.remarks.iter().any(|remark| remark.contains(r#""Usr\nDeal\t\r""#)),
                "{:?}",
                status.remarks
            );
            continue;
        }
        assert_eq!(captured, [format!("records {name} 1")], "{name:?}");
        database.run("DELETE FROM file_recycler.outbox").await;
    }
    assert_eq!(database.db().capture_failures().await.unwrap(), 0);
    assert_eq!(database.value::<i64>(r#"SELECT count(*) FROM "Contact""#).await, 0, "the table is there");
    database.db().uninstall(false, &crate::support::database::actor()).await.unwrap();
    let left = r"SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'file\_recycler\_%'";
    assert_eq!(database.value::<i64>(left).await, 0);
}

#[tokio::test]
async fn file_tables_and_their_columns_may_have_any_name() {
    let database = TestDatabase::create().await;
    for name in names() {
        let (schema, table, column) = (literal(&name), identifier(&name), identifier(&name));
        database
            .run(&format!(
                "SELECT make_schema({schema}, 'File'), make_file_table({schema}, {})",
                literal(&format!(r#"{column} uuid REFERENCES "Contact" ON DELETE CASCADE"#)),
            ))
            .await;
        database
            .run(&format!(
                r#"INSERT INTO {table} ("TypeId", "SysFileStorageId", "Size")
                   SELECT '529bc2f8-0ee0-df11-971b-001d60e938c6', '7b1ac6fa-3f43-4d27-9f50-2d6a7a3d9c11', 1"#
            ))
            .await;
    }
    database.install(OnCaptureError::Skip).await;
    for name in names() {
        let contact = database.record("Contact").await;
        let (table, column) = (identifier(&name), identifier(&name));
        database.run(&format!("UPDATE {table} SET {column} = '{contact}'")).await;
        database.run(&format!(r#"DELETE FROM "Contact" WHERE "Id" = '{contact}'"#)).await;
        let shown = name.replace(char::is_control, "\u{FFFD}");
        let expected = ["records Contact 1".to_owned(), format!("files {shown} 1")];
        assert_eq!(database.captured().await, expected, "{name:?}");
        let parent: bool = database
            .value(&format!(
                "SELECT parent_schema = 'Contact' AND parents = ARRAY['{contact}']::uuid[]
                   FROM file_recycler.outbox WHERE kind = 'files'"
            ))
            .await;
        assert!(parent, "{name:?}");
        database.run("DELETE FROM file_recycler.outbox").await;
    }
    assert_eq!(database.db().capture_failures().await.unwrap(), 0);
}

#[tokio::test]
async fn records_of_sections_of_any_name_take_their_weak_files_with_them() {
    world(S3::Embedded, async |world| {
        let names: Vec<String> = names().into_iter().filter(|name| name != CONTROL).collect();
        for (number, name) in names.iter().enumerate() {
            let section = format!("SELECT make_section({}, 'CASCADE', 'UsrFiles{number}')", literal(name));
            world.crm.sql(section).await;
        }
        world.cli(&["listener", "install"]).await.expect(0);
        let service = world.run().await;
        let mut files = Vec::new();
        for name in &names {
            let (record, weak, table) = (Uuid::new_v4(), Uuid::new_v4(), identifier(name));
            world.upload(weak).await;
            world
                .crm
                .sql(format!(
                    r#"INSERT INTO {table} ("Id") VALUES ('{record}');
                       INSERT INTO "SysFile" ("Id", "TypeId", "SysFileStorageId", "RecordSchemaName", "RecordId")
                       VALUES ('{weak}', '529bc2f8-0ee0-df11-971b-001d60e938c6', '7b1ac6fa-3f43-4d27-9f50-2d6a7a3d9c11', {}, '{record}');
                       DELETE FROM {table}"#,
                    literal(name)
                ))
                .await;
            files.push(weak);
        }
        for file in files {
            world.recycled(file).await;
        }
        world.quiet(&service).await;
        assert_eq!(world.crm.number(r#"SELECT count(*) FROM "SysFile""#).await, 0);
        assert_eq!(world.cli(&["dlq", "list", "--json"]).await.expect(0).json()["total"], 0);
    })
    .await;
}

/// What a user of the CRM can put into a text column: no table has such a name.
const RECORD_SCHEMAS: [&str; 6] =
    ["", "x'; DROP TABLE \"Contact\"; --", "\"Contact\"", "Con\\tact\n", "$1", "pg_class"];

async fn hostile_rows(world: &World) -> Vec<Uuid> {
    let mut files = Vec::new();
    for name in RECORD_SCHEMAS {
        let (file, record) = (Uuid::new_v4(), Uuid::new_v4());
        world
            .crm
            .sql(format!(
                r#"INSERT INTO "SysFile" ("Id", "TypeId", "SysFileStorageId", "RecordSchemaName", "RecordId")
                   VALUES ('{file}', '529bc2f8-0ee0-df11-971b-001d60e938c6', '7b1ac6fa-3f43-4d27-9f50-2d6a7a3d9c11', {name}, '{record}');
                   INSERT INTO "FileLink" ("RecordSchemaName", "RecordId", "FileSchemaName", "FileRecordId")
                   VALUES ({name}, '{record}', {name}, '{file}')"#,
                name = literal(name),
            ))
            .await;
        world.upload(file).await;
        files.push(file);
    }
    files
}

#[tokio::test]
async fn rows_that_name_hostile_schemas_are_captured_and_move_like_any() {
    world(S3::Embedded, async |world| {
        let files = hostile_rows(&world).await;
        world.cli(&["listener", "install"]).await.expect(0);
        world.cli(&["listener", "status"]).await.expect(0);
        let service = world.run().await;
        world.crm.sql(r#"DELETE FROM "FileLink""#).await;
        world.crm.sql(r#"DELETE FROM "SysFile""#).await;
        for file in files {
            world.recycled(file).await;
        }
        world.quiet(&service).await;
        assert_eq!(world.crm.number("SELECT count(*) FROM pg_class WHERE relname = 'Contact'").await, 1);
    })
    .await;
}

#[tokio::test]
async fn events_with_hostile_names_are_malformed_and_nothing_comes_of_them() {
    world(S3::Embedded, async |world| {
        let service = world.run().await.expect_log("dead-lettered reason=malformed");
        let kept = hostile_rows(&world).await;
        let (contact, living) = world.record_with_files("Contact", "ContactFile", 1).await;
        let names: Vec<&str> = RECORD_SCHEMAS.into_iter().chain(["a\u{202E}b", "Ж'\"\\$$"]).collect();
        for name in &names {
            let event = json!({
                "specversion": "1.0", "id": Uuid::new_v4(), "source": "/'; --", "type": "crm.record.deleted.v1",
                "subject": "\"$$\\", "data": { "schema": name, "record_id": contact,
                    "files": [{ "file_id": living[0], "schema": name }] }
            });
            let work = world.queues.topology.work();
            let properties = lapin::BasicProperties::default();
            crate::support::broker::put(&work, event.to_string().as_bytes(), properties).await;
        }
        eventually("every event is dead", async || {
            let dead = world.cli(&["dlq", "list", "--json"]).await.expect(0).json();
            (dead["total"] == names.len()).then_some(())
        })
        .await;
        for file in kept.into_iter().chain(living) {
            world.is_untouched(file).await;
        }
        assert_eq!(world.crm.number(r#"SELECT count(*) FROM "Contact""#).await, 1);
        drop(service);
    })
    .await;
}

//! Files that are on their way between database and storage, or were.

use file_recycler::storage::Side;
use serde_json::{Value, json};
use uuid::Uuid;

use super::is;
use crate::support::crm::{DATABASE_STORAGE, S3_STORAGE};
use crate::support::process;
use crate::support::roles::Roles;
use crate::support::world::{S3, bare_world, world};

/// What an administrator is given to type.
fn statement(said: &Value) -> &str {
    let verdict = said["verdict"].as_str().unwrap();
    let at = verdict.find("UPDATE ").unwrap_or_else(|| panic!("no statement: {verdict}"));
    verdict[at..]
        .strip_suffix(";`.")
        .unwrap_or_else(|| panic!("it does not end with the statement: {verdict}"))
}

#[tokio::test]
async fn content_that_is_left_in_a_row_is_told_with_what_frees_it() {
    for s3 in [S3::Embedded, S3::Foreign, S3::Moto] {
        world(s3, async |world| {
            let file = world.file_in_database().await;
            world.migrate(file).await;
            let said = world.explained(file).await;
            is(&said, "file", "stay", "Its row still has 36 bytes of content");
            is(&said, "file", "stay", "file-recycler migrate --reclaim");
            assert_eq!(said["rows"][0]["data_bytes"], 36, "{said}");
            assert_eq!(
                said["objects"]["object"]["migrated_by"], said["environment"]["id"],
                "{s3:?}: its mark: {said}"
            );
            let text = world.explained_text(file).await;
            assert!(text.contains(", 36 bytes in the row as well, of Contact"), "{text}");
            assert!(text.contains(", migrated there by environment "), "{text}");

            world.clear_row(file).await;
            let said = world.explained(file).await;
            assert_eq!(said["rows"][0]["data_bytes"], 0, "{said}");
            assert!(!said["verdict"].as_str().unwrap().contains("content"), "{said}");
        })
        .await;
    }
}

#[tokio::test]
async fn an_object_of_a_file_that_is_in_the_database_is_told_with_the_command_that_leads_on() {
    world(S3::Embedded, async |world| {
        let [ours, theirs, nobodys] =
            [world.file_in_database().await, world.file_in_database().await, world.file_in_database().await];
        world.upload_migrated(ours).await;
        world.upload_with_mark(theirs, &Uuid::new_v4().to_string()).await;
        world.upload(nobodys).await;
        let said = world.explained(ours).await;
        is(&said, "file", "stay", "bears the mark of our own migration to the storage");
        is(&said, "file", "stay", "file-recycler migrate --to storage goes on where it was cut off");
        for other in [theirs, nobodys] {
            let said = world.explained(other).await;
            is(&said, "file", "stay", "as a migration leaves it; it is left alone");
            is(&said, "file", "stay", "file-recycler migrate --to storage switches the row to it");
        }
        assert_eq!(world.explained(nobodys).await["objects"]["object"]["migrated_by"], json!(null));
        for file in [ours, theirs, nobodys] {
            world.is_untouched(file).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_file_that_is_lost_in_both_buckets_is_not_lost_where_its_row_has_the_content() {
    world(S3::Embedded, async |world| {
        let file = world.file_in_database().await;
        world.say_where(file, S3_STORAGE).await;
        let said = world.explained(file).await;
        is(&said, "file", "stay", "But its object is in neither bucket");
        is(
            &said,
            "file",
            "stay",
            "The content is not lost: its row still has 36 bytes of it. An administrator",
        );
        let statement = statement(&said).to_owned();
        world.crm.sql(&statement).await;
        let now = world.explained(file).await;
        assert_eq!(
            (&now["rows"][0]["storage"], &now["rows"][0]["in_s3"]),
            (&json!("Database"), &json!(false))
        );
        let there =
            format!(r#"SELECT count(*) FROM "ContactFile" WHERE "SysFileStorageId" = '{DATABASE_STORAGE}'"#);
        assert_eq!(world.crm.number(there).await, 1);

        // An object in the recycle bucket comes back by itself: no statement for it.
        world.say_where(file, S3_STORAGE).await;
        world.storage.put(Side::Recycle, &file.to_string(), b"copy").await;
        let said = world.explained(file).await;
        is(&said, "file", "stay", "only in the recycle bucket");
        is(&said, "file", "stay", "Its row still has 36 bytes of content.");
        assert!(!said["verdict"].as_str().unwrap().contains("UPDATE "), "{said}");

        world.storage.delete(Side::Recycle, &file.to_string()).await;
        world.crm.sql(r#"UPDATE "ContactFile" SET "Size" = 35"#).await;
        is(
            &world.explained(file).await,
            "file",
            "stay",
            "(it says 35 bytes, so that may be an older content)",
        );

        // The statement does nothing where there is nothing to read.
        world.clear_row(file).await;
        world.crm.sql(&statement).await;
        let still =
            format!(r#"SELECT count(*) FROM "ContactFile" WHERE "SysFileStorageId" = '{S3_STORAGE}'"#);
        assert_eq!(world.crm.number(still).await, 1);
        is(
            &world.explained(file).await,
            "file",
            "stay",
            "But its object is in neither bucket: the CRM cannot open it.",
        );
    })
    .await;
}

#[tokio::test]
async fn a_role_that_may_not_read_contents_is_told_nothing_of_them() {
    bare_world(S3::Embedded, async |world| {
        let roles = Roles::installed(&world).await;
        let as_run = world.with(&[("DATABASE__URL", &roles.url_as(&roles.run))]);
        process::run(&as_run, &["adopt", "--apply"]).await.expect(0);
        let file = world.file_in_database().await;
        world.migrate(file).await;
        let explain =
            async || process::run(&as_run, &["explain", &file.to_string(), "--json"]).await.expect(0).json();
        let said = explain().await;
        assert_eq!((&said["rows"][0]["data_bytes"], &said["errors"]), (&json!(null), &json!({})), "{said}");
        assert!(!said["verdict"].as_str().unwrap().contains("content"), "{said}");
        roles.sql(&format!(r#"GRANT SELECT ("Data") ON "ContactFile" TO {}"#, roles.run)).await;
        let said = explain().await;
        assert_eq!(said["rows"][0]["data_bytes"], 36, "{said}");
        is(&said, "file", "stay", "migrate --reclaim");
        drop(roles);
    })
    .await;
}

//! To the database.

use file_recycler::storage::Side;
use serde_json::json;
use uuid::Uuid;

use super::{S3, SERVERS, in_row, migrate, row_is};
use crate::support::crm::{DATABASE_STORAGE, FILE_TYPE, S3_STORAGE};
use crate::support::process::eventually;
use crate::support::world::{World, world};

/// A file of a contact, whose content is in S3, by its row of so many bytes.
async fn in_s3(world: &World, size: usize) -> Uuid {
    let file = in_row(world, b"").await;
    let sql = format!(
        r#"UPDATE "ContactFile" SET "Data" = NULL, "Size" = {size}, "SysFileStorageId" = '{S3_STORAGE}' WHERE "Id" = '{file}'"#
    );
    world.crm.sql(sql).await;
    file
}

#[tokio::test]
async fn what_is_not_what_the_row_says_is_told_and_stays() {
    for s3 in SERVERS.into_iter().chain([S3::Opaque]) {
        world(s3, async |world| {
            let [good, unknown, longer, missing] = [
                in_s3(&world, 7).await,
                in_s3(&world, 0).await,
                in_s3(&world, 7).await,
                in_s3(&world, 7).await,
            ];
            world.storage.put(Side::Object, &good.to_string(), b"content").await;
            world.storage.put(Side::Object, &unknown.to_string(), b"any size").await;
            world.storage.put(Side::Object, &longer.to_string(), b"content and more").await;
            let said = migrate(&world, &["--to", "database", "--apply"], 1).await;
            let expected = json!({ "migrated": 2, "size_differs": 1, "missing": 1 });
            assert_eq!(said.counts(), expected, "{:?}", said.files);
            row_is(&world, good, DATABASE_STORAGE, Some(b"content")).await;
            row_is(&world, unknown, DATABASE_STORAGE, Some(b"any size")).await;
            for file in [longer, missing] {
                row_is(&world, file, S3_STORAGE, None).await;
                assert!(said.file(file)["why"].is_string());
            }
            world.storage.holds(&good.to_string(), Some(b"content"), None).await;
        })
        .await;
    }
}

#[tokio::test]
async fn an_object_whose_row_tells_no_size_is_streamed_where_it_is_large() {
    world(S3::Foreign, async |world| {
        let file = in_s3(&world, 0).await;
        let content: Vec<u8> =
            (0..9_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        world.storage.put(Side::Object, &file.to_string(), &content).await;
        let said = migrate(&world, &["--to", "database", "--apply"], 0).await;
        assert_eq!(said.counts(), json!({ "migrated": 1 }), "{:?}", said.files);
        super::same_as_row(&world, file).await;
    })
    .await;
}

#[tokio::test]
async fn an_object_that_another_row_has_in_s3_stays() {
    for other_storage in [S3_STORAGE.to_owned(), Uuid::new_v4().to_string()] {
        world(S3::Embedded, async |world| {
            let file = in_s3(&world, 7).await;
            world.storage.put(Side::Object, &file.to_string(), b"content").await;
            // The CRM copies rows to other tables under the same id.
            let sql = format!(
                r#"INSERT INTO "SysFile" ("Id", "TypeId", "Size", "SysFileStorageId")
                   VALUES ('{file}', '{FILE_TYPE}', 7, '{other_storage}')"#
            );
            world.crm.sql(sql).await;
            let line = ["--to", "database", "--schema", "ContactFile", "--recycle-objects", "--apply"];
            let said = migrate(&world, &line, 0).await;
            assert_eq!(said.counts(), json!({ "migrated": 1 }), "{:?}", said.files);
            let why = "its object stays: a link or another row names the file";
            assert_eq!(said.file(file)["why"], why);
            row_is(&world, file, DATABASE_STORAGE, Some(b"content")).await;
            world.storage.holds(&file.to_string(), Some(b"content"), None).await;
        })
        .await;
    }
}

/// What a link names is in use; its object is told each time, and stays.
#[tokio::test]
async fn an_object_that_was_left_behind_of_a_linked_file_is_told() {
    world(S3::Embedded, async |world| {
        let file = in_row(&world, b"content").await;
        migrate(&world, &["--to", "storage", "--apply"], 0).await;
        migrate(&world, &["--to", "database", "--apply"], 0).await;
        let account = world.crm.record("Account").await;
        world.crm.link("Account", account, "ContactFile", file).await;
        for _ in 0..2 {
            let said = migrate(&world, &["--to", "database", "--recycle-objects", "--apply"], 0).await;
            assert_eq!(said.counts(), json!({ "kept": 1 }), "{:?}", said.files);
            assert!(
                said.file(file)["why"].as_str().unwrap().contains("a link or another row"),
                "{:?}",
                said.files
            );
        }
        world.storage.holds(&file.to_string(), Some(b"content"), None).await;
    })
    .await;
}

/// The object goes after the row's commit: that has to be on the disk, however the application commits.
#[tokio::test]
async fn a_switch_is_durable_also_where_the_application_does_not_wait_for_the_disk() {
    world(S3::Embedded, async |world| {
        let [_, _] = [in_row(&world, b"content").await, super::large(&world, 200_000).await];
        world
            .crm
            .sql(
                r#"CREATE TABLE "Commits" (how text);
                   CREATE FUNCTION commits() RETURNS trigger LANGUAGE plpgsql AS $$
                     BEGIN INSERT INTO "Commits" VALUES (current_setting('synchronous_commit')); RETURN NEW; END $$;
                   CREATE TRIGGER commits AFTER UPDATE ON "ContactFile" FOR EACH ROW EXECUTE FUNCTION commits();
                   DO $$ BEGIN
                     EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database());
                   END $$"#,
            )
            .await;
        migrate(&world, &["--to", "storage", "--apply"], 0).await;
        migrate(&world, &["--to", "database", "--apply"], 0).await;
        assert_eq!(world.crm.number(r#"SELECT count(*) FROM "Commits" WHERE how = 'on'"#).await, 4);
        assert_eq!(world.crm.number(r#"SELECT count(*) FROM "Commits" WHERE how <> 'on'"#).await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_row_that_the_database_refuses_to_change_keeps_no_other() {
    world(S3::Embedded, async |world| {
        let [refused, other] = [in_s3(&world, 7).await, in_s3(&world, 7).await];
        for file in [refused, other] {
            world.storage.put(Side::Object, &file.to_string(), b"content").await;
        }
        world
            .crm
            .sql(format!(
                r#"CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
                     BEGIN IF NEW."Id" = '{refused}' THEN RAISE EXCEPTION 'this row is sealed'; END IF; RETURN NEW; END $$;
                   CREATE TRIGGER seal BEFORE UPDATE ON "ContactFile" FOR EACH ROW EXECUTE FUNCTION refuse()"#
            ))
            .await;
        let said = migrate(&world, &["--to", "database", "--apply"], 1).await;
        assert_eq!(said.counts(), json!({ "failed": 1, "migrated": 1 }), "{:?}", said.files);
        let why = said.file(refused)["why"].as_str().unwrap();
        assert!(why.contains("this row is sealed"), "{why}");
        row_is(&world, refused, S3_STORAGE, None).await;
        row_is(&world, other, DATABASE_STORAGE, Some(b"content")).await;
    })
    .await;
}

#[tokio::test]
async fn a_row_with_another_content_of_its_own_keeps_it() {
    world(S3::Embedded, async |world| {
        let [same, other] = [in_row(&world, b"content").await, in_row(&world, b"content").await];
        let (large, grown) = (super::large(&world, 400_000).await, super::large(&world, 400_000).await);
        migrate(&world, &["--to", "storage", "--apply"], 0).await;
        world
            .crm
            .sql(format!(
                r#"UPDATE "ContactFile" SET "Data" = 'changed' WHERE "Id" = '{other}';
                   UPDATE "ContactFile" SET "Data" = "Data" || 'more' WHERE "Id" = '{grown}'"#
            ))
            .await;
        let said = migrate(&world, &["--to", "database", "--apply"], 1).await;
        assert_eq!(said.counts(), json!({ "migrated": 2, "differs": 2 }), "{:?}", said.files);
        row_is(&world, same, DATABASE_STORAGE, Some(b"content")).await;
        row_is(&world, other, S3_STORAGE, Some(b"changed")).await;
        super::same_as_row(&world, large).await;
        let kept = format!(
            r#"SELECT count(*) FROM "ContactFile" WHERE "Id" = '{grown}' AND octet_length("Data") = 6400004
                  AND "SysFileStorageId" = '{S3_STORAGE}'"#
        );
        assert_eq!(world.crm.number(kept).await, 1);
    })
    .await;
}

#[tokio::test]
async fn the_crms_own_triggers_find_what_they_name() {
    world(S3::Embedded, async |world| {
        let file = in_row(&world, b"content").await;
        world
            .crm
            .sql(
                r#"CREATE TABLE "Notice" ("Id" uuid);
                   CREATE FUNCTION notice() RETURNS trigger LANGUAGE plpgsql AS $$
                     BEGIN INSERT INTO "Notice" VALUES (NEW."Id"); RETURN NEW; END $$;
                   CREATE TRIGGER notice AFTER UPDATE ON "ContactFile" FOR EACH ROW EXECUTE FUNCTION notice()"#,
            )
            .await;
        migrate(&world, &["--to", "storage", "--apply"], 0).await;
        migrate(&world, &["--reclaim", "--apply"], 0).await;
        migrate(&world, &["--to", "database", "--apply"], 0).await;
        row_is(&world, file, DATABASE_STORAGE, Some(b"content")).await;
        assert_eq!(world.crm.number(r#"SELECT count(*) FROM "Notice""#).await, 3);
    })
    .await;
}

#[tokio::test]
async fn a_large_content_that_changes_on_its_way_into_the_row_is_undone() {
    world(S3::Embedded, async |world| {
        let file = super::large(&world, 400_000).await;
        migrate(&world, &["--to", "storage", "--apply"], 0).await;
        migrate(&world, &["--reclaim", "--apply"], 0).await;
        world
            .crm
            .sql(
                r"CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS $$
                     BEGIN NEW.piece := set_byte(NEW.piece, 0, 255 - get_byte(NEW.piece, 0)); RETURN NEW; END $$;
                   CREATE FUNCTION spoil_what_is_made() RETURNS event_trigger LANGUAGE plpgsql AS $$
                     DECLARE made text; BEGIN
                       FOR made IN SELECT object_identity FROM pg_event_trigger_ddl_commands() WHERE object_type = 'table' LOOP
                         EXECUTE format('CREATE TRIGGER spoil BEFORE INSERT ON %s FOR EACH ROW WHEN (NEW.number = 200)
                                         EXECUTE FUNCTION public.spoil()', made);
                       END LOOP; END $$;
                   CREATE EVENT TRIGGER spoil ON ddl_command_end WHEN TAG IN ('CREATE TABLE')
                     EXECUTE FUNCTION spoil_what_is_made()",
            )
            .await;
        let said = migrate(&world, &["--to", "database", "--apply"], 1).await;
        assert_eq!(said.counts(), json!({ "failed": 1 }), "{:?}", said.files);
        let why = said.file(file)["why"].as_str().unwrap();
        assert!(why.contains("did not arrive as it was sent"), "{why}");
        row_is(&world, file, S3_STORAGE, None).await;

        world.crm.sql("DROP EVENT TRIGGER spoil").await;
        migrate(&world, &["--to", "database", "--apply"], 0).await;
        super::same_as_row(&world, file).await;
    })
    .await;
}

#[tokio::test]
async fn where_a_large_content_comes_back_no_other_rows_content_is_read() {
    world(S3::Embedded, async |world| {
        // A vacuum of the server's own reads the pages as well.
        let alone = r#"ALTER TABLE "ContactFile" ALTER "Data" SET STORAGE EXTERNAL;
                       ALTER TABLE "ContactFile" SET (autovacuum_enabled = false, toast.autovacuum_enabled = false)"#;
        world.crm.sql(alone).await;
        let file = super::large(&world, 100_000).await;
        migrate(&world, &["--to", "storage", "--apply"], 0).await;
        migrate(&world, &["--reclaim", "--apply"], 0).await;
        // A content of 64 MiB, 8,400 pages, in a table so small that it may be read from one end to the other.
        let other = in_row(&world, b"").await;
        for _ in 0..20 {
            in_row(&world, b"content").await;
        }
        world
            .crm
            .sql(format!(
                r#"UPDATE "ContactFile" SET "Data" = decode(repeat('00', 67108864), 'hex') WHERE "Id" = '{other}';
                   ANALYZE "ContactFile";
                   SELECT pg_stat_force_next_flush()"#
            ))
            .await;
        let changes = "SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'ContactFile'";
        let read = "SELECT toast_blks_read + toast_blks_hit FROM pg_statio_user_tables WHERE relname = 'ContactFile'";
        let (changed_before, read_before) = (world.crm.number(changes).await, world.crm.number(read).await);
        migrate(&world, &["--to", "database", "--apply"], 0).await;
        super::same_as_row(&world, file).await;
        // The statistics of a session are complete once it has ended.
        eventually("its change is counted", async || {
            (world.crm.number(changes).await > changed_before).then_some(())
        })
        .await;
        let pages = world.crm.number(read).await - read_before;
        assert!(pages < 5_000, "{pages} pages");
    })
    .await;
}

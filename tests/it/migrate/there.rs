//! Something is under the key already.

use file_recycler::storage::Side;
use serde_json::json;
use uuid::Uuid;

use super::{S3, SERVERS, in_row, migrate, row_is, same_as_row};
use crate::support::crm::{DATABASE_STORAGE, FILE_TYPE, S3_STORAGE};
use crate::support::world::world;

#[tokio::test]
async fn the_same_content_counts_as_done_and_other_content_is_untouched() {
    for s3 in SERVERS.into_iter().chain([S3::Opaque]) {
        world(s3, async |world| {
            let [same, longer, other] = [
                in_row(&world, b"content").await,
                in_row(&world, b"content").await,
                in_row(&world, b"content").await,
            ];
            for (file, content) in
                [(same, &b"content"[..]), (longer, b"a longer content"), (other, b"another")]
            {
                world.storage.put(Side::Object, &file.to_string(), content).await;
            }
            let done = migrate(&world, &["--to", "storage", "--apply"], 1).await;
            assert_eq!(done.counts(), json!({ "already_there": 1, "differs": 2 }), "{:?}", done.files);
            row_is(&world, same, S3_STORAGE, Some(b"content")).await;
            for (file, content) in [(longer, &b"a longer content"[..]), (other, b"another")] {
                assert_eq!(done.file(file)["result"], "differs");
                row_is(&world, file, DATABASE_STORAGE, Some(b"content")).await;
                world.storage.holds(&file.to_string(), Some(content), None).await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn an_object_in_parts_is_compared_by_its_parts_whoever_cut_it() {
    for s3 in SERVERS {
        world(s3, async |world| {
            let file = super::large(&world, 1_000_000).await;
            assert_eq!(
                migrate(&world, &["--to", "storage", "--apply"], 0).await.counts(),
                json!({ "migrated": 1 })
            );
            let content = world.object(Side::Object, file).await.unwrap();
            let parts: Vec<Vec<u8>> = content.chunks(6_000_000).map(<[u8]>::to_vec).collect();
            let create = world.storage.client.create_multipart_upload();
            world.storage.put_in_parts(create, &file.to_string(), &parts).await;
            assert_eq!(
                migrate(&world, &["--reclaim", "--apply"], 0).await.counts(),
                json!({ "reclaimed": 1 })
            );
            let back = migrate(&world, &["--to", "database", "--apply"], 0).await;
            assert_eq!(back.counts(), json!({ "migrated": 1 }), "{:?}", back.files);
            same_as_row(&world, file).await;
        })
        .await;
    }
}

#[tokio::test]
async fn an_object_of_an_earlier_run_gives_way_and_one_of_this_run_is_another_rows() {
    world(S3::Embedded, async |world| {
        let file = in_row(&world, b"content").await;
        // The CRM copies rows to other tables under the same id; here somebody changed one of them.
        let copy = format!(
            r#"INSERT INTO "SysFile" ("Id", "TypeId", "Size", "SysFileStorageId", "Data")
               VALUES ('{file}', '{FILE_TYPE}', 5, '{DATABASE_STORAGE}', 'other')"#
        );
        world.crm.sql(copy).await;
        let said = migrate(&world, &["--to", "storage", "--apply"], 1).await;
        assert_eq!(said.counts(), json!({ "migrated": 1, "differs": 1 }), "{:?}", said.files);
        let in_s3 = |table: &str| {
            format!(
                r#"SELECT count(*) FROM "{table}" WHERE "Id" = '{file}' AND "SysFileStorageId" = '{S3_STORAGE}'"#
            )
        };
        let object = world.object(Side::Object, file).await.unwrap();
        let (contact, weak) =
            (world.crm.number(in_s3("ContactFile")).await, world.crm.number(in_s3("SysFile")).await);
        assert_eq!((contact, weak), if object == b"content" { (1, 0) } else { (0, 1) });
        // And so it stays in the next run: the object is a living row's.
        let said = migrate(&world, &["--to", "storage", "--apply"], 1).await;
        assert_eq!(said.counts(), json!({ "differs": 1 }), "{:?}", said.files);
        assert_eq!(world.object(Side::Object, file).await, Some(object));
    })
    .await;
}

/// The CRM copies rows to other tables under the same id. What is under the key is then more than one row's.
#[tokio::test]
async fn nothing_is_written_where_another_rows_object_would_be() {
    world(S3::Embedded, async |world| {
        let copied = |id: Uuid, storage: &str, content: &str| {
            format!(
                r#"INSERT INTO "SysFile" ("Id", "TypeId", "Size", "SysFileStorageId", "Data")
                   VALUES ('{id}', '{FILE_TYPE}', {}, '{storage}', '{content}')"#,
                content.len()
            )
        };
        // The other row's object is away for now: whatever were put there would be its content.
        let away = in_row(&world, b"content").await;
        world.crm.sql(copied(away, S3_STORAGE, "another")).await;
        // An earlier run's object, which is what the other row has, though this one was edited.
        let older = in_row(&world, b"older").await;
        migrate(&world, &["--to", "storage", "--schema", "ContactFile", "--apply"], 1).await;
        migrate(&world, &["--to", "database", "--apply"], 1).await;
        world.crm.sql(copied(older, DATABASE_STORAGE, "older")).await;
        let edited = format!(r#"UPDATE "ContactFile" SET "Data" = 'newer' WHERE "Id" = '{older}'"#);
        world.crm.sql(edited).await;
        let same = in_row(&world, b"same").await;
        world.crm.sql(copied(same, DATABASE_STORAGE, "same")).await;

        let said = migrate(&world, &["--to", "storage", "--schema", "ContactFile", "--apply"], 1).await;

        assert_eq!(said.counts(), json!({ "differs": 2, "migrated": 1 }), "{:?}", said.files);
        world.storage.holds(&away.to_string(), None, None).await;
        row_is(&world, away, DATABASE_STORAGE, Some(b"content")).await;
        world.storage.holds(&older.to_string(), Some(b"older"), None).await;
        row_is(&world, older, DATABASE_STORAGE, Some(b"newer")).await;
        // Of one content, both may go.
        let said = migrate(&world, &["--to", "storage", "--schema", "SysFile", "--apply"], 0).await;
        assert_eq!(said.counts(), json!({ "already_there": 2 }), "{:?}", said.files);
    })
    .await;
}

#[tokio::test]
async fn an_object_in_an_archive_is_no_place_for_a_content() {
    world(S3::Embedded, async |world| {
        let [there, moved] = [in_row(&world, b"content").await, in_row(&world, b"content").await];
        let archive = async |file: uuid::Uuid| {
            let put = world.storage.client.put_object().bucket(&world.storage.object).key(file.to_string());
            let put =
                put.storage_class(aws_sdk_s3::types::StorageClass::Glacier).body(b"content".to_vec().into());
            put.send().await.unwrap();
        };
        archive(there).await;
        let said = migrate(&world, &["--to", "storage", "--apply"], 1).await;
        assert_eq!(said.counts(), json!({ "migrated": 1, "archived": 1 }), "{:?}", said.files);
        row_is(&world, there, DATABASE_STORAGE, Some(b"content")).await;
        archive(moved).await;
        let said = migrate(&world, &["--reclaim", "--apply"], 1).await;
        assert_eq!(said.counts(), json!({ "archived": 1 }), "{:?}", said.files);
        row_is(&world, moved, S3_STORAGE, Some(b"content")).await;
    })
    .await;
}

//! Which files.

use std::sync::Arc;
use std::time::Duration;

use file_recycler::storage::Side;
use serde_json::json;
use uuid::Uuid;

use super::{S3, Said, in_row, migrate, of_record, row_is};
use crate::support::crm::{DATABASE_STORAGE, FILE_TYPE, S3_STORAGE};
use crate::support::world::{World, world};

#[tokio::test]
async fn by_schema_record_age_size_and_number() {
    world(S3::Embedded, async |world| {
        let record = world.crm.record("Contact").await;
        for content in [&b"1"[..], b"22", b"333"] {
            of_record(&world, record, content).await;
        }
        let old = in_row(&world, b"4444").await;
        let weak = Uuid::new_v4();
        world
            .crm
            .sql(format!(
                r#"UPDATE "ContactFile" SET "ModifiedOn" = timezone('utc', now()) - interval '100 days' WHERE "Id" = '{old}';
                   INSERT INTO "SysFile" ("Id", "TypeId", "Size", "SysFileStorageId", "Data", "RecordSchemaName", "RecordId")
                   VALUES ('{weak}', '{FILE_TYPE}', 5, '{DATABASE_STORAGE}', '55555', 'Contact', '{record}');
                   INSERT INTO "SysFile" ("Id", "TypeId", "Size", "Data") VALUES (uuid_generate_v4(), '{FILE_TYPE}', 0, '666666')"#
            ))
            .await;
        let of = format!("Contact:{record}");
        for (arguments, files, bytes) in [
            (vec![], 6, 21),
            (vec!["--schema", "ContactFile"], 4, 10),
            (vec!["--schema", "SysFile", "--schema", "ContactFile"], 6, 21),
            (vec!["--record", &of], 4, 11),
            (vec!["--record", &of, "--schema", "SysFile"], 1, 5),
            (vec!["--older-than", "90d"], 1, 4),
            (vec!["--older-than", "101d"], 0, 0),
            (vec!["--larger-than", "4"], 2, 11),
            (vec!["--limit", "2", "--schema", "SysFile"], 2, 11),
            (vec!["--limit", "1", "--schema", "SysFile", "--larger-than", "5B"], 1, 6),
        ] {
            let said = migrate(&world, &[&["--to", "storage"], &arguments[..]].concat(), 0).await;
            let would = &said.summary["counts"]["would_migrate"];
            let (counted, summed) = (would.as_i64().unwrap(), said.summary["bytes"]["would_migrate"].as_i64().unwrap());
            assert_eq!((counted, summed), (files, bytes), "{arguments:?}");
            assert_eq!(said.summary["expected"]["files"], files, "{arguments:?}");
        }
        let path = std::env::temp_dir().join(format!("file-recycler-{}.csv", Uuid::new_v4().simple()));
        let report = path.to_str().unwrap();
        migrate(&world, &["--to", "storage", "--limit", "3", "--apply", "--report", report], 0).await;
        let lines = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(lines.lines().count(), 4, "{lines}");
        let left = migrate(&world, &["--to", "storage"], 0).await;
        assert_eq!(left.counts(), json!({ "would_migrate": 3 }));
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused() {
    world(S3::Embedded, async |world| {
        for (arguments, code, told) in [
            (vec!["migrate"], 2, "required"),
            (vec!["migrate", "--to", "storage", "--reclaim"], 2, "cannot be used with"),
            (vec!["migrate", "--to", "storage", "--recycle-objects"], 2, "goes with --to database only"),
            (vec!["migrate", "--reclaim", "--record", "Contact"], 2, "is not SCHEMA:ID"),
            (vec!["migrate", "--reclaim", "--record", "Contact:x"], 2, "is no UUID"),
            (vec!["migrate", "--reclaim", "--larger-than", "big"], 2, "is no size"),
            (
                vec!["migrate", "--reclaim", "--schema", "Nothing"],
                1,
                "no table of files of the schema Nothing",
            ),
            (
                vec![
                    "migrate",
                    "--reclaim",
                    "--set",
                    "crm.profile=events",
                    "--set",
                    "crm.trust_outside_events=true",
                ],
                2,
                "where another application keeps its contents is not known",
            ),
        ] {
            let refused = world.cli(&arguments).await.expect(code);
            assert!(refused.stderr.contains(told), "{arguments:?}: {refused:?}");
        }
    })
    .await;
}

/// Somebody uploads a file in pieces, each of which leaves a row that looks whole.
async fn uploads(world: &World, file: Uuid) {
    let piece = format!(
        r#"UPDATE "ContactFile" SET "Data" = "Data" || '\x2e'::bytea, "Size" = octet_length("Data") + 1,
               "ModifiedOn" = timezone('UTC', clock_timestamp()) WHERE "Id" = '{file}'"#
    );
    loop {
        world.crm.sql(piece.as_str()).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn what_was_changed_just_now_goes_once_it_is_still() {
    world(S3::Embedded, async |world| {
        let (still, growing) = (in_row(&world, b"still").await, in_row(&world, b"growing").await);
        let bare = ["migrate", "--json", "--to", "storage", "--apply"];
        let uploading = tokio::spawn({
            let world = Arc::clone(&world);
            async move { uploads(&world, growing).await }
        });
        let said = Said::of(&world.cli(&bare).await.expect(0).stdout);
        uploading.abort();
        assert_eq!(said.counts(), json!({ "migrated": 1, "edited": 1 }));
        row_is(&world, still, S3_STORAGE, Some(b"still")).await;
        assert_eq!(said.file(growing)["result"], "edited", "{:?}", said.files);
        assert_eq!(world.storage.get(Side::Object, &growing.to_string()).await, None);
    })
    .await;
}

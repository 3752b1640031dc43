//! Tables of files in several partitions: rows of two of them may be in the same place, each of its own.

use serde_json::json;
use uuid::Uuid;

use super::{S3, hex, is_sound, migrate, row_is, same_as_row};
use crate::support::crm::{DATABASE_STORAGE, FILE_TYPE, S3_STORAGE};
use crate::support::world::{World, bare_world};

const LARGE: Uuid = Uuid::from_u128(1 << 64);
const SMALL: Uuid = Uuid::from_u128(u128::MAX - 1);

/// The CRM's table in two partitions, with a row in each.
async fn in_partitions(world: &World) {
    let record = world.crm.record("Contact").await;
    let half = Uuid::from_u128(1 << 127);
    world
        .crm
        .sql(format!(
            r#"ALTER TABLE "ContactFile" RENAME TO "Was";
               CREATE TABLE "ContactFile" (LIKE "Was" INCLUDING DEFAULTS, PRIMARY KEY ("Id"),
                 FOREIGN KEY ("ContactId") REFERENCES "Contact" ON DELETE CASCADE) PARTITION BY RANGE ("Id");
               DROP TABLE "Was";
               CREATE TABLE "Lower" PARTITION OF "ContactFile" FOR VALUES FROM (MINVALUE) TO ('{half}');
               CREATE TABLE "Upper" PARTITION OF "ContactFile" FOR VALUES FROM ('{half}') TO (MAXVALUE);
               INSERT INTO "ContactFile" ("Id", "TypeId", "Size", "SysFileStorageId", "ContactId", "Data")
                 SELECT '{LARGE}', '{FILE_TYPE}', 1600000, '{DATABASE_STORAGE}', '{record}',
                        (SELECT string_agg(decode(md5('x' || n), 'hex'), ''::bytea ORDER BY n) FROM generate_series(1, 100000) AS n);
               INSERT INTO "ContactFile" ("Id", "TypeId", "Size", "SysFileStorageId", "ContactId", "Data")
                 VALUES ('{SMALL}', '{FILE_TYPE}', 5, '{DATABASE_STORAGE}', '{record}', '\x{}')"#,
            hex(b"small")
        ))
        .await;
}

/// Each is where the other is, in its own partition.
async fn are_in_one_place(world: &World) {
    for _ in 0..8 {
        let places = world.crm.number(r#"SELECT count(DISTINCT ctid) FROM "ContactFile""#).await;
        if places == 1 {
            return;
        }
        let behind = r#"UPDATE "ContactFile" SET "Notes" = "Notes" || '.'
                         WHERE ctid = (SELECT min(ctid) FROM "ContactFile")"#;
        world.crm.sql(behind).await;
    }
    panic!("they are in different places");
}

#[tokio::test]
async fn a_row_is_switched_and_not_the_one_in_the_same_place_of_another_partition() {
    bare_world(S3::Embedded, async |world| {
        in_partitions(&world).await;
        world.cli(&["listener", "install"]).await.expect(0);
        world.cli(&["adopt", "--apply"]).await.expect(0);
        let large_alone = ["--larger-than", "1MiB", "--apply"];
        let mut reclaimed = false;
        for (way, said) in [
            (&["--to", "storage"][..], json!({ "migrated": 1 })),
            (&["--reclaim"], json!({ "reclaimed": 1 })),
            (&["--to", "database"], json!({ "migrated": 1 })),
        ] {
            if way == ["--reclaim"] {
                // The other one has something to lose, too.
                migrate(&world, &["--to", "storage", "--apply"], 0).await;
                reclaimed = true;
            }
            are_in_one_place(&world).await;
            let done = migrate(&world, &[way, &large_alone].concat(), 0).await;
            assert_eq!(done.counts(), said, "{way:?}: {:?}", done.files);
            let storage = if reclaimed { S3_STORAGE } else { DATABASE_STORAGE };
            row_is(&world, SMALL, storage, Some(b"small")).await;
        }
        same_as_row(&world, LARGE).await;
        migrate(&world, &["--reclaim", "--apply"], 0).await;
        let back = migrate(&world, &["--to", "database", "--recycle-objects", "--apply"], 0).await;
        // The large one's object was left by the run before.
        assert_eq!(back.counts(), json!({ "migrated": 1, "recycled": 1 }), "{:?}", back.files);
        row_is(&world, SMALL, DATABASE_STORAGE, Some(b"small")).await;
        is_sound(&world).await;
    })
    .await;
}

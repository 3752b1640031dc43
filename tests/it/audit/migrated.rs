//! Contents that rows still have, or have alone.

use file_recycler::storage::Side;
use serde_json::{Value, json};
use uuid::Uuid;

use super::counts;
use crate::support::crm::{FILE_TYPE, S3_STORAGE};
use crate::support::process::{self, eventually};
use crate::support::roles::Roles;
use crate::support::world::{S3, World, bare_world, world};

/// A file of each kind, by its name.
async fn furnish(world: &World) -> [(&'static str, Uuid); 6] {
    let files = [
        ("left", world.file_in_database().await),
        ("reclaimed", world.file_in_database().await),
        ("saved", world.file_in_database().await),
        ("lost", world.file_in_database().await),
        ("cut off", world.file_in_database().await),
        ("never", world.file_in_database().await),
    ];
    let of = |name: &str| files.iter().find(|(known, _)| *known == name).unwrap().1;
    for name in ["left", "reclaimed", "cut off"] {
        world.upload(of(name)).await;
    }
    for name in ["left", "reclaimed", "saved", "lost"] {
        world.say_where(of(name), S3_STORAGE).await;
    }
    for name in ["reclaimed", "lost"] {
        world.clear_row(of(name)).await;
    }
    files
}

async fn reported(environment: &[(String, String)]) -> (Value, Vec<Value>) {
    let path = std::env::temp_dir().join(format!("audit-{}.jsonl", Uuid::new_v4()));
    let line = ["audit", "--json", "--report", path.to_str().unwrap()];
    let done = process::run(environment, &line).await.expect(1).json();
    let lines = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    (done, lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

#[tokio::test]
async fn what_rows_in_s3_still_have_is_counted_and_what_is_lost_but_for_its_row_is_told() {
    for s3 in [S3::Embedded, S3::Foreign, S3::Moto] {
        world(s3, async |world| {
            let files = furnish(&world).await;
            let (done, lines) = reported(&world.environment).await;
            let expected = [("ok", 2), ("lost", 2), ("left_behind", 1)];
            assert_eq!(counts(&done), super::of(&expected), "{s3:?}: {done}");
            let left = json!({ "files": 2, "bytes": 72, "tables_unread": 0 });
            assert_eq!(done["data_left"], left, "{done}");
            assert_eq!(done["lost_with_data"], json!({ "files": 1, "bytes": 36 }), "{done}");
            for (name, class, data_in_row) in [
                ("left", "ok", json!(true)),
                ("reclaimed", "ok", json!(false)),
                ("saved", "lost", json!(true)),
                ("lost", "lost", json!(false)),
                // That of a row that is in the database is where it belongs.
                ("cut off", "left_behind", json!(null)),
            ] {
                let id = json!(files.iter().find(|(known, _)| *known == name).unwrap().1);
                let line = lines.iter().find(|line| line["file_id"] == id).unwrap();
                assert_eq!(
                    (&line["class"], &line["data_in_row"]),
                    (&json!(class), &data_in_row),
                    "{name}: {line}"
                );
            }
            let text = world.cli(&["audit"]).await.expect(1).stdout;
            assert!(text.contains("1 of the lost files have their content (36 B) in their rows"), "{text}");
            assert!(text.contains("2 rows in S3 still have 72 B of content in the database"), "{text}");
            let shown = text.lines().filter(|line| line.ends_with("(its content is in its row)")).count();
            assert_eq!(shown, 1, "{text}");
        })
        .await;
    }
}

#[tokio::test]
async fn a_role_that_may_not_read_contents_is_told_nothing_of_them_and_one_that_may_in_part_so_much() {
    bare_world(S3::Embedded, async |world| {
        furnish(&world).await;
        let roles = Roles::installed(&world).await;
        let as_run = world.with(&[("DATABASE__URL", &roles.url_as(&roles.run))]);
        let (done, lines) = reported(&as_run).await;
        assert_eq!(counts(&done), super::of(&[("ok", 2), ("lost", 2), ("left_behind", 1)]), "{done}");
        assert_eq!((&done["data_left"], &done["lost_with_data"]), (&json!(null), &json!(null)), "{done}");
        assert!(lines.iter().all(|line| line.get("data_in_row") == Some(&json!(null))), "{lines:?}");
        let text = process::run(&as_run, &["audit"]).await.expect(1).stdout;
        assert!(!text.contains("content in the database") && !text.contains("in their rows"), "{text}");

        roles.sql(&format!(r#"GRANT SELECT ("Data") ON "ContactFile" TO {}"#, roles.run)).await;
        let (done, _) = reported(&as_run).await;
        // Account, Call, Case, FileLead, Opportunity, SysFile and FeedFile.
        let left = json!({ "files": 2, "bytes": 72, "tables_unread": 7 });
        assert_eq!(done["data_left"], left, "{done}");
        drop(roles);
    })
    .await;
}

/// How long a content is stands in the row: the content itself is kept apart, and is not read.
#[tokio::test]
async fn contents_are_not_read_to_know_that_they_are_there() {
    world(S3::Embedded, async |world| {
        let id = Uuid::new_v4();
        world
            .crm
            .sql(format!(
                r#"ALTER TABLE "ContactFile" ALTER "Data" SET STORAGE EXTERNAL;
                   INSERT INTO "ContactFile" ("Id", "TypeId", "SysFileStorageId", "Size", "Data")
                   VALUES ('{id}', '{FILE_TYPE}', '{S3_STORAGE}', 1000000, decode(repeat('7a', 1000000), 'hex'));
                   SELECT pg_stat_force_next_flush()"#
            ))
            .await;
        world.storage.put(Side::Object, &id.to_string(), &vec![0x7a; 1_000_000]).await;
        let read = async |what: &str| {
            let sql = format!("SELECT {what}::bigint FROM pg_statio_user_tables WHERE relname = 'ContactFile'");
            world.crm.number(sql).await
        };
        let (heap, apart) =
            ("heap_blks_read + heap_blks_hit", "toast_blks_read + toast_blks_hit + tidx_blks_read + tidx_blks_hit");
        let written = eventually("what was written is counted", async || {
            let blocks = read(apart).await;
            (blocks > 0).then_some(blocks)
        })
        .await;
        let before = read(heap).await;
        let done = world.cli(&["audit", "--json"]).await.expect(0).json();
        assert_eq!(done["data_left"]["bytes"], 1_000_000, "{done}");
        eventually("what was read is counted", async || (read(heap).await > before).then_some(())).await;
        assert_eq!(read(apart).await, written, "no block of the content was read");
    })
    .await;
}

//! The walks: many pages, other applications, and what listings are on every server.

use file_recycler::storage::Side;
use uuid::Uuid;

use super::{counts, of};
use crate::support::crm::{DATABASE_STORAGE, FILE_TYPE};
use crate::support::mapped::mapped;
use crate::support::process;
use crate::support::storage::{TestStorage, connect};
use crate::support::world::{S3, world};

#[tokio::test]
async fn rows_and_listings_of_many_pages_meet_under_every_form_of_key() {
    world(S3::Embedded, async |world| {
        let ids = world.many(2_500).await;
        for (template, key) in [
            ("{file_id}", (|id: &str| id.to_owned()) as fn(&str) -> String),
            ("{file_id:upper}", str::to_uppercase),
            ("f/{file_id:simple}.bin", |id| format!("f/{}.bin", id.replace('-', ""))),
            ("{schema}/{file_id}", |id| format!("ContactFile/{id}")),
        ] {
            for id in &ids {
                world.storage.control().put(&world.storage.object, &key(id), id.clone());
            }
            let lost = key(&ids[7]);
            world.storage.delete(Side::Object, &lost).await;
            let path = std::env::temp_dir().join(format!("audit-{}.csv", Uuid::new_v4()));
            let environment = world.with(&[("STORAGE__KEY_TEMPLATE", template)]);
            let line = ["audit", "--json", "--report", path.to_str().unwrap()];
            let done = process::run(&environment, &line).await.expect(1).json();
            assert_eq!(done["complete"], true, "{template}: {done}");
            let found = (done["counts"]["ok"].as_u64(), done["counts"]["lost"].as_u64());
            assert_eq!(found, (Some(2_499), Some(1)), "{template}: {done}");
            assert_eq!(done["rows"], 2_500, "{template}");
            let lines = std::fs::read_to_string(&path).unwrap();
            std::fs::remove_file(&path).unwrap();
            let told: Vec<_> = lines.lines().filter(|line| line.contains(",lost,")).collect();
            assert_eq!(told.len(), 1, "{told:?}");
            assert!(told[0].starts_with(&format!("{},ContactFile,{lost},lost", ids[7])), "{told:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn of_a_mapped_application_keys_decide_and_rows_may_share_an_object() {
    mapped(async |mapped| {
        mapped.attachment(1, 7, "ab/one").await;
        mapped.attachment(2, 7, "ab/one").await;
        mapped.attachment(3, 7, "ab/gone").await;
        mapped.world.storage.delete(Side::Object, "ab/gone").await;
        mapped.put("ab/nobodys").await;
        mapped.sql("INSERT INTO voice_note (id) VALUES (1), (10), (2)").await;
        for id in ["1", "10"] {
            mapped.put(id).await;
        }
        mapped.world.storage.put(Side::Recycle, "2", b"2").await;
        let done = mapped.cli(&["audit", "--json"]).await.expect(1).json();
        assert_eq!(done["complete"], true, "{done}");
        let expected = [("ok", 3), ("lost", 1), ("restorable", 1), ("young", 1)];
        assert_eq!(counts(&done), of(&expected), "{done}");
    })
    .await;
}

/// What the merge rests on, on every server: pages that ascend, keys as they are, a beginning in the middle.
#[tokio::test]
async fn listings_ascend_and_keys_come_as_they_are_on_every_server() {
    for storage in TestStorage::all().await {
        let adapter = connect(&storage.settings(), file_recycler::config::Mode::Move).await;
        let mut keys: Vec<String> = (0..1_200).map(|n| format!("{n:05}-plain")).collect();
        keys.extend(["A", "ä", "Ж", "a+b c%20d", "q&<>\"'?=#", "z~!*()@$,;:"].map(str::to_owned));
        for key in &keys {
            storage.put(Side::Object, key, b"x").await;
        }
        keys.sort();
        for after in ["", "00500-plain", "0050", "a+b c%20d", "zzz"] {
            let (mut listed, mut next) = (Vec::new(), None);
            loop {
                let page = adapter.list(Side::Object, Some(after), next.as_deref()).await.unwrap();
                listed.extend(page.objects.into_iter().map(|object| object.key));
                next = page.next;
                if next.is_none() {
                    break;
                }
            }
            let expected: Vec<_> = keys.iter().filter(|key| key.as_str() > after).collect();
            assert_eq!(listed.iter().collect::<Vec<_>>(), expected, "{} after '{after}'", storage.endpoint());
        }
    }
}

/// Planned by default, each page would read and sort all that its range has left.
#[tokio::test]
async fn every_row_is_read_once_however_many_pages_a_range_has() {
    world(S3::Embedded, async |world| {
        // What is in the database has no object: nothing is doubted, so only the pages read rows.
        let rows = 200_000;
        world
            .crm
            .sql(format!(
                r#"INSERT INTO "ContactFile" ("Id", "TypeId", "SysFileStorageId")
                   SELECT md5(n::text)::uuid, '{FILE_TYPE}', '{DATABASE_STORAGE}' FROM generate_series(1, {rows}) AS n"#
            ))
            .await;
        world.crm.sql(r#"VACUUM ANALYZE "ContactFile""#).await;
        let sql = "SELECT (seq_tup_read + idx_tup_fetch)::bigint FROM pg_stat_user_tables
                    WHERE relname = 'ContactFile'";
        let read = async || world.crm.number(sql).await;
        let before = read().await;
        let done = process::run(&world.environment, &["audit", "--json"]).await.expect(0).json();
        assert_eq!((&done["complete"], &done["rows"]), (&true.into(), &rows.into()), "{done}");
        // Each session tells what it read when it ends.
        let read = process::eventually("the reads are counted", async || {
            let now = read().await - before;
            (now >= rows).then_some(now)
        })
        .await;
        assert!(read < rows * 5 / 4, "{read} rows were read for {rows}");
    })
    .await;
}

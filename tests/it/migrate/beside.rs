//! The service is at work on the same records: files are deleted before, while and after their contents move.

use std::collections::BTreeMap;
use std::time::Duration;

use file_recycler::storage::Side;
use recycler_test_s3::Operation;
use uuid::Uuid;

use super::meanwhile::{Held, Run, start};
use super::{S3, Said, is_readable, is_sound, of_record};
use crate::support::crm::S3_STORAGE;
use crate::support::process::eventually;
use crate::support::world::{World, world};

/// Records, each with a file, of which the first half goes while contents move.
const RECORDS: usize = 48;

/// Deletes records while a run is at work: the first one while its file is in hand, each other once the run has come a
/// little further.
async fn delete_meanwhile(world: &World, run: Run, held: Held, records: &[(Uuid, Uuid)], done: &str) -> Said {
    held.is_reached().await;
    world.crm.delete("Contact", records[0].0).await;
    held.release();
    for (at, (record, _)) in records.iter().enumerate().skip(1) {
        let further = i64::try_from(at / 3).unwrap();
        eventually("the run has come further", async || {
            (world.crm.number(done).await >= further).then_some(())
        })
        .await;
        world.crm.delete("Contact", *record).await;
    }
    run.ended(0).await
}

#[tokio::test]
async fn nothing_is_lost_and_nothing_is_left_of_what_is_deleted_while_contents_move() {
    world(S3::Embedded, async |world| {
        let service = world.run().await;
        let (mut files, mut contents) = (Vec::new(), BTreeMap::new());
        for at in 0..RECORDS {
            let record = world.crm.record("Contact").await;
            let content = format!("content {at}").into_bytes();
            let file = of_record(&world, record, &content).await;
            files.push((record, file));
            contents.insert(file, content);
        }
        let in_s3 =
            format!(r#"SELECT count(*) FROM "ContactFile" WHERE "SysFileStorageId" = '{S3_STORAGE}'"#);
        let cleared = format!(r#"{in_s3} AND "Data" IS NULL"#);
        let back = format!("SELECT {} - ({in_s3})", RECORDS / 2);
        let third = RECORDS / 6;
        for (round, (way, of_each, done)) in [
            (&["--to", "storage", "--rate", "20/s", "--apply"][..], Operation::PutObject, in_s3.clone()),
            (&["--reclaim", "--rate", "20/s", "--apply"], Operation::HeadObject, cleared),
            (
                &["--to", "database", "--recycle-objects", "--rate", "20/s", "--apply"],
                Operation::GetObject,
                back,
            ),
        ]
        .into_iter()
        .enumerate()
        {
            let gone = &files[round * third..(round + 1) * third];
            let held = Held::at(&world, of_each, gone[0].1);
            let said = delete_meanwhile(&world, start(&world, way), held, gone, &done).await;
            assert_eq!(said.file(gone[0].1)["result"], "gone", "{way:?}");
            let known = ["migrated", "already_there", "reclaimed", "edited", "gone"];
            assert!(
                said.files.iter().all(|file| known.contains(&file["result"].as_str().unwrap())),
                "{way:?}: {:?}",
                said.files
            );
            world.quiet(&service).await;
            for (_, file) in gone {
                eventually("its object is nobody's any more", async || {
                    world.object(Side::Object, *file).await.is_none().then_some(())
                })
                .await;
                // One that never was in the bucket went with its row, as it would have without us.
                let recycled = world.object(Side::Recycle, *file).await;
                assert!(recycled.is_none_or(|recycled| recycled == contents[file]), "{file}");
            }
            for (_, file) in &files[(round + 1) * third..] {
                is_readable(&world, *file, &contents[file]).await;
            }
            is_sound(&world).await;
        }
        let living: Vec<_> = files[RECORDS / 2..].to_vec();
        for (record, file) in living {
            assert_eq!(
                world.object(Side::Object, file).await,
                None,
                "it was brought back, and its object put away"
            );
            world.crm.delete("Contact", record).await;
        }
        world.quiet(&service).await;
        assert_eq!(world.crm.number("SELECT count(*) FROM file_recycler.outbox").await, 0);
        assert_eq!(world.queues.unfinished().await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_row_that_somebody_deletes_just_now_is_waited_for_and_leaves_no_object() {
    world(S3::Embedded, async |world| {
        let record = world.crm.record("Contact").await;
        let file = of_record(&world, record, b"content").await;
        let held = Held::at(&world, Operation::PutObject, file);
        let run = start(&world, &["--to", "storage", "--apply"]);
        held.is_reached().await;
        let mut deleting = world.crm.pool.begin().await.unwrap();
        sqlx::query(r#"DELETE FROM "Contact" WHERE "Id" = $1"#)
            .bind(record)
            .execute(&mut *deleting)
            .await
            .unwrap();
        held.release();
        eventually("its object is written", async || world.object(Side::Object, file).await.map(drop)).await;
        // The row has been asked for by then, and is in our hands.
        tokio::time::sleep(Duration::from_millis(500)).await;
        deleting.commit().await.unwrap();
        assert_eq!(run.ended(0).await.file(file)["result"], "gone");
        assert_eq!(world.object(Side::Object, file).await, None);
        assert_eq!(world.object(Side::Recycle, file).await, Some(b"content".to_vec()));
    })
    .await;
}

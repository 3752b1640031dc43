//! One record with very many files keeps nobody else waiting.

use std::time::Duration;

use crate::support::crm::{FILE_TYPE, S3_STORAGE};
use crate::support::process::eventually;
use crate::support::world::{S3, world};

/// The large record is deleted first, so that all its events are before the others' in the queue.
#[tokio::test]
async fn many_small_records_overtake_one_large_one() {
    world(S3::Embedded, async |world| {
        const LARGE: usize = 6_000;
        const SMALL: usize = 300;
        let control = world.storage.control();
        let large = world.crm.record("Account").await;
        let sql = format!(
            r#"INSERT INTO "AccountFile" ("TypeId", "SysFileStorageId", "Size", "AccountId")
               SELECT '{FILE_TYPE}', '{S3_STORAGE}', 36, '{large}' FROM generate_series(1, {LARGE})"#
        );
        world.crm.sql(sql).await;
        let its: Vec<String> = sqlx::query_scalar(r#"SELECT "Id"::text FROM "AccountFile""#)
            .fetch_all(&world.crm.pool)
            .await
            .unwrap();
        for id in &its {
            control.put(&world.storage.object, id, id.clone());
        }
        let small = world.many(SMALL).await;
        control.set_latency(Duration::from_millis(20));
        let service = world.run().await;
        world.crm.delete("Account", large).await;
        eventually("the large record has begun", async || {
            (!control.keys(&world.storage.recycle).is_empty()).then_some(())
        })
        .await;
        world.delete_one_by_one().await;
        let left = eventually("the small records are done", async || {
            let keys = control.keys(&world.storage.object);
            let left = |ids: &[String]| ids.iter().filter(|id| keys.binary_search(id).is_ok()).count();
            (left(&small) == 0).then(|| left(&its))
        })
        .await;
        assert!(left > LARGE / 4, "of the large record's {LARGE} files only {left} were left");
        control.set_latency(Duration::ZERO);
        world.quiet(&service).await;
    })
    .await;
}

//! One record with very many files keeps nobody else waiting.

use std::time::Duration;

use crate::support::crm::{FILE_TYPE, S3_STORAGE};
use crate::support::process::{Service, eventually, eventually_within};
use crate::support::world::{S3, World, world};

/// Waits until the relay has published everything.
async fn is_relayed(world: &World) {
    eventually("the outbox is empty", async || {
        (world.crm.number("SELECT count(*) FROM file_recycler.outbox").await == 0).then_some(())
    })
    .await;
}

/// The large record is deleted first, so that all its events are before the others' in the queue; and all are there before
/// anybody takes one. Who was done before whom is read in the ledger afterwards.
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
        let relay = Service::start(&world.environment, &["listen"]).await.ready().await;
        world.crm.delete("Account", large).await;
        is_relayed(&world).await;
        world.delete_one_by_one().await;
        is_relayed(&world).await;
        control.set_latency(Duration::from_millis(20));
        let worker = Service::start(&world.environment, &["work"]).await.ready().await;
        let noted = "SELECT count(DISTINCT file_id) FROM file_recycler.ledger";
        let all = i64::try_from(LARGE + SMALL).unwrap();
        eventually_within(Duration::from_mins(3), "every file is noted", async || {
            (world.crm.number(noted).await == all).then_some(())
        })
        .await;
        let left: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM file_recycler.ledger
              WHERE file_id = ANY($1)
                AND recycled_at > (SELECT max(recycled_at) FROM file_recycler.ledger WHERE file_id = ANY($2))",
        )
        .bind(&its)
        .bind(&small)
        .fetch_one(&world.crm.pool)
        .await
        .unwrap();
        let least = i64::try_from(LARGE / 4).unwrap();
        assert!(left > least, "of the large record's {LARGE} files only {left} were left");
        control.set_latency(Duration::ZERO);
        world.quiet(&worker).await;
        drop(relay);
    })
    .await;
}

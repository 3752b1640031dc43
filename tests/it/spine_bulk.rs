//! One, a hundred, ten thousand records in one statement; every file arrives, the content intact.

use std::collections::BTreeSet;
use std::time::Duration;

use file_recycler::storage::Side;

use crate::support::process::{eventually, eventually_within};
use crate::support::world::{S3, world};

/// Makes `count` contacts with a file each, deletes them in one statement, and waits for all files.
async fn deleted_together(count: usize) {
    world(S3::Embedded, async move |world| {
        let service = world.run().await;
        let ids = world.many(count).await;
        let control = world.storage.control();
        world.crm.sql(r#"DELETE FROM "Contact""#).await;
        eventually_within(Duration::from_mins(4), "the object bucket has no file left", async || {
            let left = control.keys(&world.storage.object);
            left.iter().all(|key| key.starts_with(".file-recycler/")).then_some(())
        })
        .await;
        world.quiet(&service).await;
        let arrived: BTreeSet<_> = control.keys(&world.storage.recycle).into_iter().collect();
        assert_eq!(arrived, ids.iter().cloned().collect());
        for id in &ids {
            assert_eq!(control.get(&world.storage.recycle, id).unwrap(), id.as_bytes());
        }
        let ledger = "SELECT count(*) FROM file_recycler.ledger WHERE outcome = 'moved'";
        eventually("every file is in the ledger, once", async || {
            (world.crm.number(ledger).await == i64::try_from(count).unwrap()).then_some(())
        })
        .await;
        assert!(world.storage.get(Side::Recycle, &ids[0]).await.is_some());
    })
    .await;
}

#[tokio::test]
async fn one_record_in_a_statement() {
    deleted_together(1).await;
}

#[tokio::test]
async fn a_hundred_records_in_a_statement() {
    deleted_together(100).await;
}

#[tokio::test]
async fn ten_thousand_records_in_a_statement() {
    deleted_together(10_000).await;
}

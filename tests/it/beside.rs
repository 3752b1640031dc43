//! Transactions beside a deletion: what they have written, nobody sees before they commit.

use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Executor as _, Postgres, Transaction};
use uuid::Uuid;

use crate::support::process::Service;
use crate::support::world::{S3, World, world};

/// For how long a row that was seen is waited with at most (`db/beside.rs`).
const LONGEST: Duration = Duration::from_secs(5);

async fn outbox(world: &World) -> i64 {
    world.crm.number("SELECT count(*) FROM file_recycler.outbox").await
}

/// The statement by which the CRM makes the file appear on another record.
async fn link(world: &World, file: Uuid) -> String {
    let other = world.crm.record("Account").await;
    format!(
        r#"INSERT INTO "FileLink" ("RecordSchemaName", "RecordId", "FileSchemaName", "FileRecordId")
           VALUES ('Account', '{other}', 'ContactFile', '{file}')"#
    )
}

/// The file whose deletion was committed after `deleting` is waited for while `beside` runs, and stays when it is committed.
/// `false` where all that took so long that the relay may have stopped waiting, which tells nothing.
async fn stays(
    world: &World,
    service: &mut Service,
    (file, deleting): (Uuid, Instant),
    beside: Transaction<'_, Postgres>,
) -> bool {
    // Many of the relay's looks.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let waiting = outbox(world).await;
    beside.commit().await.unwrap();
    let is_in_time = deleting.elapsed() < LONGEST;
    if is_in_time {
        assert_eq!(waiting, 2, "it waits in the outbox");
    } else {
        service.expects(&["alive after its object moved"]);
    }
    world.quiet(service).await;
    if is_in_time {
        world.is_untouched(file).await;
    }
    is_in_time
}

#[tokio::test]
async fn case_46_what_is_not_committed_yet_beside_a_deletion_is_waited_for() {
    world(S3::Embedded, async |world| {
        for (grace, copy) in [("0s", false), ("100ms", false), ("0s", true)] {
            let environment = world.with(&[("RECYCLE__GRACE", grace)]);
            let mut service = Service::start(&environment, &["run"]).await.ready().await;
            loop {
                let (record, files) = world.record_with_files("Contact", "ContactFile", 1).await;
                let mut beside = world.crm.pool.begin().await.unwrap();
                let link = if copy {
                    // The same file in another table, under the same id.
                    format!(
                        r#"INSERT INTO "SysFile" ("Id", "TypeId", "SysFileStorageId")
                           SELECT "Id", "TypeId", "SysFileStorageId" FROM "ContactFile" WHERE "Id" = '{}'"#,
                        files[0]
                    )
                } else {
                    link(&world, files[0]).await
                };
                beside.execute(AssertSqlSafe(link)).await.unwrap();
                let deleting = Instant::now();
                world.crm.delete("Contact", record).await;
                if stays(&world, &mut service, (files[0], deleting), beside).await {
                    break;
                }
            }
            drop(service);
        }
    })
    .await;
}

#[tokio::test]
async fn case_46_one_that_began_to_write_after_a_deletion_is_waited_for_until_the_deletion_commits() {
    world(S3::Embedded, async |world| {
        for grace in ["0s", "100ms"] {
            let environment = world.with(&[("RECYCLE__GRACE", grace)]);
            let mut service = Service::start(&environment, &["run"]).await.ready().await;
            loop {
                let (record, files) = world.record_with_files("Contact", "ContactFile", 1).await;
                let mut deletion = world.crm.pool.begin().await.unwrap();
                let delete = format!(r#"DELETE FROM "Contact" WHERE "Id" = '{record}'"#);
                deletion.execute(AssertSqlSafe(delete)).await.unwrap();
                // A deletion whose transaction took long, as one of many records does.
                deletion
                    .execute("UPDATE file_recycler.outbox SET captured_at = captured_at - interval '1 hour'")
                    .await
                    .unwrap();
                let mut beside = world.crm.pool.begin().await.unwrap();
                let link = link(&world, files[0]).await;
                beside.execute(AssertSqlSafe(link)).await.unwrap();
                let deleting = Instant::now();
                deletion.commit().await.unwrap();
                if stays(&world, &mut service, (files[0], deleting), beside).await {
                    break;
                }
            }
            drop(service);
        }
    })
    .await;
}

#[tokio::test]
async fn case_46_a_transaction_that_never_ends_is_not_waited_for_for_ever() {
    world(S3::Embedded, async |world| {
        let _service = world.run().await;
        let mut beside = world.crm.pool.begin().await.unwrap();
        beside.execute(r#"INSERT INTO "Account" ("Name") VALUES ('beside')"#).await.unwrap();
        let (record, files) = world.record_with_files("Contact", "ContactFile", 1).await;
        world.crm.delete("Contact", record).await;
        world.recycled(files[0]).await;
        beside.rollback().await.unwrap();
    })
    .await;
}

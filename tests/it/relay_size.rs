//! A relay's memory and reads do not grow with what waits in the outbox, nor with what once was there.

use std::time::Duration;

use file_recycler::db::low_water::LowWater;
use file_recycler::db::outbox::Limits;

use sqlx::Connection;

use crate::support::database::{TestDatabase, run};
use crate::support::process::{Service, eventually, eventually_within};
use crate::support::world::{S3, World, world};

/// `rows` rows of the outbox, each of one id and all of one transaction, as so many single deletions leave
/// them; every tenth is a record.
async fn single_deletions(world: &World, rows: u32) {
    world
        .crm
        .sql(format!(
            "INSERT INTO file_recycler.outbox (kind, schema, n, ids, sizes)
             SELECT CASE WHEN n % 10 = 0 THEN 'records' ELSE 'files' END, CASE WHEN n % 10 = 0 THEN 'Contact' ELSE 'ContactFile' END,
                    1, ARRAY[gen_random_uuid()], ARRAY[20480]
               FROM generate_series(1, {rows}) AS n"
        ))
        .await;
    eventually_within(Duration::from_mins(3), "the outbox is empty", async || {
        (world.crm.number("SELECT count(*) FROM file_recycler.outbox").await == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn case_56_the_relays_memory_does_not_grow_with_a_transaction() {
    world(S3::Embedded, async |world| {
        let service = Service::start(&world.environment, &["listen"]).await.ready().await;
        single_deletions(&world, 10_000).await;
        let before = service.peak_kib();
        single_deletions(&world, 200_000).await;
        let after = service.peak_kib();
        assert!(
            after < before + 12 * 1_024,
            "{before} KiB after 10,000 rows, {after} KiB after 200,000 more"
        );
    })
    .await;
}

/// `records` contacts, every tenth with a file and its object, deleted in one statement; waits until all is done.
async fn one_statement(world: &World, service: &Service, records: u32) {
    world.many((records / 10) as usize).await;
    let more = records - records / 10;
    world
        .crm
        .sql(format!(r#"INSERT INTO "Contact" ("Name") SELECT 'n' FROM generate_series(1, {more})"#))
        .await;
    world.crm.sql(r#"DELETE FROM "Contact""#).await;
    let control = world.storage.control();
    eventually_within(
        Duration::from_mins(4),
        "every file has moved, and nothing is on its way",
        async || {
            let left = control.keys(&world.storage.object);
            let moved = left.iter().all(|key| key.starts_with(".file-recycler/"));
            let outbox = world.crm.number("SELECT count(*) FROM file_recycler.outbox").await;
            (moved && outbox == 0 && world.queues.unfinished().await == 0).then_some(())
        },
    )
    .await;
    assert!(service.readyz().await.is_some());
}

/// What the statement costs the CRM is measured by `bench/delete`; here it is what it costs us.
#[tokio::test]
async fn case_34_a_hundred_thousand_records_in_one_statement_need_no_more_memory_than_ten_thousand() {
    world(S3::Embedded, async |world| {
        let service = world.run().await;
        one_statement(&world, &service, 10_000).await;
        let before = service.peak_kib();
        one_statement(&world, &service, 100_000).await;
        let after = service.peak_kib();
        assert!(
            after < before + 24 * 1_024,
            "{before} KiB after 10,000 records, {after} KiB after 100,000 in one statement"
        );
    })
    .await;
}

/// Index entries of the outbox that were read so far, and scans.
async fn reads(database: &TestDatabase) -> (i64, i64) {
    let of = "FROM pg_stat_user_indexes WHERE indexrelname = 'outbox_pkey'";
    let entries = database.value(&format!("SELECT idx_tup_read {of}")).await;
    (entries, database.value(&format!("SELECT idx_scan {of}")).await)
}

/// How many index entries of the outbox one look at it reads.
async fn read_by_a_look(database: &TestDatabase, low: &mut LowWater, grace: Duration) -> i64 {
    const LOOKS: i64 = 20;
    let db = database.db();
    // A look of its own, so that the connection's last report is over when it counts.
    assert!(db.begin_batch(Limits::default(), low, grace).await.unwrap().is_none());
    db.close().await;
    let (entries, scans) = reads(database).await;
    let db = database.db();
    for _ in 0..LOOKS {
        assert!(db.begin_batch(Limits::default(), low, grace).await.unwrap().is_none());
    }
    // A connection reports when it ends.
    db.close().await;
    eventually("the looks are counted", async || (reads(database).await.1 >= scans + LOOKS).then_some(()))
        .await;
    (reads(database).await.0 - entries) / LOOKS
}

#[tokio::test]
async fn case_56_dead_rows_behind_a_long_snapshot_are_not_read_again() {
    let database = TestDatabase::installed().await;
    let mut snapshot = database.crm().await;
    run(&mut snapshot, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM file_recycler.outbox")
        .await
        .unwrap();
    database
        .run(
            "INSERT INTO file_recycler.outbox (kind, schema, n, ids)
             SELECT 'records', 'Contact', 1, ARRAY[gen_random_uuid()] FROM generate_series(1, 500000);
             DELETE FROM file_recycler.outbox",
        )
        .await;
    let mut low = LowWater::default();
    // Transactions of the whole server count, those of other tests, too: the mark waits for them to end. A relay whose
    // broker is silent holds its own for half a minute.
    eventually_within(Duration::from_secs(45), "a look reads next to nothing", async || {
        (read_by_a_look(&database, &mut low, Duration::ZERO).await < 100).then_some(())
    })
    .await;
    snapshot.close().await.unwrap();
}

#[tokio::test]
async fn rows_that_wait_for_the_grace_period_are_not_all_read_at_each_look() {
    const WAITING: i64 = 200_000;
    let hour = Duration::from_hours(1);
    let database = TestDatabase::installed().await;
    database
        .run(&format!(
            "INSERT INTO file_recycler.outbox (kind, schema, n, ids)
             SELECT 'records', 'Contact', 1, ARRAY[gen_random_uuid()] FROM generate_series(1, {WAITING})"
        ))
        .await;
    let (mut low, db) = (LowWater::default(), database.db());
    eventually("every row was seen", async || {
        assert!(db.begin_batch(Limits::default(), &mut low, hour).await.unwrap().is_none());
        let unseen: i64 =
            database.value("SELECT count(*) FROM file_recycler.outbox WHERE seen_at IS NULL").await;
        (unseen == 0).then_some(())
    })
    .await;
    // The mark follows once the transactions of other tests have ended.
    eventually("a look reads the first rows only", async || {
        let read = read_by_a_look(&database, &mut low, hour).await;
        (read < 120_000).then_some(())
    })
    .await;

    // A row that commits later, with a lower id than those that were seen, is seen all the same.
    let mut late = database.crm().await;
    run(&mut late, "BEGIN; INSERT INTO file_recycler.outbox (kind, schema, n, ids) VALUES ('records', 'Contact', 1, ARRAY[gen_random_uuid()])").await.unwrap();
    database
        .run(
            "INSERT INTO file_recycler.outbox (kind, schema, n, ids)
             VALUES ('records', 'Contact', 1, ARRAY[gen_random_uuid()])",
        )
        .await;
    for _ in 0..3 {
        assert!(db.begin_batch(Limits::default(), &mut low, hour).await.unwrap().is_none());
    }
    run(&mut late, "COMMIT").await.unwrap();
    assert!(db.begin_batch(Limits::default(), &mut low, hour).await.unwrap().is_none());
    let unseen: i64 = database.value("SELECT count(*) FROM file_recycler.outbox WHERE seen_at IS NULL").await;
    assert_eq!(unseen, 0);

    // What is due goes, whatever waits behind it.
    database
        .run(
            "UPDATE file_recycler.outbox SET seen_at = seen_at - interval '2 hours'
              WHERE id IN (SELECT id FROM file_recycler.outbox ORDER BY id LIMIT 10)",
        )
        .await;
    let batch = eventually("the transactions beside them have ended", async || {
        db.begin_batch(Limits::default(), &mut low, hour).await.unwrap()
    })
    .await;
    assert_eq!(batch.rows().len(), 10);
}

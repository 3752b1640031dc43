//! The relay's view of the outbox: nothing twice at once, nothing jumped over, nothing unbounded.

use std::time::Duration;

use file_recycler::capture::What;
use file_recycler::db::Db;
use file_recycler::db::low_water::LowWater;
use file_recycler::db::outbox::{Limits, OutboxBatch};
use sqlx::Connection;
use uuid::Uuid;

use crate::support::database::{TestDatabase, run};
use crate::support::process::eventually;

const NO_GRACE: Duration = Duration::ZERO;

async fn delete_contacts(database: &TestDatabase, times: usize) {
    for _ in 0..times {
        database.record("Contact").await;
        database.run(r#"DELETE FROM "Contact""#).await;
    }
}

/// The next batch; transactions of the whole server count, those of other tests, too: what ran beside the deletion
/// must have ended.
async fn next(db: &Db, low: &mut LowWater) -> OutboxBatch {
    eventually("there is a batch", async || db.begin_batch(Limits::default(), low, NO_GRACE).await.unwrap())
        .await
}

/// Gives the rows a transaction's number that this server has not given out, as rows of a restored dump have it:
/// nobody is waited for.
async fn age(database: &TestDatabase) {
    database
        .run(
            "UPDATE file_recycler.outbox
                SET transaction = (transaction::text::bigint + 1000000000000)::text::xid8",
        )
        .await;
}

#[tokio::test]
async fn a_batch_is_read_deleted_and_gone() {
    let database = TestDatabase::installed().await;
    let db = database.db();
    let contact = database.record("Contact").await;
    let file = database.file("ContactFile", "ContactId", contact).await;
    database.run(r#"DELETE FROM "Contact""#).await;
    let mut low = LowWater::default();

    let mut batch = next(&db, &mut low).await;
    let rows = batch.rows().to_vec();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0].transaction, rows[1].transaction);
    let files = rows.iter().find_map(|row| match &row.what {
        What::Files { schema, files } => Some((schema.as_str(), files)),
        What::Records { .. } => None,
    });
    let (schema, files) = files.unwrap();
    assert_eq!((schema, files[0].id.as_uuid(), files[0].size), ("ContactFile", Some(file), Some(20_480)));
    let (parent, id) = files[0].parent.as_ref().unwrap();
    assert_eq!((parent.as_str(), id.as_uuid()), ("Contact", Some(contact)));
    batch.delete(&rows.iter().map(|row| row.row).collect::<Vec<_>>()).await.unwrap();
    batch.commit().await.unwrap();

    assert!(db.begin_batch(Limits::default(), &mut low, NO_GRACE).await.unwrap().is_none());
    assert_eq!(db.backlog().await.unwrap().rows, 0);
}

#[tokio::test]
async fn two_relays_never_hold_the_same_row_and_a_dropped_batch_is_free_again() {
    let database = TestDatabase::installed().await;
    let db = database.db();
    delete_contacts(&database, 3).await;
    age(&database).await;
    let limits = Limits { rows: 2, ids: 50_000 };
    let (mut one, mut two) = (LowWater::default(), LowWater::default());

    let first = db.begin_batch(limits, &mut one, NO_GRACE).await.unwrap().unwrap();
    let second = db.begin_batch(limits, &mut two, NO_GRACE).await.unwrap().unwrap();
    assert_eq!((first.rows().len(), second.rows().len()), (2, 1));
    assert!(db.begin_batch(limits, &mut two, NO_GRACE).await.unwrap().is_none());
    first.rollback().await.unwrap();
    second.rollback().await.unwrap();

    assert_eq!(db.begin_batch(Limits::default(), &mut two, NO_GRACE).await.unwrap().unwrap().rows().len(), 3);
}

#[tokio::test]
async fn a_batch_is_bounded_by_ids() {
    let database = TestDatabase::installed().await;
    database
        .run(r#"INSERT INTO "Contact" ("Name") SELECT 'c' FROM generate_series(1, 3000); DELETE FROM "Contact""#)
        .await;
    age(&database).await;

    let mut low = LowWater::default();
    let limits = Limits { rows: 1_000, ids: 2_000 };
    let batch = database.db().begin_batch(limits, &mut low, NO_GRACE).await.unwrap().unwrap();

    assert_eq!(batch.rows().len(), 2);
}

#[tokio::test]
async fn a_row_that_commits_late_is_never_jumped_over() {
    let database = TestDatabase::installed().await;
    let db = database.db();
    let contact = database.record("Contact").await;
    let mut late = database.crm().await;
    run(&mut late, &format!(r#"BEGIN; DELETE FROM "Contact" WHERE "Id" = '{contact}'"#)).await.unwrap();
    delete_contacts_elsewhere(&database, 5).await;
    age(&database).await;
    let mut low = LowWater::default();

    // The relay drains what it sees, several times, while the earlier row is not committed.
    for _ in 0..5 {
        if let Some(mut batch) = db.begin_batch(Limits::default(), &mut low, NO_GRACE).await.unwrap() {
            let rows: Vec<i64> = batch.rows().iter().map(|row| row.row).collect();
            batch.delete(&rows).await.unwrap();
            batch.commit().await.unwrap();
        }
    }
    run(&mut late, "COMMIT").await.unwrap();
    late.close().await.unwrap();

    let batch = next(&db, &mut low).await;
    let What::Records { ids, .. } = &batch.rows()[0].what else { panic!() };
    assert_eq!(ids[0].as_uuid(), Some(contact));
}

async fn delete_contacts_elsewhere(database: &TestDatabase, times: usize) {
    for _ in 0..times {
        let account: Uuid = database.record("Account").await;
        database.run(&format!(r#"DELETE FROM "Account" WHERE "Id" = '{account}'"#)).await;
    }
}

#[tokio::test]
async fn a_row_waits_for_the_grace_period_from_when_it_was_first_seen() {
    let database = TestDatabase::installed().await;
    let db = database.db();
    delete_contacts(&database, 1).await;
    age(&database).await;
    let mut low = LowWater::default();
    let hour = Duration::from_hours(1);

    assert!(db.begin_batch(Limits::default(), &mut low, hour).await.unwrap().is_none());
    database.run("UPDATE file_recycler.outbox SET seen_at = seen_at - interval '59 minutes'").await;
    assert!(db.begin_batch(Limits::default(), &mut low, hour).await.unwrap().is_none());
    database.run("UPDATE file_recycler.outbox SET seen_at = seen_at - interval '1 minute'").await;

    assert!(db.begin_batch(Limits::default(), &mut low, hour).await.unwrap().is_some());
}

#[tokio::test]
async fn dead_rows_behind_a_long_snapshot_are_not_looked_at_again() {
    let database = TestDatabase::installed().await;
    let db = database.db();
    let mut low = LowWater::default();
    assert!(db.begin_batch(Limits::default(), &mut low, NO_GRACE).await.unwrap().is_none());
    let mut snapshot = database.crm().await;
    run(&mut snapshot, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM file_recycler.outbox")
        .await
        .unwrap();
    database
        .run(
            "INSERT INTO file_recycler.outbox (kind, schema, n, ids)
             SELECT 'records', 'Contact', 1, ARRAY[gen_random_uuid()] FROM generate_series(1, 20000);
             DELETE FROM file_recycler.outbox",
        )
        .await;
    let last: i64 = database.value("SELECT last_value FROM file_recycler.outbox_id_seq").await;

    // Transactions of the whole server count, those of other tests, too: the mark waits for them to end.
    eventually("the next look begins behind all dead rows", async || {
        assert!(db.begin_batch(Limits::default(), &mut low, NO_GRACE).await.unwrap().is_none());
        (low.from(std::time::Instant::now()) == last).then_some(())
    })
    .await;
    snapshot.close().await.unwrap();
}

#[tokio::test]
async fn a_row_whose_transaction_ran_while_the_mark_was_noted_is_found_when_it_commits() {
    let database = TestDatabase::installed().await;
    let db = database.db();
    database.record("Contact").await;
    let mut low = LowWater::default();
    let mut slow = database.crm().await;
    run(&mut slow, r#"BEGIN; DELETE FROM "Contact""#).await.unwrap();
    for _ in 0..3 {
        assert!(db.begin_batch(Limits::default(), &mut low, NO_GRACE).await.unwrap().is_none());
    }

    run(&mut slow, "COMMIT").await.unwrap();

    // It is not below the mark.
    assert_eq!(next(&db, &mut low).await.rows().len(), 1);
}

/// All connections of a pool are in use for longer than a server that is down would be waited for.
#[tokio::test]
async fn a_connection_is_waited_for_while_the_server_lets_others_in() {
    const CONNECTIONS: usize = 16;
    let database = TestDatabase::installed().await;
    let db = database.db();
    delete_contacts(&database, CONNECTIONS).await;
    age(&database).await;
    let one = Limits { rows: 1, ids: 50_000 };
    let mut busy = Vec::new();
    for _ in 0..CONNECTIONS {
        let batch = db.begin_batch(one, &mut LowWater::default(), NO_GRACE).await.unwrap();
        busy.push(batch.expect("a row that nobody holds"));
    }
    let mut asked = tokio::spawn({
        let db = db.clone();
        async move { db.ping().await }
    });
    let early = tokio::time::timeout(Duration::from_secs(8), &mut asked).await;
    assert!(early.is_err(), "nothing was free: {early:?}");
    busy.pop().unwrap().rollback().await.unwrap();
    asked.await.unwrap().unwrap();
}

//! Triggers that a CRM survives: they are put on and taken off beside its work.

mod changes;
mod copies;
mod discovery;
mod heirs;
mod own_listener;
mod replicas;

use file_recycler::config::OnCaptureError;
use file_recycler::db::Db;
use file_recycler::db::triggers::{CaptureState, CaptureStatus};
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use crate::support::cluster::Cluster;
use crate::support::crm::Crm;
use crate::support::database::{TestDatabase, actor, crm, run};
use crate::support::process::eventually;

async fn status(database: &TestDatabase) -> CaptureStatus {
    database.db().capture_status(&crm(), OnCaptureError::Skip).await.unwrap()
}

/// Does our program wait for a lock on this table right now?
async fn we_wait_for(database: &TestDatabase, table: &str) -> bool {
    database
        .value(&format!(
            r#"SELECT EXISTS (SELECT FROM pg_locks JOIN pg_stat_activity AS a USING (pid)
                WHERE NOT granted AND a.datname = current_database() AND relation = '"{table}"'::regclass AND a.application_name = 'file-recycler')"#
        ))
        .await
}

/// The CRM's own limit for one statement: whoever made it wait for longer has broken the CRM. It is many times of what
/// we wait for a lock, and as near to what a connection of ours would wait by itself as a busy machine allows.
const CRMS_PATIENCE: &str = "SET statement_timeout = '4500ms'";

/// A connection of the CRM that goes on deleting single contacts.
async fn busy(database: &TestDatabase) -> PgConnection {
    let mut busy = database.crm().await;
    run(&mut busy, CRMS_PATIENCE).await.unwrap();
    busy
}

async fn delete_one(busy: &mut PgConnection) {
    let one =
        r#"DELETE FROM "Contact" WHERE "Id" = (SELECT "Id" FROM "Contact" WHERE "Name" = 'busy' LIMIT 1)"#;
    assert_eq!(run(busy, one).await.expect("the CRM's deletion goes through"), 1);
}

/// Goes on deleting until our program was seen waiting for the table, and some more.
async fn delete_while_we_wait(database: &TestDatabase, busy: &mut PgConnection) {
    let mut seen = 0;
    while seen < 3 {
        delete_one(busy).await;
        seen += usize::from(we_wait_for(database, "Contact").await);
    }
    for _ in 0..20 {
        delete_one(busy).await;
    }
}

async fn with_contacts(database: &TestDatabase) {
    let many = r#"INSERT INTO "Contact" ("Name") SELECT 'busy' FROM generate_series(1, 20000)"#;
    database.run(many).await;
}

#[tokio::test]
async fn an_installation_beside_a_long_transaction_holds_no_deletion_up_and_ends_when_it_can() {
    let database = TestDatabase::create().await;
    with_contacts(&database).await;
    let mut long = database.crm().await;
    run(&mut long, r#"BEGIN; INSERT INTO "Contact" ("Name") VALUES ('long')"#).await.unwrap();
    let db = database.db();
    let installing = tokio::spawn(async move { db.install(&crm(), OnCaptureError::Skip, &actor()).await });

    let mut busy = busy(&database).await;
    delete_while_we_wait(&database, &mut busy).await;
    assert!(!installing.is_finished(), "the long transaction is still there");
    let on_account =
        "SELECT count(*) FROM pg_trigger WHERE tgrelid = '\"Account\"'::regclass AND tgname LIKE 'file%'";
    assert_eq!(database.value::<i64>(on_account).await, 2, "the others wait for nobody");
    run(&mut long, "COMMIT").await.unwrap();
    let installed = installing.await.unwrap().unwrap();

    assert!(installed.tables.iter().any(|table| table.name == "Contact"));
    assert_eq!(status(&database).await.state(), CaptureState::Installed);
    delete_one(&mut busy).await;
    assert_eq!(database.captured().await, ["records Contact 1"]);
    busy.close().await.unwrap();
    long.close().await.unwrap();
}

#[tokio::test]
async fn a_removal_beside_a_long_reader_holds_no_deletion_up_and_ends_when_it_can() {
    let database = TestDatabase::installed().await;
    with_contacts(&database).await;
    let mut reader = database.crm().await;
    run(&mut reader, r#"BEGIN; SELECT FROM "Contact" LIMIT 1"#).await.unwrap();
    let db = database.db();
    let removing = tokio::spawn(async move { db.uninstall(false, &actor()).await });

    let mut busy = busy(&database).await;
    delete_while_we_wait(&database, &mut busy).await;
    assert!(!removing.is_finished(), "the reader is still there");
    run(&mut reader, "COMMIT").await.unwrap();
    removing.await.unwrap().unwrap();

    let ours = "SELECT (SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'file_recycler%') +
                       (SELECT count(*) FROM pg_proc WHERE pronamespace = 'file_recycler'::regnamespace AND prorettype = 'trigger'::regtype)";
    assert_eq!(database.value::<i64>(ours).await, 0);
    delete_one(&mut busy).await;
    busy.close().await.unwrap();
    reader.close().await.unwrap();
}

#[tokio::test]
async fn an_installation_that_cannot_get_a_lock_says_who_holds_it_and_installs_the_rest() {
    let database = TestDatabase::create().await;
    let mut report = database.crm().await;
    run(&mut report, r#"SET application_name = 'night report'; BEGIN; LOCK TABLE "Contact" IN SHARE MODE"#)
        .await
        .unwrap();
    let prepared = database.name();
    database
        .run(&format!(r#"BEGIN; INSERT INTO "Account" DEFAULT VALUES; PREPARE TRANSACTION '{prepared}'"#))
        .await;

    let error = database.db().install(&crm(), OnCaptureError::Skip, &actor()).await.unwrap_err().to_string();

    let left: Vec<String> =
        status(&database).await.drift.iter().map(|drift| drift.table.name.clone()).collect();
    assert_eq!(left, ["Account", "Account", "Contact", "Contact"], "only what was locked is left");
    for part in ["on public.Account (and 1 more in vain)", "a prepared transaction", "run this again"] {
        assert!(error.contains(part), "'{part}' is not in: {error}");
    }
    database.run(&format!("COMMIT PREPARED '{prepared}'")).await;
    let error = database.db().install(&crm(), OnCaptureError::Skip, &actor()).await.unwrap_err().to_string();
    assert!(error.contains("(night report, idle in transaction, since"), "{error}");
    report.close().await.unwrap();
    database.install(OnCaptureError::Skip).await;
    assert_eq!(status(&database).await.drift, []);
}

#[tokio::test]
async fn many_installations_at_once_are_one_installation() {
    let database = TestDatabase::create().await;
    // Whoever only reads, a dump for instance, is in nobody's way.
    let mut reader = database.crm().await;
    run(&mut reader, r#"BEGIN; SELECT FROM "Contact", "ContactFile", "FileLink" LIMIT 1"#).await.unwrap();
    let dbs: Vec<Db> = (0..4).map(|_| database.db()).collect();
    let (crm, actor) = (crm(), actor());

    let installed = dbs.iter().map(|db| db.install(&crm, OnCaptureError::Skip, &actor));
    for done in futures_util::future::join_all(installed).await {
        done.unwrap();
    }
    reader.close().await.unwrap();

    assert_eq!(status(&database).await.state(), CaptureState::Installed);
}

#[tokio::test]
async fn an_installation_makes_a_long_autovacuum_give_way() {
    let slow = [
        "autovacuum_naptime=1s",
        "autovacuum_vacuum_threshold=0",
        "autovacuum_vacuum_scale_factor=0",
        "autovacuum_vacuum_cost_delay=100ms",
        "autovacuum_vacuum_cost_limit=1",
    ];
    let cluster = Cluster::with(&slow).await;
    let miniature = Crm::on(&cluster.url()).await;
    let many = r#"INSERT INTO "Contact" ("Name") SELECT repeat('x', 200) FROM generate_series(1, 20000);
                  DELETE FROM "Contact" WHERE "Id" < '80000000-0000-0000-0000-000000000000'"#;
    miniature.sql(many).await;
    let vacuums = r#"SELECT count(*) FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
                      WHERE l.relation = '"Contact"'::regclass AND l.granted AND a.backend_type = 'autovacuum worker'
                        AND l.mode = 'ShareUpdateExclusiveLock'"#;
    eventually("an autovacuum is at work", async || (miniature.number(vacuums).await == 1).then_some(()))
        .await;

    let db = Db::connect(&miniature.url.as_str().into()).unwrap();
    let installed = db.install(&crm(), OnCaptureError::Skip, &actor()).await.unwrap();

    assert!(installed.tables.iter().any(|table| table.name == "Contact"));
    db.close().await;
    miniature.pool.close().await;
}

/// A contact with a file, and the file's deletion.
async fn delete_a_file(database: &TestDatabase) -> Uuid {
    let contact = database.record("Contact").await;
    let file = database.file("ContactFile", "ContactId", contact).await;
    database.run(&format!(r#"DELETE FROM "ContactFile" WHERE "Id" = '{file}'"#)).await;
    file
}

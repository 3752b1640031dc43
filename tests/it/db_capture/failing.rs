//! What our own capture does to the CRM when it cannot write: nothing, and it is counted.

use file_recycler::config::OnCaptureError;
use sqlx::Connection;

use super::contact_with_files;
use crate::support::database::{TestDatabase, run};

#[tokio::test]
async fn case_58_a_locked_outbox_holds_the_crm_up_once_in_a_transaction_and_is_counted() {
    for locking in [
        "LOCK TABLE file_recycler.outbox",
        // A migration of ours under way.
        "ALTER TABLE file_recycler.outbox ADD COLUMN coming text",
    ] {
        let database = TestDatabase::installed().await;
        database.run(r#"INSERT INTO "Contact" ("Name") SELECT 'c' FROM generate_series(1, 600)"#).await;
        let mut locker = database.crm().await;
        run(&mut locker, &format!("BEGIN; {locking}")).await.unwrap();

        // Six hundred waits of the trigger's 100 ms each would be a minute.
        database
            .run(
                r#"SET statement_timeout = '30s'; DO $$ DECLARE id uuid; BEGIN
                     FOR id IN SELECT "Id" FROM "Contact" LOOP DELETE FROM "Contact" WHERE "Id" = id; END LOOP;
                   END $$"#,
            )
            .await;
        // Nothing is deleted here, so nothing is waited for and nothing is counted; nor for the empty cascades above.
        database.run(r#"DELETE FROM "Account"; DELETE FROM "FileLink"; UPDATE "FileLink" SET "RecordSchemaName" = 'x'"#).await;
        locker.close().await.unwrap();

        assert_eq!(database.value::<i64>(r#"SELECT count(*) FROM "Contact""#).await, 0, "{locking}");
        assert_eq!(database.db().capture_failures().await.unwrap(), 600, "{locking}");
    }
}

#[tokio::test]
async fn case_58_whatever_breaks_in_our_schema_never_stops_a_deletion() {
    for (breaking, counted) in [
        ("ALTER TABLE file_recycler.outbox ADD CHECK (false) NOT VALID", 2),
        ("DROP TABLE file_recycler.outbox", 2),
        (
            // What a full disk, a quota and a server without memory say.
            "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no space' USING ERRCODE = TG_ARGV[0]; END $$;
             CREATE TRIGGER full_disk BEFORE INSERT ON file_recycler.outbox FOR EACH ROW EXECUTE FUNCTION full_disk('53100')",
            2,
        ),
        ("ALTER TABLE file_recycler.outbox DROP COLUMN ids", 2),
        (r#"ALTER TABLE "SysFileContentStorage" RENAME TO "Gone""#, 1),
    ] {
        let database = TestDatabase::installed().await;
        contact_with_files(&database, 1).await;
        database.run(breaking).await;

        database.run(r#"DELETE FROM "Contact""#).await;

        assert_eq!(database.value::<i64>(r#"SELECT count(*) FROM "ContactFile""#).await, 0, "{breaking}");
        assert_eq!(database.db().capture_failures().await.unwrap(), counted, "{breaking}");
    }
    let database = TestDatabase::installed().await;
    contact_with_files(&database, 1).await;
    database.run("DROP SEQUENCE file_recycler.capture_failures; DROP TABLE file_recycler.outbox").await;
    database.run(r#"DELETE FROM "Contact""#).await;
    database.run(r#"DROP SCHEMA file_recycler CASCADE; DELETE FROM "Account""#).await;
}

#[tokio::test]
async fn with_fail_a_deletion_that_cannot_be_captured_does_not_happen() {
    let database = TestDatabase::create().await;
    database.install(OnCaptureError::Fail).await;
    contact_with_files(&database, 1).await;
    database.run("ALTER TABLE file_recycler.outbox ADD CHECK (false) NOT VALID").await;

    let mut crm = database.crm().await;
    assert!(run(&mut crm, r#"DELETE FROM "Contact""#).await.is_err());
    crm.close().await.unwrap();
    assert_eq!(database.value::<i64>(r#"SELECT count(*) FROM "Contact""#).await, 1);
}

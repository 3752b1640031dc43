//! What the triggers capture, and that the CRM never feels them.

mod failing;

use file_recycler::config::OnCaptureError;
use file_recycler::db::triggers::{CaptureState, DriftKind};
use sqlx::Connection;
use uuid::Uuid;

use crate::support::database::{TestDatabase, actor, crm, run};

async fn contact_with_files(database: &TestDatabase, files: usize) -> Uuid {
    let contact = database.record("Contact").await;
    for _ in 0..files {
        database.file("ContactFile", "ContactId", contact).await;
    }
    contact
}

const NOTHING: [&str; 0] = [];

#[tokio::test]
async fn case_33_a_deleted_record_is_captured_with_the_files_that_its_cascade_deletes() {
    let database = TestDatabase::installed().await;
    let contact = contact_with_files(&database, 2).await;

    database.run(&format!(r#"DELETE FROM "Contact" WHERE "Id" = '{contact}'"#)).await;

    assert_eq!(database.captured().await, ["records Contact 1", "files ContactFile 2"]);
    let whole: bool = database
        .value(&format!(
            "SELECT parent_schema = 'Contact' AND parents = ARRAY['{contact}', '{contact}']::uuid[]
                    AND sizes = ARRAY[20480, 20480]::bigint[] FROM file_recycler.outbox WHERE kind = 'files'"
        ))
        .await;
    assert!(whole);
}

#[tokio::test]
async fn case_31_a_rolled_back_deletion_and_a_rolled_back_savepoint_leave_nothing() {
    let database = TestDatabase::installed().await;
    contact_with_files(&database, 1).await;

    database.run(r#"BEGIN; DELETE FROM "Contact"; ROLLBACK"#).await;
    database.run(r#"BEGIN; SAVEPOINT s; DELETE FROM "Contact"; ROLLBACK TO s; COMMIT"#).await;

    assert_eq!(database.captured().await, NOTHING);
}

#[tokio::test]
async fn a_set_null_leaves_the_file_and_captures_the_record_alone() {
    let database = TestDatabase::installed().await;
    let case = database.record("Case").await;
    database.file("CaseFile", "CaseId", case).await;

    database.run(r#"DELETE FROM "Case""#).await;

    assert_eq!(database.captured().await, ["records Case 1"]);
}

#[tokio::test]
async fn case_35_only_files_whose_content_is_in_s3_are_captured() {
    let database = TestDatabase::installed().await;
    let contact = contact_with_files(&database, 4).await;
    database
        .run(
            r#"WITH f AS (SELECT "Id", row_number() OVER () AS n FROM "ContactFile")
               UPDATE "ContactFile" SET
                 "SysFileStorageId" = CASE f.n WHEN 1 THEN NULL WHEN 2 THEN '38ab9812-9bba-4eb8-86d0-8f352cd0229c' ELSE "SysFileStorageId" END,
                 "TypeId" = CASE f.n WHEN 3 THEN '539bc2f8-0ee0-df11-971b-001d60e938c6' ELSE "TypeId" END
               FROM f WHERE f."Id" = "ContactFile"."Id""#,
        )
        .await;

    database.run(&format!(r#"DELETE FROM "Contact" WHERE "Id" = '{contact}'"#)).await;

    assert_eq!(database.captured().await, ["records Contact 1", "files ContactFile 1"]);
}

#[tokio::test]
async fn case_33_many_rows_of_one_statement_are_captured_a_thousand_to_a_row() {
    let database = TestDatabase::installed().await;
    database.run(r#"INSERT INTO "Contact" ("Name") SELECT 'c' FROM generate_series(1, 2500)"#).await;

    database.run(r#"DELETE FROM "Contact""#).await;

    let distinct: i64 =
        database.value("SELECT count(DISTINCT gone) FROM file_recycler.outbox, unnest(ids) AS gone").await;
    assert_eq!(distinct, 2_500);
    let mut captured = database.captured().await;
    captured.sort();
    assert_eq!(captured, ["records Contact 1000", "records Contact 1000", "records Contact 500"]);
}

#[tokio::test]
async fn case_33_a_delete_without_where_and_cascades_over_several_tables_are_captured() {
    let database = TestDatabase::installed().await;
    let contact = contact_with_files(&database, 2).await;
    database
        .run(r#"ALTER TABLE "Opportunity" ADD "ContactId" uuid REFERENCES "Contact" ON DELETE CASCADE"#)
        .await;
    let opportunity: Uuid = database
        .value(&format!(r#"INSERT INTO "Opportunity" ("ContactId") VALUES ('{contact}') RETURNING "Id""#))
        .await;
    database.file("OpportunityFile", "OpportunityId", opportunity).await;

    database.run(r#"DELETE FROM "Contact""#).await;

    let all =
        ["records Contact 1", "records Opportunity 1", "files ContactFile 2", "files OpportunityFile 1"];
    assert_eq!(database.captured().await, all);
    contact_with_files(&database, 3).await;
    database.run(r#"DELETE FROM "ContactFile""#).await;
    assert_eq!(database.captured().await.last().unwrap(), "files OpportunityFile 1");
    assert!(database.captured().await.contains(&"files ContactFile 3".to_owned()));
}

#[tokio::test]
async fn case_33_a_truncated_table_is_captured() {
    let database = TestDatabase::installed().await;
    contact_with_files(&database, 3).await;

    database.run(r#"TRUNCATE "Contact" CASCADE"#).await;

    assert_eq!(database.captured().await, ["records Contact 1", "files ContactFile 3"]);
}

#[tokio::test]
async fn case_33_a_deletion_by_a_replication_role_is_captured() {
    let database = TestDatabase::installed().await;
    contact_with_files(&database, 1).await;

    database.run(r#"SET session_replication_role = replica; DELETE FROM "ContactFile""#).await;

    assert_eq!(database.captured().await, ["files ContactFile 1"]);
}

#[tokio::test]
async fn case_54_a_deletion_on_a_partition_or_its_root_is_captured_once() {
    let database = TestDatabase::create().await;
    database
        .run(
            r#"SELECT make_schema('PartFile', 'File');
               CREATE TABLE "PartFile" (LIKE "ContactFile" INCLUDING DEFAULTS) PARTITION BY RANGE ("Size");
               CREATE TABLE "PartFile_1" PARTITION OF "PartFile" FOR VALUES FROM (0) TO (10);
               CREATE TABLE "PartFile_2" PARTITION OF "PartFile" FOR VALUES FROM (10) TO (20);
               INSERT INTO "PartFile" ("TypeId", "SysFileStorageId", "Size")
                 SELECT '529bc2f8-0ee0-df11-971b-001d60e938c6', '7b1ac6fa-3f43-4d27-9f50-2d6a7a3d9c11', size
                   FROM generate_series(0, 19) AS size"#,
        )
        .await;
    database.install(OnCaptureError::Skip).await;

    database.run(r#"DELETE FROM "PartFile_1" WHERE "Size" < 2"#).await;
    assert_eq!(database.captured().await, ["files PartFile 2"]);
    database.run(r#"DELETE FROM "PartFile" WHERE "Size" < 12"#).await;
    assert_eq!(database.captured().await, ["files PartFile 2", "files PartFile 10"]);
    database.run(r#"TRUNCATE "PartFile""#).await;
    assert_eq!(database.captured().await, ["files PartFile 2", "files PartFile 10", "files PartFile 8"]);
}

#[tokio::test]
async fn case_54_a_file_that_loses_a_link_is_captured() {
    let database = TestDatabase::installed().await;
    let [record, file, other] = [(); 3].map(|()| Uuid::new_v4());
    for _ in 0..2 {
        database.link("Contact", record, "SysFile", file).await;
    }

    database.run(r#"UPDATE "FileLink" SET "FileSchemaName" = 'SysFile'"#).await;
    assert_eq!(database.captured().await, NOTHING, "an update that changes nothing");
    database.run(&format!(r#"UPDATE "FileLink" SET "FileRecordId" = '{other}'"#)).await;
    assert_eq!(database.captured().await, ["files SysFile 2"]);
    let lost: bool = database
        .value(&format!("SELECT ids = ARRAY['{file}', '{file}']::uuid[] FROM file_recycler.outbox"))
        .await;
    assert!(lost);
    database.run(r#"DELETE FROM "FileLink""#).await;
    assert_eq!(database.captured().await.len(), 2);
}

#[tokio::test]
async fn case_57_a_deletion_in_a_prepared_transaction_is_captured_with_its_commit() {
    let database = TestDatabase::installed().await;
    contact_with_files(&database, 1).await;
    let name = database.name();
    let prepare = format!(r#"BEGIN; DELETE FROM "Contact"; PREPARE TRANSACTION '{name}'"#);

    database.run(&prepare).await;
    assert_eq!(database.captured().await, NOTHING);
    database.run(&format!("ROLLBACK PREPARED '{name}'")).await;
    assert_eq!(database.captured().await, NOTHING);
    database.run(&prepare).await;
    database.run(&format!("COMMIT PREPARED '{name}'")).await;
    assert_eq!(database.captured().await, ["records Contact 1", "files ContactFile 1"]);

    // A capture that fails keeps no transaction from being prepared either.
    contact_with_files(&database, 1).await;
    database.run("ALTER TABLE file_recycler.outbox RENAME TO away").await;
    database.run(&prepare).await;
    database.run(&format!("COMMIT PREPARED '{name}'")).await;
    assert_eq!(database.value::<i64>(r#"SELECT count(*) FROM "Contact""#).await, 0);
    assert_eq!(database.db().capture_failures().await.unwrap(), 2);
}

#[tokio::test]
async fn the_crms_user_needs_no_rights_on_our_schema() {
    let database = TestDatabase::installed().await;
    contact_with_files(&database, 1).await;
    let role = format!("role_{}", Uuid::new_v4().simple());
    database
        .run(&format!(
            "CREATE ROLE {role} LOGIN PASSWORD '{role}';
               GRANT SELECT, DELETE ON ALL TABLES IN SCHEMA public TO {role}"
        ))
        .await;

    let mut crm = database.crm_as(&role).await;
    run(&mut crm, r#"DELETE FROM "Contact""#).await.unwrap();
    let refused = run(&mut crm, "SELECT * FROM file_recycler.outbox").await;
    crm.close().await.unwrap();

    assert!(refused.unwrap_err().to_string().contains("permission denied"));
    assert_eq!(database.captured().await, ["records Contact 1", "files ContactFile 1"]);
    database.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}

#[tokio::test]
async fn names_with_quotes_and_cyrillic_are_captured() {
    let database = TestDatabase::create().await;
    let section = "Договор\"$file_recycler$'; --О";
    database.run(&format!("SELECT make_section('{}', 'CASCADE')", section.replace('\'', "''"))).await;
    database.install(OnCaptureError::Skip).await;
    let quoted = section.replace('"', "\"\"");

    database.run(&format!(r#"INSERT INTO "{quoted}" DEFAULT VALUES; DELETE FROM "{quoted}""#)).await;

    assert_eq!(database.captured().await, [format!("records {section} 1")]);
    let status = database.db().capture_status(&crm(), OnCaptureError::Skip).await.unwrap();
    assert_eq!(status.state(), CaptureState::Installed);
}

#[tokio::test]
async fn a_schema_whose_name_is_longer_than_a_table_may_be_is_captured_under_its_whole_name() {
    let database = TestDatabase::create().await;
    let long = format!("Usr{}", "Deal".repeat(20));
    database.run(&format!("SELECT make_section('{long}', 'CASCADE', 'UsrPapers')")).await;
    database.install(OnCaptureError::Skip).await;

    database.run(&format!(r#"INSERT INTO "{long}" DEFAULT VALUES; DELETE FROM "{long}""#)).await;

    assert_eq!(database.captured().await, [format!("records {long} 1")]);
}

#[tokio::test]
async fn installing_twice_changes_nothing_and_drift_is_found_and_repaired() {
    let database = TestDatabase::create().await;
    let db = database.db();
    let status = async || db.capture_status(&crm(), OnCaptureError::Skip).await.unwrap();
    assert_eq!(status().await.state(), CaptureState::NotInstalled);
    database.install(OnCaptureError::Skip).await;
    assert_eq!(status().await.state(), CaptureState::Installed);
    let again = db.install(&crm(), OnCaptureError::Skip, &actor()).await.unwrap();
    assert_eq!((again.tables.len(), again.untouched), (0, status().await.expected));

    let body = "CREATE OR REPLACE FUNCTION public.nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'";
    for (breaking, kind) in [
        (r#"DROP TRIGGER file_recycler_files_delete ON "ContactFile""#.to_owned(), DriftKind::Missing),
        (r#"ALTER TABLE "Contact" DISABLE TRIGGER ALL"#.to_owned(), DriftKind::Disabled),
        (r#"ALTER TABLE "Contact" ENABLE REPLICA TRIGGER file_recycler_records_delete"#.to_owned(), DriftKind::Disabled),
        (
            format!(
                r#"{body}; CREATE OR REPLACE TRIGGER file_recycler_files_delete AFTER DELETE ON "SysFile"
                   FOR EACH STATEMENT EXECUTE FUNCTION public.nothing()"#
            ),
            DriftKind::Trigger,
        ),
        (
            "DO $$ BEGIN EXECUTE (SELECT format('ALTER FUNCTION file_recycler.%I() SECURITY INVOKER', proname)
                 FROM pg_proc WHERE proname LIKE 'files_delete_ContactFile%'); END $$"
                .to_owned(),
            DriftKind::Function,
        ),
        ("SELECT make_section('UsrDeal', 'CASCADE')".to_owned(), DriftKind::Missing),
    ] {
        database.run(&breaking).await;
        let drifted = status().await;
        assert_eq!(drifted.state(), CaptureState::Drifted, "{breaking}");
        assert!(drifted.drift.iter().all(|drift| drift.kind == kind), "{breaking}: {:?}", drifted.drift);
        database.install(OnCaptureError::Skip).await;
        assert_eq!(status().await.drift, [], "{breaking}");
    }
    let other = db.capture_status(&crm(), OnCaptureError::Fail).await.unwrap();
    assert_eq!(other.drift.len(), other.expected, "another on_capture_error is drift");
}

#[tokio::test]
async fn the_printed_sql_applied_by_hand_is_an_installation() {
    let database = TestDatabase::create().await;
    let sql = database.db().install_sql(&crm(), OnCaptureError::Skip).await.unwrap();
    assert!(sql.iter().any(|sql| sql.ends_with("SET lock_timeout = '200ms';")), "the CRM never waits for it");

    database.run(&sql.join("\n")).await;

    let status = database.db().capture_status(&crm(), OnCaptureError::Skip).await.unwrap();
    assert_eq!(status.state(), CaptureState::Installed);
    let installed = database.db().install(&crm(), OnCaptureError::Skip, &actor()).await.unwrap();
    assert_eq!(installed.tables, []);
}

#[tokio::test]
async fn uninstalling_keeps_the_schema_and_purging_refuses_while_the_outbox_has_rows() {
    let database = TestDatabase::installed().await;
    let db = database.db();
    contact_with_files(&database, 1).await;
    database.run(r#"DELETE FROM "Contact""#).await;

    let refused = db.uninstall(true, &actor()).await.unwrap_err();
    assert!(refused.to_string().contains("outbox still has rows"), "{refused}");
    let status = db.capture_status(&crm(), OnCaptureError::Skip).await.unwrap();
    assert_eq!(status.state(), CaptureState::Installed, "a refused purge leaves the triggers");

    db.uninstall(false, &actor()).await.unwrap();
    assert_eq!(database.captured().await.len(), 2);
    assert_eq!(
        database.value::<i64>("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'file_recycler%'").await,
        0
    );
    database.run("DELETE FROM file_recycler.outbox").await;
    db.uninstall(true, &actor()).await.unwrap();
    assert_eq!(
        database.value::<i64>("SELECT count(*) FROM pg_namespace WHERE nspname = 'file_recycler'").await,
        0
    );
    db.uninstall(true, &actor()).await.unwrap();
}

#[tokio::test]
async fn a_link_that_names_no_file_or_no_schema_holds_up_nobody() {
    let database = TestDatabase::installed().await;
    let (record, file) = (Uuid::new_v4(), Uuid::new_v4());
    database
        .run(&format!(
            r#"ALTER TABLE "FileLink" ALTER "FileRecordId" DROP NOT NULL, ALTER "FileSchemaName" DROP NOT NULL;
               INSERT INTO "FileLink" ("RecordSchemaName", "RecordId", "FileSchemaName", "FileRecordId")
                 VALUES ('Contact', '{record}', 'SysFile', NULL), ('Contact', '{record}', NULL, '{file}');
               DELETE FROM "FileLink""#
        ))
        .await;

    assert_eq!(database.captured().await, ["files  1"]);
    assert_eq!(database.value::<Uuid>("SELECT ids[1] FROM file_recycler.outbox").await, file);
    assert_eq!(database.db().capture_failures().await.unwrap(), 0);
}

#[tokio::test]
async fn a_vacuum_takes_no_lock_against_deletions() {
    let database = TestDatabase::installed().await;
    let options = "SELECT c.reloptions @> ARRAY['vacuum_truncate=false'] AND t.reloptions @> ARRAY['vacuum_truncate=false']
                     FROM pg_class AS c JOIN pg_class AS t ON t.oid = c.reltoastrelid
                    WHERE c.oid = 'file_recycler.outbox'::regclass";
    assert!(database.value::<bool>(options).await);
}

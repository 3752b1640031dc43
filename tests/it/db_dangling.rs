//! Rows that hang on a deleted record go, with their image kept, and only those.

use file_recycler::db::dangling::{DanglingReport, DeletedRecord};
use file_recycler::db::{Db, DbError};
use file_recycler::file::{RecordId, SchemaName};
use file_recycler::outcome::Advice;
use secrecy::ExposeSecret as _;
use sqlx::Connection as _;
use uuid::Uuid;

use crate::support::database::{IN_DATABASE, TestDatabase, crm, run};
use crate::support::pooler::Pooler;
use crate::support::process::eventually;

async fn dangling(database: &TestDatabase, schema: &str, id: Uuid, may_delete: bool) -> DanglingReport {
    try_dangling(database, schema, id, may_delete).await.unwrap()
}

async fn try_dangling(
    database: &TestDatabase,
    schema: &str,
    id: Uuid,
    may_delete: bool,
) -> Result<DanglingReport, DbError> {
    let db = database.db();
    let catalog = db.discover(&crm()).await.unwrap();
    let (schema, id) = (SchemaName::try_from(schema).unwrap(), RecordId::from(id));
    let record = DeletedRecord { schema: &schema, id: &id, event_id: "event", may_delete };
    db.dangling(&catalog, record).await
}

#[tokio::test]
async fn rows_and_links_of_a_deleted_record_go_and_are_captured_and_their_image_is_kept() {
    let database = TestDatabase::installed().await;
    let gone = Uuid::new_v4();
    let file = database.weak_file("SysFile", "Contact", gone).await;
    database.weak_file("FeedFile", "Contact", gone).await;
    let stays = database.weak_file("SysFile", "Account", gone).await;
    database.link("Contact", gone, "SysFile", file).await;
    database
        .run(&format!(r#"UPDATE "SysFile" SET "Name" = 'plan.pdf', "Data" = 'x' WHERE "Id" = '{file}'"#))
        .await;

    let report = dangling(&database, "Contact", gone, true).await;

    assert_eq!(report, DanglingReport { deleted: 2, links_deleted: 1, ..DanglingReport::default() });
    assert_eq!(database.value::<Uuid>(r#"SELECT "Id" FROM "SysFile""#).await, stays);
    assert_eq!(database.captured().await, ["files FeedFile 1", "files SysFile 1", "files SysFile 1"]);
    let image: bool = database
        .value(&format!(
            "SELECT row->>'Name' = 'plan.pdf' AND NOT row ? 'Data' AND record_schema = 'Contact'
                 FROM file_recycler.image WHERE row_id = '{file}'"
        ))
        .await;
    assert!(image);
}

#[tokio::test]
async fn nothing_goes_while_the_record_is_there() {
    let database = TestDatabase::installed().await;
    let contact = database.record("Contact").await;
    database.weak_file("SysFile", "Contact", contact).await;

    let report = dangling(&database, "Contact", contact, true).await;

    assert!(report.record_exists);
    assert_eq!(database.value::<i64>(r#"SELECT count(*) FROM "SysFile""#).await, 1);
}

#[tokio::test]
async fn a_record_that_is_saved_again_while_its_rows_are_about_to_go_keeps_them() {
    let database = TestDatabase::installed().await;
    let record = Uuid::new_v4();
    let file = database.weak_file("SysFile", "Contact", record).await;
    // Its row is in somebody's hands, who saves the record in the same transaction.
    let mut saving = database.crm().await;
    let held = format!(r#"BEGIN; SELECT FROM "SysFile" WHERE "Id" = '{file}' FOR UPDATE"#);
    run(&mut saving, &held).await.unwrap();
    let saved = async {
        let waits = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()
                        AND application_name = 'file-recycler' AND wait_event_type = 'Lock')";
        eventually("the deletion waits for the row", async || {
            database.value::<bool>(waits).await.then_some(())
        })
        .await;
        let save = format!(r#"INSERT INTO "Contact" ("Id") VALUES ('{record}'); COMMIT"#);
        run(&mut saving, &save).await.unwrap();
    };

    let deleted = async {
        loop {
            match try_dangling(&database, "Contact", record, true).await {
                // A lock is waited for for five seconds; then the worker tries it again, too.
                Err(error) if error.advice() == Advice::Retry => {}
                ended => break ended.unwrap(),
            }
        }
    };

    let (report, ()) = tokio::join!(deleted, saved);

    assert_eq!(report.deleted, 0, "{report:?}");
    assert_eq!(database.value::<i64>(r#"SELECT count(*) FROM "SysFile""#).await, 1);
    assert_eq!(database.value::<i64>("SELECT count(*) FROM file_recycler.image").await, 0);
    saving.close().await.unwrap();
}

#[tokio::test]
async fn an_event_that_is_not_ours_only_reports() {
    let database = TestDatabase::installed().await;
    let gone = Uuid::new_v4();
    database.weak_file("SysFile", "Contact", gone).await;
    database.weak_file("SysFile", "NobodyKnows", gone).await;

    let report = dangling(&database, "Contact", gone, false).await;
    assert_eq!((report.left_reported, report.left(), report.deleted), (1, 1, 0));
    assert!(dangling(&database, "NobodyKnows", gone, false).await.record_exists);

    assert_eq!(dangling(&database, "NobodyKnows", gone, true).await.deleted, 1);
    assert_eq!(database.value::<i64>(r#"SELECT count(*) FROM "SysFile""#).await, 1);
}

#[tokio::test]
async fn case_47_rows_that_something_else_holds_are_left_and_counted() {
    let database = TestDatabase::installed().await;
    let gone = Uuid::new_v4();
    database.weak_file_in("SysFile", "Contact", gone, IN_DATABASE).await;
    let linked = database.weak_file("SysFile", "Contact", gone).await;
    database.link("Account", Uuid::new_v4(), "SysFile", linked).await;
    let [cascades, nulls] = [
        database.weak_file("SysFile", "Contact", gone).await,
        database.weak_file("SysFile", "Contact", gone).await,
    ];
    let ruled = database.weak_file("SysFile", "Contact", gone).await;
    let free = database.weak_file("SysFile", "Contact", gone).await;
    database
        .run(&format!(
            r#"CREATE TABLE "UsrA" ("File" uuid REFERENCES "SysFile" ON DELETE CASCADE);
               CREATE TABLE "UsrB" ("File" uuid REFERENCES "SysFile" ON DELETE SET NULL);
               INSERT INTO "UsrA" VALUES ('{cascades}'); INSERT INTO "UsrB" VALUES ('{nulls}');
               CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 IF OLD."Id" = '{ruled}' THEN RAISE EXCEPTION 'this one stays'; END IF; RETURN OLD; END $$;
               CREATE TRIGGER keep BEFORE DELETE ON "SysFile" FOR EACH ROW EXECUTE FUNCTION keep()"#
        ))
        .await;

    let report = dangling(&database, "Contact", gone, true).await;

    let expected = DanglingReport {
        deleted: 1,
        left_elsewhere: 1,
        left_linked: 1,
        left_referenced: 3,
        more: true,
        ..DanglingReport::default()
    };
    assert_eq!(report, expected, "the record is remembered, and looked at once more");
    let again = dangling(&database, "Contact", gone, true).await;
    assert_eq!(again, DanglingReport { deleted: 0, more: false, ..expected });
    assert_eq!(
        database
            .value::<i64>(r#"SELECT count(*) FROM "UsrA" JOIN "UsrB" ON "UsrB"."File" IS NOT NULL"#)
            .await,
        1
    );
    assert_eq!(
        database.value::<i64>(&format!(r#"SELECT count(*) FROM "SysFile" WHERE "Id" = '{free}'"#)).await,
        0
    );
}

#[tokio::test]
async fn a_link_that_goes_before_its_record_is_remembered_is_found_by_one_more_look() {
    let database = TestDatabase::installed().await;
    let gone = Uuid::new_v4();
    let linked = database.weak_file("SysFile", "Contact", gone).await;
    database.link("Account", Uuid::new_v4(), "SysFile", linked).await;

    let first = dangling(&database, "Contact", gone, true).await;
    assert_eq!((first.deleted, first.left_linked, first.more), (0, 1, true));
    // Whoever handled this link's deletion before the first look committed found nothing remembered.
    database.run(r#"DELETE FROM "FileLink""#).await;
    let second = dangling(&database, "Contact", gone, true).await;

    assert_eq!((second.deleted, second.left(), second.more), (1, 0, false));
    assert_eq!(database.value::<i64>("SELECT count(*) FROM file_recycler.held_record").await, 0);
}

#[tokio::test]
async fn a_remembered_record_is_forgotten_when_the_crm_has_deleted_its_rows_itself_and_not_before() {
    let database = TestDatabase::installed().await;
    let (kept, gone, young) = (Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4());
    for record in [kept, gone, young] {
        let linked = database.weak_file("SysFile", "Contact", record).await;
        database.link("Account", Uuid::new_v4(), "SysFile", linked).await;
        assert_eq!(dangling(&database, "Contact", record, true).await.left_linked, 1);
    }
    database
        .run(&format!(
            r#"DELETE FROM "SysFile" WHERE "RecordId" IN ('{gone}', '{young}');
               UPDATE file_recycler.held_record SET noted_at = noted_at - interval '25 hours' WHERE record_id <> '{young}'"#
        ))
        .await;
    let catalog = database.db().discover(&crm()).await.unwrap();

    // While a table is away, as in the middle of an update of the CRM's, nothing is known of what hangs.
    database.run(r#"ALTER TABLE "ContactFile" RENAME TO "ContactFileOld""#).await;
    assert_eq!(database.db().forget_held(&catalog).await.unwrap(), 0);
    database.run(r#"ALTER TABLE "ContactFileOld" RENAME TO "ContactFile""#).await;
    let catalog = database.db().discover(&crm()).await.unwrap();
    assert_eq!(database.db().forget_held(&catalog).await.unwrap(), 1);

    let left =
        format!("SELECT count(*) FROM file_recycler.held_record WHERE record_id IN ('{kept}', '{young}')");
    assert_eq!(database.value::<i64>(&left).await, 2);
    assert_eq!(database.value::<i64>("SELECT count(*) FROM file_recycler.held_record").await, 2);
}

#[tokio::test]
async fn a_deletion_that_the_triggers_would_not_capture_does_not_happen() {
    let database = TestDatabase::installed().await;
    let gone = Uuid::new_v4();
    database.weak_file("SysFile", "Contact", gone).await;
    database.run(r#"ALTER TABLE "SysFile" DISABLE TRIGGER file_recycler_files_delete"#).await;

    let db = database.db();
    let catalog = db.discover(&crm()).await.unwrap();
    let (schema, id) = (SchemaName::try_from("Contact").unwrap(), RecordId::from(gone));
    let record = DeletedRecord { schema: &schema, id: &id, event_id: "event", may_delete: true };
    let error = db.dangling(&catalog, record).await.unwrap_err();

    assert!(error.to_string().contains("captured 0 of 1"), "{error}");
    assert_eq!(database.value::<i64>(r#"SELECT count(*) FROM "SysFile""#).await, 1);
}

#[tokio::test]
async fn very_many_rows_go_page_by_page() {
    let database = TestDatabase::installed().await;
    let gone = Uuid::new_v4();
    database
        .run(&format!(
            r#"INSERT INTO "SysFile" ("TypeId", "SysFileStorageId", "RecordSchemaName", "RecordId")
               SELECT '529bc2f8-0ee0-df11-971b-001d60e938c6', '7b1ac6fa-3f43-4d27-9f50-2d6a7a3d9c11', 'Contact', '{gone}'
                 FROM generate_series(1, 2300)"#
        ))
        .await;

    let mut pages = Vec::new();
    loop {
        let report = dangling(&database, "Contact", gone, true).await;
        pages.push(report.deleted);
        if !report.more {
            break;
        }
    }

    assert_eq!(pages, [1_000, 1_000, 300]);
}

/// A record that a policy hides is there all the same.
#[tokio::test]
async fn case_45_nothing_goes_where_the_record_may_only_be_hidden() {
    let database = TestDatabase::installed().await;
    let role = database.reader().await;
    let living = database.record("Contact").await;
    database.weak_file("SysFile", "Contact", living).await;
    database.run(r#"ALTER TABLE "Contact" ENABLE ROW LEVEL SECURITY"#).await;
    let url = database.url_as(&role);
    let pooler = Pooler::before(url.expose_secret(), "session").await;
    let db = Db::connect(&pooler.url_of(url.expose_secret()).as_str().into()).unwrap();
    let catalog = db.discover(&crm()).await.unwrap();
    let (schema, id) = (SchemaName::try_from("Contact").unwrap(), RecordId::from(living));
    let record = DeletedRecord { schema: &schema, id: &id, event_id: "event", may_delete: true };

    let refused = db.dangling(&catalog, record).await.unwrap_err();

    assert!(refused.to_string().contains("row_security is on"), "{refused}");
    assert_eq!(database.value::<i64>(r#"SELECT count(*) FROM "SysFile""#).await, 1);
    db.close().await;
    database.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}

/// Links whose columns may be NULL in the CRM: one of nobody keeps a row as any other does.
#[tokio::test]
async fn a_link_of_no_record_keeps_a_row_too() {
    let database = TestDatabase::installed().await;
    let gone = Uuid::new_v4();
    let linked = database.weak_file("SysFile", "Contact", gone).await;
    database
        .run(&format!(
            r#"ALTER TABLE "FileLink" ALTER "RecordId" DROP NOT NULL;
               INSERT INTO "FileLink" ("RecordSchemaName", "FileSchemaName", "FileRecordId")
                 VALUES ('Contact', 'SysFile', '{linked}')"#
        ))
        .await;

    let report = dangling(&database, "Contact", gone, true).await;

    assert_eq!((report.deleted, report.left_linked), (0, 1));
}

/// The rights of a schema that is administrated by records go with the row; a table that only looks like them holds it.
#[tokio::test]
async fn the_crms_record_rights_hold_no_row() {
    let database = TestDatabase::installed().await;
    let gone = Uuid::new_v4();
    let rights = |name: &str, columns: &str| {
        format!(
            r#"CREATE TABLE "{name}" ("Id" uuid PRIMARY KEY DEFAULT uuid_generate_v4(), {columns}, "RightLevel" integer);"#
        )
    };
    let cascading = r#""RecordId" uuid REFERENCES "SysFile" ON DELETE CASCADE"#;
    let [of_the_crm, renamed, of_nobody, kept] = [
        database.weak_file("SysFile", "Contact", gone).await,
        database.weak_file("SysFile", "Contact", gone).await,
        database.weak_file("SysFile", "Contact", gone).await,
        database.weak_file("SysFile", "Contact", gone).await,
    ];
    database
        .run(
            &[
                rights("SysSysFileRight", &format!(r#"{cascading}, "SysAdminUnitId" uuid"#)),
                rights("UsrFileRight", &format!(r#"{cascading}, "SysAdminUnitId" uuid"#)),
                rights("SysUsrRight", cascading),
                rights("SysKeptRight", r#""RecordId" uuid REFERENCES "SysFile", "SysAdminUnitId" uuid"#),
                format!(
                    r#"INSERT INTO "SysSysFileRight" ("RecordId") VALUES ('{of_the_crm}');
                       INSERT INTO "UsrFileRight" ("RecordId") VALUES ('{renamed}');
                       INSERT INTO "SysUsrRight" ("RecordId") VALUES ('{of_nobody}');
                       INSERT INTO "SysKeptRight" ("RecordId") VALUES ('{kept}')"#
                ),
            ]
            .concat(),
        )
        .await;

    let report = dangling(&database, "Contact", gone, true).await;

    assert_eq!((report.deleted, report.left_referenced), (1, 3));
    assert_eq!(database.value::<i64>(r#"SELECT count(*) FROM "SysSysFileRight""#).await, 0);
}

/// Links that moved to another table meanwhile keep their rows.
#[tokio::test]
async fn case_45_nothing_goes_by_tables_that_are_others_by_now() {
    let database = TestDatabase::installed().await;
    let gone = Uuid::new_v4();
    let linked = database.weak_file("SysFile", "Contact", gone).await;
    database.link("Account", Uuid::new_v4(), "SysFile", linked).await;
    let db = database.db();
    let catalog = db.discover(&crm()).await.unwrap();
    database
        .run(r#"ALTER TABLE "FileLink" RENAME TO "FileLink_old"; CREATE TABLE "FileLink" (LIKE "FileLink_old" INCLUDING ALL)"#)
        .await;
    let (schema, id) = (SchemaName::try_from("Contact").unwrap(), RecordId::from(gone));
    let record = DeletedRecord { schema: &schema, id: &id, event_id: "event", may_delete: true };

    let refused = db.dangling(&catalog, record).await.unwrap_err();

    assert!(refused.to_string().contains("keep changing"), "{refused}");
    assert_eq!(database.value::<i64>(r#"SELECT count(*) FROM "SysFile""#).await, 1);
}

//! Rows that hang on a deleted record go, with their image kept, and only those.

use file_recycler::db::dangling::{DanglingReport, DeletedRecord};
use file_recycler::file::{RecordId, SchemaName};
use uuid::Uuid;

use crate::support::database::{IN_DATABASE, TestDatabase, crm};

async fn dangling(database: &TestDatabase, schema: &str, id: Uuid, may_delete: bool) -> DanglingReport {
    let db = database.db();
    let catalog = db.discover(&crm()).await.unwrap();
    let (schema, id) = (SchemaName::try_from(schema).unwrap(), RecordId::from(id));
    let record = DeletedRecord { schema: &schema, id: &id, event_id: "event", may_delete };
    db.dangling(&catalog, record).await.unwrap()
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

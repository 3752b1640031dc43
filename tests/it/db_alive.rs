//! The alive check: never blind, never by an old catalogue.

use file_recycler::db::catalog::OnDelete;
use file_recycler::db::ledger::LedgerEntry;
use file_recycler::db::registry::Registry;
use file_recycler::db::{Db, DbError};
use file_recycler::file::{FileId, ObjectKey, RecordId, SchemaName};
use file_recycler::outcome::{Advice, Dependency, Liveness, Outcome};
use secrecy::ExposeSecret as _;
use uuid::Uuid;

use crate::support::database::{IN_DATABASE, TestDatabase, crm, ids, named};
use crate::support::pooler::Pooler;

fn registry(database: &TestDatabase) -> Registry {
    Registry::new(database.db(), crm())
}

fn outage(error: &DbError) -> bool {
    error.advice() == Advice::Outage(Dependency::Database)
}

#[tokio::test]
async fn the_catalogue_finds_files_by_inheritance_and_records_by_sections_parents_and_names() {
    let database = TestDatabase::create().await;
    database
        .run(
            r#"CREATE TABLE "UsrThing" ("Id" uuid PRIMARY KEY);
               CREATE TABLE "UsrOther" ("Id" uuid PRIMARY KEY);
               CREATE TABLE "NotAFile" ("Id" uuid PRIMARY KEY, "TypeId" uuid, "SysFileStorageId" uuid)"#,
        )
        .await;
    database.weak_file("SysFile", "UsrThing", Uuid::new_v4()).await;
    database.link("UsrOther", Uuid::new_v4(), "SysFile", Uuid::new_v4()).await;

    let catalog = database.db().discover_all(&crm()).await.unwrap();

    let files: Vec<&str> = catalog.file_tables.iter().map(|file| file.schema.as_str()).collect();
    assert_eq!(
        files,
        [
            "AccountFile",
            "CallFile",
            "CaseFile",
            "ContactFile",
            "FeedFile",
            "FileLead",
            "OpportunityFile",
            "SysFile"
        ]
    );
    let weak: Vec<&str> =
        catalog.file_tables.iter().filter(|file| file.weak).map(|file| file.schema.as_str()).collect();
    assert_eq!(weak, ["FeedFile", "SysFile"]);
    let parents: Vec<_> = catalog
        .file_tables
        .iter()
        .filter_map(|file| file.parent.as_ref())
        .map(|link| (link.column.as_str(), link.schema.as_str(), link.on_delete))
        .collect();
    assert!(parents.contains(&("LeadId", "Lead", Some(OnDelete::Cascade))), "{parents:?}");
    assert!(parents.contains(&("CaseId", "Case", Some(OnDelete::SetNull))), "{parents:?}");
    let records: Vec<&str> = catalog.record_tables.iter().map(|record| record.schema.as_str()).collect();
    assert_eq!(
        records,
        ["Account", "Call", "Case", "Contact", "Lead", "Opportunity", "UsrOther", "UsrThing"]
    );
    assert_eq!(catalog.storages.len(), 1);
}

#[tokio::test]
async fn rows_links_and_storages_decide_what_is_alive() {
    use Liveness::{Alive, Dead, Elsewhere};
    let database = TestDatabase::installed().await;
    let contact = database.record("Contact").await;
    let hard = database.file("ContactFile", "ContactId", contact).await;
    let weak = database.weak_file("FeedFile", "Contact", contact).await;
    let elsewhere = database.weak_file_in("SysFile", "Contact", contact, IN_DATABASE).await;
    let unknown = database.weak_file_in("SysFile", "Contact", contact, &Uuid::new_v4().to_string()).await;
    let linked = Uuid::new_v4();
    database.link("NobodyKnows", Uuid::new_v4(), "SysFile", linked).await;
    database.link("Contact", contact, "SysFile", unknown).await;
    let dead = Uuid::new_v4();

    let mut asked = ids(&[hard, weak, elsewhere, unknown, linked, dead]);
    asked.push(named("no uuid"));
    let answer = registry(&database).liveness(&asked).await.unwrap();

    assert_eq!(answer.liveness, [Alive, Alive, Elsewhere, Alive, Alive, Dead, Alive]);
    assert_eq!((answer.environment, answer.paused), (None, false));
}

#[tokio::test]
async fn case_32_a_file_copied_to_another_table_under_the_same_id_stays() {
    let database = TestDatabase::installed().await;
    let contact = database.record("Contact").await;
    let file = database.file("ContactFile", "ContactId", contact).await;
    database
        .run(
            r#"INSERT INTO "SysFile" ("Id", "TypeId", "SysFileStorageId")
               SELECT "Id", "TypeId", "SysFileStorageId" FROM "ContactFile"; DELETE FROM "Contact""#,
        )
        .await;

    let answer = registry(&database).liveness(&ids(&[file])).await.unwrap();

    assert_eq!(answer.liveness, [Liveness::Alive]);
}

#[tokio::test]
async fn case_45_a_file_table_made_or_dropped_since_discovery_is_noticed_by_the_question() {
    let database = TestDatabase::installed().await;
    let registry = registry(&database);
    registry.catalog().await.unwrap();
    database.run("SELECT make_section('UsrDeal', 'CASCADE')").await;
    let deal = database.record("UsrDeal").await;
    let file = database.file("UsrDealFile", "UsrDealId", deal).await;

    let answer = registry.liveness(&ids(&[file])).await.unwrap();
    assert_eq!(answer.liveness, [Liveness::Alive]);

    database.run(r#"DROP TABLE "UsrDealFile""#).await;
    let answer = registry.liveness(&ids(&[file])).await.unwrap();
    assert_eq!(answer.liveness, [Liveness::Dead]);
}

#[tokio::test]
async fn a_storage_that_becomes_ours_counts_at_once() {
    let database = TestDatabase::installed().await;
    let registry = registry(&database);
    let storage = Uuid::new_v4();
    let file = database.weak_file_in("SysFile", "Contact", Uuid::new_v4(), &storage.to_string()).await;
    assert_eq!(registry.liveness(&ids(&[file])).await.unwrap().liveness, [Liveness::Elsewhere]);

    database
        .run(&format!(
            r#"INSERT INTO "SysFileContentStorage" VALUES ('{storage}', 'second', 'S3_storage', '')"#
        ))
        .await;

    assert_eq!(registry.liveness(&ids(&[file])).await.unwrap().liveness, [Liveness::Alive]);
}

#[tokio::test]
async fn case_45_a_check_that_would_be_blind_is_an_outage() {
    let database = TestDatabase::installed().await;
    let role = database.reader().await;
    let registry = Registry::new(Db::connect(&database.url_as(&role)).unwrap(), crm());
    let file = ids(&[Uuid::new_v4()]);
    assert_eq!(registry.liveness(&file).await.unwrap().liveness, [Liveness::Dead], "it sees everything");

    for (blinding, undo) in [
        (
            r#"ALTER TABLE "ContactFile" ENABLE ROW LEVEL SECURITY"#,
            r#"ALTER TABLE "ContactFile" DISABLE ROW LEVEL SECURITY"#,
        ),
        (
            &*format!(r#"REVOKE SELECT ON "ContactFile" FROM {role}"#),
            &*format!(r#"GRANT SELECT ON "ContactFile" TO {role}"#),
        ),
        (
            &*format!(r#"REVOKE SELECT ON "FileLink" FROM {role}"#),
            &*format!(r#"GRANT SELECT ON "FileLink" TO {role}"#),
        ),
        (
            "ALTER TABLE file_recycler.environment RENAME TO x",
            "ALTER TABLE file_recycler.x RENAME TO environment",
        ),
    ] {
        database.run(blinding).await;
        let error = registry.liveness(&file).await.unwrap_err();
        assert!(outage(&error), "{blinding}: {error}");
        if blinding.ends_with("ENABLE ROW LEVEL SECURITY") {
            assert!(error.to_string().contains("row-level security policy for table"), "{error}");
        }
        database.run(undo).await;
    }
    database.run(r#"TRUNCATE "SysSchema" CASCADE"#).await;
    let error = registry.liveness(&file).await.unwrap_err();
    assert!(outage(&error) && error.to_string().contains("no table of files"), "{error}");
    database.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}

/// Where the setting that makes such a policy an error did not reach the session.
#[tokio::test]
async fn case_45_a_pooler_that_ignores_options_hides_no_row() {
    let database = TestDatabase::installed().await;
    let role = database.reader().await;
    let record = database.record("Contact").await;
    let file = ids(&[database.file("ContactFile", "ContactId", record).await]);
    let url = database.url_as(&role);
    let asked = async || {
        // Anew each time: it keeps sessions that began before a role's settings changed.
        let pooler = Pooler::before(url.expose_secret(), "session").await;
        let db = Db::connect(&pooler.url_of(url.expose_secret()).as_str().into()).unwrap();
        let answer = Registry::new(db.clone(), crm()).liveness(&file).await.map(|checked| checked.liveness);
        db.close().await;
        answer
    };
    assert_eq!(asked().await.unwrap(), [Liveness::Alive], "no table has a policy");

    // Without any policy for it, a role sees no row.
    database.run(r#"ALTER TABLE "ContactFile" ENABLE ROW LEVEL SECURITY"#).await;
    let refused = asked().await.unwrap_err();
    assert!(outage(&refused) && refused.to_string().contains("row_security is on"), "{refused}");
    database.run(&format!("ALTER ROLE {role} SET row_security = off")).await;
    let refused = asked().await.unwrap_err();
    assert!(
        outage(&refused) && refused.to_string().contains("row-level security policy for table"),
        "{refused}"
    );
    database.run(&format!("ALTER ROLE {role} RESET row_security; ALTER ROLE {role} BYPASSRLS")).await;
    assert_eq!(asked().await.unwrap(), [Liveness::Alive], "policies are not for this role");
    database.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}

#[tokio::test]
async fn the_ledger_takes_a_file_of_an_event_once_and_says_whether_it_lives_after_all() {
    let database = TestDatabase::installed().await;
    let registry = registry(&database);
    let alive = database.weak_file("SysFile", "Contact", Uuid::new_v4()).await;
    let entry = |file: Uuid, event: &str| LedgerEntry {
        file_id: FileId::from(file),
        schema: Some(SchemaName::try_from("SysFile").unwrap()),
        record: Some((SchemaName::try_from("Contact").unwrap(), RecordId::try_from("r").unwrap())),
        key: ObjectKey::try_from(file.to_string()).unwrap(),
        object_bucket: "objects".into(),
        recycle_bucket: "recycle".into(),
        etag: Some("\"e\"".into()),
        size: Some(7),
        event_id: event.into(),
        deleted_at: None,
        recycled_at: time::OffsetDateTime::now_utc(),
        outcome: Outcome::Moved,
        detail: None,
    };
    let entries = [entry(Uuid::from_u128(1), "e1"), entry(alive, "e1"), entry(alive, "e2")];

    for _ in 0..2 {
        let answer = registry.note(&entries).await.unwrap();
        assert_eq!(answer.liveness, [Liveness::Dead, Liveness::Alive, Liveness::Alive]);
    }

    assert_eq!(database.value::<i64>("SELECT count(*) FROM file_recycler.ledger").await, 3);
    assert_eq!(database.value::<i64>("SELECT count(*) FROM file_recycler.ledger_default").await, 0);
}

#[tokio::test]
async fn a_database_that_is_not_the_crm_or_not_there_is_an_outage() {
    let database = TestDatabase::create().await;
    database.run(r#"ALTER TABLE "SysSchema" RENAME TO x"#).await;
    assert!(outage(&registry(&database).catalog().await.unwrap_err()));

    let nobody = Db::connect(&"postgres://nobody:secret@127.0.0.1:1/none".into()).unwrap();
    let error = nobody.ping().await.unwrap_err();
    assert!(outage(&error));
    assert!(!format!("{error} {error:?} {nobody:?}").contains("secret"));
    let error = Db::connect(&"postgres://user:secret@:x/".into()).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("secret"));
}

#[tokio::test]
async fn a_wide_catalogue_is_asked_in_one_statement() {
    let database = TestDatabase::create().await;
    database.run("SELECT make_section('Usr' || n, 'CASCADE') FROM generate_series(1, 150) AS n").await;
    database.install(file_recycler::config::OnCaptureError::Skip).await;
    let registry = registry(&database);
    let all: Vec<Uuid> = (0..500).map(|_| Uuid::new_v4()).collect();

    let answer = registry.liveness(&ids(&all)).await.unwrap();

    assert!(answer.liveness.iter().all(|liveness| *liveness == Liveness::Dead));
}

#[tokio::test]
async fn a_large_table_without_the_index_that_checks_need_is_told_with_what_to_do() {
    let database = TestDatabase::create().await;
    let db = database.db();
    let told = async || {
        let catalog = db.discover(&crm()).await.unwrap();
        let missing = db.missing_indexes(&catalog).await.unwrap();
        missing.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(told().await, [""; 0], "small ones need none");
    database
        .run(
            r#"INSERT INTO "FileLink" ("RecordSchemaName", "RecordId", "FileSchemaName", "FileRecordId")
               SELECT 'Account', gen_random_uuid(), 'SysFile', gen_random_uuid() FROM generate_series(1, 100000)"#,
        )
        .await;
    database.run(r#"ANALYZE "FileLink""#).await;
    let missing = told().await;
    assert_eq!(missing.len(), 2, "{missing:?}");
    assert!(
        missing[0].ends_with(r#"CREATE INDEX CONCURRENTLY ON "public"."FileLink" ("FileRecordId")"#),
        "{missing:?}"
    );
    database.run(r#"CREATE INDEX ON "FileLink" ("FileRecordId", "RecordId")"#).await;
    let missing = told().await;
    assert!(missing.len() == 1 && missing[0].ends_with(r#"("RecordId")"#), "{missing:?}");
    database.run(r#"CREATE INDEX ON "FileLink" ("RecordId")"#).await;
    assert_eq!(told().await, [""; 0]);
}

//! The CRM's own updates: tables are built anew, columns come and go, and nothing of ours is in their way.

use file_recycler::config::OnCaptureError;
use file_recycler::db::registry::Registry;
use file_recycler::db::triggers::{CaptureState, DriftKind};
use file_recycler::outcome::{Advice, Dependency, Liveness};
use uuid::Uuid;

use super::{delete_a_file, status};
use crate::support::crm::{FILE_TYPE, S3_STORAGE};
use crate::support::database::{TestDatabase, actor, crm, ids};
use crate::support::process::{Service, eventually};
use crate::support::world::{S3, world};

/// A table built anew under its old name, as an update does that changes more than columns.
const REBUILT: &str = r#"BEGIN;
    CREATE TABLE "ContactFile_new" (LIKE "ContactFile" INCLUDING ALL);
    INSERT INTO "ContactFile_new" SELECT * FROM "ContactFile";
    DROP TABLE "ContactFile";
    ALTER TABLE "ContactFile_new" RENAME TO "ContactFile"; COMMIT"#;
/// The same with the old table kept aside.
const SET_ASIDE: &str = r#"BEGIN;
    ALTER TABLE "ContactFile" RENAME TO "ContactFile_old";
    CREATE TABLE "ContactFile" (LIKE "ContactFile_old" INCLUDING ALL);
    INSERT INTO "ContactFile" SELECT * FROM "ContactFile_old"; COMMIT"#;

#[tokio::test]
async fn case_40_no_update_of_the_crm_is_hindered_and_capture_goes_on_or_its_end_is_told() {
    for (update, captured, drift) in [
        (
            r#"ALTER TABLE "ContactFile" ADD COLUMN "UsrNew" text NOT NULL DEFAULT '', ADD COLUMN "gone" int"#,
            true,
            None,
        ),
        (r#"ALTER TABLE "ContactFile" DROP COLUMN "Size""#, true, Some(DriftKind::Function)),
        (r#"ALTER TABLE "ContactFile" RENAME COLUMN "Size" TO "Bytes""#, true, Some(DriftKind::Function)),
        (r#"ALTER TABLE "ContactFile" ALTER COLUMN "Size" TYPE bigint"#, true, None),
        (
            r#"ALTER TABLE "ContactFile" ALTER COLUMN "Size" DROP DEFAULT, ALTER COLUMN "Size" TYPE text, ALTER COLUMN "Size" SET DEFAULT ''"#,
            true,
            Some(DriftKind::Function),
        ),
        (
            r#"ALTER TABLE "ContactFile" RENAME COLUMN "ContactId" TO "UsrPersonId""#,
            true,
            Some(DriftKind::Function),
        ),
        (
            r#"ALTER TABLE "ContactFile" DROP CONSTRAINT "ContactFile_ContactId_fkey", ALTER COLUMN "ContactId" TYPE text"#,
            true,
            Some(DriftKind::Function),
        ),
        (r#"ALTER TABLE "ContactFile" DROP COLUMN "ContactId" CASCADE"#, true, Some(DriftKind::Function)),
        (r#"ALTER TABLE "ContactFile" DROP COLUMN "Data", ALTER COLUMN "Name" TYPE text"#, true, None),
        (
            r#"ALTER TABLE "FileLink" ADD COLUMN "UsrNew" text; DROP TABLE "Opportunity", "OpportunityFile""#,
            true,
            None,
        ),
        (REBUILT, false, Some(DriftKind::Missing)),
        (SET_ASIDE, false, Some(DriftKind::Missing)),
    ] {
        let database = TestDatabase::installed().await;
        database.run(update).await;
        delete_any_file(&database).await;
        let expected: &[&str] = if captured { &["files ContactFile 1"] } else { &[] };
        assert_eq!(database.captured().await, expected, "{update}");
        assert_eq!(database.db().capture_failures().await.unwrap(), 0, "{update}");
        let told = status(&database).await;
        let kinds: Vec<DriftKind> = told.drift.iter().map(|drift| drift.kind).collect();
        let aside = |kind: DriftKind| update == SET_ASIDE && kind == DriftKind::Forgotten;
        assert!(kinds.iter().all(|kind| Some(*kind) == drift || aside(*kind)), "{update}: {:?}", told.drift);
        assert_eq!(kinds.is_empty(), drift.is_none(), "{update}");

        database.install(OnCaptureError::Skip).await;
        assert_eq!(status(&database).await.drift, [], "{update}");
        delete_any_file(&database).await;
        let rows = if captured { 2 } else { 1 };
        assert_eq!(database.captured().await.len(), rows, "{update}");
    }
}

/// What is asked by a catalogue without it would not see its rows: the CRM is in the middle of an update, or somebody has
/// put it away.
#[tokio::test]
async fn case_45_a_table_of_files_that_is_none_any_more_stops_every_move() {
    for (change, undo, table) in [
        (
            r#"ALTER TABLE "ContactFile" RENAME TO "XFile""#,
            r#"ALTER TABLE "XFile" RENAME TO "ContactFile""#,
            "public.XFile",
        ),
        (
            r#"UPDATE "SysSchema" SET "Name" = 'Renamed' WHERE "Name" = 'ContactFile'"#,
            r#"UPDATE "SysSchema" SET "Name" = 'ContactFile' WHERE "Name" = 'Renamed'"#,
            "public.ContactFile",
        ),
        (
            r#"CREATE SCHEMA IF NOT EXISTS aside; ALTER TABLE "ContactFile" SET SCHEMA aside"#,
            r#"ALTER TABLE aside."ContactFile" SET SCHEMA public"#,
            "aside.ContactFile",
        ),
        (
            r#"ALTER TABLE "FileLink" RENAME TO "FileLink_old""#,
            r#"ALTER TABLE "FileLink_old" RENAME TO "FileLink""#,
            "public.FileLink_old",
        ),
    ] {
        let database = TestDatabase::installed().await;
        let registry = Registry::new(database.db(), crm());
        let dead = ids(&[Uuid::new_v4()]);
        let asked = async || registry.liveness(&dead).await.map(|checked| checked.liveness);
        assert_eq!(asked().await.unwrap(), [Liveness::Dead]);
        database.run(change).await;
        let refused = asked().await.unwrap_err();
        assert_eq!(refused.advice(), Advice::Outage(Dependency::Database), "{change}");
        assert!(refused.to_string().contains(&format!("{table} has our triggers")), "{change}: {refused}");
        let told = status(&database).await;
        assert!(
            told.drift.iter().any(|drift| drift.kind == DriftKind::Forgotten),
            "{change}: {:?}",
            told.drift
        );
        // Nobody has decided anything.
        database.db().repair(&crm(), OnCaptureError::Skip, &actor()).await.unwrap();
        assert!(asked().await.is_err(), "{change}");
        database.run(undo).await;
        assert_eq!(asked().await.unwrap(), [Liveness::Dead], "{undo}");

        database.run(change).await;
        let sql = database.db().install_sql(&crm(), OnCaptureError::Skip).await.unwrap().join("\n");
        assert!(sql.contains("DROP TRIGGER IF EXISTS"), "{sql}");
        database.install(OnCaptureError::Skip).await;
        assert_eq!(asked().await.unwrap(), [Liveness::Dead], "{change}: somebody has");
        assert_eq!(status(&database).await.drift, [], "{change}");
    }
}

#[tokio::test]
async fn a_partition_that_is_detached_is_in_doubt_too() {
    let database = TestDatabase::create().await;
    database
        .run(
            r#"SELECT make_schema('PartFile', 'File');
               CREATE TABLE "PartFile" (LIKE "ContactFile" INCLUDING DEFAULTS, PRIMARY KEY ("Id", "Version")) PARTITION BY LIST ("Version");
               CREATE TABLE "PartFile_1" PARTITION OF "PartFile" FOR VALUES IN (1)"#,
        )
        .await;
    database.install(OnCaptureError::Skip).await;
    let db = database.db();
    db.discover(&crm()).await.unwrap();
    database.run(r#"ALTER TABLE "PartFile" DETACH PARTITION "PartFile_1""#).await;
    let refused = db.discover(&crm()).await.unwrap_err().to_string();
    assert!(refused.contains("public.PartFile_1 has our triggers"), "{refused}");
    database.run(r#"DROP TABLE "PartFile_1""#).await;
    db.discover(&crm()).await.unwrap();
}

/// A repair takes our triggers off a table that was kept aside, if nothing is in it alone.
#[tokio::test]
async fn a_table_that_was_kept_aside_is_forgotten_once_the_new_one_has_its_rows() {
    let database = TestDatabase::installed().await;
    let record = database.record("Contact").await;
    let file = database.file("ContactFile", "ContactId", record).await;
    database.run(SET_ASIDE).await;
    let repair = async || database.db().repair(&crm(), OnCaptureError::Skip, &actor()).await.unwrap();
    // As if it had not been copied yet.
    database
        .run(&format!(
            r#"ALTER TABLE "ContactFile" DISABLE TRIGGER USER; DELETE FROM "ContactFile" WHERE "Id" = '{file}'"#
        ))
        .await;
    repair().await;
    assert!(database.db().discover(&crm()).await.is_err());
    database.run(r#"INSERT INTO "ContactFile" SELECT * FROM "ContactFile_old""#).await;
    repair().await;
    database.db().discover(&crm()).await.unwrap();
    assert_eq!(status(&database).await.drift, []);
}

/// A file that hangs on nothing, and its deletion: whatever columns there are.
async fn delete_any_file(database: &TestDatabase) {
    let id = Uuid::new_v4();
    database
        .run(&format!(
            r#"INSERT INTO "ContactFile" ("Id", "TypeId", "SysFileStorageId") VALUES ('{id}', '{FILE_TYPE}', '{S3_STORAGE}');
               DELETE FROM "ContactFile" WHERE "Id" = '{id}'"#
        ))
        .await;
}

#[tokio::test]
async fn with_fail_a_column_that_the_crm_drops_is_no_reason_to_fail() {
    let database = TestDatabase::create().await;
    database.install(OnCaptureError::Fail).await;
    database.run(r#"ALTER TABLE "ContactFile" DROP COLUMN "Size""#).await;
    delete_any_file(&database).await;
    assert_eq!(database.captured().await, ["files ContactFile 1"]);
}

#[tokio::test]
async fn a_column_that_says_what_is_in_s3_is_missed_and_counted_and_the_crm_goes_on() {
    let database = TestDatabase::installed().await;
    database.run(r#"ALTER TABLE "ContactFile" DROP COLUMN "TypeId""#).await;
    database.run(r#"INSERT INTO "ContactFile" DEFAULT VALUES; DELETE FROM "ContactFile""#).await;
    assert_eq!(database.value::<i64>(r#"SELECT count(*) FROM "ContactFile""#).await, 0);
    assert_eq!(database.db().unseen_capture_failures().await.unwrap(), 1);
}

#[tokio::test]
async fn a_renamed_section_is_captured_under_its_old_name_and_after_a_repair_under_its_new_one() {
    let database = TestDatabase::installed().await;
    database
        .run(
            r#"ALTER TABLE "Account" RENAME TO "UsrCompany";
               UPDATE "SysSchema" SET "Name" = 'UsrCompany' WHERE "Name" = 'Account'"#,
        )
        .await;
    let delete = r#"INSERT INTO "UsrCompany" DEFAULT VALUES; DELETE FROM "UsrCompany""#;
    database.run(delete).await;
    assert_eq!(database.captured().await, ["records Account 1"]);
    assert_eq!(status(&database).await.state(), CaptureState::Drifted);
    database.install(OnCaptureError::Skip).await;
    database.run(delete).await;
    assert_eq!(database.captured().await, ["records Account 1", "records UsrCompany 1"]);
    assert_eq!(status(&database).await.drift, []);
}

#[tokio::test]
async fn a_table_becomes_a_partition_or_an_heir_with_our_triggers_on_it() {
    let database = TestDatabase::installed().await;
    database
        .run(
            r#"SELECT make_schema('PartFile', 'File');
               CREATE TABLE "PartFile" (LIKE "ContactFile" INCLUDING DEFAULTS) PARTITION BY LIST ("Version");
               ALTER TABLE "ContactFile" DROP CONSTRAINT "ContactFile_pkey";
               ALTER TABLE "PartFile" ATTACH PARTITION "ContactFile" FOR VALUES IN (1);
               ALTER TABLE "PartFile" DETACH PARTITION "ContactFile";
               ALTER TABLE "ContactFile" ADD PRIMARY KEY ("Id");
               CREATE TABLE "Parent" (LIKE "ContactFile" INCLUDING DEFAULTS);
               ALTER TABLE "ContactFile" INHERIT "Parent""#,
        )
        .await;
    delete_a_file(&database).await;
    assert_eq!(database.captured().await, ["files ContactFile 1"]);
}

#[tokio::test]
async fn nothing_of_ours_depends_on_a_table_of_the_crm() {
    let database = TestDatabase::installed().await;
    // What `DROP … RESTRICT` would stop at, but for the triggers, which go with their table.
    let depends: i64 = database
        .value(
            "SELECT count(*) FROM pg_depend AS d
               JOIN pg_class AS c ON c.oid = d.refobjid AND d.refclassid = 'pg_class'::regclass
               JOIN pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = 'public'
               LEFT JOIN pg_proc AS p ON p.oid = d.objid AND d.classid = 'pg_proc'::regclass
               LEFT JOIN pg_class AS o ON o.oid = d.objid AND d.classid = 'pg_class'::regclass
               LEFT JOIN pg_rewrite AS r ON r.oid = d.objid AND d.classid = 'pg_rewrite'::regclass
               LEFT JOIN pg_class AS v ON v.oid = r.ev_class
              WHERE 'file_recycler'::regnamespace IN (p.pronamespace, o.relnamespace, v.relnamespace)",
        )
        .await;
    assert_eq!(depends, 0);
    database.run(r#"DROP TABLE "FeedFile", "SysFile", "FileLink", "Call", "CallFile""#).await;
    assert_eq!(status(&database).await.drift, [], "what is gone needs no trigger");
}

#[tokio::test]
async fn case_40_with_auto_install_a_table_built_anew_and_a_new_section_are_captured_by_themselves() {
    world(S3::Embedded, async |world| {
        let environment = world.with(&[("LISTENER__AUTO_INSTALL", "true")]);
        // Of two changes in a row it may have repaired the first already: the second waits, as drift, for the next repair.
        let service = Service::start(&environment, &["run"]).await.ready().await.expect_log("state=\"drift\"");
        world.crm.sql(REBUILT).await;
        world.crm.sql("SELECT make_section('UsrDeal', 'CASCADE')").await;
        let right = r#"SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'file\_recycler\_%' AND tgenabled = 'A'
                          AND tgrelid IN ('"ContactFile"'::regclass, '"UsrDeal"'::regclass, '"UsrDealFile"'::regclass)"#;
        eventually("all three are under triggers", async || {
            (world.crm.number(right).await == 6).then_some(())
        })
        .await;
        let (contact, _) = world.record_with_files("Contact", "ContactFile", 0).await;
        let file = world.crm.hard_file("ContactFile", "Contact", contact).await;
        world.upload(file).await;
        let (deal, deals) = world.record_with_files("UsrDeal", "UsrDealFile", 1).await;
        world.crm.delete("ContactFile", file).await;
        world.crm.delete("UsrDeal", deal).await;
        world.recycled(file).await;
        world.recycled(deals[0]).await;
        let trail = "SELECT count(*) FROM file_recycler.trail WHERE who = 'listener.auto_install'";
        eventually("the trail says who did it", async || {
            (world.crm.number(trail).await >= 1).then_some(())
        })
        .await;
        drop(service);
    })
    .await;
}

#[tokio::test]
async fn case_54_a_schema_that_a_file_names_for_the_first_time_is_captured_within_seconds() {
    world(S3::Embedded, async |world| {
        let environment = world.with(&[("LISTENER__AUTO_INSTALL", "true")]);
        let _service = Service::start(&environment, &["run"]).await.ready().await;
        world.crm.sql(r#"CREATE TABLE "UsrThing" ("Id" uuid PRIMARY KEY)"#).await;
        let (early, record) = (world.crm.record("UsrThing").await, world.crm.record("UsrThing").await);
        let lost = Uuid::new_v4();
        world.upload(lost).await;
        // In one transaction, before anybody could know that this schema has files: in doubt, they stay.
        world
            .crm
            .sql(format!(
                r#"INSERT INTO "SysFile" ("Id", "TypeId", "Size", "SysFileStorageId", "RecordSchemaName", "RecordId")
                   VALUES ('{lost}', '{FILE_TYPE}', 5, '{S3_STORAGE}', 'UsrThing', '{early}');
                   DELETE FROM "UsrThing" WHERE "Id" = '{early}'"#
            ))
            .await;
        let weak = world.crm.weak_file("SysFile", "UsrThing", record).await;
        world.upload(weak).await;
        let on = r#"SELECT count(*) FROM pg_trigger WHERE tgrelid = '"UsrThing"'::regclass"#;
        eventually("it is under triggers", async || (world.crm.number(on).await == 2).then_some(())).await;
        world.crm.delete("UsrThing", record).await;
        world.recycled(weak).await;
        world.is_untouched(lost).await;
    })
    .await;
}

#[tokio::test]
async fn case_54_a_link_that_an_update_takes_from_a_file_frees_it() {
    world(S3::Embedded, async |world| {
        let _service = world.run().await;
        let (owner, files) = world.record_with_files("Contact", "ContactFile", 2).await;
        let account = world.crm.record("Account").await;
        world.crm.link("Account", account, "ContactFile", files[0]).await;
        world.crm.delete("Contact", owner).await;
        world.recycled(files[1]).await;
        world.is_untouched(files[0]).await;
        let other = world.crm.hard_file("AccountFile", "Account", account).await;
        let update =
            format!(r#"UPDATE "FileLink" SET "FileSchemaName" = 'AccountFile', "FileRecordId" = '{other}'"#);
        world.crm.sql(update).await;
        world.recycled(files[0]).await;
    })
    .await;
}

/// Of a file that another table has as well, the one deletion says nothing of the other.
#[tokio::test]
async fn case_45_a_living_file_in_a_table_that_is_renamed_stays_and_is_found_alive_afterwards() {
    world(S3::Embedded, async |world| {
        // The listener may look meanwhile, or not.
        let service = world.run().await.expect_log("has our triggers").expect_log("state=\"drift\"");
        let (_, files) = world.record_with_files("Contact", "ContactFile", 1).await;
        let living = files[0];
        world.crm.sql(r#"ALTER TABLE "ContactFile" RENAME TO "XFile""#).await;
        world
            .crm
            .sql(format!(
                r#"INSERT INTO "AccountFile" ("Id", "TypeId", "SysFileStorageId", "Size")
                   VALUES ('{living}', '{FILE_TYPE}', '{S3_STORAGE}', 7);
                   DELETE FROM "AccountFile" WHERE "Id" = '{living}'"#
            ))
            .await;
        eventually("it is told", async || {
            let log = service.log();
            log.iter().any(|line| line.contains("XFile has our triggers")).then_some(())
        })
        .await;
        world.is_untouched(living).await;
        world.crm.sql(r#"ALTER TABLE "XFile" RENAME TO "ContactFile""#).await;
        world.quiet(&service).await;
        world.is_untouched(living).await;
        world.moves_a_file().await;
    })
    .await;
}

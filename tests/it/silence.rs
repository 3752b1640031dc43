//! A listener that hears nothing while rows of files disappear: each way is found and said.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::support::process::{Service, eventually};
use crate::support::world::{S3, World, world};

/// Shorter than a session of ours waits for a lock.
const LOCKED_FOR: Duration = Duration::from_secs(2);

/// Waits until the listener's part of `/readyz` says `state` with `text` in its message.
async fn listener_says(service: &Service, state: &str, text: &str) -> Value {
    eventually(&format!("the listener is '{state}' and says '{text}'"), async || {
        let answer = service.readyz().await?;
        let listener = &answer["listener"];
        let message = listener["message"].as_str().unwrap_or("");
        (listener["state"] == state && message.contains(text)).then_some(answer)
    })
    .await
}

/// Breaks the capture by `sql`, sees it found and told as `what`, and repaired by `listener install`.
async fn found_and_repaired(world: &World, service: &Service, sql: &str, what: &str) {
    world.crm.sql(sql).await;
    let answer = listener_says(service, "drift", what).await;
    assert_eq!((&answer["degraded"], &answer["ready"]), (&true.into(), &true.into()), "{sql}");
    let status = world.cli(&["status", "--json"]).await.json();
    assert!(status["warnings"].to_string().contains(what), "{sql}: {status}");
    let listener = world.cli(&["listener", "status", "--json"]).await.expect(1).json();
    assert!(listener["drift"].to_string().contains(what), "{sql}: {listener}");
    world.cli(&["listener", "install"]).await.expect(0);
    listener_says(service, "installed", "").await;
}

/// Starts a service that does not read for a long time which records weak files and links name, since that took long: it
/// rests from that for fifty times as long. What it finds meanwhile it has found by comparing the catalogue, however
/// slow this machine is.
async fn run_that_does_not_read_again(world: &World) -> Service {
    let mut lock = world.crm.pool.begin().await.unwrap();
    let links = r#"LOCK TABLE "FileLink" IN ACCESS EXCLUSIVE MODE"#;
    sqlx::raw_sql(links).execute(&mut *lock).await.unwrap();
    let service = Service::start(&world.environment, &["run"]).await;
    let waits = r#"SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = '"FileLink"'::regclass
                      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"#;
    eventually("it waits for the links", async || (world.crm.number(waits).await > 0).then_some(())).await;
    tokio::time::sleep(LOCKED_FOR).await;
    lock.rollback().await.unwrap();
    service.ready().await
}

#[tokio::test]
async fn case_40_whatever_was_changed_in_the_catalogue_is_found_at_the_next_look() {
    world(S3::Embedded, async |world| {
        let service = run_that_does_not_read_again(&world).await.expect_log("drift");
        for (sql, what) in [
            (r#"DROP TRIGGER file_recycler_files_delete ON "ContactFile""#, "is missing"),
            (r#"ALTER TABLE "ContactFile" DISABLE TRIGGER file_recycler_files_delete"#, "is disabled"),
            (r#"ALTER TABLE "ContactFile" DISABLE TRIGGER ALL"#, "is disabled"),
            (
                r#"ALTER TABLE "SysFile" ENABLE REPLICA TRIGGER file_recycler_files_delete"#,
                "is disabled",
            ),
            (
                r#"CREATE OR REPLACE FUNCTION public.nothing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
                   CREATE OR REPLACE TRIGGER file_recycler_files_delete AFTER DELETE ON "ContactFile"
                   REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION public.nothing()"#,
                "is another trigger than ours",
            ),
            (
                r#"DO $$ DECLARE f text := (SELECT tgfoid::regprocedure::text FROM pg_trigger
                                             WHERE tgname = 'file_recycler_files_delete' AND tgrelid = '"ContactFile"'::regclass);
                   BEGIN EXECUTE 'CREATE OR REPLACE FUNCTION ' || f || ' RETURNS trigger LANGUAGE plpgsql AS '
                                 || quote_literal('BEGIN RETURN NULL; END'); END $$"#,
                "runs a function that is not as this version makes it",
            ),
            (
                r#"DO $$ DECLARE f text := (SELECT tgfoid::regprocedure::text FROM pg_trigger
                                             WHERE tgname = 'file_recycler_files_delete' AND tgrelid = '"ContactFile"'::regclass);
                   BEGIN EXECUTE 'DROP FUNCTION ' || f || ' CASCADE'; END $$"#,
                "is missing",
            ),
            ("SELECT make_section('UsrDeal', 'CASCADE')", "UsrDealFile: file_recycler_files_delete is missing"),
            (
                r#"CREATE TABLE "ContactFile_part" () INHERITS ("ContactFile")"#,
                "ContactFile_part: file_recycler_files_delete is missing",
            ),
        ] {
            found_and_repaired(&world, &service, sql, what).await;
        }
    })
    .await;
}

#[tokio::test]
async fn case_40_a_database_whose_sessions_fire_no_ordinary_triggers_is_found_where_ours_are_ordinary() {
    world(S3::Embedded, async |world| {
        let service = world.run().await.expect_log("drift");
        let name = &world.crm.name;
        world.crm.sql(format!("ALTER DATABASE {name} SET session_replication_role = replica")).await;
        // Ours fire always: a deletion in such a session is captured, and nothing is wrong.
        let (record, files) = world.record_with_files("Contact", "ContactFile", 1).await;
        let delete = format!(r#"SET session_replication_role = replica; DELETE FROM "ContactFile" WHERE "ContactId" = '{record}'"#);
        world.crm.sql(delete).await;
        world.recycled(files[0]).await;
        assert_eq!(service.readyz().await.unwrap()["listener"]["state"], "installed");

        // What `ENABLE TRIGGER` leaves behind, after a `DISABLE TRIGGER`.
        let enable = r#"ALTER TABLE "ContactFile" ENABLE TRIGGER file_recycler_files_delete"#;
        found_and_repaired(&world, &service, enable, "session_replication_role").await;
    })
    .await;
}

/// Deletes files so that no catalogue ever shows it.
async fn pass_by(world: &World, files: usize) {
    let (record, _) = world.record_with_files("Contact", "ContactFile", files).await;
    world
        .crm
        .sql(format!(
            r#"BEGIN; ALTER TABLE "ContactFile" DISABLE TRIGGER USER;
               DELETE FROM "ContactFile" WHERE "ContactId" = '{record}';
               ALTER TABLE "ContactFile" ENABLE ALWAYS TRIGGER file_recycler_files_delete;
               ALTER TABLE "ContactFile" ENABLE ALWAYS TRIGGER file_recycler_files_truncate; COMMIT"#
        ))
        .await;
}

#[tokio::test]
async fn case_40_rows_that_vanish_past_the_triggers_are_a_hint_until_something_is_captured() {
    world(S3::Embedded, async |world| {
        let service = world.run().await.expect_log("a hint");
        counted_once(&service).await;
        pass_by(&world, 3).await;
        let hint = "a hint: 3 rows vanished from public.ContactFile";
        let answer = listener_says(&service, "silent", hint).await;
        assert_eq!((&answer["degraded"], &answer["ready"]), (&true.into(), &true.into()));
        assert_eq!(service.metric("file_recycler_listener_silent_deletions").await, 3);
        let status = world.cli(&["status", "--json"]).await.expect(0).json();
        assert!(status["warnings"].to_string().contains("3 rows vanished"), "{status}");
        let listener = world.cli(&["listener", "status", "--json"]).await.expect(0).json();
        assert_eq!(listener["silence"]["deletions"], 3, "{listener}");

        let (record, _) = world.record_with_files("Contact", "ContactFile", 1).await;
        world.crm.delete("Contact", record).await;
        listener_says(&service, "installed", "").await;
        assert_eq!(service.metric("file_recycler_listener_silent_deletions").await, 0);
        let trail = "SELECT count(*) FROM file_recycler.trail WHERE action = 'silent deletions'";
        assert_eq!(world.crm.number(trail).await, 1, "the trail keeps it");
    })
    .await;
}

/// Waits until the service has counted once: rows that vanish from then on are seen.
async fn counted_once(service: &Service) {
    eventually("deletions are counted", async || {
        service.log().iter().any(|line| line.contains("counting the deletions of files")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn captured_rolled_back_and_dangling_deletions_are_no_hint() {
    world(S3::Embedded, async |world: Arc<World>| {
        let service = world.run().await;
        counted_once(&service).await;
        let (record, files) = world.record_with_files("Contact", "ContactFile", 2).await;
        let weak = world.crm.weak_file("SysFile", "Contact", record).await;
        world.upload(weak).await;
        let (kept, _) = world.record_with_files("Contact", "ContactFile", 2).await;
        world
            .crm
            .sql(format!(r#"BEGIN; DELETE FROM "ContactFile" WHERE "ContactId" = '{kept}'; ROLLBACK"#))
            .await;
        world.crm.delete("Contact", record).await;
        for file in files.iter().chain([&weak]) {
            world.recycled(*file).await;
        }
        let vanished = "SELECT sum(n_tup_del)::bigint FROM pg_stat_user_tables
                         WHERE relname IN ('ContactFile', 'SysFile')";
        eventually("the statistics know all five", async || {
            (world.crm.number(vanished).await == 5).then_some(())
        })
        .await;
        // Two counts and what it takes to settle.
        tokio::time::sleep(Duration::from_secs(12)).await;
        let answer = service.readyz().await.unwrap();
        assert_eq!(answer["listener"]["state"], "installed", "{answer}");
        assert_eq!(service.metric("file_recycler_listener_silent_deletions").await, 0);
    })
    .await;
}

#[tokio::test]
async fn case_58_a_deletion_that_could_not_be_captured_commits_and_is_told() {
    world(S3::Embedded, async |world| {
        let service = world.run().await.expect_log("could not be captured").expect_log("reading the outbox");
        counted_once(&service).await;
        let (record, files) = world.record_with_files("Contact", "ContactFile", 1).await;
        world.crm.sql("ALTER TABLE file_recycler.outbox RENAME COLUMN n TO m").await;
        world.crm.delete("Contact", record).await;
        world.crm.sql("ALTER TABLE file_recycler.outbox RENAME COLUMN m TO n").await;
        // The record's may be counted before the file's.
        let answer = listener_says(&service, "failing", "2 statements").await;
        assert_eq!(answer["ready"], false);
        eventually("the record's and the file's are counted", async || {
            (service.metric("file_recycler_capture_failures").await == 2).then_some(())
        })
        .await;
        world.is_untouched(files[0]).await;
        // Work goes on meanwhile, and a new process knows what an old one has seen.
        let (record, files) = world.record_with_files("Contact", "ContactFile", 1).await;
        world.crm.delete("Contact", record).await;
        world.recycled(files[0]).await;
        drop(service);
        let service = Service::start(&world.environment, &["run"]).await.expect_log("could not be captured");
        listener_says(&service, "failing", "2 statements").await;
        assert_eq!(world.cli(&["status", "--json"]).await.expect(1).json()["listener"]["ok"], false);

        // Until somebody has taken note.
        let installed = world.cli(&["listener", "install", "--json"]).await.expect(0).json();
        assert_eq!(installed["capture_failures_seen"], 2, "{installed}");
        listener_says(&service, "installed", "").await;
        let _service = service.ready().await;
        let status = world.cli(&["listener", "status", "--json"]).await.expect(0).json();
        assert_eq!((&status["capture_failures"], &status["capture_failures_unseen"]), (&2.into(), &0.into()));
    })
    .await;
}

#[tokio::test]
async fn an_outbox_whose_first_row_no_relay_takes_is_told() {
    world(S3::Embedded, async |world| {
        let environment = world.with(&[("LISTENER__POLL", "100ms")]);
        let service =
            Service::start(&environment, &["run"]).await.ready().await.expect_log("no relay takes it");
        let (record, files) = world.record_with_files("Contact", "ContactFile", 1).await;
        // A relay that hangs holds its rows like this.
        let mut hung = world.crm.pool.begin().await.unwrap();
        world.cli(&["pause", "--why", "to lock the rows"]).await.expect(0);
        let service = service.expect_log("paused by an operator");
        eventually("it is paused", async || {
            service.readyz().await.filter(|answer| !answer["paused"].is_null())
        })
        .await;
        world.crm.delete("Contact", record).await;
        sqlx::raw_sql("SELECT FROM file_recycler.outbox FOR UPDATE").execute(&mut *hung).await.unwrap();
        world.cli(&["resume"]).await.expect(0);
        let answer = listener_says(&service, "silent", "no relay takes it").await;
        assert_eq!((&answer["degraded"], &answer["ready"]), (&true.into(), &true.into()));
        world.is_untouched(files[0]).await;

        hung.rollback().await.unwrap();
        world.recycled(files[0]).await;
        listener_says(&service, "installed", "").await;
    })
    .await;
}

#[tokio::test]
async fn a_row_of_a_newer_version_is_left_counted_and_told_and_holds_up_nobody() {
    world(S3::Embedded, async |world| {
        let service = world.run().await.expect_log("of kinds that this version does not know");
        world
            .crm
            .sql(
                "ALTER TABLE file_recycler.outbox DROP CONSTRAINT outbox_kind_check;
                 INSERT INTO file_recycler.outbox (kind, schema, n, ids) VALUES ('robots', 'Contact', 1, ARRAY[gen_random_uuid()])",
            )
            .await;
        let (record, files) = world.record_with_files("Contact", "ContactFile", 1).await;
        world.crm.delete("Contact", record).await;
        world.recycled(files[0]).await;
        let answer = listener_says(&service, "silent", "1 outbox rows are of kinds").await;
        assert_eq!((&answer["degraded"], &answer["ready"]), (&true.into(), &true.into()));
        assert_eq!(service.metric("file_recycler_outbox_unknown_rows").await, 1);
        let status = world.cli(&["status", "--json"]).await.expect(0).json();
        assert!(status["warnings"].to_string().contains("1 outbox rows are of kinds"), "{status}");
        eventually("its row alone is left", async || {
            (world.crm.number("SELECT count(*) FROM file_recycler.outbox").await == 1).then_some(())
        })
        .await;
        eventually("it is told once when it was found, and once as the listener's state", async || {
            let log = service.log();
            let told = log.iter().filter(|line| line.contains("this version does not know")).count();
            (told == 2).then_some(())
        })
        .await;

        world.crm.sql("DELETE FROM file_recycler.outbox").await;
        listener_says(&service, "installed", "").await;
    })
    .await;
}

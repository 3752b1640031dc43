//! Dumps and what is restored from them: with our schema, without it, and half done.

use file_recycler::db::Db;
use file_recycler::db::registry::Registry;
use file_recycler::outcome::{Advice, Dependency};

use crate::support::crm::Crm;
use crate::support::database::{crm, ids};
use crate::support::process::{self, Service};
use crate::support::tools::{Dump, postgres_tool};
use crate::support::world::{S3, World, world};

/// How many of our triggers there are.
const TRIGGERS: &str = r"SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'file\_recycler\_%'";

async fn outbox(crm: &Crm) -> i64 {
    crm.number("SELECT count(*) FROM file_recycler.outbox").await
}

#[tokio::test]
async fn case_36_what_is_restored_from_a_dump_captures_and_moves_nothing() {
    world(S3::Embedded, async |world| {
        let (record, files) = world.record_with_files("Contact", "ContactFile", 1).await;
        let dump = Dump::of(&world.crm.url, &[]).await;
        let restored = Crm::empty().await;
        let said = dump.restore(&restored.url, &["--exit-on-error"]).await;
        assert!(said.success, "{said:?}");
        let environment = world.with(&[("DATABASE__URL", &restored.url)]);
        process::run(&environment, &["listener", "status"]).await.expect(0);
        let service = Service::start(&environment, &["run"]).await.expect_log("not well");
        service.guard_says("is it a copy?").await;
        restored.delete("Contact", record).await;
        assert_eq!(
            outbox(&restored).await,
            2,
            "the restored triggers work, and nobody takes what they wrote"
        );
        world.is_untouched(files[0]).await;
        drop(service);
        restored.drop_database().await;
    })
    .await;
}

#[tokio::test]
async fn what_is_restored_without_our_schema_is_a_crm_without_triggers_that_works() {
    world(S3::Embedded, async |world| {
        let (record, files) = world.record_with_files("Contact", "ContactFile", 1).await;
        let dump = Dump::of(&world.crm.url, &["--exclude-schema=file_recycler"]).await;
        let restored = Crm::empty().await;
        let said = dump.restore(&restored.url, &[]).await;
        assert!(!said.success, "the triggers' functions are not there");
        let errors = said.stderr.lines().filter(|line| line.contains("pg_restore: error:"));
        for error in errors {
            assert!(error.contains(r#"schema "file_recycler" does not exist"#), "{error}");
        }
        goes_on_without_us(&world, &restored, record).await;
        world.is_untouched(files[0]).await;

        // For a restore that stops at the first error: a list without our triggers.
        let list = postgres_tool("pg_restore", &["-l", dump.path()]).await.stdout;
        let without: Vec<&str> = list.lines().filter(|line| !line.contains(" file_recycler_")).collect();
        let chosen = format!("{}.list", dump.path());
        std::fs::write(&chosen, without.join("\n")).unwrap();
        let again = Crm::empty().await;
        let said = dump.restore(&again.url, &["-L", &chosen, "--exit-on-error"]).await;
        std::fs::remove_file(&chosen).unwrap();
        assert!(said.success, "{said:?}");
        goes_on_without_us(&world, &again, record).await;
        for database in [restored, again] {
            database.drop_database().await;
        }
    })
    .await;
}

/// The restored CRM works, says that it is not installed, and is after an installation.
async fn goes_on_without_us(world: &World, restored: &Crm, record: uuid::Uuid) {
    assert_eq!(restored.number(TRIGGERS).await, 0);
    restored.delete("Contact", record).await;
    assert_eq!(restored.number(r#"SELECT count(*) FROM "ContactFile""#).await, 0);
    let environment = world.with(&[("DATABASE__URL", &restored.url)]);
    let status = process::run(&environment, &["listener", "status", "--json"]).await.expect(1).json();
    assert_eq!(status["state"], "not installed");
    process::run(&environment, &["listener", "install"]).await.expect(0);
    let contact = restored.record("Contact").await;
    restored.delete("Contact", contact).await;
    assert_eq!(outbox(restored).await, 1);
}

#[tokio::test]
async fn a_role_that_dumps_the_crm_alone_leaves_our_schema_out_or_is_let_in() {
    world(S3::Embedded, async |world| {
        let role = format!("role_{}", uuid::Uuid::new_v4().simple());
        world
            .crm
            .sql(format!(
                "CREATE ROLE {role} LOGIN PASSWORD '{role}'; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"
            ))
            .await;
        let mut url: url::Url = world.crm.url.parse().unwrap();
        url.set_username(&role).unwrap();
        url.set_password(Some(&role)).unwrap();
        let dump = async |more: &'static [&'static str]| {
            postgres_tool("pg_dump", &[&["-d", url.as_str()], more].concat()).await
        };

        let refused = dump(&[]).await;
        assert!(refused.stderr.contains("permission denied"), "{refused:?}");
        let without = dump(&["--exclude-schema=file_recycler"]).await;
        assert!(without.success, "{}", without.stderr);
        world
            .crm
            .sql(format!(
                "GRANT USAGE ON SCHEMA file_recycler TO {role};
                 GRANT SELECT ON ALL TABLES IN SCHEMA file_recycler TO {role};
                 GRANT SELECT ON ALL SEQUENCES IN SCHEMA file_recycler TO {role};
                 ALTER DEFAULT PRIVILEGES IN SCHEMA file_recycler GRANT SELECT ON TABLES TO {role}"
            ))
            .await;
        // The ledger's partitions of the coming months are let in by the default.
        world.crm.sql("SELECT file_recycler.make_partitions(6)").await;
        let whole = dump(&[]).await;
        assert!(whole.success && whole.stdout.contains("CREATE TABLE file_recycler.outbox"), "{}", whole.stderr);
        world.crm.sql(format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
    })
    .await;
}

#[tokio::test]
async fn case_45_a_restore_that_is_half_done_says_of_no_file_that_it_is_dead() {
    world(S3::Embedded, async |world| {
        let (_, files) = world.record_with_files("Contact", "ContactFile", 1).await;
        let dump = Dump::of(&world.crm.url, &[]).await;
        let restored = Crm::empty().await;
        let db = Db::connect(&restored.url.as_str().into()).unwrap();
        let registry = Registry::new(db, crm());
        let ask = async || registry.liveness(&ids(&files)).await;
        let blind = async |stage: &str| {
            let error = ask().await.expect_err(stage);
            assert_eq!(error.advice(), Advice::Outage(Dependency::Database), "{stage}: {error}");
            error.to_string()
        };

        blind("nothing is there").await;
        assert!(dump.restore(&restored.url, &["--section=pre-data"]).await.success);
        blind("tables without rows").await;
        // Rows of all tables but the one that matters, as they are while it is still being loaded.
        let list = postgres_tool("pg_restore", &["-l", "--section=data", dump.path()]).await.stdout;
        let late = |line: &str| line.contains("TABLE DATA public ContactFile ");
        let (later, first): (Vec<&str>, Vec<&str>) = list.lines().partition(|line| late(line));
        assert_eq!(later.len(), 1, "{list}");
        let restore = async |lines: Vec<&str>| {
            let chosen = format!("{}.list", dump.path());
            std::fs::write(&chosen, lines.join("\n")).unwrap();
            let said = dump.restore(&restored.url, &["-L", &chosen]).await;
            std::fs::remove_file(&chosen).unwrap();
            assert!(said.success, "{said:?}");
        };
        restore(first).await;
        let why = blind("all rows but those of the file's table").await;
        assert!(why.contains("a restore of the database seems to be under way"), "{why}");
        restore(later).await;
        blind("all rows, and no index yet").await;
        assert!(dump.restore(&restored.url, &["--section=post-data"]).await.success);
        let answer = ask().await.unwrap();
        assert_eq!(answer.liveness, [file_recycler::outcome::Liveness::Alive]);
        restored.drop_database().await;
    })
    .await;
}

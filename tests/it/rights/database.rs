//! A role that installs, a lesser one that runs, and the CRM's own, which needs nothing new.

use file_recycler::config::OnCaptureError;
use file_recycler::storage::Side;
use serde_json::json;
use sqlx::Connection as _;
use uuid::Uuid;

use crate::support::broker::put;
use crate::support::crm::Crm;
use crate::support::database::{TestDatabase, run};
use crate::support::process::{self, Service, eventually};
use crate::support::roles::Roles;
use crate::support::world::{S3, World, bare_world};

/// What the program is configured with, as one role or another.
fn environment(world: &World, roles: &Roles, role: &str) -> Vec<(String, String)> {
    world.with(&[("DATABASE__URL", &roles.url_as(role))])
}

async fn installed(world: &World) -> (Roles, Vec<(String, String)>) {
    let roles = Roles::create(&world.crm.url).await;
    roles.allow_install().await;
    process::run(&environment(world, &roles, &roles.install), &["listener", "install"]).await.expect(0);
    roles.allow_run(&[]).await;
    let as_run = environment(world, &roles, &roles.run);
    process::run(&as_run, &["adopt", "--apply"]).await.expect(0);
    (roles, as_run)
}

async fn readyz_says(service: &Service, what: &str) {
    eventually(&format!("/readyz says '{what}'"), async || {
        let answer = service.readyz().await?;
        let message = answer["dependencies"]["database"]["message"].as_str()?;
        (answer["ready"] == false && message.contains(what)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn with_exactly_the_rights_of_the_files_everything_works_and_nothing_is_warned_of() {
    bare_world(S3::Embedded, async |world| {
        let (roles, as_run) = installed(&world).await;
        // `every_command` pauses and resumes at once: seen or not.
        let service =
            Service::start(&as_run, &["run"]).await.ready().await.expect_log("paused by an operator");
        let application = Crm { pool: open_as(&roles).await, name: String::new(), url: String::new() };
        let contact = application.record("Contact").await;
        let account = application.record("Account").await;
        let hard = application.hard_file("ContactFile", "Contact", contact).await;
        let weak = application.weak_file("SysFile", "Contact", contact).await;
        let feed = application.weak_file("FeedFile", "Contact", contact).await;
        let shown = application.weak_file("SysFile", "Contact", contact).await;
        let theirs = application.hard_file("AccountFile", "Account", account).await;
        application.link("Account", account, "SysFile", shown).await;
        application.link("Contact", contact, "AccountFile", theirs).await;
        for file in [hard, weak, feed, shown, theirs] {
            world.upload(file).await;
        }

        application.delete("Contact", contact).await;

        for file in [hard, weak, feed] {
            world.recycled(file).await;
        }
        world.quiet(&service).await;
        world.is_untouched(shown).await;
        world.is_untouched(theirs).await;
        application.delete("Account", account).await;
        for file in [shown, theirs] {
            world.recycled(file).await;
        }
        world.quiet(&service).await;
        for (rows, of) in [(5, "ledger"), (5, "image"), (0, "held_record"), (0, "outbox")] {
            let found = world.crm.number(format!("SELECT count(*) FROM file_recycler.{of}")).await;
            assert_eq!(found, rows, "{of}");
        }
        assert_eq!(world.crm.number(r#"SELECT count(*) FROM "SysFile", "FeedFile", "FileLink""#).await, 0);
        every_command(&world, &as_run, hard).await;
        application.pool.close().await;
        drop(service);
        drop(roles);
    })
    .await;
}

/// The application's own connections.
async fn open_as(roles: &Roles) -> sqlx::PgPool {
    sqlx::PgPool::connect(&roles.url_as(&roles.application)).await.unwrap()
}

async fn every_command(world: &World, as_run: &[(String, String)], file: Uuid) {
    let cli = async |arguments: &[&str]| process::run(as_run, arguments).await;
    let status = cli(&["status", "--json"]).await.expect(0).json();
    assert_eq!(status["warnings"], json!([]), "{status}");
    assert_eq!(cli(&["listener", "status", "--json"]).await.expect(0).json()["state"], "installed");
    cli(&["listener", "install", "--dry-run"]).await.expect(0);
    let explained = cli(&["explain", &file.to_string(), "--json"]).await.expect(0).json();
    assert_eq!(explained["ledger"].as_array().map(Vec::len), Some(1), "{explained}");
    assert!(explained["errors"].as_object().is_none_or(serde_json::Map::is_empty), "{explained}");
    cli(&["pause", "--why", "a test"]).await.expect(0);
    cli(&["resume"]).await.expect(0);
    cli(&["emit", "--schema", "Contact", "--record", &Uuid::new_v4().to_string()]).await.expect(0);
    for id in ["one", "two"] {
        let event = json!({
            "specversion": "1.0", "id": id, "source": "/crm/other", "type": "crm.record.deleted.v1",
            "data": { "schema": "Contact", "record_id": Uuid::new_v4() }
        });
        let dead = world.queues.topology.dead();
        put(&dead, event.to_string().as_bytes(), lapin::BasicProperties::default()).await;
    }
    assert_eq!(cli(&["dlq", "list", "--json"]).await.expect(0).json()["total"], 2);
    cli(&["dlq", "show", "--limit", "1"]).await.expect(0);
    let replay = cli(&["dlq", "replay", "--limit", "1", "--apply", "--json"]).await.expect(0).json();
    assert_eq!(replay["succeeded"], 1, "{replay}");
    cli(&["dlq", "discard", "--why", "a test", "--apply"]).await.expect(0);
    let recorded = "SELECT count(*) FROM file_recycler.replay WHERE outcome = 'succeeded'";
    assert_eq!(world.crm.number(recorded).await, 1);
    assert_eq!(world.crm.number("SELECT count(*) FROM file_recycler.discarded").await, 1);
}

#[tokio::test]
async fn a_right_that_is_taken_away_stops_the_work_by_name_and_nothing_is_lost() {
    bare_world(S3::Embedded, async |world| {
        let (roles, as_run) = installed(&world).await;
        let service = Service::start(&as_run, &["run"])
            .await
            .ready()
            .await
            .expect_log("not well")
            // A right that the relay misses before the monitor does.
            .expect_log("relaying was interrupted");
        let (record, files) = world.record_with_files("Contact", "ContactFile", 2).await;
        for (right, named) in [
            (r#"SELECT ("Id") ON "AccountFile""#, r#"lacks SELECT ("Id") on public."AccountFile""#),
            (r#"DELETE ON "SysFile""#, r#"lacks DELETE on public."SysFile""#),
            ("DELETE ON file_recycler.outbox", r#"lacks DELETE on file_recycler."outbox""#),
            ("USAGE ON SCHEMA file_recycler", r#"lacks USAGE on schema "file_recycler""#),
        ] {
            roles.sql(&format!("REVOKE {right} FROM {}", roles.run)).await;
            // Rights are looked at now and then, and at once where one is missed.
            let restarted = Service::start(&as_run, &["run"]).await.expect_log("not well");
            readyz_says(&restarted, named).await;
            readyz_says(&restarted, "apply deploy/rights/database-run.sql").await;
            let status = process::run(&as_run, &["status", "--json"]).await.expect(1).json();
            let message = status["dependencies"]["database"]["message"].as_str().unwrap_or_default();
            assert!(message.contains(named), "{status}");
            drop(restarted);
            roles.sql(&format!("GRANT {right} TO {}", roles.run)).await;
        }
        roles.sql(&format!(r#"REVOKE SELECT ("Id") ON "AccountFile" FROM {}"#, roles.run)).await;
        world.crm.delete("Contact", record).await;
        readyz_says(&service, r#"lacks SELECT ("Id") on public."AccountFile""#).await;
        for file in &files {
            world.is_untouched(*file).await;
        }
        roles.allow_run(&[]).await;
        for file in &files {
            world.recycled(*file).await;
        }
        world.quiet(&service).await;
        let depth = world.queues.drain(&world.queues.topology.dead()).await.len();
        assert_eq!(depth, 0, "nothing is dead-lettered");
        drop(service);
        drop(roles);
    })
    .await;
}

#[tokio::test]
async fn a_section_that_nobody_has_granted_stops_the_moves_until_the_file_is_applied_again() {
    bare_world(S3::Embedded, async |world| {
        let (roles, as_run) = installed(&world).await;
        let service =
            Service::start(&as_run, &["run"]).await.ready().await.expect_log("not well").expect_log("drift");
        world.crm.sql("SELECT make_section('UsrDeal', 'CASCADE')").await;
        for table in ["UsrDeal", "UsrDealFile"] {
            world.crm.sql(format!(r#"ALTER TABLE "{table}" OWNER TO {}"#, roles.owner)).await;
        }
        let (record, files) = world.record_with_files("Contact", "ContactFile", 1).await;

        world.crm.delete("Contact", record).await;

        readyz_says(&service, r#"on public."UsrDealFile""#).await;
        world.is_untouched(files[0]).await;
        process::run(&environment(&world, &roles, &roles.install), &["listener", "install"]).await.expect(0);
        roles.allow_run(&[]).await;
        world.recycled(files[0]).await;
        let (record, files) = world.record_with_files("UsrDeal", "UsrDealFile", 1).await;
        world.crm.delete("UsrDeal", record).await;
        world.recycled(files[0]).await;
        drop(service);
        drop(roles);
    })
    .await;
}

#[tokio::test]
async fn each_right_to_install_is_necessary_and_named_when_it_is_missing() {
    bare_world(S3::Embedded, async |world| {
        let roles = Roles::create(&world.crm.url).await;
        roles.allow_install().await;
        let as_install = environment(&world, &roles, &roles.install);
        let install = async || process::run(&as_install, &["listener", "install"]).await;
        let create = format!("CREATE ON DATABASE {}", world.crm.name);
        let (owner, role) = (&roles.owner, &roles.install);
        for (take, give, named) in [
            (
                format!("REVOKE {create} FROM {role}"),
                format!("GRANT {create} TO {role}"),
                "lacks CREATE on the database".to_owned(),
            ),
            (
                format!(
                    "REVOKE {owner} FROM {role}; GRANT USAGE ON SCHEMA public TO {role};
                         GRANT SELECT, TRIGGER ON ALL TABLES IN SCHEMA public TO {role}"
                ),
                format!("GRANT {owner} TO {role}"),
                format!("lacks membership in {owner}, which owns public."),
            ),
        ] {
            roles.sql(&take).await;
            let refused = install().await.expect(1);
            assert!(refused.stderr.contains(&named), "{refused:?}");
            assert!(refused.stderr.contains("deploy/rights/database-install.sql"), "{refused:?}");
            roles.sql(&give).await;
        }
        install().await.expect(0);
        // Once the schema is there, the right to make one is not needed any more.
        roles.sql(&format!("REVOKE {create} FROM {role}")).await;
        install().await.expect(0);
        process::run(&as_install, &["listener", "uninstall", "--purge"]).await.expect(0);
        assert_eq!(world.storage.keys(Side::Object).await.len(), 0);
        drop(roles);
    })
    .await;
}

#[tokio::test]
async fn the_crms_own_role_is_captured_without_any_right_on_our_schema() {
    let database = TestDatabase::create().await;
    let roles = Roles::create(secrecy::ExposeSecret::expose_secret(&database.url())).await;
    database.install(OnCaptureError::Fail).await;
    let mut application = database.crm_as(&roles.application).await;
    let contact = database.record("Contact").await;
    database.file("ContactFile", "ContactId", contact).await;

    run(&mut application, &format!(r#"DELETE FROM "Contact" WHERE "Id" = '{contact}'"#)).await.unwrap();

    assert_eq!(database.captured().await, ["records Contact 1", "files ContactFile 1"]);
    for sql in [
        "SELECT * FROM file_recycler.outbox",
        "DELETE FROM file_recycler.outbox",
        "INSERT INTO file_recycler.outbox (kind, schema, n, ids) VALUES ('files', 'ContactFile', 1, '{}')",
        "UPDATE file_recycler.environment SET paused_at = NULL",
        "SELECT last_value FROM file_recycler.capture_failures",
        "SELECT file_recycler.make_partitions(1)",
    ] {
        let refused = run(&mut application, sql).await.unwrap_err();
        let code = refused.as_database_error().and_then(|error| error.code().map(String::from));
        assert_eq!(code.as_deref(), Some("42501"), "{sql}: {refused}");
    }
    assert_eq!(
        roles
            .grants(&roles.application)
            .await
            .iter()
            .filter(|it| it.object.starts_with("file_recycler."))
            .count(),
        0
    );
    application.close().await.unwrap();
    drop(roles);
}

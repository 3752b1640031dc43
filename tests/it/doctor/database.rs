//! What can be wrong with database, capture and environment.

use file_recycler::storage::Side;
use serde_json::json;
use uuid::Uuid;

use super::{BACKUPS, Said, doctor, healthy, still};
use crate::support::cluster::Cluster;
use crate::support::crm::Crm;
use crate::support::mapped::mapped;
use crate::support::pooler::Pooler;
use crate::support::process;
use crate::support::roles::Roles;
use crate::support::world::{S3, bare_world, bare_world_on, world};

#[tokio::test]
async fn a_role_with_exactly_its_rights_is_content_and_each_that_is_missing_is_named() {
    bare_world(S3::Embedded, async |world| {
        let roles = Roles::create(&world.crm.url).await;
        roles.allow_install().await;
        let as_install = world.with(&[("DATABASE__URL", &roles.url_as(&roles.install))]);
        process::run(&as_install, &["listener", "install"]).await.expect(0);
        roles.allow_run(&[]).await;
        let as_run = [("DATABASE__URL", &roles.url_as(&roles.run)[..])];
        process::run(&world.with(&as_run), &["adopt", "--apply"]).await.expect(0);
        let said = doctor(&world, &as_run).await;
        assert_eq!(said.named("fail"), [""; 0]);
        said.check("database-rights", "ok", "every right");
        said.check("database-role", "ok", "no powers that it does not need");
        let owner = [("DATABASE__URL", &roles.url_as(&roles.install)[..])];
        doctor(&world, &owner).await.check(
            "database-role",
            "warn",
            "as the owner of 25 of the application's tables",
        );

        for grant in roles.grants(&roles.run).await {
            let told = ["outbox", "process", "ContactFile", "_sqlx_migrations"]
                .contains(&grant.plain_name().as_str());
            // Which of them are told is the business of the tests of rights.
            if !told || !matches!(grant.column.as_deref(), None | Some("Id")) {
                continue;
            }
            roles.revoke(&grant, &roles.run).await;
            let said = doctor(&world, &as_run).await;
            assert_eq!(said.named("fail"), ["database-rights"], "{grant:?}");
            let advice = said.check("database-rights", "fail", &grant.plain_name());
            assert!(advice.contains("deploy/rights/database-run.sql"), "{advice}");
            said.check("database-rights", "fail", &grant.privilege);
            roles.grant(&grant, &roles.run).await;
        }
        drop(roles);
    })
    .await;
}

#[tokio::test]
async fn capture_that_is_not_as_it_must_be_is_told_and_so_is_what_it_missed() {
    still(S3::Embedded, async |world| {
        world.crm.sql(r#"DROP TRIGGER file_recycler_files_delete ON "ContactFile""#).await;
        let said = doctor(world, &[]).await;
        said.only(&["triggers"], &["processes"]);
        let advice =
            said.check("triggers", "fail", "public.ContactFile: file_recycler_files_delete is missing");
        assert!(advice.contains("`file-recycler listener install`"), "{advice}");
        world.cli(&["listener", "install"]).await.expect(0);
        doctor(world, &[]).await.only(&[], &["processes"]);

        world.crm.sql("ALTER TABLE file_recycler.outbox RENAME TO elsewhere").await;
        let record = world.crm.record("Contact").await;
        world.crm.delete("Contact", record).await;
        world.crm.sql("ALTER TABLE file_recycler.elsewhere RENAME TO outbox").await;
        let said = doctor(world, &[]).await;
        said.only(&["capture-failures"], &["processes"]);
        said.check("capture-failures", "fail", "could not be captured");
        world.cli(&["listener", "install"]).await.expect(0);
        doctor(world, &[]).await.check("capture-failures", "ok", "note was taken");

        let vanished =
            r#"INSERT INTO file_recycler.silence (deletions, tables) VALUES (7, '{"public.ContactFile"}')"#;
        world.crm.sql(vanished).await;
        doctor(world, &[]).await.check("silence", "warn", "7 rows vanished from public.ContactFile");

        let (record, _) = world.record_with_files("Contact", "ContactFile", 1).await;
        world.crm.delete("Contact", record).await;
        doctor(world, &[]).await.check("outbox", "ok", "2 rows wait");
        world
            .crm
            .sql("UPDATE file_recycler.outbox SET captured_at = captured_at - interval '10 minutes'")
            .await;
        doctor(world, &[]).await.check("outbox", "warn", "does a relay run");
        world.cli(&["pause", "--why", "the storage moves"]).await.expect(0);
        let said = doctor(world, &[]).await;
        assert!(said.check("pause", "warn", "the storage moves").contains("`file-recycler resume`"));
        said.check("outbox", "ok", "2 rows wait");
        said.check("environment", "ok", "adopted");
    })
    .await;
}

#[tokio::test]
async fn an_index_is_asked_for_where_links_are_many() {
    still(S3::Embedded, async |world| {
        world
            .crm
            .sql(
                r#"INSERT INTO "FileLink" ("RecordSchemaName", "RecordId", "FileSchemaName", "FileRecordId")
                   SELECT 'Account', gen_random_uuid(), 'SysFile', gen_random_uuid() FROM generate_series(1, 100000);
                   ANALYZE "FileLink""#,
            )
            .await;
        let said = doctor(world, &[]).await;
        said.only(&[], &["processes", "triggers"]);
        let create = r#"CREATE INDEX CONCURRENTLY ON "public"."FileLink" ("FileRecordId")"#;
        said.check("triggers", "warn", create);
        world
            .crm
            .sql(r#"CREATE INDEX ON "FileLink" ("FileRecordId"); CREATE INDEX ON "FileLink" ("RecordId")"#)
            .await;
        doctor(world, &[]).await.only(&[], &["processes"]);
    })
    .await;
}

#[tokio::test]
async fn settings_that_a_pooler_ignores_are_named() {
    still(S3::Embedded, async |world| {
        let pooler = Pooler::before(&world.crm.url, "session").await;
        let said = doctor(world, &[("DATABASE__URL", &pooler.url_of(&world.crm.url))]).await;
        said.only(&[], &["database-connection", "processes"]);
        let named = "asks for: search_path, row_security, statement_timeout";
        let advice = said.check("database-connection", "warn", named);
        assert!(advice.contains("ALTER ROLE"), "{advice}");
    })
    .await;
}

#[tokio::test]
async fn an_older_schema_and_another_database_are_told_once() {
    still(S3::Embedded, async |world| {
        let other = Crm::with("SELECT 1").await;
        let said = doctor(world, &[("DATABASE__URL", &other.url)]).await;
        assert_eq!(said.named("fail"), ["crm-profile", "own-schema"]);
        said.check("crm-profile", "fail", "not the CRM's database");
        other.drop_database().await;

        let said = doctor(world, &[("CRM__STORAGE_CODES", r#"["Elsewhere"]"#)]).await;
        said.check("crm-profile", "fail", "no storage with one of the codes Elsewhere");

        world
            .crm
            .sql(
                "DELETE FROM file_recycler._sqlx_migrations
                  WHERE version = (SELECT max(version) FROM file_recycler._sqlx_migrations)",
            )
            .await;
        let said = doctor(world, &[]).await;
        assert_eq!(said.named("fail"), ["own-schema", "triggers"]);
        said.check("own-schema", "fail", "of an older version");
        said.check("environment", "warn", "not checked, since the own schema is of an older version");
    })
    .await;
}

#[tokio::test]
async fn a_wrong_key_template_is_told_with_the_right_one() {
    still(S3::Embedded, async |world| {
        let record = world.crm.record("Contact").await;
        let file = world.crm.hard_file("ContactFile", "Contact", record).await;
        let said = doctor(world, &[]).await;
        said.check("key-template", "warn", "none of the 1 newest rows has its object");
        world.storage.put(Side::Object, &file.to_string().to_uppercase(), b"content").await;
        let said = doctor(world, &[]).await;
        said.only(&["key-template"], &["processes"]);
        let advice = said.check("key-template", "fail", "the objects are under '{file_id:upper}'");
        assert_eq!(advice, r#"set storage.key_template = "{file_id:upper}""#);
        let said = doctor(world, &[("STORAGE__KEY_TEMPLATE", "{file_id:upper}")]).await;
        said.check("key-template", "ok", "where {file_id:upper} says");
    })
    .await;
}

#[tokio::test]
async fn the_wrong_environment_is_told_whatever_makes_it_wrong() {
    still(S3::Embedded, async |world| {
        let said = doctor(
            world,
            &[("STORAGE__SERVICE_URL", &world.storage.endpoint().replace("127.0.0.1", "localhost"))],
        )
        .await;
        said.check("environment", "fail", "were adopted");
        let marker = ".file-recycler/environment.json";
        let ours = world.storage.get(Side::Object, marker).await.unwrap();
        world.storage.delete(Side::Object, marker).await;
        doctor(world, &[]).await.check("environment", "fail", "is gone from the object bucket");
        let other = json!({ "environment": Uuid::new_v4() }).to_string();
        world.storage.put(Side::Object, marker, other.as_bytes()).await;
        doctor(world, &[]).await.check("environment", "fail", "belongs to environment");
        world.storage.put(Side::Object, marker, &ours).await;
        doctor(world, &[]).await.only(&[], &["processes"]);

        world.crm.sql("UPDATE file_recycler.environment SET advanced_at = now() - interval '1 hour'").await;
        let advice = doctor(world, &[])
            .await
            .check("environment", "warn", "nobody has advanced the nonce for 60 minutes")
            .to_owned();
        assert!(advice.contains("`file-recycler run`"), "{advice}");
        world.crm.sql(format!("UPDATE file_recycler.environment SET nonce = '{}'", Uuid::new_v4())).await;
        doctor(world, &[]).await.check("environment", "fail", "set back to a backup, or is a copy");
        world.cli(&["adopt", "--for", "restore", "--apply"]).await.expect(0);
        doctor(world, &[]).await.check("environment", "fail", "adopted for restore alone");
        world.cli(&["adopt", "--apply"]).await.expect(0);
        doctor(world, &[]).await.only(&[], &["processes"]);

        world.crm.pool.close().await;
        let copy = Crm::copy_of(&world.crm).await;
        let said = doctor(world, &[("DATABASE__URL", &copy.url)]).await;
        said.only(&["environment"], &["processes"]);
        assert!(said.check("environment", "fail", "is it a copy?").contains("`file-recycler adopt`"));
        copy.drop_database().await;
    })
    .await;
}

#[tokio::test]
async fn a_process_that_is_not_ready_is_told_with_its_reason() {
    healthy(S3::Embedded, async |world| {
        let failing = "INSERT INTO file_recycler.process (name, halves, ready, why, seen_at)
                       VALUES ('elsewhere:1', 'work', false, 'guard: event 7 is of another environment', now() + interval '1 hour')";
        world.crm.sql(failing).await;
        let said = doctor(world, &[]).await;
        said.only(&["processes"], &[]);
        said.check("processes", "fail", "work elsewhere:1 is not ready: guard: event 7 is of another environment");
    })
    .await;
}

#[tokio::test]
async fn a_replica_is_told_and_everything_else_is_looked_at_all_the_same() {
    bare_world(S3::Embedded, async |world| {
        let primary = Cluster::start().await;
        let original = Crm::on(&primary.url()).await;
        let environment = world.with(&[("DATABASE__URL", &original.url)]);
        for command in [&["listener", "install"][..], &["adopt", "--apply"]] {
            process::run(&environment, command).await.expect(0);
        }
        let mut standby = primary.standby_of().await;
        standby.run().await;
        let replica = Crm::of(&standby.url(), &original.name).await;
        let said = doctor(&world, &[("DATABASE__URL", &replica.url)]).await;
        assert_eq!(said.named("fail"), ["database-primary", "environment"]);
        said.check("database-primary", "fail", "a replica");
        said.check("triggers", "ok", "as they must be");
        for database in [replica, original] {
            database.pool.close().await;
        }
    })
    .await;
}

#[tokio::test]
async fn each_profile_is_known_and_what_does_not_apply_says_so() {
    const EVENTS: [(&str, &str); 2] = [("CRM__PROFILE", "events"), ("CRM__TRUST_OUTSIDE_EVENTS", "true")];
    bare_world_on(S3::Embedded, Crm::with("SELECT 1").await, async |world| {
        for command in [&["listener", "install"][..], &["adopt", "--apply"]] {
            process::run(&world.with(&EVENTS), command).await.expect(0);
        }
        let said = doctor(&world, &EVENTS).await;
        assert_eq!(said.named("fail"), [""; 0]);
        said.check("crm-profile", "warn", "promise 3");
        said.check("crm-profile", "warn", "rests on whoever sends the events");
        said.check("triggers", "ok", "nothing is captured");
        said.check("crm-settings", "ok", "no application's settings are looked at");
        said.check("key-template", "ok", "no rows to compare");
    })
    .await;
    mapped(async |mapped| {
        mapped.attachment(1, 1, "ab/abc").await;
        let config = mapped.config();
        let output =
            process::run(&mapped.world.with(&[BACKUPS]), &["--config", &config, "doctor", "--json"]).await;
        let said = Said::of(&output);
        assert_eq!(said.named("fail"), [""; 0]);
        said.check("crm-profile", "ok", "crm.profile is mapping");
        said.check("key-template", "ok", "objects are where");
        said.check("crm-settings", "ok", "not looked at");
        mapped.put("nothing").await;
        mapped.sql("UPDATE attachment SET store_name = 'elsewhere'").await;
        let output =
            process::run(&mapped.world.with(&[BACKUPS]), &["--config", &config, "doctor", "--json"]).await;
        Said::of(&output).check("key-template", "warn", "none of the");
    })
    .await;
}

#[tokio::test]
async fn credentials_of_the_crm_are_told() {
    world(S3::Embedded, async |world| {
        let (access_key, secret_key) = world.storage.credentials();
        let xml = format!(
            r#"<?xml version="1.0"?><connectionStrings><add name="s3Connection" connectionString="ServiceUrl={};AccessKey={access_key};SecretKey={secret_key};ObjectBucketName={};RecycleBucketName={}" /></connectionStrings>"#,
            world.storage.endpoint(),
            world.storage.object,
            world.storage.recycle
        );
        let path = std::env::temp_dir().join(format!("file-recycler-{}.config", Uuid::new_v4().simple()));
        std::fs::write(&path, xml).unwrap();
        let mut environment = world.with(&[BACKUPS, ("CRM__CONNECTION_STRINGS", path.to_str().unwrap())]);
        environment.retain(|(key, _)| !key.contains("STORAGE__"));
        let said = Said::of(&process::run(&environment, &["doctor", "--json"]).await);
        let advice = said.check("credentials", "warn", "the storage's keys (s3Connection)");
        assert!(advice.contains("deploy/rights"), "{advice}");
        said.check("environment", "ok", "adopted");
        std::fs::remove_file(path).unwrap();
    })
    .await;
}

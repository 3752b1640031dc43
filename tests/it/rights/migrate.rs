//! `database-migrate.sql` and `iam-migrate.json`: with exactly these rights contents are moved, and each that is missing is
//! named.

use file_recycler::storage::Side;
use recycler_test_s3::Policy;
use serde_json::{Value, json};
use uuid::Uuid;

use super::storage::{Grant, KEYS, grants, set, without};
use crate::support::crm::{DATABASE_STORAGE, FILE_TYPE};
use crate::support::process;
use crate::support::roles::Roles;
use crate::support::storage::TestStorage;
use crate::support::weed::Weed;
use crate::support::world::{S3, World, bare_world, world};

/// Also what was changed a moment ago.
const NOW: &str = "2100-01-01T00:00:00Z";
const FILE: &str = include_str!("../../../deploy/rights/iam-migrate.json");
/// Both ways, and what is between them.
const WAYS: [&[&str]; 3] = [
    &["migrate", "--to", "storage", "--apply", "--json", "--trust-template", "--older-than", NOW],
    &["migrate", "--reclaim", "--apply", "--json", "--older-than", NOW],
    &["migrate", "--to", "database", "--recycle-objects", "--apply", "--json", "--older-than", NOW],
];

fn document((object, recycle): (&str, &str)) -> Value {
    let text = FILE.replace("OBJECT-BUCKET", object).replace("RECYCLE-BUCKET", recycle);
    serde_json::from_str(&text).unwrap()
}

/// A small file and one of two parts, as they are at the beginning of each try: in their rows.
struct Files {
    ids: [Uuid; 2],
}

impl Files {
    async fn new(world: &World) -> Self {
        let ids = [Uuid::new_v4(), Uuid::new_v4()];
        let record = world.crm.record("Contact").await;
        world.crm.sql(r#"CREATE TABLE kept (id uuid PRIMARY KEY, content bytea)"#).await;
        for (id, bytes) in ids.iter().zip([7, 9 << 20]) {
            world
                .crm
                .sql(format!(
                    r#"INSERT INTO kept VALUES ('{id}', convert_to(repeat('x', {bytes}), 'UTF8'));
                       INSERT INTO "ContactFile" ("Id", "TypeId", "Size", "ContactId")
                       VALUES ('{id}', '{FILE_TYPE}', {bytes}, '{record}')"#
                ))
                .await;
        }
        Self { ids }
    }

    async fn arrange(&self, world: &World, storage: &TestStorage) {
        world
            .crm
            .sql(format!(
                r#"UPDATE "ContactFile" SET "Data" = content, "SysFileStorageId" = '{DATABASE_STORAGE}'
                     FROM kept WHERE id = "Id""#
            ))
            .await;
        for id in self.ids.map(|id| id.to_string()) {
            for side in [Side::Object, Side::Recycle] {
                storage.delete(side, &id).await;
            }
        }
        self.begin_an_upload(storage).await;
    }

    /// What a run that was killed leaves: an upload in parts, and its note.
    async fn begin_an_upload(&self, storage: &TestStorage) {
        let key = self.ids[1].to_string();
        let begun = storage.client.create_multipart_upload().bucket(&storage.object).key(&key);
        let upload = begun.send().await.unwrap().upload_id.unwrap();
        let name = |text: &str| Uuid::new_v5(&Uuid::NAMESPACE_OID, text.as_bytes());
        let note_key = format!(".file-recycler/uploads/{}/{}.json", name(&key), name(&upload));
        let note = json!({ "key": key, "upload": upload, "source_etag": "", "size": 0, "class": null });
        storage.put(Side::Recycle, &note_key, note.to_string().as_bytes()).await;
    }
}

/// There, reclaimed and back again; what was said where that did not work.
async fn everything(environment: &[(String, String)]) -> Result<(), String> {
    for way in WAYS {
        let said = process::run(environment, way).await;
        let lines: Vec<Value> = said.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let files =
            lines.iter().filter(|line| ["migrated", "reclaimed"].iter().any(|done| line["result"] == *done));
        let done = files.filter(|line| line["why"].is_null()).count();
        if (said.code, done) != (0, 2) {
            return Err(format!("{way:?}: {} {}", said.stderr, said.stdout));
        }
    }
    Ok(())
}

#[tokio::test]
async fn every_grant_is_necessary_and_named_when_it_is_missing() {
    bare_world(S3::Embedded, async |world| {
        let roles = Roles::create(&world.crm.url).await;
        process::run(&world.environment, &["listener", "install"]).await.expect(0);
        process::run(&world.environment, &["adopt", "--apply"]).await.expect(0);
        roles.allow_run(&[]).await;
        let to_run = roles.grants(&roles.run).await.len();
        let environment = world.with(&[("DATABASE__URL", &roles.url_as(&roles.run))]);
        let files = Files::new(&world).await;
        files.arrange(&world, &world.storage).await;
        let refused = process::run(&environment, WAYS[0]).await.expect(1);
        for part in [
            r#"SELECT ("Data", "ModifiedOn", "xmin", "ctid") on public."#,
            "deploy/rights/database-migrate.sql",
        ] {
            assert!(refused.stderr.contains(part), "{refused:?}");
        }

        roles.allow_migrate().await;
        everything(&environment).await.expect("with these rights everything works");

        let grants = roles.grants(&roles.run).await;
        roles.allow_migrate().await;
        assert_eq!(roles.grants(&roles.run).await.len(), grants.len(), "a second time changes nothing");
        let is_own = |grant: &crate::support::roles::Grant| {
            let column = grant.column.as_deref();
            let of_file = grant.object.contains("ContactFile")
                && (grant.privilege == "UPDATE"
                    || ["Data", "ModifiedOn", "xmin", "ctid"].map(Some).contains(&column));
            of_file || grant.privilege == "TEMPORARY"
        };
        let own: Vec<_> = grants.iter().filter(|grant| is_own(grant)).collect();
        assert_eq!(own.len(), 7, "{own:?} of {} beside {to_run}", grants.len());
        let mut wrong = Vec::new();
        for grant in own {
            files.arrange(&world, &world.storage).await;
            roles.revoke(grant, &roles.run).await;
            match everything(&environment).await {
                Ok(()) => wrong.push(format!("not necessary: {grant:?}")),
                Err(told) => {
                    let named = told.contains(&grant.privilege)
                        && grant
                            .column
                            .as_ref()
                            .is_none_or(|column| told.contains(&format!(r#""{column}""#)))
                        && told.contains("deploy/rights/database-migrate.sql");
                    if !named {
                        wrong.push(format!("not named: {grant:?}: {told}"));
                    }
                }
            }
            roles.grant(grant, &roles.run).await;
        }
        files.arrange(&world, &world.storage).await;
        everything(&environment).await.expect("with all of them again");
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        drop(roles);
    })
    .await;
}

#[tokio::test]
async fn to_look_nothing_has_to_be_written_and_who_does_not_see_others_is_told() {
    bare_world(S3::Embedded, async |world| {
        let roles = Roles::create(&world.crm.url).await;
        process::run(&world.environment, &["listener", "install"]).await.expect(0);
        process::run(&world.environment, &["adopt", "--apply"]).await.expect(0);
        roles.allow_run(&[]).await;
        roles.allow_migrate().await;
        let files = Files::new(&world).await;
        files.arrange(&world, &world.storage).await;
        let environment = world.with(&[("DATABASE__URL", &roles.url_as(&roles.run))]);
        let run = async |arguments: &[&str]| process::run(&environment, arguments).await.expect(0).stdout;
        let blind = "GRANT pg_read_all_stats";

        roles.sql(&format!(r#"REVOKE UPDATE ON "ContactFile" FROM {}"#, roles.run)).await;
        assert!(
            run(&["migrate", "--to", "storage", "--json", "--older-than", NOW])
                .await
                .contains("would_migrate")
        );

        roles.allow_migrate().await;
        assert!(!run(WAYS[0]).await.contains(blind));
        roles.sql(&format!("REVOKE pg_read_all_stats FROM {}", roles.run)).await;
        assert!(run(WAYS[1]).await.contains(blind));
        drop(roles);
    })
    .await;
}

/// The settings of a user of this storage.
fn environment(world: &World, storage: &TestStorage, user: &str) -> Vec<(String, String)> {
    world.with(&[
        ("STORAGE__SERVICE_URL", storage.endpoint()),
        ("STORAGE__OBJECT_BUCKET_NAME", &storage.object),
        ("STORAGE__RECYCLE_BUCKET_NAME", &storage.recycle),
        ("STORAGE__ACCESS_KEY", user),
        ("STORAGE__SECRET_KEY", &format!("{user}-secret")),
    ])
}

fn is_named(told: &str, grant: &Grant) -> bool {
    let bucket = if grant.sid.contains("Recycle") || grant.sid.contains("Copies") {
        Side::Recycle
    } else {
        Side::Object
    };
    let lists = grant.action == "s3:ListBucket" && told.contains(&grant.action);
    told.contains(&format!("{} on the {bucket} bucket", grant.action)) || lists
}

#[tokio::test]
async fn every_action_of_the_policy_is_necessary_and_named_and_more_is_not_needed() {
    world(S3::Embedded, async |world| {
        let storage = &world.storage;
        let document = document((&storage.object, &storage.recycle));
        let environment = environment(&world, storage, KEYS.0);
        let files = Files::new(&world).await;
        let mut wrong = Vec::new();
        for grant in &grants(&document) {
            files.arrange(&world, storage).await;
            set(storage, &without(&document, &[grant]));
            let told = everything(&environment).await;
            if told.is_err() == grant.is_optional() || told.as_ref().is_err_and(|told| !is_named(told, grant))
            {
                wrong.push(format!("{grant:?}: {told:?}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        let grants = grants(&document);
        let optional: Vec<&Grant> = grants.iter().filter(|grant| grant.is_optional()).collect();
        set(storage, &without(&document, &optional));
        files.arrange(&world, storage).await;
        everything(&environment).await.expect("nothing that is optional is needed");
    })
    .await;
}

#[tokio::test]
async fn the_policy_deletes_no_file_in_the_recycle_bucket() {
    let policy = Policy::parse(&document(("living", "recycled")).to_string()).unwrap();
    for action in ["s3:DeleteObject", "s3:DeleteObjectVersion", "s3:PutLifecycleConfiguration"] {
        for key in ["a-file", "x/.file-recycler/y"] {
            assert!(!policy.allows(action, &format!("arn:aws:s3:::recycled/{key}")), "{action} {key}");
        }
    }
    assert!(policy.allows("s3:DeleteObject", "arn:aws:s3:::recycled/.file-recycler/probe-1"));
}

/// What SeaweedFS does not ask for, by statement and action: its own reading of policies, not ours.
const NOT_ASKED_BY_SEAWEEDFS: &[&str] = &["ObjectsAreWrittenAndRead s3:AbortMultipartUpload"];

#[tokio::test]
async fn a_server_that_others_wrote_reads_the_policy_alike() {
    bare_world(S3::Embedded, async |world| {
        let buckets = TestStorage::bucket_names();
        let document = document((&buckets.0, &buckets.1));
        let grants = grants(&document);
        let mut users = vec![("whole".to_owned(), document.clone())];
        let lacking = |(n, grant)| (format!("user{n}"), without(&document, &[grant]));
        users.extend(grants.iter().enumerate().map(lacking));
        let weed = Weed::start(&users).await;
        let storage = TestStorage::named(&weed.server, buckets).await;
        let (admin, secret) = storage.credentials();
        let mut all = environment(&world, &storage, &admin);
        all.retain(|(name, _)| name != "FILE_RECYCLER_STORAGE__SECRET_KEY");
        all.push(("FILE_RECYCLER_STORAGE__SECRET_KEY".to_owned(), secret));
        process::run(&all, &["listener", "install"]).await.expect(0);
        process::run(&all, &["adopt", "--apply"]).await.expect(0);
        let files = Files::new(&world).await;
        files.arrange(&world, &storage).await;
        everything(&environment(&world, &storage, "whole")).await.expect("with the whole policy it works");
        let mut wrong = Vec::new();
        for (n, grant) in grants.iter().enumerate() {
            files.arrange(&world, &storage).await;
            let told = everything(&environment(&world, &storage, &format!("user{n}"))).await;
            let name = format!("{} {}", grant.sid, grant.action);
            let is_asked = !grant.is_optional() && !NOT_ASKED_BY_SEAWEEDFS.contains(&name.as_str());
            if told.is_err() != is_asked || told.as_ref().is_err_and(|told| !is_named(told, grant)) {
                wrong.push(format!("{name}: {told:?}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    })
    .await;
}

//! `iam-retention.json`: with exactly these rights the rule is shown and set, and each that is missing is named.

use file_recycler::storage::Side;
use recycler_test_s3::Policy;
use serde_json::{Value, json};

use super::storage::{Grant, KEYS, grants, set, without};
use crate::support::process::{self, Output};
use crate::support::storage::TestStorage;
use crate::support::weed::Weed;
use crate::support::world::{S3, World, bare_world, world};

const FILE: &str = include_str!("../../../deploy/rights/iam-retention.json");

fn document((object, recycle): (&str, &str)) -> Value {
    let text = FILE.replace("OBJECT-BUCKET", object).replace("RECYCLE-BUCKET", recycle);
    serde_json::from_str(&text).unwrap()
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

/// Everything that the command can do.
async fn everything(environment: &[(String, String)]) -> [Output; 2] {
    [
        process::run(environment, &["retention", "show", "--json"]).await,
        process::run(environment, &["retention", "set", "--days", "90", "--apply", "--json"]).await,
    ]
}

/// Did one of them fail, and name this?
fn is_named(said: &[Output], grant: &Grant) -> bool {
    let bucket = if grant.sid.starts_with("Recycle") { Side::Recycle } else { Side::Object };
    let failed: Vec<&Output> = said.iter().filter(|output| output.code != 0).collect();
    let named = format!("{} on the {bucket} bucket", grant.action);
    !failed.is_empty() && failed.iter().all(|output| output.code == 1 && output.stderr.contains(&named))
}

#[tokio::test]
async fn every_action_of_the_policy_is_necessary_and_named_and_more_is_not_needed() {
    world(S3::Embedded, async |world| {
        let document = document((&world.storage.object, &world.storage.recycle));
        let environment = environment(&world, &world.storage, KEYS.0);
        set(&world.storage, &document);
        for output in everything(&environment).await {
            output.expect(0);
        }
        let mut wrong = Vec::new();
        for grant in grants(&document) {
            set(&world.storage, &without(&document, &[&grant]));
            let said = everything(&environment).await;
            if !is_named(&said, &grant) {
                wrong.push(format!("{grant:?}: {said:?}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    })
    .await;
}

#[tokio::test]
async fn the_policy_touches_no_file() {
    let policy = Policy::parse(&document(("living", "recycled")).to_string()).unwrap();
    for action in ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:DeleteObjectVersion"] {
        for key in ["living/a-file", "recycled/a-file", "recycled/.file-recycler/environment.json"] {
            assert!(!policy.allows(action, &format!("arn:aws:s3:::{key}")), "{action} {key}");
        }
    }
    assert!(policy.allows("s3:GetObject", "arn:aws:s3:::living/.file-recycler/environment.json"));
    assert!(!policy.allows("s3:PutObject", "arn:aws:s3:::living/.file-recycler/environment.json"));
    assert!(!policy.allows("s3:PutLifecycleConfiguration", "arn:aws:s3:::living"));
}

/// What SeaweedFS does not ask for, by statement and action: its own reading of policies, not ours.
const NOT_ASKED_BY_SEAWEEDFS: &[&str] = &[];

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
        for output in everything(&environment(&world, &storage, "whole")).await {
            let days = output.expect(0).json()["days"].clone();
            assert!(days.is_null() || days == json!(90), "{days}");
        }
        let mut wrong = Vec::new();
        for (n, grant) in grants.iter().enumerate() {
            let said = everything(&environment(&world, &storage, &format!("user{n}"))).await;
            let name = format!("{} {}", grant.sid, grant.action);
            if is_named(&said, grant) == NOT_ASKED_BY_SEAWEEDFS.contains(&name.as_str()) {
                wrong.push(format!("{name}: {said:?}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    })
    .await;
}

//! `retention`: the recycle bucket's lifecycle rules, read, explained, and written without touching those of others.

use aws_sdk_s3::types::{
    BucketLifecycleConfiguration, ExpirationStatus, LifecycleExpiration, LifecycleRule, LifecycleRuleFilter,
    Tag, Transition, TransitionStorageClass,
};
use file_recycler::retention::{Kept, Scope, kept};
use file_recycler::storage::Side;
use serde_json::{Value, json};

use crate::support::process;
use crate::support::storage::TestStorage;
use crate::support::world::{S3, World, bare_world, world};

fn rule(id: &str, days: i32, filter: LifecycleRuleFilter) -> LifecycleRule {
    LifecycleRule::builder()
        .id(id)
        .status(ExpirationStatus::Enabled)
        .filter(filter)
        .expiration(LifecycleExpiration::builder().days(days).build())
        .build()
        .unwrap()
}

fn prefix(prefix: &str) -> LifecycleRuleFilter {
    LifecycleRuleFilter::builder().prefix(prefix).build()
}

async fn write(storage: &TestStorage, rules: Vec<LifecycleRule>) {
    let rules = BucketLifecycleConfiguration::builder().set_rules(Some(rules)).build().unwrap();
    let bucket = storage.bucket(Side::Recycle);
    let request = storage.client.put_bucket_lifecycle_configuration().bucket(bucket);
    request.lifecycle_configuration(rules).send().await.unwrap();
}

async fn read(storage: &TestStorage) -> Vec<LifecycleRule> {
    let request = storage.client.get_bucket_lifecycle_configuration().bucket(storage.bucket(Side::Recycle));
    request.send().await.map(|output| output.rules.unwrap_or_default()).unwrap_or_default()
}

async fn shown(world: &World, settings: &[(&str, &str)], code: i32) -> Value {
    process::run(&world.with(settings), &["retention", "show", "--json"]).await.expect(code).json()
}

#[tokio::test]
async fn the_rule_is_shown_set_and_shown_again() {
    for s3 in [S3::Embedded, S3::Foreign] {
        world(s3, async |world| {
            let nothing = shown(&world, &[], 0).await;
            assert_eq!(
                (&nothing["days"], &nothing["covers_backups"]),
                (&Value::Null, &Value::Null),
                "{nothing}"
            );
            assert!(nothing["meaning"].to_string().contains("grows without end"), "{nothing}");

            let planned = world.cli(&["retention", "set", "--days", "90", "--json"]).await.expect(0).json();
            assert_eq!(
                (&planned["applied"], read(&world.storage).await.len()),
                (&json!(false), 0),
                "{planned}"
            );
            let done =
                world.cli(&["retention", "set", "--days", "90", "--apply", "--json"]).await.expect(0).json();
            assert_eq!(done["applied"], true, "{done}");
            for (backups, covered, code) in [("90d", true, 0), ("91d", false, 1), ("90d1h", false, 1)] {
                let backups = if backups == "90d1h" { "2161h" } else { backups };
                let now = shown(&world, &[("RETENTION__DATABASE_BACKUPS", backups)], code).await;
                assert_eq!((&now["days"], &now["covers_backups"]), (&json!(90), &json!(covered)), "{now}");
            }
            let changes = "SELECT count(*) FROM file_recycler.trail WHERE action = 'retention set'";
            assert_eq!(world.crm.number(changes).await, 1, "who did it is kept");
        })
        .await;
    }
}

#[tokio::test]
async fn rules_of_others_go_back_as_they_came() {
    for storage in TestStorage::all().await {
        let theirs = vec![
            rule("logs", 400, prefix("logs/")),
            LifecycleRule::builder()
                .id("off")
                .status(ExpirationStatus::Disabled)
                .filter(prefix("x/"))
                .expiration(LifecycleExpiration::builder().days(500).build())
                .build()
                .unwrap(),
        ];
        write(&storage, theirs).await;
        let before = read(&storage).await;
        for days in [90, 120] {
            let rules = storage.storage.lifecycle().await.unwrap().with_ours(days).unwrap();
            storage.storage.put_lifecycle(&rules).await.unwrap();
            let after = read(&storage).await;
            let (ours, others): (Vec<_>, Vec<_>) =
                after.into_iter().partition(|rule| rule.id() == Some("file-recycler-retention"));
            assert_eq!(others, before, "{}", storage.name);
            assert_eq!(ours.len(), 1, "{}: replaced, not added", storage.name);
            let terms = storage.storage.lifecycle().await.unwrap().terms();
            let kept = kept(&terms);
            assert!(matches!(kept, Kept::Days { days: found, .. } if found == u32::from(days)), "{kept:?}");
            let scope = terms.iter().find(|terms| terms.ours).map(|terms| terms.scope.clone());
            assert_eq!(scope, Some(Scope::Everything), "{}", storage.name);
        }
    }
}

#[tokio::test]
async fn what_rules_say_is_read_with_what_narrows_them() {
    let storage = &TestStorage::all().await[0];
    let tag = Tag::builder().key("a").value("b").build().unwrap();
    let mut archive = rule("archive", 365, prefix(""));
    let transition = Transition::builder().days(1).storage_class(TransitionStorageClass::Glacier).build();
    archive.transitions = Some(vec![transition]);
    write(storage, vec![rule("tagged", 3, LifecycleRuleFilter::builder().tag(tag).build()), archive]).await;
    let terms = storage.storage.lifecycle().await.unwrap().terms();
    assert_eq!(terms[0].scope, Scope::Some);
    assert_eq!(
        (&terms[1].scope, terms[1].classes.as_slice()),
        (&Scope::Everything, &["GLACIER".to_owned()][..])
    );
    assert_eq!(kept(&terms), Kept::Days { days: 3, rule: "tagged".into() });
}

#[tokio::test]
async fn too_few_days_a_sooner_rule_and_the_wrong_environment_are_refused() {
    bare_world(S3::Embedded, async |world| {
        let backups = [("RETENTION__DATABASE_BACKUPS", "90d")];
        let set = async |arguments: &[&str], code| {
            let line: Vec<&str> = ["retention", "set"].iter().chain(arguments).copied().collect();
            let output = process::run(&world.with(&backups), &line).await.expect(code);
            (output.stderr, read(&world.storage).await.len())
        };
        world.cli(&["listener", "install"]).await.expect(0);
        let (said, rules) = set(&["--days", "90", "--apply"], 1).await;
        assert!(said.contains("never adopted") && rules == 0, "{said}");
        world.cli(&["adopt", "--apply"]).await.expect(0);

        assert_eq!(set(&["--days", "0", "--force", "--apply"], 2).await.1, 0);
        let (said, rules) = set(&["--days", "89", "--apply"], 1).await;
        assert!(said.contains("fewer than the 90 of retention.database_backups") && rules == 0, "{said}");
        assert_eq!(set(&["--days", "89", "--force", "--apply"], 0).await.1, 1);

        write(&world.storage, vec![rule("theirs", 30, prefix(""))]).await;
        let (said, rules) = set(&["--days", "90", "--force", "--apply"], 1).await;
        assert!(
            said.contains("the rule 'theirs' removes files after 30 days already") && rules == 1,
            "{said}"
        );
        // Paused workers keep no operator from it.
        write(&world.storage, vec![rule("theirs", 365, prefix(""))]).await;
        world.cli(&["pause", "--why", "test"]).await.expect(0);
        assert_eq!(set(&["--days", "90", "--apply"], 0).await.1, 2);
    })
    .await;
}

#[tokio::test]
async fn what_the_bucket_holds_and_will_hold_is_told() {
    world(S3::Embedded, async |world| {
        world.cli(&["retention", "set", "--days", "10", "--apply"]).await.expect(0);
        let service = world.run().await;
        let (record, files) = world.record_with_files("Contact", "ContactFile", 3).await;
        world.crm.delete("Contact", record).await;
        for file in files {
            world.recycled(file).await;
        }
        world.quiet(&service).await;
        drop(service);
        // One of five days ago, and one that is gone.
        world
            .crm
            .sql(
                "UPDATE file_recycler.ledger SET recycled_at = recycled_at - interval '5 days'
                  WHERE file_id IN (SELECT file_id FROM file_recycler.ledger ORDER BY file_id LIMIT 1);
                 UPDATE file_recycler.ledger SET recycled_at = recycled_at - interval '20 days'
                  WHERE file_id IN (SELECT file_id FROM file_recycler.ledger ORDER BY file_id DESC LIMIT 1)",
            )
            .await;
        let forecast = shown(&world, &[], 0).await["forecast"].clone();
        assert_eq!((&forecast["files_now"], &forecast["bytes_now"]), (&json!(2), &json!(10)), "{forecast}");
        let per_day = forecast["bytes_per_day"].as_f64().unwrap();
        assert!((per_day - 15.0 / 20.0).abs() < 0.01, "three files of 5 bytes in 20 days: {forecast}");
        assert!(
            (forecast["bytes_at_plateau"].as_f64().unwrap() - per_day * 10.0).abs() < 0.001,
            "{forecast}"
        );
    })
    .await;
}

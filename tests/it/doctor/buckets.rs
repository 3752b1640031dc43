//! What can be wrong with the storage, its rights and its buckets' settings.

use aws_sdk_s3::types::{
    BucketLifecycleConfiguration, BucketVersioningStatus, DefaultRetention, ExpirationStatus,
    LifecycleExpiration, LifecycleRule, LifecycleRuleFilter, NoncurrentVersionExpiration,
    ObjectLockConfiguration, ObjectLockEnabled, ObjectLockRetentionMode, ObjectLockRule,
    ServerSideEncryption, ServerSideEncryptionByDefault, ServerSideEncryptionConfiguration,
    ServerSideEncryptionRule, Transition, TransitionStorageClass, VersioningConfiguration,
};
use file_recycler::storage::Side;
use recycler_test_s3::{Action, Operation, Rule, When};

use super::{Said, doctor, still};
use crate::support::process;
use crate::support::storage::TestStorage;
use crate::support::world::{S3, World};

async fn rules(storage: &TestStorage, side: Side, rule: LifecycleRule) {
    let rules = BucketLifecycleConfiguration::builder().rules(rule).build().unwrap();
    let request = storage.client.put_bucket_lifecycle_configuration().bucket(storage.bucket(side));
    request.lifecycle_configuration(rules).send().await.unwrap();
}

fn rule(days: i32) -> aws_sdk_s3::types::builders::LifecycleRuleBuilder {
    LifecycleRule::builder()
        .id("theirs")
        .status(ExpirationStatus::Enabled)
        .filter(LifecycleRuleFilter::builder().prefix("").build())
        .expiration(LifecycleExpiration::builder().days(days).build())
}

/// The settings by which a world uses another storage: its own is what it was adopted with.
fn elsewhere(storage: &TestStorage) -> Vec<(&'static str, String)> {
    let (access_key, secret_key) = storage.credentials();
    vec![
        ("STORAGE__SERVICE_URL", storage.endpoint().to_owned()),
        ("STORAGE__ACCESS_KEY", access_key),
        ("STORAGE__SECRET_KEY", secret_key),
        ("STORAGE__OBJECT_BUCKET_NAME", storage.object.clone()),
        ("STORAGE__RECYCLE_BUCKET_NAME", storage.recycle.clone()),
    ]
}

async fn doctor_of(world: &World, storage: &TestStorage) -> Said {
    let settings = elsewhere(storage);
    doctor(world, &settings.iter().map(|(key, value)| (*key, value.as_str())).collect::<Vec<_>>()).await
}

#[tokio::test]
async fn retention_is_red_until_it_is_known_to_cover_the_backups() {
    for s3 in [S3::Embedded, S3::Foreign] {
        still(s3, async |world| {
            let said = Said::of(&world.cli(&["doctor", "--json"]).await);
            said.only(&["retention"], &["processes"]);
            said.check("retention", "fail", "retention.database_backups is not set");
            let said = doctor(world, &[("RETENTION__DATABASE_BACKUPS", "91d")]).await;
            said.only(&["retention"], &["processes"]);
            let advice = said.check("retention", "fail", "a file stays 90 days from its last deletion");
            assert!(advice.contains("`file-recycler retention set --days 91 --apply`"), "{advice}");
            rules(&world.storage, Side::Recycle, rule(7).build().unwrap()).await;
            let said = doctor(world, &[]).await;
            said.check("retention", "fail", "(rule 'theirs'): shorter than the 90 days");
            let bucket = world.storage.bucket(Side::Recycle);
            world.storage.client.delete_bucket_lifecycle().bucket(bucket).send().await.unwrap();
            let said = doctor(world, &[]).await;
            said.only(&[], &["processes", "retention"]);
            said.check("retention", "warn", "grows without end");
        })
        .await;
    }
}

#[tokio::test]
async fn rules_that_move_files_to_an_archive_are_told() {
    still(S3::Embedded, async |world| {
        let to = |class: TransitionStorageClass| {
            rule(365).transitions(Transition::builder().days(1).storage_class(class).build()).build().unwrap()
        };
        rules(&world.storage, Side::Recycle, to(TransitionStorageClass::GlacierIr)).await;
        doctor(world, &[]).await.only(&[], &["processes"]);
        rules(&world.storage, Side::Recycle, to(TransitionStorageClass::DeepArchive)).await;
        let said = doctor(world, &[]).await;
        said.only(&[], &["archive-classes", "processes"]);
        said.check(
            "archive-classes",
            "warn",
            "the recycle bucket go to DEEP_ARCHIVE: to bring one back takes hours",
        );
        rules(&world.storage, Side::Object, to(TransitionStorageClass::Glacier)).await;
        let said = doctor(world, &[]).await;
        said.check("archive-classes", "warn", "living files in the object bucket go to GLACIER");
        rules(&world.storage, Side::Recycle, rule(365).build().unwrap()).await;
        let said = doctor(world, &[("STORAGE__RECYCLE_CLASS", "GLACIER")]).await;
        said.check("archive-classes", "warn", "files in the recycle bucket go to GLACIER");
    })
    .await;
}

async fn keep_versions(storage: &TestStorage, side: Side) {
    let versions = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    let request = storage.client.put_bucket_versioning().bucket(storage.bucket(side));
    request.versioning_configuration(versions).send().await.unwrap();
}

#[tokio::test]
async fn buckets_that_keep_versions_are_told_with_what_it_means() {
    still(S3::Embedded, async |world| {
        for storage in TestStorage::both().await {
            for side in [Side::Object, Side::Recycle] {
                keep_versions(&storage, side).await;
                let said = doctor_of(world, &storage).await;
                let part = format!("the {side} bucket keeps versions");
                let advice = said.check("versioning", "warn", &part);
                assert!(advice.contains("lifecycle rule for noncurrent versions"), "{advice}");
                said.check("versioning", "warn", "paid for for ever");
                said.check("storage-capabilities", said.result("storage-capabilities"), "the careful path");
            }
            for side in [Side::Object, Side::Recycle] {
                let noncurrent = NoncurrentVersionExpiration::builder().noncurrent_days(91).build();
                let with_versions = rule(365).noncurrent_version_expiration(noncurrent).build().unwrap();
                rules(&storage, side, with_versions).await;
            }
            let said = doctor_of(world, &storage).await;
            said.check("versioning", "ok", "goes after 91 days");
        }
        // Its answer has another name than Amazon's, and the client library takes none of it.
        let said = doctor_of(world, &TestStorage::moto().await).await;
        said.check("versioning", "warn", "not checked: GetBucketVersioning");
        said.check("retention", "warn", "no rule removes a file");
    })
    .await;
}

async fn lock(storage: &TestStorage, side: Side, days: Option<i32>) {
    let retention = days
        .map(|days| DefaultRetention::builder().mode(ObjectLockRetentionMode::Governance).days(days).build());
    let lock = ObjectLockConfiguration::builder()
        .object_lock_enabled(ObjectLockEnabled::Enabled)
        .set_rule(retention.map(|retention| ObjectLockRule::builder().default_retention(retention).build()))
        .build();
    let request = storage.client.put_object_lock_configuration().bucket(storage.bucket(side));
    request
        .object_lock_configuration(lock)
        .send()
        .await
        .unwrap_or_else(|error| panic!("{}: {error:?}", storage.name));
}

#[tokio::test]
async fn locks_on_either_bucket_are_told_with_what_they_hold_up() {
    still(S3::Embedded, async |world| {
        for storage in TestStorage::all().await {
            // Some servers set one on an empty bucket alone.
            for side in [Side::Object, Side::Recycle] {
                keep_versions(&storage, side).await;
            }
            lock(&storage, Side::Object, None).await;
            lock(&storage, Side::Recycle, Some(400)).await;
            rules(&storage, Side::Recycle, rule(365).build().unwrap()).await;
            let said = doctor_of(world, &storage).await;
            said.check("object-lock", "warn", "files under a retention or a legal hold cannot move");
            said.check(
                "object-lock",
                "warn",
                "locks every file for 400 days (GOVERNANCE), longer than its lifecycle rule",
            );
        }
    })
    .await;
}

#[tokio::test]
async fn a_bucket_that_encrypts_by_a_key_service_is_told() {
    still(S3::Embedded, async |world| {
        for storage in
            [TestStorage::embedded(recycler_test_s3::Options::default()).await, TestStorage::moto().await]
        {
            let default =
                ServerSideEncryptionByDefault::builder().sse_algorithm(ServerSideEncryption::AwsKms);
            let rule = ServerSideEncryptionRule::builder()
                .apply_server_side_encryption_by_default(default.build().unwrap())
                .build();
            let rules = ServerSideEncryptionConfiguration::builder().rules(rule).build().unwrap();
            let request = storage.client.put_bucket_encryption().bucket(&storage.recycle);
            request.server_side_encryption_configuration(rules).send().await.unwrap();
            let said = doctor_of(world, &storage).await;
            said.check("encryption", "warn", "encrypts by aws:kms: an ETag proves nothing");
        }
    })
    .await;
}

#[tokio::test]
async fn a_server_without_conditions_is_told_with_what_follows() {
    still(S3::Embedded, async |world| {
        let said = doctor_of(world, &TestStorage::moto().await).await;
        said.check(
            "storage-capabilities",
            "warn",
            "conditions are not honoured on a copy's source, a copy over nothing",
        );
        let advice =
            said.check("storage-capabilities", "warn", "the careful path: some 5 requests for a file");
        assert!(advice.contains("could be lost"), "{advice}");
    })
    .await;
}

#[tokio::test]
async fn a_bucket_or_a_key_that_is_not_there_is_told_once() {
    still(S3::Embedded, async |world| {
        for (key, told) in [
            ("STORAGE__RECYCLE_BUCKET_NAME", "in the recycle bucket: there is no such bucket"),
            ("STORAGE__ACCESS_KEY", "the credentials are not accepted"),
        ] {
            let said = doctor(world, &[(key, "nobody-has-this")]).await;
            assert_eq!(said.named("fail"), ["storage-connection"], "{key}");
            said.check("storage-connection", "fail", told);
            said.check("storage-rights", "warn", "not checked, since the storage cannot be used");
        }
        let output = process::run(&world.with(&[]), &["doctor", "--help"]).await.expect(0);
        assert!(output.stdout.contains("It changes nothing"), "{}", output.stdout);
    })
    .await;
}

/// One check that takes too long is that check's failure alone, and the others do not wait for it.
#[tokio::test]
async fn a_question_that_is_never_answered_fails_its_own_check_alone() {
    still(S3::Embedded, async |world| {
        let stall = Action::Stall { when: When::Before };
        world.storage.control().fault(Rule::new(Operation::GetBucketEncryption, stall));
        let said = doctor(world, &[]).await;
        said.only(&["encryption"], &["processes"]);
        said.check("encryption", "fail", "the storage did not answer within 20 s");
    })
    .await;
}

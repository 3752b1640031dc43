//! Who may not be erased: whatever is in use, on its way, protected, or of another environment.

use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{
    ObjectLockLegalHold, ObjectLockLegalHoldStatus, ObjectLockRetention, ObjectLockRetentionMode,
};
use file_recycler::storage::Side;
use serde_json::json;
use uuid::Uuid;

use super::{WHY, erase, fill, keep_versions, receipt, versions};
use crate::support::crm::{Crm, DATABASE_STORAGE};
use crate::support::process;
use crate::support::world::{S3, World, bare_world, world};

/// Refused, with this reason, and nothing is touched; by a dry run, too.
async fn is_refused(world: &World, file: Uuid, said: &str) {
    for more in [&[][..], &["--apply"]] {
        let refused = receipt(&erase(world, file, more).await.expect(1));
        assert_eq!(refused["result"], "refused", "{more:?}: {refused}");
        let message = refused["message"].as_str().unwrap();
        assert!(message.contains(said), "{said}: {message}");
    }
    let begun = format!("SELECT count(*) FROM file_recycler.erasure WHERE file_id = '{file}'");
    assert_eq!(world.crm.number(begun).await, 0);
}

#[tokio::test]
async fn case_51_a_living_file_is_refused_and_what_names_it_is_told() {
    world(S3::Embedded, async |world| {
        let (record, files) = world.record_with_files("Contact", "ContactFile", 2).await;
        is_refused(&world, files[0], &format!("row {} of public.ContactFile", files[0])).await;
        world.is_untouched(files[0]).await;

        let linked = Uuid::new_v4();
        world.upload(linked).await;
        world.crm.link("Contact", record, "ContactFile", linked).await;
        is_refused(&world, linked, &format!("of Contact {record}")).await;
        world.is_untouched(linked).await;

        let elsewhere = format!(
            r#"UPDATE "ContactFile" SET "SysFileStorageId" = '{DATABASE_STORAGE}' WHERE "Id" = '{}'"#,
            files[1]
        );
        world.crm.sql(elsewhere).await;
        is_refused(&world, files[1], "its content is not in this storage").await;
        world.is_untouched(files[1]).await;
    })
    .await;
}

/// Its row comes with the very transaction that notes the erasure: after the first check, before the second.
#[tokio::test]
async fn case_51_a_file_that_comes_alive_between_the_two_checks_is_not_erased() {
    for s3 in [S3::Embedded, S3::Foreign] {
        world(s3, async |world| {
            let (record, file) = (world.crm.record("Contact").await, Uuid::new_v4());
            world.upload(file).await;
            world
                .crm
                .sql(format!(
                    r#"CREATE FUNCTION file_recycler.comes_alive() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                         INSERT INTO public."FileLink" ("RecordSchemaName", "RecordId", "FileSchemaName", "FileRecordId")
                         VALUES ('Contact', '{record}', 'ContactFile', NEW.file_id::uuid);
                         RETURN NULL;
                       END $$;
                       CREATE TRIGGER comes_alive AFTER INSERT ON file_recycler.erasure
                         FOR EACH ROW EXECUTE FUNCTION file_recycler.comes_alive()"#
                ))
                .await;

            let refused = receipt(&erase(&world, file, &["--apply"]).await.expect(1));

            assert_eq!(refused["result"], "refused", "{refused}");
            assert!(refused["message"].as_str().unwrap().contains(&record.to_string()), "{refused}");
            assert_eq!(refused["versions"]["object"][0]["removed"], false, "{refused}");
            world.is_untouched(file).await;
            let noted = "SELECT count(*) FROM file_recycler.erasure WHERE outcome = 'refused'";
            assert_eq!(world.crm.number(noted).await, 1);
        })
        .await;
    }
}

#[tokio::test]
async fn what_waits_in_the_outbox_is_refused_until_it_has_moved() {
    world(S3::Embedded, async |world| {
        let (record, files) = world.record_with_files("Contact", "ContactFile", 1).await;
        world.crm.delete("Contact", record).await;
        is_refused(&world, files[0], "waits in the outbox").await;
        world.is_untouched(files[0]).await;

        let service = world.run().await;
        world.recycled(files[0]).await;
        world.quiet(&service).await;
        let done = receipt(&erase(&world, files[0], &["--apply"]).await.expect(0));
        assert_eq!(done["result"], "erased", "{done}");
        world.storage.holds(&files[0].to_string(), None, None).await;
    })
    .await;
}

/// A recycle bucket with Object Lock, in a world that is installed and adopted.
async fn locked(test: impl AsyncFnOnce(&World)) {
    bare_world(S3::Foreign, async |world| {
        let client = &world.storage.client;
        client.delete_bucket().bucket(&world.storage.recycle).send().await.unwrap();
        let create = client.create_bucket().bucket(&world.storage.recycle);
        create.object_lock_enabled_for_bucket(true).send().await.unwrap();
        world.cli(&["listener", "install"]).await.expect(0);
        world.cli(&["adopt", "--apply"]).await.expect(0);
        test(&world).await;
    })
    .await;
}

/// The version that a hold is on is not the latest: every one is looked at.
#[tokio::test]
async fn a_legal_hold_on_any_version_is_refused_until_it_is_taken_off() {
    locked(async |world| {
        let (file, storage) = (Uuid::new_v4(), &world.storage);
        let key = file.to_string();
        storage.put(Side::Recycle, &key, b"held").await;
        let put = storage.client.put_object_legal_hold().bucket(&storage.recycle).key(&key);
        let held = storage.client.head_object().bucket(&storage.recycle).key(&key).send().await.unwrap();
        let version = held.version_id.unwrap();
        let switched = |status| ObjectLockLegalHold::builder().status(status).build();
        let on = put.clone().version_id(&version).legal_hold(switched(ObjectLockLegalHoldStatus::On));
        on.send().await.unwrap();
        storage.put(Side::Recycle, &key, b"latest").await;

        is_refused(world, file, &format!("a legal hold is on version {version} in the recycle bucket")).await;
        assert_eq!(versions(storage, Side::Recycle, &key).await, (2, 0));

        let off = put.version_id(&version).legal_hold(switched(ObjectLockLegalHoldStatus::Off));
        off.send().await.unwrap();
        let done = receipt(&erase(world, file, &["--apply"]).await.expect(0));
        assert_eq!(done["result"], "erased", "{done}");
        assert_eq!(versions(storage, Side::Recycle, &key).await, (0, 0));
    })
    .await;
}

#[tokio::test]
async fn a_retention_is_refused_and_its_end_is_told() {
    locked(async |world| {
        let (file, storage) = (Uuid::new_v4(), &world.storage);
        let key = file.to_string();
        storage.put(Side::Recycle, &key, b"kept").await;
        let retention = ObjectLockRetention::builder()
            .mode(ObjectLockRetentionMode::Governance)
            .retain_until_date(DateTime::from_secs(4_102_444_800))
            .build();
        let put = storage.client.put_object_retention().bucket(&storage.recycle).key(&key);
        put.retention(retention).send().await.unwrap();

        is_refused(world, file, "in the recycle bucket until 2100-01-01T00:00:00Z").await;
        assert_eq!(versions(storage, Side::Recycle, &key).await, (1, 0));

        let head = storage.client.head_object().bucket(&storage.recycle).key(&key).send().await.unwrap();
        let remove = storage.client.delete_object().bucket(&storage.recycle).key(&key);
        let remove = remove.set_version_id(head.version_id).bypass_governance_retention(true);
        remove.send().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn case_36_a_copy_of_the_database_erases_nothing_in_the_originals_buckets() {
    world(S3::Embedded, async |world| {
        for side in [Side::Object, Side::Recycle] {
            keep_versions(&world.storage, side).await;
        }
        let file = Uuid::new_v4();
        fill(&world.storage, file).await;
        world.crm.pool.close().await;
        let copy = Crm::copy_of(&world.crm).await;
        let id = file.to_string();
        for more in [&[][..], &["--apply"]] {
            let line = [&["erase", "--file", &id, "--why", WHY], more].concat();
            let refused = process::run(&world.with(&[("DATABASE__URL", &copy.url)]), &line).await.expect(1);
            assert!(refused.stderr.contains("is it a copy?"), "{refused:?}");
        }
        assert_eq!(versions(&world.storage, Side::Object, &id).await, (2, 1));
        assert_eq!(versions(&world.storage, Side::Recycle, &id).await, (2, 0));
        copy.drop_database().await;
    })
    .await;
}

/// SeaweedFS reads `a//b` as `a/b`: another file's object.
#[tokio::test]
async fn a_key_that_the_server_reads_as_another_is_refused() {
    world(S3::Foreign, async |world| {
        let file = Uuid::new_v4();
        let living = format!("a/{file}");
        world.storage.put(Side::Recycle, &living, b"another's").await;
        let environment = world.with(&[("STORAGE__KEY_TEMPLATE", "a//{file_id}")]);
        let id = file.to_string();
        for more in [&[][..], &["--apply"]] {
            let line = [&["erase", "--file", &id, "--why", WHY, "--json"], more].concat();
            let refused = receipt(&process::run(&environment, &line).await.expect(1));
            assert_eq!(refused["result"], "refused", "{refused}");
            assert!(refused["message"].as_str().unwrap().contains("another file would go"), "{refused}");
        }
        assert_eq!(world.storage.get(Side::Recycle, &living).await.as_deref(), Some(&b"another's"[..]));
    })
    .await;
}

/// A pause stops workers and relays, not the operator.
#[tokio::test]
async fn while_paused_an_operator_may_erase() {
    world(S3::Embedded, async |world| {
        let file = Uuid::new_v4();
        world.storage.put(Side::Recycle, &file.to_string(), b"content").await;
        world.cli(&["pause", "--why", "test"]).await.expect(0);
        let done = receipt(&erase(&world, file, &["--apply"]).await.expect(0));
        assert_eq!(done["result"], json!("erased"));
    })
    .await;
}

//! Answers that are lost, objects that appear in between, questions that fail: each file's line is still true.

use file_recycler::storage::Side;
use recycler_test_s3::Operation;
use serde_json::json;
use uuid::Uuid;

use super::meanwhile::{DISTURBED, Held, start, start_in};
use super::{S3, in_row, migrate, row_is, same_as_row};
use crate::support::crm::{DATABASE_STORAGE, S3_STORAGE};
use crate::support::roles::Roles;
use crate::support::thief::Thief;
use crate::support::world::{World, bare_world, world};

/// The environment with the database behind somebody who steals answers.
async fn behind_a_thief(world: &World) -> (Thief, Vec<(String, String)>) {
    let url: url::Url = world.crm.url.parse().unwrap();
    let address = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
    let thief = Thief::before(&address).await;
    let endpoint: url::Url = thief.endpoint().parse().unwrap();
    let mut stolen = url.clone();
    stolen.set_host(endpoint.host_str()).unwrap();
    stolen.set_port(endpoint.port()).unwrap();
    (thief, world.with(&[("DATABASE__URL", stolen.as_str())]))
}

/// Both ways, with requests of each that come before the switch.
const WAYS: [(&[&str], Operation, &str); 2] = [
    (&["--to", "storage", "--apply"], Operation::PutObject, S3_STORAGE),
    (&["--to", "database", "--apply"], Operation::GetObject, DATABASE_STORAGE),
];

/// A run this way, of which the answer to a commit is lost, and which knows of so many files that they are done.
async fn loses_an_answer(
    (world, environment, thief): (&World, &[(String, String)], &Thief),
    (way, before): (&[&str], Operation),
    file: Uuid,
    done: serde_json::Value,
) {
    // A file in S3 is looked at before anything, to see that the key template is right.
    let held = Held::after(world, before, file, u64::from(before == Operation::HeadObject));
    let run = start_in(environment, way);
    held.is_reached().await;
    thief.steal(|asked| asked.contains("commit") && !asked.contains("synchronous_commit"));
    held.release();
    let said = run.ended(0).await;
    assert!(thief.has_stolen(), "{way:?}");
    assert_eq!(said.counts(), done, "{way:?}: {:?}", said.files);
}

#[tokio::test]
async fn a_switch_whose_answer_is_lost_is_known_to_be_done() {
    world(S3::Embedded, async |world| {
        let (thief, environment) = behind_a_thief(&world).await;
        let [file, other] = [in_row(&world, b"content").await, in_row(&world, b"other").await];
        for (way, before, storage) in WAYS {
            loses_an_answer((&world, &environment, &thief), (way, before), file, json!({ "migrated": 2 }))
                .await;
            row_is(&world, file, storage, Some(b"content")).await;
            row_is(&world, other, storage, Some(b"other")).await;
        }
    })
    .await;
}

#[tokio::test]
async fn so_is_that_of_a_large_one() {
    world(S3::Embedded, async |world| {
        let (thief, environment) = behind_a_thief(&world).await;
        let file = super::large(&world, 200_000).await;
        for (way, before, storage) in WAYS {
            loses_an_answer((&world, &environment, &thief), (way, before), file, json!({ "migrated": 1 })).await;
            let switched = format!(
                r#"SELECT count(*) FROM "ContactFile" WHERE "Id" = '{file}' AND "SysFileStorageId" = '{storage}'"#
            );
            assert_eq!(world.crm.number(&switched).await, 1, "{way:?}");
            same_as_row(&world, file).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_content_whose_clearing_is_done_and_not_answered_is_told_as_cleared() {
    world(S3::Embedded, async |world| {
        let (thief, environment) = behind_a_thief(&world).await;
        let file = in_row(&world, b"content").await;
        migrate(&world, &["--to", "storage", "--apply"], 0).await;
        let reclaim: [&str; 2] = ["--reclaim", "--apply"];
        let told = json!({ "reclaimed": 1 });
        loses_an_answer((&world, &environment, &thief), (&reclaim, Operation::HeadObject), file, told).await;
        row_is(&world, file, S3_STORAGE, None).await;
        assert_eq!(migrate(&world, &reclaim, 0).await.counts(), json!({}));
    })
    .await;
}

#[tokio::test]
async fn an_object_that_appears_while_parts_are_written_is_not_overwritten() {
    for s3 in DISTURBED {
        for point in [Operation::UploadPart, Operation::CompleteMultipartUpload] {
            world(s3, async |world| {
                let file = super::large(&world, 600_000).await;
                let held = Held::at(&world, point, file);
                let run = start(&world, &["--to", "storage", "--apply"]);
                held.is_reached().await;
                world.storage.put_undisturbed(Side::Object, &file.to_string(), b"the CRM's").await;
                held.release();
                let said = run.ended(1).await;
                assert_eq!(said.counts(), json!({ "differs": 1 }), "{s3:?} {point:?}: {:?}", said.files);
                world.storage.holds(&file.to_string(), Some(b"the CRM's"), None).await;
                let client = &world.storage.client;
                let uploads =
                    client.list_multipart_uploads().bucket(&world.storage.object).send().await.unwrap();
                assert!(uploads.uploads().is_empty(), "{s3:?} {point:?}: {uploads:?}");
                let notes = world.storage.keys(Side::Recycle).await;
                assert!(!notes.iter().any(|key| key.contains("uploads")), "{notes:?}");
            })
            .await;
        }
    }
}

/// What became of a row cannot be asked; its line says so, and what was done before it is told, too.
#[tokio::test]
async fn a_file_whose_end_cannot_be_asked_has_its_line_and_so_have_the_others() {
    bare_world(S3::Embedded, async |world| {
        let roles = Roles::create(&world.crm.url).await;
        world.cli(&["listener", "install"]).await.expect(0);
        world.cli(&["adopt", "--apply"]).await.expect(0);
        roles.allow_run(&[]).await;
        roles.allow_migrate().await;
        let environment = world.with(&[("DATABASE__URL", &roles.url_as(&roles.run))]);
        let [edited, other] = [in_row(&world, b"content").await, in_row(&world, b"other").await];
        let held = Held::at(&world, Operation::PutObject, edited);
        let run = start_in(&environment, &["--to", "storage", "--apply"]);
        held.is_reached().await;
        world.crm.sql(format!(r#"UPDATE "ContactFile" SET "Notes" = 'x' WHERE "Id" = '{edited}'"#)).await;
        // Switching does not read it, asking does.
        roles
            .sql(&format!(r#"REVOKE SELECT ("SysFileStorageId") ON "ContactFile" FROM {}"#, roles.run))
            .await;
        held.release();
        let said = run.ended(1).await;
        assert_eq!(said.counts(), json!({ "failed": 1, "migrated": 1 }), "{:?}", said.files);
        assert_eq!(said.file(other)["result"], "migrated");
        assert!(said.file(edited)["why"].as_str().unwrap().contains("permission denied"), "{:?}", said.files);
        assert!(said.summary["stopped"].is_string(), "{}", said.summary);
        row_is(&world, other, S3_STORAGE, Some(b"other")).await;
        row_is(&world, edited, DATABASE_STORAGE, Some(b"content")).await;
        roles.allow_run(&[]).await;
        let said = migrate(&world, &["--to", "storage", "--apply"], 0).await;
        assert_eq!(said.counts(), json!({ "already_there": 1 }), "{:?}", said.files);
        drop(roles);
    })
    .await;
}

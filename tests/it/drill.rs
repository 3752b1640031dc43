//! The disaster drill: a backup, a day of work, the database set back to the backup, and the files brought back.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use file_recycler::storage::Side;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use crate::audit::counts;
use crate::support::crm::Crm;
use crate::support::process::{Service, eventually, eventually_within};
use crate::support::tools::Dump;
use crate::support::world::{S3, World, world};

/// Of a day's work on so many files.
struct Day {
    /// The files that the backup names.
    files: Vec<String>,
    /// Deleted since.
    deleted: usize,
    /// Replaced since under the same key: the first ones by content of the same size.
    replaced: usize,
    /// Uploaded since.
    uploaded: Vec<Uuid>,
    backup_time: String,
}

/// Content of the same size as the file's first.
fn other(id: &str) -> String {
    id.to_uppercase().replace('-', "+")
}

async fn put_many(world: &World, contents: Vec<(String, String)>) {
    let puts = contents.into_iter().map(async |(key, content)| {
        world.storage.put(Side::Object, &key, content.as_bytes()).await;
    });
    let mut puts = puts.collect::<futures_util::stream::FuturesUnordered<_>>();
    while futures_util::StreamExt::next(&mut puts).await.is_some() {}
}

async fn keep_versions(world: &World) {
    for side in [Side::Object, Side::Recycle] {
        let enabled = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
        let request = world.storage.client.put_bucket_versioning().bucket(world.storage.bucket(side));
        request.versioning_configuration(enabled).send().await.unwrap();
    }
}

/// Storages tell whole seconds: what comes now is written later than the backup by their clock, too.
async fn the_next_second(backup_time: OffsetDateTime) {
    while OffsetDateTime::now_utc().unix_timestamp() <= backup_time.unix_timestamp() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Files, a backup, and what goes on after it.
async fn a_day(world: &World, count: usize, dump: &mut Option<Dump>) -> Day {
    let files = world.many(count).await;
    let service = world.run().await;
    *dump = Some(Dump::of(&world.crm.url, &[]).await);
    let backup_time = OffsetDateTime::now_utc();
    the_next_second(backup_time).await;
    let (deleted, replaced) = (count * 3 / 10, count / 100);
    let list = |ids: &[String]| ids.iter().map(|id| format!("'{id}'")).collect::<Vec<_>>().join(",");
    world
        .crm
        .sql(format!(
            r#"DELETE FROM "Contact" WHERE "Id" IN (SELECT "ContactId" FROM "ContactFile" WHERE "Id" IN ({}))"#,
            list(&files[..deleted])
        ))
        .await;
    let new = files[deleted..deleted + replaced].iter().enumerate();
    put_many(
        world,
        new.map(|(at, id)| (id.clone(), if at % 2 == 0 { other(id) } else { "new".into() })).collect(),
    )
    .await;
    let (_, uploaded) = world.record_with_files("Account", "AccountFile", 20).await;
    eventually_within(Duration::from_mins(2), "what was deleted has moved", async || {
        let moved =
            world.crm.number("SELECT count(*) FROM file_recycler.ledger WHERE outcome = 'moved'").await;
        (moved == i64::try_from(deleted).unwrap()).then_some(())
    })
    .await;
    world.quiet(&service).await;
    drop(service);
    Day { files, deleted, replaced, uploaded, backup_time: backup_time.format(&Rfc3339).unwrap() }
}

/// Drops the database and restores the backup in its place, by the same name.
pub async fn set_back(world: &World, dump: &Dump) -> Crm {
    world.crm.pool.close().await;
    let name = &world.crm.name;
    world.crm.sql_from_outside(format!("DROP DATABASE {name} WITH (FORCE)")).await;
    world.crm.sql_from_outside(format!("CREATE DATABASE {name}")).await;
    let said = dump.restore(&world.crm.url, &[]).await;
    assert!(said.success, "{said:?}");
    Crm::of(&world.crm.url.parse().unwrap(), name).await
}

fn of(counts: &[(&str, usize)]) -> BTreeMap<String, u64> {
    counts.iter().map(|(name, count)| ((*name).to_owned(), *count as u64)).collect()
}

async fn drill(world: &World, count: usize, versioned: bool) {
    if versioned {
        keep_versions(world).await;
    }
    let mut dump = None;
    let day = a_day(world, count, &mut dump).await;
    let back = set_back(world, &dump.unwrap()).await;
    let service = Service::start(&world.environment, &["run"]).await.expect_log("not well");
    service.guard_says("is it a copy?").await;

    let line = ["restore", "--to-match-database", "--backup-time", &day.backup_time, "--json"];
    let apply = [&line[..], &["--apply"]].concat();
    let refused = world.cli(&apply).await.expect(1);
    assert!(refused.stderr.contains("nothing is changed"), "{refused:?}");
    world.cli(&["adopt", "--for", "restore", "--apply"]).await.expect(0);
    service.guard_says("for restore alone").await;

    let (gone, replaced) = (day.deleted, day.replaced);
    let present = count - gone - replaced;
    let (expected, code) = if versioned {
        (of(&[("restored", gone + replaced), ("present", present)]), 0)
    } else {
        (of(&[("restored", gone), ("present", present), ("differs", replaced)]), 1)
    };
    let before = world.storage.control().keys(&world.storage.object);
    let planned = world.cli(&line).await.expect(code).json();
    assert_eq!((&planned["applied"], counts(&planned)), (&json!(false), expected.clone()), "{planned}");
    assert_eq!(world.storage.control().keys(&world.storage.object), before, "a dry run changes nothing");
    let done = world.cli(&apply).await.expect(code).json();
    assert_eq!((&done["applied"], counts(&done)), (&json!(true), expected), "{done}");

    let content = |key: &str| world.storage.control().get(&world.storage.object, key);
    for (at, id) in day.files.iter().enumerate() {
        let is_replaced = (gone..gone + replaced).contains(&at);
        let expected = match is_replaced && !versioned {
            false => id.clone(),
            true if (at - gone) % 2 == 0 => other(id),
            true => "new".to_owned(),
        };
        assert_eq!(content(id), Some(expected.into_bytes()), "file {at}");
    }
    for id in &day.uploaded {
        assert_eq!(content(&id.to_string()), Some(id.to_string().into_bytes()), "what came later is there");
    }
    if versioned {
        let replaced = &day.files[gone];
        let request =
            world.storage.client.list_object_versions().bucket(&world.storage.object).prefix(replaced);
        let versions = request.send().await.unwrap();
        assert!(versions.versions().len() >= 3, "nothing was overwritten: {versions:?}");
    }
    // Again, as after an interruption: what is there is present.
    let again = world.cli(&apply).await.expect(code).json();
    let still = if versioned {
        of(&[("present", count)])
    } else {
        of(&[("present", count - replaced), ("differs", replaced)])
    };
    assert_eq!(counts(&again), still, "{again}");

    let audit = world.cli(&["audit", "--json"]).await.expect(0).json();
    assert_eq!(audit["complete"], true, "{audit}");
    let found = counts(&audit);
    let of_class = |class: &str| found.get(class).copied().unwrap_or_default();
    assert_eq!((of_class("ok"), of_class("lost"), of_class("restorable")), (count as u64, 0, 0), "{audit}");
    assert_eq!(of_class("young"), day.uploaded.len() as u64, "what came later has no row any more: {audit}");

    world.cli(&["adopt", "--apply"]).await.expect(0);
    let service = service.ready().await;
    let record = Uuid::new_v4();
    back.sql(format!(r#"INSERT INTO "Contact" ("Id") VALUES ('{record}')"#)).await;
    let file = back.hard_file("ContactFile", "Contact", record).await;
    world.upload(file).await;
    back.delete("Contact", record).await;
    world.recycled(file).await;
    eventually("it is noted", async || {
        let noted = format!("SELECT count(*) FROM file_recycler.ledger WHERE file_id = '{file}'");
        (back.number(noted).await == 1).then_some(())
    })
    .await;
    drop(service);
    back.pool.close().await;
}

#[tokio::test]
async fn ten_thousand_files_come_back_and_nothing_newer_is_overwritten() {
    world(S3::Embedded, async |world| drill(&world, 10_000, false).await).await;
}

#[tokio::test]
async fn where_the_buckets_keep_versions_replaced_files_come_back_too() {
    world(S3::Embedded, async |world| drill(&world, 1_000, true).await).await;
}

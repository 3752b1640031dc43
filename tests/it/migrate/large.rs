//! Large contents, in little memory.

use serde_json::json;

use file_recycler::storage::Side;
use uuid::Uuid;

use super::{S3, large, migrate, same_as_row};
use crate::support::crm::{DATABASE_STORAGE, S3_STORAGE};
use crate::support::world::{World, world};

#[tokio::test]
async fn a_content_that_compresses_is_moved_as_it_is() {
    world(S3::Foreign, async |world| {
        let file = large(&world, 1).await;
        let sql = format!(
            r#"UPDATE "ContactFile" SET "Data" = convert_to(repeat('compresses well ', 1200000), 'UTF8'), "Size" = 19200000
                WHERE "Id" = '{file}'"#
        );
        world.crm.sql(sql).await;
        let planned = migrate(&world, &["--to", "storage"], 0).await;
        assert_eq!(planned.summary["bytes"]["would_migrate"], 19_200_000);
        let shrinks = planned.summary["shrink"]["bytes"].as_u64().unwrap();
        assert!(shrinks < 2_000_000, "it takes less in the table: {shrinks}");
        let said = migrate(&world, &["--to", "storage", "--apply"], 0).await;
        assert_eq!(said.counts(), json!({ "migrated": 1 }), "{:?}", said.files);
        same_as_row(&world, file).await;
        assert_eq!(migrate(&world, &["--reclaim", "--apply"], 0).await.counts(), json!({ "reclaimed": 1 }));
        assert_eq!(migrate(&world, &["--to", "database", "--apply"], 0).await.counts(), json!({ "migrated": 1 }));
        same_as_row(&world, file).await;
    })
    .await;
}

/// Pieces of 16,000,000 bytes.
#[cfg(feature = "failpoints")]
const PIECES: u64 = 10;

/// Less than the content alone, in KiB; a debug build takes half of it for itself.
#[cfg(feature = "failpoints")]
const MOST_KIB: u64 = 128 * 1024;

/// The most memory that a run takes until it is at this point, where it is kept until it is known.
#[cfg(feature = "failpoints")]
async fn peak(world: &World, point: &str, arguments: &[&str], reached: &str) -> u64 {
    let mut environment = world.environment.clone();
    environment.push(("FAILPOINTS".to_owned(), format!("{point}=pause")));
    let line = [&super::line(arguments)[..], &["--wal", "0"]].concat();
    let mut command = crate::support::process::command(&environment, &line);
    let mut child =
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id().unwrap());
    let patience = crate::support::process::PATIENCE * 8;
    crate::support::process::eventually_within(patience, "the content is where it was to go", async || {
        let is_reached = world.crm.number(reached).await == 1;
        is_reached.then_some(())
    })
    .await;
    let status = std::fs::read_to_string(status).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    child.kill().await.unwrap();
    super::are_gone(world).await;
    peak.trim().trim_end_matches(" kB").parse().unwrap()
}

#[cfg(feature = "failpoints")]
#[tokio::test]
async fn memory_does_not_grow_with_a_content() {
    world(S3::Embedded, async |world| {
        let file = large(&world, 1_000_000).await;
        let whole = format!(
            r#"UPDATE "ContactFile" SET "Size" = {PIECES} * 16000000, "Data" =
                 (SELECT string_agg("Data", ''::bytea) FROM "ContactFile", generate_series(1, {PIECES}) WHERE "Id" = '{file}')
                WHERE "Id" = '{file}'"#
        );
        world.crm.sql(whole).await;
        let says = |storage: &str| {
            format!(
                r#"SELECT count(*) FROM "ContactFile" WHERE "Id" = '{file}' AND "SysFileStorageId" = '{storage}'"#
            )
        };
        let to_storage = ["--to", "storage", "--apply"];
        let taken = peak(&world, "migrate::row_switched", &to_storage, &says(S3_STORAGE)).await;
        assert!(taken < MOST_KIB, "to the storage: {taken} KiB");
        assert_eq!(migrate(&world, &["--reclaim", "--apply"], 0).await.counts(), json!({ "reclaimed": 1 }));
        let to_database = ["--to", "database", "--apply"];
        let taken = peak(&world, "migrate::content_in_row", &to_database, &says(DATABASE_STORAGE)).await;
        assert!(taken < MOST_KIB, "to the database: {taken} KiB");
        let object: Uuid = file;
        let size = world.storage.control().get(&world.storage.object, &object.to_string()).map(|content| content.len());
        assert_eq!(size.map(|size| size as u64), Some(PIECES * 16_000_000));
        assert_eq!(world.object(Side::Recycle, file).await, None);
    })
    .await;
}

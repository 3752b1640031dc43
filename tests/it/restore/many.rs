//! Many files: by the time of their deletion, page by page.

use file_recycler::storage::Side;
use serde_json::json;
use uuid::Uuid;

use super::{counts, is_back, put, remembered, restore, row};
use crate::support::world::{S3, world};

#[tokio::test]
async fn thousands_that_were_deleted_since_come_back_each_once() {
    const FILES: usize = 2_500;
    world(S3::Embedded, async |world| {
        let ids = world.many(FILES).await;
        // Deleted in a few statements, so that a page ends among files of one moment; some of them twice.
        let bucket = &world.storage.recycle;
        world
            .crm
            .sql(format!(
                r#"INSERT INTO file_recycler.ledger (file_id, key, recycle_bucket, event_id, outcome, deleted_at)
                   SELECT "Id"::text, "Id"::text, '{bucket}', 'e', 'moved',
                          date_trunc('minute', clock_timestamp()) - (row_number() OVER () % 3) * interval '1 minute'
                     FROM "ContactFile";
                   INSERT INTO file_recycler.ledger (file_id, key, recycle_bucket, event_id, outcome, deleted_at)
                   SELECT file_id, key, recycle_bucket, 'again', outcome, deleted_at - interval '1 hour'
                     FROM file_recycler.ledger ORDER BY file_id LIMIT 500;
                   INSERT INTO file_recycler.ledger (file_id, key, recycle_bucket, event_id, outcome)
                   SELECT file_id, key, recycle_bucket, 'undated', outcome
                     FROM file_recycler.ledger WHERE event_id = 'e' ORDER BY file_id DESC LIMIT 300"#
            ))
            .await;
        for id in &ids {
            world.storage.control().put(&world.storage.recycle, id, id.clone());
            world.storage.delete(Side::Object, id).await;
        }
        let path = super::temporary("many.jsonl");
        let line = ["--deleted-since", "2h", "--apply", "--report", path.to_str().unwrap()];
        let done = restore(&world, &line, 0).await;
        assert_eq!(counts(&done), json!({ "restored": FILES }), "{done}");
        let mut told: Vec<String> =
            super::report(&path).iter().map(|line| line["file_id"].as_str().unwrap().to_owned()).collect();
        told.sort();
        told.dedup();
        assert_eq!(told.len(), FILES, "each once");
        let mut back = world.storage.control().keys(&world.storage.object);
        back.retain(|key| Uuid::try_parse(key).is_ok());
        assert_eq!(back.len(), FILES);
        std::fs::remove_file(path).unwrap();
    })
    .await;
}

#[tokio::test]
async fn only_what_was_deleted_since_is_meant() {
    world(S3::Embedded, async |world| {
        let [old, new] = [row(&world).await, row(&world).await];
        for file in [old, new] {
            put(&world, Side::Recycle, file).await;
            remembered(&world, file).await;
        }
        world
            .crm
            .sql(format!(
                "UPDATE file_recycler.ledger SET deleted_at = deleted_at - interval '2 hours' WHERE file_id = '{old}'"
            ))
            .await;
        let done = restore(&world, &["--deleted-since", "1h", "--apply"], 0).await;
        assert_eq!(counts(&done), json!({ "restored": 1 }), "{done}");
        is_back(&world, new).await;
        assert_eq!(world.object(Side::Object, old).await, None);
    })
    .await;
}

#[tokio::test]
async fn the_files_of_a_record_are_those_of_its_rows_and_those_that_went_with_it() {
    world(S3::Embedded, async |world| {
        let (record, mut files) = world.record_with_files("Contact", "ContactFile", 1).await;
        let weak = world.crm.weak_file("SysFile", "Contact", record).await;
        world.upload(weak).await;
        files.push(weak);
        let (_, others) = world.record_with_files("Contact", "ContactFile", 1).await;
        world.crm.sql(r#"UPDATE "ContactFile" SET "Size" = 36; UPDATE "SysFile" SET "Size" = 36"#).await;
        for file in files.iter().chain(&others) {
            put(&world, Side::Recycle, *file).await;
            world.storage.delete(Side::Object, &file.to_string()).await;
        }
        let done = restore(&world, &["--record", &format!("Contact:{record}"), "--apply"], 0).await;
        assert_eq!(counts(&done), json!({ "restored": 2 }), "{done}");
        for file in files {
            is_back(&world, file).await;
        }
        assert_eq!(world.object(Side::Object, others[0]).await, None);
        let unknown = restore(&world, &["--record", &format!("Account:{record}")], 0).await;
        assert_eq!(counts(&unknown), json!({}), "{unknown}");
    })
    .await;
}

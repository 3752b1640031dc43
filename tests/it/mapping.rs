//! Any other application, by its mapping: which objects move, and which stay. Liveness is by key.

use serde_json::{Value, json};

use crate::support::mapped::{bare_mapped, example, mapped};
use crate::support::process::{Service, eventually};

#[tokio::test]
async fn a_deleted_records_objects_move_with_a_foreign_key_and_without() {
    mapped(async |mapped| {
        let service = mapped.run().await;
        mapped.attachment(1, 7, "ab/one").await;
        mapped.attachment(2, 7, "ab/two").await;
        mapped.put("scans/p1").await;
        mapped
            .sql(
                "INSERT INTO document VALUES ('D-1'); INSERT INTO page_scan VALUES ('D-1/1', 'D-1', 'p1', 8);
                 DELETE FROM document WHERE code = 'D-1'; DELETE FROM res_partner WHERE id = 7",
            )
            .await;
        for key in ["ab/one", "ab/two", "scans/p1"] {
            mapped.recycled(key).await;
        }
        mapped.quiet(&service).await;
        let crm = &mapped.world.crm;
        assert_eq!(crm.number("SELECT count(*) FROM attachment").await, 0);
        let images =
            "SELECT count(*) FROM file_recycler.image WHERE table_name = 'attachment' AND record_id = '7'";
        assert_eq!(crm.number(images).await, 2);
        let noted = "SELECT count(*) FROM file_recycler.ledger WHERE outcome = 'moved' AND key = 'scans/p1'
                        AND file_id = 'D-1/1' AND record_schema = 'document' AND record_id = 'D-1'";
        assert_eq!(crm.number(noted).await, 1);
    })
    .await;
}

#[tokio::test]
async fn a_shared_object_stays_until_its_last_row_is_gone() {
    mapped(async |mapped| {
        let service = mapped.run().await;
        mapped.attachment(1, 7, "ab/shared").await;
        mapped.attachment(2, 8, "ab/shared").await;
        mapped.sql("DELETE FROM res_partner WHERE id = 7").await;
        mapped.counted(&service, "alive", 1).await;
        mapped.quiet(&service).await;
        mapped.is_untouched("ab/shared").await;
        mapped.sql("DELETE FROM attachment WHERE id = 2").await;
        mapped.recycled("ab/shared").await;
    })
    .await;
}

#[tokio::test]
async fn rows_of_one_object_that_go_together_count_it_once() {
    mapped(async |mapped| {
        let service = mapped.run().await;
        mapped.attachment(1, 7, "ab/shared").await;
        mapped.attachment(2, 7, "ab/shared").await;
        mapped.sql("DELETE FROM attachment").await;
        mapped.recycled("ab/shared").await;
        mapped.counted(&service, "already_moved", 1).await;
        mapped.counted(&service, "moved", 1).await;
        mapped.quiet(&service).await;
        assert_eq!(service.metric(r#"file_recycler_files_total{outcome="moved"}"#).await, 1);
    })
    .await;
}

/// Attachment 42 and voice note 42 are two files.
#[tokio::test]
async fn case_55_ids_of_two_tables_collide_and_each_file_lives_by_its_key() {
    mapped(async |mapped| {
        let service = mapped.run().await;
        mapped.attachment(42, 7, "ab/forty-two").await;
        mapped.put("42").await;
        mapped.sql("INSERT INTO voice_note VALUES (42, 7)").await;
        mapped.sql("DELETE FROM voice_note").await;
        mapped.recycled("42").await;
        mapped.quiet(&service).await;
        mapped.is_untouched("ab/forty-two").await;

        mapped.put("43").await;
        mapped.attachment(43, 7, "ab/forty-three").await;
        mapped.sql("INSERT INTO voice_note VALUES (43, 7); DELETE FROM attachment WHERE id = 43").await;
        mapped.recycled("ab/forty-three").await;
        mapped.quiet(&service).await;
        mapped.is_untouched("43").await;

        // Both at once, by one event: the ledger has each of them.
        mapped.sql("BEGIN; DELETE FROM attachment; DELETE FROM voice_note; COMMIT").await;
        mapped.recycled("ab/forty-two").await;
        mapped.recycled("43").await;
        mapped.quiet(&service).await;
        let ids = "SELECT count(*) FROM file_recycler.ledger WHERE outcome = 'moved'";
        assert_eq!(mapped.world.crm.number(ids).await, 4);
    })
    .await;
}

#[tokio::test]
async fn case_55_two_files_with_one_id_in_one_event_are_both_in_the_ledger() {
    mapped(async |mapped| {
        let service = mapped.run().await;
        mapped.attachment(42, 7, "ab/forty-two").await;
        mapped.put("42").await;
        mapped.sql("INSERT INTO voice_note VALUES (42, 7)").await;
        mapped.sql("BEGIN; DELETE FROM attachment; DELETE FROM voice_note; COMMIT").await;
        mapped.recycled("ab/forty-two").await;
        mapped.recycled("42").await;
        mapped.quiet(&service).await;
        let noted =
            "SELECT count(DISTINCT key) FROM file_recycler.ledger WHERE file_id = '42' AND outcome = 'moved'";
        assert_eq!(mapped.world.crm.number(noted).await, 2);
        let events = "SELECT count(DISTINCT event_id) FROM file_recycler.ledger";
        assert_eq!(mapped.world.crm.number(events).await, 1);
    })
    .await;
}

#[tokio::test]
async fn rows_without_an_object_and_rolled_back_deletions_are_no_events() {
    mapped(async |mapped| {
        let service = mapped.run().await;
        mapped.attachment(1, 7, "ab/url").await;
        mapped.attachment(2, 7, "ab/rolled-back").await;
        mapped.attachment(3, 7, "ab/gone").await;
        mapped
            .sql(
                "UPDATE attachment SET kind = 'url' WHERE id = 1;
                 INSERT INTO attachment (id, store_name) VALUES (4, NULL), (5, '')",
            )
            .await;
        mapped.counted(&service, "elsewhere", 1).await;
        mapped.quiet(&service).await;
        mapped
            .sql(
                "BEGIN; DELETE FROM attachment WHERE id = 2; ROLLBACK;
                 DELETE FROM attachment WHERE id IN (1, 3, 4, 5)",
            )
            .await;
        mapped.recycled("ab/gone").await;
        mapped.quiet(&service).await;
        // The row that named it was no file any more when it went.
        mapped.is_untouched("ab/url").await;
        mapped.is_untouched("ab/rolled-back").await;
        assert_eq!(mapped.world.crm.number("SELECT count(*) FROM file_recycler.ledger").await, 1);
    })
    .await;
}

#[tokio::test]
async fn a_row_that_names_another_object_lets_the_old_one_go() {
    mapped(async |mapped| {
        let service = mapped.run().await;
        for (id, key) in [(1, "ab/old"), (2, "ab/kept"), (3, "ab/kept"), (4, "ab/swap"), (5, "ab/pws")] {
            mapped.attachment(id, 7, key).await;
        }
        mapped.put("ab/new").await;
        mapped
            .sql(
                "UPDATE attachment SET store_name = 'ab/new' WHERE id IN (1, 2);
                 UPDATE attachment SET store_name = CASE id WHEN 4 THEN 'ab/pws' ELSE 'ab/swap' END WHERE id IN (4, 5);
                 UPDATE attachment SET name = 'x', id = id + 100",
            )
            .await;
        mapped.recycled("ab/old").await;
        mapped.counted(&service, "alive", 1).await;
        mapped.quiet(&service).await;
        for key in ["ab/kept", "ab/new", "ab/swap", "ab/pws"] {
            mapped.is_untouched(key).await;
        }
        assert_eq!(service.metric(r#"file_recycler_files_total{outcome="alive"}"#).await, 1, "of ab/kept");
    })
    .await;
}

#[tokio::test]
async fn a_truncated_table_is_captured_with_its_keys() {
    mapped(async |mapped| {
        let service = mapped.run().await;
        mapped.attachment(1, 7, "ab/one").await;
        mapped.attachment(2, 7, "ab/two").await;
        mapped.sql("TRUNCATE attachment").await;
        mapped.recycled("ab/one").await;
        mapped.recycled("ab/two").await;
        mapped.quiet(&service).await;
    })
    .await;
}

/// A file that an outside event names by its key.
fn event(file: &str, schema: Option<&str>, key: Option<&str>) -> Value {
    let mut named = json!({ "file_id": file });
    if let Some(schema) = schema {
        named["schema"] = json!(schema);
    }
    if let Some(key) = key {
        named["key"] = json!(key);
    }
    let id = uuid::Uuid::new_v4();
    json!({
        "specversion": "1.0", "id": id, "source": "/elsewhere", "type": "crm.file.deleted.v1",
        "data": { "files": [named] }
    })
}

#[tokio::test]
async fn an_outside_event_moves_what_nothing_uses_and_never_what_a_row_names() {
    mapped(async |mapped| {
        let service = mapped.run().await;
        mapped.attachment(1, 7, "ab/living").await;
        mapped.put("ab/unused").await;
        // Whatever id, whatever table, whatever is said of it: the key is in use.
        mapped.publish(&event("999", Some("page_scan"), Some("ab/living"))).await;
        mapped.publish(&event("1", None, Some("ab/living"))).await;
        mapped.counted(&service, "alive", 2).await;
        // The id of a living row: its key is not, and that alone counts.
        mapped.publish(&event("1", Some("attachment"), Some("ab/unused"))).await;
        mapped.recycled("ab/unused").await;
        mapped.quiet(&service).await;
        mapped.is_untouched("ab/living").await;
    })
    .await;
}

#[tokio::test]
async fn a_file_whose_row_would_give_the_key_needs_one_in_the_event() {
    mapped(async |mapped| {
        let service = mapped.run().await.expect_log("dead-lettered");
        mapped.put("1").await;
        mapped.publish(&event("1", Some("attachment"), None)).await;
        mapped.publish(&event("1", None, None)).await;
        mapped.publish(&event("1", Some("nobody"), Some("1"))).await;
        // The template gives that key to another file.
        mapped.publish(&event("2", Some("voice_note"), Some("1"))).await;
        let letters = mapped.dead(4).await;
        for letter in letters["messages"].as_array().unwrap() {
            assert_eq!(letter["reason"], "malformed");
        }
        assert!(letters.to_string().contains("must carry `key`"), "{letters}");
        assert!(letters.to_string().contains("its key is another file's"), "{letters}");
        let shown = mapped.cli(&["dlq", "show", "--json"]).await.expect(0);
        assert!(shown.stdout.contains("must carry `key`"), "{shown:?}");
        mapped.is_untouched("1").await;
        // Where the template gives it, none is needed.
        mapped.publish(&event("1", Some("voice_note"), None)).await;
        mapped.recycled("1").await;
        mapped.quiet(&service).await;
        let refused =
            mapped.cli(&["emit", "--schema", "document", "--record", "D-1", "--file", "1"]).await.expect(2);
        assert!(refused.stderr.contains("must carry `key`"), "{refused:?}");
    })
    .await;
}

#[tokio::test]
async fn explain_tells_each_file_of_an_id_by_its_key() {
    mapped(async |mapped| {
        let explain = async |arguments: &[&str]| {
            let arguments = [&["explain", "--json"], arguments].concat();
            mapped.cli(&arguments).await.expect(0).json()
        };
        mapped.attachment(42, 7, "ab/forty-two").await;
        mapped.attachment(5, 8, "ab/forty-two").await;
        mapped.put("42").await;
        mapped.sql("INSERT INTO voice_note VALUES (42, 7)").await;
        let told = explain(&["42"]).await;
        assert_eq!((told["kind"].as_str(), told["would"].as_str()), (Some("file"), Some("stay")), "{told}");
        assert_eq!(told["rows"].as_array().unwrap().len(), 2);
        assert_eq!(told["shared_with"][0]["id"], "5");
        assert_eq!(told["objects"]["object"]["present"], true);
        assert_eq!(explain(&["7"]).await["kind"], "record");
        let told = explain(&["42", "--schema", "voice_note"]).await;
        assert_eq!(told["files"].as_array().unwrap().len(), 1, "{told}");

        mapped.sql("DELETE FROM attachment WHERE id = 42; DELETE FROM voice_note").await;
        let told = explain(&["42"]).await;
        assert_eq!(told["would"], "move", "{told}");
        assert!(
            told["verdict"].as_str().unwrap().contains("'ab/forty-two': it stays: 1 row names its key"),
            "{told}"
        );
        let service = mapped.run().await;
        mapped.recycled("42").await;
        mapped.quiet(&service).await;
        let told = explain(&["42"]).await;
        assert_eq!(
            (told["would"].as_str(), told["ledger"][0]["outcome"].as_str()),
            (Some("nothing"), Some("moved"))
        );
        assert_eq!(explain(&["nobody"]).await["kind"], "unknown");
        let text = mapped.cli(&["explain", "42"]).await.expect(0).stdout;
        assert!(
            text.contains("object '42': absent in the object bucket, there in the recycle bucket"),
            "{text}"
        );
    })
    .await;
}

#[tokio::test]
async fn what_was_deleted_while_nobody_ran_moves_after_the_start() {
    mapped(async |mapped| {
        let mut service = mapped.run().await;
        mapped.attachment(1, 7, "ab/before").await;
        mapped.attachment(2, 8, "ab/after").await;
        mapped.sql("DELETE FROM attachment WHERE id = 1").await;
        service.kill().await;
        mapped.sql("DELETE FROM res_partner WHERE id = 8").await;
        let service = mapped.run().await;
        mapped.recycled("ab/before").await;
        mapped.recycled("ab/after").await;
        mapped.quiet(&service).await;
    })
    .await;
}

async fn says(service: &Service, text: &str) {
    eventually(&format!("/readyz says '{text}'"), async || {
        let answer = service.readyz().await?;
        (answer["ready"] == false && answer["listener"].to_string().contains(text)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_mapping_that_does_not_fit_is_told_and_going_on_follows_when_it_does() {
    let wrong = example("toml").replace("size = \"file_size\"", "size = \"weight\"");
    bare_mapped(&wrong, async |mapped| {
        let refused = mapped.cli(&["listener", "install"]).await.expect(1);
        let told = "crm.file_table[0].size names the column 'weight', which the table does not have";
        assert!(refused.stderr.contains(told), "{refused:?}");
        mapped.describe(example("toml"));
        mapped.cli(&["listener", "install"]).await.expect(0);
        mapped.cli(&["adopt", "--apply"]).await.expect(0);
        mapped.describe(&wrong);
        let service = mapped.start(&[]).await;
        let service = service.expect_log("names the column 'weight'").expect_log("state=\"drift\"");
        says(&service, told).await;
        mapped.attachment(1, 7, "ab/one").await;
        mapped.sql("DELETE FROM attachment").await;
        mapped.is_untouched("ab/one").await;
        mapped.sql("ALTER TABLE attachment ADD COLUMN weight integer").await;
        // The triggers are installed for another mapping: that is drift, and harmless.
        mapped.recycled("ab/one").await;
        mapped.quiet(&service).await;
        mapped.world.storage.holds("ab/one", None, Some(b"ab/one")).await;
    })
    .await;
}

#[tokio::test]
async fn drift_is_told_and_repaired_and_an_uninstall_leaves_nothing() {
    mapped(async |mapped| {
        let status = mapped.cli(&["listener", "status", "--json"]).await.expect(0).json();
        // Three for each listed table, two for each table of records.
        assert_eq!((status["state"].as_str(), status["triggers"].as_u64()), (Some("installed"), Some(9 + 6)));
        assert_eq!((&status["hints"], &status["crm"]), (&json!([]), &json!(null)));
        mapped
            .sql(
                "DROP TRIGGER file_recycler_files_update ON attachment; DROP INDEX attachment_store_name_idx",
            )
            .await;
        let status = mapped.cli(&["listener", "status", "--json"]).await.expect(1).json();
        assert!(
            status["drift"].to_string().contains("attachment: file_recycler_files_update is missing"),
            "{status}"
        );
        assert!(status["hints"].to_string().contains("CREATE INDEX CONCURRENTLY ON"), "{status}");
        let service = mapped.start(&[]).await.expect_log("no index serves the key of public.attachment");
        let service = service.expect_log("state=\"drift\"");
        eventually("drift is told", async || {
            (service.readyz().await?["listener"]["state"] == "drift").then_some(())
        })
        .await;
        mapped.cli(&["listener", "install"]).await.expect(0);
        let told = mapped.cli(&["listener", "status"]).await.expect(0).stdout;
        assert!(!told.contains("the CRM"), "{told}");
        eventually("what was repaired is told", async || {
            (service.readyz().await?["listener"]["state"] == "installed").then_some(())
        })
        .await;
        // It would tell of the uninstalled listener, or not, as it happens to look in time.
        drop(service);
        mapped.cli(&["listener", "uninstall"]).await.expect(0);
        let left = "SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'file_recycler%'";
        assert_eq!(mapped.world.crm.number(left).await, 0);
    })
    .await;
}

//! Where files are known by their keys: ids of two tables that are the same, and a CRM that cannot be asked.

use file_recycler::storage::Side;
use serde_json::json;

use super::{WHY, receipt};
use crate::support::crm::Crm;
use crate::support::mapped::mapped;
use crate::support::process;
use crate::support::world::{S3, bare_world_on};

#[tokio::test]
async fn case_55_of_two_files_with_one_id_the_key_says_which_is_erased() {
    mapped(async |mapped| {
        let service = mapped.run().await;
        mapped.attachment(42, 7, "ab/forty-two").await;
        mapped.put("42").await;
        mapped
            .sql("INSERT INTO voice_note VALUES (42, 7); DELETE FROM voice_note; DELETE FROM attachment")
            .await;
        for key in ["42", "ab/forty-two"] {
            mapped.recycled(key).await;
        }
        mapped.quiet(&service).await;
        let storage = &mapped.world.storage;
        let image = |table: &str| {
            format!(
                "INSERT INTO file_recycler.image (table_name, row_id, record_schema, record_id, event_id, row)
                 VALUES ('{table}', '42', 'res_partner', '7', 'event', '{{}}');"
            )
        };
        mapped.sql(image("attachment") + &image("voice_note")).await;
        let erase = async |more: &[&str], code| {
            let line = [&["erase", "--file", "42", "--why", WHY, "--json"], more].concat();
            receipt(&mapped.cli(&line).await.expect(code))
        };

        let refused = erase(&["--apply"], 1).await;
        assert_eq!(
            (&refused["result"], &refused["keys"]),
            (&json!("refused"), &json!(["42", "ab/forty-two"]))
        );
        let wrong = erase(&["--apply", "--key", "ab/other"], 1).await;
        assert_eq!(wrong["result"], "refused", "{wrong}");
        for key in ["42", "ab/forty-two"] {
            storage.holds(key, None, Some(key.as_bytes())).await;
        }

        let done = erase(&["--apply", "--key", "ab/forty-two"], 0).await;
        assert_eq!((&done["result"], &done["images"]), (&json!("erased"), &json!(1)), "{done}");
        storage.holds("ab/forty-two", None, None).await;
        storage.holds("42", None, Some(b"42")).await;
        let left = "SELECT count(*) FROM file_recycler.image WHERE table_name = 'voice_note'";
        assert_eq!(mapped.world.crm.number(left).await, 1, "the other file's image stays");
    })
    .await;
}

#[tokio::test]
async fn case_55_a_living_row_with_the_key_keeps_the_object_of_a_dead_one() {
    mapped(async |mapped| {
        mapped.attachment(43, 7, "ab/shared").await;
        for arguments in [&["--file", "43"][..], &["--file", "41", "--key", "ab/shared"]] {
            let line = [&["erase", "--why", WHY, "--json", "--apply"], arguments].concat();
            let refused = receipt(&mapped.cli(&line).await.expect(1));
            assert_eq!(refused["result"], "refused", "{refused}");
            assert_eq!(refused["named_by"], json!(["row 43 of attachment"]), "{refused}");
        }
        mapped.is_untouched("ab/shared").await;
        let line = ["erase", "--file", "999", "--why", WHY, "--json", "--apply"];
        let unknown = receipt(&mapped.cli(&line).await.expect(1));
        assert_eq!(unknown["result"], "not_found", "{unknown}");
        assert!(unknown["message"].as_str().unwrap().contains("--key"), "{unknown}");
    })
    .await;
}

#[tokio::test]
async fn where_nobody_can_be_asked_only_what_has_left_the_object_bucket_is_erased() {
    bare_world_on(S3::Embedded, Crm::with("SELECT 1").await, async |world| {
        let environment = world.with(&[("CRM__PROFILE", "events"), ("CRM__TRUST_OUTSIDE_EVENTS", "true")]);
        let cli = async |line: &[&str]| process::run(&environment, line).await;
        cli(&["listener", "install"]).await.expect(0);
        cli(&["adopt", "--apply"]).await.expect(0);
        let line = ["erase", "--file", "4711/a", "--why", WHY, "--json", "--apply"];
        world.storage.put(Side::Object, "4711/a", b"content").await;
        world.storage.put(Side::Recycle, "4711/a", b"content").await;

        let refused = receipt(&cli(&line).await.expect(1));
        assert_eq!(refused["result"], "refused", "{refused}");
        assert!(refused["message"].as_str().unwrap().contains("no database to ask"), "{refused}");
        world.storage.holds("4711/a", Some(b"content"), Some(b"content")).await;

        world.storage.delete(Side::Object, "4711/a").await;
        let done = receipt(&cli(&line).await.expect(0));
        assert_eq!(done["result"], "erased", "{done}");
        world.storage.holds("4711/a", None, None).await;
    })
    .await;
}

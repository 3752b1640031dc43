//! A deleted record is known by the rows that went with it, too, where nothing else remembers it.

use serde_json::json;
use uuid::Uuid;

use super::is;
use crate::support::mapped::mapped;
use crate::support::world::{S3, world};

#[tokio::test]
async fn a_deleted_record_is_known_by_the_weak_rows_that_went_with_it() {
    world(S3::Embedded, async |world| {
        let service = world.run().await;
        let record = world.crm.record("Contact").await;
        let weak = world.crm.weak_file("SysFile", "Contact", record).await;
        world.upload(weak).await;
        world.crm.delete("Contact", record).await;
        world.recycled(weak).await;
        world.quiet(&service).await;

        let said = world.explained(record).await;
        is(&said, "record", "nothing", "that is worked off: nothing more would move");
        is(
            &said,
            "record",
            "nothing",
            "1 row of a file that named it was deleted because it was gone, the last ",
        );
        is(&said, "record", "nothing", ": 1 moved to the recycle bucket.");
        let row = &said["gone_rows"][0];
        assert_eq!(
            (&row["row_id"], &row["table"], &row["record_schema"], &row["outcome"], &row["key"]),
            (&json!(weak), &json!("SysFile"), &json!("Contact"), &json!("moved"), &json!(weak)),
            "{said}"
        );
        assert_eq!((&said["gone_rows_total"], &said["ledger"]), (&json!(1), &json!([])), "{said}");
        let text = world.explained_text(record).await;
        assert!(text.contains("went with it SysFile "), "{text}");

        let id = record.to_string();
        let narrowed = async |schema: &str| {
            world.cli(&["explain", &id, "--schema", schema, "--json"]).await.expect(0).json()
        };
        assert_eq!(narrowed("Contact").await["gone_rows"][0]["row_id"], json!(weak));
        let other = narrowed("Account").await;
        assert_eq!((&other["kind"], &other["gone_rows"]), (&json!("unknown"), &json!([])), "{other}");

        // What the ledger noted for a deletion long before, of a row that was restored since, says nothing of this one.
        let older = "UPDATE file_recycler.ledger SET deleted_at = deleted_at - interval '1 day'";
        world.crm.sql(older).await;
        let said = world.explained(record).await;
        is(&said, "record", "move", "1 file whose row went with it is on its way");
        assert!(said["gone_rows"][0]["outcome"].is_null(), "{said}");
    })
    .await;
}

#[tokio::test]
async fn of_many_rows_that_went_with_a_record_some_are_listed_and_all_counted_once() {
    world(S3::Embedded, async |world| {
        let record = Uuid::new_v4();
        world
            .crm
            .sql(format!(
                "INSERT INTO file_recycler.image (table_name, row_id, record_schema, record_id, event_id, row)
                 SELECT 'SysFile', md5(n::text)::uuid::text, 'Account', '{record}', 'e-' || twice, '{{}}'
                   FROM generate_series(1, 130) AS n, generate_series(1, 2) AS twice"
            ))
            .await;
        let said = world.explained(record).await;
        is(&said, "record", "move", "130 rows of files that named it were deleted because it was gone");
        is(&said, "record", "move", "of the last 100 files 100 not noted yet");
        let listed = said["gone_rows"].as_array().unwrap().len();
        assert_eq!((listed, &said["gone_rows_total"]), (100, &json!(130)), "{said}");
        assert!(said["notes"].to_string().contains("100 of 130 rows that went with it are listed"), "{said}");
    })
    .await;
}

#[tokio::test]
async fn a_mapped_record_is_known_by_the_rows_that_went_with_it() {
    mapped(async |mapped| {
        let service = mapped.run().await;
        mapped.put("1").await;
        mapped.sql("INSERT INTO res_partner (id) VALUES (7); INSERT INTO voice_note VALUES (1, 7)").await;
        mapped.sql("DELETE FROM res_partner WHERE id = 7").await;
        mapped.recycled("1").await;
        mapped.quiet(&service).await;
        for schema in [&[][..], &["--schema", "res_partner"]] {
            let arguments = [&["explain", "7", "--json"], schema].concat();
            let said = mapped.cli(&arguments).await.expect(0).json();
            is(&said, "record", "nothing", ": 1 moved to the recycle bucket.");
            let row = &said["gone_rows"][0];
            assert_eq!((&row["row_id"], &row["outcome"]), (&json!("1"), &json!("moved")), "{said}");
            assert_eq!(said["files"][0]["objects"]["recycle"]["present"], true, "{said}");
        }
        // A row that has the id, and names the record with it, is one row.
        mapped.attachment(7, 7, "ab/seven").await;
        let said = mapped.cli(&["explain", "7", "--json"]).await.expect(0).json();
        let rows = said["rows"].as_array().unwrap().iter();
        assert_eq!(rows.filter(|row| row["schema"] == "attachment").count(), 1, "{said}");
        assert!(
            said["verdict"].as_str().unwrap().contains("'ab/seven': it stays: 1 row names its key"),
            "{said}"
        );
        mapped.sql("DELETE FROM attachment; DELETE FROM res_partner").await;
        mapped.recycled("ab/seven").await;
        mapped.quiet(&service).await;

        let text = mapped.cli(&["explain", "7"]).await.expect(0).stdout;
        assert!(text.contains("went with it: voice_note 1, its row deleted "), "{text}");
        let other = ["explain", "7", "--schema", "sale_order", "--json"];
        assert_eq!(mapped.cli(&other).await.expect(0).json()["gone_rows"], json!([]));
    })
    .await;
}

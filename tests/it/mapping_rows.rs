//! Rows of a mapped application that a deleted record leaves behind: which of them go, and what keeps the others.

use crate::support::mapped::{bare_mapped, example, mapped};
use crate::support::process::eventually;

#[tokio::test]
async fn rows_go_with_their_record_only_and_leave_their_image() {
    mapped(async |mapped| {
        let service = mapped.run().await;
        mapped.attachment(1, 7, "ab/gone").await;
        mapped.attachment(2, 7, "ab/order").await;
        mapped.put("5").await;
        mapped.put("6").await;
        mapped
            .sql(
                "INSERT INTO sale_order (id) VALUES (7);
                 UPDATE attachment SET res_model = 'sale.order', data = 'content' WHERE id = 2;
                 INSERT INTO res_partner (id) VALUES (8);
                 INSERT INTO voice_note VALUES (5, 7), (6, 8); DELETE FROM res_partner WHERE id = 7",
            )
            .await;
        mapped.recycled("ab/gone").await;
        mapped.recycled("5").await;
        mapped.quiet(&service).await;
        // The same number of another table, and another partner.
        mapped.is_untouched("ab/order").await;
        mapped.is_untouched("6").await;
        mapped.sql("DELETE FROM sale_order").await;
        mapped.recycled("ab/order").await;
        let image =
            "SELECT count(*) FROM file_recycler.image WHERE record_schema = 'sale_order' AND record_id = '7'
                        AND row_id = '2' AND row ->> 'store_name' = 'ab/order' AND NOT row ? 'data'";
        assert_eq!(mapped.world.crm.number(image).await, 1);
    })
    .await;
}

#[tokio::test]
async fn rows_of_a_record_that_is_there_again_or_was_never_captured_stay() {
    mapped(async |mapped| {
        // Not saved yet: the row names a partner that nobody has.
        mapped.put("ab/early").await;
        mapped.sql("INSERT INTO attachment (id, res_model, res_id, store_name) VALUES (1, 'res.partner', 99, 'ab/early')").await;
        mapped.attachment(2, 7, "ab/again").await;
        mapped.attachment(3, 8, "ab/gone").await;
        mapped
            .sql(
                "DELETE FROM res_partner WHERE id = 7; INSERT INTO res_partner (id) VALUES (7);
                 DELETE FROM res_partner WHERE id = 8",
            )
            .await;
        let service = mapped.run().await;
        mapped.recycled("ab/gone").await;
        mapped.quiet(&service).await;
        mapped.is_untouched("ab/early").await;
        mapped.is_untouched("ab/again").await;
        assert_eq!(mapped.world.crm.number("SELECT count(*) FROM attachment").await, 2);
    })
    .await;
}

#[tokio::test]
async fn a_row_that_a_foreign_key_names_or_that_has_no_object_is_left() {
    mapped(async |mapped| {
        mapped.attachment(1, 7, "ab/cover").await;
        mapped.attachment(2, 7, "ab/url").await;
        mapped.attachment(3, 7, "ab/gone").await;
        mapped
            .sql(
                "CREATE TABLE cover (attachment_id bigint REFERENCES attachment);
                 INSERT INTO cover VALUES (1); UPDATE attachment SET kind = 'url' WHERE id = 2;
                 DELETE FROM res_partner WHERE id = 7",
            )
            .await;
        let service = mapped.run().await;
        mapped.recycled("ab/gone").await;
        mapped.quiet(&service).await;
        mapped.is_untouched("ab/cover").await;
        mapped.is_untouched("ab/url").await;
        assert_eq!(mapped.world.crm.number("SELECT count(*) FROM attachment").await, 2);
        eventually("it is told", async || {
            service.log().iter().any(|line| line.contains("left_referenced: 1")).then_some(())
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_row_whose_id_no_event_could_carry_is_left_with_its_object() {
    let by_text =
        "table = \"voice_note\"\nid = \"id\"\nrecord = \"partner_id -> res_partner\"\nkey = \"v/{id}\"";
    let before = "table = \"voice_note\"\nid = \"id\"\nrecord = \"partner_id -> res_partner\"";
    bare_mapped(&example("toml").replace(before, by_text), async |mapped| {
        mapped.sql("ALTER TABLE voice_note ALTER COLUMN id TYPE text").await;
        mapped.cli(&["listener", "install"]).await.expect(0);
        mapped.cli(&["adopt", "--apply"]).await.expect(0);
        let service = mapped.run().await;
        let (long, short) = (format!("v/{}", "x".repeat(256)), format!("v/{}", "x".repeat(255)));
        for key in [&long, &short] {
            mapped.put(key).await;
        }
        mapped
            .sql(
                "INSERT INTO res_partner (id) VALUES (7);
                 INSERT INTO voice_note VALUES (repeat('x', 256), 7), (repeat('x', 255), 7); DELETE FROM res_partner",
            )
            .await;
        mapped.recycled(&short).await;
        mapped.quiet(&service).await;
        mapped.is_untouched(&long).await;
        assert_eq!(mapped.world.crm.number("SELECT count(*) FROM voice_note").await, 1);
    })
    .await;
}

#[tokio::test]
async fn rows_are_left_where_the_configuration_says_so() {
    mapped(async |mapped| {
        mapped.attachment(1, 7, "ab/left").await;
        mapped.sql("DELETE FROM res_partner WHERE id = 7").await;
        let service = mapped.start(&[("CRM__DANGLING_ROWS", "leave")]).await.ready().await;
        mapped.counted(&service, "alive", 1).await;
        mapped.quiet(&service).await;
        mapped.is_untouched("ab/left").await;
        assert_eq!(mapped.world.crm.number("SELECT count(*) FROM attachment").await, 1);
    })
    .await;
}

#[tokio::test]
async fn rows_whose_deletion_the_triggers_would_not_capture_stay() {
    mapped(async |mapped| {
        mapped.attachment(1, 7, "ab/uncaptured").await;
        mapped
            .sql(
                "DELETE FROM res_partner WHERE id = 7; DROP TRIGGER file_recycler_files_delete ON attachment",
            )
            .await;
        let service = mapped.run().await.expect_log("the triggers captured 0 of 1");
        let service = service.expect_log("state=\"drift\"");
        mapped.dead(1).await;
        mapped.is_untouched("ab/uncaptured").await;
        assert_eq!(mapped.world.crm.number("SELECT count(*) FROM attachment").await, 1);
        drop(service);
    })
    .await;
}

#[tokio::test]
async fn a_word_that_means_no_table_is_told() {
    let words = r#""sale.order" = "sale_order""#;
    bare_mapped(&example("toml").replace(words, ""), async |mapped| {
        mapped.sql("INSERT INTO attachment (id, res_model, res_id) VALUES (1, 'sale.order', 7)").await;
        mapped.cli(&["listener", "install"]).await.expect(0);
        let status = mapped.cli(&["listener", "status", "--json"]).await.expect(0).json();
        assert!(status["hints"].to_string().contains("'sale.order'"), "{status}");
    })
    .await;
}

#[tokio::test]
async fn a_record_whose_table_is_there_but_cannot_be_asked_keeps_its_rows() {
    mapped(async |mapped| {
        mapped.put("ab/kept").await;
        mapped
            .sql(
                "CREATE TABLE crm_lead (id bigint PRIMARY KEY); INSERT INTO crm_lead VALUES (7);
                 INSERT INTO attachment (id, res_model, res_id, store_name) VALUES (1, 'crm_lead', 7, 'ab/kept')",
            )
            .await;
        mapped.cli(&["listener", "install"]).await.expect(0);
        // As a job does that loads a table anew: without its primary key for a while.
        mapped
            .sql(
                "ALTER TABLE crm_lead DROP CONSTRAINT crm_lead_pkey; TRUNCATE crm_lead;
                 INSERT INTO crm_lead VALUES (7)",
            )
            .await;
        let service = mapped.run().await.expect_log("crm_lead");
        mapped.quiet(&service).await;
        mapped.is_untouched("ab/kept").await;
        assert_eq!(mapped.world.crm.number("SELECT count(*) FROM attachment").await, 1);
    })
    .await;
}

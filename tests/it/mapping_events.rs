//! Events about a mapped application's files: how their ids are written, and what is said of those that cannot be.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::mapped::{Mapped, bare_mapped, mapped};

/// Photos are stored under their id, a UUID; nothing in the database keeps them with their person.
const PHOTOS: &str = r#"
[crm]
profile = "mapping"

[[crm.file_table]]
table = "photo"
id = "id"
record = "person_id -> person"
"#;
const TABLES: &str =
    "CREATE TABLE person (id uuid PRIMARY KEY); CREATE TABLE photo (id uuid PRIMARY KEY, person_id uuid)";

fn event(kind: &str, data: &Value) -> Value {
    json!({ "specversion": "1.0", "id": Uuid::new_v4(), "source": "/elsewhere", "type": kind, "data": data })
}

fn capitals(id: Uuid) -> String {
    id.to_string().to_uppercase()
}

async fn photo(mapped: &Mapped, person: Uuid) -> Uuid {
    let id = Uuid::new_v4();
    mapped.put(&id.to_string()).await;
    mapped.sql(format!("INSERT INTO photo VALUES ('{id}', '{person}')")).await;
    id
}

#[tokio::test]
async fn a_uuid_in_capitals_is_the_one_that_the_database_prints_in_small_letters() {
    bare_mapped(PHOTOS, async |mapped| {
        mapped.sql(TABLES).await;
        mapped.cli(&["listener", "install"]).await.expect(0);
        mapped.cli(&["adopt", "--apply"]).await.expect(0);
        let service = mapped.start(&[("CRM__TRUST_OUTSIDE_EVENTS", "true")]).await.ready().await;
        let (named, bare, living) = (Uuid::new_v4(), Uuid::new_v4(), photo(&mapped, Uuid::new_v4()).await);
        for id in [named, bare] {
            mapped.put(&id.to_string()).await;
        }
        let files = json!([
            { "file_id": capitals(named), "schema": "photo" }, { "file_id": capitals(bare) },
            { "file_id": capitals(living) }
        ]);
        mapped.publish(&event("crm.file.deleted.v1", &json!({ "files": files }))).await;
        mapped.recycled(&named.to_string()).await;
        mapped.recycled(&bare.to_string()).await;
        mapped.counted(&service, "alive", 1).await;

        // What hangs on a record is found by its id in capitals, too.
        let gone = Uuid::new_v4();
        let left_over = photo(&mapped, gone).await;
        let data = json!({ "schema": "person", "record_id": capitals(gone) });
        mapped.publish(&event("crm.record.deleted.v1", &data)).await;
        mapped.recycled(&left_over.to_string()).await;
        mapped.quiet(&service).await;
        mapped.is_untouched(&living.to_string()).await;
    })
    .await;
}

#[tokio::test]
async fn a_dead_letter_says_what_is_wrong_with_a_key_or_a_table() {
    mapped(async |mapped| {
        let service = mapped.run().await.expect_log("dead-lettered");
        mapped
            .sql(
                "CREATE TABLE pair (one bigint, two bigint, PRIMARY KEY (one, two));
                 INSERT INTO attachment (id, store_name) VALUES (1, '..'); DELETE FROM attachment",
            )
            .await;
        mapped.publish(&event("crm.record.deleted.v1", &json!({ "schema": "pair", "record_id": "1" }))).await;
        let letters = mapped.dead(2).await.to_string();
        for told in [
            "file 1: what its row gave for a key is none that S3 can have",
            "no table 'pair' that is listed or has a primary key of one column",
        ] {
            assert!(letters.contains(told), "{letters}");
        }
        mapped.quiet(&service).await;
    })
    .await;
}

//! Behind a pooler: one that gives each client a session of its own does no harm, any other is refused.

use serde_json::json;

use super::{S3, Said, in_row, line, row_is};
use crate::support::crm::DATABASE_STORAGE;
use crate::support::pooler::Pooler;
use crate::support::process;
use crate::support::world::world;

const BACK: [&str; 4] = ["--to", "database", "--recycle-objects", "--apply"];

#[tokio::test]
async fn a_session_for_each_client_is_enough() {
    world(S3::Embedded, async |world| {
        let pooler = Pooler::before(&world.crm.url, "session").await;
        let environment = world.with(&[("DATABASE__URL", &pooler.url_of(&world.crm.url))]);
        let [file, large] = [in_row(&world, b"content").await, super::large(&world, 200_000).await];
        for (way, told) in [
            (&["--to", "storage", "--apply"][..], "migrated"),
            (&["--reclaim", "--apply"], "reclaimed"),
            (&BACK, "migrated"),
        ] {
            let said = Said::of(&process::run(&environment, &line(way)).await.expect(0).stdout);
            assert_eq!(said.counts(), json!({ told: 2 }), "{way:?}: {:?}", said.files);
        }
        row_is(&world, file, DATABASE_STORAGE, Some(b"content")).await;
        let whole = format!(
            r#"SELECT count(*) FROM "ContactFile" WHERE "Id" = '{large}' AND octet_length("Data") = 3200000"#
        );
        assert_eq!(world.crm.number(whole).await, 1);
    })
    .await;
}

/// There, the lock of migrations would be somebody else's, and so would be the pieces of a large content.
#[tokio::test]
async fn sessions_that_clients_share_are_refused() {
    world(S3::Embedded, async |world| {
        let pooler = Pooler::before(&world.crm.url, "transaction").await;
        let environment = world.with(&[("DATABASE__URL", &pooler.url_of(&world.crm.url))]);
        let file = in_row(&world, b"content").await;
        let refused = process::run(&environment, &line(&["--to", "storage", "--apply"])).await.expect(1);
        assert!(refused.stderr.contains("a pooler in transaction mode"), "{refused:?}");
        row_is(&world, file, DATABASE_STORAGE, Some(b"content")).await;
        let locks = "SELECT count(*) FROM pg_locks JOIN pg_database AS d ON d.oid = database AND datname = current_database()
                      WHERE locktype = 'advisory'";
        assert_eq!(world.crm.number(locks).await, 0);
    })
    .await;
}

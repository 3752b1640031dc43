//! Large contents, in little memory.

use serde_json::json;

use super::{S3, large, migrate, same_as_row};
use crate::support::world::world;

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

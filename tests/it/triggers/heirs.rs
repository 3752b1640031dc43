//! Parts and heirs of a table of files that are none any more: whoever asks the table does not see their rows.

use file_recycler::config::OnCaptureError;
use file_recycler::db::registry::Registry;
use file_recycler::outcome::Liveness;
use uuid::Uuid;

use crate::support::database::{TestDatabase, crm, ids, run};
use crate::support::process::eventually;

/// A table of files in parts, one of them in another schema, and an heir of `SysFile`; a living file in each of the two.
async fn database_with_heirs() -> (TestDatabase, [Uuid; 2]) {
    let database = TestDatabase::create().await;
    let (in_part, in_heir) = (Uuid::new_v4(), Uuid::new_v4());
    let content = "'529bc2f8-0ee0-df11-971b-001d60e938c6', '7b1ac6fa-3f43-4d27-9f50-2d6a7a3d9c11'";
    database
        .run(&format!(
            r#"CREATE SCHEMA elsewhere;
               SELECT make_schema('PartFile', 'File');
               CREATE TABLE "PartFile" (LIKE "ContactFile" INCLUDING DEFAULTS, PRIMARY KEY ("Id", "Version")) PARTITION BY LIST ("Version");
               CREATE TABLE elsewhere."PartFile_1" PARTITION OF "PartFile" FOR VALUES IN (1);
               CREATE TABLE elsewhere."SysFile_old" (PRIMARY KEY ("Id")) INHERITS ("SysFile");
               INSERT INTO "PartFile" ("Id", "TypeId", "SysFileStorageId", "Version") VALUES ('{in_part}', {content}, 1);
               INSERT INTO elsewhere."SysFile_old" ("Id", "TypeId", "SysFileStorageId") VALUES ('{in_heir}', {content})"#
        ))
        .await;
    database.install(OnCaptureError::Skip).await;
    (database, [in_part, in_heir])
}

#[tokio::test]
async fn case_45_a_part_or_heir_that_is_taken_off_is_noticed_by_the_next_question() {
    for (at, sql) in [
        r#"ALTER TABLE "PartFile" DETACH PARTITION elsewhere."PartFile_1""#,
        r#"ALTER TABLE elsewhere."SysFile_old" NO INHERIT "SysFile""#,
    ]
    .into_iter()
    .enumerate()
    {
        let (database, files) = database_with_heirs().await;
        let registry = Registry::new(database.db(), crm());
        assert_eq!(registry.liveness(&ids(&[files[at]])).await.unwrap().liveness, [Liveness::Alive], "{sql}");
        database.run(sql).await;
        let refused = registry.liveness(&ids(&[files[at]])).await.unwrap_err().to_string();
        assert!(refused.contains("has our triggers"), "{sql}: {refused}");
    }
}

#[tokio::test]
async fn case_45_a_part_that_is_being_detached_is_none_any_more() {
    let (database, [file, _]) = database_with_heirs().await;
    let registry = Registry::new(database.db(), crm());
    assert_eq!(registry.liveness(&ids(&[file])).await.unwrap().liveness, [Liveness::Alive]);
    // It waits for who still reads the table in parts.
    let (mut reading, mut detaching) = (database.crm().await, database.crm().await);
    run(&mut reading, r#"BEGIN; SELECT FROM "PartFile""#).await.unwrap();
    let detached = tokio::spawn(async move {
        let detach = r#"ALTER TABLE "PartFile" DETACH PARTITION elsewhere."PartFile_1" CONCURRENTLY"#;
        run(&mut detaching, detach).await.unwrap();
    });
    eventually("it is being detached", async || {
        let pending = "SELECT EXISTS (SELECT FROM pg_inherits WHERE inhdetachpending)";
        database.value::<bool>(pending).await.then_some(())
    })
    .await;
    assert_eq!(database.value::<i64>(r#"SELECT count(*) FROM "PartFile""#).await, 0, "its rows are not seen");
    let refused = registry.liveness(&ids(&[file])).await.unwrap_err().to_string();
    assert!(refused.contains("elsewhere.PartFile_1 has our triggers"), "{refused}");
    run(&mut reading, "ROLLBACK").await.unwrap();
    detached.await.unwrap();
    assert!(registry.liveness(&ids(&[file])).await.is_err());
}

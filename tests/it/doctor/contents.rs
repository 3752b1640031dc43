//! Where the contents of files are.

use uuid::Uuid;

use super::{doctor, still};
use crate::support::crm::{DATABASE_STORAGE, S3_STORAGE, WEB_LINK_TYPE};
use crate::support::roles::Roles;
use crate::support::world::{S3, World, bare_world};

/// Two files in the database, two in S3, of which one has content left, and one of each other kind.
async fn furnish(world: &World) {
    let mut files = Vec::new();
    for _ in 0..7 {
        files.push(world.file_in_database().await);
    }
    for file in &files[2..4] {
        world.say_where(*file, S3_STORAGE).await;
    }
    world.clear_row(files[3]).await;
    world.say_where(files[4], &Uuid::new_v4().to_string()).await;
    let set = async |what: &str, file: Uuid| {
        world.crm.sql(format!(r#"UPDATE "ContactFile" SET {what} WHERE "Id" = '{file}'"#)).await;
    };
    set(r#""SysFileStorageId" = NULL"#, files[0]).await;
    set(r#""TypeId" = NULL"#, files[5]).await;
    set(&format!(r#""TypeId" = '{WEB_LINK_TYPE}'"#), files[6]).await;
}

#[tokio::test]
async fn files_and_bytes_on_each_side_are_told_with_the_next_command() {
    still(S3::Embedded, async |world| {
        doctor(world, &[]).await.check(
            "file-contents",
            "ok",
            "0 files (0 B) in the database, 0 files (0 B) in S3",
        );
        furnish(world).await;
        let told = "2 files (72 B) in the database, 2 files (72 B) in S3, 1 file (36 B) in other storages, \
                    1 file (36 B) of which the row does not tell; new ones go to S3_storage; \
                    `file-recycler migrate --to storage` would bring those in the database there";
        let said = doctor(world, &[]).await;
        said.check("file-contents", "ok", told);
        said.check("file-contents", "ok", "1 of the rows in S3 still have content in the database, 36 B");
        said.check("file-contents", "ok", "`file-recycler migrate --reclaim` frees it");
        world.crm.sql(format!(r#"UPDATE "SysSettingsValue" SET "GuidValue" = '{DATABASE_STORAGE}'"#)).await;
        let said = doctor(world, &[]).await;
        said.check("file-contents", "ok", "new ones go to Database; 1 of the rows in S3 still");
    })
    .await;
}

#[tokio::test]
async fn a_role_that_may_not_read_contents_counts_all_the_same_and_says_what_it_cannot_see() {
    bare_world(S3::Embedded, async |world| {
        furnish(&world).await;
        let roles = Roles::installed(&world).await;
        let as_run = [("DATABASE__URL", &roles.url_as(&roles.run)[..])];
        let said = doctor(&world, &as_run).await;
        said.check("file-contents", "ok", "2 files (72 B) in the database, 2 files (72 B) in S3");
        said.check("file-contents", "ok", "was not counted: the role may not read it");
        roles.sql(&format!(r#"GRANT SELECT ("Data") ON "ContactFile" TO {}"#, roles.run)).await;
        doctor(&world, &as_run).await.check("file-contents", "ok", "1 of the rows in S3 still have content");
        drop(roles);
    })
    .await;
}

#[tokio::test]
async fn a_table_that_cannot_be_counted_in_time_holds_nothing_up() {
    still(S3::Embedded, async |world| {
        furnish(world).await;
        let mut locked = world.crm.pool.begin().await.unwrap();
        sqlx::query(r#"LOCK TABLE "Case", "CaseFile" IN ACCESS EXCLUSIVE MODE"#)
            .execute(&mut *locked)
            .await
            .unwrap();
        // The lock goes after the answer: whoever waited for it would wait for ever.
        let said = doctor(world, &[]).await;
        said.check("file-contents", "ok", "not counted in time");
        locked.rollback().await.unwrap();
        doctor(world, &[]).await.check("file-contents", "ok", "2 files (72 B) in the database");
    })
    .await;
}

//! `migrate`: contents between the rows of files and the storage, both ways, while people work.

mod back;
mod beside;
#[cfg(feature = "failpoints")]
mod cut;
mod gentle;
mod large;
mod left;
mod lost;
mod meanwhile;
mod pooler;
mod reclaimed;
mod selected;
mod tables;
mod there;
mod versions;

use std::fmt::Write as _;

use bytes::Bytes;
use file_recycler::file::ObjectKey;
use file_recycler::storage::{ETag, Mark, Side};
use md5::{Digest as _, Md5};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::crm::{DATABASE_STORAGE, FILE_TYPE, S3_STORAGE, WEB_LINK_TYPE};
use crate::support::process;
use crate::support::world::{S3, World, world};

/// Every kind of server.
const SERVERS: [S3; 3] = [S3::Embedded, S3::Foreign, S3::Moto];

/// The line of a run that takes also what was changed a moment ago, and where nothing is in S3 yet.
fn line<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    let mut line = vec!["migrate", "--json", "--trust-template"];
    if !arguments.contains(&"--older-than") {
        line.extend(["--older-than", "2100-01-01T00:00:00Z"]);
    }
    line.extend(arguments);
    line
}

/// What a run said: a line for each file, and the summary.
struct Said {
    files: Vec<Value>,
    summary: Value,
}

impl Said {
    fn of(stdout: &str) -> Self {
        let mut lines: Vec<Value> = stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {stdout}")))
            .collect();
        let summary = lines.pop().unwrap_or_else(|| panic!("nothing was said"));
        Self { files: lines, summary }
    }

    /// The results that are not zero.
    fn counts(&self) -> Value {
        let counts = self.summary["counts"].as_object().unwrap_or_else(|| panic!("{}", self.summary));
        let some = counts.iter().filter(|(_, count)| **count != 0);
        some.map(|(name, count)| (name.clone(), count.clone())).collect()
    }

    /// The line of a file.
    fn file(&self, id: Uuid) -> &Value {
        let found = self.files.iter().find(|file| file["file_id"] == id.to_string());
        found.unwrap_or_else(|| panic!("no line of {id}: {:?}", self.files))
    }
}

/// Runs `migrate` with these arguments.
async fn migrate(world: &World, arguments: &[&str], code: i32) -> Said {
    Said::of(&process::run(&world.environment, &line(arguments)).await.expect(code).stdout)
}

/// A file of a contact, whose content is in its row.
async fn in_row(world: &World, content: &[u8]) -> Uuid {
    let record = world.crm.record("Contact").await;
    of_record(world, record, content).await
}

async fn of_record(world: &World, record: Uuid, content: &[u8]) -> Uuid {
    let id = Uuid::new_v4();
    let (size, content) = (content.len(), hex(content));
    world
        .crm
        .sql(format!(
            r#"INSERT INTO "ContactFile" ("Id", "TypeId", "Size", "SysFileStorageId", "ContactId", "Data")
               VALUES ('{id}', '{FILE_TYPE}', {size}, '{DATABASE_STORAGE}', '{record}', '\x{content}')"#
        ))
        .await;
    id
}

fn hex(content: &[u8]) -> String {
    content.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A file whose content is so many blocks of 16 bytes that nothing compresses, made by the database itself.
async fn large(world: &World, blocks: usize) -> Uuid {
    let id = in_row(world, b"").await;
    world
        .crm
        .sql(format!(
            r#"UPDATE "ContactFile" SET "Size" = 16 * {blocks}, "Data" =
                 (SELECT string_agg(decode(md5('{id}' || n), 'hex'), ''::bytea ORDER BY n) FROM generate_series(1, {blocks}) AS n)
                WHERE "Id" = '{id}'"#
        ))
        .await;
    id
}

/// Does the row say so, and has it this content?
async fn row_is(world: &World, file: Uuid, storage: &str, content: Option<&[u8]>) {
    let has = content.map_or_else(
        || r#""Data" IS NULL"#.to_owned(),
        |content| format!(r#""Data" = '\x{}'::bytea"#, hex(content)),
    );
    let sql = format!(
        r#"SELECT count(*) FROM "ContactFile" WHERE "Id" = '{file}' AND "SysFileStorageId" = '{storage}' AND {has}"#
    );
    assert_eq!(world.crm.number(&sql).await, 1, "{sql}");
}

/// Is the content where the row says that it is?
async fn is_readable(world: &World, file: Uuid, content: &[u8]) {
    let in_s3 = format!(
        r#"SELECT count(*) FROM "ContactFile" WHERE "Id" = '{file}' AND "SysFileStorageId" = '{S3_STORAGE}'"#
    );
    if world.crm.number(in_s3).await == 1 {
        assert_eq!(world.object(Side::Object, file).await.as_deref(), Some(content), "{file} in S3");
    } else {
        row_is(world, file, DATABASE_STORAGE, Some(content)).await;
    }
}

/// Has the object the content that the row has, or had?
async fn same_as_row(world: &World, file: Uuid) {
    let object = world.object(Side::Object, file).await.unwrap_or_else(|| panic!("no object of {file}"));
    let digest = hex(&<md5::Md5 as md5::Digest>::digest(&object));
    let sql = format!(
        r#"SELECT count(*) FROM "ContactFile" WHERE "Id" = '{file}' AND md5("Data") = '{digest}'
              AND octet_length("Data") = {}"#,
        object.len()
    );
    assert_eq!(world.crm.number(&sql).await, 1, "{sql}");
}

/// Waits until the server has noticed that a run was killed: until then its locks are held, of rows and that of migrations.
#[cfg(feature = "failpoints")]
async fn are_gone(world: &World) {
    let sessions = "SELECT count(*) FROM pg_stat_activity
                     WHERE datname = current_database() AND application_name = 'file-recycler'";
    process::eventually("the sessions of the dead are gone", async || {
        (world.crm.number(sessions).await == 0).then_some(())
    })
    .await;
}

/// `audit` finds nothing bad.
async fn is_sound(world: &World) {
    world.cli(&["audit", "--json", "--older-than", "1h"]).await.expect(0);
}

#[tokio::test]
async fn there_and_back_on_every_server_with_a_dry_run_before_each_step() {
    for s3 in SERVERS {
        world(s3, async |world| {
            let plain = in_row(&world, b"content").await;
            let empty = in_row(&world, b"").await;
            let parts = large(&world, 1_200_000).await;
            let one_part = large(&world, 100_000).await;
            // Files that are none of this: without content, a link, in S3 already, in a storage that nobody knows.
            let none = in_row(&world, b"x").await;
            let link = in_row(&world, b"link").await;
            let there = in_row(&world, b"there").await;
            let foreign = in_row(&world, b"foreign").await;
            let unknown = Uuid::new_v4();
            world
                .crm
                .sql(format!(
                    r#"UPDATE "ContactFile" SET "Data" = NULL WHERE "Id" IN ('{none}', '{there}');
                       UPDATE "ContactFile" SET "TypeId" = '{WEB_LINK_TYPE}' WHERE "Id" = '{link}';
                       UPDATE "ContactFile" SET "SysFileStorageId" = '{S3_STORAGE}' WHERE "Id" = '{there}';
                       UPDATE "ContactFile" SET "SysFileStorageId" = '{unknown}' WHERE "Id" = '{foreign}'"#
                ))
                .await;
            world.storage.put(Side::Object, &there.to_string(), b"there").await;

            let planned = migrate(&world, &["--to", "storage"], 0).await;
            assert_eq!(planned.counts(), json!({ "would_migrate": 4, "no_content": 1 }));
            assert_eq!(planned.summary["expected"]["files"], 5, "{}", planned.summary);
            assert_eq!(planned.summary["bytes"]["would_migrate"], 7 + 16 * 1_300_000, "{}", planned.summary);
            let shrinks = planned.summary["shrink"]["bytes"].as_u64().unwrap();
            assert!((16 * 1_300_000..17 * 1_300_000).contains(&shrinks), "{shrinks}");
            assert_eq!(world.storage.keys(Side::Object).await.len(), 2, "the marker and what was there");

            let done = migrate(&world, &["--to", "storage", "--apply"], 0).await;
            assert_eq!(done.counts(), json!({ "migrated": 4, "no_content": 1 }), "{:?}", done.files);
            row_is(&world, plain, S3_STORAGE, Some(b"content")).await;
            row_is(&world, empty, S3_STORAGE, Some(b"")).await;
            row_is(&world, there, S3_STORAGE, None).await;
            row_is(&world, foreign, &unknown.to_string(), Some(b"foreign")).await;
            world.storage.holds(&plain.to_string(), Some(b"content"), None).await;
            world.storage.holds(&empty.to_string(), Some(b""), None).await;
            same_as_row(&world, parts).await;
            same_as_row(&world, one_part).await;
            is_sound(&world).await;
            let again = migrate(&world, &["--to", "storage", "--apply"], 0).await;
            assert_eq!(again.counts(), json!({ "no_content": 1 }));

            let planned = migrate(&world, &["--reclaim"], 0).await;
            assert_eq!(planned.counts(), json!({ "would_reclaim": 3 }));
            row_is(&world, plain, S3_STORAGE, Some(b"content")).await;
            let kept = world.object(Side::Object, parts).await;
            let done = migrate(&world, &["--reclaim", "--apply"], 0).await;
            assert_eq!(done.counts(), json!({ "reclaimed": 3 }), "{:?}", done.files);
            for file in [plain, parts, one_part] {
                row_is(&world, file, S3_STORAGE, None).await;
            }
            assert_eq!(world.object(Side::Object, parts).await, kept);

            let planned = migrate(&world, &["--to", "database"], 0).await;
            assert_eq!(planned.counts(), json!({ "would_migrate": 5 }));
            let done = migrate(&world, &["--to", "database", "--apply"], 0).await;
            assert_eq!(done.counts(), json!({ "migrated": 5 }), "{:?}", done.files);
            row_is(&world, plain, DATABASE_STORAGE, Some(b"content")).await;
            row_is(&world, empty, DATABASE_STORAGE, Some(b"")).await;
            row_is(&world, there, DATABASE_STORAGE, Some(b"there")).await;
            same_as_row(&world, parts).await;
            same_as_row(&world, one_part).await;

            // The objects are still there: with the very content, so they count as done.
            let done = migrate(&world, &["--to", "storage", "--apply"], 0).await;
            assert_eq!(done.counts(), json!({ "already_there": 5, "no_content": 1 }), "{:?}", done.files);
            let done = migrate(&world, &["--to", "database", "--recycle-objects", "--apply"], 0).await;
            assert_eq!(done.counts(), json!({ "migrated": 5 }), "{:?}", done.files);
            assert!(done.files.iter().all(|file| file["why"].is_null()), "{:?}", done.files);
            world.storage.holds(&plain.to_string(), None, Some(b"content")).await;
            assert_eq!(world.object(Side::Recycle, parts).await, kept);
            assert_eq!(world.object(Side::Object, parts).await, None);
            is_sound(&world).await;
            let trail = "SELECT count(*) FROM file_recycler.trail WHERE action = 'migrate'";
            assert_eq!(world.crm.number(trail).await, 6);
        })
        .await;
    }
}

/// moto takes no notice of the digest, and answers with the ETag of what it stored: that is compared in any case.
#[tokio::test]
async fn servers_refuse_what_is_not_what_its_digest_says() {
    for s3 in SERVERS {
        world(s3, async |world| {
            let ours = &world.storage.storage;
            let server = ours.probe().await.unwrap();
            let key = ObjectKey::try_from("key").unwrap();
            let mark = Mark { environment: "environment".to_owned(), run: "run".to_owned() };
            let content = || Bytes::from_static(b"content");
            let wrong = Md5::digest(b"something else").into();
            let upload = ours.begin_new(&key, &mark).await.unwrap();
            let part = ours.put_part(&upload, 1, (content(), wrong)).await;
            ours.abort_new(&upload).await;
            let whole = ours.put_new(&key, &mark, (content(), wrong), &server).await;
            if matches!(s3, S3::Moto) {
                let stored = ETag::of_md5(Md5::digest(b"content").into());
                assert_eq!((part.unwrap(), whole.unwrap()), (stored.clone(), stored));
            } else {
                assert!(whole.is_err() && part.is_err(), "{s3:?}: {whole:?}, {part:?}");
                assert_eq!(world.storage.get(Side::Object, "key").await, None, "{s3:?}");
            }
        })
        .await;
    }
}

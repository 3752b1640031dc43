//! People work while contents are moved.

use std::process::Stdio;

use file_recycler::storage::Side;
use recycler_test_s3::{Action, Operation, Rule, Switches, When};
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::process::Child;
use uuid::Uuid;

use super::{S3, Said, in_row, is_sound, migrate, of_record, row_is};
use crate::support::crm::{DATABASE_STORAGE, S3_STORAGE};
use crate::support::process::{self, PATIENCE, eventually};
use crate::support::told::Secrets;
use crate::support::world::{World, world};

/// Every kind of server, with something that holds what the program asks of it.
pub(super) const DISTURBED: [S3; 3] = [S3::Embedded, S3::ForeignDisturbed, S3::MotoDisturbed];

/// A run that goes on beside the test.
pub(super) struct Run {
    child: Child,
    secrets: Secrets,
}

/// Starts it.
pub(super) fn start(world: &World, arguments: &[&str]) -> Run {
    start_in(&world.environment, arguments)
}

/// The same, in another environment.
pub(super) fn start_in(environment: &[(String, String)], arguments: &[&str]) -> Run {
    let line = super::line(arguments);
    let mut command = process::command(environment, &line);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    Run { child, secrets: Secrets::of(environment) }
}

impl Run {
    /// Asks it to stop.
    pub(super) async fn interrupt(&self) {
        let pid = self.child.id().unwrap().to_string();
        assert!(tokio::process::Command::new("kill").args(["-INT", &pid]).status().await.unwrap().success());
    }

    /// What it said, once it has ended with this code.
    pub(super) async fn ended(self, code: i32) -> Said {
        let Self { child, secrets } = self;
        let output =
            tokio::time::timeout(PATIENCE * 2, child.wait_with_output()).await.expect("it ends").unwrap();
        let (said, log) =
            (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        secrets.look_through("standard output", &said);
        secrets.look_through("standard error", &log);
        assert!(!log.contains(" WARN ") && !log.contains(" ERROR "), "{log}");
        assert_eq!(output.status.code(), Some(code), "{said}\n{log}");
        Said::of(&said)
    }

    /// Waits until its log says so.
    pub(super) async fn says(&mut self, text: &str) {
        let mut log = String::new();
        let errors = self.child.stderr.as_mut().unwrap();
        let read = async {
            let mut buffer = [0; 4_096];
            while !log.contains(text) {
                let count = errors.read(&mut buffer).await.unwrap();
                assert!(count > 0, "it ended without '{text}': {log}");
                log.push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
        };
        tokio::time::timeout(PATIENCE, read).await.unwrap_or_else(|_| panic!("no '{text}' in its log"));
        self.secrets.look_through("standard error", &log);
    }
}

/// A request that waits for the test.
pub(super) struct Held(Switches);

impl Held {
    /// Requests of this kind for a file's object.
    pub(super) fn at(world: &World, operation: Operation, file: Uuid) -> Self {
        Self::after(world, operation, file, 0)
    }

    /// The same, but so many are let through first.
    pub(super) fn after(world: &World, operation: Operation, file: Uuid, others: u64) -> Self {
        let control = world.storage.switches();
        let rule = Rule::new(operation, Action::Hold { when: When::Before }).key(file.to_string());
        control.fault(Rule { skip: others, ..rule });
        Self(control)
    }

    pub(super) async fn is_reached(&self) {
        // Some moves look at both buckets at the same time.
        eventually("the request is there", async || (self.0.holding() > 0).then_some(())).await;
    }

    pub(super) fn release(&self) {
        self.0.clear_faults();
        self.0.release();
    }
}

async fn edit(world: &World, file: Uuid, content: &str) {
    let size = content.len();
    let sql =
        format!(r#"UPDATE "ContactFile" SET "Data" = '{content}', "Size" = {size} WHERE "Id" = '{file}'"#);
    world.crm.sql(sql).await;
}

#[tokio::test]
async fn a_file_that_is_edited_on_the_way_is_left_for_the_next_run_which_moves_the_newer_content() {
    for s3 in DISTURBED {
        world(s3, async |world| {
            let [edited, other] = [in_row(&world, b"content").await, in_row(&world, b"other").await];
            let held = Held::at(&world, Operation::PutObject, edited);
            let run = start(&world, &["--to", "storage", "--apply"]);
            held.is_reached().await;
            edit(&world, edited, "newer").await;
            held.release();
            let said = run.ended(0).await;
            assert_eq!(said.counts(), json!({ "edited": 1, "migrated": 1 }), "{:?}", said.files);
            row_is(&world, edited, DATABASE_STORAGE, Some(b"newer")).await;
            row_is(&world, other, S3_STORAGE, Some(b"other")).await;
            // What was written of it is ours, and nobody's now: the next run puts it aside before it writes the newer one.
            world.storage.holds(&edited.to_string(), Some(b"content"), None).await;
            let explained = world.cli(&["explain", &edited.to_string()]).await.expect(0).stdout;
            assert!(explained.contains("bears the mark of our own migration"), "{explained}");
            let said = migrate(&world, &["--to", "storage", "--apply"], 0).await;
            assert_eq!(said.counts(), json!({ "migrated": 1 }), "{:?}", said.files);
            row_is(&world, edited, S3_STORAGE, Some(b"newer")).await;
            world.storage.holds(&edited.to_string(), Some(b"newer"), Some(b"content")).await;
        })
        .await;
    }
}

#[tokio::test]
async fn an_edit_of_anything_of_a_row_counts_also_where_the_content_stays() {
    for s3 in DISTURBED {
        world(s3, async |world| {
            let file = in_row(&world, b"content").await;
            let held = Held::at(&world, Operation::PutObject, file);
            let run = start(&world, &["--to", "storage", "--apply"]);
            held.is_reached().await;
            world.crm.sql(format!(r#"UPDATE "ContactFile" SET "Notes" = 'x' WHERE "Id" = '{file}'"#)).await;
            held.release();
            assert_eq!(run.ended(0).await.counts(), json!({ "edited": 1 }));
            let said = migrate(&world, &["--to", "storage", "--apply"], 0).await;
            assert_eq!(said.counts(), json!({ "already_there": 1 }), "{:?}", said.files);
            row_is(&world, file, S3_STORAGE, Some(b"content")).await;
        })
        .await;
    }
}

#[tokio::test]
async fn a_row_that_somebody_has_locked_is_not_waited_for() {
    for s3 in DISTURBED {
        world(s3, async |world| {
            let [locked, other] = [in_row(&world, b"content").await, in_row(&world, b"other").await];
            let mut transaction = world.crm.pool.begin().await.unwrap();
            let lock = format!(r#"SELECT FROM "ContactFile" WHERE "Id" = '{locked}' FOR UPDATE"#);
            sqlx::query(sqlx::AssertSqlSafe(lock)).execute(&mut *transaction).await.unwrap();
            let said = migrate(&world, &["--to", "storage", "--apply"], 0).await;
            assert_eq!(said.counts(), json!({ "edited": 1, "migrated": 1 }), "{:?}", said.files);
            transaction.rollback().await.unwrap();
            row_is(&world, other, S3_STORAGE, Some(b"other")).await;
            let said = migrate(&world, &["--to", "storage", "--apply"], 0).await;
            assert_eq!(said.counts(), json!({ "already_there": 1 }), "{:?}", said.files);
        })
        .await;
    }
}

#[tokio::test]
async fn a_file_that_is_deleted_on_the_way_leaves_no_object_behind_and_one_that_is_added_is_found_later() {
    for s3 in DISTURBED {
        world(s3, async |world| {
            let record = world.crm.record("Contact").await;
            let deleted = of_record(&world, record, b"content").await;
            let held = Held::at(&world, Operation::PutObject, deleted);
            let run = start(&world, &["--to", "storage", "--apply"]);
            held.is_reached().await;
            world.crm.delete("Contact", record).await;
            let added = in_row(&world, b"added").await;
            held.release();
            let said = run.ended(0).await;
            assert_eq!(said.file(deleted)["result"], "gone", "{:?}", said.files);
            world.storage.holds(&deleted.to_string(), None, Some(b"content")).await;
            migrate(&world, &["--to", "storage", "--apply"], 0).await;
            row_is(&world, added, S3_STORAGE, Some(b"added")).await;
            world.storage.holds(&added.to_string(), Some(b"added"), None).await;
            is_sound(&world).await;
        })
        .await;
    }
}

#[tokio::test]
async fn an_object_that_the_crm_writes_meanwhile_is_never_overwritten() {
    for s3 in DISTURBED {
        world(s3, async |world| {
        let file = in_row(&world, b"content").await;
        let held = Held::at(&world, Operation::PutObject, file);
        let run = start(&world, &["--to", "storage", "--apply"]);
        held.is_reached().await;
        // A new version of the file, which the CRM puts where new files go.
        world.storage.put_undisturbed(Side::Object, &file.to_string(), b"a new version").await;
        let sql = format!(
            r#"UPDATE "ContactFile" SET "SysFileStorageId" = '{S3_STORAGE}', "Version" = 2, "Size" = 13 WHERE "Id" = '{file}'"#
        );
        world.crm.sql(sql).await;
        held.release();
        let said = run.ended(0).await;
        assert_eq!(said.counts(), json!({ "edited": 1 }), "{:?}", said.files);
        row_is(&world, file, S3_STORAGE, Some(b"content")).await;
        world.storage.holds(&file.to_string(), Some(b"a new version"), None).await;
    })
    .await;
    }
}

#[tokio::test]
async fn a_file_that_is_edited_on_the_way_back_stays_what_it_is() {
    for s3 in DISTURBED {
        world(s3, async |world| {
            let [edited, other] = [in_row(&world, b"content").await, in_row(&world, b"other").await];
            migrate(&world, &["--to", "storage", "--apply"], 0).await;
            migrate(&world, &["--reclaim", "--apply"], 0).await;
            let held = Held::at(&world, Operation::GetObject, edited);
            let run = start(&world, &["--to", "database", "--recycle-objects", "--apply"]);
            held.is_reached().await;
            let sql = format!(r#"UPDATE "ContactFile" SET "Version" = 2 WHERE "Id" = '{edited}'"#);
            world.crm.sql(sql).await;
            held.release();
            let said = run.ended(0).await;
            assert_eq!(said.counts(), json!({ "edited": 1, "migrated": 1 }), "{:?}", said.files);
            row_is(&world, edited, S3_STORAGE, None).await;
            world.storage.holds(&edited.to_string(), Some(b"content"), None).await;
            row_is(&world, other, DATABASE_STORAGE, Some(b"other")).await;
            world.storage.holds(&other.to_string(), None, Some(b"other")).await;
        })
        .await;
    }
}

/// The CRM writes a new version of a file to where its row says, the object first. By then the row may say another place.
#[tokio::test]
async fn a_version_that_is_written_while_the_content_comes_back_is_told_and_stays() {
    for (s3, recycle) in DISTURBED.into_iter().flat_map(|s3| [(s3, false), (s3, true)]) {
        world(s3, async |world| {
            let [saved, other] = [in_row(&world, b"content").await, in_row(&world, b"other").await];
            migrate(&world, &["--to", "storage", "--apply"], 0).await;
            migrate(&world, &["--reclaim", "--apply"], 0).await;
            // The first look at it shows that the key template is right, the second comes after its row was switched.
            let held = Held::after(&world, Operation::HeadObject, saved, 1);
            let line = ["--to", "database", "--apply", "--recycle-objects"];
            let run = start(&world, if recycle { &line } else { &line[..3] });
            held.is_reached().await;
            row_is(&world, saved, DATABASE_STORAGE, Some(b"content")).await;
            world.storage.put_undisturbed(Side::Object, &saved.to_string(), b"newer").await;
            held.release();
            let said = run.ended(1).await;
            assert_eq!(
                said.counts(),
                json!({ "differs": 1, "migrated": 1 }),
                "{s3:?} {recycle}: {:?}",
                said.files
            );
            assert!(
                said.file(saved)["why"].as_str().unwrap().contains("written again meanwhile"),
                "{:?}",
                said.files
            );
            world.storage.holds(&saved.to_string(), Some(b"newer"), None).await;
            row_is(&world, other, DATABASE_STORAGE, Some(b"other")).await;
        })
        .await;
    }
}

/// Between the comparison and the copy: what moves is what was compared, or nothing.
#[tokio::test]
async fn an_object_that_is_written_after_it_was_proven_does_not_go() {
    for s3 in DISTURBED {
        world(s3, async |world| {
            let file = in_row(&world, b"content").await;
            migrate(&world, &["--to", "storage", "--apply"], 0).await;
            migrate(&world, &["--to", "database", "--apply"], 0).await;
            // The first proves it, the second is the move's own.
            let held = Held::after(&world, Operation::HeadObject, file, 1);
            let run = start(&world, &["--to", "database", "--recycle-objects", "--apply"]);
            held.is_reached().await;
            world.storage.put_undisturbed(Side::Object, &file.to_string(), b"newer").await;
            held.release();
            let said = run.ended(0).await;
            assert_eq!(said.counts(), json!({ "edited": 1 }), "{s3:?}: {:?}", said.files);
            world.storage.holds(&file.to_string(), Some(b"newer"), None).await;
        })
        .await;
    }
}

#[tokio::test]
async fn interrupted_it_finishes_what_is_in_hand_and_goes_on_when_it_is_run_again() {
    for s3 in DISTURBED {
        world(s3, async |world| {
            let mut files = Vec::new();
            for _ in 0..12 {
                // Each is more than half of what goes in a group.
                files.push(super::large(&world, 50_000).await);
            }
            let control = world.storage.switches();
            for file in &files {
                let hold = Action::Hold { when: When::Before };
                control.fault(Rule::new(Operation::PutObject, hold).key(file.to_string()));
            }
            let mut run = start(&world, &["--to", "storage", "--apply"]);
            eventually("some are on their way", async || (control.holding() >= 2).then_some(())).await;
            run.interrupt().await;
            run.says("finishing what is in flight").await;
            control.clear_faults();
            control.release();
            let said = run.ended(1).await;
            assert_eq!(said.summary["interrupted"], json!(true), "{}", said.summary);
            let first = said.summary["counts"]["migrated"].as_u64().unwrap();
            assert!((2..12).contains(&first), "{}", said.summary);
            let said = migrate(&world, &["--to", "storage", "--apply"], 0).await;
            assert_eq!(said.summary["counts"]["migrated"].as_u64().unwrap() + first, 12, "{}", said.summary);
            for file in files {
                super::same_as_row(&world, file).await;
            }
        })
        .await;
    }
}

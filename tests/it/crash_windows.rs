//! The process is killed by SIGKILL at each step from the outbox to the acknowledgement: nothing is lost, nothing is
//! noted twice, nobody is condemned, and a fresh process finishes everything.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use file_recycler::storage::Side;
use recycler_test_s3::{Action, Operation, Rule, When};
use uuid::Uuid;

use crate::support::crm::{FILE_TYPE, S3_STORAGE};
use crate::support::process::{Service, eventually, eventually_within};
use crate::support::world::{S3, World, world};

const SIGKILL: i32 = 9;
/// More than one page of dangling rows.
const SEVERAL_PAGES: usize = 1_050;

/// What is on its way when the process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Load {
    /// A record with two hard files and a weak one.
    Plain,
    /// The same, and one file's copy is in the recycle bucket already.
    CopiedBefore,
    /// The same, and one file fails with the storage until it has been tried again later.
    Later,
    /// The same, and one file cannot be moved: other content is in its place.
    Dead,
    /// The record has more dangling rows than one page.
    Pages,
}

/// Every crash window: which half dies there, and over what.
const WINDOWS: &[(&str, &str, Load)] = &[
    ("relay::locked", "listen", Load::Plain),
    ("relay::composed", "listen", Load::Plain),
    ("broker::sent", "listen", Load::Plain),
    ("relay::after_publish", "listen", Load::Plain),
    ("relay::before_commit", "listen", Load::Plain),
    ("relay::after_commit", "listen", Load::Plain),
    ("worker::delivered", "work", Load::Plain),
    ("worker::decoded", "work", Load::Plain),
    ("resolve::before_dangling", "work", Load::Plain),
    ("dangling::deleted", "work", Load::Plain),
    ("resolve::after_dangling", "work", Load::Plain),
    ("resolve::between_pages", "work", Load::Pages),
    ("worker::resolved", "work", Load::Plain),
    ("recycle::after_check", "work", Load::Plain),
    ("recycle::before_copy", "work", Load::Plain),
    ("recycle::after_copy", "work", Load::Plain),
    ("recycle::after_prove", "work", Load::CopiedBefore),
    ("recycle::checked_again", "work", Load::Plain),
    ("recycle::before_delete", "work", Load::Plain),
    ("recycle::after_delete", "work", Load::Plain),
    ("recycle::after_note", "work", Load::Plain),
    ("worker::before_settling", "work", Load::Plain),
    ("worker::before_part", "work", Load::Later),
    ("broker::sent", "work", Load::Later),
    ("worker::part_published", "work", Load::Later),
    ("worker::before_part", "work", Load::Dead),
    ("worker::part_published", "work", Load::Dead),
    ("worker::before_ack", "work", Load::Plain),
    ("worker::after_ack", "work", Load::Plain),
];

/// Marked in the code, and no window of this table: it dies over one message of many (`crash_loop`).
const ELSEWHERE: &[&str] = &["worker::about"];

/// The rooms on the way from the outbox to the acknowledgement.
const ROOMS: &[&str] = &["src/listener", "src/broker", "src/worker", "src/recycle", "src/resolve", "src/db"];

/// What a load consists of.
struct Scene {
    files: Vec<Uuid>,
    /// The file that cannot be moved.
    conflict: Option<Uuid>,
}

impl Load {
    /// Everything is there before the process starts; the record is deleted last.
    async fn prepare(self, world: &World) -> Scene {
        let (record, mut files) = world.record_with_files("Contact", "ContactFile", 2).await;
        let weak = world.crm.weak_file("SysFile", "Contact", record).await;
        world.upload(weak).await;
        files.push(weak);
        let mut conflict = None;
        match self {
            Self::Plain => {}
            Self::CopiedBefore => {
                let key = files[0].to_string();
                world.storage.put(Side::Recycle, &key, key.as_bytes()).await;
            }
            Self::Later => {
                let refused =
                    Action::Status { status: 500, code: "InternalError".to_owned(), when: When::Before };
                let key = files[0].to_string();
                world.storage.control().fault(Rule::new(Operation::CopyObject, refused).key(key));
            }
            Self::Dead => {
                let key = files[0].to_string();
                world.storage.put(Side::Recycle, &key, b"other content").await;
                conflict = Some(files.remove(0));
            }
            Self::Pages => files.extend(pages(world, record).await),
        }
        world.crm.delete("Contact", record).await;
        Scene { files, conflict }
    }
}

/// Weak files of a record, more than a page.
async fn pages(world: &World, record: Uuid) -> Vec<Uuid> {
    let sql = format!(
        r#"INSERT INTO "FeedFile" ("TypeId", "SysFileStorageId", "Size", "RecordSchemaName", "RecordId")
           SELECT '{FILE_TYPE}', '{S3_STORAGE}', 36, 'Contact', '{record}' FROM generate_series(1, {SEVERAL_PAGES})"#
    );
    world.crm.sql(sql).await;
    let ids: Vec<Uuid> =
        sqlx::query_scalar(r#"SELECT "Id" FROM "FeedFile""#).fetch_all(&world.crm.pool).await.unwrap();
    for id in &ids {
        world.storage.control().put(&world.storage.object, &id.to_string(), id.to_string());
    }
    ids
}

/// Is every file in at least one bucket? The object bucket is listed first: a copy is there before its source goes.
fn nothing_is_purged(world: &World, scene: &Scene, point: &str) {
    let control = world.storage.control();
    let mut keys: BTreeSet<String> = control.keys(&world.storage.object).into_iter().collect();
    keys.extend(control.keys(&world.storage.recycle));
    for file in scene.files.iter().chain(&scene.conflict) {
        assert!(keys.contains(&file.to_string()), "{point}: {file} is in neither bucket");
    }
}

async fn dies_at(world: Arc<World>, (point, half, load): (&'static str, &str, Load)) {
    let bystander = world.record_with_files("Contact", "ContactFile", 1).await.1[0];
    let scene = load.prepare(&world).await;
    let mut doomed = world.doomed(half, point).await.expect_log("dead-lettered");
    let other = match half {
        "work" => Some(Service::start(&world.environment, &["listen"]).await),
        _ => None,
    };
    assert_eq!(doomed.signal().await, Some(SIGKILL), "{point} was not reached: {:?}", doomed.log());
    let said = format!("failpoint {point}: SIGKILL");
    eventually("it says where it died", async || {
        doomed.log().iter().any(|line| line.contains(&said)).then_some(())
    })
    .await;
    nothing_is_purged(&world, &scene, point);
    world.is_untouched(bystander).await;

    world.storage.control().clear_faults();
    let service = world.run().await.expect_log("dead-lettered");
    everything_moves(&world, &scene).await;
    world.quiet(&service).await;
    noted_once(&world, &scene).await;
    world.is_untouched(bystander).await;
    let dead = world.cli(&["dlq", "list", "--json"]).await.expect(0).json();
    match scene.conflict {
        None => assert_eq!(dead["total"], 0, "{point}: {dead}"),
        // Published, and dead before it was acknowledged: it may be there twice, but never not at all.
        Some(file) => {
            let total = dead["total"].as_u64().unwrap();
            assert!((1..=2).contains(&total), "{point}: {dead}");
            for letter in dead["messages"].as_array().unwrap() {
                assert_eq!(
                    (&letter["reason"], &letter["files"][0]),
                    (&"conflict".into(), &file.to_string().into())
                );
            }
            world
                .storage
                .holds(&file.to_string(), Some(file.to_string().as_bytes()), Some(b"other content"))
                .await;
        }
    }
    drop((service, other, doomed));
}

/// Waits until every file is in the recycle bucket only, and compares contents (of the many only some).
async fn everything_moves(world: &World, scene: &Scene) {
    let control = world.storage.control();
    eventually_within(Duration::from_mins(3), "every file is recycled", async || {
        let recycled: BTreeSet<String> = control.keys(&world.storage.recycle).into_iter().collect();
        let left: BTreeSet<String> = control.keys(&world.storage.object).into_iter().collect();
        let moved = |file: &Uuid| recycled.contains(&file.to_string()) && !left.contains(&file.to_string());
        scene.files.iter().all(moved).then_some(())
    })
    .await;
    for file in scene.files.iter().take(20) {
        world.recycled(*file).await;
    }
}

/// Every file that moved is in the ledger once for its event, and nothing else is.
async fn noted_once(world: &World, scene: &Scene) {
    let expected = i64::try_from(scene.files.len()).unwrap();
    let count = |what: &str| {
        format!("SELECT count({what}) FROM file_recycler.ledger WHERE outcome IN ('moved', 'already_moved')")
    };
    eventually("every file is in the ledger", async || {
        (world.crm.number(count("DISTINCT file_id")).await >= expected).then_some(())
    })
    .await;
    assert_eq!(world.crm.number(count("*")).await, expected, "each once");
}

macro_rules! windows {
    ($($test:ident: $at:literal;)+) => {
        $(#[tokio::test]
        async fn $test() {
            world(S3::Embedded, async |world| dies_at(world, WINDOWS[$at]).await).await;
        })+

        /// No line of the table is without its test.
        #[test]
        fn every_window_has_its_test() {
            let tested: Vec<usize> = vec![$($at),+];
            assert_eq!(tested, (0..WINDOWS.len()).collect::<Vec<_>>());
        }
    };
}

windows! {
    a_relay_killed_with_rows_locked: 0;
    a_relay_killed_with_events_composed: 1;
    a_relay_killed_with_an_event_sent: 2;
    a_relay_killed_with_events_confirmed: 3;
    a_relay_killed_with_rows_deleted_before_its_commit: 4;
    a_relay_killed_after_its_commit: 5;
    a_worker_killed_with_a_message_delivered: 6;
    a_worker_killed_with_a_message_decoded: 7;
    a_worker_killed_before_dangling_rows_are_deleted: 8;
    case_47_a_worker_killed_with_dangling_rows_deleted_before_the_commit: 9;
    case_47_a_worker_killed_after_dangling_rows_are_deleted: 10;
    a_worker_killed_between_pages_of_dangling_rows: 11;
    a_worker_killed_with_files_resolved: 12;
    a_worker_killed_after_the_first_check: 13;
    a_worker_killed_before_the_copy: 14;
    a_worker_killed_after_the_copy: 15;
    a_worker_killed_after_the_careful_proof: 16;
    a_worker_killed_after_the_second_check: 17;
    a_worker_killed_before_the_delete: 18;
    a_worker_killed_after_the_delete: 19;
    a_worker_killed_after_the_note: 20;
    a_worker_killed_before_settling: 21;
    a_worker_killed_before_a_later_try_is_published: 22;
    a_worker_killed_with_a_later_try_sent: 23;
    a_worker_killed_with_a_later_try_published: 24;
    a_worker_killed_before_a_dead_letter_is_published: 25;
    a_worker_killed_with_a_dead_letter_published: 26;
    a_worker_killed_before_the_acknowledgement: 27;
    a_worker_killed_after_the_acknowledgement: 28;
}

/// Every point in the code has its line in the table, and the other way round.
#[test]
fn every_crash_window_of_the_code_is_in_the_table() {
    let mut found = BTreeSet::new();
    for path in ROOMS.iter().flat_map(|room| crate::tidy::rust_files(room)) {
        let text = std::fs::read_to_string(path).unwrap();
        for start in ["failpoint::reach(\"", "failpoint::reach_about(\""] {
            let points =
                text.match_indices(start).filter_map(|(at, _)| text[at + start.len()..].split('"').next());
            found.extend(points.map(str::to_owned));
        }
    }
    let listed = WINDOWS.iter().map(|(point, ..)| *point).chain(ELSEWHERE.iter().copied());
    assert_eq!(found, listed.map(str::to_owned).collect());
}

/// The copy's request is on the wire, and done, but its answer never comes: the process dies waiting for it.
#[tokio::test]
async fn a_worker_killed_while_its_copy_is_under_way() {
    dies_waiting_for(Operation::CopyObject).await;
}

/// The same of the deletion.
#[tokio::test]
async fn a_worker_killed_while_its_delete_is_under_way() {
    dies_waiting_for(Operation::DeleteObjects).await;
}

async fn dies_waiting_for(operation: Operation) {
    world(S3::Embedded, async |world| {
        let bystander = world.record_with_files("Contact", "ContactFile", 1).await.1[0];
        let mut doomed = world.run().await;
        let control = world.storage.control();
        control.fault(Rule::new(operation, Action::Stall { when: When::After }));
        let before = control.counts().of(operation);
        let scene = Load::Plain.prepare(&world).await;
        eventually("the request is under way", async || {
            (control.counts().of(operation) > before).then_some(())
        })
        .await;
        doomed.kill().await;
        control.clear_faults();
        nothing_is_purged(&world, &scene, operation.name());
        let service = world.run().await;
        for file in &scene.files {
            world.recycled(*file).await;
        }
        world.quiet(&service).await;
        noted_once(&world, &scene).await;
        world.is_untouched(bystander).await;
        assert_eq!(world.cli(&["dlq", "list", "--json"]).await.expect(0).json()["total"], 0);
        drop((service, doomed));
    })
    .await;
}

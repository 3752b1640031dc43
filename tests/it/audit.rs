//! `audit`: every class on a real bucket, doubts that dissolve, walks that cannot see everything, and orphans that move
//! only within their bounds.

mod migrated;
mod untouched;
mod walks;

use std::collections::BTreeMap;

use file_recycler::storage::Side;
use recycler_test_s3::{Action, Operation, Rule, When};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::crm::{Crm, DATABASE_STORAGE, S3_STORAGE};
use crate::support::process::{self, Output, eventually};
use crate::support::world::{S3, World, bare_world, world};

/// Objects count as old from the moment of their writing on: no test can wait for an hour.
const OLD: &str = "protection::age_of_orphans=return";
/// An outage is told at once.
const IMPATIENT: &str = "protection::patience_on_the_way=return";

fn unavailable() -> Action {
    Action::Status { status: 503, code: "ServiceUnavailable".to_owned(), when: When::Before }
}

fn hold() -> Action {
    Action::Hold { when: When::Before }
}

async fn audit(world: &World, failpoints: &[&str], arguments: &[&str]) -> Output {
    audit_in(world.environment.clone(), failpoints, arguments).await
}

async fn audit_in(mut environment: Vec<(String, String)>, failpoints: &[&str], arguments: &[&str]) -> Output {
    // What a test without a protection takes away stays away.
    let removed = environment.iter().position(|(name, _)| name == "FAILPOINTS");
    let removed = removed.map(|at| environment.remove(at).1);
    let all: Vec<&str> = failpoints.iter().copied().chain(removed.as_deref()).collect();
    environment.push(("FAILPOINTS".to_owned(), all.join(";")));
    process::run(&environment, &[&["audit", "--json"], arguments].concat()).await
}

/// The counts that are not zero.
pub fn counts(audit: &Value) -> BTreeMap<String, u64> {
    let counts = audit["counts"].as_object().unwrap();
    counts
        .iter()
        .map(|(class, count)| (class.clone(), count.as_u64().unwrap()))
        .filter(|(_, count)| *count > 0)
        .collect()
}

fn of(expected: &[(&str, u64)]) -> BTreeMap<String, u64> {
    expected.iter().map(|(class, count)| ((*class).to_owned(), *count)).collect()
}

/// A file of each class, by its class.
async fn furnish(world: &World) -> BTreeMap<&'static str, Uuid> {
    let contact = world.crm.record("Contact").await;
    let file = async || world.crm.hard_file("ContactFile", "Contact", contact).await;
    let put = async |side: Side, file: Uuid| {
        world.storage.put(side, &file.to_string(), file.to_string().as_bytes()).await;
    };
    let mut files = BTreeMap::new();
    for (class, object, copy) in [
        ("ok", true, true),
        ("restorable", false, true),
        ("lost", false, false),
        ("left_behind", true, false),
        ("parentless", true, false),
    ] {
        let id = file().await;
        if object {
            put(Side::Object, id).await;
        }
        if copy {
            put(Side::Recycle, id).await;
        }
        files.insert(class, id);
    }
    let (elsewhere, parentless) = (files["left_behind"], files["parentless"]);
    world
        .crm
        .sql(format!(
            r#"UPDATE "ContactFile" SET "SysFileStorageId" = '{DATABASE_STORAGE}' WHERE "Id" = '{elsewhere}';
               UPDATE "ContactFile" SET "ContactId" = NULL WHERE "Id" = '{parentless}'"#
        ))
        .await;
    let dangling = world.crm.weak_file("SysFile", "Contact", Uuid::new_v4()).await;
    put(Side::Object, dangling).await;
    files.insert("dangling", dangling);
    for (class, side) in [("orphan", Side::Object), ("linked", Side::Object), ("recycled", Side::Recycle)] {
        let id = Uuid::new_v4();
        put(side, id).await;
        files.insert(class, id);
    }
    world.crm.link("Contact", contact, "ContactFile", files["linked"]).await;
    files
}

#[tokio::test]
async fn every_class_is_told_with_its_bytes_and_a_line_in_the_report() {
    for s3 in [S3::Embedded, S3::Foreign] {
        world(s3, async |world| {
            let mut files = furnish(&world).await;
            let account = world.crm.record("Account").await;
            let pending = world.crm.hard_file("AccountFile", "Account", account).await;
            world.upload(pending).await;
            world.crm.delete("Account", account).await;
            files.insert("pending", pending);
            let strange = "ordner/Übersicht +a%20b &c.txt";
            world.storage.put(Side::Object, strange, b"12345").await;
            let path = std::env::temp_dir().join(format!("audit-{}.jsonl", Uuid::new_v4()));
            let report = path.to_str().unwrap();

            let done = audit(&world, &[OLD], &["--report", report]).await.expect(1).json();
            assert_eq!(done["complete"], true, "{done}");
            let mut expected: Vec<_> = files.keys().map(|class| (*class, 1)).collect();
            expected.push(("unknown", 1));
            assert_eq!(counts(&done), of(&expected), "{done}");
            assert_eq!((&done["bytes"]["ok"], &done["bytes"]["unknown"]), (&json!(36), &json!(5)), "{done}");
            // What its row says, since there is nothing else.
            assert_eq!(done["bytes"]["lost"], 5, "{done}");
            assert_eq!(done["buckets"]["object"]["files"], 8, "our own objects are left out: {done}");
            assert_eq!(done["fix"], Value::Null);

            let lines = std::fs::read_to_string(&path).unwrap();
            std::fs::remove_file(&path).unwrap();
            let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            assert_eq!(lines.len(), files.len() + 1);
            for (class, id) in &files {
                let line = lines.iter().find(|line| line["class"] == *class).unwrap();
                assert_eq!((&line["file_id"], &line["key"]), (&json!(id), &json!(id.to_string())), "{line}");
            }
            let line = lines.iter().find(|line| line["class"] == "unknown").unwrap();
            assert_eq!((&line["file_id"], &line["key"]), (&Value::Null, &json!(strange)), "{line}");
        })
        .await;
    }
}

#[tokio::test]
async fn an_object_is_no_orphan_before_its_time_and_nothing_bad_is_exit_0() {
    world(S3::Embedded, async |world| {
        world.upload(Uuid::new_v4()).await;
        let done = audit(&world, &[], &[]).await.expect(0).json();
        assert_eq!(counts(&done), of(&[("young", 1)]), "{done}");
        for (age, told) in [("59m", "at least 1h"), ("soon", "--older-than")] {
            let refused = audit(&world, &[], &["--older-than", age]).await.expect(2);
            assert!(refused.stderr.contains(told), "{refused:?}");
        }
        let alone = audit(&world, &[], &["--apply"]).await.expect(2);
        assert!(alone.stderr.contains("--fix"), "{alone:?}");
    })
    .await;
}

#[tokio::test]
async fn what_changes_after_the_listing_is_asked_again_and_not_reported() {
    world(S3::Embedded, async |world| {
        let contact = world.crm.record("Contact").await;
        let missing = world.crm.hard_file("ContactFile", "Contact", contact).await;
        let early = Uuid::new_v4();
        world.upload(early).await;
        let parentless = world.crm.hard_file("ContactFile", "Contact", contact).await;
        world.upload(parentless).await;
        world.crm.sql(format!(r#"UPDATE "ContactFile" SET "ContactId" = NULL WHERE "Id" = '{parentless}'"#)).await;

        // Both are seen by the listing, and held when they are looked at again.
        let switches = world.storage.switches();
        for file in [missing, early, parentless] {
            switches.fault(
                Rule::new(Operation::HeadObject, hold())
                    .bucket(world.storage.bucket(Side::Object))
                    .key(file.to_string()),
            );
        }
        let changes = async {
            eventually("all are looked at again", async || (switches.holding() >= 3).then_some(())).await;
            world.upload(missing).await;
            let row = format!(
                r#"UPDATE "ContactFile" SET "ContactId" = '{contact}' WHERE "Id" = '{parentless}';
                   INSERT INTO "ContactFile" ("Id", "TypeId", "Size", "SysFileStorageId", "ContactId")
                   SELECT '{early}', "TypeId", "Size", '{S3_STORAGE}', "ContactId" FROM "ContactFile" LIMIT 1"#
            );
            world.crm.sql(row).await;
            switches.clear_faults();
            switches.release();
        };
        let (done, ()) = tokio::join!(audit(&world, &[OLD], &[]), changes);
        let done = done.expect(0).json();
        assert_eq!(counts(&done), of(&[("ok", 3)]), "{done}");
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_listed_makes_it_incomplete_and_no_orphan_is_touched() {
    world(S3::Embedded, async |world| {
        let orphan = Uuid::new_v4();
        world.upload(orphan).await;
        let contact = world.crm.record("Contact").await;
        let lost = world.crm.hard_file("ContactFile", "Contact", contact).await;
        let (object, recycle) = (world.storage.bucket(Side::Object), world.storage.bucket(Side::Recycle));
        for bucket in [object, recycle] {
            let rule = Rule::new(Operation::ListObjectsV2, unavailable()).bucket(bucket).skip(3).times(1);
            world.storage.switches().fault(rule);
            let fix = ["--fix", "orphans", "--max-percent", "100", "--apply"];
            let done = audit(&world, &[OLD, IMPATIENT], &fix).await.expect(1).json();
            assert_eq!(done["complete"], false, "{done}");
            assert!(done["missing"][0].as_str().unwrap().contains("listing the"), "{done}");
            let refused = done["fix"]["refused"].as_str().unwrap();
            assert!(refused.contains("not everything was seen"), "{done}");
            assert_eq!(done["fix"]["applied"], false, "{done}");
            world.is_untouched(orphan).await;
            world.storage.switches().clear_faults();
        }
        let done = audit(&world, &[OLD, IMPATIENT], &[]).await.expect(1).json();
        assert_eq!(counts(&done), of(&[("orphan", 1), ("lost", 1)]), "{lost} is one of them: {done}");
    })
    .await;
}

#[tokio::test]
async fn a_short_outage_of_the_storage_is_waited_for() {
    world(S3::Embedded, async |world| {
        let contact = world.crm.record("Contact").await;
        let file = world.crm.hard_file("ContactFile", "Contact", contact).await;
        world.upload(file).await;
        let lost = world.crm.hard_file("ContactFile", "Contact", contact).await;
        for operation in [Operation::ListObjectsV2, Operation::HeadObject] {
            world.storage.switches().fault(Rule::new(operation, unavailable()).times(2));
        }
        let done = audit(&world, &[], &[]).await.expect(1).json();
        assert_eq!(done["complete"], true, "{done}");
        assert_eq!(counts(&done), of(&[("ok", 1), ("lost", 1)]), "{lost} is lost: {done}");
    })
    .await;
}

#[tokio::test]
async fn orphans_move_within_their_bounds_and_nothing_else_does() {
    for s3 in [S3::Embedded, S3::Foreign] {
        world(s3, async |world| {
            let files = furnish(&world).await;
            let orphan = files["orphan"];
            let planned = audit(&world, &[OLD], &["--fix", "orphans"]).await.expect(1).json();
            let told = planned["fix"]["refused"].as_str().unwrap();
            assert!(told.contains("more than --max-percent 5"), "{planned}");
            let wide = ["--fix", "orphans", "--max-percent", "20"];
            let planned = audit(&world, &[OLD], &wide).await.expect(1).json();
            assert_eq!(
                (&planned["fix"]["applied"], &planned["fix"]["orphans"], &planned["fix"]["bytes"]),
                (&json!(false), &json!(1), &json!(36)),
                "{planned}"
            );
            let none = [&wide[..], &["--max", "0", "--apply"]].concat();
            let refused = audit(&world, &[OLD], &none).await.expect(1).json();
            assert!(refused["fix"]["refused"].as_str().unwrap().contains("more than --max 0"), "{refused}");
            world.is_untouched(orphan).await;

            let apply = [&wide[..], &["--apply"]].concat();
            // One file is lost, and one is to be restored: that stays bad.
            let done = audit(&world, &[OLD], &apply).await.expect(1).json();
            assert_eq!(
                (&done["fix"]["applied"], &done["fix"]["outcomes"]),
                (&json!(true), &json!({"moved": 1})),
                "{done}"
            );
            world.storage.holds(&orphan.to_string(), None, Some(orphan.to_string().as_bytes())).await;
            for class in ["linked", "left_behind", "parentless", "dangling"] {
                world.is_untouched(files[class]).await;
            }
            let noted = format!(
                "SELECT count(*) FROM file_recycler.ledger WHERE file_id = '{orphan}' AND outcome = 'moved' AND event_id LIKE 'audit-%'"
            );
            assert_eq!(world.crm.number(noted).await, 1);
            let changes = "SELECT count(*) FROM file_recycler.trail WHERE action = 'audit --fix orphans'";
            assert_eq!(world.crm.number(changes).await, 1, "who did it is kept");
            let again = audit(&world, &[OLD], &wide).await.expect(1).json();
            assert_eq!((&again["counts"]["orphan"], &again["counts"]["recycled"]), (&json!(0), &json!(2)));
        })
        .await;
    }
}

#[tokio::test]
async fn an_orphan_that_gets_its_row_before_the_move_stays() {
    world(S3::Embedded, async |world| {
        let contact = world.crm.record("Contact").await;
        let orphan = Uuid::new_v4();
        world.upload(orphan).await;
        let switches = world.storage.switches();
        // The copy is made; the check before the deletion has to see the row.
        switches.fault(Rule::new(Operation::CopyObject, hold()).key(orphan.to_string()));
        let row = async {
            eventually("it is being copied", async || (switches.holding() >= 1).then_some(())).await;
            let file = world.crm.hard_file("ContactFile", "Contact", contact).await;
            world
                .crm
                .sql(format!(r#"UPDATE "ContactFile" SET "Id" = '{orphan}' WHERE "Id" = '{file}'"#))
                .await;
            switches.clear_faults();
            switches.release();
        };
        let fix = ["--fix", "orphans", "--max-percent", "100", "--apply"];
        let (done, ()) = tokio::join!(audit(&world, &[OLD], &fix), row);
        let done = done.expect(0).json();
        assert_eq!(done["fix"]["outcomes"], json!({"alive": 1}), "{done}");
        assert!(world.object(Side::Object, orphan).await.is_some());
    })
    .await;
}

#[tokio::test]
async fn a_copied_or_paused_environment_has_no_orphans_moved() {
    world(S3::Embedded, async |world| {
        let orphan = Uuid::new_v4();
        world.upload(orphan).await;
        let fix = ["--fix", "orphans", "--max-percent", "100", "--apply"];
        world.cli(&["pause", "--why", "a test"]).await.expect(0);
        let refused = audit(&world, &[OLD], &fix).await.expect(1);
        assert!(refused.stderr.contains("paused: a test"), "{refused:?}");
        world.cli(&["resume"]).await.expect(0);
        world.crm.pool.close().await;
        let copy = Crm::copy_of(&world.crm).await;
        let mut environment = world.with(&[("DATABASE__URL", &copy.url)]);
        environment.push(("FAILPOINTS".to_owned(), OLD.to_owned()));
        let line = [&["audit", "--json"], &fix[..]].concat();
        let refused = process::run(&environment, &line).await.expect(1);
        assert!(refused.stderr.contains("is it a copy?"), "{refused:?}");
        // To look is no harm.
        let looked = process::run(&environment, &["audit", "--json"]).await.expect(1).json();
        assert_eq!(counts(&looked), of(&[("orphan", 1)]), "{looked}");
        world.is_untouched(orphan).await;
        copy.drop_database().await;
    })
    .await;
}

#[tokio::test]
async fn it_looks_at_a_database_that_nothing_was_installed_in() {
    bare_world(S3::Embedded, async |world| {
        let files = furnish(&world).await;
        let done = audit(&world, &[OLD], &[]).await.expect(1).json();
        let expected: Vec<_> = files.keys().map(|class| (*class, 1)).collect();
        assert_eq!(counts(&done), of(&expected), "{done}");
        let refused = audit(&world, &[OLD], &["--fix", "orphans", "--apply"]).await.expect(1);
        assert!(refused.stderr.contains("never adopted"), "{refused:?}");
        let nothing = world.with(&[("CRM__PROFILE", "events"), ("CRM__TRUST_OUTSIDE_EVENTS", "true")]);
        let refused = process::run(&nothing, &["audit"]).await.expect(2);
        assert!(refused.stderr.contains("there is no database to compare"), "{refused:?}");
    })
    .await;
}

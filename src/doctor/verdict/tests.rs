//! The verdicts, by tables.

use std::time::Duration;

use time::OffsetDateTime;
use time::macros::datetime;
use uuid::Uuid;

use super::*;
use crate::broker::{BrokerError, Declared, Depth, Examined, Greeting};
use crate::db::contents::{Amount, Contents};
use crate::db::features::ActiveStorage;
use crate::db::outbox::{Backlog, Head};
use crate::db::process::Process;
use crate::db::schema::SchemaState;
use crate::db::server::{Powers, ServerInfo};
use crate::doctor::check::Grade::{self, Fail, Ok as Well, Warn};
use crate::guard::{Fit, Verdict};
use crate::key_template::KeyTemplate;
use crate::retention::{Scope, Terms};
use crate::storage::{Capabilities, DefaultLock, Encryption, ObjectLock, Support, Tried, UnseenClass};

/// Asserts a grade, a part of the message, and that trouble comes with advice.
#[track_caller]
fn says(finding: &Finding, grade: Grade, part: &str) {
    assert_eq!(finding.grade, grade, "{finding:?}");
    assert!(finding.message.contains(part), "'{part}' is not in {finding:?}");
    assert_eq!(finding.advice.is_empty(), grade == Well, "{finding:?}");
}

#[test]
fn servers_that_are_too_old_are_told_and_those_that_are_none_of_ours_too() {
    let at = |version: &str, version_number| ServerInfo {
        version: version.to_owned(),
        version_number,
        is_primary: true,
        now: OffsetDateTime::UNIX_EPOCH,
        ignored: Vec::new(),
    };
    for (info, grade) in
        [(at("14.13", 140_013), Fail), (at("15.0", 150_000), Well), (at("18.1", 180_001), Well)]
    {
        says(
            &database_connection(&info, "db:5432"),
            grade,
            &format!("PostgreSQL {} at db:5432", info.version),
        );
    }
    for (product, version, grade) in [
        ("RabbitMQ", "3.9.29", Fail),
        ("RabbitMQ", "3.10.0", Well),
        ("RabbitMQ", "4.2.1-rc.1", Well),
        ("RabbitMQ", "new", Warn),
        ("LavinMQ", "2.4.0", Warn),
    ] {
        let greeting = Greeting { product: product.to_owned(), version: version.to_owned() };
        says(&broker_connection(Ok(&greeting)), grade, version);
    }
    let error = BrokerError::Configuration("no greeting".to_owned());
    says(&broker_connection(Err(&error)), Warn, "no greeting");
}

#[test]
fn where_contents_are_is_told_with_the_command_that_changes_it_and_never_warned_of() {
    let amount = |files, bytes| Amount { files, bytes };
    let ours = ActiveStorage::Ours("S3_storage".to_owned());
    let other = ActiveStorage::Other("Database".to_owned());
    let both = Contents { database: amount(1, 2048), ours: amount(2, 10), ..Contents::default() };
    let migrate = "`file-recycler migrate --to storage` would bring";
    let reclaim = "`file-recycler migrate --reclaim` frees it";
    let unread = "the role may not read it";
    for (contents, active, parts, absent) in [
        (None, &ours, vec!["not counted in time", "new ones go to S3_storage"], vec![reclaim]),
        (
            Some(Contents::default()),
            &ours,
            vec!["0 files (0 B) in the database, 0 files"],
            vec![migrate, unread],
        ),
        (
            Some(both.clone()),
            &ours,
            vec!["1 file (2.00 KiB) in the database, 2 files (10 B) in S3", migrate, unread],
            vec![],
        ),
        (Some(both.clone()), &other, vec!["new ones go to Database"], vec![migrate]),
        (
            Some(Contents { left: Some(amount(2, 10)), ..both.clone() }),
            &ActiveStorage::Unknown,
            vec![
                "where new ones go is unknown",
                "2 of the rows in S3 still have content in the database, 10 B",
                reclaim,
            ],
            vec![migrate, unread],
        ),
        (
            Some(Contents { left: Some(amount(0, 0)), ..both.clone() }),
            &ours,
            vec![migrate],
            vec![reclaim, unread],
        ),
        (
            Some(Contents { others: amount(3, 3), unknown: amount(4, 0), ..both }),
            &ours,
            vec!["3 files (3 B) in other storages", "4 files (0 B) of which the row does not tell"],
            vec![],
        ),
    ] {
        let finding = file_contents(contents.as_ref(), active);
        for part in parts {
            says(&finding, Well, part);
        }
        for part in absent {
            assert!(!finding.message.contains(part), "'{part}' is in {finding:?}");
        }
    }
}

#[test]
fn clocks_are_apart_by_no_more_than_can_be_told() {
    let asked = (datetime!(2026-11-28 10:00:10.5 UTC), datetime!(2026-11-28 10:00:11.5 UTC));
    let second = time::Duration::seconds(1);
    for (other, whole, skew) in [
        (datetime!(2026-11-28 10:00:11 UTC), false, time::Duration::ZERO),
        (datetime!(2026-11-28 10:00:10 UTC), true, time::Duration::ZERO),
        (datetime!(2026-11-28 10:00:09.5 UTC), false, -second),
        (datetime!(2026-11-28 10:00:08.5 UTC), true, -second),
        (datetime!(2026-11-28 10:00:12.5 UTC), false, second),
    ] {
        assert_eq!(Skew::of(other, asked, whole), Skew(skew), "{other}");
    }
    let by = |seconds| Some(Skew(time::Duration::seconds(seconds)));
    for (database, storage, grade, part) in [
        (by(0), by(-1), Well, "the database's agrees and the storage's is 1 s behind"),
        (by(5), None, Well, "the database's is 5 s ahead and the storage's is not known"),
        (by(6), by(0), Warn, "off by as much"),
        (by(0), by(-899), Warn, "the storage's is 899 s behind"),
        (by(0), by(-900), Fail, "refuses requests"),
        (by(4_000), by(0), Fail, "the database's is 4000 s ahead"),
        (None, None, Warn, "not known"),
    ] {
        says(&clocks(database, storage), grade, part);
    }
    says(&clock_refused(), Fail, "refuses every request");
}

#[test]
fn the_role_is_told_for_each_power_that_it_does_not_need() {
    let powers = |superuser, owned_tables, makes_roles| Powers {
        role: "crm".to_owned(),
        superuser,
        owned_tables,
        makes_roles,
    };
    for (powers, grade, part) in [
        (powers(false, 0, false), Well, "no powers"),
        (powers(true, 0, true), Warn, "the role crm is a superuser: whoever"),
        (powers(false, 3, false), Warn, "as the owner of 3"),
        (powers(false, 0, true), Warn, "may make other roles"),
    ] {
        says(&database_role(&powers), grade, part);
    }
    let lacks = |text: &str| Some(text.to_owned());
    says(&database_rights(lacks("SELECT"), None), Fail, "SELECT");
    says(&database_rights(None, lacks("elsewhere")), Warn, "elsewhere");
    says(&database_rights(None, None), Well, "every right");
    says(&primary(false), Fail, "a replica");
    for (state, grade) in
        [(SchemaState::Current, Well), (SchemaState::Behind, Fail), (SchemaState::Missing, Fail)]
    {
        says(&own_schema(state, false), grade, "");
    }
    says(&own_schema(SchemaState::Current, true), Warn, "of a newer version");
}

#[test]
fn what_waits_and_who_works() {
    let waits = |seconds| Backlog {
        rows: 2,
        capped: false,
        oldest: Some(Duration::from_secs(seconds)),
        unknown: 0,
        head: Some(Head { id: 1, waits: Duration::from_secs(seconds) }),
    };
    let grace = Duration::from_mins(15);
    says(&outbox(&Backlog { rows: 0, head: None, ..waits(0) }, grace, false), Well, "nothing waits");
    says(&outbox(&waits(960), grace, false), Well, "2 rows wait, the oldest for 960 s");
    says(&outbox(&waits(961), grace, false), Warn, "does a relay run");
    says(&outbox(&waits(961), grace, true), Well, "2 rows wait");
    says(&outbox(&Backlog { unknown: 3, ..waits(0) }, grace, false), Warn, "3 outbox rows are of kinds");

    let process = |ready, why: Option<&str>| Process {
        name: "host:7".to_owned(),
        halves: "work".to_owned(),
        ready,
        why: why.map(str::to_owned),
    };
    says(&processes(&[]), Warn, "no process");
    says(&processes(&[process(true, None)]), Well, "1 run");
    says(
        &processes(&[process(true, None), process(false, Some("guard: no"))]),
        Fail,
        "work host:7 is not ready: guard: no",
    );
    for (all, unseen, grade) in [(0, 0, Well), (7, 0, Well), (7, 2, Fail)] {
        says(&capture_failures(all, unseen), grade, "");
    }
    says(&silence(None), Well, "");
}

#[test]
fn the_guards_verdict_is_the_environments() {
    let stale = || Some("nobody has advanced the nonce".to_owned());
    for (verdict, stale, grade) in [
        (Verdict::Open(Uuid::from_u128(1)), None, Well),
        (Verdict::Open(Uuid::from_u128(1)), stale(), Warn),
        (Verdict::Paused("why".to_owned()), None, Well),
        (Verdict::Paused("why".to_owned()), stale(), Warn),
        (Verdict::Unknown("not yet"), None, Warn),
        (Verdict::Refused("a copy".to_owned()), None, Fail),
        (Verdict::Foreign("an event".to_owned()), None, Fail),
    ] {
        says(&environment(&verdict, stale), grade, "");
    }
    let template = KeyTemplate::default();
    let right: KeyTemplate = "{file_id:upper}".parse().unwrap();
    for (fit, grade, part) in [
        (Fit::Fits, Well, "{file_id}"),
        (Fit::Ours, Well, "a migration"),
        (Fit::Empty, Well, "no row"),
        (Fit::Nowhere, Warn, "20 newest rows"),
        (Fit::Other(right), Fail, "set storage.key_template = \"{file_id:upper}\""),
    ] {
        says(&key_template(&template, &fit, 20), grade, part);
    }
}

#[test]
fn a_topology_that_could_lose_messages_is_worse_than_one_that_is_missing() {
    let examined = |all: &[Declared]| -> Vec<Examined> {
        all.iter().map(|is| Examined { name: "q".to_owned(), is: is.clone() }).collect()
    };
    let differs = Declared::Differs("it is classic".to_owned());
    let refused = Declared::Refused("needs configure".to_owned());
    for (all, topology, rights) in [
        (vec![Declared::Fits, Declared::Fits], Well, Well),
        (vec![Declared::Missing, Declared::Missing], Warn, Well),
        (vec![Declared::Fits, Declared::Missing], Fail, Well),
        (vec![Declared::Missing, differs.clone()], Fail, Well),
        (vec![Declared::Fits, refused.clone()], Warn, Fail),
        (vec![differs, refused], Fail, Fail),
    ] {
        let all = examined(&all);
        says(&broker_topology(&all), topology, "");
        says(&broker_rights(&all, &[]), rights, "");
        says(&broker_rights(&all, &["needs write".to_owned()]), Fail, "needs write");
        let blocked = if rights == Fail { Fail } else { Warn };
        says(&broker_rights_blocked(&all), blocked, "");
    }
    let depths = |messages, consumers| Some(Depths { work: Depth { messages, consumers }, waiting: 3 });
    for (depths, grade, part) in [
        (None, Well, "not declared yet"),
        (depths(0, 0), Well, "3 for their next try"),
        (depths(5, 1), Well, "1 workers consume"),
        (depths(5, 0), Warn, "no worker consumes"),
    ] {
        says(&queues(depths), grade, part);
    }
    for (dead, grade) in [(None, Well), (Some(0), Well), (Some(1), Warn)] {
        says(&dead_letters(dead), grade, "");
    }
}

#[test]
fn what_a_server_can_do_says_which_way_files_take() {
    let aws = Capabilities::of_aws();
    for (server, grade, part) in [
        (aws, Well, "the fast path: 1 request and a share of a delete"),
        (Capabilities { unseen_class: UnseenClass::Lost, ..aws }, Well, "2 requests and a share"),
        (Capabilities { recycle_versioned: true, ..aws }, Well, "since a bucket keeps versions"),
        (Capabilities { exact_keys: false, ..aws }, Well, "refused as unsupported"),
        (Capabilities { copy_keeps_etag: false, ..aws }, Well, "the careful path: some 5 requests"),
        (
            Capabilities { delete_if_match: Support::Ignored, ..aws },
            Warn,
            "not honoured on a delete; the careful path",
        ),
        (Capabilities::unknown(), Warn, "the careful path"),
    ] {
        says(&storage_capabilities(&server), grade, part);
    }
    let lacks = |required: &[&str], optional: &[&str]| Tried {
        lacking: required.iter().map(|right| (*right).to_owned()).collect(),
        lacking_optional: optional.iter().map(|right| (*right).to_owned()).collect(),
        written: None,
    };
    says(&storage_rights(&lacks(&[], &[])), Well, "");
    says(&storage_rights(&lacks(&[], &["s3:ListParts"])), Warn, "s3:ListParts");
    says(&storage_rights(&lacks(&["s3:A", "s3:B"], &["s3:C"])), Fail, "s3:A; s3:B");
}

fn rule(days: Option<u32>, classes: &[&str]) -> Terms {
    Terms {
        id: "rule".to_owned(),
        ours: false,
        enabled: true,
        scope: Scope::Everything,
        days,
        date: None,
        noncurrent_days: None,
        unfinished_days: None,
        classes: classes.iter().map(|class| (*class).to_owned()).collect(),
    }
}

#[test]
fn retention_is_red_until_it_covers_the_backups_for_certain() {
    let backups = |days: u64| Duration::from_hours(24 * days);
    says(&retention_unset(), Fail, "is not set");
    let date = Terms { date: Some("2027-01-01".to_owned()), ..rule(None, &[]) };
    let versions = Terms { noncurrent_days: Some(10), ..rule(Some(90), &[]) };
    for (rules, versioned, backups, grade, part) in [
        (vec![rule(Some(90), &[])], false, backups(90), Well, "90 days from its last deletion"),
        (vec![rule(Some(89), &[])], false, backups(90), Fail, "shorter than the 90 days"),
        (vec![], false, backups(90), Warn, "without end"),
        (vec![date], false, backups(90), Fail, "removes every file on 2027-01-01"),
        (vec![versions.clone()], false, backups(90), Well, ""),
        (vec![versions], true, backups(90), Fail, "a version that was replaced 10 days"),
    ] {
        says(&retention(&rules, versioned, backups), grade, part);
    }
}

#[test]
fn archives_locks_versions_and_encryption_are_told_with_what_they_mean() {
    let disabled = Terms { enabled: false, ..rule(None, &["GLACIER"]) };
    for (recycle, object, copies, grade) in [
        (vec![], vec![], None, Well),
        (vec![rule(None, &["STANDARD_IA", "GLACIER_IR"]), disabled], vec![], Some("STANDARD_IA"), Well),
        (vec![rule(None, &["STANDARD_IA", "GLACIER"])], vec![], None, Warn),
        (vec![], vec![rule(None, &["DEEP_ARCHIVE"])], None, Warn),
        (vec![], vec![], Some("DEEP_ARCHIVE"), Warn),
    ] {
        says(&archive_classes(&recycle, &object, copies), grade, "");
    }
    let lock = |days: Option<u32>| ObjectLock {
        default: days.map(|days| DefaultLock { mode: "COMPLIANCE".to_owned(), days }),
    };
    let month = [rule(Some(30), &[])];
    for (object, recycle, grade, part) in [
        (None, None, Well, "neither"),
        (Some(lock(None)), None, Warn, "cannot move"),
        (Some(lock(Some(7))), None, Warn, "for 7 days (COMPLIANCE)"),
        (None, Some(lock(None)), Warn, "no file is locked unless"),
        (None, Some(lock(Some(31))), Warn, "longer than its lifecycle rule"),
        (None, Some(lock(Some(30))), Warn, "for 30 days (COMPLIANCE): nobody"),
    ] {
        says(&object_lock(object.as_ref(), recycle.as_ref(), &month), grade, part);
    }
    for (object, recycle, grade, part) in [
        (Versions::None, Versions::None, Well, "neither"),
        (Versions::Kept(Some(9)), Versions::None, Well, "goes after 9 days"),
        (Versions::Kept(None), Versions::None, Warn, "the object bucket keeps versions"),
        (Versions::Kept(Some(9)), Versions::Kept(None), Warn, "the recycle bucket keeps versions"),
    ] {
        says(&versioning(object, recycle), grade, part);
    }
    says(&encryption(None), Well, "");
    says(&encryption(Some(&Encryption::Storage)), Well, "");
    says(&encryption(Some(&Encryption::KeyService("aws:kms".to_owned()))), Warn, "an ETag proves nothing");
}

//! Files that a row or a link names.

use super::made::*;
use super::table;
use crate::config::DanglingRows;
use crate::db::explain::{FileRow, HeldRow, OutboxRow};
use crate::explain::found::{Found, Hanging, Message, Names, Origin, Row};
use crate::explain::verdict::{Kind, Would, judge};
use crate::outcome::Outcome;

#[test]
fn a_living_file_stays() {
    let alive = |change: fn(&mut Found)| {
        ends(Outcome::Alive, |found| {
            found.objects = Some(objects(true, false));
            change(found);
        })
    };
    let rows = |parent| Some(vec![row("ContactFile", parent)]);
    let cases: Vec<(&str, Found, &str)> = vec![
        (
            "its record lives",
            ends(Outcome::Alive, |it| it.rows = rows(Some(owner(false, Some(true))))),
            "Contact 00000000-0000-0000-0000-000000000002, which exists",
        ),
        ("of no record", ends(Outcome::Alive, |it| it.rows = rows(None)), "it names no record"),
        (
            "a lookup that dangles",
            ends(Outcome::Alive, |it| it.rows = rows(Some(owner(false, Some(false))))),
            "does not exist",
        ),
        (
            "an unknown schema",
            ends(Outcome::Alive, |it| it.rows = rows(Some(owner(false, None)))),
            "no table that we know",
        ),
        (
            "in two tables",
            ends(Outcome::Alive, |it| it.rows = Some(vec![row("SysFile", None), row("FeedFile", None)])),
            "rows of SysFile and FeedFile",
        ),
        (
            "alive by a link",
            alive(|it| it.links = Some(vec![link(OTHER, Some(true))])),
            "Account 00000000-0000-0000-0000-000000000003 still shows it through a link, although its own row was deleted",
        ),
        (
            "a link to an absent record",
            alive(|it| it.links = Some(vec![link(OTHER, Some(false))])),
            "that record does not exist, but it may not be saved yet",
        ),
        (
            "one of two links is live",
            alive(|it| it.links = Some(vec![link(OWNER, Some(false)), link(OTHER, Some(true))])),
            "000000000003 still shows it",
        ),
        (
            "its object is under another template's key",
            ends(Outcome::Alive, |it| {
                it.rows = rows(None);
                it.objects = Some(under_another(true));
            }),
            "the object bucket has an object of it under 'AB-1', as '{file_id:upper}' gives it; file-recycler doctor says whether the template is the right one.",
        ),
        (
            "its object was lost",
            ends(Outcome::Alive, |it| it.rows = rows(None)),
            "But its object is in neither bucket",
        ),
        (
            "its object was recycled",
            ends(Outcome::Alive, |it| {
                it.rows = rows(None);
                it.objects = Some(objects(false, true));
            }),
            "only in the recycle bucket",
        ),
    ];
    table(
        cases.into_iter().map(|(what, found, core)| (what, found, Kind::File, Would::Stay, core)).collect(),
    );
}

#[test]
fn what_is_left_in_a_row_is_told_by_where_its_object_is() {
    let left = |bytes, there: Option<(bool, bool)>| {
        ends(Outcome::Alive, |it| {
            let Row::File(file) = row("ContactFile", None) else { unreachable!("it is a file's") };
            let back = Some("UPDATE it".to_owned());
            it.rows = Some(vec![Row::File(FileRow { data_bytes: bytes, back_to_the_row: back, ..file })]);
            it.objects = there.map(|(object, recycle)| objects(object, recycle));
        })
    };
    for (found, told, not) in [
        (left(None, Some((true, false))), "it names no record.", "bytes"),
        (left(Some(0), Some((true, false))), "it names no record.", "bytes"),
        (left(Some(5), Some((true, false))), "still has 5 bytes of content, as a migration", "UPDATE"),
        (left(Some(5), Some((true, false))), "file-recycler migrate --reclaim", "lost"),
        (left(Some(5), Some((false, true))), "Its row still has 5 bytes of content.", "migrate"),
        (left(Some(5), None), "Its row still has 5 bytes of content.", "migrate"),
        (left(Some(5), Some((false, false))), "from there again: `UPDATE it;`.", "older"),
        (
            left(Some(4), Some((false, false))),
            "4 bytes of it (it says 5 bytes, so that may be an older",
            "migrate",
        ),
        (left(Some(0), Some((false, false))), "the CRM cannot open it.", "UPDATE"),
    ] {
        let verdict = judge(&found, NOW).verdict;
        assert!(verdict.contains(told), "'{told}' is not in: {verdict}");
        assert!(!verdict.contains(not), "'{not}' is in: {verdict}");
    }
}

/// A weak file whose record is not there.
fn orphan(change: impl FnOnce(&mut Found)) -> Found {
    ends(Outcome::Alive, |it| {
        it.rows = Some(vec![row("SysFile", Some(owner(true, Some(false))))]);
        it.objects = Some(objects(true, false));
        it.hanging = vec![hanging(OWNER, 1, 0)];
        change(it);
    })
}

#[test]
fn a_weak_file_goes_with_its_records_deletion_and_with_nothing_less() {
    let file = Kind::File;
    table(vec![
        ("no deletion is known", orphan(|_| {}), file, Would::Stay, "it may not be saved yet"),
        (
            "it waits in the outbox",
            orphan(|it| it.outbox = Some(vec![waits("records", OWNER, None)])),
            file,
            Would::Move,
            "waited in the outbox since 2026-11-22T10:00:00Z (3 days ago)",
        ),
        (
            "it is a dead letter",
            orphan(|it| it.messages = Some(vec![letter(Names::Owner, 0)])),
            file,
            Would::Move,
            "in the dead-letter queue since",
        ),
        (
            "it is remembered",
            orphan(|it| it.held = Some(vec![held(OWNER)])),
            file,
            Would::Move,
            "is remembered as deleted",
        ),
        (
            "another link keeps it",
            orphan(|it| {
                it.held = Some(vec![held(OWNER)]);
                it.links = Some(vec![link(OTHER, Some(true))]);
            }),
            file,
            Would::Stay,
            "still shows it through a link, although its owner was deleted; it goes with the last such link",
        ),
        (
            "a link, and no deletion is known",
            orphan(|it| it.links = Some(vec![link(OTHER, Some(true))])),
            file,
            Would::Stay,
            "although its own record does not exist",
        ),
        (
            "the record's own link does not",
            orphan(|it| {
                it.outbox = Some(vec![waits("records", OWNER, None)]);
                it.links = Some(vec![link(OWNER, Some(false))]);
            }),
            file,
            Would::Move,
            "Contact 00000000-0000-0000-0000-000000000002 was deleted",
        ),
        (
            "a foreign key keeps it",
            orphan(|it| {
                it.held = Some(vec![held(OWNER)]);
                it.hanging = vec![hanging(OWNER, 0, 0)];
            }),
            file,
            Would::Stay,
            "something else keeps its row",
        ),
        (
            "dangling rows are left",
            orphan(|it| {
                it.held = Some(vec![held(OWNER)]);
                it.environment.as_mut().unwrap().dangling_rows = DanglingRows::Leave;
            }),
            file,
            Would::Stay,
            "crm.dangling_rows is leave",
        ),
    ]);
}

#[test]
fn only_what_is_about_its_own_record_and_counts_lets_a_weak_file_go() {
    let file = Kind::File;
    table(vec![
        (
            "a record of another schema with its id is remembered, waits, and is a dead letter",
            orphan(|it| {
                it.held = Some(vec![HeldRow { record_schema: "Lead".into(), ..held(OWNER) }]);
                it.outbox = Some(vec![OutboxRow { schema: "Lead".into(), ..waits("records", OWNER, None) }]);
                it.messages = Some(vec![Message { schema: Some("Lead".into()), ..letter(Names::Owner, 0) }]);
            }),
            file,
            Would::Stay,
            "it may not be saved yet",
        ),
        (
            "what hangs on another schema's record is not what hangs on its own",
            orphan(|it| {
                it.held = Some(vec![held(OWNER)]);
                it.hanging.insert(0, Hanging { schema: "Lead".into(), ..hanging(OWNER, 0, 0) });
            }),
            file,
            Would::Move,
            "is remembered as deleted",
        ),
        (
            "a malformed dead letter is no deletion",
            orphan(|it| {
                let malformed = Message { origin: Origin::Malformed, ..letter(Names::Owner, 0) };
                it.messages = Some(vec![malformed]);
            }),
            file,
            Would::Stay,
            "it may not be saved yet",
        ),
    ]);
}

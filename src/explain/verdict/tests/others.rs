//! Records, ids of both kinds, and ids of none.

use super::made::*;
use super::table;
use crate::db::explain::RecordRow;
use crate::explain::found::{Found, Message, Names, Origin, Row};
use crate::explain::named::narrow;
use crate::explain::verdict::{Kind, Would};
use crate::file::SchemaName;
use crate::outcome::Outcome;

#[test]
fn a_record_is_told_by_its_rows_and_by_what_is_known_of_its_deletion() {
    let lives =
        Some(vec![Row::Record(RecordRow { schema: "Contact".into(), table: "public.Contact".into() })]);
    let record = Kind::Record;
    let deleted = |change: fn(&mut Found)| {
        with(|it| {
            it.ledger = Some(vec![noted(Outcome::Moved, OTHER, Some(ID))]);
            change(it);
        })
    };
    let weak = |free, linked| vec![hanging(ID, free, linked)];
    table(vec![
        (
            "it lives",
            with(|it| (it.rows, it.files_total) = (lives.clone(), 2)),
            record,
            Would::Stay,
            "The record exists in Contact: its 2 own files stay",
        ),
        (
            "it lives without files",
            with(|it| it.rows = lives.clone()),
            record,
            Would::Stay,
            "The record exists in Contact: it has no files of its own.",
        ),
        (
            "its deletion waits",
            with(|it| it.outbox = Some(vec![waits("records", ID, None), waits("files", OTHER, Some(ID))])),
            record,
            Would::Move,
            "its files would move",
        ),
        (
            "its deletion waits, and weak files",
            with(|it| {
                it.outbox = Some(vec![waits("records", ID, None)]);
                it.hanging = weak(2, 1);
            }),
            record,
            Would::Move,
            "its files would move; 1 file stays through links",
        ),
        (
            "its deletion waits, and no file",
            with(|it| it.outbox = Some(vec![waits("records", ID, None)])),
            record,
            Would::Nothing,
            "no file of it is known",
        ),
        (
            "its message is dead",
            with(|it| it.messages = Some(vec![letter(Names::Record, 3)])),
            record,
            Would::Move,
            "(conflict): file-recycler dlq show --id 'm-1'",
        ),
        (
            "worked off",
            deleted(|_| {}),
            record,
            Would::Nothing,
            "was deleted 2026-11-22T10:00:00Z (3 days ago) (event e-1), and that is worked off",
        ),
        (
            "worked off, links keep some",
            deleted(|it| it.hanging = vec![hanging(ID, 0, 2)]),
            record,
            Would::Stay,
            "2 files stay through links of other records",
        ),
        (
            "remembered",
            with(|it| (it.held, it.hanging) = (Some(vec![held(ID)]), weak(0, 1))),
            record,
            Would::Stay,
            "1 file stays through links of other records",
        ),
        (
            "some were let go",
            with(|it| (it.held, it.hanging) = (Some(vec![held(ID)]), weak(1, 0))),
            record,
            Would::Move,
            "1 file that still hangs on it goes",
        ),
        (
            "nobody told of a deletion",
            with(|it| {
                let mut shown = link(ID, Some(false));
                shown.file_id = OTHER;
                (it.links, it.hanging) = (Some(vec![shown]), weak(2, 0));
            }),
            record,
            Would::Stay,
            "it may not be saved yet. What names it stays: 2 files and 1 link",
        ),
    ]);
}

#[test]
fn a_record_is_told_by_the_rows_that_went_with_it() {
    let went = |outcomes: &[Option<&str>]| {
        let rows: Vec<_> = outcomes.iter().map(|outcome| gone(*outcome)).collect();
        with(|it| (it.gone_rows_total, it.gone_rows) = (rows.len() as u64, Some(rows)))
    };
    table(vec![
        (
            "worked off",
            went(&[Some("moved"), Some("missing"), Some("moved")]),
            Kind::Record,
            Would::Nothing,
            "The record was deleted (event e-1), and that is worked off: nothing more would move. 3 rows of files that named it \
             were deleted because it was gone, the last 2026-11-22T10:00:00Z (3 days ago): 1 in neither bucket, 2 moved to the recycle bucket.",
        ),
        (
            "one is on its way",
            went(&[Some("moved"), None]),
            Kind::Record,
            Would::Move,
            "1 file whose row went with it is on its way by an event of its own.",
        ),
    ]);
}

#[test]
fn whose_word_a_dead_letter_is_decides_whether_a_record_counts_as_deleted() {
    let says = |origin: Origin, trusted: bool, files: usize| {
        with(|it| {
            it.environment.as_mut().unwrap().trust_outside_events = trusted;
            it.messages = Some(vec![Message { origin, ..letter(Names::Record, files) }]);
        })
    };
    let dead = "It was deleted, and the message about it is in the dead-letter queue";
    let no = "no deletion of it is known here: it may not be saved yet. What names it stays: no files and no links. A message \
              in the dead-letter queue says that the record was deleted, which does not count: ";
    let record = Kind::Record;
    table(vec![
        ("own", says(Origin::Own, false, 0), record, Would::Nothing, dead),
        ("outside, trusted", says(Origin::Outside, true, 0), record, Would::Nothing, dead),
        (
            "outside",
            says(Origin::Outside, false, 0),
            record,
            Would::Stay,
            &format!("{no}it came from outside, and crm.trust_outside_events is off. It names no files;"),
        ),
        ("outside, with files", says(Origin::Outside, false, 2), record, Would::Move, "It names 2 files;"),
        (
            "another environment's",
            says(Origin::Foreign, true, 2),
            record,
            Would::Stay,
            &format!("{no}it is another environment's."),
        ),
        (
            "malformed",
            says(Origin::Malformed, true, 2),
            record,
            Would::Stay,
            &format!("{no}it is malformed. It names 2 files; file-recycler dlq show --id 'm-1' shows it."),
        ),
        (
            "nobody could be asked",
            Found {
                rows: None,
                errors: [("database", "no connection".to_owned())].into(),
                ..says(Origin::Own, false, 0)
            },
            record,
            Would::Nothing,
            "It cannot be told what would happen (database: no connection)",
        ),
    ]);
}

#[test]
fn a_record_that_waits_is_told_with_the_end_of_the_grace_period() {
    let record = Kind::Record;
    table(vec![(
        "the grace period keeps its deletion",
        with(|it| {
            it.outbox = Some(vec![waits("records", ID, None)]);
            it.environment.as_mut().unwrap().grace_seconds = 900;
        }),
        record,
        Would::Nothing,
        "has waited in the outbox since 2026-11-22T10:00:00Z (3 days ago), where recycle.grace keeps it until 2026-11-25T10:15:00Z: no file",
    )]);
}

#[test]
fn where_a_record_of_one_schema_is_meant_another_with_the_same_id_is_left_out() {
    let mut found = with(|it| {
        it.held = Some(vec![held(ID), held(OWNER)]);
        it.outbox = Some(vec![waits("records", ID, None), waits("files", OTHER, Some(ID))]);
        it.messages = Some(vec![Message { schema: Some("Contact".into()), ..letter(Names::Record, 0) }]);
    });
    let mut same = found.clone();
    narrow(&mut same, &SchemaName::try_from("Contact").unwrap());
    assert_eq!(
        (same.held, same.outbox, same.messages),
        (found.held.clone(), found.outbox.clone(), found.messages.clone())
    );
    narrow(&mut found, &SchemaName::try_from("Lead").unwrap());
    assert_eq!((found.held, found.messages), (Some(vec![held(OWNER)]), Some(Vec::new())));
    assert_eq!(found.outbox, Some(vec![waits("files", OTHER, Some(ID))]));
}

#[test]
fn an_id_of_a_file_and_a_record_is_both_and_one_of_neither_unknown() {
    let both = ends(Outcome::Alive, |it| {
        let record = Row::Record(RecordRow { schema: "Contact".into(), table: "public.Contact".into() });
        it.rows = Some(vec![row("ContactFile", None), record]);
    });
    let partly = with(|it| {
        it.objects = None;
        it.errors.insert("objects", "no connection".into());
    });
    let blind = Found {
        id: ID,
        objects: Some(objects(true, false)),
        errors: [("database", "no connection".to_owned())].into(),
        ..Found::default()
    };
    table(vec![
        (
            "only in a text",
            with(|it| it.messages = Some(vec![letter(Names::Text, 0)])),
            Kind::Unknown,
            Would::Nothing,
            "no event has it in its text",
        ),
        ("both", both, Kind::Both, Would::Stay, "As a record: The record exists in Contact"),
        (
            "unknown",
            nothing(),
            Kind::Unknown,
            Would::Nothing,
            "Nothing is known of 00000000-0000-0000-0000-000000000001",
        ),
        (
            "unknown as far as asked",
            partly,
            Kind::Unknown,
            Would::Nothing,
            "but not everything could be asked (objects)",
        ),
        (
            "nobody could be asked",
            blind,
            Kind::File,
            Would::Nothing,
            "It cannot be told what would happen (database: no connection)",
        ),
    ]);
}

//! Records, ids of both kinds, and ids of none.

use super::made::*;
use super::table;
use crate::db::explain::RecordRow;
use crate::explain::found::{Found, Names, Row};
use crate::explain::verdict::{Kind, Would};
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

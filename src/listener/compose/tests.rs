//! Table and property tests of composing.

use std::collections::HashMap;

use proptest::prelude::*;
use time::macros::datetime;

use super::*;
use crate::event::EventType;
use crate::file::{FileId, ObjectKey};

const ENVIRONMENT: Uuid = Uuid::from_u128(0xe);

fn schema(name: &str) -> SchemaName {
    name.try_into().unwrap()
}

fn row(row: i64, transaction: u64, what: What) -> Captured {
    Captured { row, transaction, at: datetime!(2026-11-23 10:00 UTC) + time::Duration::seconds(row), what }
}

fn records(ids: &[u128]) -> What {
    let ids = ids.iter().map(|id| Uuid::from_u128(*id).into()).collect();
    What::Records { schema: schema("Contact"), ids }
}

fn file(id: u128, parent: Option<u128>) -> CapturedFile {
    let parent = parent.map(|id| (schema("Contact"), Uuid::from_u128(id).into()));
    CapturedFile { id: Uuid::from_u128(id).into(), size: Some(7), key: None, parent }
}

fn files(files: Vec<CapturedFile>) -> What {
    What::Files { schema: schema("ContactFile"), files }
}

fn made(rows: &[Captured]) -> Vec<Composed> {
    compose(rows, ENVIRONMENT, "/crm/test")
}

/// `R1[10,11] from 1,2`: a record event about record 1 with the files 10 and 11, from rows 1 and 2.
fn shown(composed: &Composed) -> String {
    let number = |text: &str| text.parse::<Uuid>().unwrap().as_u128().to_string();
    let list = |items: Vec<String>| items.join(",");
    let files = list(composed.event.data.files().iter().map(|file| number(file.file_id.as_str())).collect());
    let rows = list(composed.rows.iter().map(ToString::to_string).collect());
    match &composed.event.data {
        Deleted::Record { record_id, .. } => format!("R{}[{files}] from {rows}", number(record_id.as_str())),
        Deleted::Files { .. } => format!("F[{files}] from {rows}"),
    }
}

#[test]
fn files_go_with_their_record_only_where_one_transaction_deleted_both() {
    let table: [(&str, Vec<Captured>, &[&str]); 6] = [
        (
            "a cascade: the file row is captured before or after its record's",
            vec![row(1, 9, files(vec![file(10, Some(1)), file(11, Some(2))])), row(2, 9, records(&[1, 2]))],
            &["R1[10] from 1,2", "R2[11] from 1,2"],
        ),
        ("a record without files", vec![row(1, 9, records(&[1]))], &["R1[] from 1"]),
        (
            "files alone, of several statements of one transaction",
            vec![row(1, 9, files(vec![file(10, None)])), row(2, 9, files(vec![file(11, Some(5))]))],
            &["F[10,11] from 1,2"],
        ),
        (
            "another transaction's record",
            vec![row(1, 9, records(&[1])), row(2, 8, files(vec![file(10, Some(1))]))],
            &["R1[] from 1", "F[10] from 2"],
        ),
        (
            "a row of which some files go with a record and some alone",
            vec![row(1, 9, records(&[1])), row(2, 9, files(vec![file(10, Some(1)), file(11, None)]))],
            &["R1[10] from 1,2", "F[11] from 2"],
        ),
        (
            "a record that was deleted twice",
            vec![
                row(1, 9, records(&[1])),
                row(2, 9, records(&[1])),
                row(3, 9, files(vec![file(10, Some(1))])),
            ],
            &["R1[10] from 1,3", "R1[] from 2"],
        ),
    ];
    for (what, rows, expected) in table {
        assert_eq!(made(&rows).iter().map(shown).collect::<Vec<_>>(), expected, "{what}");
    }
}

#[test]
fn an_event_says_all_that_was_captured() {
    let key = ObjectKey::try_from("a/b").unwrap();
    let captured = CapturedFile { key: Some(key.clone()), ..file(10, Some(1)) };
    let composed = made(&[row(1, 9, records(&[1])), row(2, 9, files(vec![captured]))]);
    let event = &composed[0].event;
    assert_eq!(event.source, "/crm/test");
    assert_eq!(event.environment, Some(ENVIRONMENT));
    assert_eq!(event.time, Some(datetime!(2026-11-23 10:00:01 UTC)));
    let expected = FileRef {
        file_id: Uuid::from_u128(10).into(),
        schema: Some(schema("ContactFile")),
        size: Some(7),
        key: Some(key),
    };
    assert_eq!(event.data.files(), [expected]);
}

#[test]
fn a_record_with_very_many_files_becomes_several_events_with_ids_of_their_own() {
    let many = (0..2_500).map(|id| file(100 + id, Some(1))).collect();
    let composed = made(&[row(1, 9, records(&[1])), row(2, 9, files(many))]);
    assert_eq!(composed.iter().map(|c| c.event.data.files().len()).collect::<Vec<_>>(), [1_000, 1_000, 500]);
    assert!(composed.iter().all(|c| c.event.event_type() == EventType::RecordDeleted && c.rows == [1, 2]));
    let ids: Vec<_> = ["1/0", "1/0/1", "1/0/2"]
        .map(|name| Uuid::new_v5(&ENVIRONMENT, name.as_bytes()).to_string())
        .to_vec();
    assert_eq!(composed.iter().map(|c| c.event.id.clone()).collect::<Vec<_>>(), ids);
}

#[test]
fn a_very_large_transaction_is_composed_row_by_row() {
    let rows: Vec<Captured> = (0..6_u32)
        .map(|number| {
            let first = u128::from(number) * 1_000;
            let found = (first..first + 1_000).map(|id| file(id, None)).collect();
            row(i64::from(number) + 1, 9, files(found))
        })
        .chain([row(7, 9, records(&[1]))])
        .collect();
    let composed = made(&rows);
    assert_eq!(composed.len(), 7);
    assert!(composed.iter().all(|composed| composed.rows.len() == 1));
}

#[test]
fn an_event_is_never_longer_than_what_the_worker_takes() {
    let long = |id: u128| CapturedFile {
        id: FileId::try_from("\"".repeat(255)).unwrap(),
        key: Some(ObjectKey::try_from(format!("{id:04}{}", "\u{1}".repeat(1_020))).unwrap()),
        ..file(id, Some(1))
    };
    let composed = made(&[row(1, 9, records(&[1])), row(2, 9, files((0..1_000).map(long).collect()))]);
    assert_eq!(composed.iter().map(|c| c.event.data.files().len()).sum::<usize>(), 1_000);
    for composed in &composed {
        assert!(composed.event.encode().len() <= MAX_BYTES);
    }
}

fn any_rows() -> impl Strategy<Value = Vec<Captured>> {
    let one = (0..4_u64, any::<bool>(), prop::collection::vec((0..20_u128, any::<bool>()), 1..40));
    prop::collection::vec(one, 0..20).prop_map(|rows| {
        let mut next_file = 1_000;
        let numbered = rows.into_iter().enumerate().map(|(number, (transaction, is_records, items))| {
            let what = if is_records {
                records(&items.iter().map(|(id, _)| *id).collect::<Vec<_>>())
            } else {
                files(
                    items
                        .iter()
                        .map(|(parent, has_parent)| {
                            next_file += 1;
                            file(next_file, has_parent.then_some(*parent))
                        })
                        .collect(),
                )
            };
            row(i64::try_from(number).unwrap() + 1, transaction, what)
        });
        numbered.collect()
    })
}

proptest! {
    #[test]
    fn every_captured_id_is_in_exactly_one_event_that_knows_its_row(rows in any_rows()) {
        let composed = made(&rows);
        let mut seen_files: HashMap<&str, &Composed> = HashMap::new();
        let mut record_events = 0;
        for composed in &composed {
            record_events += usize::from(composed.event.event_type() == EventType::RecordDeleted);
            for file in composed.event.data.files() {
                prop_assert!(seen_files.insert(file.file_id.as_str(), composed).is_none());
            }
        }
        let (mut captured_files, mut captured_records) = (0, 0);
        for row in &rows {
            match &row.what {
                What::Records { ids, .. } => captured_records += ids.len(),
                What::Files { files, .. } => for file in files {
                    captured_files += 1;
                    prop_assert!(seen_files[file.id.as_str()].rows.contains(&row.row));
                }
            }
        }
        prop_assert_eq!(seen_files.len(), captured_files);
        prop_assert_eq!(record_events, captured_records);
    }

    #[test]
    fn ids_are_unique_and_the_same_rows_give_the_same_events(rows in any_rows()) {
        let composed = made(&rows);
        let mut ids: Vec<_> = composed.iter().map(|composed| composed.event.id.clone()).collect();
        ids.sort();
        ids.dedup();
        prop_assert_eq!(ids.len(), composed.len());
        prop_assert_eq!(made(&rows), composed);
    }

    #[test]
    fn every_row_is_in_an_event(rows in any_rows()) {
        let mut named: Vec<i64> = made(&rows).into_iter().flat_map(|composed| composed.rows).collect();
        named.sort_unstable();
        named.dedup();
        prop_assert_eq!(named, rows.iter().map(|row| row.row).collect::<Vec<_>>());
    }
}

//! The decision, by a table.

use time::OffsetDateTime;
use time::macros::datetime;

use super::decision::{Facts, Memory, Next, Place, Question, Seen, Source, Versions, decide};
use super::{Restored, RowFacts};
use crate::retention::Kept;
use crate::storage::{ETag, Version, VersionContent};

const NOW: OffsetDateTime = datetime!(2026-11-28 12:00 UTC);
/// The backup.
const THEN: OffsetDateTime = datetime!(2026-11-20 12:00 UTC);
const BEFORE: OffsetDateTime = datetime!(2026-11-19 12:00 UTC);
const AFTER: OffsetDateTime = datetime!(2026-11-21 12:00 UTC);
/// ETags of two contents.
const ONE: &str = "5d41402abc4b2a76b9719d911017c592";
const OTHER: &str = "7d793037a0760186574b0282f2f435e7";

#[allow(clippy::unnecessary_wraps, reason = "as a place has it")]
fn seen(etag: &str, size: u64, written: OffsetDateTime) -> Option<Seen> {
    Some(Seen {
        etag: Some(ETag::new(etag)),
        size,
        written: Some(written),
        copied_from: None,
        checksum: None,
    })
}

/// A version; its id tells it.
fn version(id: &str, at: OffsetDateTime, content: Option<(&str, u64)>) -> Version {
    let content = content.map(|(etag, size)| VersionContent { etag: ETag::new(etag), size });
    Version { id: id.into(), latest: false, last_modified: Some(at), content }
}

fn place(latest: Option<Seen>) -> Place<'static> {
    Place { latest, versions: Versions::None }
}

#[allow(clippy::unnecessary_wraps, reason = "as a place has it")]
fn row(size: u64) -> Option<RowFacts> {
    Some(RowFacts { in_s3: true, size: Some(size), data: 0 })
}

/// A file whose row says five bytes, in neither bucket, of which nobody has asked the ledger.
fn facts(kept: &Kept) -> Facts<'_> {
    Facts {
        row: row(5),
        force: false,
        object: place(None),
        keeps_overwritten: true,
        copy: place(None),
        backup_time: None,
        memory: Memory::NotAsked,
        kept,
        now: NOW,
    }
}

fn ends(facts: &Facts<'_>) -> Restored {
    match decide(facts) {
        Next::End(result, why) => {
            assert!(why.is_some() || result == Restored::Present, "{result} wants a reason");
            result
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_object_in_place_is_present_or_differs_and_is_never_copied_over() {
    use Restored::{Differs, Present};
    let kept = Kept::ForEver;
    let copy = || place(seen(ONE, 5, NOW));
    for (object, size, backup, expected) in [
        (seen(ONE, 5, NOW), Some(5), None, Present),
        (seen(ONE, 5, NOW), None, None, Present),
        (seen(ONE, 5, NOW), Some(0), None, Present),
        (seen(ONE, 6, NOW), Some(5), None, Differs),
        (seen(ONE, 5, BEFORE), Some(5), Some(THEN), Present),
        (seen(ONE, 5, THEN), Some(5), Some(THEN), Present),
        // Written since, with the copy's content: brought back.
        (seen(ONE, 5, AFTER), Some(5), Some(THEN), Present),
        (seen(OTHER, 5, AFTER), Some(5), Some(THEN), Differs),
        (seen(OTHER, 5, AFTER), None, Some(THEN), Differs),
        (seen(ONE, 6, BEFORE), Some(5), Some(THEN), Differs),
    ] {
        let facts = Facts {
            row: Some(RowFacts { in_s3: true, size, data: 0 }),
            object: place(object.clone()),
            copy: copy(),
            backup_time: backup,
            ..facts(&kept)
        };
        assert_eq!(ends(&facts), expected, "{object:?}, row {size:?}, backup {backup:?}");
        // Without a row it is there all the same.
        let alone = Facts { row: None, ..facts.clone() };
        assert!(matches!(ends(&alone), Present | Differs));
    }
}

#[test]
fn an_object_that_notes_what_it_was_made_of_is_brought_back() {
    let kept = Kept::ForEver;
    let opaque = |etag: &str, note: Option<&str>| {
        let note = note.map(ETag::new);
        seen(etag, 5, AFTER).map(|seen| Seen { copied_from: note, ..seen })
    };
    for (object, copy, expected) in [
        (opaque("o", Some("c")), opaque("c", None), Restored::Present),
        (opaque("o", Some("source")), opaque("c", Some("source")), Restored::Present),
        (opaque("o", None), opaque("c", None), Restored::Differs),
        (opaque("o", Some("x")), opaque("c", Some("source")), Restored::Differs),
    ] {
        let facts = Facts {
            object: place(object.clone()),
            copy: place(copy),
            backup_time: Some(THEN),
            ..facts(&kept)
        };
        assert_eq!(ends(&facts), expected, "{object:?}");
    }
}

#[test]
fn what_is_absent_comes_from_a_copy_that_fits_the_row() {
    let kept = Kept::ForEver;
    let with = |copy: u64, row: Option<RowFacts>, force: bool| {
        decide(&Facts { row, force, copy: place(seen(ONE, copy, NOW)), ..facts(&kept) })
    };
    assert_eq!(with(5, row(5), false), Next::Copy(Source::Copy));
    assert_eq!(with(5, row(0), false), Next::Copy(Source::Copy));
    assert_eq!(with(5, None, true), Next::Copy(Source::Copy));
    assert!(matches!(with(6, row(5), true), Next::End(Restored::Differs, Some(_))));
    assert!(matches!(with(5, None, false), Next::End(Restored::Failed, Some(why)) if why.contains("no row")));
    let elsewhere = Some(RowFacts { in_s3: false, size: None, data: 0 });
    let why = "its content is in the database";
    assert!(
        matches!(with(5, elsewhere, true), Next::End(Restored::Failed, Some(told)) if told.starts_with(why))
    );
}

#[test]
fn what_is_in_neither_bucket_and_in_its_row_is_not_told_as_gone() {
    let kept = Kept::ForEver;
    let with = |data: u64, memory: Memory| {
        let row = Some(RowFacts { in_s3: true, size: Some(5), data });
        decide(&Facts { row, memory, ..facts(&kept) })
    };
    let saved = "its content is not lost: its row still has 5 bytes of it";
    for (memory, expected, object) in [
        (Memory::Nothing, Restored::NeverSeen, "nothing says that it ever was"),
        (Memory::Recycled(BEFORE), Restored::Expired, "the recycle bucket has it no more"),
    ] {
        let Next::End(result, Some(why)) = with(5, memory) else { panic!("{memory:?}") };
        assert_eq!(result, expected);
        assert!(why.starts_with(saved) && why.ends_with(object), "{why}");
        let Next::End(result, Some(why)) = with(0, memory) else { panic!("{memory:?}") };
        assert_eq!(result, expected);
        assert!(!why.contains("row"), "{why}");
    }
    assert_eq!(with(5, Memory::NotAsked), Next::Ask(Question::Memory));
}

#[test]
fn of_several_versions_of_a_copy_the_newest_that_fits_comes_back() {
    let kept = Kept::ForEver;
    let versions = [
        version("marker", NOW, None),
        version("six", AFTER, Some((OTHER, 6))),
        version("five", THEN, Some((ONE, 5))),
        version("old", BEFORE, Some((OTHER, 5))),
    ];
    let decided = |latest: Option<Seen>, row: Option<RowFacts>, versions| {
        decide(&Facts { row, copy: Place { latest, versions }, ..facts(&kept) })
    };
    let all = Versions::Are(&versions);
    assert_eq!(decided(None, row(5), Versions::NotAsked), Next::Ask(Question::CopyVersions));
    assert_eq!(decided(seen(ONE, 5, NOW), row(5), Versions::NotAsked), Next::Copy(Source::Copy));
    assert_eq!(decided(None, row(5), all), Next::Copy(Source::OlderCopy(versions[2].clone())));
    assert_eq!(
        decided(seen(OTHER, 6, AFTER), row(5), all),
        Next::Copy(Source::OlderCopy(versions[2].clone()))
    );
    assert_eq!(decided(None, row(0), all), Next::Copy(Source::OlderCopy(versions[1].clone())));
    assert!(matches!(decided(None, row(7), all), Next::End(Restored::Differs, Some(_))));
    let marker = Versions::Are(&versions[..1]);
    assert_eq!(decided(None, row(5), marker), Next::Ask(Question::Memory));
    let facts =
        Facts { copy: Place { latest: None, versions: marker }, memory: Memory::Nothing, ..facts(&kept) };
    assert_eq!(ends(&facts), Restored::Expired, "a marker says that it was there");
}

#[test]
fn in_a_versioned_object_bucket_the_version_of_the_backup_counts() {
    let kept = Kept::ForEver;
    let versions = [
        version("marker", NOW, None),
        version("newer", AFTER, Some((OTHER, 5))),
        version("then", BEFORE, Some((ONE, 5))),
    ];
    let then = || Next::Copy(Source::ObjectThen(versions[2].clone()));
    let decided = |latest: Option<Seen>, size, versions, copy| {
        let object = Place { latest, versions };
        decide(&Facts { row: row(size), object, copy: place(copy), backup_time: Some(THEN), ..facts(&kept) })
    };
    let all = Versions::Are(&versions);
    // Replaced, or deleted, since.
    assert_eq!(decided(seen(OTHER, 5, AFTER), 5, all, None), then());
    assert_eq!(decided(None, 5, all, seen(OTHER, 5, NOW)), then());
    assert_eq!(decided(None, 5, Versions::NotAsked, None), Next::Ask(Question::ObjectVersions));
    // Brought back since.
    assert!(matches!(decided(seen(ONE, 5, NOW), 5, all, None), Next::End(Restored::Present, Some(_))));
    // What was there then is not what the row says: not an even older one.
    assert!(matches!(decided(seen(OTHER, 6, AFTER), 7, all, None), Next::End(Restored::Differs, Some(_))));
    // There was nothing then: a marker, or not written yet.
    let gone = [version("x", AFTER, Some((ONE, 5))), version("m", BEFORE, None)];
    let copied = decided(None, 5, Versions::Are(&gone), seen(ONE, 5, NOW));
    assert_eq!(copied, Next::Copy(Source::Copy));
    // Versioning is suspended: over nothing the version comes back, over a present object never.
    let decided_suspended = |latest| {
        let object = Place { latest, versions: all };
        let facts = Facts { object, backup_time: Some(THEN), ..facts(&kept) };
        decide(&Facts { keeps_overwritten: false, ..facts })
    };
    assert_eq!(decided_suspended(None), then());
    let told = decided_suspended(seen(OTHER, 5, AFTER));
    assert!(matches!(told, Next::End(Restored::Differs, Some(why)) if why.contains("suspended")));
    assert!(matches!(decided_suspended(seen(ONE, 5, NOW)), Next::End(Restored::Present, _)));
    // Without the time nothing is replaced, and only the latest counts.
    let object = Place { latest: seen(OTHER, 6, AFTER), versions: all };
    assert_eq!(ends(&Facts { object, ..facts(&kept) }), Restored::Differs);
}

#[test]
fn what_is_nowhere_has_expired_where_something_knows_of_it_and_was_never_seen_elsewhere() {
    use Restored::{Expired, NeverSeen};
    let days = |days| Kept::Days { days, rule: "r".into() };
    let until = Kept::Until { date: "2026-12-01".into(), rule: "r".into() };
    for (memory, kept, backup, expected) in [
        (Memory::Recycled(AFTER), Kept::ForEver, None, Expired),
        (Memory::Nothing, Kept::ForEver, None, NeverSeen),
        (Memory::Nothing, days(7), None, NeverSeen),
        // Eight days ago.
        (Memory::Nothing, days(7), Some(THEN), Expired),
        (Memory::Nothing, days(8), Some(THEN), NeverSeen),
        (Memory::Nothing, Kept::ForEver, Some(THEN), NeverSeen),
        (Memory::Nothing, until.clone(), Some(THEN), Expired),
    ] {
        let facts = Facts { memory, backup_time: backup, ..facts(&kept) };
        assert_eq!(ends(&facts), expected, "{memory:?} {kept:?} {backup:?}");
        assert_eq!(decide(&Facts { memory: Memory::NotAsked, ..facts }), Next::Ask(Question::Memory));
    }
    let kept = Kept::ForEver;
    let hidden = [version("marker", NOW, None), version("v", BEFORE, Some((ONE, 5)))];
    let object = Place { latest: None, versions: Versions::Are(&hidden) };
    let told = decide(&Facts { object, memory: Memory::Nothing, ..facts(&kept) });
    assert!(matches!(told, Next::End(Expired, Some(why)) if why.contains("--backup-time")));
}

//! When it is too quiet, and when it only seems so.

use super::*;
use crate::db::silence::TableCount;

fn table(name: &str) -> TableName {
    TableName { schema: "public".into(), name: name.into() }
}

/// Counts of `ContactFile` and `SysFile`.
fn counts(captured: u64, contact: u64, sys: u64) -> DeletionCounts {
    shares(captured, (contact, 1.0), (sys, 1.0))
}

fn shares(captured: u64, contact: (u64, f64), sys: (u64, f64)) -> DeletionCounts {
    let tables = [("ContactFile", contact), ("SysFile", sys)].map(|(name, (deleted, in_s3))| TableCount {
        table: table(name),
        deleted,
        in_s3,
    });
    DeletionCounts { captured, tables: tables.into() }
}

/// What the last of these looks says, three seconds apart.
fn after(looks: Vec<DeletionCounts>) -> Option<(u64, Vec<TableName>)> {
    let (mut silence, start) = (Silence::default(), Instant::now());
    let mut said = None;
    for (turn, counts) in (0..).zip(looks) {
        said = silence.look(counts, start + turn * Duration::from_secs(3)).silent;
    }
    said
}

#[test]
fn rows_that_vanish_unheard_are_a_hint_and_nothing_else_is() {
    let three = Some((3, vec![table("ContactFile")]));
    for (why, looks, said) in [
        ("the first look knows no before", vec![counts(5, 7, 7)], None),
        ("nothing vanishes", vec![counts(5, 7, 7); 5], None),
        (
            "captured ones",
            vec![counts(5, 7, 7), counts(6, 10, 7), counts(6, 10, 7), counts(6, 10, 7), counts(6, 10, 7)],
            None,
        ),
        (
            "captured, and counted in pieces",
            vec![counts(5, 7, 7), counts(5, 10, 7), counts(6, 10, 7), counts(6, 10, 7), counts(6, 10, 7)],
            None,
        ),
        (
            "captured, and counted in pieces the other way round",
            vec![counts(5, 7, 7), counts(6, 7, 7), counts(6, 10, 7), counts(6, 10, 7), counts(6, 10, 7)],
            None,
        ),
        ("not settled yet", vec![counts(5, 7, 7), counts(5, 10, 7), counts(5, 10, 7)], None),
        (
            "unheard",
            vec![counts(5, 7, 7), counts(5, 10, 7), counts(5, 10, 7), counts(5, 10, 7)],
            three.clone(),
        ),
        (
            "it stays while nothing is heard",
            [vec![counts(5, 7, 7)], vec![counts(5, 10, 7); 9]].concat(),
            three.clone(),
        ),
        (
            "and ends when something is",
            [vec![counts(5, 7, 7)], vec![counts(5, 10, 7); 4], vec![counts(6, 10, 8)]].concat(),
            None,
        ),
        (
            "what was captured long before explains nothing",
            [vec![counts(5, 7, 7)], vec![counts(6, 7, 7); 3], vec![counts(6, 10, 7); 3]].concat(),
            three.clone(),
        ),
        (
            "one captured row cannot be five thousand files",
            vec![counts(5, 0, 0), counts(6, 2_000, 3_000), counts(6, 2_000, 3_000), counts(6, 2_000, 3_000)],
            Some((4_000, vec![table("ContactFile"), table("SysFile")])),
        ),
        (
            "all statistics were reset",
            [vec![counts(5, 7, 7), counts(5, 10, 7)], vec![counts(0, 0, 0); 4]].concat(),
            None,
        ),
        (
            "one table's statistics were reset",
            [vec![counts(5, 7, 7)], vec![counts(5, 0, 7); 4]].concat(),
            None,
        ),
    ] {
        assert_eq!(after(looks), said, "{why}");
    }
}

#[test]
fn rows_that_are_not_in_s3_are_not_expected_to_be_captured() {
    for (why, share, rows, hint) in [
        ("a table of another storage", 0.0, 1_000_000, false),
        ("one of a mixed table may be any", 0.5, 1, false),
        ("ten of a mixed table cannot all be of the other kind", 0.5, 10, true),
        ("few of a table that has hardly any", 0.01, 100, false),
        ("very many of it", 0.01, 1_000, true),
    ] {
        let first = shares(0, (0, share), (0, 1.0));
        let looks = [vec![first], vec![shares(0, (rows, share), (0, 1.0)); 3]].concat();
        assert_eq!(after(looks).is_some(), hint, "{why}");
    }
}

#[test]
fn a_new_table_begins_when_it_is_seen() {
    let mut less = counts(0, 0, 0);
    less.tables.truncate(1);
    assert_eq!(after([vec![less], vec![counts(0, 0, 50); 4]].concat()), None);
}

#[test]
fn a_first_row_that_stays_the_first_is_a_stall_where_a_relay_may_take_it() {
    let start = Instant::now();
    let head = |id, seconds| Some(Head { id, waits: Duration::from_secs(seconds) });
    let looks = |looks: &[(u64, Option<Head>, bool)], grace: u64| {
        let mut stall = Stall::default();
        let look = |(at, head, may): &(u64, Option<Head>, bool)| {
            let settings = (Duration::from_secs(grace), Duration::from_secs(1));
            stall.look(*head, *may, settings, start + Duration::from_secs(*at))
        };
        looks.iter().map(look).last().flatten()
    };
    let waits = Some(Duration::from_secs(70));
    for (why, said, expected) in [
        ("the same for a minute", looks(&[(0, head(1, 10), true), (60, head(1, 70), true)], 0), waits),
        ("not long enough", looks(&[(0, head(1, 10), true), (59, head(1, 69), true)], 0), None),
        ("another one", looks(&[(0, head(1, 10), true), (60, head(2, 70), true)], 0), None),
        ("none", looks(&[(0, head(1, 10), true), (60, None, true)], 0), None),
        ("paused", looks(&[(0, head(1, 10), false), (60, head(1, 70), false)], 0), None),
        (
            "paused until now",
            looks(&[(0, head(1, 10), true), (30, head(1, 40), false), (60, head(1, 70), true)], 0),
            None,
        ),
        ("within the grace period", looks(&[(0, head(1, 10), true), (60, head(1, 70), true)], 3_600), None),
        ("the grace is over since then", looks(&[(0, head(1, 10), true), (60, head(1, 70), true)], 60), None),
    ] {
        assert_eq!(said, expected, "{why}");
    }
}

//! Migrations go forward only: they expand, and contract only what no release reads any more.

use std::fs;
use std::path::Path;

/// What an older release that still runs would miss, by the first words of a clause, in capitals.
const CONTRACTS: &[&str] = &[
    "DROP TABLE",
    "DROP COLUMN",
    "DROP SEQUENCE",
    "DROP FUNCTION",
    "DROP SCHEMA",
    "DROP VIEW",
    "DROP TYPE",
    "DROP DEFAULT",
    "RENAME",
    " TYPE ",
    "SET NOT NULL",
    "ADD CONSTRAINT",
    "ADD CHECK",
    "ADD UNIQUE",
    "CREATE UNIQUE INDEX",
    "REVOKE",
];

/// What a contracting statement has to have above it: since which release nobody needs what goes.
const SINCE: &str = "-- contract: since ";

fn files() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(&path).unwrap())
        })
        .collect();
    files.sort();
    files
}

/// Their numbers, in the order in which they are applied.
pub fn versions() -> Vec<i64> {
    files().iter().map(|(name, _)| name.split('_').next().unwrap().parse().unwrap()).collect()
}

/// Statements that take something away, and do not say since when nobody needs it.
fn contracting(sql: &str) -> Vec<String> {
    let statements = sql.split_inclusive(';').map(|statement| {
        let comments: Vec<&str> =
            statement.lines().filter(|line| line.trim_start().starts_with("--")).collect();
        let code: Vec<&str> = statement.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
        (
            comments.join("\n"),
            format!(" {} ", code.join(" ").split_whitespace().collect::<Vec<_>>().join(" ")).to_uppercase(),
        )
    });
    statements
        .filter(|(comments, code)| {
            let takes = CONTRACTS.iter().any(|word| code.contains(word));
            // What is added without a default keeps an older release from writing rows.
            let demands =
                code.contains("ADD COLUMN") && code.contains("NOT NULL") && !code.contains("DEFAULT");
            let says = comments.lines().any(|line| {
                let since = line.trim().strip_prefix(SINCE);
                since.is_some_and(|since| since.chars().next().is_some_and(|first| first.is_ascii_digit()))
            });
            (takes || demands) && !says
        })
        .map(|(_, code)| code.trim().to_owned())
        .collect()
}

#[test]
fn what_an_older_release_needs_is_not_taken_away() {
    let mut wrong = Vec::new();
    // The first one makes everything, and takes away what everybody would have.
    for (name, sql) in files().iter().skip(1) {
        wrong.extend(contracting(sql).into_iter().map(|statement| format!("{name}: {statement}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_statement_that_takes_something_away_is_found() {
    for (sql, found) in [
        ("ALTER TABLE file_recycler.ledger ADD COLUMN a text;", 0),
        ("ALTER TABLE file_recycler.ledger ADD COLUMN a text NOT NULL DEFAULT '';", 0),
        ("CREATE TABLE file_recycler.a (b text NOT NULL, CHECK (b <> ''));", 0),
        ("ALTER TABLE file_recycler.ledger ADD COLUMN a text NOT NULL;", 1),
        ("ALTER TABLE file_recycler.ledger\n  drop column key;", 1),
        ("ALTER TABLE file_recycler.ledger ALTER COLUMN size TYPE int;", 1),
        ("ALTER TABLE file_recycler.ledger RENAME TO book;", 1),
        ("CREATE TABLE file_recycler.a (b text);\nDROP TABLE file_recycler.replay;", 1),
        ("-- contract: since 0.3.0 nobody reads it\nDROP TABLE file_recycler.replay;", 0),
        ("-- contract: since ever\nDROP TABLE file_recycler.replay;", 1),
        ("-- contract: since 0.3.0\nDROP TABLE file_recycler.a;\nDROP TABLE file_recycler.b;", 1),
    ] {
        assert_eq!(contracting(sql).len(), found, "{sql}");
    }
}

#[test]
fn the_numbers_of_migrations_ascend_and_say_when_and_what() {
    let files = files();
    assert!(files.len() >= 11, "{files:?}");
    for (name, sql) in &files {
        let (number, what) = name.strip_suffix(".sql").and_then(|name| name.split_once('_')).unwrap();
        assert!(number.len() == 14 && number.chars().all(|letter| letter.is_ascii_digit()), "{name}");
        assert!(what.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_'), "{name}");
        assert!(sql.starts_with("-- "), "{name} does not begin with what it is for");
    }
    let versions = versions();
    assert!(versions.is_sorted_by(|one, next| one < next), "{versions:?}");
}

//! Rules of the house that a machine can check: who may import whom, how long a file may be, what may
//! not be left in it.

use std::fs;
use std::path::{Path, PathBuf};

/// The layers from the top down. A room may import from the rows below its own, and from no other room
/// of its row, unless the exceptions say so.
const LAYERS: &[&[&str]] = &[
    &["main"],
    &["cli"],
    &["service", "explain", "doctor"],
    &["audit", "erase", "listener", "migrate", "worker", "replay", "restore", "http"],
    &["guard", "intake", "inventory", "resolve", "recycle"],
    &["db", "broker", "storage"],
    &["gate", "health", "metrics", "stop", "logging", "failpoint"],
    &[
        "batch",
        "capture",
        "circuit",
        "clock",
        "config",
        "event",
        "file",
        "fresh",
        "history",
        "key_template",
        "outcome",
        "retention",
        "retry",
        "trust",
    ],
];

/// Rooms that may import a neighbour, each with its reason.
const NEIGHBOURS: &[(&str, &str, &str)] = &[
    ("resolve", "recycle", "it hands over the jobs that recycle defines"),
    ("intake", "guard", "it asks whether anything may be published, and in which environment"),
];

/// The only room that may use a client library.
const CLIENTS: &[(&str, &str)] =
    &[("sqlx", "db"), ("lapin", "broker"), ("aws_sdk_s3", "storage"), ("backoff", "retry")];

const MAX_LINES: usize = 400;
const MAX_FUNCTION_LINES: usize = 70;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn rust_files(folder: &str) -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join(folder), &mut found);
    assert!(!found.is_empty(), "{folder} has no Rust files: the rules would check nothing");
    found
}

/// The room of a file below `src`: its first folder, or its own name.
fn room(path: &Path) -> String {
    let inside = path.strip_prefix(root().join("src")).unwrap();
    inside.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned()
}

fn layer(room: &str) -> usize {
    LAYERS
        .iter()
        .position(|rooms| rooms.contains(&room))
        .unwrap_or_else(|| panic!("the room '{room}' is in no layer: add it to LAYERS and ARCHITECTURE.md"))
}

fn imports(text: &str) -> Vec<&str> {
    text.match_indices("crate::")
        .map(|(at, prefix)| {
            let rest = &text[at + prefix.len()..];
            let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
            &rest[..end]
        })
        .filter(|name| !name.is_empty())
        .collect()
}

#[test]
fn imports_point_downwards_only() {
    let mut wrong = Vec::new();
    for path in rust_files("src") {
        let from = room(&path);
        if from == "lib" || from == "main" {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for to in imports(&text) {
            let allowed = to == from
                || layer(&from) < layer(to)
                || (layer(&from) == layer(to) && layer(to) >= LAYERS.len() - 2)
                || NEIGHBOURS.iter().any(|(a, b, _)| *a == from && *b == to);
            if !allowed {
                wrong.push(format!("{} imports {to}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_client_library_has_one_room() {
    let mut wrong = Vec::new();
    for path in rust_files("src") {
        let text = fs::read_to_string(&path).unwrap();
        for (library, owner) in CLIENTS {
            let used = text.contains(&format!("use {library}::")) || text.contains(&format!(" {library}::"));
            if used && room(&path) != *owner {
                wrong.push(format!("{} uses {library}, which is {owner}'s", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_and_functions_are_short_and_begin_with_their_purpose() {
    let mut wrong = Vec::new();
    for path in ["src", "tests", "bench"].into_iter().flat_map(rust_files) {
        let text = fs::read_to_string(&path).unwrap();
        if !text.starts_with("//!") {
            wrong.push(format!("{} does not begin with what it is for", path.display()));
        }
        if text.lines().count() > MAX_LINES {
            wrong.push(format!("{} has more than {MAX_LINES} lines", path.display()));
        }
        // A table of cases is long by nature.
        if !is_test(&path) && path.starts_with(root().join("src")) {
            wrong.extend(long_functions(&path, &text));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Functions, by their indentation: from `fn` to the closing brace in the same column.
fn long_functions(path: &Path, text: &str) -> Vec<String> {
    let mut long = Vec::new();
    let mut begun: Option<(usize, usize)> = None;
    for (number, line) in text.lines().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let words = line.trim_start();
        let is_function =
            ["fn ", "pub fn ", "async fn ", "pub async fn ", "pub(super) fn ", "pub(super) async fn "]
                .iter()
                .any(|start| words.starts_with(start));
        if is_function && begun.is_none() && !words.ends_with(';') && !words.ends_with('}') {
            begun = Some((number, indent));
        } else if let Some((start, column)) = begun
            && indent == column
            && words.starts_with('}')
        {
            if number - start + 1 > MAX_FUNCTION_LINES {
                long.push(format!("{}:{} is {} lines long", path.display(), start + 1, number - start + 1));
            }
            begun = None;
        }
    }
    long
}

#[test]
fn nothing_is_left_unfinished_and_nothing_panics_by_habit() {
    let unfinished = [
        "TO".to_owned() + "DO",
        "FIX".to_owned() + "ME",
        "todo".to_owned() + "!(",
        "unimplemented".to_owned() + "!(",
    ];
    let mut wrong = Vec::new();
    for path in ["src", "tests", "bench"].into_iter().flat_map(rust_files) {
        let text = fs::read_to_string(&path).unwrap();
        for word in unfinished.iter().filter(|word| text.contains(word.as_str())) {
            wrong.push(format!("{} has '{word}'", path.display()));
        }
        for line in text.lines().filter(|line| line.contains(&("#[ign".to_owned() + "ore"))) {
            // A test of a crash starts such a one as the process that dies.
            if !line.contains("child of") && !line.contains("started by the test") {
                wrong.push(format!("{} skips a test", path.display()));
            }
        }
    }
    for path in rust_files("src").into_iter().filter(|path| !is_test(path)) {
        let text = fs::read_to_string(&path).unwrap();
        let product = text.split("#[cfg(test)]").next().unwrap();
        for habit in [".unwrap()", "panic!("] {
            if product.contains(habit) {
                wrong.push(format!("{} has {habit} outside its tests", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Unit tests that have a file or a folder of their own.
fn is_test(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "tests")
        || path.file_name().is_some_and(|name| name == "tests.rs")
}

#[test]
fn both_packages_share_one_feature_set() {
    for name in ["Cargo.toml", "tests/s3/Cargo.toml", "tests/chaos/Cargo.toml"] {
        let text = fs::read_to_string(root().join(name)).unwrap();
        for shared in ["tokio", "serde", "time", "uuid", "bytes", "hyper-util"] {
            let dependencies = text.split_once("\n[dependencies]").unwrap().1;
            let own = dependencies.lines().find(|line| line.starts_with(&format!("{shared} = ")));
            assert_eq!(own, None, "{name}: `{shared}.workspace = true`, or the SDK is compiled twice");
        }
    }
}

/// The failure cases of queue and worker, each of which has at least one test with its number.
const QUEUE_CASES: &[u32] = &[20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 40, 43, 44, 53, 56];

/// The failure cases of the move, each of which has at least one test with its number.
const MOVE_CASES: &[u32] =
    &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 48, 49, 50, 51, 52];

/// The failure cases of database and capture, each of which has at least one test with its number.
const DATABASE_CASES: &[u32] = &[31, 32, 33, 34, 35, 36, 37, 38, 40, 41, 42, 45, 46, 47, 54, 55, 57, 58];

/// The failure cases of the way back and of erasing, each of which has at least one test with its number.
const WAY_BACK_CASES: &[u32] = &[39, 51];

#[test]
fn every_failure_case_of_move_queue_and_database_has_a_test_with_its_number() {
    let tests: String = ["src", "tests/it"]
        .into_iter()
        .flat_map(rust_files)
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let missing: Vec<_> = MOVE_CASES
        .iter()
        .chain(QUEUE_CASES)
        .chain(DATABASE_CASES)
        .chain(WAY_BACK_CASES)
        .filter(|case| !tests.contains(&format!("fn case_{case:02}_")))
        .collect();
    assert!(missing.is_empty(), "no test has the number of {missing:?}");
}

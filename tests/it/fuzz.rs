//! The fuzz targets, over what `fuzz/corpus` keeps and over mutations of it: a bounded number in every run of the tests.
//! `fuzz/run` lets libFuzzer look for more.

use std::fmt::Write as _;
use std::path::PathBuf;

#[path = "../../fuzz/targets.rs"]
mod targets;

/// Pieces by which an input gets further than by chance.
const PIECES: &[&[u8]] = &[
    b"\0",
    b"\"",
    b"'",
    b"=",
    b";",
    b"{",
    b"}",
    b"[",
    b"]",
    b"<",
    b">",
    b"&",
    b"&#x0;",
    b"&#xD800;",
    b"%",
    b"%00",
    b"\\",
    b"://",
    b"@",
    b"?",
    b"#",
    b"\n",
    b"\r\n",
    b"..",
    b"null",
    b"-1",
    b"1e999",
    b"18446744073709551616",
    b"{file_id}",
    b"{schema}",
    b"{file_id:upper}",
    b"\xEF\xBB\xBF",
    b"\xFF\xFE",
    b"\xFF",
    b"\xC3\xA9",
    b"<!DOCTYPE a [",
    b"<![CDATA[",
    b"sslmode=",
    b"crm.file.deleted.v1",
    b"0f8fad5b-d9cb-469f-a165-70867728950e",
    b"99999999d",
    b"CANARY5ecret",
];
const MAX_BYTES: usize = 8 * 1024;

/// As good as any for this, and the same on every machine.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((number ^ (number >> 31)) % u64::try_from(end.max(1)).unwrap()).unwrap()
    }

    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let from = self.below(length + 1);
        from..from + self.below((length - from).min(64) + 1)
    }
}

fn mutated(dice: &mut Dice, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut input = corpus[dice.below(corpus.len())].clone();
    for _ in 0..=dice.below(6) {
        let range = dice.range(input.len());
        match dice.below(5) {
            0 if !input.is_empty() => {
                let at = dice.below(input.len());
                input[at] ^= 1 << dice.below(8);
            }
            1 => drop(input.drain(range)),
            2 => {
                let copy = input[range.clone()].to_vec();
                let times = dice.below(8);
                drop(input.splice(range, copy.repeat(times)));
            }
            3 => {
                let other = &corpus[dice.below(corpus.len())];
                let piece = other[dice.range(other.len())].to_vec();
                drop(input.splice(range, piece));
            }
            _ => drop(input.splice(range, PIECES[dice.below(PIECES.len())].iter().copied())),
        }
        input.truncate(MAX_BYTES);
    }
    input
}

/// The input of a target that panics, as it can be pasted into a test.
struct Trying<'a>(&'a str, &'a [u8]);

impl Drop for Trying<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut text = String::new();
            self.1.escape_ascii().for_each(|byte| write!(text, "{}", byte as char).unwrap());
            eprintln!("{} panics with b\"{text}\"", self.0);
        }
    }
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

fn hold(name: &str, target: fn(&[u8]), mutations: usize) {
    let corpus = corpus(name);
    assert!(corpus.len() > 1, "{name} has a corpus");
    for input in &corpus {
        let _trying = Trying(name, input);
        target(input);
    }
    let mut dice = Dice(5);
    for _ in 0..mutations {
        let input = mutated(&mut dice, &corpus);
        let _trying = Trying(name, &input);
        target(&input);
    }
}

#[test]
fn any_message_is_an_event_or_a_refusal() {
    hold("event", targets::event, 20_000);
}

#[test]
fn any_configuration_is_read_or_refused_and_tells_no_secret() {
    hold("configuration", targets::configuration, 2_000);
}

#[test]
fn any_xml_is_read_or_refused() {
    hold("xml", targets::xml, 4_000);
}

#[test]
fn any_connection_string_is_read_or_refused() {
    hold("connection_string", targets::connection_string, 4_000);
}

#[test]
fn every_key_of_any_template_is_known_to_be_its_files() {
    hold("key_template", targets::key_template, 20_000);
}

#[test]
fn every_target_is_run_by_libfuzzer_and_here() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap();
    let run = read("run");
    let list = run.lines().find_map(|line| line.strip_prefix("ALL=(")).unwrap().trim_end_matches(')');
    let mut listed: Vec<&str> = list.split(' ').collect();
    listed.sort_unstable();
    let entries = std::fs::read_dir(root.join("fuzz_targets")).unwrap();
    let mut there: Vec<String> = entries
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    there.sort_unstable();
    assert_eq!(listed, there);
    for name in there {
        assert!(read("Cargo.toml").contains(&format!("name = \"{name}\"")), "{name} is no program");
        assert!(include_str!("fuzz.rs").contains(&format!("hold(\"{name}\"")), "{name} has no test");
    }
}

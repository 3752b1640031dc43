//! The guide as a book: every page is in it, every link leads somewhere, and every reason and command has its words.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use file_recycler::outcome::DeadReason;

use crate::guide::pages;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All Markdown files of the repository that are ours.
fn markdown() -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() {
                let others = ["target", "book", "node_modules", "__pycache__"];
                if !name.starts_with('.') && !others.contains(&name) {
                    walk(&path, found);
                }
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(root(), &mut found);
    found
}

/// The text without blocks of code, whose brackets are no links.
fn prose(text: &str) -> Vec<(usize, String)> {
    let mut in_block = false;
    let mut prose = Vec::new();
    for (at, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if !in_block {
            prose.push((at + 1, line.to_owned()));
        }
    }
    prose
}

/// What a line links to, but for what is code.
fn links(line: &str) -> Vec<String> {
    let outside: String = line.split('`').step_by(2).collect();
    let after = outside.match_indices("](").map(|(at, _)| &outside[at + 2..]);
    after.filter_map(|rest| Some(rest.split_once(')')?.0.split(' ').next()?.to_owned())).collect()
}

/// The anchors of a page, as the forges and mdBook make them from its headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for (_, line) in prose(text) {
        if let Some(heading) = line.strip_prefix('#').map(|rest| rest.trim_start_matches('#').trim()) {
            let words = heading.to_lowercase();
            let kept = words.chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
            anchors.insert(kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect());
        }
        for (at, start) in line.match_indices("id=\"") {
            anchors.insert(line[at + start.len()..].split('"').next().unwrap().to_owned());
        }
    }
    anchors
}

/// What is wrong with a link in a file; nothing where it leads somewhere.
fn broken(file: &Path, link: &str) -> Option<String> {
    if link.is_empty() || ["http://", "https://", "mailto:"].iter().any(|outside| link.starts_with(outside)) {
        return None;
    }
    let (path, anchor) = link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor)));
    let target = if path.is_empty() { file.to_owned() } else { file.parent().unwrap().join(path) };
    if !target.exists() {
        return Some(format!("there is no {path}"));
    }
    let is_page = target.extension().is_some_and(|extension| extension == "md");
    let docs = root().join("docs");
    let inside = |path: &Path| path.canonicalize().unwrap().starts_with(docs.canonicalize().unwrap());
    if is_page && inside(file) && !inside(&target) {
        return Some(format!("{path} is not in the book: name it without a link"));
    }
    let anchor = anchor.filter(|_| is_page)?;
    let there = anchors(&fs::read_to_string(&target).unwrap());
    (!there.contains(anchor)).then(|| format!("{path} has no heading for #{anchor}"))
}

#[test]
fn every_link_leads_somewhere() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for file in markdown() {
        for (at, line) in prose(&fs::read_to_string(&file).unwrap()) {
            for link in links(&line) {
                seen += 1;
                wrong.extend(broken(&file, &link).map(|why| format!("{}:{at}: {why}", file.display())));
            }
        }
    }
    assert!(seen > 100, "{seen} links: the rule would check nothing");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let file = root().join("docs/restore.md");
    for (line, wrong) in [
        ("[a](audit.md) and [b](https://example.org/x) and `[c](nowhere.md)`", 0),
        ("[a](audit.md#orphans), [b](#rights), [c](../deploy/rights/iam-run.json)", 0),
        ("[a](nowhere.md)", 1),
        ("[a](audit.md#nowhere)", 1),
        ("[a](#nowhere) [b](audit.md#nowhere)", 2),
        ("[a](../README.md)", 1),
    ] {
        let found = links(line).iter().filter_map(|link| broken(&file, link)).count();
        assert_eq!(found, wrong, "{line}");
    }
}

#[test]
fn the_book_has_every_page_once() {
    let docs = root().join("docs");
    let summary = fs::read_to_string(docs.join("SUMMARY.md")).unwrap();
    // A place without a page is a chapter to come; once there is one, this test wants it there.
    let listed: Vec<String> = summary.lines().flat_map(links).filter(|link| !link.is_empty()).collect();
    let once: BTreeSet<&String> = listed.iter().collect();
    assert_eq!(once.len(), listed.len(), "a page is there twice: {listed:?}");
    let pages: BTreeSet<String> = pages()
        .iter()
        .filter_map(|page| page.strip_prefix(&docs).ok())
        .map(|page| page.display().to_string())
        .filter(|page| page != "SUMMARY.md")
        .collect();
    assert_eq!(pages, listed.iter().cloned().collect(), "docs/SUMMARY.md against the pages of docs/");
}

#[test]
fn every_reason_of_a_dead_letter_has_a_section() {
    let page = fs::read_to_string(root().join("docs/dead-letters.md")).unwrap();
    let headings: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    assert_eq!(headings, DeadReason::ALL.iter().map(|reason| reason.as_str()).collect::<Vec<_>>());
}

//! The results as Markdown: in the target folder always, and in the README, which must say the same.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use super::Report;

const BEGIN: &str = "<!-- servers:begin -->";
const END: &str = "<!-- servers:end -->";
/// Rows of servers that these tests do not start, each with the day on which somebody ran the suite there.
const BY_HAND: &str = "\
| Garage | 2.5.0 with LMDB, by hand on 2026-11-25 | honours conditions on a copy's source; ignores conditions on copy \
over nothing, copy over a known one, delete, write over nothing, write over a known one; keys not exact; copies keep \
ETags | careful | 5 and a share of a delete | 13 of 17 |
| AWS S3 | not yet run against it | documented to honour every condition | – | – | – |
";
const CANNOT_BY_HAND: &str = "\
| Garage | move the latest version of several | it keeps no versions: the only one moves |
| Garage | keep every key to the byte | refused as unsupported, and untouched: `a//b`, `/lead`, `trail/`, `x/../y`, \
`p/./q`, `back\\slash`; the server itself does not take: a name of 1024 bytes, a key of 1024 bytes in several names |
| Garage | carry everything along with a copy | the server itself does not keep: storage class, tags |
| Garage | carry everything along with a copy in parts | the server itself does not keep: storage class, tags |
";

/// Where a run's own table is found, the server of somebody's own included.
fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("servers.md")
}

pub fn write<'a>(reports: impl Iterator<Item = &'a Report>) {
    fs::write(file(), markdown(&reports.collect::<Vec<_>>())).unwrap();
}

/// Fails where the README says something else; with `UPDATE_README=1` writes it there.
pub fn compare_with_the_readme(reports: &[Report]) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(&path).unwrap();
    let (before, rest) = readme.split_once(BEGIN).unwrap_or_else(|| panic!("README.md has no {BEGIN}"));
    let (block, after) = rest.split_once(END).unwrap_or_else(|| panic!("README.md has no {END}"));
    let found = format!("\n{}", markdown(&reports.iter().collect::<Vec<_>>()));
    if std::env::var_os("UPDATE_README").is_some_and(|value| value == "1") {
        fs::write(&path, format!("{before}{BEGIN}{found}{END}{after}")).unwrap();
    } else {
        assert!(
            block == found,
            "README.md says of the servers:\n{block}\nand this run found:\n{found}\nrun with UPDATE_README=1",
        );
    }
}

fn markdown(reports: &[&Report]) -> String {
    let mut text = "| server | version | what the probe found | path | requests per file | passed |\n\
                    |---|---|---|---|---|---|\n"
        .to_owned();
    for report in reports {
        let (name, version) = (report.server.name(), report.server.version());
        let (probed, path, requests) = match &report.measured {
            Ok(measured) => (measured.probed(), measured.path(), measured.requests()),
            Err(_) => ("failed".to_owned(), "–", "–".to_owned()),
        };
        let (passed, total) = (report.passed(), report.total());
        writeln!(text, "| {name} | {version} | {probed} | {path} | {requests} | {passed} of {total} |")
            .unwrap();
    }
    text.push_str(BY_HAND);
    text.push_str("\n| server | cannot | so |\n|---|---|---|\n");
    for report in reports {
        for (case, follows) in report.cannot() {
            writeln!(text, "| {} | {case} | {follows} |", report.server.name()).unwrap();
        }
    }
    text.push_str(CANNOT_BY_HAND);
    text
}

//! What would happen, over everything that can be found: each line changes what was found about one file or record.

mod living;
mod made;
mod others;
mod recycled;

use super::{Kind, Would, judge};
use crate::explain::found::Found;
use made::NOW;

/// Asserts what is said of each.
fn table(cases: Vec<(&str, Found, Kind, Would, &str)>) {
    for (what, found, kind, would, core) in cases {
        let verdict = judge(&found, NOW);
        assert_eq!((verdict.kind, verdict.would), (kind, would), "{what}: {verdict:?}");
        assert!(verdict.verdict.contains(core), "{what}: '{core}' is not in: {}", verdict.verdict);
        assert!(verdict.verdict.ends_with('.'), "{what}: {}", verdict.verdict);
        assert!(!verdict.verdict.contains(".."), "{what}: {}", verdict.verdict);
    }
}

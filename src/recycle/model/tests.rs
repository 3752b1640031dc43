//! The histories themselves, and the proof that they can find something.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::drive::run;
use super::history::histories;
use super::invariants::Invariant;
use super::lies::Lie;

/// More than ten times what the best hidden lie below needs.
const CASES: u32 = 2_000;

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_history_breaks_an_invariant(history in histories()) {
        if let Err((broken, log)) = run(&history, None) {
            prop_assert!(false, "{:?}: {}\n{log}", broken.invariant, broken.why);
        }
    }
}

/// What a lie breaks, and in which history first, until it breaks this: one lie may break many things.
fn broken_by(lie: Lie, sought: Invariant) -> BTreeMap<Invariant, u32> {
    let mut runner = TestRunner::deterministic();
    let mut broken = BTreeMap::new();
    for case in 1..=CASES / 10 {
        let history = histories().new_tree(&mut runner).expect("a history").current();
        if let Err((first, _)) = run(&history, Some(lie)) {
            broken.entry(first.invariant).or_insert(case);
        }
        if broken.contains_key(&sought) {
            break;
        }
    }
    broken
}

#[test]
fn every_lie_is_found_by_what_it_breaks() {
    for (lie, invariant) in [
        (Lie::DeletesAnything, Invariant::ContentIsKept),
        (Lie::CopiesOverAnything, Invariant::CopiesStay),
        (Lie::CopiesAnything, Invariant::CopiesStay),
        (Lie::ChecksOnce, Invariant::CheckedBeforeDelete),
        (Lie::ErrorsAreSuccess, Invariant::MovedIsTrue),
        (Lie::ProvesAnything, Invariant::CopiesStay),
        (Lie::NeverRenews, Invariant::RetentionIsRenewed),
        (Lie::BringsBackOverAnything, Invariant::OnlyCopiedIsRemoved),
        (Lie::NeverBringsBack, Invariant::LivingFilesHaveTheirs),
        (Lie::DeletesNothing, Invariant::MovedIsTrue),
    ] {
        let broken = broken_by(lie, invariant);
        assert!(broken.contains_key(&invariant), "{lie:?} breaks only {broken:?}");
    }
}

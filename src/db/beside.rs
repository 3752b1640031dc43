//! Which outbox rows nobody can still be writing beside: a deletion is taken once every transaction that began to write
//! before the deletion was committed has ended.
//!
//! Such a transaction may have written a link to what was deleted, or a copy of its row under the same id, and nobody
//! sees that before it commits. So a look at the outbox is noted as a snapshot, with a transaction number that was taken
//! *after* it: whoever wrote when the snapshot was taken has a lower one. Once all of those have ended, every row that
//! the snapshot shows may go. One that never ends must not stop everything, and is waited for for [`LONGEST`] only.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long a row waits for others at most, from when it was first seen.
const LONGEST: Duration = Duration::from_secs(5);
/// How long after a look the next one is noted, while one is waited for: a bound for their number.
const APART: Duration = Duration::from_millis(50);

/// What one relay has noted. In memory only: a new relay waits anew.
#[derive(Debug, Default)]
pub struct Beside {
    /// Every row that this snapshot shows may go.
    settled: Option<String>,
    waiting: VecDeque<Noted>,
}

/// One look at the outbox.
#[derive(Debug)]
struct Noted {
    /// `pg_current_snapshot()`, as text.
    snapshot: String,
    /// A transaction number that was taken after the snapshot.
    after: u64,
    at: Instant,
}

impl Beside {
    /// The newest snapshot whose rows may go.
    pub(super) fn settled(&self) -> Option<&str> {
        self.settled.as_deref()
    }

    /// The newest snapshot that is noted at all; rows that it does not show have not been seen yet.
    pub(super) fn newest(&self) -> Option<&str> {
        self.waiting.back().map(|noted| noted.snapshot.as_str()).or(self.settled())
    }

    /// Is anything waited for?
    pub fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// May another look be noted now?
    pub(super) fn wants_note(&self, now: Instant) -> bool {
        self.waiting.back().is_none_or(|last| now.saturating_duration_since(last.at) >= APART)
    }

    /// Notes a look; `after` was taken after its snapshot.
    pub(super) fn note(&mut self, snapshot: String, after: u64, now: Instant) {
        self.waiting.push_back(Noted { snapshot, after, at: now });
    }

    /// Every transaction below `xmin` has ended.
    pub(super) fn ended_below(&mut self, xmin: u64, now: Instant) {
        let over = |noted: &Noted| {
            noted.after <= xmin
                || now.saturating_duration_since(noted.at) >= LONGEST
                || crate::failpoint::removed("protection::wait_for_others")
        };
        while self.waiting.front().is_some_and(over) {
            self.settled = self.waiting.pop_front().map(|noted| noted.snapshot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_go_when_all_have_ended_that_began_before_they_were_seen_or_after_the_longest_wait() {
        let start = Instant::now();
        let noted = || {
            let mut beside = Beside::default();
            beside.note("first".into(), 100, start);
            beside.note("second".into(), 110, start + APART);
            beside
        };
        for (xmin, waited, settled, why) in [
            (99, Duration::ZERO, None, "somebody from before the first look still writes"),
            (100, Duration::ZERO, Some("first"), "nobody does"),
            (109, Duration::ZERO, Some("first"), "somebody from before the second look does"),
            (110, Duration::ZERO, Some("second"), "nobody does"),
            (1, LONGEST, Some("first"), "too long to be waited for"),
            (1, LONGEST + APART, Some("second"), "too long to be waited for"),
        ] {
            let mut beside = noted();
            beside.ended_below(xmin, start + waited);
            assert_eq!(beside.settled(), settled, "xmin {xmin} after {waited:?}: {why}");
            assert_eq!(beside.waits(), settled != Some("second"));
            assert_eq!(beside.newest(), Some("second"));
        }
    }

    #[test]
    fn looks_are_noted_apart_while_one_is_waited_for() {
        let start = Instant::now();
        let mut beside = Beside::default();
        assert!(beside.wants_note(start));
        beside.note("first".into(), 100, start);
        assert!(!beside.wants_note(start));
        assert!(beside.wants_note(start + APART));
        beside.ended_below(100, start);
        assert!(beside.wants_note(start), "nothing is waited for");
    }
}

//! From which outbox row on to look: a low-water mark that never passes a row which is not committed yet.
//!
//! The relay deletes what it published, and dead rows at the head of the index make every look slower for
//! as long as some transaction keeps them from being vacuumed. Ids are given out before their transaction
//! commits, so "the highest id that I saw" would lose rows. The mark advances to an id M only when every
//! transaction that could have been given an id up to M has ended, and nothing up to M is left.

use std::time::{Duration, Instant};

use super::beside::Beside;
use crate::failpoint;

/// How often everything is looked at all the same, from the very first id.
pub const FULL_SCAN: Duration = Duration::from_mins(1);

/// The marks of one relay. They live in memory only: a new relay begins with a full look.
#[derive(Debug, Default)]
pub struct LowWater {
    /// No row is left up to here.
    pub(super) left: Mark,
    /// Every row that is left up to here has been marked as seen.
    pub(super) unseen: Mark,
    /// Which rows no other transaction may still be writing beside.
    pub(super) beside: Beside,
}

impl LowWater {
    /// The id above which rows are left.
    pub fn from(&mut self, now: Instant) -> i64 {
        self.left.from(now)
    }

    /// Are rows there that wait for other transactions to end?
    pub fn waits(&self) -> bool {
        self.beside.waits()
    }
}

/// One mark.
#[derive(Debug, Default)]
pub struct Mark {
    at: i64,
    noted: Option<Noted>,
    last_full: Option<Instant>,
}

/// The highest id given out at some moment, and a transaction that began after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Noted {
    /// The highest id that the outbox had given out.
    pub id: i64,
    /// Number of a transaction that got it *after* `id` was read: whoever was given an id up to it has a
    /// lower number. (`pg_snapshot_xmax` is no such number: it is one past the highest *completed*
    /// transaction, and those that run may be above it.)
    pub after: u64,
}

/// What one look at the outbox showed, all from one snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// `pg_snapshot_xmin`: every transaction below it has ended.
    pub xmin: u64,
    /// The lowest id that is left above where the look began, whoever holds it.
    pub first: Option<i64>,
}

impl Mark {
    /// The id above which to look now.
    pub fn from(&mut self, now: Instant) -> i64 {
        if failpoint::removed("protection::low_water_mark") {
            return 0;
        }
        match self.last_full {
            Some(last) if now.saturating_duration_since(last) < FULL_SCAN => self.at,
            _ => {
                self.last_full = Some(now);
                0
            }
        }
    }

    /// The mark, without the look at everything that [`Mark::from`] has now and then.
    pub fn at(&self) -> i64 {
        self.at
    }

    /// Is a new [`Noted`] of use, now that `id` is the highest id given out?
    pub fn wants_note(&self, id: i64) -> bool {
        self.noted.is_none() && id > self.at
    }

    /// Takes note of the highest id given out.
    pub fn note(&mut self, noted: Noted) {
        self.noted = Some(noted);
    }

    /// Advances the mark, where a look that began at the mark (or below) allows it. A row found below the
    /// mark, which should not be, takes it back.
    pub fn advance(&mut self, look: Look) {
        if let Some(first) = look.first {
            self.at = self.at.min(first - 1);
        }
        let Some(noted) = self.noted else { return };
        if look.xmin < noted.after {
            return;
        }
        let empty_up_to = look.first.map_or(noted.id, |first| noted.id.min(first - 1));
        self.at = self.at.max(empty_up_to);
        // Rows are left below the noted id: the note still holds, and is of use once they are gone.
        if empty_up_to == noted.id {
            self.noted = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted_at_10() -> Mark {
        let mut low = Mark::default();
        let _ = low.from(Instant::now());
        low.note(Noted { id: 10, after: 500 });
        low
    }

    #[test]
    fn the_mark_waits_for_every_transaction_that_may_hold_an_id_below_it() {
        for (xmin, first, mark, why) in [
            (499, None, 0, "a transaction that may hold a lower id still runs"),
            (500, None, 10, "all have ended and nothing is left"),
            (500, Some(11), 10, "what is left was given out later"),
            (500, Some(7), 6, "a row is left: not past it"),
            (900, Some(1), 0, "the first row is left"),
        ] {
            let mut low = noted_at_10();
            low.advance(Look { xmin, first });
            assert_eq!(low.at, mark, "{why}");
        }
    }

    #[test]
    fn a_note_serves_until_everything_below_it_is_gone() {
        let mut low = noted_at_10();
        low.advance(Look { xmin: 500, first: Some(7) });
        assert!(!low.wants_note(10));
        low.advance(Look { xmin: 500, first: None });
        assert_eq!(low.at, 10);
        assert!(low.wants_note(11));
    }

    #[test]
    fn without_a_note_nothing_advances() {
        let mut low = Mark::default();
        low.advance(Look { xmin: u64::MAX, first: None });
        assert_eq!(low.at, 0);
    }

    #[test]
    fn everything_is_looked_at_again_after_a_while() {
        let start = Instant::now();
        let mut low = Mark::default();
        assert_eq!(low.from(start), 0);
        low.note(Noted { id: 10, after: 500 });
        low.advance(Look { xmin: 500, first: None });
        assert_eq!(low.from(start + FULL_SCAN / 2), 10);
        assert_eq!(low.from(start + FULL_SCAN), 0);
        assert_eq!(low.from(start + FULL_SCAN), 10, "once");
        low.advance(Look { xmin: 500, first: Some(3) });
        assert_eq!(low.from(start + FULL_SCAN), 2, "what was found below takes the mark back");
    }
}

//! The brake: how many files moved within the last hour, and whether that is more than the operator allows.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The window that `recycle.brake` counts over.
const WINDOW: Duration = Duration::from_hours(1);
/// Counts of one such span are kept as one number.
const STEP: Duration = Duration::from_secs(10);

/// Counts moved files of this process.
#[derive(Debug)]
pub(super) struct Brake {
    limit: u64,
    counts: VecDeque<(Instant, u64)>,
}

impl Brake {
    /// A brake at `limit` files an hour; 0: none.
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, counts: VecDeque::new() }
    }

    /// Counts `moved` files at `now`; gives the hour's sum when it is above the limit, and begins anew, so
    /// that an operator who resumes is not stopped by the same files again.
    pub(super) fn count(&mut self, now: Instant, moved: u64) -> Option<u64> {
        if self.limit == 0 || moved == 0 {
            return None;
        }
        while self.counts.front().is_some_and(|(at, _)| now.duration_since(*at) >= WINDOW) {
            self.counts.pop_front();
        }
        match self.counts.back_mut() {
            Some((at, count)) if now.duration_since(*at) < STEP => *count += moved,
            _ => self.counts.push_back((now, moved)),
        }
        let sum = self.counts.iter().map(|(_, count)| count).sum();
        if sum <= self.limit {
            return None;
        }
        self.counts.clear();
        Some(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_brake_acts_above_the_limit_within_an_hour_and_begins_anew() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut brake = Brake::new(10);
        assert_eq!(brake.count(at(0), 6), None);
        assert_eq!(brake.count(at(5), 4), None);
        assert_eq!(brake.count(at(3_599), 1), Some(11));
        assert_eq!(brake.count(at(3_600), 10), None);
        assert_eq!(brake.count(at(7_200), 10), None);
        assert_eq!(brake.count(at(7_201), 1), Some(11));
    }

    #[test]
    fn no_limit_is_no_brake() {
        assert_eq!(Brake::new(0).count(Instant::now(), u64::MAX), None);
    }
}

//! How long the relay waits before it looks again: a moment after work, longer and longer while there is none.

use std::time::Duration;

/// The shortest wait.
const SHORTEST: Duration = Duration::from_millis(20);

/// The longest wait while something waits for transactions to end.
const LONGEST_WAITING: Duration = Duration::from_millis(250);

/// The relay's pace.
#[derive(Debug)]
pub(super) struct Pace {
    longest: Duration,
    next: Duration,
}

impl Pace {
    /// Waits from 20 ms up to `longest`.
    pub(super) fn new(longest: Duration) -> Self {
        Self { longest, next: SHORTEST.min(longest) }
    }

    /// There was work: the next wait is short again.
    pub(super) fn worked(&mut self) {
        self.next = SHORTEST.min(self.longest);
    }

    /// There is some, which waits for others: how long to wait now.
    pub(super) fn waiting(&mut self) -> Duration {
        self.idle().min(LONGEST_WAITING)
    }

    /// There was none: how long to wait now.
    pub(super) fn idle(&mut self) -> Duration {
        let now = self.next;
        self.next = now.saturating_mul(2).min(self.longest);
        now
    }

    /// The slowest pace, for when there is nothing to hurry for.
    pub(super) fn longest(&self) -> Duration {
        self.longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_are_short_again_after_work() {
        let mut pace = Pace::new(Duration::from_millis(100));
        let waits: Vec<u128> = (0..5).map(|_| pace.idle().as_millis()).collect();
        assert_eq!(waits, [20, 40, 80, 100, 100]);
        pace.worked();
        assert_eq!(pace.idle().as_millis(), 20);
    }

    #[test]
    fn what_waits_for_others_is_looked_at_often() {
        let mut pace = Pace::new(Duration::from_secs(10));
        let waits: Vec<u128> = (0..6).map(|_| pace.waiting().as_millis()).collect();
        assert_eq!(waits, [20, 40, 80, 160, 250, 250]);
    }

    #[test]
    fn a_poll_that_is_shorter_than_the_shortest_wait_is_kept() {
        let mut pace = Pace::new(Duration::from_millis(5));
        assert_eq!([pace.idle(), pace.idle()], [Duration::from_millis(5); 2]);
    }
}

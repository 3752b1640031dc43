//! How many messages a replay may send now: its rate, its ramp, and how many may still fail.

use std::time::{Duration, Instant};

use crate::failpoint;

/// Messages under way at once, where nothing else bounds them.
const UNDER_WAY: usize = 1_000;
/// Messages that are sent together.
pub(super) const WINDOW: usize = 64;
/// What a ramp begins with, in messages a second.
const RAMP_FROM: f64 = 1.0;
/// A ramp goes no higher, in messages a second: nothing is faster.
const RAMP_TO: f64 = 10_000.0;

/// How an operator wants it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Wanted {
    /// At most so many a second.
    pub rate: Option<f64>,
    /// Starts slowly, doubles while messages succeed, and halves when one fails.
    pub ramp: bool,
    /// Stops when so many have failed.
    pub max_failures: Option<usize>,
}

/// The pace of one replay.
#[derive(Debug)]
pub(super) struct Pace {
    wanted: Wanted,
    /// Messages a second; nothing: as fast as may be.
    rate: Option<f64>,
    /// Messages that may be sent by the rate, as of `at`.
    credit: f64,
    at: Instant,
    succeeded: usize,
    failed: usize,
    /// Successes since the rate last changed.
    since_change: usize,
}

impl Pace {
    pub(super) fn new(wanted: Wanted, now: Instant) -> Self {
        let ceiling = wanted.rate;
        let rate =
            if wanted.ramp { Some(ceiling.map_or(RAMP_FROM, |most| most.min(RAMP_FROM))) } else { ceiling };
        Self { wanted, rate, credit: 1.0, at: now, succeeded: 0, failed: 0, since_change: 0 }
    }

    /// How many messages may be sent now, when so many are under way.
    pub(super) fn room(&mut self, now: Instant, under_way: usize) -> usize {
        let mut room = UNDER_WAY.saturating_sub(under_way).min(WINDOW);
        if let Some(most) = self.wanted.max_failures
            && !failpoint::removed("protection::max_failures")
        {
            room = room.min(most.saturating_sub(self.failed + under_way));
        }
        let Some(rate) = self.rate else { return room };
        let elapsed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        // What was not used is not saved up beyond a second's worth.
        self.credit = (self.credit + elapsed * rate).min(rate.max(1.0));
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small and positive")]
        let by_rate = self.credit as usize;
        room.min(by_rate)
    }

    /// So many were sent.
    pub(super) fn sent(&mut self, count: usize) {
        #[allow(clippy::cast_precision_loss, reason = "at most a window")]
        let count = count as f64;
        self.credit -= count;
    }

    /// So many have ended so far.
    pub(super) fn ended(&mut self, succeeded: usize, failed: usize) {
        let (better, worse) = (succeeded > self.succeeded, failed > self.failed);
        self.since_change += succeeded.saturating_sub(self.succeeded);
        (self.succeeded, self.failed) = (succeeded, failed);
        let Some(rate) = self.rate.filter(|_| self.wanted.ramp) else { return };
        let ceiling = self.wanted.rate.unwrap_or(RAMP_TO);
        #[allow(clippy::cast_precision_loss, reason = "counts of messages")]
        let seconds_worth = self.since_change as f64 >= rate;
        if worse {
            self.rate = Some((rate / 2.0).max(RAMP_FROM.min(ceiling)));
            self.since_change = 0;
        } else if better && seconds_worth {
            self.rate = Some((rate * 2.0).min(ceiling));
            self.since_change = 0;
        }
    }

    /// Have as many failed as may?
    pub(super) fn is_over(&self) -> bool {
        self.wanted.max_failures.is_some_and(|most| self.failed >= most)
    }

    /// How long to wait before it is worth asking again.
    pub(super) fn pause(&self) -> Duration {
        const SHORT: Duration = Duration::from_millis(20);
        const LONG: Duration = Duration::from_millis(100);
        match self.rate {
            Some(rate) if rate < 10.0 => LONG,
            _ => SHORT,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, seconds: f64) -> Instant {
        start + Duration::from_secs_f64(seconds)
    }

    #[test]
    fn no_more_messages_are_under_way_than_may_still_fail() {
        for (most, failed, under_way, expected) in [
            (None, 7, 0, WINDOW),
            (None, 7, UNDER_WAY, 0),
            (Some(1), 0, 0, 1),
            (Some(1), 0, 1, 0),
            (Some(5), 2, 1, 2),
            (Some(5), 9, 0, 0),
            (Some(10_000), 0, 0, WINDOW),
        ] {
            let start = Instant::now();
            let mut pace = Pace::new(Wanted { max_failures: most, ..Wanted::default() }, start);
            pace.ended(0, failed);
            assert_eq!(pace.room(start, under_way), expected, "{most:?} {failed} {under_way}");
        }
    }

    #[test]
    fn a_rate_is_kept_and_is_not_saved_up() {
        let start = Instant::now();
        let mut pace = Pace::new(Wanted { rate: Some(10.0), ..Wanted::default() }, start);
        let mut sent = 0;
        for step in 0..100 {
            let room = pace.room(at(start, f64::from(step) / 10.0), 0);
            pace.sent(room);
            sent += room;
        }
        assert!((99..=101).contains(&sent), "ten a second for ten seconds: {sent}");
        assert_eq!(pace.room(at(start, 1_000.0), 0), 10, "a long pause is worth one second");
    }

    #[test]
    fn a_ramp_doubles_while_messages_succeed_and_halves_when_one_fails() {
        let start = Instant::now();
        let mut pace = Pace::new(Wanted { ramp: true, rate: Some(6.0), ..Wanted::default() }, start);
        let mut rates = Vec::new();
        for (succeeded, failed) in
            [(0, 0), (1, 0), (2, 0), (3, 0), (7, 0), (20, 0), (20, 1), (20, 2), (20, 9)]
        {
            pace.ended(succeeded, failed);
            rates.push(pace.rate.unwrap());
        }
        assert_eq!(rates, [1.0, 2.0, 2.0, 4.0, 6.0, 6.0, 3.0, 1.5, 1.0]);
        assert_eq!(
            Pace::new(Wanted { ramp: true, rate: Some(0.2), ..Wanted::default() }, start).rate,
            Some(0.2)
        );
    }
}

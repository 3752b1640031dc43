//! Chooses how many requests may be in flight: additive increase while it pays, multiplicative decrease on
//! overload. Pure: instants are arguments.
//!
//! AIMD (Chiu and Jain, "Analysis of the Increase and Decrease Algorithms for Congestion Avoidance", 1989)
//! with the slow start of TCP (RFC 5681) at the beginning. As in Netflix's `concurrency-limits`, the window of
//! TCP is a number of requests, overload is an answer or a time-out, and a limit that is not used up does not
//! grow. Servers that never complain get a limit too: two neighbouring limits are measured one after the
//! other, and the higher one stays only if it [pays](Pace::pays).

use std::time::{Duration, Instant};

use super::Ended;
use super::window::{Pace, Window};

/// Where slow start begins: what any server bears.
const FIRST: usize = 16;
/// How long a limit is left alone after its neighbours were found no better. It bounds what the question
/// costs, and how late a server that became faster is noticed.
const REST: Duration = Duration::from_secs(5);

/// The limit, and the question that is being asked about it.
#[derive(Debug)]
pub(super) struct Control {
    max: usize,
    limit: usize,
    /// Where the limit is going; it is judged there.
    goal: usize,
    /// The neighbour that it is compared with.
    base: Option<Pace>,
    window: Window,
    /// Until the first setback, a raise is made at once.
    slow_start: bool,
    /// Doublings are asked about up to here: below it they paid, or nothing is known yet.
    threshold: usize,
    /// Is a lower limit just as good? Asked first after a rest; else, does a higher one pay?
    downwards: bool,
    rest_until: Option<Instant>,
    /// The last decrease.
    fell: Option<Instant>,
}

impl Control {
    /// Slow start, up to `max` at most (at least 1).
    pub(super) fn new(max: usize) -> Self {
        let max = max.max(1);
        let limit = max.min(FIRST);
        let mut control = Self {
            max,
            limit,
            goal: limit,
            base: None,
            window: Window::comparing(limit, limit, None),
            slow_start: true,
            threshold: max,
            downwards: false,
            rest_until: None,
            fell: None,
        };
        control.window = Window::comparing(limit, control.neighbour(), None);
        control
    }

    /// How many requests may be in flight.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// A request has ended; `wanted` is how many were in flight or waiting until then, this one included. Gives
    /// the limit from now on.
    pub(super) fn ended(&mut self, now: Instant, started: Instant, ended: Ended, wanted: usize) -> usize {
        match ended {
            Ended::Ignored => {}
            // At most once per round trip: what started before the last decrease knows nothing of it.
            Ended::Overloaded if self.fell.is_some_and(|fell| started <= fell) => {}
            Ended::Overloaded => self.fall(now),
            Ended::Answered if self.rest_until.is_some_and(|until| now < until) => {}
            Ended::Answered => {
                if let Some(pace) = self.window.count(now, started, wanted) {
                    self.next(now, pace);
                }
            }
        }
        self.limit
    }

    /// To the half, and additive increase from there.
    fn fall(&mut self, now: Instant) {
        self.fell = Some(now);
        self.slow_start = false;
        self.downwards = false;
        self.rest_until = None;
        self.measure_at((self.limit / 2).max(1), now);
    }

    /// What follows from a full window.
    fn next(&mut self, now: Instant, here: Pace) {
        if self.limit < self.goal {
            return self.climb(now);
        }
        match self.base {
            None => self.ask(now, here),
            Some(base) if base.limit < here.limit => self.judge_higher(now, base, here),
            Some(base) => self.judge_lower(now, base, here),
        }
    }

    /// Goes to a neighbouring limit, to be compared with this one.
    fn ask(&mut self, now: Instant, here: Pace) {
        let goal = self.neighbour();
        if goal == self.limit {
            return self.rest_at(goal, now);
        }
        (self.base, self.goal) = (Some(here), goal);
        if goal > self.limit {
            return self.climb(now);
        }
        self.limit = goal;
        self.window = Window::comparing(goal, here.limit, Some(now));
    }

    /// One additive step to the goal, or all of it in slow start. What a single step brings among many requests
    /// is less than the noise, so only the goal is judged.
    fn climb(&mut self, now: Instant) {
        let step = if self.slow_start { self.goal } else { (self.max / 16).max(1) };
        self.limit = (self.limit + step).min(self.goal);
        self.window = match self.base {
            Some(base) if self.limit == self.goal => Window::comparing(self.limit, base.limit, Some(now)),
            _ => Window::passing(self.limit, now),
        };
    }

    fn judge_higher(&mut self, now: Instant, base: Pace, here: Pace) {
        if here.pays(base) {
            self.threshold = self.threshold.max(here.limit);
            return self.ask(now, here);
        }
        if base.limit * 2 <= self.threshold {
            // The double was too much; less may not be.
            self.slow_start = false;
            self.threshold = base.limit;
            return self.measure_at(base.limit, now);
        }
        self.rest_at(base.limit, now);
    }

    fn judge_lower(&mut self, now: Instant, base: Pace, here: Pace) {
        if base.pays(here) {
            self.downwards = false;
            return self.measure_at(base.limit, now);
        }
        self.rest_at(here.limit, now);
    }

    /// The first half of a comparison.
    fn measure_at(&mut self, limit: usize, now: Instant) {
        (self.limit, self.goal, self.base) = (limit, limit, None);
        self.window = Window::comparing(limit, self.neighbour(), Some(now));
    }

    fn rest_at(&mut self, limit: usize, now: Instant) {
        self.slow_start = false;
        self.downwards = true;
        self.rest_until = Some(now + REST);
        self.measure_at(limit, now);
    }

    /// The limit that this one is to be compared with: itself where the question is about more than the most.
    /// A quarter up or a fifth down, which is the same way back, is as fine as can be told from noise.
    fn neighbour(&self) -> usize {
        let limit = self.limit;
        if self.downwards && limit > 1 {
            return limit - (limit / 5).max(1);
        }
        let growth = if limit * 2 <= self.threshold { limit } else { (limit / 4).max(limit.min(2)) };
        // A last step that is much smaller than the others could not be judged.
        if limit + growth + growth / 2 >= self.max { self.max } else { limit + growth }
    }
}

//! Measures the throughput at one limit: completions per second of the time in which the limit was used up.

use std::time::{Duration, Instant};

/// Completions needed to tell the throughput of a limit from that of its double. Those of finer steps need
/// more by the square: the noise of a count shrinks with its root.
const ENOUGH_FOR_A_DOUBLING: usize = 32;
/// The finest step that is told from noise, as a part of the limit: one in so many. It bounds the window.
const FINEST: usize = 4;

/// What a limit achieved.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) limit: usize,
    /// Completions per second.
    pub(super) rate: f64,
}

impl Pace {
    /// Is this limit worth more requests in flight than the lower one? A third of what they would bring if
    /// nothing were in their way is enough, and more than the noise.
    pub(super) fn pays(self, lower: Self) -> bool {
        let growth = as_f64(self.limit) / as_f64(lower.limit) - 1.0;
        self.rate >= lower.rate * (1.0 + growth / 3.0)
    }
}

/// A measurement under way.
///
/// Completions are counted whatever they were, so a change of the mix looks like a change of the pace: a large
/// copy counts as much as a HEAD. A limit that is judged by such a window is wrong by one step up or down,
/// and judged again after a rest. Nothing else follows from a window: fewer completions alone lower no limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    limit: usize,
    /// The limit's beginning: it opens with the first end of a request that started no earlier, which is when
    /// the limit has filled the server's queues, or the old requests have left them.
    since: Option<Instant>,
    enough: usize,
    ended: usize,
    busy: Duration,
    /// The last completion that found the limit used up. Idle time afterwards is nobody's pace.
    last: Option<Instant>,
}

impl Window {
    /// A window of whole round trips, long enough to tell this limit from `other`.
    pub(super) fn comparing(limit: usize, other: usize, since: Option<Instant>) -> Self {
        let part = limit.min(other).div_ceil(limit.abs_diff(other).max(1)).min(FINEST);
        let samples = ENOUGH_FOR_A_DOUBLING * part * part;
        // Whole round trips: requests that started together end together, and a part of a trip has none or all.
        let enough = samples.div_ceil(limit).max(1) * limit;
        Self { limit, since, enough, ended: 0, busy: Duration::ZERO, last: None }
    }

    /// A window of one round trip, for a limit that is not judged.
    pub(super) fn passing(limit: usize, since: Instant) -> Self {
        Self { enough: limit, ..Self::comparing(limit, limit, Some(since)) }
    }

    /// Counts a completion; `wanted` is how many requests were in flight or waiting, this one included. Gives
    /// the pace when there are enough.
    pub(super) fn count(&mut self, now: Instant, started: Instant, wanted: usize) -> Option<Pace> {
        if wanted < self.limit {
            self.last = None;
            return None;
        }
        if let Some(last) = self.last.replace(now) {
            self.busy += now.saturating_duration_since(last);
            self.ended += 1;
        } else if self.ended == 0 && self.since.is_some_and(|since| started < since) {
            self.last = None;
        }
        // Time that a clock cannot see is still some time.
        let seconds = self.busy.max(Duration::from_nanos(1)).as_secs_f64();
        (self.ended >= self.enough).then(|| Pace { limit: self.limit, rate: as_f64(self.ended) / seconds })
    }
}

/// Limits and counts are far below what an `f64` holds exactly.
fn as_f64(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::from(u32::MAX), f64::from)
}

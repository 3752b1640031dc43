//! Every wait of the program is chosen here: pauses between tries in one process, the wait queue for a
//! later try, and the growing pauses with which an outage is probed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use backoff::backoff::Backoff as _;
use backoff::exponential::ExponentialBackoff;

use crate::config::Delay;
use crate::outcome::{Advice, Failure};

/// Source of randomness for jitter: numbers from 0 (inclusive) to 1 (exclusive).
#[derive(Clone)]
pub struct Random(Arc<dyn Fn() -> f64 + Send + Sync>);

impl Random {
    /// The thread's generator.
    pub fn system() -> Self {
        Self(Arc::new(rand::random::<f64>))
    }

    /// Numbers that the caller owns.
    pub fn from_fn(next: impl Fn() -> f64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(next))
    }
}

/// Source of elapsed time for bounds on a row of tries.
#[derive(Clone)]
pub struct Stopwatch(Arc<dyn Fn() -> Instant + Send + Sync>);

impl Stopwatch {
    /// The machine's monotonic clock.
    pub fn system() -> Self {
        Self(Arc::new(Instant::now))
    }

    /// Instants that the caller owns.
    pub fn from_fn(now: impl Fn() -> Instant + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The present instant.
    pub fn now(&self) -> Instant {
        (self.0)()
    }
}

impl backoff::Clock for Stopwatch {
    fn now(&self) -> Instant {
        self.now()
    }
}

/// How pauses grow, and when they end.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// The first pause.
    pub first: Duration,
    /// No pause is longer.
    pub longest: Duration,
    /// How many pauses at most.
    pub count: Option<u32>,
    /// No pause ends later than this after the start.
    pub total: Option<Duration>,
}

/// Tries within one delivery: for what goes_on within seconds (a cut connection, a deadlock, a 500).
pub const WITHIN_A_DELIVERY: Schedule = Schedule {
    first: Duration::from_millis(100),
    longest: Duration::from_secs(2),
    count: Some(4),
    total: Some(Duration::from_secs(10)),
};

/// A long walk along buckets and tables that should not end with a short outage of either.
pub const ON_THE_WAY: Schedule = Schedule {
    first: Duration::from_millis(250),
    longest: Duration::from_secs(10),
    count: None,
    total: Some(Duration::from_mins(2)),
};

/// Looking again at a dependency that is out: without end, at most half a minute apart.
pub const UNTIL_BACK: Schedule = Schedule {
    first: Duration::from_millis(250),
    longest: Duration::from_secs(30),
    count: None,
    total: None,
};

/// The pauses of one row of tries: they double, with a jitter of a quarter either way.
pub struct Pauses {
    exponential: ExponentialBackoff<Stopwatch>,
    random: Random,
    longest: Duration,
    left: Option<u32>,
}

impl Pauses {
    /// The pauses of `schedule`, from its beginning.
    pub fn new(schedule: Schedule, stopwatch: Stopwatch, random: Random) -> Self {
        let mut exponential = ExponentialBackoff {
            current_interval: schedule.first,
            initial_interval: schedule.first,
            // The crate's jitter takes its randomness from a global generator; ours is an argument.
            randomization_factor: 0.0,
            multiplier: 2.0,
            max_interval: schedule.longest,
            start_time: backoff::Clock::now(&stopwatch),
            max_elapsed_time: schedule.total,
            clock: stopwatch,
        };
        exponential.reset();
        Self { exponential, random, longest: schedule.longest, left: schedule.count }
    }

    /// The pauses of `schedule` with the machine's time and randomness.
    pub fn system(schedule: Schedule) -> Self {
        Self::new(schedule, Stopwatch::system(), Random::system())
    }
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(1)?;
        }
        let pause = self.exponential.next_backoff()?;
        Some(pause.mul_f64(0.75 + (self.random.0)() / 2.0).min(self.longest))
    }
}

/// Tries `attempt` until it succeeds, its failure asks for something other than a soon retry, or the
/// pauses are used up; gives the last failure then.
pub async fn retry<T, F: Future<Output = Result<T, Failure>>>(
    pauses: Pauses,
    attempt: impl FnMut() -> F,
) -> Result<T, Failure> {
    let goes_on = |failure: &Failure| match failure.advice {
        Advice::Retry | Advice::SlowDown => true,
        Advice::Outage(_) | Advice::Hold | Advice::GiveUp(_) => false,
    };
    tries(pauses, attempt, goes_on).await
}

/// Tries `attempt` as [`retry`] does, and through an outage as well, until the pauses are used up: for work without
/// a queue that could keep it.
pub async fn outlast<T, F: Future<Output = Result<T, Failure>>>(
    pauses: Pauses,
    attempt: impl FnMut() -> F,
) -> Result<T, Failure> {
    let goes_on = |failure: &Failure| match failure.advice {
        Advice::Retry | Advice::SlowDown => true,
        Advice::Outage(_) => {
            tracing::info!(error = %failure, "waiting for the end of an outage");
            true
        }
        Advice::Hold | Advice::GiveUp(_) => false,
    };
    tries(pauses, attempt, goes_on).await
}

async fn tries<T, F: Future<Output = Result<T, Failure>>>(
    mut pauses: Pauses,
    mut attempt: impl FnMut() -> F,
    goes_on: impl Fn(&Failure) -> bool,
) -> Result<T, Failure> {
    loop {
        let failure = match attempt().await {
            Ok(value) => return Ok(value),
            Err(failure) => failure,
        };
        if !goes_on(&failure) {
            return Err(failure);
        }
        let Some(pause) = pauses.next() else { return Err(failure) };
        tracing::debug!(error = %failure, pause_ms = pause.as_millis(), "trying again");
        tokio::time::sleep(pause).await;
    }
}

/// The wait queue for a message that has failed `attempts` deliveries (this one included); nothing when
/// it has used up its tries: N delays make N + 1 deliveries.
pub fn later(delays: &[Delay], attempts: u32) -> Option<&Delay> {
    let index = usize::try_from(attempts).ok()?.checked_sub(1)?;
    delays.get(index)
}

/// The wait queue for a message that must rest for `remaining` without having failed: the longest delay
/// that does not overshoot, else the shortest there is.
pub fn rest(delays: &[Delay], remaining: Duration) -> Option<&Delay> {
    delays
        .iter()
        .filter(|delay| delay.duration <= remaining)
        .max_by_key(|delay| delay.duration)
        .or_else(|| delays.iter().min_by_key(|delay| delay.duration))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::DeadReason;

    fn pauses(schedule: Schedule, random: f64) -> Pauses {
        let start = Instant::now();
        Pauses::new(schedule, Stopwatch::from_fn(move || start), Random::from_fn(move || random))
    }

    fn delays(texts: &[(&str, u64)]) -> Vec<Delay> {
        texts
            .iter()
            .map(|(text, seconds)| Delay { text: (*text).into(), duration: Duration::from_secs(*seconds) })
            .collect()
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_end_with_their_count() {
        let schedule = Schedule {
            first: Duration::from_millis(100),
            longest: Duration::from_millis(350),
            count: Some(4),
            total: None,
        };
        let millis: Vec<_> = pauses(schedule, 0.5).map(|pause| pause.as_millis()).collect();
        assert_eq!(millis, [100, 200, 350, 350]);
    }

    #[test]
    fn jitter_is_a_quarter_either_way_and_never_above_the_longest() {
        let schedule = Schedule { count: Some(1), ..UNTIL_BACK };
        assert_eq!(pauses(schedule, 0.0).next().unwrap().as_micros() / 100, 1_875);
        assert_eq!(pauses(schedule, 0.999_999).next().unwrap().as_millis(), 312);
        let longest = Schedule { first: schedule.longest, ..schedule };
        assert_eq!(pauses(longest, 0.999).next(), Some(schedule.longest));
    }

    #[test]
    fn an_outage_is_probed_without_end() {
        assert_eq!(pauses(UNTIL_BACK, 0.5).nth(1_000), Some(UNTIL_BACK.longest));
    }

    #[test]
    fn tries_end_when_their_time_is_used_up() {
        let start = Instant::now();
        let now = Arc::new(std::sync::Mutex::new(start));
        let reading = Arc::clone(&now);
        let stopwatch = Stopwatch::from_fn(move || *reading.lock().unwrap());
        let mut pauses = Pauses::new(WITHIN_A_DELIVERY, stopwatch, Random::from_fn(|| 0.5));
        assert!(pauses.next().is_some());
        *now.lock().unwrap() = start + Duration::from_secs(10);
        assert_eq!(pauses.next(), None);
    }

    #[tokio::test]
    async fn only_what_passes_soon_is_tried_again() {
        let schedule = Schedule { first: Duration::from_micros(10), ..WITHIN_A_DELIVERY };
        for (advice, expected) in [
            (Advice::Retry, 5),
            (Advice::SlowDown, 5),
            (Advice::Outage(crate::outcome::Dependency::Storage), 1),
            (Advice::Hold, 1),
            (Advice::GiveUp(DeadReason::Forbidden), 1),
        ] {
            let mut tries = 0;
            let result: Result<(), Failure> = retry(pauses(schedule, 0.5), || {
                tries += 1;
                std::future::ready(Err(Failure::new(advice, "no")))
            })
            .await;
            assert_eq!(result.unwrap_err().advice, advice);
            assert_eq!(tries, expected, "{advice:?}");
        }
    }

    #[test]
    fn two_delays_make_three_deliveries() {
        let delays = delays(&[("1s", 1), ("5s", 5)]);
        assert_eq!(later(&delays, 1).unwrap().text, "1s");
        assert_eq!(later(&delays, 2).unwrap().text, "5s");
        assert_eq!(later(&delays, 3), None);
        assert_eq!(later(&[], 1), None);
    }

    #[test]
    fn a_rest_takes_the_longest_delay_that_does_not_overshoot() {
        let delays = delays(&[("10s", 10), ("1m", 60), ("10m", 600)]);
        for (remaining, expected) in [(5, "10s"), (15, "10s"), (60, "1m"), (100_000, "10m")] {
            assert_eq!(rest(&delays, Duration::from_secs(remaining)).unwrap().text, expected);
        }
        assert_eq!(rest(&[], Duration::from_secs(1)), None);
    }
}

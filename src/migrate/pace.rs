//! `--rate` and `--bandwidth`: how much may begin now.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// At most so much a second: whoever takes some waits until what was taken before is paid off.
#[derive(Debug)]
struct Rate {
    per_second: f64,
    paid: Mutex<Instant>,
}

/// Both bounds.
#[derive(Debug)]
pub(super) struct Pace {
    files: Option<Rate>,
    bytes: Option<Rate>,
}

impl Rate {
    fn new(per_second: f64, now: Instant) -> Self {
        Self { per_second, paid: Mutex::new(now) }
    }

    /// Takes so many; when it is their turn.
    fn take(&self, now: Instant, count: u64) -> Instant {
        // An instant is whole whatever panicked.
        let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = (*paid).max(now);
        #[allow(clippy::cast_precision_loss, reason = "files or bytes of one group")]
        let seconds = count as f64 / self.per_second;
        *paid = begin + Duration::try_from_secs_f64(seconds).unwrap_or(Duration::from_hours(24));
        begin
    }
}

impl Pace {
    pub(super) fn new(files: Option<f64>, bytes: Option<f64>, now: Instant) -> Self {
        let rate = |bound: Option<f64>| bound.map(|per_second| Rate::new(per_second, now));
        Self { files: rate(files), bytes: rate(bytes) }
    }

    /// Takes files and bytes; when it is their turn.
    pub(super) fn turn(&self, now: Instant, files: u64, bytes: u64) -> Instant {
        let of = |rate: &Option<Rate>, count| rate.as_ref().map_or(now, |rate| rate.take(now, count));
        of(&self.files, files).max(of(&self.bytes, bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_begins_in_a_second_than_may() {
        let start = Instant::now();
        let pace = Pace::new(Some(10.0), Some(1_000.0), start);
        let after = |seconds: f64| start + Duration::from_secs_f64(seconds);
        // Of the first nobody has anything to pay off; the second waits for the files, the third for the bytes.
        assert_eq!(pace.turn(start, 5, 100), start);
        assert_eq!(pace.turn(start, 1, 5_000), after(0.5));
        assert_eq!(pace.turn(start, 1, 1), after(5.1));
        // What was not used is not saved up.
        let later = after(60.0);
        assert_eq!(pace.turn(later, 10, 1), later);
        assert_eq!(pace.turn(later, 1, 1), after(61.0));
    }

    #[test]
    fn without_a_bound_nobody_waits() {
        let now = Instant::now();
        let pace = Pace::new(None, None, now);
        assert_eq!((pace.turn(now, 1_000, u64::MAX), pace.turn(now, 1, 1)), (now, now));
    }
}

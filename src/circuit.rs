//! Whose trouble is it that tries fail? A pure decision over how messages ended lately.
//!
//! The storage's own room asks a control question for each refused or failed request, and counts how other
//! files fare with requests of the same kind (`storage/evidence.rs`). What is left to tell here is a server
//! that answers now and then: each file's trouble looks like its own, and together they are an outage.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How many messages are remembered.
const REMEMBERED: usize = 20;
/// For how long.
const WINDOW: Duration = Duration::from_mins(2);
/// Fewer messages than these are nobody's outage.
const MANY: usize = 5;

/// How a message ended, as far as the storage is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// At least one of its files reached an end that the storage took part in.
    Worked,
    /// None did, and at least one may work later.
    Failed,
}

/// How messages ended lately. A message counts once, however many files it has: one large record is not many.
#[derive(Debug, Default)]
pub struct Circuit {
    lately: VecDeque<(Instant, String, End)>,
}

impl Circuit {
    /// Takes note of an end. The answer is why this is an outage, where it is one: many messages failed, and
    /// they are more than those that worked. The notes begin anew then: what comes after an outage is judged
    /// by itself.
    pub fn ended(&mut self, now: Instant, message: &str, end: End) -> Option<String> {
        self.lately.retain(|(at, other, _)| other != message && now.saturating_duration_since(*at) < WINDOW);
        self.lately.truncate(REMEMBERED - 1);
        self.lately.push_front((now, message.to_owned(), end));
        let failed = self.lately.iter().filter(|(_, _, end)| *end == End::Failed).count();
        if end == End::Worked || failed < MANY || 2 * failed <= self.lately.len() {
            return None;
        }
        let of = self.lately.len();
        self.lately.clear();
        Some(format!("{failed} of the last {of} messages failed"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the circuit says to the last of these ends, each of a message of its own, a second apart.
    fn after(ends: &str) -> bool {
        let start = Instant::now();
        let mut circuit = Circuit::default();
        let mut last = None;
        for (number, letter) in ends.chars().enumerate() {
            let end = if letter == 'F' { End::Failed } else { End::Worked };
            let now = start + Duration::from_secs(number as u64);
            last = circuit.ended(now, &number.to_string(), end);
        }
        last.is_some()
    }

    #[test]
    fn many_that_fail_and_outnumber_those_that_work_are_an_outage() {
        for (ends, outage) in [
            ("F", false),
            ("FFFF", false),
            ("FFFFF", true),
            ("WFWFWFWFWF", false),
            ("WFFWFFWF", true),
            ("WWWWWFFFFF", false),
            ("WWWWWFFFFFF", true),
            ("WWWWWWWWWWWWWWWWWWWWFFFFFFFFFF", false),
            ("WWWWWWWWWWWWWWWWWWWWFFFFFFFFFFF", true),
            ("FFFFW", false),
            ("FFFFFF", false),
        ] {
            assert_eq!(after(ends), outage, "{ends}");
        }
    }

    #[test]
    fn one_message_that_fails_again_and_again_is_one() {
        let mut circuit = Circuit::default();
        for _ in 0..50 {
            assert_eq!(circuit.ended(Instant::now(), "a", End::Failed), None);
        }
    }

    #[test]
    fn what_failed_long_ago_does_not_count() {
        let start = Instant::now();
        let mut circuit = Circuit::default();
        for number in 0..50_u64 {
            let now = start + Duration::from_secs(40 * number);
            assert_eq!(circuit.ended(now, &number.to_string(), End::Failed), None, "{number}");
        }
    }
}

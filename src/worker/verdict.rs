//! From the ends of an event's files to what becomes of the message: a pure decision.

use std::collections::BTreeMap;

use time::OffsetDateTime;

use crate::config::Delay;
use crate::failpoint;
use crate::file::FileRef;
use crate::outcome::{Advice, DeadReason, Failure, FileEnd};
use crate::retry;

/// What becomes of the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes back to the queue as it is, no try is counted: somebody is out, or nothing may move.
    GiveBack(Failure),
    /// It rests in a wait queue for the grace period of an outside event; no try is counted.
    Rest {
        /// When a worker first saw it.
        first_seen: OffsetDateTime,
        /// Which wait queue.
        delay: Delay,
    },
    /// Its parts go where they belong, and then it is acknowledged. No parts: all is done.
    Settle(Vec<Part>),
}

/// A part of a message that is not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The undone files.
    pub files: Vec<FileRef>,
    /// Where they go.
    pub to: To,
    /// What went wrong, in a sentence.
    pub error: String,
}

/// Where an undone part goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    /// To a wait queue, for one more try.
    Wait(Delay),
    /// To the dead-letter queue.
    Dead(DeadReason),
}

/// Decides over a message of which `attempts` deliveries have failed before this one.
///
/// One file's outage holds the whole message, since its other files lose nothing by being looked at
/// again. Otherwise files that can be tried later go on together, and those that cannot be done go to
/// the dead-letter queue, one message per reason.
pub fn verdict(ends: &[FileEnd], attempts: u32, delays: &[Delay]) -> Verdict {
    let mut later = Vec::new();
    let mut dead: BTreeMap<DeadReason, Vec<(&FileRef, &str)>> = BTreeMap::new();
    for end in ends {
        let Err(failure) = &end.result else { continue };
        match failure.advice {
            Advice::Outage(_) if failpoint::removed("protection::outage_counts_nothing") => {
                later.push((&end.file, failure.error.as_str()));
            }
            Advice::Outage(_) | Advice::Hold | Advice::SlowDown => return Verdict::GiveBack(failure.clone()),
            Advice::Retry => later.push((&end.file, failure.error.as_str())),
            Advice::GiveUp(reason) => dead.entry(reason).or_default().push((&end.file, &failure.error)),
        }
    }
    let mut parts: Vec<_> = dead.into_iter().map(|(reason, files)| part(&files, To::Dead(reason))).collect();
    if !later.is_empty() {
        parts.push(part(&later, later_try(attempts, delays)));
    }
    Verdict::Settle(parts)
}

/// Decides over a message that failed as a whole, before any of its files was looked at.
pub fn verdict_of_whole(failure: &Failure, files: &[FileRef], attempts: u32, delays: &[Delay]) -> Verdict {
    let to = match failure.advice {
        Advice::Outage(_) | Advice::Hold | Advice::SlowDown => return Verdict::GiveBack(failure.clone()),
        Advice::Retry => later_try(attempts, delays),
        Advice::GiveUp(reason) => To::Dead(reason),
    };
    Verdict::Settle(vec![Part { files: files.to_vec(), to, error: failure.error.clone() }])
}

fn later_try(attempts: u32, delays: &[Delay]) -> To {
    match retry::later(delays, attempts.saturating_add(1)) {
        Some(delay) => To::Wait(delay.clone()),
        None => To::Dead(DeadReason::AttemptsExhausted),
    }
}

fn part(files: &[(&FileRef, &str)], to: To) -> Part {
    let first = files.first().map_or("", |(_, error)| error);
    let error = match files.len() {
        1 => first.to_owned(),
        more => format!("{first} (and {} more files)", more - 1),
    };
    Part { files: files.iter().map(|(file, _)| (*file).clone()).collect(), to, error }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::file::FileId;
    use crate::outcome::{Dependency, Outcome};

    fn file(id: u128) -> FileRef {
        FileRef { file_id: FileId::from(uuid::Uuid::from_u128(id)), schema: None, size: None, key: None }
    }

    fn end(id: u128, result: Result<Outcome, Advice>) -> FileEnd {
        FileEnd { file: file(id), result: result.map_err(|advice| Failure::new(advice, format!("e{id}"))) }
    }

    fn delay() -> Delay {
        Delay { text: "10s".into(), duration: Duration::from_secs(10) }
    }

    #[test]
    fn a_message_is_settled_by_the_ends_of_its_files() {
        let retry = Err(Advice::Retry);
        let wait = |files: &[u128], error: &str| Part {
            files: files.iter().map(|id| file(*id)).collect(),
            to: To::Wait(delay()),
            error: error.into(),
        };
        let dead = |files: &[u128], reason, error: &str| Part {
            files: files.iter().map(|id| file(*id)).collect(),
            to: To::Dead(reason),
            error: error.into(),
        };
        let conflict = Err(Advice::GiveUp(DeadReason::Conflict));
        for (ends, attempts, expected) in [
            (vec![], 0, vec![]),
            (vec![end(1, Ok(Outcome::Moved)), end(2, Ok(Outcome::Alive))], 0, vec![]),
            (vec![end(1, Ok(Outcome::Moved)), end(2, retry)], 0, vec![wait(&[2], "e2")]),
            (vec![end(1, retry), end(2, retry)], 0, vec![wait(&[1, 2], "e1 (and 1 more files)")]),
            (vec![end(1, retry)], 1, vec![dead(&[1], DeadReason::AttemptsExhausted, "e1")]),
            (
                vec![end(1, conflict), end(2, retry), end(3, Err(Advice::GiveUp(DeadReason::Locked)))],
                0,
                vec![
                    dead(&[1], DeadReason::Conflict, "e1"),
                    dead(&[3], DeadReason::Locked, "e3"),
                    wait(&[2], "e2"),
                ],
            ),
        ] {
            assert_eq!(verdict(&ends, attempts, &[delay()]), Verdict::Settle(expected), "{ends:?}");
        }
    }

    #[test]
    fn an_outage_or_a_hold_gives_the_message_back_whatever_else_happened() {
        for advice in [Advice::Outage(Dependency::Storage), Advice::Hold, Advice::SlowDown] {
            let ends = [end(1, Err(Advice::GiveUp(DeadReason::Conflict))), end(2, Err(advice))];
            assert_eq!(verdict(&ends, 99, &[]), Verdict::GiveBack(Failure::new(advice, "e2")));
            let whole = verdict_of_whole(&Failure::new(advice, "e"), &[], 99, &[]);
            assert_eq!(whole, Verdict::GiveBack(Failure::new(advice, "e")));
        }
    }

    #[test]
    fn a_message_that_failed_as_a_whole_keeps_all_its_files() {
        let failure = Failure::new(Advice::GiveUp(DeadReason::Malformed), "no");
        let expected = Part { files: vec![file(1)], to: To::Dead(DeadReason::Malformed), error: "no".into() };
        assert_eq!(verdict_of_whole(&failure, &[file(1)], 0, &[]), Verdict::Settle(vec![expected]));
    }
}

//! What a message carries about its past: tries, failures, why it is dead, whose replay it is.
//!
//! The names of the headers are a contract; `broker` reads and writes them.

use time::OffsetDateTime;
use uuid::Uuid;

use crate::outcome::DeadReason;

/// Why the message is dead: one of [`DeadReason`]'s words.
pub const REASON: &str = "x-fr-reason";
/// What went wrong, in a sentence without secrets.
pub const ERROR: &str = "x-fr-error";
/// Deliveries that tried (tries within one delivery count as one).
pub const ATTEMPTS: &str = "x-fr-attempts";
/// When the first try failed (RFC 3339).
pub const FIRST_FAILURE: &str = "x-fr-first-failure";
/// When the last try failed (RFC 3339).
pub const LAST_FAILURE: &str = "x-fr-last-failure";
/// Which worker gave up: host name and process id.
pub const WORKER: &str = "x-fr-worker";
/// The id that a message without one of its own got when it was dead-lettered.
pub const ID: &str = "x-fr-id";
/// The message's token in a replay: its outcome is recorded under it.
pub const REPLAY: &str = "x-fr-replay";
/// When a worker first saw an outside event (RFC 3339): its grace period starts there.
pub const FIRST_SEEN: &str = "x-fr-first-seen";

/// The past of a message; empty for a fresh one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Deliveries that tried and failed so far.
    pub attempts: u32,
    /// When the first of them failed.
    pub first_failure: Option<OffsetDateTime>,
    /// When the last of them failed.
    pub last_failure: Option<OffsetDateTime>,
    /// Why it is dead; nothing while it waits for another try.
    pub reason: Option<DeadReason>,
    /// What went wrong last.
    pub error: Option<String>,
    /// Who saw it fail last.
    pub worker: Option<String>,
    /// The id given to a message that had none.
    pub given_id: Option<String>,
    /// Its token in the replay that it belongs to.
    pub replay: Option<Uuid>,
    /// When a worker first saw it, where it has to rest for the grace period.
    pub first_seen: Option<OffsetDateTime>,
}

impl History {
    /// The history after one more failed try at `now`.
    #[must_use]
    pub fn failed(&self, now: OffsetDateTime, error: &str, worker: &str) -> Self {
        Self {
            attempts: self.attempts.saturating_add(1),
            first_failure: self.first_failure.or(Some(now)),
            last_failure: Some(now),
            reason: None,
            error: Some(bounded(error)),
            worker: Some(worker.to_owned()),
            given_id: self.given_id.clone(),
            replay: self.replay,
            first_seen: self.first_seen,
        }
    }

    /// The same history, dead for `reason`.
    #[must_use]
    pub fn dead(mut self, reason: DeadReason) -> Self {
        self.reason = Some(reason);
        self
    }

    /// The history of a message that is replayed: a clean slate with its `token` in the replay.
    #[must_use]
    pub fn replayed(&self, token: Uuid) -> Self {
        Self {
            given_id: self.given_id.clone(),
            replay: Some(token),
            first_seen: self.first_seen,
            ..Self::default()
        }
    }
}

/// Longest error text in a header, in characters: headers travel in one frame.
const MAX_ERROR_CHARS: usize = 1_000;

fn bounded(error: &str) -> String {
    error.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_ERROR_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn a_second_failure_keeps_the_first_ones_time() {
        let (first, second) = (datetime!(2026-11-23 10:00 UTC), datetime!(2026-11-23 10:05 UTC));
        let history = History::default().failed(first, "a", "w").failed(second, "b\n", "w");
        assert_eq!(history.attempts, 2);
        assert_eq!(history.first_failure, Some(first));
        assert_eq!(history.last_failure, Some(second));
        assert_eq!(history.error.as_deref(), Some("b "));
    }

    #[test]
    fn a_replayed_message_starts_afresh() {
        let replay = Uuid::from_u128(7);
        let dead =
            History::default().failed(datetime!(2026-11-23 10:00 UTC), "a", "w").dead(DeadReason::Conflict);
        assert_eq!(dead.replayed(replay), History { replay: Some(replay), ..History::default() });
    }
}

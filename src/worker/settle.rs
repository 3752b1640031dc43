//! The end of a message: its undone parts are published and confirmed where they belong, and only then
//! is it acknowledged. This is the only place that acknowledges.

use std::time::Duration;

use time::OffsetDateTime;
use tracing::{debug, info, warn};

use super::Worker;
use super::message::Handled;
use super::verdict::{Part, To, Verdict};
use crate::broker::{BrokerError, Delivery, Outgoing, Publisher, Target};
use crate::event::Event;
use crate::history::History;
use crate::metrics::Half;
use crate::outcome::{Advice, Failure, Outcome};
use crate::recycle::Registry;
use crate::retry;

/// Longest rest of a message in hand: well below the broker's consumer time-out of half an hour.
const LONGEST_IN_HAND: Duration = Duration::from_mins(20);

/// Pause before a message goes back that the broker refused to take elsewhere: it comes again at once.
const BEFORE_GIVING_BACK: Duration = Duration::from_secs(1);

impl<R: Registry> Worker<R> {
    /// Brings a handled message to its end; whether it is acknowledged. Where that fails, it goes back to the queue.
    pub(super) async fn settle(&self, delivery: Delivery, handled: Handled, publisher: &Publisher) -> bool {
        if crate::failpoint::removed("protection::settled_before_ack") {
            let acknowledged = self.acknowledge(delivery, &handled).await;
            crate::failpoint::reach("worker::before_settling");
            return acknowledged;
        }
        crate::failpoint::reach("worker::before_settling");
        let settled = match &handled.verdict {
            Verdict::GiveBack(failure) => {
                self.gate.report_since(handled.proofs, failure);
                debug!(error = %failure, "given back");
                self.give_back(delivery).await;
                return false;
            }
            Verdict::Rest { first_seen, delay } => {
                let history = History { first_seen: Some(*first_seen), ..delivery.history.clone() };
                publisher.publish(Target::Wait(delay), Outgoing::again(&delivery, None, &history)).await
            }
            Verdict::Settle(parts) => self.publish(&delivery, &handled, parts, publisher).await,
        };
        if let Err(error) = settled {
            self.report(&error);
            warn!(%error, "an undone part could not be published; the message goes back to its queue");
            tokio::time::sleep(BEFORE_GIVING_BACK).await;
            self.give_back(delivery).await;
            return false;
        }
        self.acknowledge(delivery, &handled).await
    }

    /// Publishes the undone parts, each confirmed.
    async fn publish(
        &self,
        delivery: &Delivery,
        handled: &Handled,
        parts: &[Part],
        publisher: &Publisher,
    ) -> Result<(), BrokerError> {
        for part in parts {
            let history = self.history(delivery, handled.event.as_ref(), part);
            let body = remaining_body(handled.event.as_ref(), part);
            let outgoing = Outgoing::again(delivery, body.map(Into::into), &history);
            let target = match &part.to {
                To::Wait(delay) => Target::Wait(delay),
                To::Dead(_) => Target::Dead,
            };
            crate::failpoint::reach("worker::before_part");
            publisher.publish(target, outgoing).await?;
            crate::failpoint::reach("worker::part_published");
            self.tell(part, &history);
        }
        Ok(())
    }

    /// Everything is somewhere else for good: the message may go. A failure here means that the connection
    /// is gone; the broker delivers the message again, and everything is found done.
    async fn acknowledge(&self, delivery: Delivery, handled: &Handled) -> bool {
        crate::failpoint::reach("worker::before_ack");
        if let Verdict::Settle(parts) = &handled.verdict {
            self.record_replay(&delivery, parts).await;
        }
        if let Err(error) = delivery.ack().await {
            self.report(&error);
            warn!(%error, "a settled message could not be acknowledged; the broker delivers it again");
            return false;
        }
        crate::failpoint::reach("worker::after_ack");
        let (Verdict::Settle(_), Some(event)) = (&handled.verdict, &handled.event) else { return true };
        self.metrics.event(event.event_type());
        self.metrics.succeeded(Half::Worker, self.clock.now());
        let outcomes = handled.outcomes();
        for (outcome, count) in &outcomes {
            (0..*count).for_each(|_| self.metrics.file(*outcome));
        }
        info!(kind = event.event_type().as_str(), files = told(&outcomes), "done");
        self.brake(sum(&outcomes, Outcome::Moved)).await;
        true
    }

    /// The message goes back to its queue as it is.
    pub(super) async fn give_back(&self, delivery: Delivery) {
        if let Err(error) = delivery.give_back().await {
            // Its connection is gone, and with it our hold on the message.
            self.report(&error);
            debug!(%error, "a message could not be given back; the broker takes it back by itself");
        }
    }

    /// Tells the gate of everybody's trouble. A connection that is gone is not: it has ended the shift that it
    /// belonged to, and a message left over from that one must not end the next.
    fn report(&self, error: &BrokerError) {
        if !matches!(error, BrokerError::Connection { .. }) {
            self.gate.report(&Failure::new(error.advice(), error.to_string()));
        }
    }

    fn history(&self, delivery: &Delivery, event: Option<&Event>, part: &Part) -> History {
        let mut history = delivery.history.failed(self.clock.now(), &part.error, &self.name);
        if let To::Dead(reason) = part.to {
            history = history.dead(reason);
            if delivery.id.is_none() && history.given_id.is_none() {
                let id = event.map_or_else(|| uuid::Uuid::new_v4().to_string(), |event| event.id.clone());
                history.given_id = Some(id);
            }
        }
        history
    }

    /// One log line per decision that somebody may have to act on.
    fn tell(&self, part: &Part, history: &History) {
        match &part.to {
            To::Wait(delay) => {
                info!(error = part.error, files = part.files.len(), delay = delay.text, "tried again later");
            }
            To::Dead(reason) => {
                self.metrics.dead_letter(*reason);
                warn!(%reason, error = part.error, attempts = history.attempts, "dead-lettered");
            }
        }
    }

    /// The outcome of a replayed message; one that waits again counts as failed. The replay is memory
    /// for people: when it cannot be written, the message is done all the same.
    async fn record_replay(&self, delivery: &Delivery, parts: &[Part]) {
        let Some(token) = delivery.history.replay else { return };
        let failure = parts.first().map(|part| part.error.as_str());
        let reason = parts.iter().find_map(|part| match part.to {
            To::Dead(reason) => Some(reason.as_str()),
            To::Wait(_) => None,
        });
        if let Err(error) = self.db.replay_finished(token, failure, reason, self.clock.now()).await {
            warn!(%token, %error, "the outcome of a replayed message could not be recorded");
        }
    }

    /// Must an outside event rest for the grace period first?
    pub(super) async fn rest(&self, delivery: &Delivery) -> Option<Verdict> {
        let now = self.clock.now();
        // Whoever published it may have written the header, too: nobody has seen it after now.
        let first_seen = delivery.history.first_seen.map_or(now, |seen| seen.min(now));
        let remaining = resting_time(first_seen, now, self.grace)?;
        if let Some(delay) = retry::rest(&self.delays, remaining) {
            return Some(Verdict::Rest { first_seen, delay: delay.clone() });
        }
        // No wait queue is configured: it rests in our hands. Where that is longer than the broker lets a
        // message be, it is given back and begins to rest anew: later than asked, never earlier.
        tokio::time::sleep(remaining.min(LONGEST_IN_HAND)).await;
        let error =
            "it has to rest for longer than a message may be in hand, and no wait queue is configured";
        (remaining > LONGEST_IN_HAND).then(|| Verdict::GiveBack(Failure::new(Advice::Hold, error)))
    }
}

/// How much of the grace period is left; nothing when it is over.
fn resting_time(first_seen: OffsetDateTime, now: OffsetDateTime, grace: Duration) -> Option<Duration> {
    // A message that is first seen in the future has not rested at all.
    let rested = Duration::try_from(now - first_seen).unwrap_or_default();
    grace.checked_sub(rested).filter(|remaining| !remaining.is_zero())
}

/// The outcomes in words, each with its number.
fn told(outcomes: &[(Outcome, u64)]) -> String {
    let of = |outcome| match sum(outcomes, outcome) {
        0 => None,
        count => Some(format!("{outcome} {count}")),
    };
    let told: Vec<_> = Outcome::ALL.iter().filter_map(|outcome| of(*outcome)).collect();
    if told.is_empty() { "none".to_owned() } else { told.join(", ") }
}

fn sum(outcomes: &[(Outcome, u64)], of: Outcome) -> u64 {
    outcomes.iter().filter(|(outcome, _)| *outcome == of).map(|(_, count)| count).sum()
}

/// The event with the part's files only; nothing where the body stays what it was.
fn remaining_body(event: Option<&Event>, part: &Part) -> Option<Vec<u8>> {
    let event = event?;
    (part.files.len() < event.data.files().len()).then(|| event.with_files(part.files.clone()).encode())
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn no_time_in_a_header_makes_a_message_rest_for_longer_than_the_grace_period() {
        const HOUR: Duration = Duration::from_hours(1);
        let now = datetime!(2026-11-23 10:00 UTC);
        for (first_seen, grace, expected) in [
            (now, HOUR, Some(HOUR)),
            (now, Duration::ZERO, None),
            (datetime!(2026-11-23 9:30 UTC), HOUR, Some(HOUR / 2)),
            (datetime!(2026-11-23 9:00 UTC), HOUR, None),
            (datetime!(0000-01-01 0:00 UTC), HOUR, None),
            (datetime!(2026-11-23 10:01 UTC), HOUR, Some(HOUR)),
            (datetime!(9999-12-31 23:59:59 UTC), HOUR, Some(HOUR)),
            (now, Duration::MAX, Some(Duration::MAX)),
        ] {
            assert_eq!(resting_time(first_seen, now, grace), expected, "{first_seen} {grace:?}");
        }
    }
}

//! The end of a message: its undone parts are published and confirmed where they belong, and only then
//! is it acknowledged. This is the only place that acknowledges.

use time::OffsetDateTime;
use tracing::{debug, info, warn};

use super::Worker;
use super::message::Handled;
use super::verdict::{Part, To, Verdict};
use crate::broker::{BrokerError, Delivery, Outgoing, Publisher, Target};
use crate::event::Event;
use crate::history::History;
use crate::outcome::{Failure, Outcome};
use crate::recycle::Registry;
use crate::retry;

impl<R: Registry> Worker<R> {
    /// Brings a handled message to its end. Where that fails, the message stays unacknowledged and the
    /// broker delivers it again.
    pub(super) async fn settle(&self, delivery: Delivery, handled: Handled, publisher: &Publisher) {
        let result = match &handled.verdict {
            Verdict::GiveBack(failure) => {
                self.gate.report(failure);
                debug!(error = %failure, "given back");
                delivery.give_back().await
            }
            Verdict::Rest { first_seen, delay } => {
                let history = History { first_seen: Some(*first_seen), ..delivery.history.clone() };
                let resting = Outgoing::again(&delivery, None, &history);
                match publisher.publish(Target::Wait(delay), resting).await {
                    Ok(()) => delivery.ack().await,
                    Err(error) => Err(error),
                }
            }
            Verdict::Settle(parts) => self.finish(delivery, &handled, parts, publisher).await,
        };
        if let Err(error) = result {
            self.gate.report(&Failure::new(error.advice(), error.to_string()));
            warn!(%error, "the message could not be settled; the broker delivers it again");
        }
    }

    async fn finish(
        &self,
        delivery: Delivery,
        handled: &Handled,
        parts: &[Part],
        publisher: &Publisher,
    ) -> Result<(), BrokerError> {
        for part in parts {
            let history = self.history(&delivery, handled.event.as_ref(), part);
            let body = remaining_body(handled.event.as_ref(), part);
            let outgoing = Outgoing::again(&delivery, body.map(Into::into), &history);
            let target = match &part.to {
                To::Wait(delay) => Target::Wait(delay),
                To::Dead(_) => Target::Dead,
            };
            publisher.publish(target, outgoing).await?;
            self.tell(part, &history);
        }
        crate::failpoint::reach("worker::before_ack");
        self.record_replay(&delivery, parts).await;
        delivery.ack().await?;
        crate::failpoint::reach("worker::after_ack");
        if let Some(event) = &handled.event {
            self.metrics.event(event.event_type());
        }
        let mut moved = 0;
        for (outcome, count) in handled.outcomes() {
            (0..count).for_each(|_| self.metrics.file(outcome));
            moved += if outcome == Outcome::Moved { count } else { 0 };
        }
        self.brake(moved).await;
        Ok(())
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
        let Some(replay) = delivery.history.replay else { return };
        let id = delivery.id.as_deref().or(delivery.history.given_id.as_deref()).unwrap_or_default();
        let failure = parts.first().map(|part| part.error.as_str());
        if let Err(error) = self.db.replay_finished(replay, id, failure, self.clock.now()).await {
            warn!(%replay, %error, "the outcome of a replayed message could not be recorded");
        }
    }

    /// Must an outside event rest for the grace period first?
    pub(super) fn rest(&self, delivery: &Delivery) -> Option<Verdict> {
        let now = self.clock.now();
        let first_seen = delivery.history.first_seen.unwrap_or(now);
        let remaining = resting_time(first_seen, now, self.grace)?;
        let delay = retry::rest(&self.delays, remaining)?.clone();
        Some(Verdict::Rest { first_seen, delay })
    }
}

/// How much of the grace period is left; nothing when it is over.
fn resting_time(
    first_seen: OffsetDateTime,
    now: OffsetDateTime,
    grace: std::time::Duration,
) -> Option<std::time::Duration> {
    let remaining = (first_seen + grace) - now;
    remaining.is_positive().then(|| remaining.unsigned_abs())
}

/// The event with the part's files only; nothing where the body stays what it was.
fn remaining_body(event: Option<&Event>, part: &Part) -> Option<Vec<u8>> {
    let event = event?;
    (event.data.files() != part.files).then(|| event.with_files(part.files.clone()).encode())
}

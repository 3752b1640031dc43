//! A window of messages: sent together, confirmed together, and its unroutable messages found for certain.
//!
//! The broker returns an unroutable message, then confirms it like any other. The client library hands a
//! returned message to whichever confirm comes next, which may be another message's: "confirmed and nothing
//! returned" of a single confirm proves nothing. Over a whole window it does, because every return comes before
//! its own confirm. So after all confirms every message whose exchange and routing key is that of a returned
//! one counts as unroutable. Some of them may have been stored; they are published again under the same id.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use lapin::options::BasicPublishOptions;
use lapin::types::ShortString;
use lapin::{Channel, Confirmation};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::alarm::Alarm;
use super::error::BrokerError;
use super::message::Outgoing;

/// How much longer confirms are waited for at least once the broker has blocked: those of what it read before.
const AFTER_ALARM: Duration = Duration::from_secs(2);

/// How long a publisher waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For the confirms of a window.
    pub(super) confirm: Duration,
    /// For the end of the broker's alarm, in addition.
    pub(super) blocked: Duration,
}

/// Exchange and routing key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Address {
    pub(super) exchange: ShortString,
    pub(super) routing_key: ShortString,
}

/// A message with its address.
pub(super) struct Letter {
    pub(super) address: Address,
    pub(super) message: Outgoing,
}

type Answer = Result<(), BrokerError>;
type Confirm = BoxFuture<'static, (usize, lapin::Result<Confirmation>)>;

/// The channel of one publisher, in confirm mode, and what is not confirmed yet.
pub(super) struct Window {
    channel: Channel,
    patience: Patience,
    alarm: Alarm,
    /// Left from a window that ran out of time. Their returns would be taken for another window's.
    late: FuturesUnordered<Confirm>,
    broken: Option<BrokerError>,
}

impl Window {
    pub(super) fn new(channel: Channel, patience: Patience, alarm: Alarm) -> Self {
        Self { channel, patience, alarm, late: FuturesUnordered::new(), broken: None }
    }

    /// Why the channel is of no more use, if it is not.
    pub(super) fn broken(&mut self) -> Option<BrokerError> {
        self.broken.take()
    }

    /// Publishes `letters` and answers for each, in their order, within the time-out.
    pub(super) async fn publish(&mut self, letters: Vec<Letter>) -> Vec<Answer> {
        if let Err(error) = self.ready().await {
            return vec![Err(error); letters.len()];
        }
        let out_of_time = out_of_time(self.alarm.clone(), self.patience);
        tokio::pin!(out_of_time);
        let addresses: Vec<Address> = letters.iter().map(|letter| letter.address.clone()).collect();
        let mut confirms: FuturesUnordered<Confirm> =
            letters.into_iter().enumerate().map(|(index, letter)| self.send(index, letter)).collect();

        let mut answers: Vec<Option<Answer>> = vec![None; addresses.len()];
        let mut returned = HashSet::new();
        loop {
            tokio::select! {
                biased;
                next = confirms.next() => match next {
                    Some((index, confirm)) => {
                        answers[index] = Some(self.answer(&addresses[index], confirm, &mut returned));
                    }
                    None => break,
                },
                () = &mut out_of_time => {
                    self.late = confirms;
                    return vec![Err(self.why_out_of_time()); addresses.len()];
                }
            }
        }
        let verdict = |(answer, address): (Option<Answer>, &Address)| match answer {
            Some(Ok(())) if returned.contains(address) => Err(unroutable(address)),
            // Each future gave its answer before `confirms` ran out.
            answer => answer.unwrap_or_else(|| Err(lost(address))),
        };
        answers.into_iter().zip(&addresses).map(verdict).collect()
    }

    fn send(&self, index: usize, letter: Letter) -> Confirm {
        let channel = self.channel.clone();
        Box::pin(async move {
            let Letter { address: Address { exchange, routing_key }, message } = letter;
            let options = BasicPublishOptions { mandatory: true, immediate: false };
            let Outgoing { properties, body } = message;
            let sent = channel.basic_publish(exchange, routing_key, options, &body, properties).await;
            crate::failpoint::reach("broker::sent");
            (
                index,
                match sent {
                    Ok(_) if crate::failpoint::removed("protection::confirm_awaited") => {
                        Ok(Confirmation::Ack(None))
                    }
                    Ok(confirm) => confirm.await,
                    Err(error) => Err(error),
                },
            )
        })
    }

    fn answer(
        &mut self,
        address: &Address,
        confirm: lapin::Result<Confirmation>,
        returned: &mut HashSet<Address>,
    ) -> Answer {
        let (answer, message) = match confirm {
            Ok(Confirmation::Ack(message)) => (Ok(()), message),
            Ok(Confirmation::Nack(message)) => {
                (Err(BrokerError::Refused { target: shown(address) }), message)
            }
            // The channel was put into confirm mode before the first message.
            Ok(Confirmation::NotRequested) => (Err(lost(address)), None),
            Err(error) => {
                let error = BrokerError::from_lapin(format!("publishing to {}", shown(address)), &error)
                    .needing("the write permission on the exchange (amq.default, where a queue is named)");
                self.broken.get_or_insert(error.clone());
                (Err(error), None)
            }
        };
        if let Some(message) = message {
            let delivery = message.delivery;
            returned.insert(Address { exchange: delivery.exchange, routing_key: delivery.routing_key });
        }
        answer
    }

    /// Sends nothing into an alarm, and nothing before the last window is through.
    async fn ready(&mut self) -> Answer {
        if tokio::time::timeout(self.patience.blocked, self.alarm.over()).await.is_err()
            && let Some(reason) = self.alarm.reason()
        {
            return Err(BrokerError::Blocked(reason));
        }
        let through = async { while self.late.next().await.is_some() {} };
        tokio::select! {
            biased;
            () = through => return Ok(()),
            () = out_of_time(self.alarm.clone(), self.patience) => {}
        }
        let error = self.why_out_of_time();
        // An alarm ends some time. Without one the broker has forgotten us: connect again.
        if !matches!(error, BrokerError::Blocked(_)) {
            self.broken = Some(error.clone());
        }
        Err(error)
    }

    fn why_out_of_time(&self) -> BrokerError {
        match self.alarm.reason() {
            Some(reason) => BrokerError::Blocked(reason),
            None => BrokerError::TimedOut {
                attempt: "waiting for the broker's confirms".to_owned(),
                after: self.patience.confirm,
            },
        }
    }
}

/// Waits until it is no longer worth waiting for confirms. What was sent into an alarm is read only after it, so the
/// time-out begins anew then; all together it is bounded.
async fn out_of_time(alarm: Alarm, patience: Patience) {
    let blocked = patience.blocked.max(AFTER_ALARM);
    let limit = Instant::now() + patience.confirm + blocked;
    let mut deadline = Instant::now() + patience.confirm;
    loop {
        tokio::select! {
            () = sleep_until(deadline) => if alarm.reason().is_none() { return },
            () = alarm.heard() => {}
        }
        if timeout_at(limit.min(Instant::now() + blocked), alarm.over()).await.is_err() {
            return;
        }
        deadline = limit.min(Instant::now() + patience.confirm);
    }
}

fn unroutable(address: &Address) -> BrokerError {
    BrokerError::Unroutable { target: shown(address) }
}

fn lost(address: &Address) -> BrokerError {
    BrokerError::Connection {
        attempt: format!("publishing to {}", shown(address)),
        cause: "there was no confirm".to_owned(),
    }
}

fn shown(address: &Address) -> String {
    if address.exchange.as_str().is_empty() {
        format!("queue '{}'", address.routing_key)
    } else {
        format!("exchange '{}' with routing key '{}'", address.exchange, address.routing_key)
    }
}

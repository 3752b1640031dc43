//! A shift: one connection's worth of taking messages.
//!
//! Three ways of taking: many at once; one alone, where a message may crash the worker; one after another,
//! where the storage is in doubt after an outage (its circuit is half open).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{Instrument as _, info};

use super::message::{Handled, Judge, span_of};
use super::suspect::is_suspect;
use super::verdict::Verdict;
use super::{CONFIRM_TIMEOUT, Worker};
use crate::broker::{BrokerError, Consumer, Delivery, Publisher};
use crate::circuit::End;
use crate::gate;
use crate::outcome::{Advice, Dependency, Failure};
use crate::recycle::Registry;
use crate::stop::Stop;

/// How long a suspect waits for the others to finish, and they for it. A copy of many gigabytes takes longer:
/// it has shown by then that it is not what crashes.
pub(super) const ALONE: Duration = Duration::from_secs(30);
/// A trial is given up after this, well before the broker takes back what is in hand.
const TRIAL: Duration = Duration::from_mins(5);
/// No trial meets more messages in vain.
const LONGEST_TRIAL: usize = 4_096;
/// Fewer files than these that fail, each by its own, are no outage (as in `storage/evidence.rs`).
const MANY: usize = 3;
/// Where no message comes for so long, nothing waits that could prove anything about the storage.
const NOTHING_WAITS: Duration = Duration::from_secs(5);
/// Messages that the first trial after an outage may meet in vain; each later one meets twice as many, so
/// that some bad ones at the queue's head do not keep the others waiting for ever.
pub(super) const FIRST_TRIAL: usize = 2;

/// What a message has shown about the storage.
enum Shown {
    /// It serves files.
    Works,
    /// Nothing: no file of it needed the storage.
    Nothing,
    /// It does not serve this one's; the message is still in hand.
    Fails(Box<Failing>),
}

/// A message that the storage has not served.
struct Failing {
    delivery: Delivery,
    failure: Failure,
    /// The control question went well: by itself it would be this file's own trouble.
    own: bool,
}

/// Why taking ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    /// It goes on.
    On,
    /// The shift is over.
    Over,
}

impl<R: Registry> Worker<R> {
    /// From connecting until the connection is lost, the gate shuts, or the stop. What is in flight then ends by
    /// itself: one long copy must not keep the next shift from beginning.
    pub(super) async fn shift(
        self: &Arc<Self>,
        stop: &Stop,
        ending: &mut JoinSet<()>,
    ) -> Result<(), BrokerError> {
        let session = self.broker.connect().await?;
        let publisher = session.patient_publisher(&self.topology, CONFIRM_TIMEOUT).await?;
        // A trial takes no more than it may try: what is given back each time would soon be suspect.
        let most = self.trial.0.load(Ordering::Relaxed);
        let prefetch = self.gate.doubt().map_or(self.prefetch, |_| u16::try_from(most).unwrap_or(u16::MAX));
        let consumer = session.consume(&self.topology.work(), prefetch).await?;
        let mut consumer = consumer.counted(&self.metrics);
        info!(queue = self.topology.work(), prefetch, "taking messages");
        let mut in_flight = JoinSet::new();
        let mut hands = Hands {
            publisher: &publisher,
            consumer: &mut consumer,
            in_flight: &mut in_flight,
            stop,
            trial: prefetch != self.prefetch,
            long: 0,
        };
        let end = tokio::select! {
            end = self.take(&mut hands) => end,
            // The publisher has a connection of its own, which can break alone.
            why = session.closed() => Err(why),
        };
        let ended = match end {
            Ok(()) => give_back_rest(&mut consumer).await,
            broken => broken,
        };
        let (stop, broken) = (stop.clone(), ended.is_err());
        ending.spawn(async move {
            if !broken {
                stop.drain(&mut in_flight).await;
            }
            drop((consumer, publisher));
            session.close().await;
            // Of a session that broke in one part, all is over: what nobody holds in hand goes back at once, and
            // what is in flight comes again and is found done.
            stop.drain(&mut in_flight).await;
        });
        ended
    }

    async fn take(self: &Arc<Self>, hands: &mut Hands<'_>) -> Result<(), BrokerError> {
        if hands.trial || self.gate.doubt().is_some() {
            let next = self.try_waiting(hands).await?;
            if next == Next::Over || hands.trial {
                return Ok(());
            }
        }
        loop {
            tokio::select! {
                biased;
                () = hands.stop.requested() => return Ok(()),
                (cause, why) = self.gate.shut(gate::WORKER) => {
                    info!(?cause, why, "no longer taking messages");
                    return Ok(());
                }
                Some(_) = hands.in_flight.join_next() => {}
                delivery = hands.consumer.next() => match delivery {
                    Some(delivery) => {
                        let delivery = delivery?;
                        if !is_suspect(&delivery) {
                            self.begin(delivery, hands, Judge::WithOthers);
                        } else if self.try_alone(delivery, hands).await == Next::Over {
                            return Ok(());
                        }
                    }
                    None => return Ok(()),
                },
            }
        }
    }

    fn begin(self: &Arc<Self>, delivery: Delivery, hands: &mut Hands<'_>, judge: Judge) {
        let (worker, publisher) = (Arc::clone(self), hands.publisher.clone());
        hands.in_flight.spawn(async move { worker.handle(delivery, &publisher, judge).await });
    }

    /// Messages that failed in a trial, one after another, while others go on beside them: so that their failures
    /// are not taken for everybody's.
    fn begin_failed(self: &Arc<Self>, failed: Vec<Delivery>, hands: &mut Hands<'_>) {
        let (worker, publisher) = (Arc::clone(self), hands.publisher.clone());
        hands.in_flight.spawn(async move {
            for delivery in failed {
                Arc::clone(&worker).handle(delivery, &publisher, Judge::ByItself).await;
            }
        });
    }

    /// A message that may crash the worker: the others finish first, and begin after it.
    async fn try_alone(self: &Arc<Self>, delivery: Delivery, hands: &mut Hands<'_>) -> Next {
        if self.finished(hands).await == Next::Over {
            self.give_back(delivery).await;
            return Next::Over;
        }
        self.begin(delivery, hands, Judge::WithOthers);
        self.finished(hands).await
    }

    /// Waits until nothing is in flight, within a bound.
    async fn finished(&self, hands: &mut Hands<'_>) -> Next {
        let bound = Instant::now() + ALONE;
        // Those that were waited for in vain before are not waited for again.
        while hands.in_flight.len() > hands.long {
            tokio::select! {
                () = hands.stop.requested() => return Next::Over,
                _ = self.gate.shut(gate::WORKER) => return Next::Over,
                _ = hands.in_flight.join_next() => {}
                () = tokio::time::sleep_until(bound) => hands.long = hands.in_flight.len(),
            }
        }
        hands.long = hands.long.min(hands.in_flight.len());
        Next::On
    }

    /// The half-open circuit: messages are tried one after another until the storage serves one. Those that it
    /// does not serve stay in hand meanwhile, so that the same one is not tried for ever: when another works,
    /// they are tried again and are judged by themselves; when none does, all go back, uncounted.
    async fn try_waiting(self: &Arc<Self>, hands: &mut Hands<'_>) -> Result<Next, BrokerError> {
        let most = self.trial.0.load(Ordering::Relaxed);
        // Before anything can end it: the next one goes further in any case.
        self.trial.0.store((2 * most).min(LONGEST_TRIAL), Ordering::Relaxed);
        let until = Instant::now() + TRIAL;
        let mut failing: Vec<Failing> = Vec::new();
        let works = loop {
            let Some(delivery) = self.next_of_trial(hands).await? else { break false };
            let Some(delivery) = delivery else {
                // Nothing else waits. A few that fail by themselves, with nobody to compare with, are their own.
                break failing.len() < MANY && failing.iter().all(|failing| failing.own);
            };
            match self.try_one(delivery, hands).await {
                None => break false,
                Some(Shown::Works) => break true,
                Some(Shown::Nothing) => {}
                Some(Shown::Fails(one)) => failing.push(*one),
            }
            if failing.len() >= most || Instant::now() >= until {
                break false;
            }
        };
        if works {
            self.trial.0.store(FIRST_TRIAL, Ordering::Relaxed);
            self.gate.proven();
            self.begin_failed(failing.into_iter().map(|failing| failing.delivery).collect(), hands);
            return Ok(Next::On);
        }
        let last = failing.last().map(|failing| failing.failure.clone());
        for failing in failing {
            self.give_back(failing.delivery).await;
        }
        if let Some(failure) = last {
            info!(error = %failure, "files that wait were tried, and the storage serves none of them");
            self.gate.report(&failure);
        }
        Ok(Next::Over)
    }

    /// The next message of a trial: nothing at all when the shift is over, none when no message waits.
    async fn next_of_trial(&self, hands: &mut Hands<'_>) -> Result<Option<Option<Delivery>>, BrokerError> {
        tokio::select! {
            biased;
            () = hands.stop.requested() => Ok(None),
            _ = self.gate.shut(gate::WORKER) => Ok(None),
            delivery = hands.consumer.next() => delivery.transpose().map(|delivery| delivery.map(Some)),
            () = tokio::time::sleep(NOTHING_WAITS) => Ok(Some(None)),
        }
    }

    /// Handles one message of a trial; nothing when the shift is over before that has ended.
    async fn try_one(self: &Arc<Self>, delivery: Delivery, hands: &mut Hands<'_>) -> Option<Shown> {
        let (tell, told) = oneshot::channel();
        let (worker, publisher) = (Arc::clone(self), hands.publisher.clone());
        hands.in_flight.spawn(async move {
            let span = span_of(&delivery);
            let shown = worker.show(delivery, &publisher).instrument(span).await;
            if let Err(Shown::Fails(failing)) = tell.send(shown) {
                // The shift is over, or it took too long.
                worker.give_back(failing.delivery).await;
            }
        });
        tokio::select! {
            () = hands.stop.requested() => None,
            _ = self.gate.shut(gate::WORKER) => None,
            shown = told => shown.ok(),
            // A long copy: it goes on beside the trial.
            () = tokio::time::sleep(ALONE) => Some(Shown::Nothing),
        }
    }

    async fn show(self: &Arc<Self>, delivery: Delivery, publisher: &Publisher) -> Shown {
        let (handled, mark) = self.look(&delivery, Judge::ByItself).await;
        if let Some((failure, own)) = failure_of_storage(&handled) {
            if let Some(mark) = mark {
                self.unmark(mark, false).await;
            }
            return Shown::Fails(Box::new(Failing { delivery, failure, own }));
        }
        let works = handled.end() == Some(End::Worked);
        self.finish(delivery, handled, mark, publisher).await;
        if works { Shown::Works } else { Shown::Nothing }
    }
}

/// What a shift works with.
pub(super) struct Hands<'a> {
    publisher: &'a Publisher,
    consumer: &'a mut Consumer,
    in_flight: &'a mut JoinSet<()>,
    stop: &'a Stop,
    /// The consumer is one for a trial: it takes no more than that.
    trial: bool,
    /// Tasks in flight that a suspect has waited for in vain.
    long: usize,
}

/// Why the storage has not served a message, where it has not: it is out, or (the file's own trouble) may serve it
/// later.
fn failure_of_storage(handled: &Handled) -> Option<(Failure, bool)> {
    match &handled.verdict {
        Verdict::GiveBack(failure)
            if matches!(failure.advice, Advice::Outage(Dependency::Storage) | Advice::SlowDown) =>
        {
            Some((failure.clone(), false))
        }
        Verdict::Settle(_) if handled.end() == Some(End::Failed) => {
            let failed = handled.ends.iter().find_map(|end| end.result.as_ref().err());
            let outage =
                |error: &Failure| Failure::new(Advice::Outage(Dependency::Storage), error.error.clone());
            failed.map(|failure| (outage(failure), true))
        }
        _ => None,
    }
}

/// What the broker has sent and nobody has begun goes back to its queue now: others may take it, however long
/// the rest of this shift takes.
async fn give_back_rest(consumer: &mut Consumer) -> Result<(), BrokerError> {
    consumer.cancel().await?;
    while let Ok(Some(delivery)) = tokio::time::timeout(NOTHING_WAITS, consumer.next()).await {
        delivery?.give_back().await?;
    }
    Ok(())
}

//! The worker: takes messages while everything that they need is there, and settles each of them.
//!
//! A message is acknowledged in `settle.rs` and nowhere else.

mod brake;
mod message;
mod settle;
mod verdict;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use crate::broker::{Broker, BrokerError, Consumer, Delivery, Publisher, Topology};
use crate::clock::Clock;
use crate::config::Delay;
use crate::db::{Actor, Db};
use crate::event::Event;
use crate::gate::{self, Cause, Gate};
use crate::guard::Guard;
use crate::metrics::Metrics;
use crate::outcome::Failure;
use crate::recycle::{Recycler, Registry};
use crate::resolve::Resolver;
use crate::stop::Stop;

/// How long the worker lets a foreign environment's event be before it looks at the queue again.
const FOREIGN_EVENT_PAUSE: Duration = Duration::from_secs(30);

/// Pause after a shift that ended by itself while everything is well.
const BETWEEN_SHIFTS: Duration = Duration::from_secs(1);

/// How long the broker may take to confirm a message that goes to a wait queue or to the dead.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(30);

/// What the worker is made of.
pub struct Worker<R: Registry> {
    /// Where messages come from.
    pub broker: Broker,
    /// Names and arguments of exchange and queues.
    pub topology: Topology,
    /// Messages in flight.
    pub prefetch: u16,
    /// Waits between later tries.
    pub delays: Vec<Delay>,
    /// How long an outside event rests before its files move.
    pub grace: Duration,
    /// From an event to its files.
    pub resolver: Resolver,
    /// From a file to its outcome.
    pub recycler: Recycler<R>,
    /// Records the outcome of replays.
    pub db: Db,
    /// May anything move?
    pub guard: Guard,
    /// Is everything there that is needed?
    pub gate: Gate,
    /// Counters.
    pub metrics: Metrics,
    /// The time.
    pub clock: Clock,
    /// Host name and process id, as dead letters carry it.
    pub name: String,
    /// Files in flight, of all messages together.
    pub places: Arc<Semaphore>,
    /// Stops everything when too many files move.
    pub brake: Brake,
}

/// The brake of `recycle.brake`, shared by all messages in flight.
#[derive(Debug)]
pub struct Brake(Mutex<brake::Brake>);

impl Brake {
    /// A brake at `limit` files an hour; 0: none.
    pub fn new(limit: u64) -> Self {
        Self(Mutex::new(brake::Brake::new(limit)))
    }

    fn count(&self, moved: u64) -> Option<u64> {
        // A poisoned count is still a count.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).count(std::time::Instant::now(), moved)
    }
}

impl<R: Registry> Worker<R> {
    /// Works until it is told to stop; servers that come and go do not end it.
    pub async fn run(self: Arc<Self>, stop: Stop) {
        // Ended shifts whose last files are still on their way.
        let mut ending = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.requested() => break,
                Some(_) = ending.join_next() => continue,
                () = self.gate.opened(gate::WORKER) => {}
            }
            if let Err(error) = self.shift(&stop, &mut ending).await {
                self.gate.report(&Failure::new(error.advice(), error.to_string()));
                if self.gate.why_closed(gate::WORKER).is_none() {
                    info!(%error, "taking messages was interrupted");
                    tokio::time::sleep(BETWEEN_SHIFTS).await;
                }
            }
        }
        stop.drain(&mut ending).await;
    }

    /// One connection's worth of work: from connecting until it is lost, the gate shuts, or the stop. What
    /// is in flight then ends by itself: one long copy must not keep the next shift from beginning.
    async fn shift(self: &Arc<Self>, stop: &Stop, ending: &mut JoinSet<()>) -> Result<(), BrokerError> {
        let session = self.broker.connect().await?;
        let publisher = session.patient_publisher(&self.topology, CONFIRM_TIMEOUT).await?;
        let mut consumer = session.consume(&self.topology.work(), self.prefetch).await?;
        info!(queue = self.topology.work(), prefetch = self.prefetch, "taking messages");
        let mut in_flight = JoinSet::new();
        let end = tokio::select! {
            end = self.take(&publisher, &mut consumer, &mut in_flight, stop) => end,
            // The publisher has a connection of its own, which can break alone.
            why = session.closed() => Err(why),
        };
        // What the broker has sent and nobody has begun goes back with the closed channel.
        let cancelled = consumer.cancel().await;
        let stop = stop.clone();
        ending.spawn(async move {
            stop.drain(&mut in_flight).await;
            drop((consumer, publisher));
            session.close().await;
        });
        end.and(cancelled)
    }

    async fn take(
        self: &Arc<Self>,
        publisher: &Publisher,
        consumer: &mut Consumer,
        in_flight: &mut JoinSet<()>,
        stop: &Stop,
    ) -> Result<(), BrokerError> {
        loop {
            tokio::select! {
                biased;
                () = stop.requested() => return Ok(()),
                (cause, why) = self.gate.shut(gate::WORKER) => {
                    info!(?cause, why, "no longer taking messages");
                    return Ok(());
                }
                Some(_) = in_flight.join_next() => {}
                delivery = consumer.next() => match delivery {
                    Some(delivery) => self.begin(delivery?, publisher, in_flight),
                    None => return Ok(()),
                },
            }
        }
    }

    fn begin(self: &Arc<Self>, delivery: Delivery, publisher: &Publisher, in_flight: &mut JoinSet<()>) {
        let (worker, publisher) = (Arc::clone(self), publisher.clone());
        in_flight.spawn(async move { worker.handle(delivery, &publisher).await });
    }

    /// Counts moved files, and pauses the whole environment where they are more than the operator allows.
    async fn brake(&self, moved: u64) {
        let Some(sum) = self.brake.count(moved) else { return };
        let why = format!("recycle.brake: {sum} files moved within an hour, more than allowed");
        error!("{why}; the environment is paused: look at what is deleted, then `file-recycler resume`");
        self.gate.close(Cause::Guard, why.clone());
        let actor = Actor { who: "recycle.brake".to_owned(), host: self.name.clone() };
        if let Err(error) = self.db.pause(&why, &actor).await {
            error!(%error, "the pause could not be written");
        }
    }

    /// Stops everything for a while because of an event that is not this environment's.
    fn stop_for_foreign(self: &Arc<Self>, event: &str, environment: uuid::Uuid) {
        self.guard.saw_foreign_event(event, environment);
        let why = self.guard.verdict().to_string();
        warn!(event, %environment, "{why}");
        self.gate.close(Cause::Guard, why);
        let worker = Arc::clone(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(FOREIGN_EVENT_PAUSE).await;
                match worker.next_is_foreign().await {
                    Ok(false) => return worker.guard.forgive_foreign(),
                    Ok(true) => {}
                    Err(error) => info!(%error, "the queue could not be looked at for a foreign event"),
                }
            }
        });
    }

    /// Is the next message of the work queue another environment's event? It is looked at alone, and stays.
    async fn next_is_foreign(&self) -> Result<bool, BrokerError> {
        let session = self.broker.connect().await?;
        let mut browser = session.browse(&self.topology.work()).await?;
        let next = browser.next().await?;
        let event = next.and_then(|next| Event::decode(&next.body, self.resolver.id_kind()).ok());
        let foreign = event
            .and_then(|event| event.environment)
            .is_some_and(|environment| self.guard.environment() != Some(environment));
        browser.close().await?;
        session.close().await;
        Ok(foreign)
    }
}

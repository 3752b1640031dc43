//! The worker: takes messages while everything that they need is there, and settles each of them.
//!
//! A message is acknowledged in `settle.rs` and nowhere else.

mod brake;
mod message;
mod settle;
mod shift;
mod suspect;
mod verdict;

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use crate::broker::{Broker, BrokerError, Topology};
use crate::circuit::{Circuit, End};
use crate::clock::Clock;
use crate::config::Delay;
use crate::db::{Actor, Db};
use crate::event::Event;
use crate::gate::{self, Cause, Gate};
use crate::guard::Guard;
use crate::metrics::Metrics;
use crate::outcome::{Advice, Dependency, Failure};
use crate::recycle::{Recycler, Registry};
use crate::resolve::Resolver;
use crate::stop::Stop;

pub use suspect::Marks;

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
    /// Whose trouble is it that tries fail?
    pub judgement: Judgement,
    /// Messages that the next trial of the storage may meet in vain.
    pub trial: Trial,
    /// Who marks suspects.
    pub marks: Marks,
}

/// How messages ended lately, shared by all messages in flight.
#[derive(Debug, Default)]
pub struct Judgement(Mutex<Circuit>);

impl Judgement {
    /// Takes note of an end; says why the storage is out, where that is what the ends say together.
    fn ended(&self, message: &str, end: End) -> Option<Failure> {
        // A poisoned count is still a count.
        let mut circuit = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let why = circuit.ended(std::time::Instant::now(), message, end)?;
        Some(Failure::new(Advice::Outage(Dependency::Storage), why))
    }
}

/// How many messages the next trial after an outage may meet in vain.
#[derive(Debug)]
pub struct Trial(AtomicUsize);

impl Default for Trial {
    fn default() -> Self {
        Self(AtomicUsize::new(shift::FIRST_TRIAL))
    }
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
        self.unmark_all().await;
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

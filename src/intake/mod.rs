//! Events that others hand over: a document becomes a confirmed message of this environment's queue, or is refused
//! with the field that is wrong, or cannot be taken now.
//!
//! What is published is the event as it was understood, encoded anew: fields that mean nothing here do not enter the
//! broker, whatever a sender has put into them, and nothing says that our own triggers have captured it.

mod refusal;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, timeout_at};
use tracing::info;
use uuid::Uuid;

use crate::broker::{Broker, BrokerError, Outgoing, Publisher, Session, Target, Topology};
use crate::event::{Event, IdKind, MAX_BYTES};
use crate::failpoint;
use crate::gate::{self, Cause, Gate};
use crate::guard::{Guard, Verdict};
use crate::outcome::Failure;
use crate::stop::Stop;

pub use refusal::{Refused, Unavailable};

/// Events in hand at once, from the first byte of the body to the confirm: what bounds the memory.
const PLACES: u32 = 16;
/// How long the broker may take to confirm. Whoever handed the event over does not wait for as long; it is the time
/// after which the connection is taken for broken.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(30);
/// What the connection needs. A pause does not close it: it is there when work goes on.
const CONNECTED: &[Cause] = &[Cause::Broker, Cause::Topology];
/// Pause after a break that is nobody's outage.
const PAUSE: Duration = Duration::from_secs(1);

/// Takes events. Cheap to clone; all clones have one connection to the broker and one bound.
#[derive(Clone)]
pub struct Intake(Arc<Inner>);

struct Inner {
    broker: Broker,
    topology: Topology,
    ids: IdKind,
    guard: Guard,
    gate: Gate,
    line: watch::Sender<Line>,
    places: Arc<Semaphore>,
}

/// The connection to the broker.
enum Line {
    /// Not there, or broken: it is coming.
    Down,
    /// There.
    Up(Publisher),
    /// The process stops.
    Ended,
}

/// The right to hand over one event. It is held until the broker has answered, also when its holder has gone.
pub struct Place {
    _permit: OwnedSemaphorePermit,
}

impl Intake {
    /// An intake without a connection yet; [`Intake::run`] makes one, and keeps it.
    pub fn new(broker: Broker, topology: Topology, ids: IdKind, guard: Guard, gate: Gate) -> Self {
        Self(Arc::new(Inner {
            broker,
            topology,
            ids,
            guard,
            gate,
            line: watch::Sender::new(Line::Down),
            places: Arc::new(Semaphore::new(PLACES as usize)),
        }))
    }

    /// Waits for a place, until `deadline`.
    ///
    /// # Errors
    /// [`Unavailable::Busy`] when there is none by then, [`Unavailable::Stopping`] when there will be none.
    pub async fn place(&self, deadline: Instant) -> Result<Place, Unavailable> {
        let places = Arc::clone(&self.0.places);
        match timeout_at(deadline, places.acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Place { _permit: permit }),
            Ok(Err(_closed)) => Err(Unavailable::Stopping),
            Err(_) => Err(Unavailable::Busy),
        }
    }

    /// Takes the event in `body`: after `Ok` the broker has it, durably, in a queue. The answer is its id.
    ///
    /// # Errors
    /// After [`Unavailable`] it may have been published all the same; publishing it again harms nothing.
    pub async fn take(&self, place: Place, body: &[u8], deadline: Instant) -> Result<String, Refused> {
        let event = Event::decode(body, self.0.ids)?;
        let environment = self.0.open()?;
        let event = outside(event, environment)?;
        let (id, kind) = (event.id.clone(), event.event_type());
        let body = event.encode();
        if body.len() > MAX_BYTES {
            // Encoded anew it may be a little longer, and a worker would not take it.
            return Err(Refused::TooLarge);
        }
        let publisher = timeout_at(deadline, self.0.publisher()).await.map_err(|_| Unavailable::Broker)??;
        // Perhaps it was waited for; an operator may have paused meanwhile.
        self.0.open()?;
        let message = Outgoing::fresh(&id, body.into());
        let gate = self.0.gate.clone();
        // On its own: a sender that has gone must not free the place of an event that is still on its way.
        let publishing = tokio::spawn(async move {
            let answer = publisher.publish(Target::Event(kind), message).await;
            if let Err(error @ BrokerError::Unroutable { .. }) = &answer {
                // A binding is gone: the monitor declares everything anew.
                gate.report(&Failure::from(error.clone()));
            }
            drop(place);
            answer
        });
        if failpoint::removed("protection::intake_confirm") {
            return Ok(id);
        }
        match timeout_at(deadline, publishing).await {
            Ok(Ok(Ok(()))) => Ok(id),
            Ok(Ok(Err(error))) => Err(Unavailable::of(&error).into()),
            Ok(Err(_)) | Err(_) => Err(Unavailable::Unconfirmed.into()),
        }
    }

    /// Keeps the connection until the stop, and then as long as events are in hand.
    pub async fn run(self, stop: Stop) {
        let intake = &self.0;
        loop {
            tokio::select! {
                () = stop.requested() => break,
                () = intake.gate.opened(CONNECTED) => {}
            }
            let connecting = intake.connect();
            let connected = tokio::select! {
                () = stop.requested() => break,
                connected = connecting => connected,
            };
            let ended = match connected {
                Ok(session) => intake.keep(session, &stop).await,
                Err(error) => Err(error),
            };
            if let Err(error) = ended {
                info!(%error, "the connection for events that others hand over is broken");
                intake.gate.report(&Failure::from(error));
                tokio::select! {
                    () = stop.requested() => {}
                    () = tokio::time::sleep(PAUSE) => {}
                }
            }
        }
        intake.line.send_replace(Line::Ended);
        // Whoever asks for a place from here on is behind this, and then refused.
        let all = intake.places.acquire_many(PLACES).await;
        intake.places.close();
        drop(all);
    }
}

impl Inner {
    /// The environment, where something may be published now.
    fn open(&self) -> Result<Uuid, Unavailable> {
        if let Some((cause, _)) = self.gate.why_closed(gate::INTAKE) {
            return Err(match (cause, self.guard.verdict()) {
                (Cause::Guard, Verdict::Paused(_)) => Unavailable::Paused,
                (Cause::Guard, _) => Unavailable::Guard,
                (Cause::Topology, _) => Unavailable::Topology,
                _ => Unavailable::Broker,
            });
        }
        if self.broker.blocked().is_some() {
            return Err(Unavailable::Blocked);
        }
        self.guard.admitted().map_err(|_| Unavailable::Guard)
    }

    /// The publisher, as soon as there is one.
    async fn publisher(&self) -> Result<Publisher, Unavailable> {
        let mut line = self.line.subscribe();
        // The sender lives in `self`, so the wait cannot end otherwise.
        let there = line.wait_for(|line| !matches!(line, Line::Down)).await;
        match there.as_deref() {
            Ok(Line::Up(publisher)) => Ok(publisher.clone()),
            _ => Err(Unavailable::Stopping),
        }
    }

    async fn connect(&self) -> Result<Session, BrokerError> {
        let session = self.broker.connect_without_reading().await?;
        let publisher = session.publisher(&self.topology, CONFIRM_TIMEOUT).await?;
        self.line.send_replace(Line::Up(publisher));
        Ok(session)
    }

    /// Keeps a session until the stop, until it breaks, or until the broker is found wanting by somebody else.
    async fn keep(&self, session: Session, stop: &Stop) -> Result<(), BrokerError> {
        let ended = tokio::select! {
            () = stop.requested() => Ok(()),
            _ = self.gate.shut(CONNECTED) => Ok(()),
            error = session.closed() => Err(error),
        };
        // Who is waiting for a confirm has a publisher of this connection, and keeps it.
        self.line.send_replace(Line::Down);
        session.close().await;
        ended
    }
}

/// An event that was handed over, as it may be published. It may say for which environment it is meant, and another
/// one than this is refused. What is published never says so: that mark is how a worker knows what our own triggers
/// have captured, for which alone it deletes rows.
fn outside(mut event: Event, environment: Uuid) -> Result<Event, Refused> {
    let meant = event.environment;
    if !failpoint::removed("protection::mark_of_triggers") {
        event.environment = None;
    }
    match meant {
        Some(meant) if meant != environment => Err(Refused::Wrong {
            field: "environment".to_owned(),
            problem: "is not this environment's".to_owned(),
        }),
        _ => Ok(event),
    }
}

#[cfg(test)]
pub(crate) mod tests;

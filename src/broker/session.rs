//! A session: a connection for consuming and asking, one more for each publisher, and how they are.

use std::sync::Arc;
use std::time::Duration;

use lapin::Channel;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use tokio::sync::watch;
use tokio::time::Instant;

use super::connect::{Broker, Traffic, answered};
use super::consume::{Browser, Consumer};
use super::declare::{self, short};
use super::error::{BrokerError, is_missing};
use super::link::{ANSWER_TIMEOUT, Link};
use super::publish::Publisher;
use super::read::Reader;
use super::topology::Topology;
use super::window::Patience;

/// How long a patient publisher waits for the end of an alarm: well below the broker's consumer time-out, since a
/// message may be in hand meanwhile.
const LONGEST_BLOCKED: Duration = Duration::from_mins(5);

/// A quorum queue whose leader does not answer within 250 ms is told as one without messages and without consumers
/// (`rabbit_quorum_queue:stat/1` of RabbitMQ 3.10). Less, since clocks differ.
const LEADER_SILENT: Duration = Duration::from_millis(200);

/// An open session. When any part of it breaks, all of it is over: drop it and connect again.
///
/// Publishers have connections of their own, because an alarm of the broker stops a publishing connection as a
/// whole: acknowledgements, which make room, must go on.
pub struct Session {
    broker: Broker,
    link: Arc<Link>,
    condition: Condition,
}

/// How full a queue is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depth {
    /// Messages that are ready for a consumer; those in somebody's hands are not counted.
    pub messages: u64,
    /// Consumers.
    pub consumers: u64,
}

impl Depth {
    const EMPTY: Self = Self { messages: 0, consumers: 0 };
}

impl Session {
    pub(super) fn new(broker: Broker, link: Link, condition: Condition) -> Self {
        Self { broker, link: Arc::new(link), condition }
    }

    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    /// A connection besides, which an alarm may stop.
    pub(super) async fn own_link(&self) -> Result<Link, BrokerError> {
        self.broker.link(&self.condition, Traffic::Ours).await
    }

    /// Waits until the broker says that it takes no messages; for ever, where it takes them.
    pub(super) async fn blocked(&self) -> String {
        self.broker.alarm().heard().await;
        self.broker.blocked().unwrap_or_default()
    }

    /// Waits until the session is over, and says why.
    pub fn closed(&self) -> impl Future<Output = BrokerError> + Send + 'static {
        self.condition.clone().closed()
    }

    /// Why the session is over, if it is.
    pub fn ended(&self) -> Option<BrokerError> {
        self.condition.why_ended()
    }

    /// Makes sure that exchange, queues and bindings are there and are exactly what they must be.
    ///
    /// # Errors
    /// [`BrokerError::Topology`] names what differs; [`BrokerError::AccessRefused`] the right that is missing.
    pub async fn declare(&self, topology: &Topology) -> Result<(), BrokerError> {
        declare::all(&self.link, topology).await
    }

    /// A publisher with a connection of its own. `confirm_timeout` bounds the wait for the broker's confirms. While
    /// the broker blocks, it says [`BrokerError::Blocked`] within seconds.
    pub async fn publisher(
        &self,
        topology: &Topology,
        confirm_timeout: Duration,
    ) -> Result<Publisher, BrokerError> {
        self.start_publisher(topology, Patience { confirm: confirm_timeout, blocked: Duration::ZERO }).await
    }

    /// The same, for one who rather waits for the end of the broker's alarm than publish a message twice; it says
    /// [`BrokerError::Blocked`] after five minutes of it.
    pub async fn patient_publisher(
        &self,
        topology: &Topology,
        confirm_timeout: Duration,
    ) -> Result<Publisher, BrokerError> {
        self.start_publisher(topology, Patience { confirm: confirm_timeout, blocked: LONGEST_BLOCKED }).await
    }

    async fn start_publisher(
        &self,
        topology: &Topology,
        patience: Patience,
    ) -> Result<Publisher, BrokerError> {
        let link = self.broker.link(&self.condition, Traffic::Ours).await?;
        Publisher::start(link, topology.clone(), patience, self.condition.clone(), self.broker.alarm()).await
    }

    /// Consumes `queue` with at most `prefetch` messages in our hands (0 is taken as 1: never without a bound).
    pub async fn consume(&self, queue: &str, prefetch: u16) -> Result<Consumer, BrokerError> {
        Consumer::start(self.link.clone(), queue, prefetch.max(1)).await
    }

    /// Looks at the messages of `queue` one by one, without consuming it.
    pub async fn browse(&self, queue: &str) -> Result<Browser, BrokerError> {
        Browser::open(self.link.clone(), queue).await
    }

    /// Reads `queue` from its head, without consuming it.
    pub async fn read(&self, queue: &str) -> Result<Reader, BrokerError> {
        Reader::open(self.link.clone(), queue).await
    }

    /// How full `queue` is; `None` when there is no such queue. An emptiness that may only be the silence of a slow
    /// broker is asked for again, and is a time-out when it stays one.
    pub async fn depth(&self, queue: &str) -> Result<Option<Depth>, BrokerError> {
        let attempt = format!("asking for the depth of queue '{queue}'");
        let patience = Instant::now() + ANSWER_TIMEOUT;
        loop {
            let opening = Instant::now();
            // A missing queue makes the broker close the channel, so it is one of its own.
            let channel = self.link.channel().await?;
            // The way there and back, as asking takes it as well.
            let way = opening.elapsed();
            let Some((depth, took)) = depth_by(&channel, queue, &attempt).await? else { return Ok(None) };
            answered(&attempt, ANSWER_TIMEOUT, channel.close(200, "OK".into())).await?;
            if depth != Depth::EMPTY || took < way + LEADER_SILENT {
                return Ok(Some(depth));
            }
            if Instant::now() >= patience {
                return Err(BrokerError::TimedOut { attempt, after: ANSWER_TIMEOUT });
            }
        }
    }

    /// Says goodbye, within a bound. Consumers and browsers of the session should be gone before; what they
    /// have not acknowledged goes back to its queue.
    pub async fn close(self) {
        if let Ok(link) = Arc::try_unwrap(self.link) {
            link.close().await;
        }
    }
}

/// How a session is, shared by all its connections.
#[derive(Clone, Default)]
pub(super) struct Condition(Arc<watch::Sender<Option<BrokerError>>>);

impl Condition {
    /// Only the first reason counts: the others follow from it.
    pub(super) fn ended(&self, why: BrokerError) {
        self.0.send_if_modified(|ended| {
            let first = ended.is_none();
            ended.get_or_insert(why);
            first
        });
    }

    pub(super) fn why_ended(&self) -> Option<BrokerError> {
        self.0.borrow().clone()
    }

    pub(super) async fn closed(self) -> BrokerError {
        let mut ends = self.0.subscribe();
        loop {
            if let Some(why) = ends.borrow_and_update().clone() {
                return why;
            }
            // The sender lives in `self`, so the wait cannot end otherwise.
            if ends.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

/// What the broker says of a queue, and how long it took to; `None` when there is no such queue.
async fn depth_by(
    channel: &Channel,
    queue: &str,
    attempt: &str,
) -> Result<Option<(Depth, Duration)>, BrokerError> {
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let asking = Instant::now();
    let asked = channel.queue_declare(short(queue)?, options, FieldTable::default());
    match tokio::time::timeout(ANSWER_TIMEOUT, asked).await {
        Err(_) => Err(BrokerError::TimedOut { attempt: attempt.to_owned(), after: ANSWER_TIMEOUT }),
        Ok(Err(error)) if is_missing(&error) => Ok(None),
        Ok(Err(error)) => Err(BrokerError::from_lapin(attempt, &error)),
        Ok(Ok(found)) => {
            let (messages, consumers) = (found.message_count(), found.consumer_count());
            let depth = Depth { messages: messages.into(), consumers: consumers.into() };
            Ok(Some((depth, asking.elapsed())))
        }
    }
}

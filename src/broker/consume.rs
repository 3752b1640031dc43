//! Deliveries: consuming a queue, looking at one, and what can be done with a message that came.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicGetOptions, BasicNackOptions,
    BasicQosOptions,
};
use lapin::types::FieldTable;
use lapin::{Acker, BasicProperties, Channel};

use super::connect::answered;
use super::declare::short;
use super::error::BrokerError;
use super::link::{ANSWER_TIMEOUT, Link};
use super::message::{read_delivery_count, read_history, read_id};
use crate::history::History;
use crate::metrics::{InHand, Metrics};

/// A message in our hands. Dropped without `ack` or `give_back` it comes again when its consumer is gone.
pub struct Delivery {
    /// The message's own id (`message_id`).
    pub id: Option<String>,
    /// The message, as it was published.
    pub body: Bytes,
    /// Tries and failures so far.
    pub history: History,
    /// It was in somebody's hands before.
    pub redelivered: bool,
    /// How often, by the broker's own count; a suspicion, never a proof of crashes.
    pub delivery_count: u64,
    /// Its tag on its channel.
    pub tag: u64,
    pub(super) properties: BasicProperties,
    acker: Acker,
    /// Counted for as long as the message is in hand, however that ends.
    _in_hand: Option<InHand>,
}

impl Delivery {
    pub(super) fn new(delivery: lapin::message::Delivery) -> Self {
        Self {
            id: read_id(&delivery.properties),
            history: read_history(&delivery.properties),
            redelivered: delivery.redelivered,
            delivery_count: read_delivery_count(&delivery.properties),
            tag: delivery.delivery_tag,
            body: Bytes::from(delivery.data),
            properties: delivery.properties,
            acker: delivery.acker,
            _in_hand: None,
        }
    }

    /// The message is done with. An error means that it comes again.
    pub async fn ack(self) -> Result<(), BrokerError> {
        let attempt = "acknowledging a message";
        let sent = self.acker.ack(BasicAckOptions::default());
        settled(attempt, answered(attempt, ANSWER_TIMEOUT, sent).await)
    }

    /// The message goes back to its queue and comes again, to whichever consumer is next.
    pub async fn give_back(self) -> Result<(), BrokerError> {
        let attempt = "giving a message back";
        let sent = self.acker.nack(BasicNackOptions { multiple: false, requeue: true });
        settled(attempt, answered(attempt, ANSWER_TIMEOUT, sent).await)
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("id", &self.id)
            .field("bytes", &self.body.len())
            .field("history", &self.history)
            .field("redelivered", &self.redelivered)
            .field("delivery_count", &self.delivery_count)
            .finish_non_exhaustive()
    }
}

/// The library says `false` where the channel was already gone.
fn settled(attempt: &str, sent: Result<bool, BrokerError>) -> Result<(), BrokerError> {
    if sent? {
        return Ok(());
    }
    let cause = "its channel is closed".to_owned();
    Err(BrokerError::Connection { attempt: attempt.to_owned(), cause })
}

/// A running consumer. Dropped, it is gone, and what was not acknowledged goes back to the queue.
pub struct Consumer {
    deliveries: lapin::Consumer,
    channel: Channel,
    queue: String,
    cancelled: bool,
    /// Counts what it hands out.
    counts: Option<Metrics>,
    _link: Arc<Link>,
}

impl Consumer {
    pub(super) async fn start(link: Arc<Link>, queue: &str, prefetch: u16) -> Result<Self, BrokerError> {
        let attempt = format!("consuming queue '{queue}'");
        let channel = link.channel().await?;
        answered(&attempt, ANSWER_TIMEOUT, channel.basic_qos(prefetch, BasicQosOptions::default())).await?;
        let options = BasicConsumeOptions::default();
        let started = channel.basic_consume(short(queue)?, "".into(), options, FieldTable::default());
        let deliveries = answered(&attempt, ANSWER_TIMEOUT, started).await;
        let deliveries = deliveries.map_err(|error| error.needing("the read permission on it"))?;
        let queue = queue.to_owned();
        Ok(Self { deliveries, channel, queue, cancelled: false, counts: None, _link: link })
    }

    /// The same, whose messages are counted from here until they are settled or dropped.
    #[must_use]
    pub fn counted(self, metrics: &Metrics) -> Self {
        Self { counts: Some(metrics.clone()), ..self }
    }

    /// The next message. `None` comes only after [`Consumer::cancel`], when the messages that were on their
    /// way are through; a queue that was deleted or a connection that broke is an error. Dropping the future
    /// loses nothing.
    pub async fn next(&mut self) -> Option<Result<Delivery, BrokerError>> {
        let attempt = || format!("consuming queue '{}'", self.queue);
        match self.deliveries.next().await {
            Some(Ok(delivery)) => {
                let in_hand = self.counts.as_ref().map(Metrics::in_hand);
                Some(Ok(Delivery { _in_hand: in_hand, ..Delivery::new(delivery) }))
            }
            Some(Err(error)) => Some(Err(BrokerError::from_consumer(attempt(), &error))),
            None if self.cancelled => None,
            None => Some(Err(BrokerError::Connection {
                attempt: attempt(),
                cause: "the broker ended it, or the connection broke".to_owned(),
            })),
        }
    }

    /// No more messages, please. Those that were delivered can still be acknowledged or given back.
    pub async fn cancel(&mut self) -> Result<(), BrokerError> {
        self.cancelled = true;
        let attempt = format!("ending the consumer of queue '{}'", self.queue);
        let told = self.channel.basic_cancel(self.deliveries.tag(), BasicCancelOptions::default());
        answered(&attempt, ANSWER_TIMEOUT, told).await
    }
}

/// A look at a queue, message by message. What was seen stays hidden from others until the browser is closed or
/// dropped; then everything that was not acknowledged is back in the queue.
pub struct Browser {
    channel: Channel,
    queue: String,
    _link: Arc<Link>,
}

impl Browser {
    pub(super) async fn open(link: Arc<Link>, queue: &str) -> Result<Self, BrokerError> {
        Ok(Self { channel: link.channel().await?, queue: queue.to_owned(), _link: link })
    }

    /// The next message; `None` when there is none.
    pub async fn next(&mut self) -> Result<Option<Delivery>, BrokerError> {
        let attempt = format!("looking at queue '{}'", self.queue);
        let asked = self.channel.basic_get(short(&self.queue)?, BasicGetOptions::default());
        let message = answered(&attempt, ANSWER_TIMEOUT, asked).await;
        let message = message.map_err(|error| error.needing("the read permission on it"))?;
        Ok(message.map(|message| Delivery::new(message.delivery)))
    }

    /// Puts everything back that was not acknowledged, and waits until the broker has done so.
    pub async fn close(self) -> Result<(), BrokerError> {
        let attempt = format!("ending the look at queue '{}'", self.queue);
        answered(&attempt, ANSWER_TIMEOUT, self.channel.close(200, "OK".into())).await
    }
}

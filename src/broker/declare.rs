//! Declares the topology: what is there already must be exactly what we would have made.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, ExchangeKind};

use super::error::{BrokerError, is_mismatch, sentence};
use super::link::{ANSWER_TIMEOUT, Link};
use super::topology::{Argument, Queue, Topology};

/// Declares everything, dead-letter queue first, so that no message can meet a half-made topology.
///
/// Whether a message really finds its queue is checked again with every publication (`mandatory`).
pub(super) async fn all(link: &Link, topology: &Topology) -> Result<(), BrokerError> {
    for queue in topology.queues() {
        self::queue(link, &queue).await?;
    }
    exchange(link, &topology.events()).await?;
    for binding in topology.bindings() {
        let what = format!("queue '{}' to exchange '{}'", binding.queue, topology.events());
        let (queue, exchange) = (short(&binding.queue)?, short(&topology.events())?);
        step(link, &format!("binding {what} by '{}'", binding.key), async |channel| {
            let options = QueueBindOptions::default();
            channel.queue_bind(queue, exchange, binding.key.into(), options, FieldTable::default()).await
        })
        .await
        .map_err(|error| {
            error.needing("the write permission on the queue and the read permission on the exchange")
        })?;
    }
    Ok(())
}

/// Declares one queue.
pub(super) async fn queue(link: &Link, queue: &Queue) -> Result<(), BrokerError> {
    let name = short(&queue.name)?;
    let mut arguments = FieldTable::default();
    for (key, value) in &queue.arguments {
        let value = match value {
            Argument::Text(text) => AMQPValue::LongString(text.as_str().into()),
            Argument::Number(number) => AMQPValue::LongLongInt(*number),
        };
        arguments.insert((*key).into(), value);
    }
    step(link, &format!("declaring queue '{}'", queue.name), async |channel| {
        channel.queue_declare(name, QueueDeclareOptions::durable(), arguments).await.map(drop)
    })
    .await
    .map_err(|error| error.needing(needed_to_declare(queue)))
}

/// A queue that dead-letters is asked for more: its messages are read, and written to where they go. Queues that do
/// not are declared first, so that a missing configure permission is told by itself.
fn needed_to_declare(queue: &Queue) -> &'static str {
    if queue.arguments.iter().any(|(key, _)| *key == "x-dead-letter-exchange") {
        "the configure permission and the read permission on it, and the write permission on the exchange amq.default"
    } else {
        "the configure permission on it"
    }
}

/// Declares the exchange.
pub(super) async fn exchange(link: &Link, name: &str) -> Result<(), BrokerError> {
    let exchange = short(name)?;
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    step(link, &format!("declaring exchange '{name}'"), async |channel| {
        channel.exchange_declare(exchange, ExchangeKind::Topic, options, FieldTable::default()).await
    })
    .await
    .map_err(|error| error.needing("the configure permission on it"))
}

/// One step on a channel of its own: the broker closes a channel on which it refuses something.
async fn step(
    link: &Link,
    attempt: &str,
    ask: impl AsyncFnOnce(&Channel) -> lapin::Result<()>,
) -> Result<(), BrokerError> {
    let channel = link.channel().await?;
    match tokio::time::timeout(ANSWER_TIMEOUT, ask(&channel)).await {
        Err(_) => Err(BrokerError::TimedOut { attempt: attempt.to_owned(), after: ANSWER_TIMEOUT }),
        Ok(Err(error)) if is_mismatch(&error) => Err(BrokerError::Topology(format!(
            "{attempt}: one of that name is there already and is not what it must be, so messages could be \
             lost: {}. Delete or rename it when it is empty, or choose another broker.prefix",
            sentence(&error)
        ))),
        Ok(Err(error)) => Err(BrokerError::from_lapin(attempt, &error)),
        Ok(Ok(())) => {
            super::connect::answered(attempt, ANSWER_TIMEOUT, channel.close(200, "OK".into())).await
        }
    }
}

/// A name as AMQP takes it: at most 255 bytes.
pub(super) fn short(name: &str) -> Result<ShortString, BrokerError> {
    ShortString::try_new(name)
        .map_err(|_| BrokerError::Topology(format!("the name '{name}' is longer than 255 bytes")))
}

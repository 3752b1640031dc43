//! The broker's own floor: a bare loop of the client library that publishes persistent messages with confirms to one
//! quorum queue and, at the same time, takes and acknowledges them, one by one, and does nothing else.
//!
//! `floor URL QUEUE MESSAGES BYTES` prints one JSON document.

use std::time::Instant;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};

/// Unconfirmed messages at most, as in the product.
const WINDOW: usize = 1_024;
/// Unacknowledged messages at most, the product's default.
const PREFETCH: u16 = 256;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let [url, queue, messages, bytes] = words.as_slice() else {
        return Err("floor URL QUEUE MESSAGES BYTES".into());
    };
    let (messages, bytes): (usize, usize) = (messages.parse()?, bytes.parse()?);
    let publishing = Connection::connect(url, ConnectionProperties::default()).await?;
    let consuming = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = consuming.create_channel().await?;
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    channel.queue_declare(queue.as_str().into(), QueueDeclareOptions::durable(), arguments).await?;
    let began = Instant::now();
    let sending = publishing.create_channel().await?;
    let publish = tokio::spawn(publish(sending, queue.clone(), messages, vec![b'x'; bytes]));
    let consume = tokio::spawn(consume(channel.clone(), queue.clone(), messages));
    publish.await??;
    let published = began.elapsed().as_secs_f64();
    consume.await??;
    let seconds = began.elapsed().as_secs_f64();
    channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await?;
    #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
    let rate = |seconds: f64| (messages as f64 / seconds).round();
    println!(
        r#"{{"messages": {messages}, "bytes": {bytes}, "seconds": {seconds:.2}, "per_second": {}, "published_per_second": {}}}"#,
        rate(seconds),
        rate(published),
    );
    Ok(())
}

async fn publish(channel: Channel, queue: String, messages: usize, body: Vec<u8>) -> lapin::Result<()> {
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let mut outstanding = FuturesUnordered::new();
    for _ in 0..messages {
        if outstanding.len() >= WINDOW {
            stored(outstanding.next().await)?;
        }
        let options = BasicPublishOptions { mandatory: true, immediate: false };
        let properties = BasicProperties::default().with_delivery_mode(2);
        outstanding
            .push(channel.basic_publish("".into(), queue.as_str().into(), options, &body, properties).await?);
    }
    while let Some(confirm) = outstanding.next().await {
        stored(Some(confirm))?;
    }
    Ok(())
}

fn stored(confirm: Option<lapin::Result<Confirmation>>) -> lapin::Result<()> {
    if let Some(confirm) = confirm {
        assert!(matches!(confirm?, Confirmation::Ack(None)), "the broker did not store a message");
    }
    Ok(())
}

async fn consume(channel: Channel, queue: String, messages: usize) -> lapin::Result<()> {
    channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
    let options = BasicConsumeOptions::default();
    let mut deliveries =
        channel.basic_consume(queue.as_str().into(), "".into(), options, FieldTable::default()).await?;
    for _ in 0..messages {
        let Some(delivery) = deliveries.next().await else { break };
        delivery?.acker.ack(BasicAckOptions::default()).await?;
    }
    Ok(())
}

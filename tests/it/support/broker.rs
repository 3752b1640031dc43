//! A broker prefix of its own for each test, and a plain client to do what the program never does.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use file_recycler::broker::{
    Broker, Browser, Delivery, Depth, Outgoing, Publisher, Session, Target, Topology,
};
use file_recycler::config::{self, Delay};
use file_recycler::event::{Deleted, Event, EventType};
use file_recycler::file::{FileId, FileRef};
use lapin::options::{
    BasicPublishOptions, ConfirmSelectOptions, ExchangeDeleteOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use secrecy::SecretString;
use time::macros::datetime;
use url::Url;
use uuid::Uuid;

use super::proxy::Proxy;

/// Longest wait for something that must happen; far longer than it takes.
pub const SOON: Duration = Duration::from_secs(30);

pub fn broker_url() -> Url {
    let url =
        std::env::var("FILE_RECYCLER_TEST_BROKER_URL").expect("FILE_RECYCLER_TEST_BROKER_URL is not set");
    url.parse().expect("FILE_RECYCLER_TEST_BROKER_URL is not a URL")
}

/// The wait of 200 ms that every scene has.
pub fn short_delay() -> Delay {
    Delay { text: "200ms".to_owned(), duration: Duration::from_millis(200) }
}

/// What a test works with.
pub struct Scene {
    pub broker: Broker,
    pub topology: Topology,
}

impl Scene {
    pub fn new() -> Self {
        let prefix = format!("test.{}", Uuid::new_v4().simple());
        Self { broker: broker_at(&broker_url()), topology: Topology { prefix, delays: vec![short_delay()] } }
    }

    /// A session with the topology declared.
    pub async fn session(&self) -> Session {
        let session = self.broker.connect().await.unwrap();
        session.declare(&self.topology).await.unwrap();
        session
    }

    pub async fn publisher(&self, session: &Session) -> Publisher {
        session.publisher(&self.topology, SOON).await.unwrap()
    }

    /// A broker that is reached through a proxy.
    pub async fn proxied(&self) -> (Broker, Proxy) {
        let url = broker_url();
        let proxy = Proxy::to(format!("{}:{}", url.host_str().unwrap(), url.port().unwrap_or(5672))).await;
        (broker_through(&proxy), proxy)
    }

    /// Takes the messages that are ready in `queue` and acknowledges them. Many are on their way at once: thousands of
    /// requests for one each would take longer than a test may.
    pub async fn drain(&self, queue: &str) -> Vec<Bytes> {
        let session = self.broker.connect().await.unwrap();
        let ready = depth(&session, queue).await.expect("the queue is gone").messages;
        let mut consumer = session.consume(queue, 1_000).await.unwrap();
        let mut bodies = Vec::new();
        loop {
            if bodies.len() as u64 == ready {
                // What has come meanwhile is on its way, and is taken as well.
                consumer.cancel().await.unwrap();
            }
            let next = tokio::time::timeout(SOON, consumer.next()).await;
            let Some(delivery) = next.expect("what is ready comes") else { break };
            let delivery = delivery.unwrap();
            bodies.push(delivery.body.clone());
            delivery.ack().await.unwrap();
        }
        // The goodbye comes after all acknowledgements.
        drop(consumer);
        session.close().await;
        bodies
    }

    /// Messages that are ready in the work queue and in the wait queues. What is in somebody's hands is not among them
    /// (`World::quiet` waits for that too).
    pub async fn unfinished(&self) -> u64 {
        let session = self.broker.connect().await.unwrap();
        let mut waiting = 0;
        for queue in self.topology.queues().into_iter().filter(|queue| queue.name != self.topology.dead()) {
            waiting += depth(&session, &queue.name).await.map_or(0, |depth| depth.messages);
        }
        session.close().await;
        waiting
    }

    pub async fn delete(&self) {
        let connection = plain_connection().await;
        let channel = connection.create_channel().await.unwrap();
        for queue in self.topology.queues() {
            channel.queue_delete(queue.name.into(), QueueDeleteOptions::default()).await.unwrap();
        }
        let exchange = self.topology.events().into();
        channel.exchange_delete(exchange, ExchangeDeleteOptions::default()).await.unwrap();
    }
}

/// Runs a test on a prefix of its own and deletes its queues, also when it fails.
pub async fn scene<F: Future<Output = ()> + Send + 'static>(test: impl FnOnce(Arc<Scene>) -> F) {
    run_scene(Arc::new(Scene::new()), test).await;
}

/// The same with a scene that the caller made.
pub async fn run_scene<F: Future<Output = ()> + Send + 'static>(
    scene: Arc<Scene>,
    test: impl FnOnce(Arc<Scene>) -> F,
) {
    let ended = tokio::spawn(tokio::time::timeout(4 * SOON, test(scene.clone()))).await;
    scene.delete().await;
    match ended {
        Ok(in_time) => in_time.expect("the test takes too long"),
        Err(error) => resume_unwind(error.into_panic()),
    }
}

pub fn broker_at(url: &Url) -> Broker {
    super::storage::take_a_protection_away();
    let config = config::Broker {
        url: Some(SecretString::from(url.as_str())),
        prefix: String::new(),
        ca_file: None,
        client_certificate: None,
    };
    Broker::new(&config).unwrap()
}

/// The broker behind that proxy, with heartbeats every second.
pub fn broker_through(proxy: &Proxy) -> Broker {
    broker_at(&url_through(proxy))
}

/// Its address.
pub fn url_through(proxy: &Proxy) -> Url {
    let mut url = broker_url();
    url.set_port(Some(proxy.address().port())).unwrap();
    url.set_query(Some("heartbeat=1"));
    url
}

/// A connection that is not the program's own.
pub async fn plain_connection() -> Connection {
    plain_connection_to(&broker_url()).await
}

async fn plain_connection_to(url: &Url) -> Connection {
    Connection::connect(url.as_str(), ConnectionProperties::default()).await.unwrap()
}

/// A plain channel in confirm mode, with the connection that it lives on.
pub async fn plain() -> (Connection, Channel) {
    plain_to(&broker_url()).await
}

/// The same to another broker.
pub async fn plain_to(url: &Url) -> (Connection, Channel) {
    let connection = plain_connection_to(url).await;
    let channel = connection.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    (connection, channel)
}

/// Puts a message into a queue as another program would.
pub async fn put(queue: &str, body: &[u8], properties: BasicProperties) {
    let (_connection, channel) = plain().await;
    put_through(&channel, queue, body, properties).await;
}

/// The same through a channel in confirm mode.
pub async fn put_through(channel: &Channel, queue: &str, body: &[u8], properties: BasicProperties) {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let sent = channel.basic_publish("".into(), queue.into(), options, body, properties).await.unwrap();
    let confirmation = sent.await.unwrap();
    assert!(confirmation.is_ack() && confirmation.take_message().is_none(), "{queue}");
}

/// Declares a queue with these arguments, right or wrong.
pub async fn put_queue(name: &str, durable: bool, arguments: &[(&str, AMQPValue)]) {
    let (_connection, channel) = plain().await;
    let options = QueueDeclareOptions { durable, ..QueueDeclareOptions::default() };
    channel.queue_declare(name.into(), options, table(arguments)).await.unwrap();
}

pub fn table(entries: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in entries {
        table.insert((*name).into(), value.clone());
    }
    table
}

pub fn long(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

/// The next message of a queue, as soon as there is one, and what keeps it in our hands.
pub async fn next(session: &Session, queue: &str) -> (Browser, Delivery) {
    let mut browser = session.browse(queue).await.unwrap();
    let found = async {
        loop {
            if let Some(delivery) = browser.next().await.unwrap() {
                return delivery;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let delivery = tokio::time::timeout(SOON, found).await.expect("no message came");
    (browser, delivery)
}

/// How full a queue is; nothing where there is none.
pub async fn depth(session: &Session, queue: &str) -> Option<Depth> {
    session.depth(queue).await.unwrap()
}

/// Waits until `queue` holds `count` messages that are ready.
pub async fn until_depth(session: &Session, queue: &str, count: u64) {
    let reached = async {
        loop {
            if depth(session, queue).await.expect("the queue is gone").messages == count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, reached)
        .await
        .unwrap_or_else(|_| panic!("{queue} never held {count} messages"));
}

/// An event about one file, of either type.
pub fn event(kind: EventType, number: u128) -> Event {
    let file =
        FileRef { file_id: FileId::from(Uuid::from_u128(number)), schema: None, size: None, key: None };
    let data = match kind {
        EventType::RecordDeleted => Deleted::Record {
            schema: "Contact".try_into().unwrap(),
            record_id: Uuid::from_u128(number).into(),
            files: vec![file],
        },
        EventType::FileDeleted => Deleted::Files { files: vec![file] },
    };
    let id = Uuid::from_u128(number).to_string();
    Event::new(id, "/crm/test".to_owned(), datetime!(2026-11-23 10:00 UTC), None, data)
}

/// A message for the exchange.
pub fn outgoing(kind: EventType, number: u128) -> (Target<'static>, Outgoing) {
    (Target::Event(kind), Outgoing::fresh_event(&event(kind, number)))
}

/// The names of the headers of the first message in `queue`, which stays there.
pub async fn published_headers(queue: &str) -> Vec<String> {
    let (_connection, channel) = plain().await;
    let message = channel.basic_get(queue.into(), lapin::options::BasicGetOptions::default()).await.unwrap();
    let properties = message.expect("a message").delivery.properties.clone();
    let headers = properties.headers().clone().unwrap_or_default();
    headers.inner().keys().map(ToString::to_string).collect()
}

//! Looks at what is declared and at what this user may do, and changes nothing: no queue is made, and no message is
//! stored or taken.

use lapin::options::{BasicPublishOptions, ExchangeDeclareOptions, QueuePurgeOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, ErrorKind, ExchangeKind};
use uuid::Uuid;

use super::connect::answered;
use super::declare::{self, short};
use super::error::{BrokerError, is_missing};
use super::link::ANSWER_TIMEOUT;
use super::session::Session;
use super::topology::Topology;
use crate::event::EventType;

/// The exchange or a queue, as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Examined {
    /// Its name.
    pub name: String,
    /// How it is.
    pub is: Declared,
}

/// How something that must be declared is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Declared {
    /// As it must be.
    Fits,
    /// It is not there.
    Missing,
    /// Something else has its name: a sentence that says what differs.
    Differs(String),
    /// This user may not declare it: a sentence that names the permission.
    Refused(String),
}

impl Session {
    /// Compares the exchange and every queue with what they must be. Only what is there already is declared, which
    /// changes nothing. Bindings cannot be looked at by a client.
    pub async fn examine(&self, topology: &Topology) -> Result<Vec<Examined>, BrokerError> {
        let mut found = Vec::new();
        for queue in topology.queues() {
            let is = match self.depth(&queue.name).await? {
                None => Declared::Missing,
                Some(_) => shape(declare::queue(self.link(), &queue).await)?,
            };
            found.push(Examined { name: queue.name, is });
        }
        let name = topology.events();
        let is = if self.has_exchange(&name).await? {
            shape(declare::exchange(self.link(), &name).await)?
        } else {
            Declared::Missing
        };
        found.push(Examined { name, is });
        Ok(found)
    }

    async fn has_exchange(&self, name: &str) -> Result<bool, BrokerError> {
        let attempt = format!("looking for exchange '{name}'");
        let channel = self.link().channel().await?;
        let options = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
        let asked =
            channel.exchange_declare(short(name)?, ExchangeKind::Topic, options, FieldTable::default());
        match tokio::time::timeout(ANSWER_TIMEOUT, asked).await {
            Err(_) => Err(BrokerError::TimedOut { attempt, after: ANSWER_TIMEOUT }),
            Ok(Err(error)) if is_missing(&error) => Ok(false),
            Ok(Err(error)) => Err(BrokerError::from_lapin(attempt, &error)),
            Ok(Ok(())) => {
                answered(&attempt, ANSWER_TIMEOUT, channel.close(200, "OK".into())).await?;
                Ok(true)
            }
        }
    }

    /// Which permissions this user lacks, a sentence each, of those that can be tried on what is `there` without
    /// changing anything: to publish (in a transaction that is rolled back), to bind and to consume (queues that are
    /// empty now).
    ///
    /// # Errors
    /// [`BrokerError::Blocked`] where the broker takes no messages: then publishing could not be tried.
    pub async fn try_rights(&self, topology: &Topology, there: &[&str]) -> Result<Vec<String>, BrokerError> {
        let mut lacking = Vec::new();
        let (events, work) = (topology.events(), topology.work());
        if there.contains(&events.as_str()) && there.contains(&work.as_str()) {
            refusal(self.unbind_nothing(&events, &work).await, &mut lacking)?;
        }
        for queue in [work, topology.dead()] {
            let Some(depth) = self.depth(&queue).await? else { continue };
            if depth.messages == 0 {
                let mut browser = self.browse(&queue).await?;
                refusal(browser.next().await.map(drop), &mut lacking)?;
            }
        }
        let exchange = (events.as_str(), EventType::FileDeleted.routing_key());
        let queue = ("", "file-recycler.no-such-queue");
        for (exchange, key) in [exchange, queue] {
            if exchange.is_empty() || there.contains(&exchange) {
                refusal(self.publish_and_roll_back(exchange, key).await, &mut lacking)?;
            }
        }
        Ok(lacking)
    }

    /// May this user read any queue of the virtual host? Asked about one that nobody has, of which nothing can be taken.
    pub async fn may_read_others(&self) -> Result<bool, BrokerError> {
        let queue = Uuid::new_v4().to_string();
        let attempt = format!("asking for messages of queue '{queue}'");
        let channel = self.link().channel().await?;
        let asked = channel.queue_purge(short(&queue)?, QueuePurgeOptions::default());
        match tokio::time::timeout(ANSWER_TIMEOUT, asked).await {
            Err(_) => Err(BrokerError::TimedOut { attempt, after: ANSWER_TIMEOUT }),
            Ok(Ok(_)) => Ok(true),
            Ok(Err(error)) if is_missing(&error) => Ok(true),
            Ok(Err(error)) => match BrokerError::from_lapin(attempt, &error) {
                BrokerError::AccessRefused { .. } => Ok(false),
                error => Err(error),
            },
        }
    }

    /// A binding that does not exist: to take it away needs the same rights as to make it.
    async fn unbind_nothing(&self, exchange: &str, queue: &str) -> Result<(), BrokerError> {
        let attempt = format!("binding queue '{queue}' to exchange '{exchange}'");
        let channel = self.link().channel().await?;
        let key = short(&format!("file-recycler.{}", Uuid::new_v4()))?;
        let asked = channel.queue_unbind(short(queue)?, short(exchange)?, key, FieldTable::default());
        match tokio::time::timeout(ANSWER_TIMEOUT, asked).await {
            Err(_) => Err(BrokerError::TimedOut { attempt, after: ANSWER_TIMEOUT }),
            Ok(Err(error)) if is_missing(&error) => Ok(()),
            Ok(answer) => answer.map_err(|error| {
                BrokerError::from_lapin(attempt, &error)
                    .needing("the write permission on the queue and the read permission on the exchange")
            }),
        }
    }

    /// What a transaction that is rolled back has published was never in any queue; but rights are checked, and a
    /// broker with an alarm says so.
    async fn publish_and_roll_back(&self, exchange: &str, key: &str) -> Result<(), BrokerError> {
        let name = if exchange.is_empty() { "amq.default" } else { exchange };
        let attempt = format!("publishing to exchange '{name}'");
        let link = self.own_link().await?;
        let channel = link.channel().await?;
        answered(&attempt, ANSWER_TIMEOUT, channel.tx_select()).await?;
        let options = BasicPublishOptions::default();
        let sent =
            channel.basic_publish(short(exchange)?, short(key)?, options, b"", BasicProperties::default());
        drop(answered(&attempt, ANSWER_TIMEOUT, sent).await?);
        let rolled_back = tokio::select! {
            answer = tokio::time::timeout(ANSWER_TIMEOUT, channel.tx_rollback()) => answer,
            why = self.blocked() => return Err(BrokerError::Blocked(why)),
        };
        match rolled_back {
            Err(_) => return Err(BrokerError::TimedOut { attempt, after: ANSWER_TIMEOUT }),
            Ok(Err(error)) => {
                let needed = format!("the write permission on the exchange {name}");
                return Err(refused_or_broken(attempt, &error).needing(&needed));
            }
            Ok(Ok(())) => {}
        }
        link.close().await;
        Ok(())
    }
}

/// The broker closes a channel over a publication that it refuses, and where that comes before the rollback, the library
/// does not say why. The exchange is there, so that nothing else can be refused of it.
fn refused_or_broken(attempt: String, error: &lapin::Error) -> BrokerError {
    match error.kind() {
        ErrorKind::InvalidChannelState(..) => {
            BrokerError::AccessRefused { attempt, cause: "it closed the channel".to_owned() }
        }
        _ => BrokerError::from_lapin(attempt, error),
    }
}

fn shape(declared: Result<(), BrokerError>) -> Result<Declared, BrokerError> {
    match declared {
        Ok(()) => Ok(Declared::Fits),
        Err(BrokerError::Topology(why)) => Ok(Declared::Differs(why)),
        Err(error @ BrokerError::AccessRefused { .. }) => Ok(Declared::Refused(error.to_string())),
        Err(error) => Err(error),
    }
}

/// Keeps a refusal, and passes any other error on.
fn refusal(tried: Result<(), BrokerError>, lacking: &mut Vec<String>) -> Result<(), BrokerError> {
    match tried {
        Err(error @ BrokerError::AccessRefused { .. }) => {
            lacking.push(error.to_string());
            Ok(())
        }
        other => other,
    }
}

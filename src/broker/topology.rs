//! Names and arguments of exchange and queues: a contract with operators, other programs and older versions.

use crate::config::Delay;
use crate::event::EventType;

/// Every requeue and every closed channel counts as a delivery: a low limit would make looking destructive.
const DELIVERY_LIMIT: i64 = 1_000_000_000;

/// What the broker holds for one `broker.prefix`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    /// `broker.prefix`
    pub prefix: String,
    /// `retry.delays`, one wait queue for each.
    pub delays: Vec<Delay>,
}

/// A durable quorum queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Its name.
    pub name: String,
    /// Its `x-` arguments, each of them compared by the broker with what is there.
    pub arguments: Vec<(&'static str, Argument)>,
}

/// The value of a queue's argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Argument {
    /// A text.
    Text(String),
    /// A whole number.
    Number(i64),
}

/// A binding of the topic exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The routing key.
    pub key: &'static str,
    /// The queue that gets those messages.
    pub queue: String,
}

impl Topology {
    /// The durable topic exchange that takes events.
    pub fn events(&self) -> String {
        format!("{}.events", self.prefix)
    }

    /// The queue that workers consume.
    pub fn work(&self) -> String {
        format!("{}.work", self.prefix)
    }

    /// The queue in which a message waits for `delay`.
    pub fn wait(&self, delay: &Delay) -> String {
        format!("{}.wait.{}", self.prefix, delay.text)
    }

    /// The dead-letter queue.
    pub fn dead(&self) -> String {
        format!("{}.dead", self.prefix)
    }

    /// Every queue; a queue comes after the one that it dead-letters to.
    pub fn queues(&self) -> Vec<Queue> {
        let mut queues = vec![
            Queue { name: self.dead(), arguments: quorum() },
            Queue { name: self.work(), arguments: [quorum(), dead_letters_to(self.dead())].concat() },
        ];
        queues.extend(self.delays.iter().map(|delay| {
            let milliseconds = i64::try_from(delay.duration.as_millis()).unwrap_or(i64::MAX);
            let expiry = vec![("x-message-ttl", Argument::Number(milliseconds))];
            Queue {
                name: self.wait(delay),
                arguments: [quorum(), expiry, dead_letters_to(self.work())].concat(),
            }
        }));
        queues
    }

    /// What leads from the exchange to the work queue.
    pub fn bindings(&self) -> Vec<Binding> {
        EventType::ALL.map(|kind| Binding { key: kind.routing_key(), queue: self.work() }).to_vec()
    }
}

fn quorum() -> Vec<(&'static str, Argument)> {
    vec![
        ("x-queue-type", Argument::Text("quorum".to_owned())),
        ("x-delivery-limit", Argument::Number(DELIVERY_LIMIT)),
    ]
}

/// At least once needs `reject-publish`; with the default overflow the broker falls back to at most once.
fn dead_letters_to(queue: String) -> Vec<(&'static str, Argument)> {
    vec![
        ("x-dead-letter-exchange", Argument::Text(String::new())),
        ("x-dead-letter-routing-key", Argument::Text(queue)),
        ("x-dead-letter-strategy", Argument::Text("at-least-once".to_owned())),
        ("x-overflow", Argument::Text("reject-publish".to_owned())),
    ]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn shown(queue: &Queue) -> String {
        let arguments: Vec<String> = queue
            .arguments
            .iter()
            .map(|(name, value)| match value {
                Argument::Text(text) => format!("{name}={text}"),
                Argument::Number(number) => format!("{name}={number}"),
            })
            .collect();
        format!("{}: {}", queue.name, arguments.join(" "))
    }

    #[test]
    fn names_and_arguments_are_what_the_contract_says() {
        let delay = Delay { text: "10s".to_owned(), duration: Duration::from_secs(10) };
        let topology = Topology { prefix: "fr".to_owned(), delays: vec![delay] };
        let dead_letters = "x-dead-letter-strategy=at-least-once x-overflow=reject-publish";
        let quorum = "x-queue-type=quorum x-delivery-limit=1000000000";
        assert_eq!(
            topology.queues().iter().map(shown).collect::<Vec<_>>(),
            [
                format!("fr.dead: {quorum}"),
                format!(
                    "fr.work: {quorum} x-dead-letter-exchange= x-dead-letter-routing-key=fr.dead {dead_letters}"
                ),
                format!(
                    "fr.wait.10s: {quorum} x-message-ttl=10000 \
                     x-dead-letter-exchange= x-dead-letter-routing-key=fr.work {dead_letters}"
                ),
            ]
        );
        assert_eq!(topology.events(), "fr.events");
        let bindings: Vec<_> = topology.bindings().into_iter().map(|b| (b.key, b.queue)).collect();
        assert_eq!(bindings, [("record.deleted", "fr.work".into()), ("file.deleted", "fr.work".into())]);
    }

    #[test]
    fn without_delays_there_is_no_wait_queue() {
        let topology = Topology { prefix: "fr".to_owned(), delays: Vec::new() };
        assert_eq!(topology.queues().len(), 2);
    }
}

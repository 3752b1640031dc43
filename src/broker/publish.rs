//! Publishing with confirms: `Ok` means that the broker has stored the message in a queue, durably.
//!
//! One task owns the channel and publishes in windows: everything that was asked for meanwhile goes out
//! together, then all its confirms are awaited. So hundreds of messages are on their way at once, and still no
//! two windows overlap, which `window.rs` needs to tell returned messages from stored ones.

use lapin::options::ConfirmSelectOptions;
use tokio::sync::{mpsc, oneshot};

use super::alarm::Alarm;
use super::connect::answered;
use super::declare::short;
use super::error::BrokerError;
use super::link::{ANSWER_TIMEOUT, Link};
use super::message::Outgoing;
use super::session::Condition;
use super::topology::Topology;
use super::window::{Address, Letter, Patience, Window};
use crate::config::Delay;
use crate::event::EventType;

/// Most messages in one window.
const MAX_WINDOW: usize = 1_024;
/// Callers that may wait for the next window.
const MAX_WAITING: usize = 1_024;

/// Where a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// The topic exchange, by the event's routing key.
    Event(EventType),
    /// The work queue.
    Work,
    /// The wait queue of this delay.
    Wait(&'a Delay),
    /// The dead-letter queue.
    Dead,
}

/// A publisher. Clones share its connection, which ends with the last of them.
#[derive(Clone)]
pub struct Publisher {
    requests: mpsc::Sender<Request>,
    topology: Topology,
    condition: Condition,
    alarm: Alarm,
}

struct Request {
    letters: Vec<Letter>,
    reply: Reply,
}

impl Publisher {
    pub(super) async fn start(
        link: Link,
        topology: Topology,
        patience: Patience,
        condition: Condition,
        alarm: &Alarm,
    ) -> Result<Self, BrokerError> {
        let channel = link.channel().await?;
        let confirms = channel.confirm_select(ConfirmSelectOptions::default());
        answered("asking for confirms", ANSWER_TIMEOUT, confirms).await?;
        let (requests, incoming) = mpsc::channel(MAX_WAITING);
        let window = Window::new(channel, patience, alarm.clone());
        tokio::spawn(serve(incoming, window, link, condition.clone()));
        Ok(Self { requests, topology, condition, alarm: alarm.clone() })
    }

    /// Publishes one message and waits for its confirm. Many may be under way at once.
    ///
    /// # Errors
    /// After any error the message may be in the queue all the same (but for [`BrokerError::Unroutable`], when
    /// it is not, or not only): publish it again, under the same id.
    pub async fn publish(&self, target: Target<'_>, message: Outgoing) -> Result<(), BrokerError> {
        let letter = self.letter(target, message)?;
        // One letter, one answer.
        self.send(vec![letter]).await.pop().unwrap_or_else(|| Err(self.gone()))
    }

    /// Publishes all messages and waits for all confirms; the answers are in the messages' order.
    pub async fn publish_all(&self, messages: Vec<(Target<'_>, Outgoing)>) -> Vec<Result<(), BrokerError>> {
        let mut answers = Vec::with_capacity(messages.len());
        let mut messages = messages.into_iter().peekable();
        while messages.peek().is_some() {
            let window = messages.by_ref().take(MAX_WINDOW);
            let letters: Result<Vec<Letter>, BrokerError> =
                window.map(|(target, message)| self.letter(target, message)).collect();
            match letters {
                Ok(letters) => answers.extend(self.send(letters).await),
                // The prefix is too long: no message of this publisher has an address.
                Err(error) => {
                    let rest = answers.capacity() - answers.len();
                    answers.extend(std::iter::repeat_n(Err(error), rest));
                    break;
                }
            }
        }
        answers
    }

    /// Waits until the broker takes messages, as far as is known: after [`BrokerError::Blocked`], before the next try.
    pub async fn unblocked(&self) {
        self.alarm.over().await;
    }

    async fn send(&self, letters: Vec<Letter>) -> Vec<Result<(), BrokerError>> {
        let count = letters.len();
        let (reply, answer) = oneshot::channel();
        if self.requests.send(Request { letters, reply }).await.is_ok()
            && let Ok(answers) = answer.await
        {
            return answers;
        }
        vec![Err(self.gone()); count]
    }

    fn gone(&self) -> BrokerError {
        self.condition.why_ended().unwrap_or_else(|| BrokerError::Connection {
            attempt: "publishing".to_owned(),
            cause: "the publisher has ended".to_owned(),
        })
    }

    fn letter(&self, target: Target<'_>, message: Outgoing) -> Result<Letter, BrokerError> {
        let (exchange, routing_key) = match target {
            Target::Event(kind) => (self.topology.events(), kind.routing_key().to_owned()),
            // The default exchange leads to the queue of that name.
            Target::Work => (String::new(), self.topology.work()),
            Target::Wait(delay) => (String::new(), self.topology.wait(delay)),
            Target::Dead => (String::new(), self.topology.dead()),
        };
        let address = Address { exchange: short(&exchange)?, routing_key: short(&routing_key)? };
        Ok(Letter { address, message })
    }
}

/// Publishes window after window until every publisher is gone or the channel is broken.
async fn serve(mut requests: mpsc::Receiver<Request>, mut window: Window, link: Link, condition: Condition) {
    let mut left_over = None;
    loop {
        let first = match left_over.take() {
            Some(request) => request,
            None => match requests.recv().await {
                Some(request) => request,
                None => break,
            },
        };
        let (letters, replies);
        (letters, replies, left_over) = gather(first, &mut requests);
        let mut answers = window.publish(letters).await.into_iter();
        for (count, reply) in replies {
            // Nobody may be waiting any more.
            let _ = reply.send(answers.by_ref().take(count).collect());
        }
        if let Some(error) = window.broken() {
            condition.ended(error);
            break;
        }
    }
    link.close().await;
}

type Reply = oneshot::Sender<Vec<Result<(), BrokerError>>>;

/// `first` and everything that waits behind it and fits into the same window; what did not fit comes last.
fn gather(
    first: Request,
    requests: &mut mpsc::Receiver<Request>,
) -> (Vec<Letter>, Vec<(usize, Reply)>, Option<Request>) {
    let mut letters = first.letters;
    let mut replies = vec![(letters.len(), first.reply)];
    while let Ok(request) = requests.try_recv() {
        if letters.len() + request.letters.len() > MAX_WINDOW {
            return (letters, replies, Some(request));
        }
        replies.push((request.letters.len(), request.reply));
        letters.extend(request.letters);
    }
    (letters, replies, None)
}

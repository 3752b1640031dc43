//! Reading a queue from its head to its end without consuming it, in order, and putting everything back in order.
//!
//! Asking for one message after another (`basic.get`) is no way through a long queue: each is a consumer of its own
//! to a quorum queue, a millisecond or more apart, and when the channel closes they return in any order. So this
//! consumes, a window at a time, and gives back by itself, oldest first. Only where the process dies in the middle
//! the broker does that, window by window in an order of its own.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::Channel;
use lapin::options::{
    BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;

use super::connect::answered;
use super::consume::Delivery;
use super::declare::short;
use super::error::BrokerError;
use super::link::{ANSWER_TIMEOUT, Link};

/// Messages that are on their way to us at once: a message may have some megabytes.
const WINDOW: u16 = 64;
/// Messages that are given back together. A quorum queue puts what is returned at once into the order of a hash
/// map, which is the order of death up to 32 (RabbitMQ 3.10, `rabbit_fifo:return`; Erlang's small maps).
const TOGETHER: usize = 32;
/// How long the broker may take to put them into their places. The next come after that: the broker gathers what it
/// has no time for by consumer (`rabbit_fifo_client`), and with that their order is lost.
const BACK_WITHIN: Duration = Duration::from_secs(3);
const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// Where no message comes for so long, none is on its way.
const NOTHING_ON_ITS_WAY: Duration = Duration::from_millis(300);
/// Where no message comes for so long, the rest is in somebody else's hands.
const NOTHING_COMES: Duration = Duration::from_secs(3);

/// A reader. What it has read stays hidden from others until it ends or is dropped.
pub struct Reader {
    channel: Channel,
    queue: String,
    window: Option<Window>,
    /// What was read and not taken, by its tag.
    held: BTreeSet<u64>,
    _link: Arc<Link>,
}

/// The consumer of one window.
struct Window {
    deliveries: lapin::Consumer,
    /// Messages of this window that are in hand. As many as fit: the broker sends no more, and none is on its way.
    held: BTreeSet<u64>,
}

impl Window {
    fn is_full(&self) -> bool {
        self.held.len() >= usize::from(WINDOW)
    }
}

impl Reader {
    pub(super) async fn open(link: Arc<Link>, queue: &str) -> Result<Self, BrokerError> {
        let channel = link.channel().await?;
        let attempt = format!("reading queue '{queue}'");
        answered(&attempt, ANSWER_TIMEOUT, channel.basic_qos(WINDOW, BasicQosOptions::default())).await?;
        Ok(Self { channel, queue: queue.to_owned(), window: None, held: BTreeSet::new(), _link: link })
    }

    /// The next message; `None` when none comes any more.
    pub async fn next(&mut self) -> Result<Option<Delivery>, BrokerError> {
        self.next_within(NOTHING_COMES).await
    }

    async fn next_within(&mut self, patience: Duration) -> Result<Option<Delivery>, BrokerError> {
        if self.window.as_ref().is_some_and(Window::is_full) {
            self.end_window().await?;
        }
        let mut window = match self.window.take() {
            Some(window) => window,
            None => self.open_window().await?,
        };
        let next = tokio::time::timeout(patience, window.deliveries.next()).await;
        match next {
            Err(_) => {
                self.window = Some(window);
                Ok(None)
            }
            Ok(Some(Ok(delivery))) => {
                window.held.insert(delivery.delivery_tag);
                self.window = Some(window);
                self.held.insert(delivery.delivery_tag);
                Ok(Some(Delivery::new(delivery)))
            }
            Ok(Some(Err(error))) => Err(BrokerError::from_lapin(self.attempt(), &error)),
            Ok(None) => {
                let cause = "the broker ended it, or the connection broke".to_owned();
                Err(BrokerError::Connection { attempt: self.attempt(), cause })
            }
        }
    }

    /// Waits until the broker has everything that was said before: an acknowledgement has no answer of its own.
    pub async fn settled(&self) -> Result<(), BrokerError> {
        let asked = self.channel.basic_qos(WINDOW, BasicQosOptions::default());
        answered(&self.attempt(), ANSWER_TIMEOUT, asked).await
    }

    /// This message was acknowledged: it is not given back.
    pub fn taken(&mut self, tag: u64) {
        self.held.remove(&tag);
        if let Some(window) = &mut self.window {
            window.held.remove(&tag);
        }
    }

    /// Gives everything back that was not taken, in its order, and waits until the broker has it in its place.
    pub async fn end(mut self) -> Result<(), BrokerError> {
        // What is on its way comes first: the broker would put it back by itself, before what is in hand.
        while self.window.as_ref().is_some_and(|window| !window.is_full())
            && self.next_within(NOTHING_ON_ITS_WAY).await?.is_some()
        {}
        self.end_window().await?;
        let held: Vec<u64> = std::mem::take(&mut self.held).into_iter().collect();
        let (mut back, mut alone) = (0, true);
        for together in held.chunks(TOGETHER) {
            let Some(last) = together.last() else { continue };
            let options = BasicNackOptions { multiple: true, requeue: true };
            answered(&self.attempt(), ANSWER_TIMEOUT, self.channel.basic_nack(*last, options)).await?;
            back += together.len();
            // Where somebody else takes them at once, there is nothing to wait for.
            alone = alone && self.until_depth(back).await?;
        }
        answered(&self.attempt(), ANSWER_TIMEOUT, self.channel.close(200, "OK".into())).await
    }

    /// Waits until the queue has `count` messages; `false` when it never had.
    async fn until_depth(&self, count: usize) -> Result<bool, BrokerError> {
        let patience = tokio::time::Instant::now() + BACK_WITHIN;
        loop {
            let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
            let asked = self.channel.queue_declare(short(&self.queue)?, options, FieldTable::default());
            let depth = answered(&self.attempt(), ANSWER_TIMEOUT, asked).await?.message_count();
            if depth as usize >= count {
                return Ok(true);
            }
            if tokio::time::Instant::now() >= patience {
                return Ok(false);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    async fn open_window(&self) -> Result<Window, BrokerError> {
        let options = BasicConsumeOptions::default();
        let started =
            self.channel.basic_consume(short(&self.queue)?, "".into(), options, FieldTable::default());
        let deliveries = answered(&self.attempt(), ANSWER_TIMEOUT, started).await;
        let deliveries = deliveries.map_err(|error| error.needing("the read permission on it"))?;
        Ok(Window { deliveries, held: BTreeSet::new() })
    }

    /// Ends the consumer of a window of which nothing is on its way; its messages stay in hand.
    async fn end_window(&mut self) -> Result<(), BrokerError> {
        let Some(window) = self.window.take() else { return Ok(()) };
        let told = self.channel.basic_cancel(window.deliveries.tag(), BasicCancelOptions::default());
        answered(&self.attempt(), ANSWER_TIMEOUT, told).await
    }

    fn attempt(&self) -> String {
        format!("reading queue '{}'", self.queue)
    }
}

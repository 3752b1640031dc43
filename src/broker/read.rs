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
    received: u16,
    cancelled: bool,
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
        loop {
            let mut window = match self.window.take() {
                Some(window) => window,
                None => self.open_window().await?,
            };
            if window.received >= WINDOW && !window.cancelled {
                // What was on its way comes before the end. Its messages stay in hand.
                self.cancel(&mut window).await?;
            }
            let Ok(next) = tokio::time::timeout(NOTHING_COMES, window.deliveries.next()).await else {
                self.window = Some(window);
                return Ok(None);
            };
            match next {
                Some(Ok(delivery)) => {
                    window.received = window.received.saturating_add(1);
                    self.window = Some(window);
                    self.held.insert(delivery.delivery_tag);
                    return Ok(Some(Delivery::new(delivery)));
                }
                Some(Err(error)) => return Err(BrokerError::from_lapin(self.attempt(), &error)),
                None if window.cancelled => {}
                None => {
                    let cause = "the broker ended it, or the connection broke".to_owned();
                    return Err(BrokerError::Connection { attempt: self.attempt(), cause });
                }
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
    }

    /// Gives everything back that was not taken, in its order, and waits until the broker has it in its place.
    pub async fn end(mut self) -> Result<(), BrokerError> {
        if let Some(mut window) = self.window.take() {
            if !window.cancelled {
                self.cancel(&mut window).await?;
            }
            while let Some(Ok(delivery)) = window.deliveries.next().await {
                self.held.insert(delivery.delivery_tag);
            }
        }
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
        let deliveries = answered(&self.attempt(), ANSWER_TIMEOUT, started).await?;
        Ok(Window { deliveries, received: 0, cancelled: false })
    }

    async fn cancel(&self, window: &mut Window) -> Result<(), BrokerError> {
        window.cancelled = true;
        let told = self.channel.basic_cancel(window.deliveries.tag(), BasicCancelOptions::default());
        answered(&self.attempt(), ANSWER_TIMEOUT, told).await
    }

    fn attempt(&self) -> String {
        format!("reading queue '{}'", self.queue)
    }
}

//! A walk along the dead-letter queue: message by message, in the order of death, bounded by what was there when it
//! began, and without a memory of what it has passed.
//!
//! What a walk has seen is hidden from others until it ends, and nothing is lost by it: everything that was not
//! taken returns to its place.

use std::time::Duration;

use tokio::time::Instant;

use super::select::{DeadLetter, Selection};
use crate::broker::{BrokerError, Delivery, Reader, Session, Topology};
use crate::failpoint;

/// The broker takes messages back that are in hand for half an hour; a walk begins anew long before.
const ANEW_AFTER: Duration = Duration::from_mins(10);

/// A walk. Messages that join the queue after its beginning are left for the next one.
pub struct Walk<'a> {
    session: &'a Session,
    queue: String,
    selection: &'a Selection,
    reader: Reader,
    began: Instant,
    anew_after: Duration,
    /// Messages that were there at the beginning and are still there.
    there: u64,
    /// Of these, those that were passed since the walk last began anew.
    passed: u64,
    /// Chosen messages that may still be given out.
    wanted: usize,
}

impl<'a> Walk<'a> {
    /// Begins at the queue's head.
    pub async fn begin(
        session: &'a Session,
        topology: &Topology,
        selection: &'a Selection,
    ) -> Result<Self, BrokerError> {
        let queue = topology.dead();
        let there = session.depth(&queue).await?.map_or(0, |depth| depth.messages);
        let reader = session.read(&queue).await?;
        let wanted = selection.limit;
        let (began, anew_after) = (Instant::now(), ANEW_AFTER);
        Ok(Self { session, queue, selection, reader, began, anew_after, there, passed: 0, wanted })
    }

    /// Messages that the queue had at the beginning, less those that were taken since.
    pub fn total(&self) -> u64 {
        self.there
    }

    /// The next chosen message; nothing at the end.
    pub async fn next(&mut self) -> Result<Option<(DeadLetter, Delivery)>, BrokerError> {
        while self.wanted > 0
            && (self.passed < self.there || failpoint::removed("protection::boundary_of_replay"))
        {
            let Some(delivery) = self.reader.next().await? else { return Ok(None) };
            self.passed += 1;
            let letter = DeadLetter::read(&delivery);
            if self.selection.matches(&letter) {
                self.wanted -= 1;
                return Ok(Some((letter, delivery)));
            }
        }
        Ok(None)
    }

    /// Takes note that messages were acknowledged, by their tags, and waits until the broker has done so.
    pub async fn taken(&mut self, tags: &[u64]) -> Result<(), BrokerError> {
        self.reader.settled().await?;
        for tag in tags {
            self.reader.taken(*tag);
        }
        let count = tags.len() as u64;
        self.there = self.there.saturating_sub(count);
        self.passed = self.passed.saturating_sub(count);
        Ok(())
    }

    /// Messages that were there at the beginning and did not come: they are in somebody else's hands, or the broker
    /// is slow.
    pub fn missed(&self) -> u64 {
        if self.wanted > 0 { self.there.saturating_sub(self.passed) } else { 0 }
    }

    /// Lets go of what was passed, where it has been in hand for long, and begins at the head again. Only for a
    /// walk whose chosen messages were all taken out: the others would be met again.
    pub async fn refresh(&mut self) -> Result<(), BrokerError> {
        if self.began.elapsed() < self.anew_after {
            return Ok(());
        }
        let anew = self.session.read(&self.queue).await?;
        let reader = std::mem::replace(&mut self.reader, anew);
        reader.end().await?;
        self.passed = 0;
        self.began = Instant::now();
        Ok(())
    }

    /// Ends the walk: everything that was not taken is back in its place.
    pub async fn end(self) -> Result<(), BrokerError> {
        self.reader.end().await
    }

    /// The same walk, which begins anew so often: for tests of that.
    #[must_use]
    pub fn anew_after(mut self, pause: Duration) -> Self {
        self.anew_after = pause;
        self
    }
}

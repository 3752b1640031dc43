//! The loop from outbox to broker: lock, compose, publish, delete what was confirmed, commit.
//!
//! Dying anywhere in between leaves the rows, which give the same events under the same ids again.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::compose::{Composed, compose};
use super::pace::Pace;
use crate::broker::{BrokerError, Outgoing, Publisher, Target};
use crate::db::low_water::LowWater;
use crate::db::outbox::{Backlog, Limits, OutboxBatch};
use crate::db::{Db, DbError};
use crate::event::EventType;
use crate::failpoint;
use crate::outcome::{Advice, Dependency, Failure};

/// How much one batch holds: a few seconds of publishing, some ten megabytes.
const LIMITS: Limits = Limits { rows: 1_000, ids: 5_000 };
/// What a test has in their place, to show that they are needed.
const UNLIMITED: Limits = Limits { rows: u32::MAX, ids: u32::MAX };
/// Rows are locked while their events are published; not longer than this.
const PUBLISH_WITHIN: Duration = Duration::from_secs(30);
/// How long a turn may take: the publishing, and some statements that the server ends after thirty seconds each.
const TURN_WITHIN: Duration = Duration::from_mins(5);
/// How often the backlog is counted.
const COUNT_EVERY: Duration = Duration::from_secs(5);

/// May anything be published now? Asked before each batch: a guard that refuses and an operator who paused say no.
pub trait Gate: Send + Sync {
    /// Whether the next batch may be taken.
    fn may_proceed(&self) -> impl Future<Output = bool> + Send;
}

impl<F, Answer> Gate for F
where
    F: Fn() -> Answer + Send + Sync,
    Answer: Future<Output = bool> + Send,
{
    fn may_proceed(&self) -> impl Future<Output = bool> + Send {
        self()
    }
}

/// Hears what the relay does: for metrics and health.
pub trait Observer: Send + Sync {
    /// A batch has left the outbox.
    fn relayed(&self, relayed: &Relayed);
    /// How much waits, every few seconds.
    fn backlog(&self, backlog: &Backlog);
}

/// What one batch came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Relayed {
    /// Outbox rows that are gone.
    pub rows: usize,
    /// Confirmed record-deleted events.
    pub record_events: usize,
    /// Confirmed file-deleted events.
    pub file_events: usize,
}

/// What one turn came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// There was nothing to take.
    Idle,
    /// What there is waits for transactions that may write beside it.
    Waiting,
    /// This much was published and is gone from the outbox.
    Relayed(Relayed),
}

/// A relay. Several may run at once, in one process or many: each takes rows that no other holds.
pub struct Relay {
    db: Db,
    environment: Uuid,
    source: String,
    grace: Duration,
    low_water: LowWater,
}

impl Relay {
    /// A relay of `environment`'s outbox. Rows wait there for `grace`; `database` is its name, for the events'
    /// `source`.
    pub fn new(db: Db, environment: Uuid, database: &str, grace: Duration) -> Self {
        Self { db, environment, source: format!("/crm/{database}"), grace, low_water: LowWater::default() }
    }

    /// Relays until `stop` (then the batch in flight is finished first) or until something fails.
    ///
    /// # Errors
    /// The first failure, with what to do about it. Nothing is lost by it: call again when it is time.
    pub async fn run(
        &mut self,
        publisher: &Publisher,
        poll: Duration,
        gate: &impl Gate,
        observer: &impl Observer,
        stop: &CancellationToken,
    ) -> Result<(), Failure> {
        let mut pace = Pace::new(poll);
        let mut counted: Option<Instant> = None;
        while !stop.is_cancelled() {
            if counted.is_none_or(|at| at.elapsed() >= COUNT_EVERY) {
                observer.backlog(&self.db.backlog().await?);
                counted = Some(Instant::now());
            }
            let wait = if gate.may_proceed().await {
                match self.in_time(publisher, observer).await? {
                    Turn::Relayed(_) => {
                        pace.worked();
                        continue;
                    }
                    Turn::Waiting => pace.waiting(),
                    Turn::Idle => pace.idle(),
                }
            } else {
                pace.longest()
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
        Ok(())
    }

    /// A turn that ends, whatever becomes of the database: where its machine goes without a word, nobody else says so.
    async fn in_time(&mut self, publisher: &Publisher, observer: &impl Observer) -> Result<Turn, Failure> {
        let turn = tokio::time::timeout(TURN_WITHIN, self.once(publisher, observer)).await;
        turn.unwrap_or_else(|_| {
            let silent = "the database does not answer while a batch of the outbox is published";
            Err(Failure::new(Advice::Outage(Dependency::Database), silent))
        })
    }

    /// Takes one batch and publishes it.
    ///
    /// # Errors
    /// Rows whose events were all confirmed are gone even so; the others are still there and free.
    pub async fn once(&mut self, publisher: &Publisher, observer: &impl Observer) -> Result<Turn, Failure> {
        let limits = if failpoint::removed("protection::relay_batch") { UNLIMITED } else { LIMITS };
        let grace = if failpoint::removed("protection::grace") { Duration::ZERO } else { self.grace };
        let Some(batch) = self.db.begin_batch(limits, &mut self.low_water, grace).await? else {
            return Ok(if self.low_water.waits() { Turn::Waiting } else { Turn::Idle });
        };
        failpoint::reach("relay::locked");
        let composed = compose(batch.rows(), self.environment, &self.source);
        failpoint::reach("relay::composed");
        let answers = match publish(publisher, &composed).await {
            Ok(answers) => answers,
            Err(failure) => {
                batch.rollback().await?;
                return Err(failure);
            }
        };
        failpoint::reach("relay::after_publish");
        let confirmed = Confirmed::of(&batch, &composed, &answers);
        finish(batch, &confirmed).await?;
        observer.relayed(&confirmed.relayed);
        match answers.into_iter().find_map(Result::err) {
            Some(error) => Err(error.into()),
            None => Ok(Turn::Relayed(confirmed.relayed)),
        }
    }
}

async fn publish(
    publisher: &Publisher,
    composed: &[Composed],
) -> Result<Vec<Result<(), BrokerError>>, Failure> {
    let messages = composed
        .iter()
        .map(|composed| (Target::Event(composed.event.event_type()), Outgoing::fresh_event(&composed.event)))
        .collect();
    let publishing = publisher.publish_all(messages);
    tokio::time::timeout(PUBLISH_WITHIN, publishing).await.map_err(|_| {
        let attempt = "publishing a batch of the outbox".to_owned();
        BrokerError::TimedOut { attempt, after: PUBLISH_WITHIN }.into()
    })
}

async fn finish(mut batch: OutboxBatch, confirmed: &Confirmed) -> Result<(), DbError> {
    if confirmed.rows.is_empty() {
        return batch.rollback().await;
    }
    batch.delete(&confirmed.rows).await?;
    failpoint::reach("relay::before_commit");
    batch.commit().await?;
    failpoint::reach("relay::after_commit");
    Ok(())
}

/// The rows whose every event was confirmed.
struct Confirmed {
    rows: Vec<i64>,
    relayed: Relayed,
}

impl Confirmed {
    fn of(batch: &OutboxBatch, composed: &[Composed], answers: &[Result<(), BrokerError>]) -> Self {
        let mut relayed = Relayed::default();
        let mut kept = HashSet::new();
        // An event without an answer would be one without a confirm.
        let answers = answers.iter().map(Result::is_ok).chain(std::iter::repeat(false));
        for (composed, confirmed) in composed.iter().zip(answers) {
            match (confirmed, composed.event.event_type()) {
                (false, _) if failpoint::removed("protection::delete_only_confirmed") => {}
                (false, _) => kept.extend(composed.rows.iter().copied()),
                (true, EventType::RecordDeleted) => relayed.record_events += 1,
                (true, EventType::FileDeleted) => relayed.file_events += 1,
            }
        }
        let rows: Vec<i64> =
            batch.rows().iter().map(|row| row.row).filter(|row| !kept.contains(row)).collect();
        relayed.rows = rows.len();
        Self { rows, relayed }
    }
}

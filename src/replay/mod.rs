//! The dead-letter queue: look at it without losing anything, choose, send back to work.

mod select;

use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use crate::broker::{BrokerError, Browser, Delivery, Outgoing, Session, Target, Topology};
use crate::clock::Clock;
use crate::db::{Actor, Db, DbError};

pub use select::{DeadLetter, Selection};

/// Messages that are replayed before their outcomes are waited for.
const WINDOW: usize = 100;
/// How long a replay waits for the next outcome: the workers may be busy, or not running at all.
const OUTCOME_PATIENCE: Duration = Duration::from_mins(1);
/// How long the broker may take to confirm a replayed message.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(30);
/// How often outcomes are looked up.
const OUTCOME_POLL: Duration = Duration::from_millis(100);

/// Why the dead-letter queue could not be worked on.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The broker's trouble.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The database's trouble.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// What a replay did.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Summary {
    /// Was it more than a dry run?
    pub applied: bool,
    /// The replay's id: its messages are in `file_recycler.replay` under it.
    pub replay: Option<Uuid>,
    /// Messages that were chosen.
    pub selected: usize,
    /// Messages that went back to work, confirmed.
    pub replayed: usize,
    /// Replayed messages that are done.
    pub succeeded: usize,
    /// Replayed messages that failed again; one that waits for another try counts.
    pub failed: usize,
    /// Chosen messages that are still in the dead-letter queue.
    pub left: usize,
    /// Why it stopped early; nothing when it went through.
    pub stopped: Option<String>,
}

/// Takes every chosen message that is in the dead-letter queue now, without acknowledging any: they return
/// to their places when the browser is closed. Gives the queue's length along.
pub async fn look(
    session: &Session,
    browser: &mut Browser,
    topology: &Topology,
    selection: &Selection,
) -> Result<(u64, Vec<(DeadLetter, Delivery)>), BrokerError> {
    let total = session.depth(&topology.dead()).await?.map_or(0, |depth| depth.messages);
    let mut chosen = Vec::new();
    // Messages that join the queue meanwhile are left for the next look.
    for _ in 0..total {
        if chosen.len() >= selection.limit {
            break;
        }
        let Some(delivery) = browser.next().await? else { break };
        let letter = DeadLetter::read(&delivery);
        if selection.matches(&letter) {
            chosen.push((letter, delivery));
        }
    }
    Ok((total, chosen))
}

/// What a replay works with.
pub struct Replay<'a> {
    /// Where the messages are.
    pub session: &'a Session,
    /// Names of the queues.
    pub topology: &'a Topology,
    /// Where the outcomes are noted.
    pub db: &'a Db,
    /// Who replays.
    pub operator: Actor,
    /// Stops when so many messages have failed again.
    pub max_failures: Option<usize>,
    /// The time.
    pub clock: Clock,
}

/// Sends the chosen messages back to the work queue, in their order; each is removed from the dead-letter
/// queue only after its replay was confirmed. `progress` hears how far it is.
pub async fn replay(
    with: &Replay<'_>,
    chosen: Vec<(DeadLetter, Delivery)>,
    progress: &impl Fn(&Summary),
) -> Result<Summary, ReplayError> {
    let Replay { session, topology, db, operator, max_failures, clock } = with;
    let replay = Uuid::new_v4();
    let mut summary = Summary {
        applied: true,
        replay: Some(replay),
        selected: chosen.len(),
        left: chosen.len(),
        ..Summary::default()
    };
    let publisher = session.publisher(topology, CONFIRM_TIMEOUT).await?;
    let mut waiting = chosen.into_iter().peekable();
    while waiting.peek().is_some() {
        let window: Vec<_> = waiting
            .by_ref()
            .take(window(*max_failures, summary.failed))
            .map(|(letter, delivery)| (Uuid::new_v4(), letter.id, delivery))
            .collect();
        let tokens: Vec<_> = window.iter().map(|(token, id, _)| (*token, id.clone())).collect();
        db.replay_begin(replay, &tokens, operator).await?;
        for (token, _, delivery) in window {
            let outgoing = Outgoing::again(&delivery, None, &delivery.history.replayed(token));
            publisher.publish(Target::Work, outgoing).await?;
            crate::failpoint::reach("replay::before_ack");
            delivery.ack().await?;
            db.replay_published(token, clock.now()).await?;
            summary.replayed += 1;
            summary.left -= 1;
        }
        let complete = await_outcomes(db, replay, &mut summary, progress).await?;
        if !complete {
            summary.stopped = Some(format!(
                "no outcome came for {} s: is a worker running? the replayed messages are in the work queue",
                OUTCOME_PATIENCE.as_secs()
            ));
            break;
        }
        if max_failures.is_some_and(|most| summary.failed >= most) {
            summary.stopped = Some(format!("{} messages failed again", summary.failed));
            break;
        }
    }
    Ok(summary)
}

/// How many messages may be under way: never more than may still fail.
fn window(max_failures: Option<usize>, failed: usize) -> usize {
    max_failures.map_or(WINDOW, |most| most.saturating_sub(failed).clamp(1, WINDOW))
}

/// Waits until every replayed message has its outcome; `false` when none came for too long.
async fn await_outcomes(
    db: &Db,
    replay: Uuid,
    summary: &mut Summary,
    progress: &impl Fn(&Summary),
) -> Result<bool, DbError> {
    let mut last_progress = Instant::now();
    loop {
        let outcomes = db.replay_outcomes(replay).await?;
        let before = summary.succeeded + summary.failed;
        summary.succeeded = outcomes.succeeded;
        summary.failed = outcomes.failed;
        let after = summary.succeeded + summary.failed;
        progress(summary);
        if after >= summary.replayed {
            return Ok(true);
        }
        if after > before {
            last_progress = Instant::now();
        } else if last_progress.elapsed() > OUTCOME_PATIENCE {
            return Ok(false);
        }
        tokio::time::sleep(OUTCOME_POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_messages_are_under_way_than_may_still_fail() {
        for (most, failed, expected) in
            [(None, 7, WINDOW), (Some(1), 0, 1), (Some(5), 2, 3), (Some(5), 9, 1), (Some(1_000), 0, WINDOW)]
        {
            assert_eq!(window(most, failed), expected);
        }
    }
}

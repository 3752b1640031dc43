//! A replay: the chosen messages go back to work in the order of their death, each is removed from the dead-letter
//! queue only after its publication was confirmed, and the outcome of each is waited for.
//!
//! What a replay has begun is noted before, so that the next one finishes what was cut off: a message whose
//! publication is known to have been confirmed is only removed; one of which that is not known is published again
//! under the same token, and counted as possibly replayed twice.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::ReplayError;
use super::pace::{Pace, Wanted};
use super::select::fingerprint;
use super::walk::Walk;
use crate::broker::{BrokerError, Delivery, Outgoing, Publisher, Session, Target, Topology};
use crate::clock::Clock;
use crate::db::replay::Replayed;
use crate::db::{Actor, Db, DbError};
use crate::failpoint;
use crate::outcome::DeadReason;
use crate::stop::Stop;

/// How long a replay waits for the next outcome: the workers may be busy, or not running at all.
const OUTCOME_PATIENCE: Duration = Duration::from_mins(1);
/// How long the broker may take to confirm a replayed message.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(30);
/// How often outcomes are looked up.
const OUTCOME_POLL: Duration = Duration::from_millis(100);

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
    /// Messages that an earlier replay, which was cut off, had sent back to work: now they were removed.
    pub finished_earlier: usize,
    /// Messages that an earlier replay, which was cut off, may have sent back to work already: perhaps twice now.
    pub maybe_twice: usize,
    /// Messages that are dead again for the reason that they were dead for before, by reason.
    pub same_reason: Vec<(String, usize)>,
    /// Why it stopped early; nothing when it went through.
    pub stopped: Option<String>,
}

impl Summary {
    /// Messages whose outcome is awaited.
    fn under_way(&self) -> usize {
        (self.replayed + self.finished_earlier).saturating_sub(self.succeeded + self.failed)
    }
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
    /// How fast, and when it stops by itself.
    pub wanted: Wanted,
    /// The time.
    pub clock: Clock,
    /// When somebody wants it to stop.
    pub stop: Stop,
}

/// A chosen message with its token.
struct Chosen {
    token: Uuid,
    /// An earlier replay had begun with it.
    again: bool,
    /// That one had sent it back to work for certain.
    at_work: bool,
    delivery: Delivery,
}

impl Replay<'_> {
    /// Replays what `walk` gives, `selected` messages as far as is known. `progress` hears how far it is. Trouble on
    /// the way is told in the summary: what was removed until then was confirmed before.
    pub async fn run(&self, walk: &mut Walk<'_>, selected: usize, progress: &impl Fn(&Summary)) -> Summary {
        let replay = Uuid::new_v4();
        let mut summary =
            Summary { applied: true, replay: Some(replay), selected, left: selected, ..Summary::default() };
        let mut outcomes = Outcomes::new();
        let driven = self.drive(walk, replay, &mut summary, &mut outcomes, progress).await;
        let looked = outcomes.look_now(self.db, replay, &mut summary).await;
        progress(&summary);
        summary.left = selected.saturating_sub(summary.replayed + summary.finished_earlier);
        if let Err(error) = driven.and(looked.map_err(ReplayError::from)) {
            summary.stopped = Some(format!("{error}; run it again to go on"));
        } else if summary.left > 0 && summary.stopped.is_none() {
            summary.stopped = Some(super::OUT_OF_REACH.to_owned());
        }
        summary
    }

    async fn drive(
        &self,
        walk: &mut Walk<'_>,
        replay: Uuid,
        summary: &mut Summary,
        outcomes: &mut Outcomes,
        progress: &impl Fn(&Summary),
    ) -> Result<(), ReplayError> {
        let publisher = self.session.publisher(self.topology, CONFIRM_TIMEOUT).await?;
        let mut pace = Pace::new(self.wanted, Instant::now());
        loop {
            let looked = outcomes.look(self.db, replay, summary).await?;
            pace.ended(summary.succeeded, summary.failed);
            if looked {
                progress(summary);
            }
            if let Some(why) = self.ends(&pace, outcomes, summary) {
                summary.stopped = Some(why);
                return Ok(());
            }
            let room = pace.room(Instant::now(), summary.under_way());
            let window = if room == 0 { Vec::new() } else { self.gather(walk, room, replay).await? };
            if window.is_empty() {
                if room > 0 && summary.under_way() == 0 {
                    return Ok(());
                }
                tokio::select! {
                    () = self.stop.requested() => {}
                    () = tokio::time::sleep(pace.pause()) => {}
                }
            } else {
                pace.sent(window.len());
                self.send(window, &publisher, walk, summary).await?;
            }
            walk.refresh().await?;
        }
    }

    /// Why it ends before its time, if it does.
    fn ends(&self, pace: &Pace, outcomes: &Outcomes, summary: &Summary) -> Option<String> {
        let under_way = summary.under_way();
        if pace.is_over() {
            Some(format!("{} messages failed again", summary.failed))
        } else if self.stop.is_requested() {
            Some(format!(
                "interrupted; the outcome of {under_way} messages was not awaited; run it again to go on"
            ))
        } else if under_way > 0 && outcomes.silent_for() > OUTCOME_PATIENCE {
            Some(format!(
                "no outcome came for {} s: is a worker running? {under_way} replayed messages are in the work queue",
                OUTCOME_PATIENCE.as_secs()
            ))
        } else {
            None
        }
    }

    /// The next messages, at most `room`, each with its token. Those that this same replay has sent, and that are
    /// dead again, are passed by.
    async fn gather(
        &self,
        walk: &mut Walk<'_>,
        room: usize,
        replay: Uuid,
    ) -> Result<Vec<Chosen>, ReplayError> {
        let mut found = Vec::new();
        while found.len() < room {
            let Some(next) = walk.next().await? else { break };
            found.push(next);
        }
        let tokens: Vec<Uuid> = found.iter().filter_map(|(_, delivery)| delivery.history.replay).collect();
        let own: HashSet<Uuid> = if tokens.is_empty() || failpoint::removed("protection::boundary_of_replay")
        {
            HashSet::new()
        } else {
            self.db.replay_owns(replay, &tokens).await?.into_iter().collect()
        };
        found.retain(|(_, delivery)| delivery.history.replay.is_none_or(|token| !own.contains(&token)));
        let fingerprints: Vec<Uuid> =
            found.iter().map(|(letter, delivery)| fingerprint(letter, delivery)).collect();
        let mut begun: HashMap<Uuid, VecDeque<_>> = HashMap::new();
        for earlier in self.db.replay_begun(&fingerprints).await? {
            begun.entry(earlier.fingerprint).or_default().push_back(earlier);
        }
        // Two equal messages are two: each takes one of what was begun.
        let chosen = found.into_iter().zip(fingerprints).map(|((letter, delivery), fingerprint)| {
            let earlier = begun.get_mut(&fingerprint).and_then(VecDeque::pop_front);
            let token = earlier.map_or_else(Uuid::new_v4, |earlier| earlier.token);
            // Without a time of death, an equal message may have died anew.
            let at_work = earlier.is_some_and(|earlier| earlier.at_work) && letter.last_failure.is_some();
            let noted = Replayed {
                token,
                id: letter.id,
                fingerprint,
                was_reason: letter.reason.map(DeadReason::as_str),
            };
            (Chosen { token, again: earlier.is_some(), at_work, delivery }, noted)
        });
        let (chosen, noted): (Vec<_>, Vec<_>) = chosen.unzip();
        self.db.replay_begin(replay, &noted, &self.operator).await?;
        failpoint::reach("replay::noted");
        Ok(chosen)
    }

    /// Publishes a window, and removes what was confirmed from the dead-letter queue.
    async fn send(
        &self,
        window: Vec<Chosen>,
        publisher: &Publisher,
        walk: &mut Walk<'_>,
        summary: &mut Summary,
    ) -> Result<(), ReplayError> {
        let messages = window
            .iter()
            .filter(|chosen| !chosen.at_work)
            .map(|chosen| {
                let history = chosen.delivery.history.replayed(chosen.token);
                (Target::Work, Outgoing::again(&chosen.delivery, None, &history))
            })
            .collect();
        if failpoint::removed("protection::ack_before_confirm_in_replay") {
            let tokens: Vec<Uuid> = window.iter().map(|chosen| chosen.token).collect();
            let tags: Vec<u64> = window.iter().map(|chosen| chosen.delivery.tag).collect();
            for chosen in window {
                chosen.delivery.ack().await?;
            }
            walk.taken(&tags).await?;
            failpoint::reach("replay::confirmed");
            self.db.replay_removed(&tokens, self.clock.now()).await?;
            publisher.publish_all(messages).await;
            return Ok(());
        }
        let mut answers = publisher.publish_all(messages).await.into_iter();
        let mut confirmed = Vec::new();
        let mut problem = None;
        for chosen in window {
            let answer = if chosen.at_work { Some(Ok(())) } else { answers.next() };
            match answer {
                Some(Ok(())) => confirmed.push(chosen),
                Some(Err(error)) => problem = Some(error),
                None => {}
            }
        }
        failpoint::reach("replay::confirmed");
        self.remove(confirmed, walk, summary).await?;
        problem.map_or(Ok(()), |error: BrokerError| Err(error.into()))
    }

    /// Removes messages that are confirmed to be at work.
    async fn remove(
        &self,
        confirmed: Vec<Chosen>,
        walk: &mut Walk<'_>,
        summary: &mut Summary,
    ) -> Result<(), ReplayError> {
        let tokens: Vec<Uuid> = confirmed.iter().map(|chosen| chosen.token).collect();
        self.db.replay_published(&tokens, self.clock.now()).await?;
        failpoint::reach("replay::before_ack");
        let mut tags = Vec::with_capacity(confirmed.len());
        for chosen in confirmed {
            let Chosen { again, at_work, delivery, .. } = chosen;
            tags.push(delivery.tag);
            delivery.ack().await?;
            if at_work {
                summary.finished_earlier += 1;
            } else {
                summary.replayed += 1;
                summary.maybe_twice += usize::from(again);
            }
        }
        failpoint::reach("replay::after_ack");
        walk.taken(&tags).await?;
        self.db.replay_removed(&tokens, self.clock.now()).await?;
        Ok(())
    }
}

/// Looks up how replayed messages ended.
struct Outcomes {
    looked: Instant,
    news: Instant,
}

impl Outcomes {
    fn new() -> Self {
        let now = Instant::now();
        Self { looked: now, news: now }
    }

    /// Looks again, where the last look was a while ago.
    async fn look(&mut self, db: &Db, replay: Uuid, summary: &mut Summary) -> Result<bool, DbError> {
        if summary.under_way() == 0 {
            self.news = Instant::now();
            return Ok(false);
        }
        if self.looked.elapsed() < OUTCOME_POLL {
            return Ok(false);
        }
        self.look_now(db, replay, summary).await?;
        Ok(true)
    }

    async fn look_now(&mut self, db: &Db, replay: Uuid, summary: &mut Summary) -> Result<(), DbError> {
        let outcomes = db.replay_outcomes(replay).await?;
        if outcomes.succeeded + outcomes.failed > summary.succeeded + summary.failed {
            self.news = Instant::now();
        }
        (summary.succeeded, summary.failed) = (outcomes.succeeded, outcomes.failed);
        summary.same_reason = outcomes.same_reason;
        self.looked = Instant::now();
        Ok(())
    }

    fn silent_for(&self) -> Duration {
        self.news.elapsed()
    }
}

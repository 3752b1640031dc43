//! Taking messages out of the dead-letter queue for good: each is kept whole in the database first.

use std::collections::{HashMap, VecDeque};

use uuid::Uuid;

use super::ReplayError;
use super::pace::WINDOW;
use super::select::{DeadLetter, fingerprint};
use super::walk::Walk;
use crate::broker::Delivery;
use crate::clock::Clock;
use crate::db::discarded::Discarded;
use crate::db::{Actor, Db};
use crate::failpoint;
use crate::outcome::DeadReason;
use crate::stop::Stop;

/// What a discard did.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct DiscardSummary {
    /// Was it more than a dry run?
    pub applied: bool,
    /// Messages that were chosen.
    pub selected: usize,
    /// Messages that were kept in `file_recycler.discarded` and are gone from the queue.
    pub discarded: usize,
    /// Chosen messages that are still in the queue.
    pub left: usize,
    /// Why it stopped early; nothing when it went through.
    pub stopped: Option<String>,
}

/// What a discard works with.
pub struct Discard<'a> {
    /// Where the messages are kept.
    pub db: &'a Db,
    /// Who discards.
    pub operator: Actor,
    /// Why.
    pub why: String,
    /// The time.
    pub clock: Clock,
    /// When somebody wants it to stop.
    pub stop: Stop,
}

impl Discard<'_> {
    /// Discards what `walk` gives, `selected` messages as far as is known. Trouble on the way is told in the
    /// summary: what was removed until then was kept before.
    pub async fn run(&self, walk: &mut Walk<'_>, selected: usize) -> DiscardSummary {
        let mut summary =
            DiscardSummary { applied: true, selected, left: selected, ..DiscardSummary::default() };
        if let Err(error) = self.windows(walk, &mut summary).await {
            summary.stopped = Some(format!("{error}; run it again to go on"));
        }
        summary.left = selected.saturating_sub(summary.discarded);
        if summary.left > 0 && summary.stopped.is_none() {
            summary.stopped = Some(super::OUT_OF_REACH.to_owned());
        }
        summary
    }

    async fn windows(&self, walk: &mut Walk<'_>, summary: &mut DiscardSummary) -> Result<(), ReplayError> {
        loop {
            if self.stop.is_requested() {
                summary.stopped = Some("interrupted; run it again to go on".to_owned());
                return Ok(());
            }
            let mut window = Vec::new();
            while window.len() < WINDOW {
                let Some(next) = walk.next().await? else { break };
                window.push(next);
            }
            if window.is_empty() {
                return Ok(());
            }
            let (tags, tokens) = self.window(window).await?;
            walk.taken(&tags).await?;
            self.db.discard_removed(&tokens, self.clock.now()).await?;
            summary.discarded += tags.len();
            walk.refresh().await?;
        }
    }

    /// Keeps and acknowledges messages; their tags, and the tokens that they are kept under.
    async fn window(
        &self,
        window: Vec<(DeadLetter, Delivery)>,
    ) -> Result<(Vec<u64>, Vec<Uuid>), ReplayError> {
        let prints: Vec<Uuid> =
            window.iter().map(|(letter, delivery)| fingerprint(letter, delivery)).collect();
        // What an earlier discard has kept and not removed: each keeping is for one message.
        let mut begun: HashMap<Uuid, VecDeque<Uuid>> = HashMap::new();
        for (token, fingerprint) in self.db.discard_begun(&prints).await? {
            begun.entry(fingerprint).or_default().push_back(token);
        }
        let kept: Vec<Discarded> = window
            .iter()
            .zip(prints)
            .map(|((letter, delivery), fingerprint)| {
                let earlier = begun.get_mut(&fingerprint).and_then(VecDeque::pop_front);
                let token = earlier.unwrap_or_else(Uuid::new_v4);
                keep(token, fingerprint, letter, delivery)
            })
            .collect();
        self.db.keep_discarded(&kept, &self.why, &self.operator).await?;
        failpoint::reach("discard::kept");
        let tokens: Vec<Uuid> = kept.iter().map(|message| message.token).collect();
        let tags = window.iter().map(|(_, delivery)| delivery.tag).collect();
        for (_, delivery) in window {
            delivery.ack().await?;
        }
        failpoint::reach("discard::after_ack");
        Ok((tags, tokens))
    }
}

fn keep(token: Uuid, fingerprint: Uuid, letter: &DeadLetter, delivery: &Delivery) -> Discarded {
    Discarded {
        token,
        fingerprint,
        id: letter.id.clone(),
        reason: letter.reason.map(DeadReason::as_str),
        error: letter.error.clone(),
        attempts: letter.attempts,
        first_failure: letter.first_failure,
        last_failure: letter.last_failure,
        body: delivery.body.to_vec(),
    }
}

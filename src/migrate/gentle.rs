//! Kind to the database: a look every so often, and nothing new begins while it has other things to do.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::db::Db;
use crate::db::migrate::Look;
use crate::outcome::{UnknownWord, words};
use crate::stop::Stop;

/// How often there is a look.
const EVERY: Duration = Duration::from_millis(200);
/// A look that takes so long says by itself that the server is busy.
const SLOW: Duration = Duration::from_secs(1);
/// What others write is not waited for longer than this, once they have ceased.
const LONGEST: Duration = Duration::from_secs(10);
words! {
    /// What is waited for.
    Wait {
        /// The server writes more to its log than it may.
        Wal => "wal",
        /// A replica is too far behind.
        Lag => "lag",
        /// Others are at work, or the server answers slowly.
        Busy => "busy",
        /// An operator has paused the environment.
        Paused => "paused",
    }
}

/// What the database has to bear at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// What the server writes to its log, by whomever, in bytes a second; nothing: any amount.
    pub wal: Option<u64>,
    /// Sessions of others that may be at work; nothing: any number.
    pub sessions: Option<u32>,
    /// How far a replica may be behind, in bytes; nothing: any distance.
    pub lag: Option<u64>,
}

/// What the looks say together: pure.
#[derive(Debug)]
struct Judge {
    bounds: Bounds,
    /// The log's end at the last look, and when that was.
    last: Option<(i64, Instant)>,
    /// Bytes of the log that were written beyond the bound and are not paid off.
    debt: f64,
}

impl Judge {
    fn new(bounds: Bounds) -> Self {
        Self { bounds, last: None, debt: 0.0 }
    }

    /// What has to be waited for now.
    fn judge(&mut self, look: &Look, took: Duration, now: Instant) -> Option<Wait> {
        self.count(look.wal, now);
        if look.paused {
            Some(Wait::Paused)
        } else if is_beyond(look.lag, self.bounds.lag) {
            Some(Wait::Lag)
        } else if self.bounds.sessions.is_some_and(|most| look.active > most.into()) || took > SLOW {
            Some(Wait::Busy)
        } else if self.debt > 0.0 {
            Some(Wait::Wal)
        } else {
            None
        }
    }

    fn count(&mut self, wal: i64, now: Instant) {
        let last = self.last.replace((wal, now));
        let (Some(bound), Some((before, at))) = (self.bounds.wal, last) else { return };
        #[allow(clippy::cast_precision_loss, reason = "bytes of some seconds")]
        let (written, bound) = ((wal - before).max(0) as f64, bound as f64);
        let allowed = bound * now.saturating_duration_since(at).as_secs_f64();
        // What was not used is not saved up.
        self.debt = (self.debt + written - allowed).clamp(0.0, bound * LONGEST.as_secs_f64());
    }
}

/// Is a replica further behind than it may be?
fn is_beyond(lag: Option<i64>, most: Option<u64>) -> bool {
    lag.zip(most).is_some_and(|(lag, most)| u64::try_from(lag).is_ok_and(|lag| lag > most))
}

/// The looks of one run.
#[derive(Debug)]
pub(super) struct Gentle {
    now: watch::Receiver<Option<Wait>>,
    seen: Arc<Mutex<Seen>>,
    _looking: AbortOnDropHandle<()>,
}

/// What the looks have seen so far.
#[derive(Clone, Debug, Default)]
struct Seen {
    /// The log's end at the first look, and at the last.
    wal: Option<(i64, i64)>,
    /// What others do cannot be seen.
    blind: bool,
    /// How long was waited for what.
    waited: BTreeMap<Wait, Duration>,
}

impl Gentle {
    /// Begins to look.
    pub(super) fn watch(db: Db, bounds: Bounds, stop: Stop) -> Self {
        // Nothing begins before the first look.
        let (tell, now) = watch::channel(Some(Wait::Busy));
        let seen = Arc::new(Mutex::new(Seen::default()));
        let looking = tokio::spawn(look(db, bounds, tell, Arc::clone(&seen), stop));
        Self { now, seen, _looking: AbortOnDropHandle::new(looking) }
    }

    /// Waits until nothing has to be waited for.
    pub(super) async fn clear(&self) {
        // The sender goes with the end of the looks: then nobody waits any more.
        drop(self.now.clone().wait_for(Option::is_none).await);
    }

    /// How long was waited for what.
    pub(super) fn waited(&self) -> BTreeMap<Wait, Duration> {
        seen(&self.seen).waited.clone()
    }

    /// What the server wrote to its log between the first look and the last.
    pub(super) fn wal(&self) -> Option<u64> {
        seen(&self.seen).wal.and_then(|(first, last)| u64::try_from(last - first).ok())
    }

    /// Could the looks not see what others do?
    pub(super) fn is_blind(&self) -> bool {
        seen(&self.seen).blind
    }
}

/// Sums are whole whatever panicked.
fn seen(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is told without a look: what is not a matter of the moment.
fn forget(told: &mut Option<Wait>) -> bool {
    match told {
        Some(Wait::Wal | Wait::Busy) => told.take().is_some(),
        Some(Wait::Paused | Wait::Lag) | None => false,
    }
}

async fn look(
    db: Db,
    bounds: Bounds,
    tell: watch::Sender<Option<Wait>>,
    noted: Arc<Mutex<Seen>>,
    stop: Stop,
) {
    let mut judge = Judge::new(bounds);
    loop {
        let begun = Instant::now();
        match db.migration_look().await {
            Ok(look) => {
                let wait = judge.judge(&look, begun.elapsed(), Instant::now());
                let is_first = seen(&noted).wal.is_none();
                {
                    let mut so_far = seen(&noted);
                    so_far.wal = Some((so_far.wal.map_or(look.wal, |(first, _)| first), look.wal));
                    so_far.blind = !look.sees;
                }
                let before = tell.send_replace(wait);
                // Before the first look all wait, for that look.
                let is_news = if is_first { wait.is_some() } else { before != wait };
                if is_news {
                    tracing::info!(waits_for = wait.map(Wait::as_str), "kind to the database");
                }
            }
            // Whoever works meets it, too, and waits for its end. What an operator or a replica has said goes on until
            // the next look.
            Err(error) => {
                tracing::debug!(%error, "no look at how the server fares");
                tell.send_if_modified(forget);
            }
        }
        let waits = *tell.borrow();
        let stopped = tokio::select! {
            () = stop.requested() => true,
            () = tokio::time::sleep(EVERY) => false,
        };
        if let Some(wait) = waits {
            *seen(&noted).waited.entry(wait).or_default() += begun.elapsed();
        }
        if stopped {
            // What is in flight is finished now, whatever the server has to bear.
            tell.send_replace(None);
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: i64 = 1024 * 1024;

    fn look(wal: i64) -> Look {
        Look { wal, sees: true, ..Look::default() }
    }

    #[test]
    fn the_log_grows_no_faster_than_it_may_over_time() {
        let start = Instant::now();
        let mut judge = Judge::new(Bounds { wal: Some(10 * MIB.unsigned_abs()), sessions: None, lag: None });
        let mut at = |seconds: f64, wal: i64| {
            judge.judge(&look(wal * MIB), Duration::ZERO, start + Duration::from_secs_f64(seconds))
        };
        // The first look has nothing to compare with.
        assert_eq!(at(0.0, 500), None);
        assert_eq!(at(1.0, 509), None);
        // 30 MiB in a second are paid off two seconds later.
        assert_eq!(at(2.0, 539), Some(Wait::Wal));
        assert_eq!(at(3.0, 539), Some(Wait::Wal));
        assert_eq!(at(4.0, 539), None);
        // A quiet hour saves nothing up.
        assert_eq!(at(3_600.0, 539), None);
        assert_eq!(at(3_601.0, 560), Some(Wait::Wal));
    }

    #[test]
    fn a_pause_holds_while_nobody_can_look() {
        for (told, expected) in [
            (Some(Wait::Paused), Some(Wait::Paused)),
            (Some(Wait::Lag), Some(Wait::Lag)),
            (Some(Wait::Busy), None),
            (Some(Wait::Wal), None),
            (None, None),
        ] {
            let mut told = told;
            forget(&mut told);
            assert_eq!(told, expected);
        }
    }

    #[test]
    fn each_measure_is_kept() {
        let now = Instant::now();
        let bounds = Bounds { wal: None, sessions: Some(16), lag: Some(64 * MIB.unsigned_abs()) };
        let most = 64 * MIB;
        for (look, took, expected) in [
            (look(0), Duration::ZERO, None),
            (Look { lag: Some(most), active: 16, ..look(0) }, SLOW, None),
            (Look { lag: Some(most + 1), ..look(0) }, Duration::ZERO, Some(Wait::Lag)),
            (Look { active: 17, ..look(0) }, Duration::ZERO, Some(Wait::Busy)),
            (look(0), SLOW + Duration::from_millis(1), Some(Wait::Busy)),
            (Look { paused: true, lag: Some(i64::MAX), ..look(0) }, Duration::ZERO, Some(Wait::Paused)),
        ] {
            assert_eq!(Judge::new(bounds).judge(&look, took, now), expected, "{look:?}");
        }
        let any = Bounds { sessions: None, lag: None, ..bounds };
        let crowded = Look { active: i64::MAX, lag: Some(i64::MAX), ..look(0) };
        assert_eq!(Judge::new(any).judge(&crowded, Duration::ZERO, now), None);
    }
}

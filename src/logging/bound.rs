//! A bound on repeated lines, so that a flood fills no disk: so many from one place in the code within a while, and
//! then only how many more there were.
//!
//! `debug` and `trace` have no bound: whoever asks for them wants all of it.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, info, warn};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Filter};

use crate::failpoint;
use crate::retry::Stopwatch;

/// So many lines of one place are written within a span.
pub(super) const LINES: u64 = 50;
/// The span.
pub(super) const SPAN: Duration = Duration::from_secs(10);
/// Most characters of a line's message that are repeated in what is said of it.
const MAX_MESSAGE_CHARS: usize = 200;
/// Where lines about lines come from; they are never held back.
const OWN: &str = "file_recycler::log";

/// All lines that this process has held back.
static HELD_BACK: AtomicU64 = AtomicU64::new(0);

/// How many lines this process has held back.
pub fn held_back() -> u64 {
    HELD_BACK.load(Ordering::Relaxed)
}

/// What was held back is told also where `RUST_LOG` names other places only.
pub(super) fn own_lines() -> Targets {
    Targets::new().with_target(OWN, LevelFilter::INFO)
}

/// The bound. A clone counts together with it.
#[derive(Clone)]
pub(super) struct Bound(Arc<Shared>);

struct Shared {
    places: Mutex<HashMap<Identifier, Place>>,
    held: Condvar,
    stopwatch: Stopwatch,
}

/// A place in the code that writes lines.
struct Place {
    began: Instant,
    written: u64,
    held: u64,
    level: Level,
    message: String,
}

impl Place {
    fn may_write(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.began) >= SPAN {
            self.began = now;
            self.written = 0;
        }
        let may = self.written < LINES;
        *(if may { &mut self.written } else { &mut self.held }) += 1;
        may
    }
}

impl Bound {
    pub(super) fn new(stopwatch: Stopwatch) -> Self {
        let places = Mutex::new(HashMap::new());
        Self(Arc::new(Shared { places, held: Condvar::new(), stopwatch }))
    }

    /// Says what was held back a span after the first of it, from now on. Where nothing is held back, it sleeps.
    pub(super) fn tell_from_now_on(&self) {
        let bound = self.clone();
        let teller = thread::Builder::new().name("log".to_owned()).spawn(move || {
            loop {
                bound.wait_for_something_held();
                thread::sleep(SPAN);
                bound.tell();
            }
        });
        if let Err(error) = teller {
            warn!(%error, "what the log holds back is told at the end only");
        }
    }

    /// Says what was held back and not told yet.
    pub(super) fn tell(&self) {
        let held: Vec<_> = self
            .places()
            .values_mut()
            .filter(|place| place.held > 0)
            .map(|place| (place.level, std::mem::take(&mut place.held), place.message.clone()))
            .collect();
        for (level, held_back, like) in held {
            let more = "more lines were held back";
            if level == Level::WARN {
                warn!(target: OWN, held_back, like, "{more}");
            } else {
                info!(target: OWN, held_back, like, "{more}");
            }
        }
    }

    fn wait_for_something_held(&self) {
        let nothing = |places: &mut HashMap<_, Place>| places.values().all(|place| place.held == 0);
        drop(self.0.held.wait_while(self.places(), nothing));
    }

    /// A panic elsewhere while the lock was held leaves whole counts.
    fn places(&self) -> MutexGuard<'_, HashMap<Identifier, Place>> {
        self.0.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Filter<S> for Bound {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    /// What has a bound is never settled for good: the subscriber asks its filters each time only then, and what they
    /// answered to the event alone would be left over for the next one.
    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        if is_bounded(metadata) { Interest::sometimes() } else { Interest::always() }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::TRACE)
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if !is_bounded(metadata) {
            return true;
        }
        let now = self.0.stopwatch.now();
        let mut places = self.places();
        let place = places.entry(metadata.callsite()).or_insert_with(|| Place {
            began: now,
            written: 0,
            held: 0,
            level: *metadata.level(),
            message: String::new(),
        });
        if place.may_write(now) || failpoint::removed("protection::bound_on_lines") {
            return true;
        }
        HELD_BACK.fetch_add(1, Ordering::Relaxed);
        if place.held == 1 {
            let mut message = Message(String::new());
            event.record(&mut message);
            place.message = message.0;
            self.0.held.notify_one();
        }
        false
    }
}

/// What is written at ERROR concerns one file or a fault of ours, and may stand nowhere else: none of it is held back.
fn is_bounded(metadata: &Metadata<'_>) -> bool {
    matches!(*metadata.level(), Level::WARN | Level::INFO) && metadata.target() != OWN
}

/// The message of an event.
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}").chars().take(MAX_MESSAGE_CHARS).collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
    use tracing_subscriber::{EnvFilter, filter::FilterExt as _, fmt as format};

    use super::super::tests::Log;
    use super::*;

    /// Runs with a log of these settings and a time that the test owns.
    fn logged(filter: &str, test: impl FnOnce(&Bound, &Mutex<Instant>)) -> String {
        let (log, now) = (Log::default(), Arc::new(Mutex::new(Instant::now())));
        let (writer, reading) = (log.clone(), Arc::clone(&now));
        let bound = Bound::new(Stopwatch::from_fn(move || *reading.lock().unwrap()));
        let filter = EnvFilter::new(filter).or(own_lines()).and(bound.clone());
        let layer = format::layer().with_ansi(false).with_writer(move || writer.clone()).with_filter(filter);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || test(&bound, &now));
        log.text()
    }

    fn count(text: &str, what: &str) -> usize {
        text.lines().filter(|line| line.contains(what)).count()
    }

    #[test]
    fn a_flood_is_fifty_lines_and_their_number_and_harms_no_other_line() {
        let text = logged("info", |bound, now| {
            for round in 0..10_000 {
                tracing::warn!(round, "the flood");
            }
            tracing::warn!("another");
            bound.tell();
            *now.lock().unwrap() += SPAN;
            tracing::warn!("the end");
            for round in 0..60 {
                tracing::info!(round, "the next flood");
            }
            bound.tell();
            bound.tell();
        });
        assert_eq!(count(&text, "the flood round"), 50, "{text}");
        assert_eq!(
            count(
                &text,
                "WARN file_recycler::log: more lines were held back held_back=9950 like=\"the flood\""
            ),
            1,
            "{text}"
        );
        assert_eq!(
            count(
                &text,
                "INFO file_recycler::log: more lines were held back held_back=10 like=\"the next flood\""
            ),
            1,
            "{text}"
        );
        assert_eq!((count(&text, "another"), count(&text, "the end")), (1, 1), "{text}");
    }

    #[test]
    fn after_a_span_a_place_may_write_again() {
        let text = logged("info", |bound, now| {
            for span in 0..3 {
                for _ in 0..100 {
                    tracing::warn!(span, "the flood");
                }
                *now.lock().unwrap() += SPAN;
            }
            bound.tell();
        });
        assert_eq!(count(&text, "the flood span"), 150, "{text}");
        assert_eq!(count(&text, "held_back=150"), 1, "{text}");
    }

    #[test]
    fn what_was_held_back_is_told_where_only_one_room_is_logged_and_debug_has_no_bound() {
        let text = logged("off,file_recycler::logging=debug", |bound, _| {
            for _ in 0..100 {
                tracing::info!("the flood");
                tracing::debug!("asked for");
                tracing::info!(target: "other", "not asked for");
            }
            bound.tell();
        });
        assert_eq!((count(&text, " the flood"), count(&text, "asked for")), (50, 100), "{text}");
        assert_eq!(count(&text, "held_back=50"), 1, "{text}");
    }
}

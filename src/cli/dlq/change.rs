//! `dlq replay` and `dlq discard`: first a walk that counts, then, with `--apply`, one that does it.

use std::cell::Cell;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::super::arguments;
use super::super::output::{Failed, Finding, operator, print};
use super::super::parts;
use super::watch::Watch;
use super::{selection, words};
use crate::broker::{Session, Topology};
use crate::clock::Clock;
use crate::config::{Config, Needs};
use crate::db::Db;
use crate::replay::{Discard, DiscardSummary, Replay, Selection, Summary, Walk, Wanted};
use crate::stop::Stop;

/// How often a line tells how far it is, where there is no terminal to draw on.
const LINE_EVERY: Duration = Duration::from_secs(5);

pub(in crate::cli) async fn replay(
    config: &Config,
    arguments: arguments::Replay,
    json: bool,
) -> Result<Finding, Failed> {
    let desk = Desk::open(config, arguments.filter, arguments.apply).await?;
    let selected = desk.selected;
    let mut summary = if arguments.apply {
        let progress = Progress::new(selected);
        let replay = Replay {
            session: &desk.session,
            topology: &desk.topology,
            db: &desk.db,
            operator: operator(),
            wanted: Wanted {
                rate: arguments.rate,
                ramp: arguments.ramp,
                max_failures: arguments.max_failures.map(|most| most as usize),
            },
            clock: desk.clock.clone(),
            stop: desk.stop.clone(),
        };
        let mut walk = desk.walk().await?;
        let summary = replay.run(&mut walk, selected, &|summary| progress.tell(summary)).await;
        progress.end();
        ended(walk).await;
        summary
    } else {
        Summary { selected, left: selected, ..Summary::default() }
    };
    summary.stopped = desk.told(summary.stopped);
    desk.session.close().await;
    print(json, &summary, || words::replayed(&summary))?;
    Ok(Finding::healthy_if(summary.failed == 0 && summary.stopped.is_none()))
}

pub(in crate::cli) async fn discard(
    config: &Config,
    arguments: arguments::Discard,
    json: bool,
) -> Result<Finding, Failed> {
    let desk = Desk::open(config, arguments.filter, arguments.apply).await?;
    let selected = desk.selected;
    let mut summary = if arguments.apply {
        let discard = Discard {
            db: &desk.db,
            operator: operator(),
            why: arguments.why,
            clock: desk.clock.clone(),
            stop: desk.stop.clone(),
        };
        let mut walk = desk.walk().await?;
        let summary = discard.run(&mut walk, selected).await;
        ended(walk).await;
        summary
    } else {
        DiscardSummary { selected, left: selected, ..DiscardSummary::default() }
    };
    summary.stopped = desk.told(summary.stopped);
    desk.session.close().await;
    print(json, &summary, || words::discarded(&summary))?;
    Ok(Finding::healthy_if(summary.stopped.is_none()))
}

/// What both commands work on: the queue, the choice among its messages, and how many those are.
struct Desk {
    session: Session,
    topology: Topology,
    db: Db,
    clock: Clock,
    stop: Stop,
    selection: Selection,
    selected: usize,
    /// Only with `--apply`.
    watch: Option<Watch>,
}

impl Desk {
    /// Connects, and walks along the queue once to count. With `apply` the guard is asked before.
    async fn open(config: &Config, filter: arguments::Filter, apply: bool) -> Result<Self, Failed> {
        config.require(Needs { storage: apply, ..Needs::ALL }).map_err(Failed::configuration)?;
        let (broker, topology) = parts::broker(config)?;
        let db = parts::database(config)?;
        let clock = Clock::system();
        let stop = listening(config)?;
        let watch = if apply { Some(Watch::begin(config, &db, &stop).await?) } else { None };
        let session = broker.connect().await?;
        let selection = selection(filter, clock.now());
        let selected = count(&session, &topology, &selection).await?;
        Ok(Self { session, topology, db, clock, stop, selection, selected, watch })
    }

    async fn walk(&self) -> Result<Walk<'_>, Failed> {
        Ok(Walk::begin(&self.session, &self.topology, &self.selection).await?)
    }

    /// Why it stopped before its end, if it did; and what the guard says, where that was it.
    fn told(&self, stopped: Option<String>) -> Option<String> {
        let shut = self.watch.as_ref().and_then(Watch::shut);
        match (stopped, shut) {
            (Some(why), Some(shut)) => Some(format!("{shut}: {why}")),
            (stopped, _) => stopped,
        }
    }
}

/// A Ctrl-C stops after what is in hand; a second one at once.
fn listening(config: &Config) -> Result<Stop, Failed> {
    let stop = parts::listening(config)?;
    let at_once = stop.clone();
    tokio::spawn(async move {
        at_once.at_once().await;
        std::process::exit(1);
    });
    Ok(stop)
}

async fn count(session: &Session, topology: &Topology, selection: &Selection) -> Result<usize, Failed> {
    let mut walk = Walk::begin(session, topology, selection).await?;
    let mut count = 0;
    while walk.next().await?.is_some() {
        count += 1;
    }
    walk.end().await?;
    Ok(count)
}

/// What was done is done, and is told, whatever becomes of the connection now.
async fn ended(walk: Walk<'_>) {
    if let Err(error) = walk.end().await {
        eprintln!("the broker puts the other messages back by itself: {error}");
    }
}

/// How far a replay is: a bar on a terminal, lines otherwise; on standard error, for standard output is the
/// summary's.
struct Progress {
    bar: Option<ProgressBar>,
    told: Cell<Instant>,
}

impl Progress {
    fn new(selected: usize) -> Self {
        let bar =
            std::io::stderr().is_terminal().then(|| ProgressBar::new(selected as u64).with_style(style()));
        Self { bar, told: Cell::new(Instant::now()) }
    }

    fn tell(&self, summary: &Summary) {
        let ended = summary.succeeded + summary.failed;
        if let Some(bar) = &self.bar {
            bar.set_position(ended as u64);
            bar.set_message(format!("{} failed again", summary.failed));
        } else if self.told.get().elapsed() >= LINE_EVERY {
            self.told.set(Instant::now());
            eprintln!("{ended} of {} replayed, {} failed again", summary.selected, summary.failed);
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn style() -> ProgressStyle {
    // The template is a constant; a wrong one would only look plainer.
    ProgressStyle::with_template("{bar:40} {pos}/{len} replayed, {msg}, {per_sec}, {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

//! `dlq list` and `dlq show`: message by message, as they come.

use std::io::{ErrorKind, Write as _};

use serde::Serialize;

use super::super::arguments::Filter;
use super::super::next::Next;
use super::super::output::{Failed, Finding, suggest};
use super::super::parts;
use super::{selection, words};
use crate::broker::Delivery;
use crate::clock::Clock;
use crate::config::{Config, Needs};
use crate::replay::{DeadLetter, Now, Prospect, Walk};

/// A message as `show --json` prints it.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    letter: &'a DeadLetter,
    now: Now,
}

/// A document or lines on standard output, piece by piece; a reader that has seen enough ends it.
struct Printer {
    json: bool,
    pieces: usize,
    closed: bool,
}

impl Printer {
    fn write(&mut self, text: &str) -> Result<(), Failed> {
        if self.closed {
            return Ok(());
        }
        match std::io::stdout().lock().write_all(text.as_bytes()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            written => Ok(written?),
        }
    }

    fn head(&mut self, total: u64, head: &str) -> Result<(), Failed> {
        if self.json { self.write(&format!("{{\"total\":{total},\"messages\":[")) } else { self.write(head) }
    }

    fn piece(&mut self, value: &impl Serialize, text: impl FnOnce() -> String) -> Result<(), Failed> {
        let piece = if self.json {
            let comma = if self.pieces > 0 { "," } else { "" };
            format!("{comma}{}", serde_json::to_string(value)?)
        } else {
            format!("{}\n", text())
        };
        self.pieces += 1;
        self.write(&piece)
    }

    fn tail(&mut self) -> Result<(), Failed> {
        if self.json { self.write("]}\n") } else { Ok(()) }
    }
}

pub(in crate::cli) async fn list(config: &Config, filter: Filter, json: bool) -> Result<Finding, Failed> {
    let head = |total: u64| format!("{total} dead letters\n");
    let mut printer = Printer { json, pieces: 0, closed: false };
    each(config, filter, &mut printer, head, async |printer: &mut Printer, letter, _| {
        printer.piece(&letter, || words::line(&letter))
    })
    .await?;
    Ok(Finding::Healthy)
}

pub(in crate::cli) async fn show(config: &Config, filter: Filter, json: bool) -> Result<Finding, Failed> {
    let asked_for = filter.id.len();
    let prospect = prospect(config).await;
    let mut printer = Printer { json, pieces: 0, closed: false };
    each(
        config,
        filter,
        &mut printer,
        |_| String::new(),
        async |printer: &mut Printer, letter, delivery| {
            let now = match &prospect {
                Ok(prospect) => prospect.of(&delivery).await,
                Err(why) => Now::unknown(why),
            };
            let shown = Shown { letter: &letter, now };
            printer.piece(&shown, || format!("{}\n", words::in_words(&letter, &shown.now)))
        },
    )
    .await?;
    // Somebody who names a message wants to see it.
    let missing = asked_for.saturating_sub(printer.pieces);
    if missing > 0 {
        eprintln!("{missing} of the {asked_for} messages that were named are not in the dead-letter queue");
        suggest(json, Some(Next::DeadLetters));
    }
    Ok(Finding::healthy_if(missing == 0))
}

/// What can tell what would happen now; where database or storage is not configured, why it cannot be told.
async fn prospect(config: &Config) -> Result<Prospect, String> {
    config.require(Needs::ALL).map_err(|error| error.to_string())?;
    let db = parts::database(config).map_err(|error| error.message)?;
    let storage = parts::storage(config).await.map_err(|error| error.message)?;
    Ok(Prospect::new(config, db, storage))
}

/// Walks along the queue, and hands over each chosen message.
async fn each(
    config: &Config,
    filter: Filter,
    printer: &mut Printer,
    head: impl FnOnce(u64) -> String,
    mut tell: impl AsyncFnMut(&mut Printer, DeadLetter, Delivery) -> Result<(), Failed>,
) -> Result<(), Failed> {
    config.require(Needs::BROKER).map_err(Failed::configuration)?;
    let (broker, topology) = parts::broker(config)?;
    let session = broker.connect().await?;
    let selection = selection(filter, Clock::system().now());
    let mut walk = Walk::begin(&session, &topology, &selection).await?;
    let total = walk.total();
    printer.head(total, &head(total))?;
    while let Some((letter, delivery)) = walk.next().await? {
        tell(printer, letter, delivery).await?;
        if printer.closed {
            break;
        }
    }
    printer.tail()?;
    if walk.missed() > 0 && !printer.closed {
        eprintln!("{} messages are in somebody else's hands, or the broker is slow", walk.missed());
    }
    walk.end().await?;
    session.close().await;
    Ok(())
}

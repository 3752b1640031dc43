//! `dlq list`, `dlq show`, `dlq replay`: the dead-letter queue.

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::arguments::{Filter, Replay};
use super::output::{Failed, Finding, operator, print};
use super::parts;
use crate::broker::Session;
use crate::clock::Clock;
use crate::config::{Config, Needs};
use crate::replay::{self, DeadLetter, Selection, Summary};

/// Messages that are shown or replayed at most, where no limit is given: they are held in memory.
const DEFAULT_LIMIT: usize = 10_000;

pub(super) async fn list(config: &Config, filter: Filter, json: bool) -> Result<Finding, Failed> {
    let (total, letters) = look(config, filter).await?;
    print(json, &json!({ "total": total, "messages": letters }), || {
        let mut lines = vec![format!("{total} dead letters, {} chosen", letters.len())];
        lines.extend(letters.iter().map(|letter| {
            format!(
                "{}  {:<18}  {} attempts, last {}  {}",
                letter.id,
                word(letter),
                letter.attempts,
                shown(letter.last_failure),
                letter.error.as_deref().unwrap_or("no error text")
            )
        }));
        lines.join("\n")
    })?;
    Ok(Finding::Healthy)
}

pub(super) async fn show(config: &Config, filter: Filter, json: bool) -> Result<Finding, Failed> {
    let asked_for = filter.id.len();
    let (total, letters) = look(config, filter).await?;
    print(json, &json!({ "total": total, "messages": letters }), || {
        letters.iter().map(in_words).collect::<Vec<_>>().join("\n\n")
    })?;
    // Somebody who names a message wants to see it.
    Ok(Finding::healthy_if(letters.len() >= asked_for))
}

pub(super) async fn replay(config: &Config, arguments: Replay, json: bool) -> Result<Finding, Failed> {
    config.require(Needs { storage: false, ..Needs::ALL }).map_err(Failed::usage)?;
    let (broker, topology) = parts::broker(config)?;
    let db = parts::database(config)?;
    let clock = Clock::system();
    let session = broker.connect().await?;
    let mut browser = session.browse(&topology.dead()).await?;
    let selection = selection(arguments.filter, clock.now());
    let (_, chosen) = replay::look(&session, &mut browser, &topology, &selection).await?;
    let summary = if arguments.apply {
        db.ping().await?;
        // Drawn on a terminal only, and on standard error: standard output is the summary's.
        let bar = ProgressBar::new(chosen.len() as u64).with_style(style());
        let progress = |summary: &Summary| {
            bar.set_position((summary.succeeded + summary.failed) as u64);
            bar.set_message(format!("{} failed again", summary.failed));
        };
        let with = replay::Replay {
            session: &session,
            topology: &topology,
            db: &db,
            operator: operator(),
            max_failures: arguments.max_failures,
            clock,
        };
        let summary = replay::replay(&with, chosen, &progress).await?;
        bar.finish_and_clear();
        summary
    } else {
        Summary { selected: chosen.len(), left: chosen.len(), ..Summary::default() }
    };
    browser.close().await?;
    session.close().await;
    print(json, &summary, || told(&summary))?;
    Ok(Finding::healthy_if(summary.failed == 0 && summary.stopped.is_none()))
}

fn style() -> ProgressStyle {
    // The template is a constant; a wrong one would only look plainer.
    ProgressStyle::with_template("{bar:40} {pos}/{len} replayed, {msg}, {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

async fn look(config: &Config, filter: Filter) -> Result<(u64, Vec<DeadLetter>), Failed> {
    config.require(Needs::BROKER).map_err(Failed::usage)?;
    let (broker, topology) = parts::broker(config)?;
    let session: Session = broker.connect().await?;
    let mut browser = session.browse(&topology.dead()).await?;
    let selection = selection(filter, Clock::system().now());
    let (total, chosen) = replay::look(&session, &mut browser, &topology, &selection).await?;
    let letters = chosen.into_iter().map(|(letter, _)| letter).collect();
    browser.close().await?;
    session.close().await;
    Ok((total, letters))
}

fn selection(filter: Filter, now: OffsetDateTime) -> Selection {
    Selection {
        ids: filter.id,
        reason: filter.reason,
        schema: filter.schema,
        since: filter.since.map(|since| since.resolve(now)),
        limit: filter.limit.unwrap_or(DEFAULT_LIMIT),
    }
}

fn word(letter: &DeadLetter) -> &'static str {
    letter.reason.map_or("unknown", crate::outcome::DeadReason::as_str)
}

fn shown(time: Option<OffsetDateTime>) -> String {
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_else(|| "unknown".to_owned())
}

fn in_words(letter: &DeadLetter) -> String {
    let about = match (&letter.schema, &letter.record_id) {
        (Some(schema), Some(record)) => format!("{schema} {record}"),
        (Some(schema), None) => format!("files of {schema}"),
        _ => "unknown: the message is no event".to_owned(),
    };
    format!(
        "message   {}\nreason    {}: {}\nerror     {}\ntype      {}\nabout     {about}\nfiles     \
         {}\nattempts  {}, first {}, last {}\nworker    {}\nafter the repair: file-recycler dlq replay --id '{}' --apply",
        letter.id,
        word(letter),
        letter.reason.map_or("the broker moved it here by itself", crate::outcome::DeadReason::meaning),
        letter.error.as_deref().unwrap_or("none"),
        letter.kind.as_deref().unwrap_or("unknown"),
        if letter.files.is_empty() { "none".to_owned() } else { letter.files.join(", ") },
        letter.attempts,
        shown(letter.first_failure),
        shown(letter.last_failure),
        letter.worker.as_deref().unwrap_or("unknown"),
        letter.id,
    )
}

fn told(summary: &Summary) -> String {
    if !summary.applied {
        return format!(
            "{} messages would go back to work. Nothing is changed yet: --apply does it.",
            summary.selected
        );
    }
    let mut text = format!(
        "{} of {} messages went back to work: {} done, {} failed again, {} left in the dead-letter queue.",
        summary.replayed, summary.selected, summary.succeeded, summary.failed, summary.left
    );
    if let Some(why) = &summary.stopped {
        text.push_str("\nStopped: ");
        text.push_str(why);
    }
    text
}

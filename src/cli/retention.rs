//! `retention`: the recycle bucket's lifecycle rule, what it means for the backups, and what it will cost.

use std::time::Duration;

use indicatif::HumanBytes;
use serde::Serialize;

use super::arguments::Retention;
use super::next::Next;
use super::output::{Failed, Finding, operator, print};
use super::parts;
use crate::config::{Config, Needs};
use crate::retention::{
    Forecast, Kept, Refused, Terms, covers, days_of, forecast, kept, may_set, versions_kept,
};
use crate::storage::{Side, Storage};

/// The pace is taken of so many days.
const PACE_OF: Duration = Duration::from_hours(30 * 24);
/// How often the rules are read after they were written, and how long between.
const READS: u32 = 5;
const READ_AGAIN: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_hours(24);

#[derive(Serialize)]
struct Report {
    bucket: String,
    rules: Vec<Terms>,
    /// Days that every file stays at least; nothing: for ever.
    days: Option<u32>,
    versioned: bool,
    /// Days that a replaced or deleted version stays at least; nothing: for ever.
    noncurrent_days: Option<u32>,
    database_backups_days: Option<u64>,
    /// Does a file stay as long as the backups? Nothing where their age is not configured.
    covers_backups: Option<bool>,
    /// Nothing where the ledger could not be asked.
    forecast: Option<Forecast>,
    meaning: Vec<String>,
}

#[derive(Serialize)]
struct Change {
    applied: bool,
    days: u16,
    before: Vec<Terms>,
    after: Vec<Terms>,
}

pub(super) async fn run(config: &Config, command: Retention, json: bool) -> Result<Finding, Failed> {
    match command {
        Retention::Show => show(config, json).await,
        Retention::Set { days, force, apply } => set(config, days, force, apply, json).await,
    }
}

async fn show(config: &Config, json: bool) -> Result<Finding, Failed> {
    config.require(Needs { broker: false, ..Needs::ALL }).map_err(Failed::configuration)?;
    let storage = parts::storage(config).await?;
    let (lifecycle, versioned) = tokio::try_join!(storage.lifecycle(), storage.is_versioned(Side::Recycle))?;
    let rules = lifecycle.terms();
    let kept = kept(&rules);
    let replaced = if versioned { versions_kept(&rules) } else { None };
    let backups = config.retention_database_backups;
    let covered = covers(&kept, replaced, backups);
    let mut meaning = meaning(&kept, &rules, versioned, backups);
    let forecast = match grown(config, &kept).await {
        Ok(forecast) => Some(forecast),
        Err(failed) => {
            meaning.push(format!("What it holds is not known: {}", failed.message));
            None
        }
    };
    let report = Report {
        bucket: parts::buckets(config)?.recycle,
        days: match &kept {
            Kept::Days { days, .. } => Some(*days),
            Kept::ForEver | Kept::Until { .. } => None,
        },
        versioned,
        noncurrent_days: versions_kept(&rules),
        database_backups_days: backups.map(days_of),
        covers_backups: covered,
        forecast,
        meaning,
        rules,
    };
    print(json, &report, || text(&report))?;
    Ok(Finding::healthy_if(covered != Some(false)))
}

async fn grown(config: &Config, kept: &Kept) -> Result<Forecast, Failed> {
    let stays = match kept {
        Kept::Days { days, .. } => Some(DAY * *days),
        Kept::ForEver | Kept::Until { .. } => None,
    };
    let bucket = parts::buckets(config)?.recycle;
    let growth = parts::database(config)?.growth(&bucket, stays, PACE_OF).await?;
    let days = growth.within.as_secs_f64() / DAY.as_secs_f64();
    // A pace of less than a day would say of an hour what a month brings.
    Ok(forecast(growth.there, growth.came, days.max(1.0), kept))
}

/// What the rules mean, a sentence each.
fn meaning(kept: &Kept, rules: &[Terms], versioned: bool, backups: Option<Duration>) -> Vec<String> {
    let mut said = vec![match kept {
        Kept::ForEver => "No rule removes a file: the bucket grows without end.".to_owned(),
        Kept::Days { days, rule } => {
            format!(
                "A file stays {days} days from its last deletion (rule '{rule}'; the storage removes it within a day or two after)."
            )
        }
        Kept::Until { date, rule } => {
            format!("Rule '{rule}' removes every file on {date}, and every new one at once from then on.")
        }
    }];
    let replaced = if versioned { versions_kept(rules) } else { None };
    said.push(match (covers(kept, replaced, backups), backups.map(days_of)) {
        (Some(true), Some(days)) => format!("That covers the database backups, which are kept {days} days."),
        (Some(false), Some(days)) => format!(
            "That does NOT cover the database backups, which are kept {days} days: a restored one would not find its \
             files. Run file-recycler retention set --days {days}."
        ),
        _ => "Whether that covers the database backups nobody can tell: retention.database_backups is not set.".to_owned(),
    });
    if versioned {
        said.push(match versions_kept(rules) {
            Some(days) => format!("The bucket keeps versions: one that was replaced or removed stays {days} days more."),
            None => "The bucket keeps versions, and no rule removes those that were replaced or removed: they are paid for for ever.".to_owned(),
        });
    }
    let classes: Vec<&str> = rules
        .iter()
        .filter(|rule| rule.enabled)
        .flat_map(|rule| rule.classes.iter().map(String::as_str))
        .collect();
    if !classes.is_empty() {
        said.push(format!(
            "Files move to other storage classes before ({}): from an archive, a restore takes hours and costs.",
            classes.join(", ")
        ));
    }
    said
}

async fn set(config: &Config, days: u16, force: bool, apply: bool, json: bool) -> Result<Finding, Failed> {
    config.require(Needs { broker: false, ..Needs::ALL }).map_err(Failed::configuration)?;
    let storage = parts::storage(config).await?;
    let before = storage.lifecycle().await?;
    may_set(days, &before.terms(), config.retention_database_backups, force)
        .map_err(|refused| Failed::new(told(&refused, days)).then(Next::Retention))?;
    let after = before.with_ours(days)?;
    let mut change = Change { applied: false, days, before: before.terms(), after: after.terms() };
    if apply {
        let db = parts::database(config)?;
        parts::admitted(config, &db, &storage).await?;
        let detail = format!("{days} days in {}", parts::buckets(config)?.recycle);
        db.record_change(&operator(), "retention set", &detail).await?;
        storage.put_lifecycle(&after).await?;
        holds(&storage, days).await?;
        change.applied = true;
    }
    print(json, &change, || {
        let end = if apply { "Done." } else { "Nothing is changed yet: --apply does it." };
        let others = change.after.iter().filter(|rule| !rule.ours).count();
        format!(
            "Files, and versions that are replaced, stay {days} days; parts of unfinished uploads seven. Other rules: {others}, untouched.\n{end}"
        )
    })?;
    Ok(Finding::Healthy)
}

/// Some servers take a rule and keep another one.
async fn holds(storage: &Storage, days: u16) -> Result<(), Failed> {
    let mut answer = "";
    // What it answers may be a moment old.
    for _ in 0..READS {
        let rules = storage.lifecycle().await?.terms();
        answer = match kept(&rules) {
            Kept::Days { days: found, .. } if found == u32::from(days) => return Ok(()),
            Kept::Days { .. } => "another number of days",
            Kept::ForEver => "no rule that removes files",
            Kept::Until { .. } => "a rule with a date",
        };
        tokio::time::sleep(READ_AGAIN).await;
    }
    Err(Failed::new(format!(
        "the storage took the rule, and answers {answer}: it keeps others than it is given, or somebody else changes them \
         at the same time"
    ))
    .then(Next::Retention))
}

fn told(refused: &Refused, days: u16) -> String {
    match refused {
        Refused::TooShort { backups } => format!(
            "{days} days are fewer than the {backups} of retention.database_backups: a restored backup would not find \
             its files; --force sets them all the same"
        ),
        Refused::Sooner(Kept::Days { days: sooner, rule }) => format!(
            "the rule '{rule}' removes files after {sooner} days already, so that {days} would not hold: remove or \
             change that rule first (it is not ours, and is not touched)"
        ),
        Refused::Sooner(Kept::Until { date, rule }) => format!(
            "the rule '{rule}' removes everything on {date}: remove it first (it is not ours, and is not touched)"
        ),
        Refused::Versions(sooner) => format!(
            "another rule removes versions that were replaced after {sooner} days already, so that {days} would not hold \
             for them: remove or change that rule first (it is not ours, and is not touched)"
        ),
        Refused::Sooner(Kept::ForEver) => "no rule is in the way".to_owned(),
    }
}

fn text(report: &Report) -> String {
    let mut lines = vec![format!("bucket       {}", report.bucket)];
    lines.extend(report.meaning.iter().cloned());
    for rule in &report.rules {
        let state = if rule.enabled { "" } else { " (disabled)" };
        let days = rule.days.map_or_else(|| "no expiration".to_owned(), |days| format!("{days} days"));
        lines.push(format!("rule         '{}'{state}: {days}, {:?}", rule.id, rule.scope));
    }
    if let Some(forecast) = &report.forecast {
        lines.push(format!("now          {} files, {}", forecast.files_now, HumanBytes(forecast.bytes_now)));
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // For people.
        let shown = |amount: f64| HumanBytes(amount as u64);
        let plateau = forecast
            .bytes_at_plateau
            .map_or_else(|| "without end".to_owned(), |amount| format!("to {} in the end", shown(amount)));
        lines.push(format!(
            "grows by     {:.0} files and {} a day (of the last {:.0} days), {plateau}",
            forecast.files_per_day,
            shown(forecast.bytes_per_day),
            forecast.days
        ));
    }
    lines.join("\n")
}

//! `audit`: the database's rows against both buckets, and orphans to the recycle bucket.

mod fix;
mod words;

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::arguments::Audit as Arguments;
use super::output::{Failed, Finding as End, print};
use super::parts;
use super::report::Report;
use super::requests::Requests;
use crate::audit::{Audit, Class, Finding, Found, Total};
use crate::clock::Clock;
use crate::config::{Config, Needs, Profile};
use crate::db::Db;
use crate::db::catalog::Catalog;
use crate::db::contents::ReadableData;
use crate::db::inventory::Reading;
use crate::failpoint;
use crate::inventory::Inventory;
use crate::storage::{Side, Storage};

/// Lines that are shown of what is bad.
const SHOWN: usize = 20;
/// Steps of the progress bar.
const STEPS: f64 = 1_000.0;

/// The outcome.
#[derive(Serialize)]
struct Document {
    complete: bool,
    counts: BTreeMap<&'static str, u64>,
    bytes: BTreeMap<&'static str, u64>,
    buckets: BTreeMap<String, Total>,
    rows: u64,
    /// Files whose object has another size than their row says.
    other_size: u64,
    /// Rows in S3 that still have content; nothing where this role may not know.
    data_left: Option<Left>,
    /// Files among the lost ones whose content is in their rows; nothing where this role may not know.
    lost_with_data: Option<Total>,
    older_than_seconds: u64,
    /// Why it is not complete.
    missing: Vec<String>,
    requests: u64,
    waited: Waits,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<fix::Fixed>,
}

/// What rows in S3 still have.
#[derive(Serialize)]
struct Left {
    #[serde(flatten)]
    total: Total,
    /// Tables of which this role may not know.
    tables_unread: u64,
}

/// How long the walks waited, added up over all that ran side by side.
#[derive(Serialize)]
struct Waits {
    listing_seconds: f64,
    rows_seconds: f64,
}

/// A line of the report.
#[derive(Serialize)]
struct Line<'a> {
    file_id: Option<&'a str>,
    schema: Option<&'a str>,
    key: &'a str,
    class: Class,
    size: Option<u64>,
    row_size: Option<u64>,
    /// Have its rows, which say that it is in S3, content as well? Nothing where that cannot be known.
    data_in_row: Option<bool>,
}

pub(super) async fn run(config: &Config, arguments: &Arguments, json: bool) -> Result<End, Failed> {
    config.require(Needs { broker: false, ..Needs::ALL }).map_err(Failed::configuration)?;
    if config.crm.profile == Profile::Events {
        return Err(Failed::usage("crm.profile is events: there is no database to compare the buckets with"));
    }
    let requests = Requests::default();
    let (db, storage) =
        (parts::database(config)?, parts::storage_observed(config, requests.observe()).await?);
    // What is wrong with all of it is told before anything is walked.
    storage.check().await?;
    // Before the walk: what refuses is told at once, and a copy of the database is known for one whatever is found.
    let once = match arguments.fix {
        Some(_) if arguments.apply => Some(fix::begin(config, &db, &storage).await?),
        _ => None,
    };
    let catalog = Arc::new(db.discover(&config.crm).await?);
    let readable = db.readable_data(&catalog).await?;
    let audit = audit(config, &db, &storage, (catalog, &readable), arguments).await?;
    let mut report = Report::begin(arguments.report.as_deref())?;
    let mut shown = Vec::new();
    let bar = bar();
    let stop = parts::listening(config)?;
    let told = |finding: &Finding| {
        if finding.class.is_bad() && shown.len() < SHOWN {
            shown.push(finding.clone());
        }
        report.add(&Line::of(finding))
    };
    let found = audit.run(&stop, told, |far| progress(bar.as_ref(), far)).await.map_err(Failed::new)?;
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    report.end()?;
    let fix = match arguments.fix {
        Some(_) => {
            let with = fix::With { config, db, once };
            Some(fix::orphans(with, &found, arguments, &stop).await?)
        }
        None => None,
    };
    let healthy = found.is_complete()
        && found.count(Class::Lost) + found.count(Class::Restorable) == 0
        && (found.count(Class::Orphan) == 0 || fix.as_ref().is_some_and(fix::Fixed::is_done));
    let document = Document::new(&found, &readable, arguments, requests.total(), fix);
    print(json, &document, || words::text(&document, &shown))?;
    Ok(End::healthy_if(healthy))
}

async fn audit(
    config: &Config,
    db: &Db,
    storage: &Storage,
    (catalog, readable): (Arc<Catalog>, &ReadableData),
    arguments: &Arguments,
) -> Result<Audit, Failed> {
    let template = config.storage.key_template.clone();
    let reading = Arc::new(Reading::new(catalog, Inventory::apart(&template), readable));
    db.is_settled(&reading).await?;
    Ok(Audit {
        inventory: Inventory::new(db.clone(), storage.clone(), reading, template),
        orphan_before: orphan_before(arguments.older_than),
        // One more than may be moved tells that there are too many.
        keep_orphans: arguments.fix.map_or(0, |_| arguments.max.saturating_add(1)),
    })
}

fn orphan_before(older_than: std::time::Duration) -> time::OffsetDateTime {
    let now = Clock::system().now();
    // No test can wait for an hour.
    if failpoint::removed("protection::age_of_orphans") { now + older_than } else { now - older_than }
}

impl Document {
    fn new(
        found: &Found,
        readable: &ReadableData,
        arguments: &Arguments,
        requests: u64,
        fix: Option<fix::Fixed>,
    ) -> Self {
        let by_class = |of: fn(&Total) -> u64| {
            let each = |class: &Class| (class.as_str(), found.classes.get(class).map_or(0, of));
            Class::ALL.iter().map(each).collect::<BTreeMap<_, _>>()
        };
        let bucket = |side: Side| (side.to_string(), found.bucket(side));
        Self {
            complete: found.is_complete(),
            counts: by_class(|total| total.files),
            bytes: by_class(|total| total.bytes),
            buckets: BTreeMap::from([bucket(Side::Object), bucket(Side::Recycle)]),
            rows: found.rows,
            other_size: found.other_size,
            data_left: readable
                .is_any()
                .then(|| Left { total: found.data_left, tables_unread: readable.unread() }),
            lost_with_data: readable.is_any().then_some(found.lost_with_data),
            older_than_seconds: arguments.older_than.as_secs(),
            missing: found.missing.clone(),
            requests,
            waited: Waits {
                listing_seconds: found.waited.listing.as_secs_f64(),
                rows_seconds: found.waited.rows.as_secs_f64(),
            },
            fix,
        }
    }
}

impl<'a> Line<'a> {
    fn of(finding: &'a Finding) -> Self {
        Self {
            file_id: finding.file.as_ref().map(crate::file::FileId::as_str),
            schema: finding.schema.as_ref().map(crate::file::SchemaName::as_str),
            key: &finding.key,
            class: finding.class,
            size: finding.size,
            row_size: finding.row_size,
            data_in_row: finding.data.map(|bytes| bytes > 0),
        }
    }
}

/// A bar, on a terminal.
fn bar() -> Option<ProgressBar> {
    std::io::stderr().is_terminal().then(|| {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // A constant.
        let bar = ProgressBar::new(STEPS as u64);
        // The template is a constant; a wrong one would only look plainer.
        let style = ProgressStyle::with_template("{bar:40} {percent} %, {eta} left");
        bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
    })
}

fn progress(bar: Option<&ProgressBar>, far: f64) {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // From 0 to 1.
    if let Some(bar) = bar {
        bar.set_position((far * STEPS) as u64);
    }
}

//! `status`: one look at everything, in one screen; `--watch` looks again and again.

mod watch;
mod words;

use std::time::Duration;

use serde::Serialize;

use super::arguments::Status as Arguments;
use super::output::{Failed, Finding, print, suggest};
use super::paint::Paint;
use super::parts;
use crate::broker::BrokerError;
use crate::config::{Config, Needs};
use crate::db::failures::capture_failures_told;
use crate::db::pace::Rates;
use crate::db::process::{Process, SILENT_AFTER};
use crate::db::schema::SchemaState;
use crate::db::triggers::CaptureState;
use crate::guard::{Guard, Verdict, compare};

#[derive(Default, Serialize)]
struct Status {
    healthy: bool,
    /// In a sentence.
    headline: String,
    outbox: Option<Outbox>,
    queues: Option<Queues>,
    dependencies: Dependencies,
    listener: State,
    /// Deletions that could not be captured, and of which nobody has taken note: their files are left behind.
    #[serde(skip)]
    left_behind: u64,
    guard: State,
    paused: Option<String>,
    /// Files that moved lately.
    rates: Option<Rates>,
    processes: Vec<Process>,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct Outbox {
    rows: u64,
    oldest_seconds: f64,
    capture_failures: u64,
}

#[derive(Serialize)]
struct Queues {
    work: u64,
    wait: u64,
    dead: u64,
}

#[derive(Default, Serialize)]
struct Dependencies {
    database: State,
    broker: State,
    storage: State,
}

#[derive(Default, Serialize)]
struct State {
    ok: bool,
    message: String,
}

impl State {
    fn of<T, E: std::fmt::Display>(result: &Result<T, E>) -> Self {
        match result {
            Ok(_) => Self { ok: true, message: "ok".to_owned() },
            Err(error) => Self { ok: false, message: error.to_string() },
        }
    }
}

/// What the database tells.
struct FromDatabase {
    outbox: Option<Outbox>,
    rates: Option<Rates>,
    listener: State,
    left_behind: u64,
    processes: Vec<Process>,
    warnings: Vec<String>,
}

pub(super) async fn run(config: &Config, arguments: &Arguments, json: bool) -> Result<Finding, Failed> {
    config.require(Needs::ALL).map_err(Failed::configuration)?;
    if let Some(seconds) = arguments.watch {
        return watch::watch(config, Duration::from_secs(seconds), json).await;
    }
    let status = look(config).await?;
    print(json, &status, || words::text(&status, Paint::of_stdout()))?;
    suggest(json, words::next(&status));
    Ok(Finding::healthy_if(status.healthy))
}

/// One look.
async fn look(config: &Config) -> Result<Status, Failed> {
    let mut status = Status::default();
    let guard = Guard::new(parts::buckets(config)?);

    let database = look_at_database(config, &guard).await;
    status.dependencies.database = State::of(&database.as_ref().map_err(|error| &error.message));
    if let Ok(found) = database {
        status.warnings.extend(found.warnings);
        status.processes = found.processes;
        status.outbox = found.outbox;
        status.rates = found.rates;
        status.listener = found.listener;
        status.left_behind = found.left_behind;
    }
    let storage = look_at_storage(config, &guard).await;
    status.dependencies.storage = State::of(&storage.map_err(|error| error.message));
    let queues = look_at_broker(config).await;
    status.dependencies.broker = State::of(&queues);
    status.queues = queues.ok();

    match guard.verdict() {
        Verdict::Open(environment) => {
            status.guard = State { ok: true, message: format!("environment {environment}") };
        }
        Verdict::Paused(why) => {
            status.guard = State { ok: true, message: "adopted".to_owned() };
            status.warnings.push(format!("paused: {why}"));
            status.paused = Some(why);
        }
        closed => status.guard = State { ok: false, message: closed.to_string() },
    }
    status.warnings.extend(guard.stale_nonce());
    if let Some(dead) = status.queues.as_ref().map(|queues| queues.dead).filter(|dead| *dead > 0) {
        status.warnings.push(format!("{dead} dead letters: file-recycler dlq list"));
    }
    let Dependencies { database, broker, storage } = &status.dependencies;
    status.healthy =
        [database, broker, storage, &status.listener, &status.guard].iter().all(|state| state.ok)
            && status.processes.iter().all(|process| process.ready);
    status.headline = words::headline(&status, config.recycle.grace);
    Ok(status)
}

async fn look_at_database(config: &Config, guard: &Guard) -> Result<FromDatabase, Failed> {
    let db = parts::database(config)?;
    // What keeps the rights from being looked at is met again below.
    if let Ok(Some(lacking)) = db.lacking(&config.crm).await {
        return Err(Failed::new(lacking));
    }
    let asked = guard.before_asking();
    let environment = db.environment().await?;
    let paused = environment.environment.as_ref().is_some_and(|environment| environment.paused.is_some());
    guard.saw_database(asked, environment);
    let capture = db.capture_status(&config.crm, config.listener.on_capture_error).await?;
    let state = capture.state();
    if state == CaptureState::NotInstalled {
        let message = "not installed: run `file-recycler listener install`".to_owned();
        let listener = State { ok: false, message };
        return Ok(FromDatabase {
            outbox: None,
            rates: None,
            listener,
            left_behind: 0,
            processes: Vec::new(),
            warnings: Vec::new(),
        });
    }
    let backlog = db.backlog().await?;
    let mut warnings = capture.hints.clone();
    warnings.extend(db.lacking_elsewhere(&config.crm).await?);
    let message = match state {
        CaptureState::Drifted => {
            let drift = format!("drift: {}", capture.told());
            warnings.push(drift.clone());
            drift
        }
        _ => "installed".to_owned(),
    };
    let mut processes = Vec::new();
    let mut rates = None;
    let mut unseen = 0;
    if capture.schema == SchemaState::Current {
        processes = db.processes(SILENT_AFTER).await?;
        processes.retain(|process| !process.died_here());
        rates = Some(db.rates().await?);
        unseen = db.unseen_capture_failures().await?;
        warnings.extend(db.silence().await?.map(|silent| silent.to_string()));
    }
    warnings.extend(backlog.told(config.recycle.grace, paused));
    Ok(FromDatabase {
        outbox: Some(Outbox {
            rows: backlog.rows,
            oldest_seconds: backlog.oldest.unwrap_or(Duration::ZERO).as_secs_f64(),
            capture_failures: db.capture_failures().await?,
        }),
        rates,
        listener: State {
            ok: unseen == 0,
            message: if unseen == 0 { message } else { capture_failures_told(unseen) },
        },
        left_behind: unseen,
        processes,
        warnings,
    })
}

async fn look_at_storage(config: &Config, guard: &Guard) -> Result<(), Failed> {
    let storage = parts::storage(config).await?;
    storage.check().await?;
    compare(&storage, &parts::database(config)?, guard).await?;
    Ok(())
}

async fn look_at_broker(config: &Config) -> Result<Queues, BrokerError> {
    let (broker, topology) = parts::broker(config)?;
    let session = broker.connect().await?;
    let depth = async |queue: &str| -> Result<u64, BrokerError> {
        let missing = || BrokerError::Topology(format!("queue '{queue}' is missing; `run` makes it"));
        Ok(session.depth(queue).await?.ok_or_else(missing)?.messages)
    };
    let mut wait = 0;
    for delay in &topology.delays {
        wait += depth(&topology.wait(delay)).await?;
    }
    let queues = Queues { work: depth(&topology.work()).await?, wait, dead: depth(&topology.dead()).await? };
    session.close().await;
    Ok(queues)
}

//! `restore`: objects back from the recycle bucket. A dry run shows what would come back, and what would not.

mod progress;
mod source;
mod words;

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::StreamExt as _;

use super::arguments::{Restore, record};
use super::next::Next;
use super::output::{Failed, Finding, operator, print, suggest};
use super::parts;
use super::report::Report;
use super::requests::Requests;
use crate::clock::Clock;
use crate::config::{Config, Needs, Profile};
use crate::db::Db;
use crate::db::catalog::Catalog;
use crate::db::inventory::Reading;
use crate::db::schema::SchemaState;
use crate::file::FileId;
use crate::inventory::Inventory;
use crate::restore::{Archive, OldVersions, Parts, Restored, Restorer, Settings, Summary, all_files};
use crate::retention::{Kept, kept};
use crate::stop::Stop;
use crate::storage::{Capabilities, Kind, Side, Storage, StorageError, Versioning};
use progress::Progress;
use source::{Source, Which};
use words::{Document, text};

/// Most files in work at the same time: the storage's own bound is on requests.
const MOST_AT_ONCE: usize = 48;
/// Files that a person is shown one by one.
const SHOWN: usize = 20;

pub(super) async fn run(config: &Config, arguments: Restore, json: bool) -> Result<Finding, Failed> {
    config.require(Needs { broker: false, ..Needs::ALL }).map_err(Failed::configuration)?;
    let clock = Clock::system();
    let which = if arguments.to_match_database { None } else { Some(which(config, &arguments, &clock)?) };
    may_be_asked(config, &arguments)?;
    let db = parts::database(config)?;
    let requests = Requests::default();
    let storage = parts::storage_observed(config, requests.observe()).await?;
    primary(&db).await?;
    let admitted = parts::admitted_for_restore(config, &db, &storage).await;
    // Somebody who only wants to know is told what would refuse.
    let refused = match admitted {
        Err(refused) if arguments.apply => return Err(refused),
        admitted => admitted.err().map(|refused| refused.message),
    };
    let stop = parts::listening(config)?;
    let restorer = Arc::new(restorer(config, &arguments, db.clone(), storage.clone(), clock, stop).await?);
    let total = how_many(&db, restorer.catalog(), which.as_ref()).await?;
    let mut report = Report::begin(arguments.report.as_deref())?;
    if arguments.apply {
        db.record_change(&operator(), "restore", &described(which.as_ref(), &arguments)).await?;
    }
    let elsewhere = Arc::new(AtomicU64::new(0));
    let source = Source {
        db: db.clone(),
        catalog: restorer.catalog().clone(),
        readable: db.readable_data(restorer.catalog()).await?,
        template: config.storage.key_template.clone(),
        with_rows: arguments.with_rows,
        elsewhere: Arc::clone(&elsewhere),
        keyless: RefCell::default(),
    };
    let inventory = inventory(config, &source, &storage);
    let files = match which {
        Some(which) => source.stream(which).boxed_local(),
        None => all_files(inventory.clone()).boxed_local(),
    };
    let (mut progress, mut shown) = (Progress::new(total), Vec::new());
    let mut summary = restorer
        .run(files, |result| {
            progress.add();
            if (!result.result.is_well() || result.why.is_some()) && shown.len() < SHOWN {
                shown.push(result.clone());
            }
            report.add(result)
        })
        .await;
    progress.end();
    if arguments.to_match_database && summary.stopped.is_none() && !summary.interrupted {
        // Else rows of a table that is new were overlooked.
        summary.stopped = inventory.is_settled().await.err().map(|failure| failure.error);
    }
    report.end()?;
    let document = Document::new(
        &arguments,
        &summary,
        requests.counted(),
        refused,
        warnings(&arguments, &summary, elsewhere.load(Ordering::Relaxed)),
    );
    print(json, &document, || text(&document, &summary, &shown))?;
    let unclear = shown.iter().find(|file| !file.result.is_well());
    suggest(json, unclear.map(|file| Next::Explain(file.file_id.to_string())));
    Ok(Finding::healthy_if(summary.is_well()))
}

/// Which files, from the command line.
fn which(config: &Config, arguments: &Restore, clock: &Clock) -> Result<Which, Failed> {
    let uuids = config.crm.profile == Profile::Creatio;
    if let Some(since) = arguments.deleted_since {
        return Ok(Which::DeletedSince(since.resolve(clock.now())));
    }
    if let Some(text) = &arguments.record {
        let (schema, id) = record(text)?;
        return Ok(Which::Record(schema, file_id(id, uuids, "--record")?.to_string()));
    }
    let mut files: Vec<FileId> = Vec::new();
    for id in &arguments.file {
        let id = file_id(id, uuids, "--file")?;
        if !files.contains(&id) {
            files.push(id);
        }
    }
    Ok(Which::Files(files))
}

/// An id as the database writes it.
fn file_id(text: &str, uuids: bool, option: &str) -> Result<FileId, Failed> {
    let text = text.trim();
    if uuids {
        let uuid = uuid::Uuid::try_parse(text);
        return uuid
            .map(FileId::from)
            .map_err(|_| Failed::usage(format!("{option}: '{}' is no UUID", text.escape_debug())));
    }
    FileId::try_from(text).map_err(|error| Failed::usage(format!("{option}: the id {error}")))
}

/// Where no database says which rows there are, every file is one without a row.
fn may_be_asked(config: &Config, arguments: &Restore) -> Result<(), Failed> {
    if config.crm.profile != Profile::Events {
        return Ok(());
    }
    if arguments.to_match_database {
        return Err(Failed::usage(
            "--to-match-database: crm.profile is events, there is no database to match",
        ));
    }
    if arguments.with_rows {
        return Err(Failed::usage("--with-rows: crm.profile is events, there are no rows to bring back"));
    }
    if !arguments.force {
        return Err(Failed::usage(
            "crm.profile is events: no database says whether a row names a file, so files come back with --force only",
        ));
    }
    Ok(())
}

/// How many files it will be, where that is known before.
async fn how_many(db: &Db, catalog: &Catalog, which: Option<&Which>) -> Result<Option<u64>, Failed> {
    Ok(match which {
        Some(Which::Files(files)) => Some(files.len() as u64),
        Some(Which::DeletedSince(since)) => Some(db.count_recycled_since(*since).await?),
        Some(Which::Record(..)) => None,
        // Only for the bar: a server that takes too long to count is not waited for.
        None => db.count_files(catalog).await.ok(),
    })
}

/// Both buckets and the database, by the restorer's own catalogue.
fn inventory(config: &Config, source: &Source, storage: &Storage) -> Inventory {
    let template = config.storage.key_template.clone();
    let catalog = Arc::new(source.catalog.clone());
    let reading = Arc::new(Reading::new(catalog, Inventory::apart(&template), &source.readable));
    Inventory::new(source.db.clone(), storage.clone(), reading, template)
}

async fn primary(db: &Db) -> Result<(), Failed> {
    if !db.environment().await?.is_primary {
        return Err(
            Failed::new("the database is a replica: only the primary knows what is alive").then(Next::Doctor)
        );
    }
    if db.schema_state().await? != SchemaState::Current {
        return Err(Failed::not_installed());
    }
    Ok(())
}

async fn restorer(
    config: &Config,
    arguments: &Restore,
    db: Db,
    storage: Storage,
    clock: Clock,
    stop: Stop,
) -> Result<Restorer, Failed> {
    let (server, old_versions) = server(&storage, arguments.apply).await?;
    let backup_time = arguments.backup_time.map(|time| time.resolve(clock.now()));
    // Only then it matters how long files are kept, and the right to ask is needed.
    let kept = if backup_time.is_some() { kept(&storage.lifecycle().await?.terms()) } else { Kept::ForEver };
    let environment =
        db.environment().await?.environment.map(|environment| environment.id).unwrap_or_default();
    let settings = Settings {
        apply: arguments.apply,
        force: arguments.force,
        backup_time,
        remove_copy: arguments.remove_copy,
        archive: Archive { tier: arguments.archive_tier.into(), days: arguments.archive_days },
        concurrency: config.recycle.concurrency.clamp(1, MOST_AT_ONCE),
    };
    let parts = Parts {
        recycle_bucket: parts::buckets(config)?.recycle,
        catalog: db.discover(&config.crm).await?,
        storage,
        server,
        old_versions,
        kept,
        db,
        environment,
        clock,
        stop,
    };
    Ok(Restorer::new(parts, settings))
}

/// What the server can do, and where there are old versions to read. A dry run writes no probe objects either: most of it
/// matters only to what is done. How the buckets keep versions is asked in any case: the probe takes a bucket whose
/// versions it may not read for one without. A bucket whose versioning is suspended has old versions, and keeps nothing
/// of what is overwritten now.
async fn server(storage: &Storage, apply: bool) -> Result<(Capabilities, OldVersions), Failed> {
    let (object, recycle) =
        tokio::try_join!(versioning(storage, Side::Object), versioning(storage, Side::Recycle))?;
    let probed = if apply { Some(storage.probe().await?) } else { None };
    // Where the answer cannot be read, the probe has seen it. A dry run overwrites nothing: there it may be either.
    let keeps = |told: Option<Versioning>, seen: fn(&Capabilities) -> bool| match told {
        Some(told) => told == Versioning::Enabled,
        None => probed.as_ref().is_none_or(seen),
    };
    let object_versioned = keeps(object, |probed| probed.object_versioned);
    let recycle_versioned = keeps(recycle, |probed| probed.recycle_versioned);
    let old_versions = OldVersions {
        object: object != Some(Versioning::Never),
        recycle: recycle != Some(Versioning::Never),
    };
    let probed = probed.unwrap_or(Capabilities::unknown());
    Ok((Capabilities { object_versioned, recycle_versioned, ..probed }, old_versions))
}

/// Nothing where the answer cannot be read (moto's): then versions are looked for, which is one request more for a bucket
/// that has none.
async fn versioning(storage: &Storage, side: Side) -> Result<Option<Versioning>, StorageError> {
    match storage.versioning(side).await {
        Err(error) if error.kind == Kind::BadAnswer => Ok(None),
        answer => answer.map(Some),
    }
}

/// What was asked for, for the trail.
fn described(which: Option<&Which>, arguments: &Restore) -> String {
    let which = match which {
        None => "all that the database names".to_owned(),
        Some(Which::Files(files)) if files.len() == 1 => format!("file {}", files[0]),
        Some(Which::Files(files)) => format!("{} files, the first {}", files.len(), files[0]),
        Some(Which::Record(schema, id)) => format!("record {schema} {id}"),
        Some(Which::DeletedSince(since)) => format!("deleted since {since}"),
    };
    let given = [
        ("--force", arguments.force),
        ("--with-rows", arguments.with_rows),
        ("--remove-copy", arguments.remove_copy),
        ("--backup-time", arguments.backup_time.is_some()),
    ];
    let given = given.iter().filter(|(_, given)| *given).map(|(option, _)| format!(" {option}"));
    which + &given.collect::<String>()
}

fn warnings(arguments: &Restore, summary: &Summary, elsewhere: u64) -> Vec<String> {
    let mut warnings = Vec::new();
    if arguments.to_match_database && arguments.backup_time.is_none() {
        warnings.push(
            "without --backup-time an object that was replaced since the backup, and has the same size, counts as present"
                .to_owned(),
        );
    }
    if elsewhere > 0 {
        warnings.push(format!(
            "{elsewhere} rows of the record have their content in the database, or none (links): they are passed by"
        ));
    }
    if arguments.force && !arguments.with_rows && summary.of(Restored::Restored).files > 0 {
        warnings.push(
            "a file without a row is nobody's: an event about it that still waits, or an audit with --fix orphans, \
             moves it again"
                .to_owned(),
        );
    }
    warnings
}

//! `migrate`: contents between the rows of files and the storage. A dry run tells what it would be.

mod progress;
mod watch;
mod words;

use std::sync::Arc;
use std::time::Instant;

use uuid::Uuid;

use super::arguments::{Migrate, To, record};
use super::next::Next;
use super::output::{Failed, Finding, operator, print, suggest, write};
use super::parts;
use super::report::Report;
use super::requests::Requests;
use crate::clock::Clock;
use crate::config::{Config, Needs, Profile};
use crate::db::Db;
use crate::db::catalog::Catalog;
use crate::db::contents::ReadableData;
use crate::db::inventory::Reading;
use crate::db::migrate::{Count, Direction, Filter, Migration};
use crate::db::schema::SchemaState;
use crate::file::SchemaName;
use crate::guard::{Fit, Guard, fit, wrong_template};
use crate::inventory::Inventory;
use crate::migrate::{Bounds, FileResult, Migrator, Parts, PutAway, Settings};
use crate::service::Once;
use crate::storage::{Capabilities, Mark, Storage, Support};
use progress::Progress;
use watch::Watch;
use words::{Document, Expected, text};

/// Files that a person is shown one by one.
const SHOWN: usize = 50;
/// Rows in S3 that are looked for, to see that the key template is right.
const SAMPLE: usize = 20;

pub(super) async fn run(config: &Config, arguments: Migrate, json: bool) -> Result<Finding, Failed> {
    config.require(Needs { broker: false, ..Needs::ALL }).map_err(Failed::configuration)?;
    let direction = direction(config, &arguments)?;
    let filter = filter(&arguments, &Clock::system())?;
    let db = parts::database(config)?;
    let requests = Requests::default();
    let storage = parts::storage_observed(config, requests.observe()).await?;
    let (environment, guard) = environment(config, &db, &storage, arguments.apply).await?;
    let catalog = db.discover(&config.crm).await?;
    let migration = db.migration(&catalog, direction, filter).await?;
    if let Some(lacking) = db.lacking_to_migrate(&catalog, &migration, direction, arguments.apply).await? {
        return Err(Failed::new(format!("nothing is changed: {lacking}")));
    }
    let told = of_template(config, &db, &storage, &catalog, &arguments, direction).await?;
    let planned = planned(&db, &migration, arguments.limit).await?;
    let expected = expected(config, &storage, &arguments, direction, &planned).await?;
    let once = once(config, &db, &storage, arguments.apply).await?;
    let warnings = warnings(&migration, once.as_deref(), told);
    let mut report = Report::begin(arguments.report.as_deref())?;
    let stop = parts::listening(config)?;
    let server = once.as_ref().map_or(Capabilities::unknown(), |once| once.server());
    let watch =
        if arguments.apply { Some(Watch::begin(guard, &db, &storage, server, &stop).await?) } else { None };
    let run = format!("migrate-{}", Uuid::new_v4());
    if arguments.apply {
        db.record_change(&operator(), "migrate", &described(&arguments, &run)).await?;
    }
    let parts = Parts {
        db: db.clone(),
        migration: migration.clone(),
        storage: storage.clone(),
        server,
        template: config.storage.key_template.clone(),
        mark: Mark { environment, run },
        put_away: put_away(once),
        left_behind: arguments.recycle_objects.then(|| inventory(config, &db, &storage, catalog)),
        stop,
    };
    let migrator = Arc::new(Migrator::new(parts, settings(&arguments, direction)));
    let mut progress = Progress::new(planned.bytes.unsigned_abs(), planned.files.unsigned_abs());
    let (mut shown, begun) = (Vec::new(), Instant::now());
    let mut summary = migrator
        .run(|file| {
            progress.add(file.bytes.unwrap_or_default());
            if json {
                line(file)?;
            } else if (!file.result.is_done() || file.why.is_some()) && shown.len() < SHOWN {
                shown.push(file.clone());
            }
            report.add(file)
        })
        .await;
    progress.end();
    let reported = report.end();
    if let Some(watch) = watch
        && let Some(why) = watch.end().await
    {
        (summary.stopped, summary.interrupted) = (Some(why), false);
    }
    let took = begun.elapsed();
    let sizes =
        if direction == Direction::ToDatabase { Vec::new() } else { sizes(&db, &migration, &summary).await };
    let document = Document::new(&arguments, &summary, expected, took, requests.counted(), &warnings, &sizes);
    print(json, &document, || text(&document, &summary, &shown))?;
    // What was done is told, whatever became of the report.
    reported?;
    let unclear = shown.iter().find(|file| !file.result.is_well());
    suggest(json, unclear.map(|file| Next::Explain(file.file_id.to_string())));
    Ok(Finding::healthy_if(summary.is_well()))
}

fn direction(config: &Config, arguments: &Migrate) -> Result<Direction, Failed> {
    if config.crm.profile != Profile::Creatio {
        return Err(Failed::usage(
            "crm.profile is not creatio: where another application keeps its contents is not known",
        ));
    }
    if arguments.recycle_objects && arguments.to != Some(To::Database) {
        return Err(Failed::usage("--recycle-objects: goes with --to database only"));
    }
    Ok(match arguments.to {
        Some(To::Storage) => Direction::ToStorage,
        Some(To::Database) => Direction::ToDatabase,
        None => Direction::Reclaim,
    })
}

fn filter(arguments: &Migrate, clock: &Clock) -> Result<Filter, Failed> {
    let schema = |name: &String| {
        SchemaName::try_from(name.trim())
            .map_err(|error| Failed::usage(format!("--schema: the schema {error}")))
    };
    let record = match &arguments.record {
        None => None,
        Some(text) => {
            let (schema, id) = record(text)?;
            let uuid = Uuid::try_parse(id)
                .map_err(|_| Failed::usage(format!("--record: '{}' is no UUID", id.escape_debug())))?;
            Some((schema, uuid))
        }
    };
    Ok(Filter {
        schemas: arguments.schema.iter().map(schema).collect::<Result<_, _>>()?,
        record,
        modified_before: arguments.older_than.as_ref().map(|time| time.resolve(clock.now())),
        larger_than: arguments.larger_than,
    })
}

/// The environment's id; with `apply` only where the guard lets anybody work.
async fn environment(
    config: &Config,
    db: &Db,
    storage: &Storage,
    apply: bool,
) -> Result<(String, Guard), Failed> {
    if apply {
        db.sessions_are_its_own().await?;
    }
    let state = db.environment().await?;
    if !state.is_primary {
        return Err(
            Failed::new("the database is a replica: rows are changed on the primary only").then(Next::Doctor)
        );
    }
    if db.schema_state().await? != SchemaState::Current {
        return Err(Failed::not_installed());
    }
    let guard =
        if apply { parts::open(config, db, storage).await? } else { Guard::new(parts::buckets(config)?) };
    let id = state.environment.map(|environment| environment.id.to_string()).unwrap_or_default();
    Ok((id, guard))
}

/// What is to be said of the key template before contents go by it; nothing where a file that the CRM put into S3 shows that
/// it is right, or none has to. Where the files there show that it is not, that is a refusal with `--apply`.
async fn of_template(
    config: &Config,
    db: &Db,
    storage: &Storage,
    catalog: &Catalog,
    arguments: &Migrate,
    direction: Direction,
) -> Result<Option<String>, Failed> {
    let template = &config.storage.key_template;
    let rows = db.newest_files(catalog, SAMPLE).await?;
    let nothing_shows = format!("nothing shows that storage.key_template ('{template}') is the CRM's");
    let why = match fit(storage, template, &rows).await? {
        Fit::Fits => return Ok(None),
        Fit::Other(right) => wrong_template(template, &right),
        _ if arguments.trust_template => return Ok(None),
        // Then nothing comes from S3; and what is left there goes only where its content is the row's.
        Fit::Empty if direction != Direction::ToStorage => return Ok(None),
        Fit::Ours if direction == Direction::ToDatabase => return Ok(None),
        Fit::Ours => {
            return Ok(Some(format!(
                "a migration has put each file there that was looked at in S3, and so {nothing_shows}: open some of them in the CRM before --reclaim"
            )));
        }
        Fit::Empty => {
            return Ok(Some(format!(
                "the CRM has put no file into S3 yet, and so {nothing_shows}: open some of these files in the CRM before --reclaim"
            )));
        }
        Fit::Nowhere => format!(
            "of the newest files in S3 no object was found, and so {nothing_shows}: add a file in the CRM while its storage is S3, \
             and run this again; or --trust-template"
        ),
    };
    if arguments.apply {
        return Err(Failed::new(format!("nothing is changed: {why}")).then(Next::Doctor));
    }
    Ok(Some(format!("--apply would be refused: {why}")))
}

/// What is meant, all tables together.
async fn planned(db: &Db, migration: &Migration, limit: Option<u64>) -> Result<Count, Failed> {
    let mut all = Count::default();
    for table in migration.tables() {
        let count = db.migration_count(migration, table).await?;
        all.files += count.files;
        all.bytes += count.bytes;
        all.stored += count.stored;
    }
    let limit = limit.and_then(|limit| i64::try_from(limit).ok()).filter(|limit| *limit < all.files);
    if let Some(limit) = limit {
        // Of files that are not known yet: their share.
        let share = |bytes: i64| {
            i64::try_from(i128::from(bytes) * i128::from(limit) / i128::from(all.files)).unwrap_or(bytes)
        };
        all = Count { files: limit, bytes: share(all.bytes), stored: share(all.stored) };
    }
    Ok(all)
}

async fn expected(
    config: &Config,
    storage: &Storage,
    arguments: &Migrate,
    direction: Direction,
    planned: &Count,
) -> Result<Expected, Failed> {
    let begun = Instant::now();
    storage.check().await?;
    let request = begun.elapsed();
    let (files, bytes) = (planned.files.unsigned_abs(), planned.bytes.unsigned_abs());
    Ok(Expected::new(arguments, direction, (files, bytes), request, config.recycle.concurrency))
}

/// For objects that nobody needs in the object bucket any more; a dry run has none.
async fn once(config: &Config, db: &Db, storage: &Storage, apply: bool) -> Result<Option<Arc<Once>>, Failed> {
    if !apply {
        return Ok(None);
    }
    let once = Once::for_migration(config, db.clone(), storage.clone()).await;
    let once = once.map_err(|failure| Failed::new(format!("nothing is changed: {}", failure.error)))?;
    Ok(Some(Arc::new(once)))
}

/// What somebody should know.
fn warnings(migration: &Migration, once: Option<&Once>, template: Option<String>) -> Vec<String> {
    let mut warnings = migration.warnings().to_vec();
    warnings.extend(template);
    if once.is_some_and(|once| once.server().put_if_none_match != Support::Honoured) {
        warnings.push(
            "this storage keeps no condition on a write: that there was no object was seen by a look right before each, and \
             what the CRM wrote in between may have been overwritten"
                .to_owned(),
        );
    }
    warnings
}

/// By which objects are found that were left behind.
fn inventory(config: &Config, db: &Db, storage: &Storage, catalog: Catalog) -> Inventory {
    let template = config.storage.key_template.clone();
    let reading = Reading::new(Arc::new(catalog), Inventory::apart(&template), &ReadableData::default());
    Inventory::new(db.clone(), storage.clone(), Arc::new(reading), template).without_copies()
}

fn settings(arguments: &Migrate, direction: Direction) -> Settings {
    #[allow(clippy::cast_precision_loss, reason = "bytes a second")]
    let bandwidth = arguments.bandwidth.filter(|bound| *bound > 0).map(|bound| bound as f64);
    Settings {
        direction,
        apply: arguments.apply,
        recycle_objects: arguments.recycle_objects,
        let_settle: arguments.older_than.is_none(),
        limit: arguments.limit,
        rate: arguments.rate,
        bandwidth,
        bounds: Bounds {
            wal: Some(arguments.wal).filter(|bound| *bound > 0),
            sessions: Some(arguments.sessions).filter(|bound| *bound > 0),
            lag: Some(arguments.lag).filter(|bound| *bound > 0),
        },
    }
}

/// By the worker's own move.
fn put_away(once: Option<Arc<Once>>) -> PutAway {
    Arc::new(move |job, etag| {
        let once = once.clone();
        Box::pin(async move {
            match once {
                Some(once) => once.recycle_object(job, etag).await,
                // A dry run moves nothing.
                None => Ok(Some(crate::outcome::Outcome::WouldMove)),
            }
        })
    })
}

fn line(file: &FileResult) -> Result<(), String> {
    let line = serde_json::to_string(file).map_err(|error| error.to_string())?;
    match write(&line) {
        Ok(true) => Ok(()),
        Ok(false) => Err("nobody reads any more".to_owned()),
        Err(failed) => Err(failed.message),
    }
}

/// What the tables take of which something was, or would be, cleared.
async fn sizes(
    db: &Db,
    migration: &Migration,
    summary: &crate::migrate::Summary,
) -> Vec<(SchemaName, String, u64)> {
    let mut sizes = Vec::new();
    for table in migration.tables() {
        if summary.tables.contains_key(&table.schema)
            && let Ok(size) = db.size_of_table(table).await
        {
            sizes.push((table.schema.clone(), table.name.clone(), size.unsigned_abs()));
        }
    }
    sizes
}

/// What was asked for, for the trail.
fn described(arguments: &Migrate, run: &str) -> String {
    let what = match arguments.to {
        Some(To::Storage) => "to the storage",
        Some(To::Database) if arguments.recycle_objects => "to the database, objects to the recycle bucket",
        Some(To::Database) => "to the database",
        None => "clearing rows whose content is proven to be in the storage",
    };
    let which =
        if arguments.schema.is_empty() { "all schemas".to_owned() } else { arguments.schema.join(", ") };
    let record = arguments.record.as_ref().map(|record| format!(", record {record}")).unwrap_or_default();
    format!("{what}: {which}{record}, as {run}")
}

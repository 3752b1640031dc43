//! The adapters that commands are made of, from the configuration.

use std::sync::Arc;

use super::next::Next;
use super::output::Failed;
use crate::broker::{Broker, BrokerError, Topology};
use crate::config::Config;
use crate::db::Db;
use crate::db::environment::Buckets;
use crate::failpoint;
use crate::guard::{Guard, Verdict, compare};
use crate::outcome::Failure;
use crate::stop::Stop;
use crate::storage::{Observe, Storage};

/// The database.
pub(super) fn database(config: &Config) -> Result<Db, Failed> {
    let url = config.database.url.as_ref().ok_or_else(|| Failed::usage("database.url is not set"))?;
    Ok(Db::connect(url)?)
}

/// The broker, and the names of its queues.
pub(super) fn broker(config: &Config) -> Result<(Broker, Topology), BrokerError> {
    let topology = Topology { prefix: config.broker.prefix.clone(), delays: config.retry.delays.clone() };
    Ok((Broker::new(&config.broker)?, topology))
}

/// The storage, uncounted.
pub(super) async fn storage(config: &Config) -> Result<Storage, Failed> {
    storage_observed(config, Arc::new(|_, _| {})).await
}

/// The storage, whose requests somebody counts.
pub(super) async fn storage_observed(config: &Config, observe: Observe) -> Result<Storage, Failed> {
    Ok(Storage::connect(&config.storage, &config.recycle, observe).await?)
}

/// A Ctrl-C stops after what is in hand; a second one at once.
pub(super) fn listening(config: &Config) -> Result<Stop, Failed> {
    let stop = Stop::new(config.shutdown_timeout);
    stop.on_signals()?;
    Ok(stop)
}

/// The buckets, as the environment's binding names them.
pub(super) fn buckets(config: &Config) -> Result<Buckets, Failed> {
    Buckets::configured(&config.storage).ok_or_else(|| Failed::usage("the buckets are not configured"))
}

/// Does the guard let anybody change these buckets? A pause does: it stops workers and relays, not the operator.
pub(super) async fn admitted(config: &Config, db: &Db, storage: &Storage) -> Result<(), Failed> {
    match verdict(config, db, storage).await? {
        Verdict::Open(_) | Verdict::Paused(_) => Ok(()),
        closed => Err(refused(&closed)),
    }
}

/// Does the guard let anybody bring files back? As [`admitted`], and also where the environment was adopted for that
/// alone, after the database was set back to a backup.
pub(super) async fn admitted_for_restore(config: &Config, db: &Db, storage: &Storage) -> Result<(), Failed> {
    match verdict(config, db, storage).await? {
        Verdict::Open(_) | Verdict::Paused(_) | Verdict::RestoreAlone => Ok(()),
        _ if failpoint::removed("protection::guard_of_restore") => Ok(()),
        closed => Err(refused(&closed)),
    }
}

/// Does the guard let anybody consume, publish or move, as a worker or a relay does? A pause stops that as well.
pub(super) async fn open(config: &Config, db: &Db, storage: &Storage) -> Result<Guard, Failed> {
    let guard = Guard::new(buckets(config)?);
    compare(storage, db, &guard).await.map_err(unchanged)?;
    match guard.verdict() {
        Verdict::Open(_) => Ok(guard),
        _ if failpoint::removed("protection::guard_of_commands") => Ok(guard),
        closed => Err(refused(&closed)),
    }
}

/// The guard could not be asked.
fn unchanged(failure: Failure) -> Failed {
    let failed = Failed::from(failure);
    Failed { message: format!("nothing is changed: {}", failed.message), ..failed }
}

/// Why nothing is changed, and what leads on.
pub(super) fn refused(closed: &Verdict) -> Failed {
    Failed::new(format!("nothing is changed: {closed}")).then(Next::after_verdict(closed))
}

/// What the guard says now.
pub(super) async fn verdict(config: &Config, db: &Db, storage: &Storage) -> Result<Verdict, Failed> {
    let guard = Guard::new(buckets(config)?);
    compare(storage, db, &guard).await?;
    Ok(guard.verdict())
}

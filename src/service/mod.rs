//! The loops of `run`, `listen` and `work`: made from the configuration, watched, stopped in two stages.

mod intake;
mod leftovers;
mod listening;
mod monitor;
mod nonce;
mod once;
mod process;
mod registry;
mod relay;
mod retention;
mod silence;
mod template;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::broker::{Broker, BrokerError, Topology};
use crate::clock::Clock;
use crate::config::{Config, Mode, Profile};
use crate::db::environment::Buckets;
use crate::db::registry::Registry as DbRegistry;
use crate::db::{Db, DbError};
use crate::gate::{self, Gate};
use crate::guard::Guard;
use crate::health::Health;
use crate::http;
use crate::metrics::{Metrics, RequestResult, StorageOperation};
use crate::outcome::Failure;
use crate::recycle::{Counted, Meter, Recycler};
use crate::resolve::{Policy, Resolver};
use crate::retry::{Pauses, UNTIL_BACK};
use crate::stop::Stop;
use crate::storage::{Answer, Capabilities, Operation, Storage, StorageError};
use crate::worker::{Brake, Judgement, Marks, Trial, Worker};
pub(crate) use nonce::advance_if_old as advance_old_nonce;
pub use once::Once;
use registry::GuardedRegistry;
use template::Template;

/// Files in flight for each request in flight: enough that deletions find company while copies go on.
const FILES_PER_REQUEST: usize = 24;

/// Which loops a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Halves {
    /// `run`
    Both,
    /// `listen`
    Listener,
    /// `work`
    Worker,
}

impl Halves {
    fn listens(self) -> bool {
        matches!(self, Self::Both | Self::Listener)
    }

    fn works(self) -> bool {
        matches!(self, Self::Both | Self::Worker)
    }
}

/// Why the service cannot even begin; a server that is down is no such reason.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The database's address cannot be used.
    #[error(transparent)]
    Database(#[from] DbError),
    /// The broker's address or certificates cannot be used.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The storage's settings cannot be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Signals cannot be heard.
    #[error("signals cannot be heard: {0}")]
    Signals(#[from] std::io::Error),
    /// A setting is missing that the caller should have required.
    #[error("{0} is not set")]
    Missing(&'static str),
}

/// What all loops share.
#[derive(Clone)]
struct Parts {
    config: Arc<Config>,
    halves: Halves,
    db: Db,
    registry: Arc<DbRegistry>,
    broker: Broker,
    topology: Topology,
    storage: Storage,
    guard: Guard,
    gate: Gate,
    health: Health,
    metrics: Metrics,
    clock: Clock,
}

/// Runs until a signal asks for the end, and then until what is in flight is finished.
pub async fn run(config: Config, halves: Halves) -> Result<(), ServiceError> {
    let stop = Stop::new(config.shutdown_timeout);
    stop.on_signals()?;
    let parts = Parts::new(config, halves).await?;
    info!(?halves, version = env!("CARGO_PKG_VERSION"), "starting");
    if parts.config.crm.profile == Profile::Events {
        info!(
            "crm.profile is events: no database is asked whether a file is still in use, and what an event names moves; \
             that only deleted files are named rests on whoever sends the events"
        );
    }
    let mut loops = JoinSet::new();
    let served_until = CancellationToken::new();
    let events = parts.events();
    if let Some(events) = &events {
        loops.spawn(events.intake.clone().run(stop.clone()));
    }
    let http = tokio::spawn(parts.clone().serve_http(events, served_until.clone()));
    watch::start(&parts, &mut loops, &stop);
    loops.spawn(parts.clone().tell_of_itself(stop.clone()));
    loops.spawn(parts.clone().watch_retention(stop.clone()));
    // Without a database of the application's there is nothing to capture, and so nothing to relay.
    if halves.listens() && parts.config.crm.profile != Profile::Events {
        let (parts, stop) = (parts.clone(), stop.clone());
        loops.spawn(async move { parts.listen(stop).await });
    }
    if halves.works() {
        let (parts, stop) = (parts.clone(), stop.clone());
        loops.spawn(async move { parts.work(stop).await });
    }
    stop.requested().await;
    stop.drain(&mut loops).await;
    served_until.cancel();
    // Its own end is bounded; a panic in it was logged.
    let _ = http.await;
    info!("stopped");
    Ok(())
}

impl Parts {
    async fn new(config: Config, halves: Halves) -> Result<Self, ServiceError> {
        let url = config.database.url.as_ref().ok_or(ServiceError::Missing("database.url"))?;
        let db = Db::connect(url)?;
        let binding = Buckets::configured(&config.storage).ok_or(ServiceError::Missing("the buckets"))?;
        let guard = Guard::new(binding);
        let clock = Clock::system();
        let metrics = Metrics::new();
        metrics.configured(config.recycle.grace, config.retention_database_backups);
        let counted = metrics.clone();
        let observe = Arc::new(move |operation, answer| count(&counted, operation, answer));
        Ok(Self {
            registry: Arc::new(DbRegistry::new(db.clone(), config.crm.clone())),
            db,
            broker: Broker::new(&config.broker)?,
            topology: Topology { prefix: config.broker.prefix.clone(), delays: config.retry.delays.clone() },
            storage: Storage::connect(&config.storage, &config.recycle, observe).await?,
            guard,
            gate: Gate::default(),
            health: Health::new(clock.clone(), metrics.clone()),
            metrics,
            clock,
            config: Arc::new(config),
            halves,
        })
    }

    /// The worker. What the server can do is probed first, which writes to the buckets: so not before the
    /// guard has opened.
    async fn work(self, stop: Stop) {
        let template = Arc::new(Template::new(self.config.storage.key_template.clone()));
        if !self.template_fits(&template, &stop).await {
            return;
        }
        let Some(server) = self.probe(&stop).await else { return };
        if !self.advance_first(&server, &stop).await {
            return;
        }
        let advancing = tokio::spawn(self.clone().keep_advancing(server, stop.clone()));
        let doubting = tokio::spawn(self.clone().look_again_at_template(Arc::clone(&template), stop.clone()));
        let Some((object, recycle)) = self.config.storage.buckets.clone() else { return };
        let sweeping = (self.config.recycle.mode == Mode::Move)
            .then(|| tokio::spawn(leftovers::sweep(self.clone(), stop.clone())));
        let registry = GuardedRegistry {
            registry: Arc::clone(&self.registry),
            db: self.db.clone(),
            storage: self.storage.clone(),
            guard: self.guard.clone(),
            template,
            compared: crate::fresh::Fresh::default(),
            object,
            recycle,
            elsewhere: registry::Elsewhere::Stays,
        };
        let worker = Worker {
            broker: self.broker,
            topology: self.topology,
            prefetch: self.config.worker.prefetch,
            delays: self.config.retry.delays.clone(),
            grace: self.config.recycle.grace,
            resolver: Resolver::new(
                self.registry,
                self.config.storage.key_template.clone(),
                Policy {
                    trust_outside_events: self.config.crm.trust_outside_events,
                    observe: self.config.recycle.mode == Mode::Observe,
                },
            ),
            recycler: Recycler::new(
                self.storage,
                server,
                registry,
                self.config.recycle.mode,
                self.clock.clone(),
                meter(&self.metrics),
            ),
            db: self.db,
            guard: self.guard,
            gate: self.gate,
            metrics: self.metrics,
            clock: self.clock,
            name: worker_name(),
            places: Arc::new(Semaphore::new(self.config.recycle.concurrency * FILES_PER_REQUEST)),
            brake: Brake::new(self.config.recycle.brake),
            judgement: Judgement::default(),
            trial: Trial::default(),
            marks: Marks::default(),
        };
        Arc::new(worker).run(stop).await;
        advancing.abort();
        doubting.abort();
        if let Some(sweeping) = sweeping {
            // What it did not get to is swept by the next one.
            sweeping.abort();
        }
    }

    async fn serve_http(self, events: Option<http::Events>, until: CancellationToken) {
        if let Some(listen) = self.config.http.listen {
            let shared = http::Shared { health: self.health, metrics: self.metrics, events };
            http::serve(listen, shared, until).await;
        }
    }

    async fn probe(&self, stop: &Stop) -> Option<Capabilities> {
        let mut pauses = Pauses::system(UNTIL_BACK);
        loop {
            tokio::select! {
                () = stop.requested() => return None,
                () = self.gate.opened(gate::WORKER) => {}
            }
            match self.storage.probe().await {
                Ok(server) => {
                    info!(?server, "probed what the storage can do");
                    return Some(server);
                }
                Err(error) => {
                    warn!(%error, "the storage could not be probed");
                    self.gate.report(&Failure::new(error.advice(), error.to_string()));
                }
            }
            tokio::select! {
                () = stop.requested() => return None,
                () = tokio::time::sleep(pauses.next().unwrap_or(Duration::from_secs(30))) => {}
            }
        }
    }
}

fn count(metrics: &Metrics, operation: Operation, answer: Answer) {
    let operation = match operation {
        // Reading the settings is no request.
        Operation::Connect => return,
        Operation::AbortMultipartUpload => StorageOperation::AbortMultipartUpload,
        Operation::CompleteMultipartUpload => StorageOperation::CompleteMultipartUpload,
        Operation::CopyObject => StorageOperation::CopyObject,
        Operation::CreateMultipartUpload => StorageOperation::CreateMultipartUpload,
        Operation::DeleteObject => StorageOperation::DeleteObject,
        Operation::DeleteObjects => StorageOperation::DeleteObjects,
        Operation::GetBucketEncryption => StorageOperation::GetBucketEncryption,
        Operation::GetObjectLockConfiguration => StorageOperation::GetObjectLock,
        Operation::GetBucketLifecycleConfiguration => StorageOperation::GetBucketLifecycle,
        Operation::GetBucketVersioning => StorageOperation::GetBucketVersioning,
        Operation::PutBucketLifecycleConfiguration => StorageOperation::PutBucketLifecycle,
        Operation::GetObject => StorageOperation::GetObject,
        Operation::GetObjectTagging => StorageOperation::GetObjectTagging,
        Operation::HeadBucket => StorageOperation::HeadBucket,
        Operation::HeadObject => StorageOperation::HeadObject,
        Operation::ListObjectVersions => StorageOperation::ListObjectVersions,
        Operation::ListObjectsV2 => StorageOperation::ListObjects,
        Operation::ListParts => StorageOperation::ListParts,
        Operation::PutObject => StorageOperation::PutObject,
        Operation::PutObjectTagging => StorageOperation::PutObjectTagging,
        Operation::RestoreObject => StorageOperation::RestoreObject,
        Operation::UploadPart => StorageOperation::UploadPart,
        Operation::UploadPartCopy => StorageOperation::UploadPartCopy,
    };
    let result = match answer {
        Answer::Ok => RequestResult::Ok,
        Answer::Retry => RequestResult::Retry,
        Answer::Error => RequestResult::Error,
    };
    metrics.storage_request(operation, result);
}

fn meter(metrics: &Metrics) -> Meter {
    let metrics = metrics.clone();
    Arc::new(move |counted| match counted {
        Counted::AliveAfterMove => metrics.alive_after_move(),
        Counted::Moved(moved) => {
            metrics.bytes(moved.bytes);
            metrics.move_seconds(Duration::from_secs_f64(moved.seconds));
            if let Some(seconds) = moved.seconds_since_deletion {
                metrics.delete_to_recycle(Duration::from_secs_f64(seconds));
            }
        }
    })
}

/// Host name and process id.
fn worker_name() -> String {
    format!("{}:{}", gethostname::gethostname().to_string_lossy(), std::process::id())
}

//! A recycler for one command: the same proven move, under the same guard, without a worker.

use std::sync::Arc;

use time::OffsetDateTime;

use super::nonce::advance;
use super::registry::{Elsewhere, GuardedRegistry};
use super::template::Template;
use crate::clock::Clock;
use crate::config::Config;
use crate::db::Db;
use crate::db::registry::Registry as DbRegistry;
use crate::failpoint;
use crate::file::ObjectKey;
use crate::guard::{Guard, Verdict, compare};
use crate::outcome::{Advice, Failure, Outcome};
use crate::recycle::{Job, Move, Recycler};
use crate::retry::{Pauses, WITHIN_A_DELIVERY, retry};
use crate::storage::{Capabilities, ETag, Head, Side, Storage};

/// Moves files on an operator's word.
pub struct Once {
    recycler: Recycler<GuardedRegistry>,
    db: Db,
    storage: Storage,
    guard: Guard,
    server: Capabilities,
}

impl Once {
    /// Where the guard admits: not in a pause, and not where the environment was adopted for a restore alone. The nonce
    /// is advanced, as at a worker's start.
    ///
    /// # Errors
    /// The guard's refusal, and whatever keeps it from being asked.
    pub async fn new(config: &Config, db: Db, storage: Storage) -> Result<Self, Failure> {
        Self::with(config, db, storage, Elsewhere::Stays).await
    }

    /// As [`Once::new`], for objects whose rows say that their content is elsewhere, too: what is left of a migration.
    /// Whoever hands one over has seen that no storage but the database has it.
    ///
    /// # Errors
    /// As [`Once::new`].
    pub async fn for_migration(config: &Config, db: Db, storage: Storage) -> Result<Self, Failure> {
        Self::with(config, db, storage, Elsewhere::Goes).await
    }

    async fn with(config: &Config, db: Db, storage: Storage, elsewhere: Elsewhere) -> Result<Self, Failure> {
        let held = |why: &str| Failure::new(Advice::Hold, why);
        let buckets = config.storage.buckets.clone().ok_or_else(|| held("the buckets are not configured"))?;
        let binding = crate::db::environment::Buckets::configured(&config.storage);
        let guard = Guard::new(binding.ok_or_else(|| held("the buckets are not configured"))?);
        open(&storage, &db, &guard).await?;
        let server = storage.probe().await?;
        // Where nothing is captured, no worker may run that advances it: a clone would never be told from its original.
        if !failpoint::removed("protection::nonce_of_commands") {
            advance(&storage, &db, &guard, &server).await?;
        }
        let template = Arc::new(Template::new(config.storage.key_template.clone()));
        // What it is given was found under its key.
        template.prove();
        let (object, recycle) = buckets;
        let registry = GuardedRegistry {
            registry: Arc::new(DbRegistry::new(db.clone(), config.crm.clone())),
            db: db.clone(),
            storage: storage.clone(),
            guard: guard.clone(),
            template,
            compared: crate::fresh::Fresh::default(),
            object,
            recycle,
            elsewhere,
        };
        let (mode, meter) = (config.recycle.mode, Arc::new(|_| {}));
        let recycler = Recycler::new(storage.clone(), server, registry, mode, Clock::system(), meter);
        Ok(Self { recycler, db, storage, guard, server })
    }

    /// Asks the guard again, where something else was done since.
    ///
    /// # Errors
    /// The guard's refusal, and whatever keeps it from being asked.
    pub async fn asked_again(&self) -> Result<(), Failure> {
        open(&self.storage, &self.db, &self.guard).await
    }

    /// Does the server keep keys to the byte?
    pub fn exact_keys(&self) -> bool {
        self.server.exact_keys
    }

    /// What the storage's server can do.
    pub fn server(&self) -> Capabilities {
        self.server
    }

    /// Brings one file to its outcome, with the tries that a delivery would have, if its object is still this one; nothing
    /// where another one is in its place.
    ///
    /// # Errors
    /// As [`Recycler::attempt`].
    pub async fn recycle_object(&self, job: Job, etag: ETag) -> Result<Option<Outcome>, Failure> {
        let file = Move::of_object(job, etag);
        let outcome = retry(Pauses::system(WITHIN_A_DELIVERY), || self.recycler.attempt(&file)).await?;
        Ok(Some(outcome).filter(|_| !file.is_replaced()))
    }

    /// Brings one file to its outcome, with the tries that a delivery would have, if its object was written before this
    /// moment; one that was written again since somebody looked is nobody's to move.
    ///
    /// # Errors
    /// As [`Recycler::attempt`].
    pub async fn recycle_if_older(&self, job: Job, before: OffsetDateTime) -> Result<Outcome, Failure> {
        let file = match self.object(&job.key).await? {
            Some(head) if head.last_modified.is_none_or(|written| written >= before) => {
                return Ok(Outcome::Alive);
            }
            Some(head) => Move::of_object(job, head.etag),
            None => Move::from(job),
        };
        retry(Pauses::system(WITHIN_A_DELIVERY), || self.recycler.attempt(&file)).await
    }

    async fn object(&self, key: &ObjectKey) -> Result<Option<Head>, Failure> {
        let look = || async { Ok(self.storage.head(Side::Object, key).await?) };
        retry(Pauses::system(WITHIN_A_DELIVERY), look).await
    }
}

/// Compares marker and database; an error where that shuts.
async fn open(storage: &Storage, db: &Db, guard: &Guard) -> Result<(), Failure> {
    compare(storage, db, guard).await?;
    match guard.verdict() {
        Verdict::Open(_) => Ok(()),
        closed => Err(Failure::new(Advice::Hold, closed.to_string())),
    }
}

//! A recycler for one command: the same proven move, under the same guard, without a worker.

use std::sync::Arc;

use super::registry::GuardedRegistry;
use super::template::Template;
use crate::clock::Clock;
use crate::config::Config;
use crate::db::Db;
use crate::db::registry::Registry as DbRegistry;
use crate::guard::{Guard, Verdict, compare};
use crate::outcome::{Advice, Failure};
use crate::recycle::{Job, Move, Recycler};
use crate::retry::{Pauses, WITHIN_A_DELIVERY, retry};
use crate::storage::Storage;

/// Moves files on an operator's word.
pub struct Once(Recycler<GuardedRegistry>);

impl Once {
    /// Where the guard admits: not in a pause, and not where the environment was adopted for a restore alone.
    ///
    /// # Errors
    /// The guard's refusal, and whatever keeps it from being asked.
    pub async fn new(config: &Config, db: Db, storage: Storage) -> Result<Self, Failure> {
        let held = |why: &str| Failure::new(Advice::Hold, why);
        let buckets = config.storage.buckets.clone().ok_or_else(|| held("the buckets are not configured"))?;
        let binding = crate::db::environment::Buckets::configured(&config.storage);
        let guard = Guard::new(binding.ok_or_else(|| held("the buckets are not configured"))?);
        compare(&storage, &db, &guard).await?;
        match guard.verdict() {
            Verdict::Open(_) => {}
            closed => return Err(held(&closed.to_string())),
        }
        let server = storage.probe().await?;
        let template = Arc::new(Template::new(config.storage.key_template.clone()));
        // What it is given was found under its key.
        template.prove();
        let (object, recycle) = buckets;
        let registry = GuardedRegistry {
            registry: Arc::new(DbRegistry::new(db.clone(), config.crm.clone())),
            db,
            storage: storage.clone(),
            guard,
            template,
            compared: crate::fresh::Fresh::default(),
            object,
            recycle,
        };
        let (mode, meter) = (config.recycle.mode, Arc::new(|_| {}));
        Ok(Self(Recycler::new(storage, server, registry, mode, Clock::system(), meter)))
    }

    /// Brings one file to its outcome, with the tries that a delivery would have.
    ///
    /// # Errors
    /// As [`Recycler::attempt`].
    pub async fn recycle(&self, job: Job) -> Result<crate::outcome::Outcome, Failure> {
        let file = Move::from(job);
        retry(Pauses::system(WITHIN_A_DELIVERY), || self.0.attempt(&file)).await
    }
}

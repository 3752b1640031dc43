//! What would happen to a dead letter if it were replayed now: asked of database and storage, changing neither.

use std::sync::Arc;

use crate::broker::Delivery;
use crate::clock::Clock;
use crate::config::{Config, Mode};
use crate::db::Db;
use crate::db::catalog::Catalog;
use crate::db::dangling::{DanglingReport, DeletedRecord};
use crate::db::registry::Registry as DbRegistry;
use crate::event::{Deleted, Event};
use crate::file::{FileRef, Named, RecordId, SchemaName};
use crate::outcome::{Advice, DeadReason, Failure, FileEnd, Liveness, Outcome};
use crate::recycle::{LedgerEntry, Move, Recycler, Registry};
use crate::resolve::{Policy, Resolver};
use crate::storage::{Capabilities, Storage};

/// What would be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Would {
    /// Nothing is left to do.
    Nothing,
    /// It stays: a row or a link names it, or it is not in S3.
    Stay,
    /// It moves.
    Move,
    /// It fails again.
    Fail,
}

/// What would happen to a message now.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Now {
    /// The worst of its files' fates; [`Would::Nothing`] for a message whose files are found when it is replayed.
    pub would: Would,
    /// Why, in a sentence.
    pub why: String,
    /// Each file that it names.
    pub files: Vec<FileNow>,
}

/// What would happen to a file now.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct FileNow {
    /// The file.
    pub file_id: String,
    /// What would be done.
    pub would: Would,
    /// Why, in a sentence.
    pub why: String,
}

/// Answers what would happen, by the same code that does it, which is told to do nothing.
pub struct Prospect {
    db: Db,
    registry: Arc<DbRegistry>,
    resolver: Resolver,
    recycler: Recycler<ReadOnly>,
}

/// The database's answers; it is told nothing.
struct ReadOnly(Arc<DbRegistry>);

impl Registry for ReadOnly {
    async fn check(&self, files: Vec<Named>) -> Result<Vec<Liveness>, Failure> {
        Ok(self.0.liveness(&files).await?.liveness)
    }

    async fn note(&self, entries: Vec<LedgerEntry>) -> Result<Vec<Liveness>, Failure> {
        Ok(vec![Liveness::Dead; entries.len()])
    }

    async fn doubt_key(&self, _file: &FileRef) -> Result<(), Failure> {
        Ok(())
    }

    async fn confirm_environment(&self) -> Result<(), Failure> {
        Ok(())
    }
}

impl Prospect {
    /// Nothing is asked yet.
    pub fn new(config: &Config, db: Db, storage: Storage) -> Self {
        let registry = Arc::new(DbRegistry::new(db.clone(), config.crm.clone()));
        let policy = Policy { trust_outside_events: config.crm.trust_outside_events, observe: true };
        let resolver = Resolver::new(Arc::clone(&registry), config.storage.key_template.clone(), policy);
        let recycler = Recycler::new(
            storage,
            Capabilities::unknown(),
            ReadOnly(Arc::clone(&registry)),
            Mode::Observe,
            Clock::system(),
            Arc::new(|_| {}),
        );
        Self { db, registry, resolver, recycler }
    }

    /// What would happen to this message now.
    pub async fn of(&self, delivery: &Delivery) -> Now {
        let event = match Event::decode(&delivery.body, self.resolver.id_kind()) {
            Ok(event) => event,
            Err(malformed) => return Now::failing(malformed.to_string()),
        };
        let ours = match self.db.environment().await {
            Ok(state) => state.environment.map(|environment| environment.id),
            Err(error) => return Now::failing(error.to_string()),
        };
        if event.environment.is_some() && event.environment != ours {
            return Now::failing("the event is another environment's: it would stop the workers".to_owned());
        }
        match self.ends(&event, event.environment.is_some()).await {
            Ok(ends) => Now::of(ends.iter().map(FileNow::of).collect()),
            Err(failure) => Now::failing(failure.error),
        }
    }

    /// What would become of this file, were its deletion reported now.
    pub async fn of_file(&self, file: FileRef) -> Result<Outcome, Failure> {
        let none =
            Failure::new(Advice::GiveUp(DeadReason::Internal), format!("file {} has no end", file.file_id));
        let data = Deleted::Files { files: vec![file] };
        let event = Event::new(String::new(), String::new(), Clock::system().now(), None, data);
        self.ends(&event, true).await?.pop().map_or(Err(none), |end| end.result)
    }

    /// What hangs on a record that is gone, by what a worker would find.
    pub async fn hanging_on(&self, schema: &SchemaName, id: &RecordId) -> Result<DanglingReport, Failure> {
        let record = DeletedRecord { schema, id, event_id: "", may_delete: false };
        Ok(self.registry.clear_dangling(record).await?)
    }

    /// The catalogue that it asks by.
    pub async fn catalog(&self) -> Result<Arc<Catalog>, Failure> {
        Ok(self.registry.catalog().await?)
    }

    async fn ends(&self, event: &Event, ours: bool) -> Result<Vec<FileEnd>, Failure> {
        let resolved = self.resolver.resolve(event, ours).await?;
        let mut ends = resolved.ends;
        for job in resolved.jobs {
            let file = job.file.clone();
            let result = self.recycler.attempt(&Move::from(job)).await;
            ends.push(FileEnd { file, result });
        }
        Ok(ends)
    }
}

impl Now {
    /// It cannot be told.
    pub fn unknown(why: &str) -> Self {
        Self::failing(format!("it cannot be told: {why}"))
    }

    fn failing(why: String) -> Self {
        Self { would: Would::Fail, why, files: Vec::new() }
    }

    fn of(files: Vec<FileNow>) -> Self {
        let worst = files.iter().max_by_key(|file| file.would);
        let (would, why) = worst.map_or_else(
            || {
                (
                    Would::Nothing,
                    "it names no file; what hangs on its record is found when it is replayed".to_owned(),
                )
            },
            |file| (file.would, file.why.clone()),
        );
        Self { would, why, files }
    }
}

impl FileNow {
    fn of(end: &FileEnd) -> Self {
        let (would, why) = match &end.result {
            Ok(outcome) => prospect(*outcome),
            Err(failure) => (Would::Fail, failure.error.clone()),
        };
        Self { file_id: end.file.file_id.to_string(), would, why }
    }
}

fn prospect(outcome: Outcome) -> (Would, String) {
    let (would, why) = match outcome {
        Outcome::WouldMove | Outcome::Moved => (Would::Move, "it would move to the recycle bucket"),
        Outcome::AlreadyMoved => (Would::Nothing, "it is in the recycle bucket already"),
        Outcome::Missing => (Would::Nothing, "it is in neither bucket"),
        Outcome::Alive => (Would::Stay, "a row or a live link names it: it stays"),
        Outcome::Elsewhere => (Would::Stay, "its content is not in S3: it stays"),
        Outcome::Conflict => (Would::Fail, "other content is in the recycle bucket under its key"),
        Outcome::Failed => (Would::Fail, "it would fail"),
    };
    (would, why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_fate_of_a_file_is_the_messages() {
        let file = |would| FileNow { file_id: "f".into(), would, why: format!("{would:?}") };
        for (fates, expected) in [
            (vec![], Would::Nothing),
            (vec![Would::Move, Would::Nothing], Would::Move),
            (vec![Would::Stay, Would::Nothing], Would::Stay),
            (vec![Would::Move, Would::Fail, Would::Stay], Would::Fail),
        ] {
            assert_eq!(Now::of(fates.into_iter().map(file).collect()).would, expected);
        }
    }

    #[test]
    fn every_outcome_is_foretold() {
        for outcome in Outcome::ALL {
            assert!(!prospect(*outcome).1.is_empty());
        }
    }
}

//! Contents between the rows of files and the storage, both ways, while people work.
//!
//! A run goes through the tables, row by row in the order of their ids. What a row says decides whether it is meant, so that
//! no state is kept beside the rows, and a run that was cut off is gone on with by running it again. Small files go in
//! groups, a large one in pieces; what is in memory at the same time is bounded (`budget.rs`), and so is what the database
//! has to bear (`gentle.rs`).
//!
//! At every moment a file is readable from where its row says that it is: its content is there, proven, before the one
//! statement that switches the row, and stays where it was after it.

mod asking;
mod away;
mod budget;
mod gentle;
mod groups;
mod left;
mod pace;
mod proof;
mod reclaim;
mod result;
mod run;
mod switch;
mod to_database;
mod to_storage;

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::db::Db;
use crate::db::migrate::{Direction, Migration};
use crate::file::{FileId, FileRef, ObjectKey, SchemaName};
use crate::inventory::Inventory;
use crate::key_template::KeyTemplate;
use crate::outcome::{Failure, Outcome};
use crate::recycle::{EventContext, Job};
use crate::stop::Stop;
use crate::storage::{Capabilities, ETag, Head, Mark, Storage};

pub use gentle::{Bounds, Wait};
pub use result::{Count, FileResult, Migrated, Summary};

use budget::Budget;
use gentle::Gentle;
use pace::Pace;

/// Moves one object to the recycle bucket as a worker does: proven, and only where no row says that it is in S3. Only the
/// object with this ETag: another one that came since is nobody's to move, and then there is no outcome.
pub type PutAway =
    Arc<dyn Fn(Job, ETag) -> BoxFuture<'static, Result<Option<Outcome>, Failure>> + Send + Sync>;

/// How contents are moved.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to.
    pub direction: Direction,
    /// Does it; otherwise it is only told which files it would be.
    pub apply: bool,
    /// Moves objects to the recycle bucket, once their content is in the database; also those that were left behind.
    pub recycle_objects: bool,
    /// What was changed just now is left alone until it has been still for a while.
    pub let_settle: bool,
    /// Most files.
    pub limit: Option<u64>,
    /// Most files a second.
    pub rate: Option<f64>,
    /// Most bytes a second.
    pub bandwidth: Option<f64>,
    /// What the database has to bear at most.
    pub bounds: Bounds,
}

/// What a migration is made of.
pub struct Parts {
    /// The rows.
    pub db: Db,
    /// Which of them, and the statements.
    pub migration: Migration,
    /// The objects.
    pub storage: Storage,
    /// What the storage's server keeps.
    pub server: Capabilities,
    /// From a file to its key.
    pub template: KeyTemplate,
    /// What it writes is marked so; where objects are put away, the ledger names the run.
    pub mark: Mark,
    /// For objects that nobody needs in the object bucket any more.
    pub put_away: PutAway,
    /// By which objects are found that a migration to the database left behind, once all else is done; nothing: they stay.
    pub left_behind: Option<Inventory>,
    /// Ends it early.
    pub stop: Stop,
}

/// A migration.
pub struct Migrator {
    parts: Parts,
    settings: Settings,
    gentle: Gentle,
    pace: Pace,
    budget: Budget,
}

impl Migrator {
    /// Nothing is asked yet. It looks at the database every so often from here on.
    pub fn new(parts: Parts, settings: Settings) -> Self {
        let gentle = Gentle::watch(parts.db.clone(), settings.bounds, parts.stop.clone());
        let pace = Pace::new(settings.rate, settings.bandwidth, tokio::time::Instant::now());
        let budget = Budget::new(settings.bounds.wal.is_some());
        Self { parts, settings, gentle, pace, budget }
    }

    /// Was this written by an earlier run of this environment? What this run has written is another row's of the same id.
    fn is_of_an_earlier_run(&self, head: &Head) -> bool {
        self.is_ours(head) && head.migrated_in() != Some(self.parts.mark.run.as_str())
    }

    /// Was this written by a run of this environment?
    fn is_ours(&self, head: &Head) -> bool {
        head.migrated_by() == Some(self.parts.mark.environment.as_str())
    }

    fn key(&self, id: uuid::Uuid, schema: &SchemaName) -> Result<ObjectKey, Failure> {
        let key = self.parts.template.key(&FileId::from(id), Some(schema));
        key.map_err(|error| asking::lasting(format!("it has no key: {error}")))
    }

    /// Moves the object with this ETag to the recycle bucket; not where any row with this id has it in a storage that is not
    /// the database. Nothing where it is another object by now.
    async fn put_away(
        &self,
        id: uuid::Uuid,
        schema: &SchemaName,
        key: &ObjectKey,
        etag: &ETag,
    ) -> Result<Option<Outcome>, Failure> {
        let (db, migration) = (&self.parts.db, &self.parts.migration);
        let others = self.database(|| db.in_other_storage(migration, std::slice::from_ref(&id))).await?;
        if !migration.knows_database() || !others.is_empty() {
            return Ok(Some(Outcome::Alive));
        }
        let file = FileRef { file_id: FileId::from(id), schema: Some(schema.clone()), size: None, key: None };
        let event = EventContext { id: self.parts.mark.run.clone(), record: None, deleted_at: None };
        (self.parts.put_away)(Job { file, key: key.clone(), event }, etag.clone()).await
    }
}

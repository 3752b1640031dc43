//! From one event to the files that it is about: those that it names, with their keys, and what still
//! hangs on its record in the database.

mod written;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tracing::{info, warn};

use crate::batch::{Batcher, Limits};
use crate::config::{FileTable, Profile};
use crate::db::catalog::Catalog;
use crate::db::dangling::DeletedRecord;
use crate::db::hanging::Record;
use crate::db::registry::Registry;
use crate::event::{Deleted, Event, IdKind};
use crate::file::{FileId, FileRef, ObjectKey, RecordId, SchemaName};
use crate::key_template::KeyTemplate;
use crate::outcome::{Advice, DeadReason, Dependency, Failure, FileEnd, Outcome};
use crate::recycle::{EventContext, Job};

/// Most pages of dangling rows that one delivery works off: 1,000 rows each. A record with more comes
/// back as events of its own rows, which our triggers capture.
const MAX_PAGES: usize = 10_000;

/// Questions about what hangs on records wait this long for company.
const HANGING: Limits = Limits {
    size: 500,
    enough: 500,
    linger: Duration::from_millis(5),
    idle: Duration::from_millis(5),
    concurrent: 2,
    queue: 4_096,
};

/// Records whose dangling rows are deleted at the same time: each takes a connection of the pool.
const CLEARING: usize = 4;

/// Finds the files of events. One for the whole process: its questions gather the records of all messages.
pub struct Resolver {
    registry: Arc<Registry>,
    key_template: KeyTemplate,
    policy: Policy,
    hanging: Batcher<Record, bool>,
    clearing: Semaphore,
}

/// What may be done about rows that hang on a record.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// `crm.trust_outside_events`: may an outside event have them deleted, too.
    pub trust_outside_events: bool,
    /// `recycle.mode = "observe"`: nothing may be deleted, in the database neither.
    pub observe: bool,
}

/// The files of an event.
#[derive(Debug, Default)]
pub struct Resolved {
    /// Files to recycle.
    pub jobs: Vec<Job>,
    /// Files that ended already, because they cannot be what the event says they are.
    pub ends: Vec<FileEnd>,
    /// Files of rows that hang on the record and were left alone, by outcome; they are named by no event.
    pub left: Vec<(Outcome, u64)>,
}

impl Resolver {
    /// A resolver; its batches run on the current tokio runtime.
    pub fn new(registry: Arc<Registry>, key_template: KeyTemplate, policy: Policy) -> Self {
        let asked = Arc::clone(&registry);
        let hanging = Batcher::new(HANGING, move |records: Vec<Record>| {
            let registry = Arc::clone(&asked);
            async move {
                let asked = registry.hanging(&records).await;
                asked.map_err(|error| Failure::from(error).of_everybody(Dependency::Database))
            }
        });
        Self { registry, key_template, policy, hanging, clearing: Semaphore::new(CLEARING) }
    }

    /// What ids of files and records are.
    pub fn id_kind(&self) -> IdKind {
        IdKind::of(self.registry.profile())
    }

    /// Finds the files of `event`; `ours` says whether this environment's own triggers captured it.
    ///
    /// Rows that hang weakly on a captured record are deleted here; our triggers capture that, so their
    /// files come back as an event of their own and are not among these.
    pub async fn resolve(&self, event: &Event, ours: bool) -> Result<Resolved, Failure> {
        let mut event = Cow::Borrowed(event);
        if !ours {
            let catalog = self.refuse_unknown_schemas(&event).await?;
            if let Some(mapped) = catalog.mapped() {
                event = Cow::Owned(written::as_in(mapped, &event));
            }
        }
        let mut resolved = Resolved::default();
        if let Deleted::Record { schema, record_id, .. } = &event.data
            && self.hanging.submit((schema.clone(), record_id.clone())).await?
        {
            let trusted = ours
                || self.policy.trust_outside_events
                || crate::failpoint::removed("protection::trust_of_triggers_alone");
            let may_delete = trusted && !self.policy.observe;
            resolved.left = self.clear_dangling(&event.id, schema, record_id, may_delete).await?;
        }
        let context = context(&event);
        for file in event.data.files() {
            match self.key(file, ours) {
                Ok(key) => resolved.jobs.push(Job { file: file.clone(), key, event: context.clone() }),
                Err(failure) => resolved.ends.push(FileEnd { file: file.clone(), result: Err(failure) }),
            }
        }
        Ok(resolved)
    }

    /// An outside event names schemas that the database has; ours were captured from tables that may be
    /// gone since.
    async fn refuse_unknown_schemas(&self, event: &Event) -> Result<Arc<Catalog>, Failure> {
        let record = match &event.data {
            Deleted::Record { schema, .. } => Some(schema),
            Deleted::Files { .. } => None,
        };
        let schemas = event.data.files().iter().filter_map(|file| file.schema.as_ref());
        let schemas: Vec<_> = record.into_iter().chain(schemas).collect();
        let mut catalog = self.registry.catalog().await?;
        if schemas.iter().any(|schema| !catalog.knows(schema)) {
            // It may be younger than the catalogue.
            catalog = self.registry.refresh().await?;
        }
        for schema in schemas {
            if !catalog.knows(schema) {
                let problem = match self.registry.profile() {
                    Profile::Mapping(_) => format!(
                        "the database has no table '{schema}' that is listed or has a primary key of one column of type uuid, integer or text"
                    ),
                    Profile::Creatio | Profile::Events => format!("the database has no schema '{schema}'"),
                };
                return Err(Failure::new(Advice::GiveUp(DeadReason::Malformed), problem));
            }
        }
        Ok(catalog)
    }

    async fn clear_dangling(
        &self,
        event_id: &str,
        schema: &SchemaName,
        record: &RecordId,
        may_delete: bool,
    ) -> Result<Vec<(Outcome, u64)>, Failure> {
        for _ in 0..MAX_PAGES {
            // The semaphore is never closed; without a permit there would only be more connections in use.
            let _permit = self.clearing.acquire().await.ok();
            let record = DeletedRecord { schema, id: record, event_id, may_delete };
            crate::failpoint::reach("resolve::before_dangling");
            let report = self.registry.clear_dangling(record).await?;
            crate::failpoint::reach("resolve::after_dangling");
            if report.left() > 0 {
                info!(%schema, record = %record.id, ?report, "rows that hang on the record were left alone");
            }
            if !report.more {
                let alive = report.left_linked + report.left_referenced + report.left_reported;
                return Ok(vec![(Outcome::Elsewhere, report.left_elsewhere), (Outcome::Alive, alive)]);
            }
            crate::failpoint::reach("resolve::between_pages");
        }
        warn!(%schema, %record, "the record has more dangling rows than one delivery works off");
        Err(Failure::new(Advice::Retry, "the record has more dangling rows than one delivery works off"))
    }

    /// These files, named by an event of our own, are alive. One whose record is gone, as our triggers captured
    /// earlier, and which only a link had kept, may have lost its last one: then its row goes now, and our triggers
    /// capture that.
    pub async fn let_go(&self, files: &[FileId]) -> Result<(), Failure> {
        if self.policy.observe {
            return Ok(());
        }
        for record in self.registry.held(files).await? {
            let Ok(schema) = SchemaName::try_from(record.schema.as_str()) else { continue };
            self.clear_dangling(&record.event_id, &schema, &RecordId::from(record.id), true).await?;
        }
        Ok(())
    }

    /// The key of a file: the template's, or the event's own where that cannot be another file's.
    fn key(&self, file: &FileRef, ours: bool) -> Result<ObjectKey, Failure> {
        let malformed = |problem: String| Failure::new(Advice::GiveUp(DeadReason::Malformed), problem);
        if let Profile::Mapping(tables) = self.registry.profile() {
            if let Some(key) = &file.key {
                let schema = file.schema.as_ref();
                let given = schema.filter(|_| gives_key(tables, schema));
                if given.is_some() && self.key_template.key(&file.file_id, schema).as_ref() != Ok(key) {
                    return Err(malformed(format!("file {}: its key is another file's", file.file_id)));
                }
                // Whose it is where rows give it, the alive check asks: by the key alone.
                return Ok(key.clone());
            }
            if !gives_key(tables, file.schema.as_ref()) {
                let why = if ours { IMPOSSIBLE_KEY } else { NO_KEY };
                return Err(malformed(format!("file {}: {why}", file.file_id)));
            }
        }
        let Some(key) = &file.key else {
            return self
                .key_template
                .key(&file.file_id, file.schema.as_ref())
                .map_err(|error| malformed(format!("file {}: {error}", file.file_id)));
        };
        let own = file.file_id.as_uuid();
        match self.key_template.owners(key).find(|owner| Some(*owner) != own) {
            Some(owner) => Err(malformed(format!("file {}: its key is that of file {owner}", file.file_id))),
            None => Ok(key.clone()),
        }
    }
}

/// What whoever names a file without a key is told, where only its row could give one.
pub const NO_KEY: &str = "its key comes from columns of its row, which is gone: the event must carry `key`";

/// The same of a file that our own triggers captured: they take the key from the row, and what is no key is left out.
const IMPOSSIBLE_KEY: &str = "what its row gave for a key is none that S3 can have: above 1,024 bytes, of dots and slashes only, or below \
                              .file-recycler/; no object can be there";

/// Does the key template give the keys of files of this schema? Where the schema is not known, only if it gives all.
pub fn gives_key(tables: &[FileTable], schema: Option<&SchemaName>) -> bool {
    let mut meant = tables.iter().filter(|table| schema.is_none_or(|schema| table.table == schema.as_str()));
    let first = meant.next();
    first.into_iter().chain(meant).all(|table| table.key.is_none()) && first.is_some()
}

fn context(event: &Event) -> EventContext {
    let record = match &event.data {
        Deleted::Record { schema, record_id, .. } => Some((schema.clone(), record_id.clone())),
        Deleted::Files { .. } => None,
    };
    EventContext { id: event.id.clone(), record, deleted_at: event.time }
}

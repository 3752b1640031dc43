//! From one event to the files that it is about: those that it names, with their keys, and what still
//! hangs on its record in the database.

use std::sync::Arc;

use tracing::{info, warn};

use crate::db::dangling::DeletedRecord;
use crate::db::registry::Registry;
use crate::event::{Deleted, Event, IdKind};
use crate::file::{FileRef, ObjectKey, RecordId, SchemaName};
use crate::key_template::KeyTemplate;
use crate::outcome::{Advice, DeadReason, Failure, FileEnd};
use crate::recycle::{EventContext, Job};

/// Most pages of dangling rows that one delivery works off: 1,000 rows each. A record with more comes
/// back as events of its own rows, which our triggers capture.
const MAX_PAGES: usize = 10_000;

/// Finds the files of events.
#[derive(Clone)]
pub struct Resolver {
    /// The database's answers.
    pub registry: Arc<Registry>,
    /// How ids become keys.
    pub key_template: KeyTemplate,
    /// May an outside event have dangling rows deleted.
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
}

impl Resolver {
    /// What ids of files and records are.
    pub fn id_kind(&self) -> IdKind {
        IdKind::Uuid
    }

    /// Finds the files of `event`; `ours` says whether this environment's own triggers captured it.
    ///
    /// Rows that hang weakly on a captured record are deleted here; our triggers capture that, so their
    /// files come back as an event of their own and are not among these.
    pub async fn resolve(&self, event: &Event, ours: bool) -> Result<Resolved, Failure> {
        if !ours {
            self.refuse_unknown_schemas(event).await?;
        }
        if let Deleted::Record { schema, record_id, .. } = &event.data {
            self.clear_dangling(event, schema, record_id, (ours || self.trust_outside_events) && !self.observe).await?;
        }
        let context = context(event);
        let mut resolved = Resolved::default();
        for file in event.data.files() {
            match self.key(file) {
                Ok(key) => resolved.jobs.push(Job { file: file.clone(), key, event: context.clone() }),
                Err(failure) => resolved.ends.push(FileEnd { file: file.clone(), result: Err(failure) }),
            }
        }
        Ok(resolved)
    }

    /// An outside event names schemas that the database has; ours were captured from tables that may be
    /// gone since.
    async fn refuse_unknown_schemas(&self, event: &Event) -> Result<(), Failure> {
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
                let problem = format!("the database has no schema '{schema}'");
                return Err(Failure::new(Advice::GiveUp(DeadReason::Malformed), problem));
            }
        }
        Ok(())
    }

    async fn clear_dangling(
        &self,
        event: &Event,
        schema: &SchemaName,
        record: &RecordId,
        may_delete: bool,
    ) -> Result<(), Failure> {
        for _ in 0..MAX_PAGES {
            let record = DeletedRecord { schema, id: record, event_id: &event.id, may_delete };
            let report = self.registry.clear_dangling(record).await?;
            if report.left() > 0 {
                info!(%schema, record = %record.id, ?report, "rows that hang on the record were left alone");
            }
            if !report.more {
                return Ok(());
            }
            crate::failpoint::reach("resolve::between_pages");
        }
        warn!(%schema, %record, "the record has more dangling rows than one delivery works off");
        Err(Failure::new(Advice::Retry, "the record has more dangling rows than one delivery works off"))
    }

    /// The key of a file: the template's, or the event's own where that cannot be another file's.
    fn key(&self, file: &FileRef) -> Result<ObjectKey, Failure> {
        let malformed = |problem: String| Failure::new(Advice::GiveUp(DeadReason::Malformed), problem);
        let Some(key) = &file.key else {
            return self
                .key_template
                .key(&file.file_id, file.schema.as_ref())
                .map_err(|error| malformed(format!("file {}: {error}", file.file_id)));
        };
        match self.key_template.owner(key) {
            Some(owner) if Some(owner) != file.file_id.as_uuid() => {
                Err(malformed(format!("file {}: its key is that of file {owner}", file.file_id)))
            }
            _ => Ok(key.clone()),
        }
    }
}

fn context(event: &Event) -> EventContext {
    let record = match &event.data {
        Deleted::Record { schema, record_id, .. } => Some((schema.clone(), record_id.clone())),
        Deleted::Files { .. } => None,
    };
    EventContext { id: event.id.clone(), record, deleted_at: event.time }
}

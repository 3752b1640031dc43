//! Asks everybody: what can be asked side by side is, and each part has its own bound and its own error.

pub(super) mod keyed;
mod other_key;
mod record;

use std::collections::BTreeSet;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join;
use uuid::Uuid;

use self::record::note_the_rest;
use super::Explanation;
use super::found::{Environment, Foretold, Found, Hold, Object, Objects, Row};
use super::letters::{self, Reader};
use super::named::{absent_owners, file_schemas, message_ids, narrow};
use super::verdict::judge;
use crate::broker::{Broker, Topology};
use crate::clock::Clock;
use crate::config::{Config, DanglingRows, Mode, Profile};
use crate::db::Db;
use crate::db::catalog::Catalog;
use crate::db::environment::EnvironmentState;
use crate::db::process::{Process, SILENT_AFTER};
use crate::event::IdKind;
use crate::file::{FileId, FileRef, SchemaName};
use crate::guard::{Binding, Guard, Marked, Verdict};
use crate::key_template::KeyTemplate;
use crate::outcome::{Advice, Outcome};
use crate::replay::Prospect;
use crate::storage::{Head, Side, Storage};

/// How long a part may take.
const PART_WITHIN: Duration = Duration::from_secs(15);
/// The look under other templates, which is a part of a part.
const OTHER_WITHIN: Duration = Duration::from_secs(5);
/// Keys that are tried where the template needs the file's schema and nothing tells it.
const MAX_KEYS: usize = 200;

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// The id of a file or record.
    pub id: Uuid,
    /// The record's schema, where only one is meant.
    pub schema: Option<SchemaName>,
}

/// Asks database, storage and broker.
pub struct Explainer {
    db: Db,
    storage: Storage,
    broker: Broker,
    topology: Topology,
    prospect: Prospect,
    guard: Guard,
    buckets: Binding,
    template: KeyTemplate,
    profile: Profile,
    mode: Mode,
    dangling_rows: DanglingRows,
    trust_outside_events: bool,
    grace: Duration,
    clock: Clock,
}

/// The servers that it asks.
pub struct Servers {
    /// The database.
    pub db: Db,
    /// The storage.
    pub storage: Storage,
    /// The broker.
    pub broker: Broker,
    /// Its queues.
    pub topology: Topology,
}

/// What one part said.
type Part<T> = Result<T, String>;

async fn part<T, E: Display>(asked: impl Future<Output = Result<T, E>>) -> Part<T> {
    match tokio::time::timeout(PART_WITHIN, asked).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {} s", PART_WITHIN.as_secs())),
    }
}

impl Found {
    /// Keeps a part's error, and its answer.
    fn take<T>(&mut self, name: &'static str, part: Part<T>) -> Option<T> {
        part.map_err(|error| self.errors.insert(name, error)).ok()
    }
}

impl Explainer {
    /// Nothing is asked yet.
    pub fn new(config: &Config, servers: Servers, buckets: Binding) -> Self {
        let Servers { db, storage, broker, topology } = servers;
        Self {
            prospect: Prospect::new(config, db.clone(), storage.clone()),
            guard: Guard::new(buckets.clone()),
            buckets,
            db,
            storage,
            broker,
            topology,
            template: config.storage.key_template.clone(),
            profile: config.crm.profile.clone(),
            mode: config.recycle.mode,
            dangling_rows: config.crm.dangling_rows,
            trust_outside_events: config.crm.trust_outside_events,
            grace: config.recycle.grace,
            clock: Clock::system(),
        }
    }

    /// Everything that is known, and the verdict.
    pub async fn explain(&self, question: &Question) -> Explanation {
        let mut found = Found { id: question.id, ..Found::default() };
        let catalog = self.begin(&mut found).await;
        if let Some(catalog) = &catalog {
            self.ask_tables(&mut found, catalog, question).await;
        }
        let owners = absent_owners(&found);
        let ids: Vec<Uuid> = std::iter::once(question.id).chain(owners.iter().copied()).collect();
        let reachable = !found.errors.contains_key("database");
        let memory = async {
            if reachable {
                Some(tokio::join!(part(self.db.outbox_of(&ids)), part(self.db.held_of(&ids))))
            } else {
                None
            }
        };
        let keys = self.keys(&found, catalog.as_deref());
        // Not cut off by a time-out: it bounds itself, and puts back what it holds.
        let names: Vec<String> = owners.iter().map(Uuid::to_string).collect();
        let id = question.id.to_string();
        let broker = letters::look(&self.broker, &self.topology, &id, &names, self.reader(&found));
        let objects = part(self.objects(question.id, keys, file_schemas(&found)));
        let (memory, (objects, broker)) = join(memory, join(objects, broker)).await;
        if let Some((outbox, held)) = memory {
            if let Some(outbox) = found.take("outbox", outbox) {
                if outbox.passed_over {
                    let note =
                        "the outbox is long: only its oldest and its newest 10,000 rows were looked at";
                    found.notes.push(note.to_owned());
                }
                found.outbox = Some(outbox.rows);
            }
            found.held = found.take("held", held);
        }
        found.objects = found.take("objects", objects);
        if let Some(broker) = found.take("messages", broker.map_err(|error| error.to_string())) {
            found.messages = Some(broker.messages);
            found.queues = Some(broker.queues);
            found.notes.extend(broker.notes);
        }
        if let Some(only) = &question.schema {
            narrow(&mut found, only);
        }
        if let Some(catalog) = &catalog {
            self.ask_record(&mut found, catalog, question).await;
            self.ask_history(&mut found).await;
            self.foretell(&mut found).await;
        }
        Explanation { verdict: judge(&found, self.clock.now()), found }
    }

    /// The environment and the catalogue: without the first nothing of the database is asked.
    async fn begin(&self, found: &mut Found) -> Option<Arc<Catalog>> {
        let (marker, catalog) = tokio::join!(part(self.storage.marker()), part(self.prospect.catalog()));
        // After the marker: only so can the two be compared.
        let state = part(self.db.environment()).await;
        let marker = found.take("storage", marker);
        if let Some(state) = found.take("database", state) {
            match marker {
                Some(marker) => {
                    let says = marker.and_then(|marker| Marked::read(&marker.bytes));
                    self.guard.saw_both(says, state.clone());
                }
                None => self.guard.saw_database(self.guard.before_asking(), state.clone()),
            }
            found.environment = Some(self.environment(state));
            return found.take("catalog", catalog);
        }
        None
    }

    fn reader(&self, found: &Found) -> Reader {
        let environment = found.environment.as_ref().and_then(|environment| environment.id);
        Reader { ids: IdKind::of(&self.profile), environment }
    }

    fn environment(&self, state: EnvironmentState) -> Environment {
        let verdict = self.guard.verdict();
        let hold = match &verdict {
            Verdict::Open(_) | Verdict::Unknown(_) if self.mode == Mode::Observe => Some(Hold::Observes),
            Verdict::Open(_) => None,
            Verdict::Unknown(why) => Some(Hold::Unknown((*why).to_owned())),
            Verdict::Paused(why) => Some(Hold::Paused(why.clone())),
            Verdict::RestoreAlone => Some(Hold::Refused(verdict.to_string())),
            Verdict::Refused(why) | Verdict::Foreign(why) => Some(Hold::Refused(why.clone())),
        };
        let (id, adopted, paused) = state.environment.map_or((None, None, None), |environment| {
            (Some(environment.id), environment.adopted, environment.paused)
        });
        Environment {
            id,
            database: state.identity.name,
            adopted_at: adopted.map(|adopted| adopted.at),
            paused,
            guard: match verdict {
                Verdict::Open(_) => "open: this database and these buckets belong together".to_owned(),
                other => other.to_string(),
            },
            mode: self.mode,
            dangling_rows: self.dangling_rows,
            trust_outside_events: self.trust_outside_events,
            grace_seconds: self.grace.as_secs(),
            hold,
        }
    }

    /// The CRM's tables and the ledger.
    async fn ask_tables(&self, found: &mut Found, catalog: &Catalog, question: &Question) {
        let (db, id, only) = (&self.db, question.id, question.schema.as_ref());
        let name = id.to_string();
        let (rows, links, ledger, images, gone) = tokio::join!(
            part(db.rows_of_file(catalog, id)),
            part(db.links_of(catalog, id)),
            part(db.ledger_of(catalog, id, only)),
            part(db.images_of(id)),
            part(db.gone_with(&name, only)),
        );
        found.rows = found.take("rows", rows).map(|rows| rows.into_iter().map(Row::File).collect());
        if let Some(links) = found.take("links", links) {
            found.links_total = links.total;
            note_the_rest(found, "links", links.items.len(), links.total);
            found.links = Some(links.items);
        }
        found.ledger = found.take("ledger", ledger);
        found.images = found.take("images", images);
        if let Some(gone) = found.take("gone_rows", gone) {
            found.gone_rows_total = gone.total;
            note_the_rest(found, "rows that went with it", gone.items.len(), gone.total);
            found.gone_rows = Some(gone.items);
        }
    }

    /// What was done with the messages about it, and who is at work.
    async fn ask_history(&self, found: &mut Found) {
        let messages = message_ids(found);
        let (processes, replays, discarded, suspects) = tokio::join!(
            self.at_work(),
            part(self.db.replays_of(&messages)),
            part(self.db.discarded_of(found.id, &messages)),
            part(self.db.suspects_of(&messages)),
        );
        found.processes = found.take("processes", processes);
        found.replays = found.take("replays", replays);
        found.discarded = found.take("discarded", discarded);
        found.suspects = found.take("suspects", suspects);
    }

    /// The processes of this environment.
    async fn at_work(&self) -> Part<Vec<Process>> {
        let mut processes = part(self.db.processes(SILENT_AFTER)).await?;
        processes.retain(|process| !process.died_here());
        Ok(processes)
    }

    /// Asks the worker's own code, told to change nothing. An id that neither the CRM nor a bucket has ends in
    /// neither bucket; the code would warn of it.
    async fn foretell(&self, found: &mut Found) {
        let named = found.file_rows().next().is_some() || found.links_of_file().next().is_some();
        let asked = found.rows.is_some() && found.links.is_some();
        let nowhere =
            found.objects.as_ref().is_some_and(|both| both.object.is_none() && both.recycle.is_none());
        if asked && !named && nowhere {
            found.foretold = Some(Foretold::Ends(Outcome::Missing));
            return;
        }
        // A living file is told without the storage. Of any other the code would ask whose trouble this is, by trying
        // out requests on objects of our own: but nothing is written here.
        if !named && found.objects.is_none() {
            return;
        }
        let schema = file_schemas(found).into_iter().find_map(|schema| SchemaName::try_from(schema).ok());
        let file = FileRef { file_id: FileId::from(found.id), schema, size: None, key: None };
        let asked = tokio::time::timeout(PART_WITHIN, self.prospect.of_file(file)).await;
        found.foretold = match asked {
            Err(_) => {
                found.errors.insert("would", format!("no answer within {} s", PART_WITHIN.as_secs()));
                None
            }
            Ok(Ok(outcome)) => Some(Foretold::Ends(outcome)),
            Ok(Err(failure)) => match failure.advice {
                Advice::GiveUp(reason) => Some(Foretold::Fails(Some(reason), failure.error)),
                Advice::Retry | Advice::SlowDown | Advice::Outage(_) | Advice::Hold => {
                    found.errors.insert("would", failure.error);
                    None
                }
            },
        };
    }

    /// The keys that the file can have.
    fn keys(&self, found: &Found, catalog: Option<&Catalog>) -> Vec<String> {
        let id = FileId::from(found.id);
        let key = |schema: Option<&str>| {
            let schema = schema.and_then(|schema| SchemaName::try_from(schema).ok());
            self.template.key(&id, schema.as_ref()).ok().map(String::from)
        };
        if !self.template.needs_schema() {
            return key(None).into_iter().collect();
        }
        let mut schemas = file_schemas(found);
        if schemas.is_empty() {
            let tables = catalog.map(|catalog| catalog.file_tables.as_slice()).unwrap_or_default();
            schemas.extend(tables.iter().take(MAX_KEYS).map(|file| file.schema.to_string()));
        }
        schemas.iter().filter_map(|schema| key(Some(schema))).collect()
    }

    /// The object under the first key that has one, in both buckets.
    async fn objects(
        &self,
        id: Uuid,
        keys: Vec<String>,
        schemas: BTreeSet<String>,
    ) -> Result<Objects, String> {
        let template = self.template.to_string();
        let mut first = None;
        for key in keys {
            let name = crate::file::ObjectKey::try_from(key.as_str()).map_err(|error| error.to_string())?;
            let head =
                async |side: Side| self.storage.head(side, &name).await.map_err(|error| error.to_string());
            let (object, recycle) = join(head(Side::Object), head(Side::Recycle)).await;
            let both = Objects {
                key: Some(key),
                template: template.clone(),
                object: object?.map(|head| Object::of(head, &self.buckets.object)),
                recycle: recycle?.map(|head| Object::of(head, &self.buckets.recycle)),
                other: None,
            };
            if both.object.is_some() || both.recycle.is_some() {
                return Ok(both);
            }
            first.get_or_insert(both);
        }
        // Some servers say the same of a bucket that is away.
        self.storage.check().await.map_err(|error| error.to_string())?;
        let none = first.unwrap_or(Objects { template, ..Objects::default() });
        // One look more than necessary: where it fails or takes too long, all else is still known.
        let other = tokio::time::timeout(OTHER_WITHIN, self.under_another(&FileId::from(id), &schemas)).await;
        Ok(Objects { other: other.ok().and_then(Result::ok).flatten(), ..none })
    }
}

impl Object {
    fn of(head: Head, bucket: &str) -> Self {
        Self {
            present: true,
            bucket: bucket.to_owned(),
            migrated_by: head.migrated_by().map(str::to_owned),
            size: head.size,
            etag: head.etag.to_string(),
            last_modified: head.last_modified,
            storage_class: head.attributes.class().to_owned(),
            version_id: head.version,
            archived: head.archived,
            locked: head.legal_hold || head.retained_until.is_some(),
        }
    }
}

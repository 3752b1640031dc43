//! The same question where files are known by their keys: a mapped application, or none that can be asked. One id can
//! be several files, each with its own fate.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use time::OffsetDateTime;

use super::super::at_work;
use super::super::found::{Environment, Found, Message, Object, Queues};
use super::super::letters;
use super::super::verdict::{Kind, Would, kept_by_grace};
use super::super::went;
use super::record::note_the_rest;
use super::{Explainer, MAX_KEYS, part};
use crate::config::Profile;
use crate::db::catalog::Catalog;
use crate::db::explain::{GoneRow, KeyedBy, KeyedRow, KeyedWaiting, LedgerRow};
use crate::db::process::Process;
use crate::file::{FileId, FileRef, ObjectKey, SchemaName};
use crate::outcome::Outcome;
use crate::storage::Side;

/// Files of one id whose fate is told.
const MAX_FILES: usize = 20;

/// What is asked.
#[derive(Clone, Debug)]
pub struct KeyedQuestion {
    /// The id of a file or record.
    pub id: FileId,
    /// The schema of the file or record, where only one is meant.
    pub schema: Option<SchemaName>,
}

/// Everything that was found, and what would happen.
#[derive(Debug, Serialize)]
pub struct Keyed {
    /// The id that was asked for.
    pub id: String,
    /// What the id is.
    pub kind: Kind,
    /// What would happen to it now, and why.
    pub verdict: String,
    /// The most that would be done now.
    pub would: Would,
    /// Rows of listed tables that have the id, or name the record with it.
    pub rows: Vec<KeyedRow>,
    /// There are none by mapping.
    pub links: [(); 0],
    /// Rows that have the same keys: the object is theirs, too.
    pub shared_with: Vec<KeyedRow>,
    /// Tables of records that have the id.
    pub records: Vec<String>,
    /// The objects of the first file.
    pub objects: KeyedObjects,
    /// Each file that has the id, or whose record has it.
    pub files: Vec<KeyedFile>,
    /// Rows of the ledger, the newest first.
    pub ledger: Vec<LedgerRow>,
    /// Rows of files that we deleted because this record was gone, the newest first, at most 100.
    pub gone_rows: Vec<GoneRow>,
    /// How many there are.
    pub gone_rows_total: u64,
    /// Deletions that wait in the outbox.
    pub outbox: Vec<KeyedWaiting>,
    /// Dead letters that name the id.
    pub messages: Vec<Message>,
    /// How many messages are where.
    pub queues: Option<Queues>,
    /// The processes of this environment that have told of themselves lately.
    pub processes: Option<Vec<Process>>,
    /// What was not looked at, and why.
    pub notes: Vec<String>,
    /// Why parts could not be asked.
    pub errors: BTreeMap<&'static str, String>,
}

/// The two objects under one key.
#[derive(Clone, Debug, Default, Serialize)]
pub struct KeyedObjects {
    /// In the object bucket.
    pub object: Option<Object>,
    /// In the recycle bucket.
    pub recycle: Option<Object>,
}

/// One file.
#[derive(Clone, Debug, Serialize)]
pub struct KeyedFile {
    /// Its object's key.
    pub key: String,
    /// What would be done.
    pub would: Would,
    /// Why, in a sentence.
    pub why: String,
    /// Its objects.
    pub objects: KeyedObjects,
}

impl Explainer {
    /// Everything that is known, and the verdict.
    pub async fn explain_keyed(&self, question: &KeyedQuestion) -> Keyed {
        let mut found = Found::default();
        let catalog = self.begin(&mut found).await;
        let id = question.id.as_str();
        let broker = letters::look(&self.broker, &self.topology, id, &[], self.reader(&found)).await;
        let broker = found.take("messages", broker.map_err(|error| error.to_string())).unwrap_or_default();
        let mut keyed = Keyed {
            id: id.to_owned(),
            kind: Kind::Unknown,
            verdict: String::new(),
            would: Would::Nothing,
            rows: Vec::new(),
            links: [],
            shared_with: Vec::new(),
            records: Vec::new(),
            objects: KeyedObjects::default(),
            files: Vec::new(),
            ledger: Vec::new(),
            gone_rows: Vec::new(),
            gone_rows_total: 0,
            outbox: Vec::new(),
            messages: broker.messages,
            queues: Some(broker.queues),
            processes: None,
            notes: broker.notes,
            errors: BTreeMap::new(),
        };
        if let Some(catalog) = &catalog {
            self.ask_keyed(&mut keyed, &mut found, catalog, question).await;
            keyed.processes = found.take("processes", self.at_work().await);
        }
        let keys = self.keys_of(&keyed, question);
        if let Some(catalog) = &catalog {
            let asked = part(self.db.keyed_rows(catalog, KeyedBy::Keys(&keys), None)).await;
            let rows = found.take("rows", asked).unwrap_or_default();
            keyed.shared_with = rows.into_iter().filter(|row| !keyed.rows.contains(row)).collect();
        }
        for key in keys.into_iter().take(MAX_FILES) {
            keyed.files.extend(self.file_under(&mut found, &keyed, question, key).await);
        }
        keyed.objects = keyed.files.first().map(|file| file.objects.clone()).unwrap_or_default();
        keyed.errors = std::mem::take(&mut found.errors);
        keyed.judge(found.environment.as_ref(), self.clock.now());
        keyed
    }

    async fn ask_keyed(
        &self,
        keyed: &mut Keyed,
        found: &mut Found,
        catalog: &Catalog,
        question: &KeyedQuestion,
    ) {
        let (db, id, only) = (&self.db, question.id.as_str(), question.schema.as_ref());
        let mut schemas: Vec<String> = catalog.tables.iter().cloned().collect();
        schemas.extend(only.map(ToString::to_string));
        let (rows, of_record, records, ledger, outbox, gone) = tokio::join!(
            part(db.keyed_rows(catalog, KeyedBy::Id(id), only)),
            part(db.keyed_rows(catalog, KeyedBy::Record(id), None)),
            part(db.keyed_records(catalog, id, only)),
            part(db.keyed_ledger(id, &schemas)),
            part(db.keyed_outbox(id)),
            part(db.gone_with(id, only)),
        );
        keyed.rows = found.take("rows", rows).unwrap_or_default();
        let is_meant =
            |row: &KeyedRow| only.is_none_or(|only| row.record_schema.as_deref() == Some(only.as_str()));
        for row in found.take("files", of_record).unwrap_or_default().into_iter().filter(is_meant) {
            // A row whose id is its record's, too, is one row.
            if !keyed.rows.contains(&row) {
                keyed.rows.push(row);
            }
        }
        keyed.records = found.take("records", records).unwrap_or_default();
        keyed.ledger = found.take("ledger", ledger).unwrap_or_default();
        keyed.outbox = found.take("outbox", outbox).unwrap_or_default();
        if let Some(gone) = found.take("gone_rows", gone) {
            note_the_rest(found, "rows that went with it", gone.items.len(), gone.total);
            (keyed.gone_rows, keyed.gone_rows_total) = (gone.items, gone.total);
            keyed.notes.append(&mut found.notes);
        }
        if catalog.tables.is_empty() && only.is_none() {
            keyed
                .notes
                .push("as a record it was not looked for in the ledger: --schema says of which".to_owned());
        }
    }

    /// Keys by which the id's files are known; where nothing knows one, what the template would give.
    fn keys_of(&self, keyed: &Keyed, question: &KeyedQuestion) -> Vec<String> {
        let rows = keyed.rows.iter().filter_map(|row| row.key.clone());
        let ledger = keyed.ledger.iter().map(|row| row.key.clone());
        let outbox = keyed.outbox.iter().flat_map(|row| row.keys.iter().cloned());
        let gone = keyed.gone_rows.iter().filter_map(|row| row.key.clone());
        let known: BTreeSet<String> = rows.chain(ledger).chain(outbox).chain(gone).take(MAX_KEYS).collect();
        let given = matches!(self.profile, Profile::Events) || keyed.messages.iter().any(|it| it.files > 0);
        if !known.is_empty() || !given {
            return known.into_iter().collect();
        }
        let key = self.template.key(&question.id, question.schema.as_ref());
        key.ok().map(String::from).into_iter().collect()
    }

    async fn file_under(
        &self,
        found: &mut Found,
        keyed: &Keyed,
        question: &KeyedQuestion,
        key: String,
    ) -> Option<KeyedFile> {
        let name = ObjectKey::try_from(key.as_str()).ok()?;
        let (object, recycle) = tokio::join!(
            part(self.storage.head(Side::Object, &name)),
            part(self.storage.head(Side::Recycle, &name)),
        );
        let object = found.take("objects", object)?.map(|head| Object::of(head, &self.buckets.object));
        let recycle = found.take("objects", recycle)?.map(|head| Object::of(head, &self.buckets.recycle));
        let all = || keyed.rows.iter().chain(&keyed.shared_with);
        let rows = all().filter(|row| row.key.as_ref() == Some(&key)).count();
        let asked = !found.errors.contains_key("rows");
        let ended = if asked && rows == 0 && object.is_none() && recycle.is_none() {
            // The code would warn of it. Some servers say the same of a bucket that is away.
            part(self.storage.check()).await.map(|()| Outcome::Missing)
        } else {
            let file = FileRef { file_id: question.id.clone(), schema: None, size: None, key: Some(name) };
            part(async { self.prospect.of_file(file).await.map_err(|failure| failure.error) }).await
        };
        let (would, why) = match ended {
            Ok(Outcome::Missing) => self.missing(found, question, &key).await,
            Ok(outcome) => fate(outcome, rows),
            Err(error) => {
                found.errors.insert("would", error.clone());
                (Would::Nothing, format!("it cannot be told: {error}"))
            }
        };
        Some(KeyedFile { key, would, why, objects: KeyedObjects { object, recycle } })
    }
}

impl Explainer {
    /// In neither bucket under its key; where the template gave that, another one may be the right one.
    async fn missing(&self, found: &mut Found, question: &KeyedQuestion, key: &str) -> (Would, String) {
        let given = self.template.key(&question.id, question.schema.as_ref());
        let mut other = None;
        if given.is_ok_and(|given| given.as_str() == key) {
            let schemas = question.schema.iter().map(ToString::to_string).collect();
            other = found.take("objects", part(self.under_another(&question.id, &schemas)).await).flatten();
        }
        let Some(other) = other else { return fate(Outcome::Missing, 0) };
        let why = format!(
            "neither bucket has it under its key, but {} has an object of it under '{}', as '{}' gives it: compare that with \
             storage.key_template",
            other.bucket(),
            other.key,
            other.template
        );
        (Would::Nothing, why)
    }
}

fn fate(outcome: Outcome, rows: usize) -> (Would, String) {
    match outcome {
        Outcome::Alive if rows == 1 => (Would::Stay, "it stays: 1 row names its key".to_owned()),
        Outcome::Alive => (Would::Stay, format!("it stays: {rows} rows name its key")),
        Outcome::Elsewhere => (
            Would::Stay,
            "it stays: a row has its key, and its content is not in S3 by the mapping".to_owned(),
        ),
        Outcome::WouldMove | Outcome::Moved => {
            (Would::Move, "no row names its key: it would move with its event".to_owned())
        }
        Outcome::AlreadyMoved => (Would::Nothing, "it is in the recycle bucket already".to_owned()),
        Outcome::Missing => (Would::Nothing, "it is in neither bucket".to_owned()),
        Outcome::Conflict | Outcome::Failed => (Would::Nothing, "it would fail".to_owned()),
    }
}

impl Keyed {
    /// What the id is, and the sentence about it.
    fn judge(&mut self, environment: Option<&Environment>, now: OffsetDateTime) {
        let names_record = |row: &KeyedRow| row.record_id.as_ref() == Some(&self.id);
        let is_record = !self.records.is_empty()
            || self.rows.iter().any(names_record)
            || self.ledger.iter().any(|row| row.record_id.as_ref() == Some(&self.id))
            || !self.gone_rows.is_empty()
            || self.outbox.iter().any(|row| row.kind == "records");
        let is_file = self.rows.iter().any(|row| row.id == self.id)
            || self.ledger.iter().any(|row| row.file_id == self.id)
            || self.files.iter().any(|it| it.objects.object.is_some() || it.objects.recycle.is_some());
        let is_file = is_file && (!is_record || self.rows.iter().any(|row| row.id == self.id));
        self.kind = match (is_file, is_record) {
            (true, true) => Kind::Both,
            (true, false) => Kind::File,
            (false, true) => Kind::Record,
            (false, false) => Kind::Unknown,
        };
        let mut told: Vec<String> = Vec::new();
        if self.kind == Kind::Unknown {
            told.push(format!("Nothing is known of {}: no row, object or note has it.", self.id));
        }
        if !self.records.is_empty() {
            told.push(format!("The record exists in {}: its files stay.", self.records.join(", ")));
        }
        if let Some(row) = self.outbox.first() {
            let kept = kept_by_grace(row.seen_at, environment, now);
            told.push(format!("A deletion of it waits in the outbox{kept}."));
        }
        if let Some(row) = self.gone_rows.first().filter(|_| self.records.is_empty()) {
            told.push(format!("The record was deleted (event {}).", row.event_id));
            told.extend(went::told(&self.gone_rows, self.gone_rows_total, now));
        }
        told.extend(self.files.iter().map(|file| format!("'{}': {}.", file.key, file.why)));
        self.would = self.files.iter().map(|file| file.would).max().unwrap_or(Would::Nothing);
        if !self.records.is_empty() {
            self.would = self.would.max(Would::Stay);
        }
        match environment.and_then(|environment| environment.hold.as_ref()) {
            _ if self.would != Would::Move => {}
            Some(hold) => {
                let (why, _) = hold.told();
                self.would = Would::Nothing;
                told.insert(0, format!("Nothing would move now because {why}."));
            }
            None => told.extend(at_work::nobody(self.processes.as_deref(), !self.outbox.is_empty())),
        }
        self.verdict = told.join(" ");
    }
}

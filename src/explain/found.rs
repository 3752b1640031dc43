//! What was found about an id: plain values, each part by itself. A part that could not be asked is nothing.

use std::collections::BTreeMap;

use serde::Serialize;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::config::{DanglingRows, Mode};
use crate::db::environment::Pause;
use crate::db::explain::{
    DiscardedRow, FileRow, GoneRow, HeldRow, Image, LedgerRow, Link, OutboxRow, RecordRow, ReplayRow,
    SuspectRow,
};
use crate::db::process::Process;
use crate::outcome::{DeadReason, Outcome};

/// Everything that was found. Of nothing that is listed here the name of a file or a person is known.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Found {
    /// The id that was asked for.
    pub id: Uuid,
    /// Rows of file tables and of record tables that have the id.
    pub rows: Option<Vec<Row>>,
    /// Links that name it as a file or as a record, at most 100.
    pub links: Option<Vec<Link>>,
    /// How many links there are.
    pub links_total: u64,
    /// Files of the record, at most 100.
    pub files: Option<Vec<FileRow>>,
    /// How many files the record has.
    pub files_total: u64,
    /// What hangs weakly on records that are gone: on this one, or on the one that the file belonged to.
    pub hanging: Vec<Hanging>,
    /// The object in both buckets.
    pub objects: Option<Objects>,
    /// Rows of the ledger, the newest first, at most 20.
    pub ledger: Option<Vec<LedgerRow>>,
    /// Images of the file's row, where we deleted it.
    pub images: Option<Vec<Image>>,
    /// Rows of files that we deleted because this record was gone, the newest first, at most 100.
    pub gone_rows: Option<Vec<GoneRow>>,
    /// How many there are.
    pub gone_rows_total: u64,
    /// Deleted records that are remembered: this one, or the one that the file belongs to.
    pub held: Option<Vec<HeldRow>>,
    /// Outbox rows that name it, or the deleted record that the file belongs to.
    pub outbox: Option<Vec<OutboxRow>>,
    /// Messages of the dead-letter queue that name it.
    pub messages: Option<Vec<Message>>,
    /// How many messages are where.
    pub queues: Option<Queues>,
    /// What replays did with messages about it.
    pub replays: Option<Vec<ReplayRow>>,
    /// Messages about it that an operator discarded.
    pub discarded: Option<Vec<DiscardedRow>>,
    /// Messages about it over which a worker may have died.
    pub suspects: Option<Vec<SuspectRow>>,
    /// Whether anything may move at all.
    pub environment: Option<Environment>,
    /// The processes of this environment that have told of themselves lately.
    pub processes: Option<Vec<Process>>,
    /// What the worker's own code says, told to change nothing; nothing where nobody asked it.
    #[serde(skip)]
    pub foretold: Option<Foretold>,
    /// What was not looked at, or not listed, and why.
    pub notes: Vec<String>,
    /// Why parts could not be asked, by the part's name.
    pub errors: BTreeMap<&'static str, String>,
}

/// A row that has the id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "lowercase")]
pub enum Row {
    /// Of a file table.
    File(FileRow),
    /// Of a record table.
    Record(RecordRow),
}

/// What hangs weakly on a record that is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hanging {
    /// The record's schema.
    pub schema: String,
    /// The record.
    pub record_id: Uuid,
    /// Rows that would go with the record's deletion, once it is known.
    pub free: u64,
    /// Rows that links of other records keep.
    pub linked: u64,
    /// Rows that foreign keys keep.
    pub referenced: u64,
    /// Rows whose content is not in S3.
    pub elsewhere: u64,
}

/// The two objects under one key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Objects {
    /// The key, the same in both buckets; nothing where the file has none.
    pub key: Option<String>,
    /// `storage.key_template`, which gave it.
    pub template: String,
    /// In the object bucket.
    pub object: Option<Object>,
    /// In the recycle bucket.
    pub recycle: Option<Object>,
    /// Where neither bucket has it under its key: another key under which one of them has an object of it.
    pub other: Option<OtherKey>,
}

/// A key that another template than the configured one gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OtherKey {
    /// The key.
    pub key: String,
    /// The template that gives it.
    pub template: String,
    /// The object bucket has an object under it.
    pub object: bool,
    /// The recycle bucket has one.
    pub recycle: bool,
}

impl OtherKey {
    /// Which bucket has an object under it.
    pub(in crate::explain) fn bucket(&self) -> &'static str {
        if self.object { "the object bucket" } else { "the recycle bucket" }
    }
}

/// One object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Object {
    /// It is there.
    pub present: bool,
    /// Name of the bucket.
    pub bucket: String,
    /// Size in bytes.
    pub size: u64,
    /// Its ETag.
    pub etag: String,
    /// When it was written.
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_modified: Option<OffsetDateTime>,
    /// Its storage class.
    pub storage_class: String,
    /// Its version, where the bucket keeps some.
    pub version_id: Option<String>,
    /// It is in an archive class and cannot be read now.
    pub archived: bool,
    /// A legal hold or Object Lock protects it.
    pub locked: bool,
    /// The environment whose migration to the storage wrote it, by its mark.
    pub migrated_by: Option<String>,
}

/// A message of the dead-letter queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message {
    /// Where it is.
    pub queue: &'static str,
    /// Its id.
    pub id: String,
    /// As what it names the id.
    pub names: Names,
    /// Whose word it is.
    pub origin: Origin,
    /// Why it is dead.
    pub reason: Option<DeadReason>,
    /// What went wrong.
    pub error: Option<String>,
    /// Deliveries that tried.
    pub attempts: u32,
    /// When the first try failed.
    #[serde(with = "time::serde::rfc3339::option")]
    pub first_failure: Option<OffsetDateTime>,
    /// When the last try failed.
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_failure: Option<OffsetDateTime>,
    /// The event's type.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The record's schema; of an event about files alone, the first file's.
    pub schema: Option<String>,
    /// The record.
    pub record_id: Option<String>,
    /// Files that it names.
    pub files: usize,
}

/// As what a message names an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Names {
    /// As a file.
    File,
    /// As the deleted record.
    Record,
    /// It names the deleted record that the file belongs to.
    Owner,
    /// Somewhere in a message that is no event.
    Text,
}

/// Whose word a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// An event of this environment.
    Own,
    /// An event that others handed over.
    Outside,
    /// Another environment's event.
    Foreign,
    /// Nobody's: it is no event as this application has them, or a worker found it malformed.
    Malformed,
}

/// How many messages are where; a queue that is not there is nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Queues {
    /// Ready in the work queue; those in a worker's hands are not counted.
    pub work: Option<u64>,
    /// In all wait queues together.
    pub wait: u64,
    /// In the dead-letter queue.
    pub dead: Option<u64>,
    /// What was not looked at, and why.
    pub not_looked_at: &'static str,
}

/// Whether anything may move at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Environment {
    /// Its id; nothing where the own schema is not installed.
    pub id: Option<Uuid>,
    /// Name of the database.
    pub database: String,
    /// When it was adopted.
    #[serde(with = "time::serde::rfc3339::option")]
    pub adopted_at: Option<OffsetDateTime>,
    /// The operator's pause.
    pub paused: Option<Pause>,
    /// The guard's verdict.
    pub guard: String,
    /// `recycle.mode`, as this command is configured.
    #[serde(serialize_with = "mode")]
    pub mode: Mode,
    /// `crm.dangling_rows`, as this command is configured.
    #[serde(serialize_with = "dangling_rows")]
    pub dangling_rows: DanglingRows,
    /// `crm.trust_outside_events`, as this command is configured.
    pub trust_outside_events: bool,
    /// `recycle.grace`, as this command is configured.
    pub grace_seconds: u64,
    /// Why nothing may move.
    #[serde(skip)]
    pub hold: Option<Hold>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
fn mode<S: serde::Serializer>(mode: &Mode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(match mode {
        Mode::Move => "move",
        Mode::Observe => "observe",
    })
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
fn dangling_rows<S: serde::Serializer>(rows: &DanglingRows, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(match rows {
        DanglingRows::Delete => "delete",
        DanglingRows::Leave => "leave",
    })
}

/// Why nothing may move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hold {
    /// An operator paused it.
    Paused(String),
    /// The guard refuses.
    Refused(String),
    /// Whether the guard would refuse could not be found out.
    Unknown(String),
    /// `recycle.mode = "observe"`.
    Observes,
}

impl Hold {
    /// Why nothing would move, and until when, each as a part of a sentence.
    pub(super) fn told(&self) -> (String, &'static str) {
        match self {
            Self::Paused(why) => (format!("the environment is paused: {why}"), "when it is resumed"),
            Self::Refused(why) => (format!("the guard refuses: {why}"), "when that is put right"),
            Self::Unknown(why) => (format!("the guard could not ask everybody: {why}"), "when it can"),
            Self::Observes => ("recycle.mode is observe".to_owned(), "with recycle.mode = move"),
        }
    }
}

/// What the worker's own code says of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Foretold {
    /// It would end like this.
    Ends(Outcome),
    /// It would not end; the reason, where its message would be dead.
    Fails(Option<DeadReason>, String),
}

impl Found {
    /// Rows of file tables.
    pub fn file_rows(&self) -> impl Iterator<Item = &FileRow> {
        self.rows.iter().flatten().filter_map(|row| match row {
            Row::File(row) => Some(row),
            Row::Record(_) => None,
        })
    }

    /// Rows of record tables.
    pub fn record_rows(&self) -> impl Iterator<Item = &RecordRow> {
        self.rows.iter().flatten().filter_map(|row| match row {
            Row::Record(row) => Some(row),
            Row::File(_) => None,
        })
    }

    /// Links that show the file on a record.
    pub fn links_of_file(&self) -> impl Iterator<Item = &Link> {
        self.links.iter().flatten().filter(|link| link.file_id == self.id)
    }

    /// Links by which the record shows files.
    pub fn links_of_record(&self) -> impl Iterator<Item = &Link> {
        self.links.iter().flatten().filter(|link| link.record_id == self.id)
    }

    /// Rows of the ledger about the file.
    pub fn ledger_of_file(&self) -> impl Iterator<Item = &LedgerRow> {
        let id = self.id.to_string();
        self.ledger.iter().flatten().filter(move |row| row.file_id == id)
    }

    /// Rows of the ledger about files of the record.
    pub fn ledger_of_record(&self) -> impl Iterator<Item = &LedgerRow> {
        let id = self.id.to_string();
        self.ledger.iter().flatten().filter(move |row| row.record_id.as_deref() == Some(&id))
    }

    /// Messages that name the id like this.
    pub fn messages_that_name(&self, names: Names) -> impl Iterator<Item = &Message> {
        self.messages.iter().flatten().filter(move |message| message.names == names)
    }

    /// Is it believed that a record was deleted because this message says so?
    pub fn takes_its_word(&self, message: &Message) -> bool {
        let trusts = || self.environment.as_ref().is_some_and(|it| it.trust_outside_events);
        match message.origin {
            Origin::Own => true,
            Origin::Outside => trusts(),
            Origin::Foreign | Origin::Malformed => false,
        }
    }

    /// Outbox rows of this kind that have this id among theirs.
    pub fn outbox_rows<'a>(&'a self, kind: &'a str, id: Uuid) -> impl Iterator<Item = &'a OutboxRow> {
        self.outbox.iter().flatten().filter(move |row| row.kind == kind && row.named.contains(&id))
    }
}

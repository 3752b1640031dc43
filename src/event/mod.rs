//! The record-deleted event: a CloudEvents 1.0 document, decoded with an error that names the field.

#[cfg(test)]
mod arbitrary;
mod decode;

use serde::Serialize;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::file::{FileRef, RecordId, SchemaName};

pub use decode::{IdKind, Malformed};

/// Most files in one event.
pub const MAX_FILES: usize = 1_000;
/// Largest event, in bytes; the same bound holds for the intake over HTTP.
pub const MAX_BYTES: usize = 1024 * 1024;
/// `content_type` of a message with an event.
pub const CONTENT_TYPE: &str = "application/cloudevents+json";

/// The event's type; the word is a contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventType {
    /// A record is gone, perhaps with files.
    RecordDeleted,
    /// Files are gone whose record is not, or not in the same transaction.
    FileDeleted,
}

impl EventType {
    /// Both types.
    pub const ALL: [Self; 2] = [Self::RecordDeleted, Self::FileDeleted];

    /// The CloudEvents `type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RecordDeleted => "crm.record.deleted.v1",
            Self::FileDeleted => "crm.file.deleted.v1",
        }
    }

    /// The routing key in the topic exchange.
    pub const fn routing_key(self) -> &'static str {
        match self {
            Self::RecordDeleted => "record.deleted",
            Self::FileDeleted => "file.deleted",
        }
    }
}

/// One event. Its JSON form is exactly what [`Event::decode`] takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    specversion: &'static str,
    /// Unique with the source; ours are UUIDv5, so that a repeated publication repeats them.
    pub id: String,
    /// `/crm/<database name>`; free in outside events.
    pub source: String,
    #[serde(rename = "type")]
    kind: &'static str,
    /// `Schema/record id`; free in outside events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// When the deletion was captured.
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub time: Option<OffsetDateTime>,
    datacontenttype: &'static str,
    /// The environment whose triggers captured it; nothing in outside events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<Uuid>,
    /// What was deleted.
    pub data: Deleted,
}

/// What an event says was deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Deleted {
    /// A record, with the files that are known to have gone with it.
    Record {
        /// The record's schema.
        schema: SchemaName,
        /// The record's id.
        record_id: RecordId,
        /// Files that went with it; more may be found in the database.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        files: Vec<FileRef>,
    },
    /// Files alone.
    Files {
        /// The files.
        files: Vec<FileRef>,
    },
}

impl Event {
    /// A new event of the type that `data` is of.
    pub fn new(
        id: String,
        source: String,
        time: OffsetDateTime,
        environment: Option<Uuid>,
        data: Deleted,
    ) -> Self {
        let subject = match &data {
            Deleted::Record { schema, record_id, .. } => Some(format!("{schema}/{record_id}")),
            Deleted::Files { .. } => None,
        };
        Self::assemble(id, source, subject, Some(time), environment, data)
    }

    fn assemble(
        id: String,
        source: String,
        subject: Option<String>,
        time: Option<OffsetDateTime>,
        environment: Option<Uuid>,
        data: Deleted,
    ) -> Self {
        let kind = data.event_type().as_str();
        Self {
            specversion: "1.0",
            id,
            source,
            kind,
            subject,
            time,
            datacontenttype: "application/json",
            environment,
            data,
        }
    }

    /// The event's type.
    pub fn event_type(&self) -> EventType {
        self.data.event_type()
    }

    /// The same event with `files` in place of its own: what is left of one that was partly done.
    #[must_use]
    pub fn with_files(&self, files: Vec<FileRef>) -> Self {
        let data = match &self.data {
            Deleted::Record { schema, record_id, .. } => {
                Deleted::Record { schema: schema.clone(), record_id: record_id.clone(), files }
            }
            Deleted::Files { .. } => Deleted::Files { files },
        };
        Self { data, ..self.clone() }
    }

    /// The event as JSON.
    pub fn encode(&self) -> Vec<u8> {
        // Strings, numbers and options of them always serialise.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

impl Deleted {
    /// The type of an event about this.
    pub fn event_type(&self) -> EventType {
        match self {
            Self::Record { .. } => EventType::RecordDeleted,
            Self::Files { .. } => EventType::FileDeleted,
        }
    }

    /// The files that the event names.
    pub fn files(&self) -> &[FileRef] {
        match self {
            Self::Record { files, .. } | Self::Files { files } => files,
        }
    }
}

//! The record-deleted event: a CloudEvents 1.0 document, decoded with an error that names the field.

#[cfg(test)]
mod arbitrary;
mod decode;

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
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
    /// When the deletion was captured. One that has no form in JSON is left out: an event without its time says what
    /// was deleted all the same.
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "has_no_form")]
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
    ///
    /// # Panics
    /// Never: texts, numbers and options of them always have a form, and a time without one is left out. If it could,
    /// that would be better than a message that says nothing.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("every field has a form in JSON")
    }
}

/// Can the time be written as RFC 3339 has it? Not where its year has more or less than four digits.
fn has_a_form(time: OffsetDateTime) -> bool {
    time.format(&Rfc3339).is_ok()
}

#[allow(clippy::ref_option, reason = "serde hands over references")]
fn has_no_form(time: &Option<OffsetDateTime>) -> bool {
    !time.is_some_and(has_a_form)
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

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::macros::datetime;

    use super::*;

    fn event(time: &str) -> Result<Event, Malformed> {
        let document = json!({
            "specversion": "1.0", "id": "1", "source": "crm", "type": "crm.file.deleted.v1", "time": time,
            "data": { "files": [{ "file_id": "7" }] }
        });
        Event::decode(document.to_string().as_bytes(), IdKind::Text)
    }

    #[test]
    fn a_time_without_a_name_in_utc_is_refused_by_its_field() {
        for time in ["0000-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"] {
            let refused = event(time).unwrap_err();
            assert_eq!(refused.to_string(), "time: is outside the years 0 to 9999 in UTC", "{time}");
        }
        for time in ["0000-01-01T00:00:00-01:00", "0000-01-01T01:00:00+01:00", "9999-12-31T23:59:59+01:00"] {
            let event = event(time).unwrap();
            assert_eq!(Event::decode(&event.encode(), IdKind::Text), Ok(event), "{time}");
        }
    }

    #[test]
    fn an_event_is_never_encoded_as_nothing() {
        let file = FileRef { file_id: "7".try_into().unwrap(), schema: None, size: None, key: None };
        let data = Deleted::Files { files: vec![file] };
        for time in [datetime!(-0001-12-31 23:00 UTC), datetime!(2026-11-23 10:00 +01:00:01)] {
            let event = Event::new("1".to_owned(), "crm".to_owned(), time, None, data.clone());
            let expected = Ok(Event { time: None, ..event.clone() });
            assert_eq!(Event::decode(&event.encode(), IdKind::Text), expected, "{time}");
        }
    }
}

//! From bytes to an event: every refusal names the field and what is wrong with it.

use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Deleted, Event, EventType, MAX_BYTES, MAX_FILES};
use crate::config::Profile;
use crate::file::{FileRef, MAX_ID_CHARS, NameError, ObjectKey, SchemaName};
use crate::outcome::DeadReason;

/// Why bytes are no event of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {}{problem}", in_quotes(.quoted.as_deref()))]
pub struct Malformed {
    /// Path of the field, as in `data.files[3].file_id`; `event` for the whole document.
    pub path: String,
    /// The beginning of what the field says, where that helps. It is not in the other two, so that whoever must not
    /// repeat what others wrote can leave it out.
    pub quoted: Option<String>,
    /// What is wrong with it.
    pub problem: String,
    /// `malformed`, or `unsupported` for types and versions that we do not know.
    pub reason: DeadReason,
}

/// What ids of files and records are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdKind {
    /// UUIDs, in any letter case; they are kept in lower case with hyphens.
    Uuid,
    /// Any text up to 255 characters.
    Text,
    /// Either: what is a UUID is kept as one, whatever letters its database writes it in.
    UuidOrText,
}

impl IdKind {
    /// What ids are in an application of this kind.
    pub fn of(profile: &Profile) -> Self {
        match profile {
            Profile::Creatio => Self::Uuid,
            Profile::Mapping(_) => Self::Text,
            Profile::Events => Self::UuidOrText,
        }
    }
}

impl Event {
    /// Decodes a CloudEvents document in structured JSON.
    ///
    /// Unknown fields are ignored. An unknown type or major version is [`DeadReason::Unsupported`],
    /// everything else that is wrong is [`DeadReason::Malformed`].
    pub fn decode(body: &[u8], ids: IdKind) -> Result<Self, Malformed> {
        if body.len() > MAX_BYTES {
            return Err(malformed("event", format!("is {} bytes long, more than {MAX_BYTES}", body.len())));
        }
        let document: Value = serde_json::from_slice(body)
            .map_err(|error| malformed("event", format!("is not JSON: {error}")))?;
        let event = Field::root(&document).object()?;

        let version = event.text("specversion")?;
        if version.split('.').next() != Some("1") {
            return Err(unsupported("specversion", version, "is not 1.0"));
        }
        let kind = event.text("type")?;
        let Some(kind) = EventType::ALL.into_iter().find(|known| known.as_str() == kind) else {
            return Err(unsupported("type", kind, "is not known"));
        };
        if let Some(content) = event.optional_text("datacontenttype")?
            && !content.trim().to_ascii_lowercase().starts_with("application/json")
        {
            return Err(unsupported("datacontenttype", content, "is not application/json"));
        }
        Ok(Self::assemble(
            event.short_text("id")?,
            event.short_text("source")?,
            event.optional_text("subject")?.map(str::to_owned),
            event.time("time")?,
            event.uuid("environment")?,
            data(&event.field("data").object()?, kind, ids)?,
        ))
    }
}

fn data(data: &Object<'_>, kind: EventType, ids: IdKind) -> Result<Deleted, Malformed> {
    match kind {
        EventType::RecordDeleted => Ok(Deleted::Record {
            schema: data.name("schema")?,
            record_id: data.id("record_id", ids)?,
            files: files(data, ids)?,
        }),
        EventType::FileDeleted => {
            let files = files(data, ids)?;
            if files.is_empty() {
                return Err(malformed("data.files", "names no file".to_owned()));
            }
            Ok(Deleted::Files { files })
        }
    }
}

fn files(data: &Object<'_>, ids: IdKind) -> Result<Vec<FileRef>, Malformed> {
    let field = data.field("files");
    let Some(value) = field.value else { return Ok(Vec::new()) };
    let Value::Array(items) = value else { return Err(field.wrong("is not a list")) };
    if items.len() > MAX_FILES {
        return Err(field.wrong(format!("names {} files, more than {MAX_FILES}", items.len())));
    }
    items
        .iter()
        .enumerate()
        .map(|(index, item)| {
            let file = Field { path: format!("{}[{index}]", field.path), value: Some(item) }.object()?;
            Ok(FileRef {
                file_id: file.id("file_id", ids)?,
                schema: file.optional_name::<SchemaName>("schema")?,
                size: file.size("size")?,
                key: file.optional_name::<ObjectKey>("key")?,
            })
        })
        .collect()
}

/// A field of the document, there or not, with the path to it.
struct Field<'a> {
    path: String,
    value: Option<&'a Value>,
}

/// An object of the document, with the path to it.
struct Object<'a> {
    path: String,
    fields: &'a Map<String, Value>,
}

impl<'a> Field<'a> {
    fn root(value: &'a Value) -> Self {
        Self { path: String::new(), value: Some(value) }
    }

    fn wrong(&self, problem: impl Into<String>) -> Malformed {
        let path = if self.path.is_empty() { "event" } else { &self.path };
        malformed(path, problem.into())
    }

    fn object(self) -> Result<Object<'a>, Malformed> {
        match self.value {
            Some(Value::Object(fields)) => Ok(Object { path: self.path, fields }),
            Some(_) => Err(self.wrong("is not an object")),
            None => Err(self.wrong("is missing")),
        }
    }

    fn text(&self) -> Result<Option<&'a str>, Malformed> {
        match self.value {
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong("is not a text")),
            None => Ok(None),
        }
    }
}

impl<'a> Object<'a> {
    /// A field; `null` counts as absent, as CloudEvents has it.
    fn field(&self, name: &str) -> Field<'a> {
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        Field { path, value: self.fields.get(name).filter(|value| !value.is_null()) }
    }

    fn text(&self, name: &str) -> Result<&'a str, Malformed> {
        let field = self.field(name);
        field.text()?.ok_or_else(|| field.wrong("is missing"))
    }

    fn optional_text(&self, name: &str) -> Result<Option<&'a str>, Malformed> {
        self.field(name).text()
    }

    fn short_text(&self, name: &str) -> Result<String, Malformed> {
        let text = self.text(name)?;
        if text.is_empty() || text.chars().count() > MAX_ID_CHARS || text.chars().any(char::is_control) {
            return Err(self.field(name).wrong("is not a text of 1 to 255 printable characters"));
        }
        Ok(text.to_owned())
    }

    fn name<T: TryFrom<String, Error = NameError>>(&self, name: &str) -> Result<T, Malformed> {
        self.optional_name(name)?.ok_or_else(|| self.field(name).wrong("is missing"))
    }

    fn optional_name<T: TryFrom<String, Error = NameError>>(
        &self,
        name: &str,
    ) -> Result<Option<T>, Malformed> {
        let Some(text) = self.optional_text(name)? else { return Ok(None) };
        T::try_from(text.to_owned()).map(Some).map_err(|error| self.field(name).wrong(error.to_string()))
    }

    fn id<T: TryFrom<String, Error = NameError>>(&self, name: &str, ids: IdKind) -> Result<T, Malformed> {
        let text = self.text(name)?;
        let id = match ids {
            IdKind::Text => text.to_owned(),
            IdKind::UuidOrText => {
                uuid::Uuid::try_parse(text).map_or_else(|_| text.to_owned(), |id| id.hyphenated().to_string())
            }
            IdKind::Uuid => uuid::Uuid::try_parse(text)
                .map_err(|_| Malformed {
                    quoted: Some(shown(text)),
                    ..self.field(name).wrong("is not a UUID")
                })?
                .hyphenated()
                .to_string(),
        };
        T::try_from(id).map_err(|error| self.field(name).wrong(error.to_string()))
    }

    fn size(&self, name: &str) -> Result<Option<u64>, Malformed> {
        let field = self.field(name);
        let Some(value) = field.value else { return Ok(None) };
        value.as_u64().map(Some).ok_or_else(|| field.wrong("is not a size in bytes"))
    }

    fn time(&self, name: &str) -> Result<Option<OffsetDateTime>, Malformed> {
        let Some(text) = self.optional_text(name)? else { return Ok(None) };
        let time = OffsetDateTime::parse(text, &Rfc3339)
            .map_err(|_| self.field(name).wrong("is not a time as in RFC 3339"))?;
        // The last hours of the year 9999 in the west, the first ones of the year 0 in the east: in UTC, as it is kept
        // and published, there is no such time.
        let utc = time.checked_to_offset(time::UtcOffset::UTC).filter(|utc| super::has_a_form(*utc));
        utc.map(Some).ok_or_else(|| self.field(name).wrong("is outside the years 0 to 9999 in UTC"))
    }

    fn uuid(&self, name: &str) -> Result<Option<uuid::Uuid>, Malformed> {
        let Some(text) = self.optional_text(name)? else { return Ok(None) };
        uuid::Uuid::try_parse(text).map(Some).map_err(|_| self.field(name).wrong("is not a UUID"))
    }
}

fn malformed(path: &str, problem: String) -> Malformed {
    Malformed { path: path.to_owned(), quoted: None, problem, reason: DeadReason::Malformed }
}

fn unsupported(path: &str, text: &str, problem: &str) -> Malformed {
    Malformed {
        path: path.to_owned(),
        quoted: Some(shown(text)),
        problem: problem.to_owned(),
        reason: DeadReason::Unsupported,
    }
}

fn in_quotes(text: Option<&str>) -> String {
    text.map(|text| format!("'{text}' ")).unwrap_or_default()
}

/// A bounded, printable piece of a text that is not ours.
fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).take(60).collect()
}

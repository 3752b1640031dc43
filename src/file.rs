//! Names of things: files, schemas, records, object keys, and the two buckets that cannot be swapped.

use std::fmt;
use std::marker::PhantomData;

use serde::{Deserialize, Serialize};

/// Longest id of a file or record, in characters (the event's contract).
pub const MAX_ID_CHARS: usize = 255;
/// Longest object key, in bytes of UTF-8 (Amazon S3 user guide, "Naming Amazon S3 objects").
pub const MAX_KEY_BYTES: usize = 1_024;
/// Where our own objects live, in both buckets. Nothing under it is ever a file.
pub const OWN_PREFIX: &str = ".file-recycler/";

/// Why a text cannot be the name that it was offered as.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing at all.
    #[error("is empty")]
    Empty,
    /// Longer than the limit.
    #[error("is longer than {0}")]
    TooLong(&'static str),
    /// Contains a control character.
    #[error("contains a control character")]
    Control,
    /// A key that is only dots and slashes: servers read it as another key.
    #[error("is made of dots and slashes only")]
    DotsAndSlashes,
    /// A key below [`OWN_PREFIX`].
    #[error("is below .file-recycler/, which holds this program's own objects")]
    Own,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl TryFrom<&str> for $name {
            type Error = NameError;

            fn try_from(text: &str) -> Result<Self, NameError> {
                Self::try_from(text.to_owned())
            }
        }
    };
}

name! {
    /// The id of a file's row: a UUID in lower case in the CRM, any text up to 255 characters by mapping.
    FileId
}
name! {
    /// The id of a record: as [`FileId`].
    RecordId
}
name! {
    /// The name of a record's or a file's schema (table), as the database spells it.
    SchemaName
}
name! {
    /// The key of an object, the same in both buckets; exact to the byte.
    ObjectKey
}

fn short_text(text: String) -> Result<String, NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.chars().count() > MAX_ID_CHARS {
        return Err(NameError::TooLong("255 characters"));
    }
    if text.chars().any(char::is_control) {
        return Err(NameError::Control);
    }
    Ok(text)
}

impl TryFrom<String> for FileId {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        short_text(text).map(Self)
    }
}

impl TryFrom<String> for RecordId {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        short_text(text).map(Self)
    }
}

impl TryFrom<String> for SchemaName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        short_text(text).map(Self)
    }
}

impl TryFrom<String> for ObjectKey {
    type Error = NameError;

    fn try_from(key: String) -> Result<Self, NameError> {
        if key.is_empty() {
            return Err(NameError::Empty);
        }
        if key.len() > MAX_KEY_BYTES {
            return Err(NameError::TooLong("1,024 bytes"));
        }
        if key.chars().all(|c| c == '.' || c == '/') {
            return Err(NameError::DotsAndSlashes);
        }
        if key.contains('\0') {
            return Err(NameError::Control);
        }
        if key.starts_with(OWN_PREFIX) {
            return Err(NameError::Own);
        }
        Ok(Self(key))
    }
}

impl FileId {
    /// The id as a UUID, where it is one.
    pub fn as_uuid(&self) -> Option<uuid::Uuid> {
        uuid::Uuid::try_parse(&self.0).ok()
    }
}

impl RecordId {
    /// The id as a UUID, where it is one.
    pub fn as_uuid(&self) -> Option<uuid::Uuid> {
        uuid::Uuid::try_parse(&self.0).ok()
    }
}

impl From<uuid::Uuid> for FileId {
    fn from(id: uuid::Uuid) -> Self {
        Self(id.hyphenated().to_string())
    }
}

impl From<uuid::Uuid> for RecordId {
    fn from(id: uuid::Uuid) -> Self {
        Self(id.hyphenated().to_string())
    }
}

/// The object bucket: where living files are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Object {}

/// The recycle bucket: where deleted files wait for their lifecycle rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Recycle {}

/// The name of a bucket on one side of the move; the sides are types, so they cannot be swapped.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bucket<Side>(String, PhantomData<Side>);

impl<Side> Bucket<Side> {
    /// A bucket of this side. The configuration has checked that the two sides differ.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into(), PhantomData)
    }

    /// The bucket's name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<Side> fmt::Display for Bucket<Side> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One file as an event names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileRef {
    /// The id of the file's row.
    pub file_id: FileId,
    /// The file's schema (its table).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<SchemaName>,
    /// Size in bytes, by the CRM's own account; advice, never proof.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// The object's key, where the key template does not give it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<ObjectKey>,
}

/// A file with its object, as the alive check asks for it: the CRM is asked by the file's id, a mapped application
/// by the object's key, because there ids of two tables may be the same and rows may share an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The file.
    pub id: FileId,
    /// Its object's key.
    pub key: ObjectKey,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_a_server_could_read_as_another_are_no_keys() {
        for (key, error) in [
            ("", NameError::Empty),
            (".", NameError::DotsAndSlashes),
            ("../..//", NameError::DotsAndSlashes),
            (".file-recycler/environment.json", NameError::Own),
            ("a\0b", NameError::Control),
        ] {
            assert_eq!(ObjectKey::try_from(key), Err(error), "{key:?}");
        }
        assert_eq!(ObjectKey::try_from("a".repeat(1_025)), Err(NameError::TooLong("1,024 bytes")));
        for key in ["a b+c%2F", "Привет/🙂", "a//b", "/lead", "a/../b"] {
            assert_eq!(ObjectKey::try_from(key).unwrap().as_str(), key);
        }
    }

    #[test]
    fn ids_are_short_texts_without_control_characters() {
        assert_eq!(FileId::try_from(""), Err(NameError::Empty));
        assert_eq!(FileId::try_from("a\0b"), Err(NameError::Control));
        assert!(FileId::try_from("ж".repeat(255)).is_ok());
        assert_eq!(FileId::try_from("ж".repeat(256)), Err(NameError::TooLong("255 characters")));
    }
}

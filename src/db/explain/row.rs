//! Rows of the CRM's tables as they are explained.

use sqlx::FromRow;
use uuid::Uuid;

use crate::db::catalog::FILE_TYPE;

/// `"TypeId"` of a row that is a web link.
pub(in crate::db) const WEB_LINK_TYPE: &str = "539bc2f8-0ee0-df11-971b-001d60e938c6";
/// `"TypeId"` of a row that is a link to an entity.
pub(in crate::db) const ENTITY_LINK_TYPE: &str = "549bc2f8-0ee0-df11-971b-001d60e938c6";

/// What a row of a file table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(into = "&'static str")]
pub enum RowType {
    /// A file, with content.
    File,
    /// A web address.
    WebLink,
    /// A link to an entity.
    EntityLink,
    /// None that we know.
    Unknown,
}

impl RowType {
    /// By its `"TypeId"`.
    pub(super) fn of(id: Uuid) -> Self {
        match id.to_string().as_str() {
            FILE_TYPE => Self::File,
            WEB_LINK_TYPE => Self::WebLink,
            ENTITY_LINK_TYPE => Self::EntityLink,
            _ => Self::Unknown,
        }
    }

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::WebLink => "web link",
            Self::EntityLink => "entity link",
            Self::Unknown => "unknown",
        }
    }
}

impl From<RowType> for &'static str {
    fn from(kind: RowType) -> Self {
        kind.as_str()
    }
}

/// A row of a file table, less its name and its content.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct FileRow {
    /// The file's schema.
    pub schema: String,
    /// The table that has the row: a partition, where it is in one.
    pub table: String,
    /// The file.
    pub id: Uuid,
    /// What the row is; nothing where the table does not tell.
    #[serde(rename = "type")]
    pub kind: Option<RowType>,
    /// Code of the storage of its content; nothing where the table does not tell.
    pub storage: Option<String>,
    /// Is its content in a storage that is ours?
    pub in_s3: bool,
    /// Size in bytes, as the row says.
    pub size: Option<i64>,
    /// Bytes of content that are in the row itself; nothing where this role may not read that.
    pub data_bytes: Option<i64>,
    /// The statement by which an administrator has the CRM read that content again, where the row says that it is
    /// elsewhere.
    #[serde(skip)]
    pub back_to_the_row: Option<String>,
    /// The record that it belongs to.
    pub parent: Option<Parent>,
}

/// The record that a file's row names.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Parent {
    /// The record's schema.
    pub schema: String,
    /// The record.
    pub id: Uuid,
    /// The column that names it.
    pub column: String,
    /// It is named without a foreign key, by `"RecordSchemaName"` and `"RecordId"`.
    pub weak: bool,
    /// Is it there? Nothing where its schema is not known.
    pub exists: Option<bool>,
}

/// A row of a record table.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct RecordRow {
    /// The record's schema.
    pub schema: String,
    /// Its table.
    pub table: String,
}

/// A link: it shows a file on a record.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, FromRow)]
pub struct Link {
    /// The link.
    pub id: Uuid,
    /// The schema of the record that shows the file.
    pub record_schema: String,
    /// The record that shows the file.
    pub record_id: Uuid,
    /// The file's schema.
    pub file_schema: String,
    /// The file.
    pub file_id: Uuid,
    /// Is the record there? Nothing where its schema is not known.
    #[sqlx(skip)]
    pub record_exists: Option<bool>,
}

/// Some of many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed<T> {
    /// The first [`super::LISTED`].
    pub items: Vec<T>,
    /// How many there are; counting stops at 100,000 in each table.
    pub total: u64,
}

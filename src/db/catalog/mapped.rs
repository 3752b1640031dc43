//! The tables that the configuration lists, as SQL sees them: pure. What a row's key is, is said here and nowhere
//! else: triggers, alive check and samples all take this expression, so that two of them cannot differ.
//!
//! In all of it, `item` is the row.

use std::collections::{BTreeMap, BTreeSet};

use crate::db::sql::{TableName, quote_identifier, quote_literal};
use crate::file::{MAX_ID_CHARS, SchemaName};

/// A UUID as PostgreSQL and we write it.
const UUID: &str = "^([0-9a-fA-F]{32}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})$";

/// Words told in a sentence.
const TOLD: usize = 5;

/// What the database of a mapped application looks like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapped {
    /// The listed tables.
    pub tables: Vec<MappedTable>,
    /// Tables of records whose deletion matters.
    pub records: Vec<MappedRecord>,
    /// The column that identifies a row, of every table that has a primary key of one column.
    pub keys: BTreeMap<String, Column>,
    /// Words in model columns that mean no table, where they were looked for.
    pub meaningless: BTreeSet<String>,
}

/// One listed table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappedTable {
    /// The table's name, which is the schema's in events.
    pub schema: SchemaName,
    /// The table.
    pub table: TableName,
    /// The table itself first, then its partitions and heirs.
    pub parts: Vec<TableName>,
    /// The file's id.
    pub id: Column,
    /// What makes the key.
    pub key: Vec<KeyPart>,
    /// The key comes from columns of the row, not from the key template.
    pub own_key: bool,
    /// Where the record is named.
    pub link: Option<MappedLink>,
    /// Rows whose text in this column is this have their content in S3; `None`: all.
    pub storage: Option<(Column, String)>,
    /// The size in bytes.
    pub size: Option<Column>,
    /// Every column but those of type bytea: a row's image.
    pub columns: Vec<String>,
    /// An index serves the question who has a key.
    pub indexed: bool,
    /// No row can be without an object: the storage is not asked for, and the key's columns are never NULL.
    pub always_holds: bool,
}

/// A table of records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappedRecord {
    /// The table's name, which is the schema's in events.
    pub schema: SchemaName,
    /// As [`MappedTable::parts`].
    pub parts: Vec<TableName>,
    /// The record's id.
    pub id: Column,
}

/// A column with what its values are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its values.
    pub kind: ColumnKind,
}

/// What a column's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    /// `uuid`
    Uuid,
    /// `smallint`, `integer`, `bigint`
    Integer,
    /// `text`, `varchar`
    Text,
    /// `char(n)` and `citext`, whose equality is not that of their text.
    LooseText,
    /// Anything else.
    Other,
}

/// A piece of the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyPart {
    /// The same in all keys of the table.
    Literal(String),
    /// A column's text.
    Column(Column, Form),
}

/// In which form a column's text stands in the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As it is.
    AsIs,
    /// In capitals.
    Upper,
    /// Without hyphens.
    Simple,
}

/// How a row names its record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MappedLink {
    /// A column with the id of a row of one table.
    Column {
        /// The column.
        column: Column,
        /// The record's table.
        record: SchemaName,
        /// The database keeps the two together: no row can be left without its record.
        foreign_key: bool,
    },
    /// A column with a table's name, and one with the row's id.
    Weak {
        /// The table's name, or a word for it.
        model: Column,
        /// The row's id.
        id: Column,
        /// Words that are not tables' names.
        models: BTreeMap<String, String>,
    },
}

impl ColumnKind {
    /// By the name of the (base) type.
    pub(super) fn of(type_name: &str) -> Self {
        match type_name {
            "uuid" => Self::Uuid,
            "int2" | "int4" | "int8" => Self::Integer,
            "text" | "varchar" => Self::Text,
            "bpchar" | "citext" => Self::LooseText,
            _ => Self::Other,
        }
    }
}

impl Column {
    /// The value as text. Of these types it depends on no setting of a session.
    pub(in crate::db) fn text(&self) -> String {
        // In one collation: those of two columns may not go together, and one that is not deterministic cannot be searched.
        format!("(item.{}::text COLLATE \"C\")", quote_identifier(&self.name))
    }

    /// A text of the same name as a value of this column; NULL where it is none. So the column stays bare, and
    /// an index on it serves.
    pub(in crate::db) fn value(&self, text: &str) -> String {
        match self.kind {
            ColumnKind::Uuid => {
                format!("CASE WHEN {text} ~ {} THEN {text}::uuid END", quote_literal(UUID))
            }
            ColumnKind::Integer => format!(
                "CASE WHEN {text} ~ '^-?[0-9]{{1,19}}$' THEN \
                 CASE WHEN {text}::numeric BETWEEN -9223372036854775808 AND 9223372036854775807 \
                 THEN {text}::bigint END END"
            ),
            ColumnKind::Text | ColumnKind::LooseText | ColumnKind::Other => text.to_owned(),
        }
    }

    /// This column has one of the texts (an expression of type text[]).
    pub(in crate::db) fn is_one_of(&self, texts: &str) -> String {
        match self.kind {
            ColumnKind::LooseText | ColumnKind::Other => format!("{} = ANY({texts})", self.text()),
            ColumnKind::Uuid | ColumnKind::Integer | ColumnKind::Text => format!(
                "item.{} = ANY(ARRAY(SELECT {} FROM unnest({texts}) AS given (one)))",
                quote_identifier(&self.name),
                self.value("one"),
            ),
        }
    }
}

impl MappedTable {
    /// The same without what a capture can do without: size and record.
    pub(in crate::db) fn plain(&self) -> Self {
        Self { size: None, link: None, ..self.clone() }
    }

    /// The row's key, byte for byte; NULL where a column of it is.
    pub(in crate::db) fn key(&self) -> String {
        let parts: Vec<String> = self.key.iter().map(KeyPart::sql).collect();
        format!("(({}) COLLATE \"C\")", parts.join(" || "))
    }

    /// The row's content is in S3, as far as the row tells.
    pub(in crate::db) fn in_s3(&self) -> String {
        self.storage.as_ref().map_or_else(
            || "true".to_owned(),
            |(column, value)| format!("coalesce({} = {}, false)", column.text(), quote_literal(value)),
        )
    }

    /// The row names an object: its content is in S3, and nothing that makes the key is NULL or empty.
    pub(in crate::db) fn names_object(&self) -> String {
        format!("({})", self.naming().join(" AND "))
    }

    fn naming(&self) -> Vec<String> {
        let columns = self.key_columns().map(|column| format!("coalesce({} <> '', false)", column.text()));
        std::iter::once(self.in_s3()).chain(columns).collect()
    }

    /// The row has an object: its content is in S3, and nothing that makes the key is NULL or empty. One whose id no
    /// event could carry counts as having none: it is neither captured nor deleted.
    pub(in crate::db) fn holds(&self) -> String {
        let id = self.id.text();
        let carried = match self.id.kind {
            ColumnKind::Text | ColumnKind::LooseText => {
                format!(
                    "coalesce(length({id}) BETWEEN 1 AND {MAX_ID_CHARS} AND {id} !~ '[[:cntrl:]]', false)"
                )
            }
            ColumnKind::Uuid | ColumnKind::Integer | ColumnKind::Other => format!("{id} IS NOT NULL"),
        };
        let all: Vec<String> = self.naming().into_iter().chain([carried]).collect();
        format!("({})", all.join(" AND "))
    }

    /// Could a row of this table have this key? By the text around what columns make of it.
    pub fn could_give(&self, key: &str) -> bool {
        let literal = |part: Option<&KeyPart>| match part {
            Some(KeyPart::Literal(text)) => text.clone(),
            Some(KeyPart::Column(..)) | None => String::new(),
        };
        let (before, after) = (literal(self.key.first()), literal(self.key.last()));
        key.len() > before.len() + after.len() && key.starts_with(&before) && key.ends_with(&after)
    }

    /// Every column that questions and triggers read.
    pub(in crate::db) fn read_columns(&self) -> impl Iterator<Item = &Column> {
        let link: Vec<&Column> = match &self.link {
            None => Vec::new(),
            Some(MappedLink::Column { column, .. }) => vec![column],
            Some(MappedLink::Weak { model, id, .. }) => vec![model, id],
        };
        let storage = self.storage.as_ref().map(|(column, _)| column);
        [&self.id].into_iter().chain(self.key_columns()).chain(storage).chain(&self.size).chain(link)
    }

    /// Columns that make the key.
    pub(super) fn key_columns(&self) -> impl Iterator<Item = &Column> {
        self.key.iter().filter_map(|part| match part {
            KeyPart::Column(column, _) => Some(column),
            KeyPart::Literal(_) => None,
        })
    }

    /// The row has one of the keys (an expression of type text[]). Where one column makes the key, it is asked
    /// for bare, so that an index on it serves; the whole key decides in any case.
    pub(in crate::db) fn has_key(&self, keys: &str) -> String {
        let whole = format!("{} = ANY({keys})", self.key());
        match self.bare(keys) {
            Some(bare) => format!("{bare} AND {whole}"),
            None => whole,
        }
    }

    fn bare(&self, keys: &str) -> Option<String> {
        let mut columns = self.key.iter().enumerate().filter_map(|(at, part)| match part {
            KeyPart::Column(column, form) => Some((at, column, *form)),
            KeyPart::Literal(_) => None,
        });
        let ((at, column, form), None) = (columns.next()?, columns.next()) else { return None };
        let served = match column.kind {
            ColumnKind::Text => form == Form::AsIs,
            ColumnKind::Uuid => true,
            // A form changes nothing about digits but their sign.
            ColumnKind::Integer => form != Form::Simple,
            ColumnKind::LooseText | ColumnKind::Other => false,
        };
        let characters = |parts: &[KeyPart]| -> usize {
            let literal = |part: &KeyPart| match part {
                KeyPart::Literal(text) => text.chars().count(),
                KeyPart::Column(..) => 0,
            };
            parts.iter().map(literal).sum()
        };
        let (before, after) = (characters(&self.key[..at]), characters(&self.key[at + 1..]));
        let around = before + after;
        let rests = format!(
            "ARRAY(SELECT substr(key, {}, length(key) - {around}) FROM unnest({keys}) AS named (key) \
             WHERE length(key) >= {around})",
            before + 1
        );
        served.then(|| column.is_one_of(&rests))
    }

    /// The record's schema and id as text, by the row; NULLs where it names none.
    pub(in crate::db) fn parent(&self) -> (String, String) {
        match &self.link {
            None => ("NULL::text".to_owned(), "NULL::text".to_owned()),
            Some(MappedLink::Column { column, record, .. }) => {
                (format!("{}::text", quote_literal(record.as_str())), column.text())
            }
            Some(MappedLink::Weak { model, id, models }) => (schema_of(model, models), id.text()),
        }
    }

    /// The rows name their record in a way that the database does not keep: they can be left without it.
    pub(in crate::db) fn is_weak(&self) -> bool {
        match &self.link {
            None => false,
            Some(MappedLink::Column { foreign_key, .. }) => !foreign_key,
            Some(MappedLink::Weak { .. }) => true,
        }
    }

    /// The row names the record with the schema `schema` and one of the ids (expressions of type text and
    /// text[]); nothing where rows name no record.
    pub(in crate::db) fn names_record(&self, schema: &str, ids: &str) -> Option<String> {
        let column = match self.link.as_ref()? {
            MappedLink::Column { column, .. } => column,
            MappedLink::Weak { id, .. } => id,
        };
        Some(format!("{} AND {} = {schema}", column.is_one_of(ids), self.parent().0))
    }
}

/// The record's schema by the word in the row.
fn schema_of(model: &Column, models: &BTreeMap<String, String>) -> String {
    if models.is_empty() {
        return model.text();
    }
    let cases: Vec<String> = models
        .iter()
        .map(|(word, table)| format!("WHEN {} THEN {}", quote_literal(word), quote_literal(table)))
        .collect();
    format!("CASE {text} {} ELSE {text} END", cases.join(" "), text = model.text())
}

impl KeyPart {
    fn sql(&self) -> String {
        match self {
            Self::Literal(text) => format!("{}::text", quote_literal(text)),
            Self::Column(column, Form::AsIs) => column.text(),
            Self::Column(column, Form::Upper) => format!("upper({} COLLATE \"C\")", column.text()),
            Self::Column(column, Form::Simple) => format!("replace({}, '-', '')", column.text()),
        }
    }
}

impl Mapped {
    /// What an operator should do so that the questions stay cheap.
    pub fn hints(&self) -> Vec<String> {
        let slow = self.tables.iter().filter(|table| !table.indexed);
        slow.map(|table| {
            let columns: Vec<_> = table.key_columns().collect();
            let on = match (columns.as_slice(), table.bare("NULL")) {
                ([column], Some(_)) => quote_identifier(&column.name),
                _ => table.key().replace("item.", ""),
            };
            format!(
                "no index serves the key of {name}: each question whether its files are alive reads the whole table; \
                 CREATE INDEX CONCURRENTLY ON {table} ({on});",
                name = table.table,
                table = table.table.quoted(),
            )
        })
        .chain(self.words())
        .collect()
    }

    fn words(&self) -> Option<String> {
        let told: Vec<_> =
            self.meaningless.iter().take(TOLD).map(|word| format!("'{}'", word.escape_debug())).collect();
        (!told.is_empty()).then(|| {
            format!(
                "rows name their record by {} words that mean no table ({}): add them to [crm.file_table.models]; until then \
                 nothing is captured of such records",
                self.meaningless.len(),
                told.join(", ")
            )
        })
    }
}

#[cfg(test)]
mod tests;

//! Discovery of a mapped application: what the configuration lists is compared with what the database has, and
//! whatever does not fit is told by its name.

mod read;

use std::collections::{BTreeMap, BTreeSet};

use super::mapped::{Column, ColumnKind, Form, KeyPart, Mapped, MappedLink, MappedRecord, MappedTable};
use super::{Asks, Catalog, Named};
use crate::config::{Crm, FileTable, RecordLink};
use crate::db::Db;
use crate::db::error::{DbError, Problem};
use crate::db::sql::TableName;
use crate::file::SchemaName;
use crate::key_template::Piece;
use read::{Found, Scan};

const DOING: &str = "comparing the listed tables with the database";
/// Problems told at once.
const TOLD: usize = 5;

/// Discovers everything in one read-only snapshot.
pub(super) async fn mapping(
    db: &Db,
    crm: &Crm,
    tables: &[FileTable],
    named: Named<'_>,
) -> Result<Catalog, DbError> {
    let Scan { fingerprint, found, mut models } = read::scan(db, crm, tables, named).await?;
    let mut fitting = Fitting { crm, found: &found, problems: Vec::new() };
    let mapped: Vec<MappedTable> = tables
        .iter()
        .enumerate()
        .filter_map(|(at, table)| fitting.table(&format!("crm.file_table[{at}]"), table))
        .collect();
    fitting.not_twice(&mapped);
    if !fitting.problems.is_empty() {
        let more = fitting.problems.len().saturating_sub(TOLD);
        let mut told: Vec<String> = fitting.problems.into_iter().take(TOLD).collect();
        told.extend((more > 0).then(|| format!("and {more} more")));
        let told = told.join("; ");
        return Err(DbError::new(DOING, Problem::NotReady(told)));
    }
    let meaningless = meaningless(&mut models, &mapped, &found);
    let records = records(crm, &mapped, &found, &models);
    let known = mapped.iter().map(|table| table.schema.to_string()).chain(found.keys.keys().cloned());
    Ok(Catalog {
        fingerprint,
        tables: known.collect(),
        asks: Asks::Mapping(Mapped { tables: mapped, records, keys: found.keys, meaningless }),
        ..super::nothing(crm)
    })
}

/// Takes the words away that mean no table, and gives them.
fn meaningless(words: &mut BTreeSet<String>, tables: &[MappedTable], found: &Found) -> BTreeSet<String> {
    let is_known = |word: &String| {
        found.keys.contains_key(word)
            || tables.iter().any(|table| match &table.link {
                Some(MappedLink::Weak { models, .. }) => models.contains_key(word),
                _ => false,
            })
    };
    let (known, meaningless) = std::mem::take(words).into_iter().partition(is_known);
    *words = known;
    meaningless
}

/// Tables of records: those that columns and models name, and those that rows were found to name.
fn records(crm: &Crm, tables: &[MappedTable], found: &Found, models: &BTreeSet<String>) -> Vec<MappedRecord> {
    let mut names = models.clone();
    for table in tables {
        match &table.link {
            Some(MappedLink::Column { record, .. }) => drop(names.insert(record.to_string())),
            Some(MappedLink::Weak { models, .. }) => names.extend(models.values().cloned()),
            None => {}
        }
    }
    let record = |name: String| {
        Some(MappedRecord {
            id: found.keys.get(&name)?.clone(),
            parts: found.parts(&crm.schema, &name),
            schema: SchemaName::try_from(name).ok()?,
        })
    };
    names.into_iter().filter_map(record).collect()
}

/// One listed table after the other, with what is wrong with them.
struct Fitting<'a> {
    crm: &'a Crm,
    found: &'a Found,
    problems: Vec<String>,
}

type Columns = BTreeMap<String, read::ColumnFound>;

impl Fitting<'_> {
    fn wrong(&mut self, key: &str, problem: &str) {
        self.problems.push(format!("{key} {problem}"));
    }

    fn table(&mut self, name: &str, listed: &FileTable) -> Option<MappedTable> {
        let schema = &self.crm.schema;
        let Some(columns) = self.found.columns.get(&listed.table) else {
            self.wrong(
                &format!("{name}.table"),
                &format!("is '{}', and the schema '{schema}' has no such table", listed.table),
            );
            return None;
        };
        if self.found.bare.contains(&listed.table) {
            // A restore loads rows first and makes indexes afterwards.
            self.wrong(
                &format!("{name}.table"),
                &format!(
                    "is '{}', which has no index: a restore of the database seems to be under way, and what is alive cannot \
                     be told before it is there",
                    listed.table
                ),
            );
        }
        let before = self.problems.len();
        let ids = [ColumnKind::Uuid, ColumnKind::Integer, ColumnKind::Text, ColumnKind::LooseText];
        let id = self.column(columns, &format!("{name}.id"), &listed.id, &ids);
        let key = id.as_ref().and_then(|id| self.key(columns, &format!("{name}.key"), listed, id));
        let storage = listed
            .storage
            .as_ref()
            .map(|(column, value)| self.storage(columns, &format!("{name}.storage"), column, value));
        let size = listed
            .size
            .as_ref()
            .map(|size| self.column(columns, &format!("{name}.size"), size, &[ColumnKind::Integer]));
        let link = listed.record.as_ref().map(|link| self.link(columns, name, &listed.table, link));
        let schema = SchemaName::try_from(listed.table.as_str());
        if self.problems.len() > before {
            return None;
        }
        let (id, key) = (id?, key?);
        let parts = self.found.parts(&self.crm.schema, &listed.table);
        let mut table = MappedTable {
            schema: schema.ok()?,
            table: TableName { schema: self.crm.schema.clone(), name: listed.table.clone() },
            parts,
            id,
            key,
            own_key: listed.key.is_some(),
            link: link.flatten(),
            storage: storage.flatten(),
            size: size.flatten(),
            columns: columns
                .values()
                .filter(|column| !column.is_bytes)
                .map(|it| it.column.name.clone())
                .collect(),
            indexed: false,
            always_holds: false,
        };
        table.indexed = self.is_indexed(&table);
        let never_null = |column: &Column| columns.get(&column.name).is_some_and(|found| found.never_null);
        table.always_holds =
            table.storage.is_none() && table.key_columns().chain([&table.id]).all(never_null);
        Some(table)
    }

    /// A table that is a part of another one has triggers as such, which would be replaced by its own.
    fn not_twice(&mut self, tables: &[MappedTable]) {
        for table in tables {
            let root = tables.iter().find(|root| root.parts[1..].contains(&table.table));
            if let Some(root) = root {
                let problem =
                    format!("lists {}, which is a part of {}: list that one alone", table.table, root.table);
                self.wrong("crm.file_table", &problem);
            }
        }
    }

    fn is_indexed(&self, table: &MappedTable) -> bool {
        let first = self.found.indexes.get(&table.table.name);
        let is_first =
            |column: Option<&str>| first.is_some_and(|first| first.contains(&column.map(str::to_owned)));
        let columns: Vec<_> = table.key_columns().collect();
        match columns.as_slice() {
            [column] if column.kind != ColumnKind::LooseText => {
                is_first(Some(&column.name)) || is_first(None)
            }
            // Whether an expression is the key's is not looked at.
            _ => is_first(None),
        }
    }

    fn named(&mut self, columns: &Columns, key: &str, name: &str) -> Option<read::ColumnFound> {
        let found = columns.get(name).cloned();
        if found.is_none() {
            self.wrong(key, &format!("names the column '{name}', which the table does not have"));
        }
        found
    }

    fn column(&mut self, columns: &Columns, key: &str, name: &str, kinds: &[ColumnKind]) -> Option<Column> {
        let found = self.named(columns, key, name)?;
        if kinds.contains(&found.column.kind) {
            return Some(found.column);
        }
        let wanted = if kinds.contains(&ColumnKind::Text) { "uuid, integer or text" } else { "integer" };
        self.wrong(key, &format!("names the column '{name}' of type {}, not {wanted}", found.type_name));
        None
    }

    /// The pieces of the table's own template, or of the key template with the id's column in it.
    fn key(&mut self, columns: &Columns, at: &str, listed: &FileTable, id: &Column) -> Option<Vec<KeyPart>> {
        let kinds = [ColumnKind::Uuid, ColumnKind::Integer, ColumnKind::Text, ColumnKind::LooseText];
        let mut parts = Vec::new();
        if let Some(template) = &listed.key {
            for (text, is_column) in pieces(template) {
                parts.push(if is_column {
                    KeyPart::Column(self.column(columns, at, text, &kinds)?, Form::AsIs)
                } else {
                    KeyPart::Literal(text.to_owned())
                });
            }
            return Some(parts);
        }
        for piece in listed.template.pieces() {
            parts.push(match piece {
                Piece::Literal(text) => KeyPart::Literal(text.to_owned()),
                Piece::Schema => KeyPart::Literal(listed.table.clone()),
                Piece::Id => KeyPart::Column(id.clone(), Form::AsIs),
                Piece::IdSimple => KeyPart::Column(id.clone(), Form::Simple),
                // Capitals of letters beyond A to Z are one thing here and another in the database.
                Piece::IdUpper if matches!(id.kind, ColumnKind::Text | ColumnKind::LooseText) => {
                    self.wrong(at, "is not given, and {file_id:upper} of storage.key_template is for ids that are UUIDs or numbers");
                    return None;
                }
                Piece::IdUpper => KeyPart::Column(id.clone(), Form::Upper),
            });
        }
        Some(parts)
    }

    fn storage(
        &mut self,
        columns: &Columns,
        key: &str,
        column: &str,
        value: &str,
    ) -> Option<(Column, String)> {
        let found = self.named(columns, key, column)?;
        if !found.is_comparable {
            self.wrong(key, &format!("compares '{column}', which is no text, number, boolean or enum"));
        }
        if found.type_name == "bool" && !["true", "false"].contains(&value) {
            // No row would be one of ours, whatever is in it.
            let problem =
                format!("compares the boolean '{column}' with '{value}', and its text is true or false");
            self.wrong(key, &problem);
        }
        Some((found.column, value.to_owned()))
    }

    /// Does a foreign key keep rows with their record? One that leads elsewhere says that the column has other values than
    /// that table's primary key: compared with it, a living record would count as gone, and its rows as left over.
    fn keeps(&mut self, key: &str, (table, column): (&str, &str), record: &str) -> Option<bool> {
        let record = TableName { schema: self.crm.schema.clone(), name: record.to_owned() };
        let of_column = |it: &&read::ForeignKey| it.table == table && it.column == column;
        let all: Vec<_> = self.found.foreign_keys.iter().filter(of_column).collect();
        let mut fitting = all.iter().filter(|it| it.is_primary && it.target == record).peekable();
        if let (None, Some(other)) = (fitting.peek(), all.first()) {
            let problem = format!(
                "says that '{table}.{column}' has the primary key of {record}, and its foreign key leads to the column '{}' of {}",
                other.target_column, other.target
            );
            self.wrong(key, &problem);
            return None;
        }
        Some(fitting.any(|it| it.is_validated))
    }

    fn link(&mut self, columns: &Columns, name: &str, table: &str, link: &RecordLink) -> Option<MappedLink> {
        let key = format!("{name}.record");
        let ids = [ColumnKind::Uuid, ColumnKind::Integer, ColumnKind::Text, ColumnKind::LooseText];
        match link {
            RecordLink::Column { column, table: record } => {
                let column = self.column(columns, &key, column, &ids)?;
                if !self.found.keys.contains_key(record) {
                    self.wrong(&key, &format!(
                        "names the table '{record}', which the schema '{}' does not have, or whose primary key is not one column of type uuid, integer or text",
                        self.crm.schema
                    ));
                    return None;
                }
                Some(MappedLink::Column {
                    foreign_key: self.keeps(&key, (table, &column.name), record)?,
                    column,
                    record: SchemaName::try_from(record.as_str()).ok()?,
                })
            }
            RecordLink::Weak { model, id, models } => {
                let texts = [ColumnKind::Text, ColumnKind::LooseText];
                let model = self.column(columns, &key, model, &texts);
                let id = self.column(columns, &key, id, &ids);
                for (word, record) in models {
                    if !self.found.keys.contains_key(record) {
                        self.wrong(&format!("{name}.models"), &format!(
                            "says that '{word}' is the table '{record}', which the schema '{}' does not have, or whose primary key is not one column of type uuid, integer or text",
                            self.crm.schema
                        ));
                    }
                }
                Some(MappedLink::Weak { model: model?, id: id?, models: models.clone() })
            }
        }
    }
}

/// Literal texts and columns (`true`) of a template that the configuration has checked.
fn pieces(template: &str) -> Vec<(&str, bool)> {
    let mut found = Vec::new();
    for (at, piece) in template.split('{').enumerate() {
        match (at, piece.split_once('}')) {
            (0, _) | (_, None) => found.push((piece, false)),
            (_, Some((column, rest))) => found.extend([(column, true), (rest, false)]),
        }
    }
    found.retain(|(text, is_column)| *is_column || !text.is_empty());
    found
}

#[cfg(test)]
mod tests {
    use super::pieces;

    #[test]
    fn a_template_falls_into_its_pieces() {
        for (template, expected) in [
            ("{a}", vec![("a", true)]),
            ("x/{a}-{b}.bin", vec![("x/", false), ("a", true), ("-", false), ("b", true), (".bin", false)]),
        ] {
            assert_eq!(pieces(template), expected);
        }
    }
}

//! `[[crm.file_table]]`: the file tables of an application that is not Creatio.

use std::collections::BTreeMap;

use super::error::{Problem, Source};
use super::read::Reader;
use super::validate::identifier;
use super::value::{Entry, Value, shown};
use super::{FileTable, RecordLink};
use crate::key_template::KeyTemplate;

/// Most tables that a configuration lists.
const MAX_TABLES: usize = 1_000;
const KEY: &str = "crm.file_table";

/// The listed tables; nothing where one of them is wrong.
pub(super) fn file_tables(reader: &mut Reader<'_>) -> Option<Vec<FileTable>> {
    let items = reader.get(KEY, |_| Ok(()));
    let source = reader.source(KEY).cloned();
    let (Some(()), Some(source)) = (items, source) else { return None };
    let mut problems = Vec::new();
    let tables = reader.get(KEY, |value| tables(value, &source, &mut problems));
    let sound = problems.is_empty();
    for problem in problems {
        reader.problem(problem);
    }
    tables.filter(|_| sound)
}

fn tables(value: &Value, source: &Source, problems: &mut Vec<Problem>) -> Result<Vec<FileTable>, String> {
    let Value::List(items) = value else {
        return Err("is not a list of tables: write [[crm.file_table]] for each".to_owned());
    };
    if items.is_empty() || items.len() > MAX_TABLES {
        return Err(format!("lists {} tables, not 1 to {MAX_TABLES}", items.len()));
    }
    let mut tables: Vec<FileTable> = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let Value::Table(entries) = item else {
            return Err("is not a list of tables: write [[crm.file_table]] for each".to_owned());
        };
        let name = format!("{KEY}[{index}]");
        let Some(table) = Row { name: &name, entries, source, problems }.read() else { continue };
        if tables.iter().any(|other| other.table == table.table) {
            let twice = format!("is {}, which is listed twice", shown(&table.table));
            problems.push(Problem::at(&format!("{name}.table"), &at(source, entries, "table"), twice));
        }
        tables.push(table);
    }
    Ok(tables)
}

/// The place of one entry of a row.
fn at(source: &Source, entries: &[Entry], key: &str) -> Source {
    match (source, entries.iter().find(|entry| entry.key == key).or(entries.first())) {
        (Source::File { path, .. }, Some(entry)) => Source::File { path: path.clone(), line: entry.line },
        _ => source.clone(),
    }
}

struct Row<'a> {
    name: &'a str,
    entries: &'a [Entry],
    source: &'a Source,
    problems: &'a mut Vec<Problem>,
}

impl Row<'_> {
    fn read(mut self) -> Option<FileTable> {
        const KNOWN: [&str; 7] = ["table", "id", "record", "key", "storage", "size", "models"];
        let before = self.problems.len();
        for entry in self.entries.iter().filter(|entry| !KNOWN.contains(&entry.key.as_str())) {
            self.wrong(&entry.key, format!("is not known; a table has {}", KNOWN.join(", ")));
        }
        let table = self.required("table");
        let id = self.required("id");
        let models = self.models();
        let record = self.entry("record", |text| record(text, models.clone()));
        if !models.is_empty() && !matches!(record, Some(RecordLink::Weak { .. })) {
            self.wrong("models", "goes with a record of the form \"model, res_id\" only");
        }
        let key = self.entry("key", key_template);
        let storage = self.entry("storage", storage);
        let size = self.entry("size", identifier);
        let sound = self.problems.len() == before;
        table.zip(id).filter(|_| sound).map(|(table, id)| FileTable {
            table,
            id,
            record,
            key,
            template: KeyTemplate::default(),
            storage,
            size,
        })
    }

    fn wrong(&mut self, key: &str, problem: impl Into<String>) {
        let source = at(self.source, self.entries, key);
        self.problems.push(Problem::at(&format!("{}.{key}", self.name), &source, problem));
    }

    fn find(&self, key: &str) -> Option<&Value> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    fn entry<T>(&mut self, key: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let read = self.find(key)?.text().and_then(read);
        read.map_err(|problem| self.wrong(key, problem)).ok()
    }

    fn required(&mut self, key: &str) -> Option<String> {
        if self.find(key).is_none() {
            self.wrong(key, "is missing");
        }
        self.entry(key, identifier)
    }

    fn models(&mut self) -> BTreeMap<String, String> {
        let entries = match self.find("models") {
            None => return BTreeMap::new(),
            Some(Value::Table(entries)) => Some(entries),
            Some(_) => None,
        };
        let names = entries.map(|entries| {
            let pair = |entry: &Entry| Some((entry.key.clone(), identifier(entry.value.text().ok()?).ok()?));
            entries.iter().map(pair).collect::<Option<BTreeMap<_, _>>>()
        });
        names.flatten().unwrap_or_else(|| {
            self.wrong("models", "is not a table of names: \"name in the column\" = \"table\"");
            BTreeMap::new()
        })
    }
}

/// `"column -> table"` or `"model column, id column"`.
fn record(text: &str, models: BTreeMap<String, String>) -> Result<RecordLink, String> {
    let two = |one: &str, other: &str| Some((identifier(one.trim()).ok()?, identifier(other.trim()).ok()?));
    let column = text.split_once("->").map(|(column, table)| {
        two(column, table).map(|(column, table)| RecordLink::Column { column, table })
    });
    let weak = || {
        let (model, id) = text.split_once(',')?;
        two(model, id).map(|(model, id)| RecordLink::Weak { model, id, models })
    };
    column.unwrap_or_else(weak).ok_or_else(|| {
        format!("is {}, neither \"column -> table\" nor \"model column, id column\"", shown(text))
    })
}

/// `"column = value"`
fn storage(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').map(|(column, value)| (column.trim(), value.trim()));
    let is_quoted = |value: &str| {
        value.len() > 1 && ['\'', '"'].iter().any(|q| value.starts_with(*q) && value.ends_with(*q))
    };
    if let Some((column, value)) = pair.filter(|(_, value)| is_quoted(value)) {
        // No row would have an object: no column says its value in quotes.
        let bare = &value[1..value.len() - 1];
        return Err(format!(
            "is {}, and the value stands without quotes: \"{column} = {bare}\"",
            shown(text)
        ));
    }
    pair.filter(|(column, value)| identifier(column).is_ok() && !value.is_empty())
        .map(|(column, value)| (column.to_owned(), value.to_owned()))
        .ok_or_else(|| format!("is {}, not \"column = value\"", shown(text)))
}

/// A template over the row's columns: literal text around at least one `{column}`.
fn key_template(text: &str) -> Result<String, String> {
    let mut columns = 0;
    let mut rest = text;
    while let Some(open) = rest.find(['{', '}']) {
        let close = rest[open..].find('}').map(|close| open + close).filter(|close| *close > open);
        let Some(close) = close else {
            return Err(format!("is {}, with a brace without its partner", shown(text)));
        };
        identifier(&rest[open + 1..close])
            .map_err(|problem| format!("has a column in braces that {problem}"))?;
        columns += 1;
        rest = &rest[close + 1..];
    }
    if columns == 0 {
        return Err(format!("is {}, without a {{column}}: all files would share one key", shown(text)));
    }
    Ok(text.to_owned())
}

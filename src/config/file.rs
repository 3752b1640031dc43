//! The configuration file: found, read, and taken apart into keys with their lines.

use std::io;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::error::{Problem, Source};
use super::keys::{find, is_section, unknown};
use super::load::{Layer, read_text};
use super::value::Value;

/// Largest configuration file, in bytes.
const MAX_BYTES: u64 = 1024 * 1024;
/// Where the file is looked for when none is named: first in the working directory.
const IN_DIRECTORY: &str = "file-recycler.toml";
/// Where it is looked for next.
const IN_SYSTEM: &str = "/etc/file-recycler/config.toml";

/// The file that holds: the named one, or the first that is there; nothing where none is.
pub(super) fn locate(named: Option<&Path>, directory: &Path) -> io::Result<Option<PathBuf>> {
    if let Some(named) = named {
        return Ok(Some(directory.join(named)));
    }
    for candidate in [directory.join(IN_DIRECTORY), PathBuf::from(IN_SYSTEM)] {
        if candidate.try_exists()? {
            return Ok(Some(candidate));
        }
    }
    Ok(None)
}

/// What the file sets.
pub(super) fn file(path: &Path, problems: &mut Vec<Problem>) -> Layer {
    let text = match read_text(path, MAX_BYTES) {
        Ok(text) => text,
        Err(problem) => {
            problems.push(Problem::of(path.display().to_string(), problem));
            return Layer::new();
        }
    };
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(&text);
    let line =
        |position: usize| 1 + text.as_bytes().iter().take(position).filter(|byte| **byte == b'\n').count();
    match DeTable::parse(text) {
        // Only the message: the full text of the error quotes the line, which may hold a secret.
        Err(error) => {
            let place = error.span().map_or(String::new(), |span| format!(" line {}", line(span.start)));
            problems.push(Problem::of(
                format!("{}{place}", path.display()),
                format!("is not TOML: {}", error.message()),
            ));
            Layer::new()
        }
        Ok(table) => {
            let mut walk = Walk { path, line: &line, layer: Layer::new(), problems };
            walk.table("", table.get_ref());
            walk.layer
        }
    }
}

struct Walk<'a> {
    path: &'a Path,
    line: &'a dyn Fn(usize) -> usize,
    layer: Layer,
    problems: &'a mut Vec<Problem>,
}

impl Walk<'_> {
    fn table(&mut self, above: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let source = Source::File { path: self.path.to_owned(), line: (self.line)(name.span().start) };
            let name = name.get_ref();
            let full = if above.is_empty() { name.to_string() } else { format!("{above}.{name}") };
            // A quoted name with a dot in it is no path.
            let key = find(&full).filter(|_| !name.contains('.'));
            if let Some(key) = key {
                let value = Value::from_toml(value.get_ref(), self.line);
                self.layer.insert(key.name, (value, source));
            } else if is_section(&full) && !name.contains('.') {
                match value.get_ref() {
                    DeValue::Table(below) => self.table(&full, below),
                    _ => self.problems.push(Problem::at(&full, &source, "is a section, not a value")),
                }
            } else {
                self.problems.push(Problem::at(&full, &source, unknown(&full)));
            }
        }
    }
}

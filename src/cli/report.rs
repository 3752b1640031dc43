//! A report with a line for each file, as JSON or CSV.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use serde::Serialize;

use super::output::Failed;

/// A file with a line for each result; nothing where none was asked for.
pub(super) enum Report {
    Nothing,
    Json(BufWriter<File>),
    Csv(Box<csv::Writer<File>>),
}

impl Report {
    /// Begins the file: an old one of the name is replaced.
    pub(super) fn begin(path: Option<&Path>) -> Result<Self, Failed> {
        let Some(path) = path else { return Ok(Self::Nothing) };
        let file = File::create(path)
            .map_err(|error| Failed::new(format!("--report {}: {error}", path.display())))?;
        let is_csv = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
        Ok(if is_csv {
            Self::Csv(Box::new(csv::Writer::from_writer(file)))
        } else {
            Self::Json(BufWriter::new(file))
        })
    }

    /// Adds a line.
    pub(super) fn add(&mut self, line: &impl Serialize) -> Result<(), String> {
        let failed = |error: &dyn std::fmt::Display| format!("the report cannot be written: {error}");
        match self {
            Self::Nothing => Ok(()),
            Self::Json(file) => {
                let line = serde_json::to_string(line).map_err(|error| failed(&error))?;
                writeln!(file, "{line}").map_err(|error| failed(&error))
            }
            Self::Csv(file) => file.serialize(line).map_err(|error| failed(&error)),
        }
    }

    /// Everything is in the file from here on.
    pub(super) fn end(self) -> Result<(), Failed> {
        match self {
            Self::Nothing => Ok(()),
            Self::Json(mut file) => Ok(file.flush()?),
            Self::Csv(mut file) => Ok(file.flush()?),
        }
    }
}

//! The report: a line for each file, as JSON or CSV; and how far it is, on standard error.

use std::fs::File;
use std::io::{BufWriter, IsTerminal as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::super::output::Failed;
use crate::restore::FileResult;

/// How often a line tells how far it is, where there is no terminal to draw on.
const LINE_EVERY: Duration = Duration::from_secs(10);

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

    pub(super) fn add(&mut self, result: &FileResult) -> Result<(), String> {
        let failed = |error: &dyn std::fmt::Display| format!("the report cannot be written: {error}");
        match self {
            Self::Nothing => Ok(()),
            Self::Json(file) => {
                let line = serde_json::to_string(result).map_err(|error| failed(&error))?;
                writeln!(file, "{line}").map_err(|error| failed(&error))
            }
            Self::Csv(file) => file.serialize(result).map_err(|error| failed(&error)),
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

/// How far it is: a bar on a terminal, a line now and then elsewhere.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    done: u64,
    /// How many there are, where that is known.
    total: Option<u64>,
    told: Instant,
}

impl Progress {
    pub(super) fn new(total: Option<u64>) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| match total {
            Some(total) => {
                ProgressBar::new(total).with_style(style("{bar:40} {pos}/{len} files, {per_sec}, {eta} left"))
            }
            None => ProgressBar::new_spinner().with_style(style("{spinner} {pos} files, {per_sec}")),
        });
        Self { bar, done: 0, total, told: Instant::now() }
    }

    pub(super) fn add(&mut self) {
        self.done += 1;
        if let Some(bar) = &self.bar {
            bar.set_position(self.done);
        } else if self.told.elapsed() >= LINE_EVERY {
            self.told = Instant::now();
            tracing::info!(files = self.done, of = self.total, "restoring");
        }
    }

    pub(super) fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are constants; a wrong one would only look plainer.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

//! Reads one value after the other from the merged layers, and keeps every problem that it meets.

use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;

use super::error::{Problem, Source};
use super::load::Layer;
use super::validate::readable;
use super::value::{Value, shown};

/// The merged layers, defaults included, and the problems so far.
pub(super) struct Reader<'a> {
    layer: &'a Layer,
    directory: &'a Path,
    problems: &'a mut Vec<Problem>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(layer: &'a Layer, directory: &'a Path, problems: &'a mut Vec<Problem>) -> Self {
        Self { layer, directory, problems }
    }

    /// What `read` makes of the key's value. Nothing where the key is unset, or its value wrong: then
    /// the problem is kept, and the whole configuration comes to nothing.
    pub(super) fn get<T>(&mut self, key: &str, read: impl FnOnce(&Value) -> Result<T, String>) -> Option<T> {
        let (value, source) = self.layer.get(key)?;
        read(value).map_err(|problem| self.problems.push(Problem::at(key, source, problem))).ok()
    }

    /// A text that `check` accepts.
    pub(super) fn text<T>(&mut self, key: &str, check: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        self.get(key, |value| value.text().and_then(check))
    }

    /// A secret that `check` accepts; its errors must not repeat it.
    pub(super) fn secret(
        &mut self,
        key: &str,
        check: impl FnOnce(&str) -> Result<String, String>,
    ) -> Option<SecretString> {
        self.text(key, check).map(SecretString::from)
    }

    /// A duration of at least `min`.
    pub(super) fn duration(&mut self, key: &str, min: Duration) -> Option<Duration> {
        self.get(key, |value| value.duration(min))
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(&mut self, key: &str, words: &[(&str, T)]) -> Option<T> {
        self.text(key, |text| {
            words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning).ok_or_else(|| {
                let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
                format!("is {}, not one of: {}", shown(text), known.join(", "))
            })
        })
    }

    /// A file that is there; a relative path begins in the working directory.
    pub(super) fn file(&mut self, key: &str) -> Option<PathBuf> {
        let directory = self.directory;
        self.text(key, |text| readable(&directory.join(text)))
    }

    /// Where the key was set; nothing where it is unset.
    pub(super) fn source(&self, key: &str) -> Option<&'a Source> {
        self.layer.get(key).map(|(_, source)| source)
    }

    /// Keeps a problem with the key's value, wherever it was set.
    pub(super) fn wrong(&mut self, key: &str, problem: impl Into<String>) {
        let source = self.source(key).cloned();
        self.problems.push(Problem { subject: key.to_owned(), source, problem: problem.into() });
    }

    /// Keeps a problem that needs another place than its key's.
    pub(super) fn problem(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Two keys that mean something only together: is one of them set alone? Then that is kept.
    pub(super) fn together(&mut self, one: &str, other: &str) {
        for (given, missing) in [(one, other), (other, one)] {
            if self.source(given).is_some() && self.source(missing).is_none() {
                self.wrong(given, format!("is set, and {missing} is not: set both or neither"));
            }
        }
    }
}

//! Tests of `config`: every key from every source, and the exact words of what is wrong.

mod arbitrary;
mod bad;
mod good;
mod hostile;
mod refused;

use std::fs;
use std::path::{Path, PathBuf};

use super::*;

/// A directory of its own for each test, with the sources that begin there.
struct Place {
    sources: Sources,
}

impl Place {
    fn new() -> Self {
        let directory = std::env::temp_dir().join(format!("file-recycler-{}", uuid::Uuid::new_v4()));
        fs::create_dir(&directory).unwrap();
        Self { sources: Sources { directory, ..Sources::default() } }
    }

    fn directory(&self) -> &Path {
        &self.sources.directory
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.directory().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    fn file(self, toml: &str) -> Self {
        self.write("file-recycler.toml", toml);
        self
    }

    fn connection_strings(mut self, strings: &[(&str, &str)]) -> Self {
        let add =
            |(name, string): &(&str, &str)| format!("<add name=\"{name}\" connectionString='{string}'/>");
        let adds = strings.iter().map(add).collect::<Vec<_>>().concat();
        self.write("cs.config", format!("<connectionStrings>{adds}</connectionStrings>"));
        self.sources.sets.insert(0, "crm.connection_strings=cs.config".to_owned());
        self
    }

    fn set(mut self, set: &str) -> Self {
        self.sources.sets.push(set.to_owned());
        self
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.sources.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    fn loaded(&self) -> Loaded {
        load(&self.sources).unwrap_or_else(|errors| panic!("{errors}"))
    }

    /// The errors, with the directory's path as `DIR`.
    fn errors(&self) -> String {
        let errors = load(&self.sources).map(|_| ()).unwrap_err().to_string();
        errors.replace(&self.directory().display().to_string(), "DIR")
    }

    /// What `config show --sources` says about a key.
    fn shown(&self, key: &str) -> (Option<String>, String) {
        let loaded = self.loaded();
        let setting = loaded.settings.into_iter().find(|setting| setting.key == key).unwrap();
        let source = setting.source.to_string().replace(&self.directory().display().to_string(), "DIR");
        (setting.value, source)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.directory());
    }
}

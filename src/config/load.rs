//! The layers and their order: flag, environment, file, connection strings of the CRM, default.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::mem;
use std::path::{Path, PathBuf};

use secrecy::zeroize::{Zeroize as _, Zeroizing};

use super::connection_strings::{Wanted, connection_strings};
use super::error::{ConfigErrors, Problem, Source};
use super::keys::KEYS;
use super::show::{Setting, settings};
use super::value::Value;
use super::{Config, build, env, file};

/// Values by the names of their keys, each with the place it came from.
pub(super) type Layer = BTreeMap<&'static str, (Value, Source)>;

/// Everything that the configuration is made from; nothing else is looked at but the files it names.
#[derive(Clone, Default)]
pub struct Sources {
    /// `--config`
    pub config_file: Option<PathBuf>,
    /// Each `--set`, as `KEY=VALUE`.
    pub sets: Vec<String>,
    /// The environment. A name or a value that is no UTF-8 has U+FFFD in it, which is refused.
    pub environment: Vec<(String, String)>,
    /// The working directory: relative paths begin here.
    pub directory: PathBuf,
}

impl Sources {
    /// This process's environment and working directory, with the options of its command line.
    pub fn from_process(config_file: Option<PathBuf>, sets: Vec<String>) -> Self {
        let environment = std::env::vars_os()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
            .collect();
        // Without a working directory, relative paths stay relative and their errors say so.
        let directory = std::env::current_dir().unwrap_or_default();
        Self { config_file, sets, environment, directory }
    }
}

/// A configuration that is complete and checked, and where each of its values came from.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Every key with its value and source, in the order of [`KEYS`]; secrets hidden.
    pub settings: Vec<Setting>,
}

/// Reads, merges and checks. The error holds everything that was found to be wrong, at once.
pub fn load(sources: &Sources) -> Result<Loaded, ConfigErrors> {
    let mut problems = Vec::new();
    let directory = &sources.directory;
    let mut layer = match file::locate(sources.config_file.as_deref(), directory) {
        Ok(Some(path)) => file::file(&path, &mut problems),
        Ok(None) => Layer::new(),
        Err(error) => {
            problems.push(Problem::of("the configuration file", format!("cannot be looked for: {error}")));
            Layer::new()
        }
    };
    layer.extend(env::environment(&sources.environment, directory, &mut problems));
    layer.extend(env::flags(&sources.sets, &mut problems));
    add_connection_strings(&mut layer, directory, &mut problems);
    for key in KEYS {
        if let Some(default) = key.default {
            layer.entry(key.name).or_insert_with(|| (Value::Plain(default.to_owned()), Source::Default));
        }
    }
    let config = build::build(&layer, sources, &mut problems);
    match config {
        Some(config) if problems.is_empty() => Ok(Loaded { config, settings: settings(&layer) }),
        _ => Err(ConfigErrors(problems)),
    }
}

fn add_connection_strings(layer: &mut Layer, directory: &Path, problems: &mut Vec<Problem>) {
    let Some((path, named)) = layer.get("crm.connection_strings") else { return };
    // A path that is no text is reported by `build`, with all the others.
    let Ok(path) = path.text() else { return };
    let events = layer.get("crm.profile").is_some_and(|(profile, _)| profile.text() == Ok("events"));
    let wanted = Wanted { above: layer, database: !events };
    let below = connection_strings(&directory.join(path), named, &wanted, problems);
    for (key, found) in below {
        layer.entry(key).or_insert(found);
    }
}

/// A whole file of at most `max` bytes; the error is the rest of a sentence about it. It may hold secrets.
pub(super) fn read_bytes(path: &Path, max: u64) -> Result<Zeroizing<Vec<u8>>, String> {
    let cannot = |error: io::Error| format!("cannot be read: {error}");
    let file = File::open(path).map_err(cannot)?;
    // Enough from the start: a vector that grows leaves copies behind.
    let size = file.metadata().map_or(0, |metadata| metadata.len()).min(max);
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(size).unwrap_or_default() + 32));
    let read = file.take(max + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if read as u64 > max {
        return Err(format!("is larger than {} KiB", max / 1024));
    }
    Ok(bytes)
}

/// The same for a file of text.
pub(super) fn read_text(path: &Path, max: u64) -> Result<Zeroizing<String>, String> {
    let mut bytes = read_bytes(path, max)?;
    let text = String::from_utf8(mem::take(&mut *bytes)).map_err(|error| {
        error.into_bytes().zeroize();
        "is not UTF-8".to_owned()
    })?;
    Ok(Zeroizing::new(text))
}

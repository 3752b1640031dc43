//! The environment and the command line: `FILE_RECYCLER_…` variables and `--set KEY=VALUE`.

use std::path::Path;

use super::error::{Problem, Source};
use super::keys::{FILE_SUFFIX, KEYS, Key, PREFIX, find, nearest, unknown};
use super::load::{Layer, read_text};
use super::value::Value;

/// Largest file that a `…_FILE` variable names, in bytes.
const MAX_SECRET_BYTES: u64 = 64 * 1024;
/// Stands where a variable's bytes are no UTF-8.
const NOT_UTF8: char = '\u{FFFD}';

/// What the `FILE_RECYCLER_…` variables set.
pub(super) fn environment(
    variables: &[(String, String)],
    directory: &Path,
    problems: &mut Vec<Problem>,
) -> Layer {
    let mut layer = Layer::new();
    for (variable, value) in variables {
        let Some(name) = variable.strip_prefix(PREFIX) else { continue };
        if is_not_ours(name) {
            continue;
        }
        let plain = |key: &&Key| key.variable() == *variable;
        let file = |key: &&Key| key.secret && key.variable() + FILE_SUFFIX == *variable;
        let (key, found) = if let Some(key) = KEYS.iter().find(plain) {
            (key, from_variable(key, variable, value))
        } else if let Some(key) = KEYS.iter().find(file) {
            (key, from_file(variable, value, directory))
        } else {
            problems.push(Problem::of(variable, unknown_variable(name)));
            continue;
        };
        match found {
            Err(problem) => problems.push(problem),
            Ok((_, source)) if layer.contains_key(key.name) => problems.push(Problem::at(
                key.name,
                &source,
                format!("is set twice, by {0} and by {0}{FILE_SUFFIX}: keep one", key.variable()),
            )),
            Ok(found) => drop(layer.insert(key.name, found)),
        }
    }
    layer
}

fn from_variable(key: &Key, variable: &str, value: &str) -> Result<(Value, Source), Problem> {
    let source = Source::Environment(variable.to_owned());
    if value.contains(NOT_UTF8) {
        return Err(Problem::at(key.name, &source, "is not UTF-8"));
    }
    if key.name == "crm.file_table" {
        return Err(Problem::at(
            key.name,
            &source,
            "is a table, and tables are set in the configuration file only",
        ));
    }
    Ok((Value::Plain(value.to_owned()), source))
}

fn from_file(variable: &str, path: &str, directory: &Path) -> Result<(Value, Source), Problem> {
    if path.is_empty() {
        return Err(Problem::of(variable, "is empty; leave it out to have it unset"));
    }
    let path = directory.join(path);
    let text = read_text(&path, MAX_SECRET_BYTES)
        .map_err(|problem| Problem::of(variable, format!("names {}, which {problem}", path.display())))?;
    let secret = text.trim_end_matches(['\r', '\n']);
    Ok((Value::Plain(secret.to_owned()), Source::SecretFile { variable: variable.to_owned(), path }))
}

/// Variables with our prefix that are not ours to judge: our own scripts' and tests', and those that
/// Kubernetes sets in every pod for a service called `file-recycler` or `file-recycler-…`.
fn is_not_ours(name: &str) -> bool {
    let of_scripts = name == "LOCAL" || name == "BIN" || name == "FSYNC" || name.starts_with("TEST_");
    let of_kubernetes = !name.contains("__")
        && (["SERVICE_HOST", "SERVICE_PORT", "PORT"].iter().any(|end| is_word_end(name, end))
            || name.contains("SERVICE_PORT_")
            || ["_TCP", "_UDP", "_SCTP", "_PROTO", "_ADDR"].iter().any(|end| name.ends_with(end)));
    of_scripts || of_kubernetes
}

fn is_word_end(name: &str, end: &str) -> bool {
    name.strip_suffix(end).is_some_and(|start| start.is_empty() || start.ends_with('_'))
}

fn unknown_variable(name: &str) -> String {
    let name = name.to_ascii_lowercase().replace("__", ".");
    let without_file = name.strip_suffix("_file").and_then(find);
    if let Some(key) = without_file.filter(|key| !key.secret) {
        return format!("is not known: only a secret can be given as a file; set {}", key.variable());
    }
    match nearest(&name) {
        Some(key) => format!("is not a variable of this program; did you mean {}?", key.variable()),
        None => "is not a variable of this program; `config show` lists all keys".to_owned(),
    }
}

/// What `--set KEY=VALUE` sets; of a repeated key the last one holds.
pub(super) fn flags(sets: &[String], problems: &mut Vec<Problem>) -> Layer {
    let mut layer = Layer::new();
    for set in sets {
        let Some((name, value)) = set.split_once('=') else {
            // Not shown: it may be a secret that lost its key.
            problems.push(Problem::of("--set", "needs KEY=VALUE, and got no '='"));
            continue;
        };
        let name = name.trim();
        match find(name) {
            None => problems.push(Problem::at(&bounded(name), &Source::Flag, unknown(name))),
            Some(key) if key.secret => problems.push(Problem::at(
                name,
                &Source::Flag,
                format!(
                    "is a secret, and every user of the machine can read a command line: \
                     set {0}, {0}{FILE_SUFFIX} or {name} in the configuration file",
                    key.variable()
                ),
            )),
            Some(key) if key.name == "crm.file_table" => problems.push(Problem::at(
                name,
                &Source::Flag,
                "is a table, and tables are set in the configuration file only",
            )),
            Some(key) => drop(layer.insert(key.name, (Value::Plain(value.to_owned()), Source::Flag))),
        }
    }
    layer
}

fn bounded(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { '?' } else { c }).take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_kubernetes_and_of_our_scripts_are_left_alone() {
        for name in [
            "SERVICE_HOST",
            "SERVICE_PORT",
            "SERVICE_PORT_HTTP",
            "PORT",
            "PORT_8077_TCP",
            "PORT_8077_TCP_PROTO",
            "PORT_8077_TCP_ADDR",
            "PORT_8077_TCP_PORT",
            "WORKER_SERVICE_HOST",
            "WORKER_PORT",
            "TEST_S3_URL",
            "LOCAL",
            "FSYNC",
            "BIN",
        ] {
            assert!(is_not_ours(name), "{name}");
        }
        for name in ["DATABASE__PORT", "HTTP__LISTEN", "SUPPORT", "BINARY", "SHUTDOWN_TIMEOUT"] {
            assert!(!is_not_ours(name), "{name}");
        }
    }
}

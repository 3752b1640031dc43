//! `config show`: every key, its value without secrets, and where it came from.

use serde_json::{Map, Value, json};

use super::arguments::Config as Command;
use super::output::{Failed, Finding, print};
use crate::config::{Loaded, Setting};

pub(super) fn run(loaded: &Loaded, command: &Command, json: bool) -> Result<Finding, Failed> {
    let Command::Show { sources } = command;
    let document: Map<String, Value> =
        loaded.settings.iter().map(|setting| (setting.key.to_owned(), document(setting, *sources))).collect();
    print(json, &document, || {
        let lines = loaded.settings.iter().map(|setting| {
            let value = setting.value.as_deref().unwrap_or("(not set)");
            if *sources {
                format!("{:<34} {value:<40} {}", setting.key, setting.source)
            } else {
                format!("{:<34} {value}", setting.key)
            }
        });
        lines.collect::<Vec<_>>().join("\n")
    })?;
    Ok(Finding::Healthy)
}

fn document(setting: &Setting, sources: bool) -> Value {
    if sources {
        json!({ "value": setting.value, "source": setting.source.to_string() })
    } else {
        json!(setting.value)
    }
}

//! What `config show --sources` says: every key, its value without secrets, and where it came from.

use super::error::Source;
use super::keys::KEYS;
use super::load::Layer;
use super::value::Value;

/// One key as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The key.
    pub key: &'static str,
    /// Its value, as it would be written in the environment; nothing where it is unset. A secret is
    /// shown as [`HIDDEN`], an address with the password in it hidden.
    pub value: Option<String>,
    /// Where it came from.
    pub source: Source,
}

/// Stands for a secret.
pub const HIDDEN: &str = "(hidden)";

pub(super) fn settings(layer: &Layer) -> Vec<Setting> {
    KEYS.iter()
        .map(|key| {
            let Some((value, source)) = layer.get(key.name) else {
                return Setting { key: key.name, value: None, source: Source::Default };
            };
            let value = if key.secret { hidden(key.name, value) } else { shown(value) };
            Setting { key: key.name, value: Some(value), source: source.clone() }
        })
        .collect()
}

/// An address without password and query; any other secret not at all.
fn hidden(key: &str, value: &Value) -> String {
    let is_address = matches!(key, "database.url" | "broker.url");
    let address = value.text().ok().filter(|_| is_address).and_then(|text| url::Url::parse(text).ok());
    let Some(mut address) = address else { return HIDDEN.to_owned() };
    address.set_query(None);
    address.set_fragment(None);
    let written = address.password().is_none() || address.set_password(Some("hidden")).is_ok();
    if written { address.into() } else { HIDDEN.to_owned() }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Plain(text) | Value::Text(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        Value::Boolean(value) => value.to_string(),
        Value::List(items)
            if items.iter().all(|item| matches!(item, Value::Table(_))) && !items.is_empty() =>
        {
            format!("({} tables)", items.len())
        }
        Value::List(items) => format!("[{}]", items.iter().map(quoted).collect::<Vec<_>>().join(", ")),
        Value::Table(_) | Value::Other(_) => format!("({})", value.kind()),
    }
}

fn quoted(value: &Value) -> String {
    match value {
        Value::Plain(text) | Value::Text(text) => toml::Value::String(text.clone()).to_string(),
        other => shown(other),
    }
}

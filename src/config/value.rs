//! One value as it was written, and what it means as a number, a duration, a list.

use std::time::Duration;

use secrecy::zeroize::Zeroize as _;
use toml::de::{DeTable, DeValue};

/// A value with its type, where the place it was written in has types.
pub(super) enum Value {
    /// From the environment, a flag, a connection string or a default: text that may mean anything.
    Plain(String),
    /// A TOML string.
    Text(String),
    /// A TOML integer.
    Integer(i64),
    /// A TOML boolean.
    Boolean(bool),
    /// A TOML array.
    List(Vec<Value>),
    /// A TOML table, with the line of each key.
    Table(Vec<Entry>),
    /// Any other TOML value, by the name of its type.
    Other(&'static str),
}

/// One entry of a TOML table.
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) line: usize,
    pub(super) value: Value,
}

/// It may be a secret, which is kept nowhere but in its `SecretString`.
impl Drop for Value {
    fn drop(&mut self) {
        if let Self::Plain(text) | Self::Text(text) = self {
            text.zeroize();
        }
    }
}

/// Longest duration: a hundred years, so that no sum of times overflows.
const MAX_DAYS: u64 = 36_500;
/// Most characters of a wrong value that an error shows.
const SHOWN_CHARS: usize = 60;

impl Value {
    /// The same value without TOML's spans. `line` gives the line of a position in the document.
    pub(super) fn from_toml(value: &DeValue<'_>, line: &dyn Fn(usize) -> usize) -> Self {
        match value {
            DeValue::String(text) => Self::Text(text.clone().into_owned()),
            DeValue::Integer(digits) => i64::from_str_radix(digits.as_str(), digits.radix())
                .map_or(Self::Other("an integer that is too large"), Self::Integer),
            DeValue::Boolean(value) => Self::Boolean(*value),
            DeValue::Float(_) => Self::Other("a fraction"),
            DeValue::Datetime(_) => Self::Other("a date"),
            DeValue::Array(items) => {
                Self::List(items.iter().map(|item| Self::from_toml(item.get_ref(), line)).collect())
            }
            DeValue::Table(entries) => Self::Table(
                entries
                    .iter()
                    .map(|(key, value)| Entry {
                        key: key.get_ref().clone().into_owned(),
                        line: line(key.span().start),
                        value: Self::from_toml(value.get_ref(), line),
                    })
                    .collect(),
            ),
        }
    }

    /// What kind of value it is, for an error.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Plain(_) | Self::Text(_) => "a text",
            Self::Integer(_) => "a number",
            Self::Boolean(_) => "true or false",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Other(kind) => kind,
        }
    }

    /// The value as text that is not empty.
    pub(super) fn text(&self) -> Result<&str, String> {
        match self {
            Self::Plain(text) | Self::Text(text) if text.is_empty() => {
                Err("is empty; leave it out to have it unset".to_owned())
            }
            Self::Plain(text) | Self::Text(text) => Ok(text),
            _ => Err(format!("is {}, not a text", self.kind())),
        }
    }

    /// The value as true or false.
    pub(super) fn boolean(&self) -> Result<bool, String> {
        match self {
            Self::Boolean(value) => Ok(*value),
            Self::Plain(text) if text == "true" => Ok(true),
            Self::Plain(text) if text == "false" => Ok(false),
            Self::Plain(text) => Err(format!("is {}, neither true nor false", shown(text))),
            _ => Err(format!("is {}, neither true nor false", self.kind())),
        }
    }

    /// The value as a whole number from `min` to `max`.
    pub(super) fn number(&self, min: u64, max: u64) -> Result<u64, String> {
        let number = match self {
            Self::Integer(number) => u64::try_from(*number).ok(),
            Self::Plain(text) if !text.starts_with('+') => text.parse().ok(),
            Self::Plain(_) => None,
            _ => return Err(format!("is {}, not a whole number", self.kind())),
        };
        number.filter(|number| (min..=max).contains(number)).ok_or_else(|| {
            let given = match self {
                Self::Integer(number) => number.to_string(),
                Self::Plain(text) => shown(text),
                _ => String::new(),
            };
            if max == u64::MAX {
                format!("is {given}, not a whole number of at least {min}")
            } else {
                format!("is {given}, not a whole number from {min} to {max}")
            }
        })
    }

    /// The value as a duration of at least `min`.
    pub(super) fn duration(&self, min: Duration) -> Result<Duration, String> {
        let text = match self {
            Self::Integer(number) => return Err(without_unit(&number.to_string())),
            _ => self.text()?,
        };
        let duration = duration(text)?;
        if duration < min {
            return Err(format!("is {text}, less than {}", written(min)));
        }
        Ok(duration)
    }

    /// The value as a list of texts; in the environment and in a flag it is written as in TOML.
    pub(super) fn list(&self) -> Result<Vec<String>, String> {
        let text_of = |value: &Value| value.text().map(str::to_owned);
        let numbered = |(index, value): (usize, &Value)| {
            text_of(value).map_err(|problem| format!("has an entry, number {}, that {problem}", index + 1))
        };
        match self {
            Self::List(items) => items.iter().enumerate().map(numbered).collect(),
            Self::Plain(text) => {
                let document = format!("list = {text}");
                let parsed = DeTable::parse(&document).ok();
                let list = parsed.as_ref().filter(|table| table.get_ref().len() == 1);
                match list.and_then(|table| table.get_ref().get("list")).map(toml::Spanned::get_ref) {
                    Some(list @ DeValue::Array(_)) => Self::from_toml(list, &|_| 1).list(),
                    _ => Err(format!("is {}, not a list as in TOML: [\"one\", \"two\"]", shown(text))),
                }
            }
            _ => Err(format!("is {}, not a list", self.kind())),
        }
    }
}

/// A duration as it is written everywhere in the configuration: digits and one unit.
pub fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let per_unit = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "" if digits > 0 => return Err(without_unit(number)),
        _ => {
            return Err(format!("is {}, not a duration: write 500ms, 30s, 15m, 6h or 90d", shown(text)));
        }
    };
    if digits == 0 {
        return Err(format!("is {}, not a duration: write 500ms, 30s, 15m, 6h or 90d", shown(text)));
    }
    let millis = number.parse::<u64>().ok().and_then(|number| number.checked_mul(per_unit));
    millis
        .filter(|millis| *millis <= MAX_DAYS * 86_400_000)
        .map(Duration::from_millis)
        .ok_or_else(|| format!("is {}, longer than {MAX_DAYS}d", shown(text)))
}

/// A duration as the configuration has it, in the largest unit without a rest.
fn written(duration: Duration) -> String {
    let millis = duration.as_millis();
    let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];
    let unit = units.into_iter().find(|(_, size)| millis > 0 && millis.is_multiple_of(*size));
    let (unit, size) = unit.unwrap_or(("ms", 1));
    format!("{}{unit}", millis / size)
}

fn without_unit(number: &str) -> String {
    format!("is {number}, without a unit: write ms, s, m, h or d after the number")
}

/// A bounded, printable piece of a value that is no secret, in quotation marks.
pub(super) fn shown(text: &str) -> String {
    let printable: String =
        text.chars().map(|c| if c.is_control() { '?' } else { c }).take(SHOWN_CHARS).collect();
    let rest = if text.chars().count() > SHOWN_CHARS { "…" } else { "" };
    format!("'{printable}{rest}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_digits_and_one_unit() {
        for (text, millis) in [
            ("500ms", 500),
            ("0s", 0),
            ("30s", 30_000),
            ("15m", 900_000),
            ("6h", 21_600_000),
            ("90d", 7_776_000_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in [
            "",
            "30",
            "s",
            "1.5s",
            "-1s",
            "+1s",
            " 1s",
            "1s ",
            "1 s",
            "1h30m",
            "1S",
            "1min",
            "1w",
            "99999999999d",
        ] {
            assert!(duration(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_list_in_the_environment_is_written_as_in_toml() {
        let list = |text: &str| Value::Plain(text.to_owned()).list();
        assert_eq!(list("[]"), Ok(vec![]));
        assert_eq!(list(r#"["1s", '5s']"#), Ok(vec!["1s".to_owned(), "5s".to_owned()]));
        for text in ["1s,5s", "[1s]", "[1]", "[\"a\"", "[]\nother = 1", ""] {
            assert!(list(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_text_in_the_file_is_no_number_and_no_boolean() {
        assert!(Value::Text("true".to_owned()).boolean().is_err());
        assert!(Value::Text("5".to_owned()).number(0, 9).is_err());
        assert_eq!(Value::Plain("5".to_owned()).number(0, 9), Ok(5));
        assert!(Value::Plain("+5".to_owned()).number(0, 9).is_err());
        assert!(Value::Integer(-1).number(0, u64::MAX).is_err());
    }
}

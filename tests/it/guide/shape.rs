//! Does a command say what the page shows? Ids, times and numbers may be others.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

/// The first line that the page shows and the command does not say, or not there.
pub fn missing<'a>(shown: &'a [String], said: &str) -> Option<&'a str> {
    let mut lines = said.lines().map(shape);
    shown
        .iter()
        .map(|line| line.trim_end())
        .filter(|line| !line.is_empty() && *line != "…")
        .find(|line| !lines.any(|said| fits(&shape(line), &said)))
}

/// `…` is anything.
fn fits(shown: &str, said: &str) -> bool {
    let parts: Vec<&str> = shown.split('…').collect();
    let (first, rest) = parts.split_first().expect("split gives one at least");
    let Some(mut left) = said.strip_prefix(first) else { return false };
    let Some((last, between)) = rest.split_last() else { return left.is_empty() };
    for part in between {
        let Some((_, after)) = left.split_once(part) else { return false };
        left = after;
    }
    left.ends_with(last)
}

/// The line with a word in the place of everything that is another one each time, and single spaces.
fn shape(line: &str) -> String {
    let mut shape = String::new();
    for word in line.split_whitespace() {
        if !shape.is_empty() {
            shape.push(' ');
        }
        let mut rest = word;
        while !rest.is_empty() {
            let is_of_value = |letter: char| letter.is_ascii_alphanumeric() || ":.+-_".contains(letter);
            let end = rest.find(|letter| !is_of_value(letter)).unwrap_or(rest.len());
            if end == 0 {
                let letter = rest.chars().next().expect("it is not empty");
                shape.push(letter);
                rest = &rest[letter.len_utf8()..];
            } else {
                let value = rest[..end].trim_end_matches([':', '.']);
                shape.push_str(kind(value));
                shape.push_str(&rest[value.len()..end]);
                rest = &rest[end..];
            }
        }
    }
    let shape = shape.replace("just now", "AGO");
    AGES.iter().fold(shape, |shape, unit| shape.replace(&format!("NUMBER {unit} ago"), "AGO"))
}

/// As commands tell how long ago something was.
const AGES: &[&str] =
    &["s", "min", "h", "second", "seconds", "minute", "minutes", "hour", "hours", "day", "days"];

fn kind(value: &str) -> &str {
    if Uuid::try_parse(value).is_ok_and(|_| value.contains('-')) {
        "ID"
    } else if OffsetDateTime::parse(value, &Rfc3339).is_ok() {
        "TIME"
    } else if value.len() == 32 && value.chars().all(|letter| letter.is_ascii_hexdigit()) {
        "HASH"
    } else if value.parse::<f64>().is_ok() {
        "NUMBER"
    } else {
        value
    }
}

#[test]
fn what_is_another_one_each_time_may_be_another_one() {
    let shown = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let id = "4d6754d1-918a-4e4f-b961-2357cce3f57b";
    let said =
        format!("moved      3 of 7 ({id}), 2026-11-25T10:28:25Z (just now)\nnothing waits\nlast: 2.5 s");
    for (text, fits) in [
        ("moved 1 of 2 (7c9e6679-7425-40de-944b-e07fc1f90ae7), 2026-01-01T00:00:00Z (3 min ago)", true),
        ("moved 1 of 2 (7c9e6679-7425-40de-944b-e07fc1f90ae7), 2026-01-01T00:00:00Z", false),
        ("moved …", true),
        ("… (just now)\n…\nlast: …", true),
        ("nothing waits\nmoved …", false),
        ("nothing", false),
        ("moved … of 2 …", true),
        ("moved … records …", false),
        ("last: 1 s", true),
    ] {
        assert_eq!(missing(&shown(text), &said).is_none(), fits, "{text}");
    }
}

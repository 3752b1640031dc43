//! What a single value must look like. Errors about secrets never repeat any part of them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use url::Url;

use super::Delay;
use super::value::{duration, shown};

/// Longest expiry that a queue can have: RabbitMQ counts milliseconds in 32 bits.
const MAX_DELAY: Duration = Duration::from_millis(u32::MAX as u64);
/// Most wait queues.
const MAX_DELAYS: usize = 32;
/// Longest name in PostgreSQL, in bytes.
const MAX_IDENTIFIER_BYTES: usize = 63;

/// `broker.url`
pub(super) fn broker_url(text: &str) -> Result<String, String> {
    server_url(text, &["amqp", "amqps"]).map(|_| text.to_owned())
}

/// The address of a server, with a password that can be read back.
pub(super) fn server_url(text: &str, schemes: &[&str]) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| {
        format!("is not a URL ({error}); in a user name or password write / ? # @ % as %2F %3F %23 %40 %25")
    })?;
    if !schemes.contains(&url.scheme()) {
        return Err(format!("does not begin with {}:// or {}://", schemes[0], schemes[1]));
    }
    let host_in_query = || url.query_pairs().any(|(name, _)| name == "host" || name == "hostaddr");
    if url.host_str().is_none_or(str::is_empty) && !host_in_query() {
        return Err("names no server".to_owned());
    }
    if url.fragment().is_some() {
        return Err("has a '#' in it; in a user name or password write it as %23".to_owned());
    }
    for part in [url.username(), url.password().unwrap_or_default(), url.path()] {
        if !is_percent_encoded(part) {
            return Err("has a '%' that is not followed by the two digits of a character; \
                        in a user name or password write it as %25"
                .to_owned());
        }
    }
    Ok(url)
}

fn is_percent_encoded(part: &str) -> bool {
    let is_digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
    let bytes = part.as_bytes();
    let whole = bytes
        .iter()
        .enumerate()
        .all(|(at, byte)| *byte != b'%' || is_digit(bytes.get(at + 1)) && is_digit(bytes.get(at + 2)));
    whole && percent_encoding::percent_decode_str(part).decode_utf8().is_ok()
}

/// `storage.service_url`
pub(super) fn service_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text)
        .map_err(|error| format!("is not a URL ({error}); write https://server or http://server:port"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("has a user name or password in it; those are storage.access_key and storage.secret_key"
            .to_owned());
    }
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("is {}, which does not begin with https:// or http://", shown(text)));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("has a '?' or a '#' in it; it is the address of a server".to_owned());
    }
    Ok(url)
}

/// The name of a bucket: what any server takes, and nothing that a path could be built from.
pub(super) fn bucket_name(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    if !begins || !text.chars().all(allowed) || !(3..=255).contains(&text.len()) || text.contains("..") {
        return Err(format!(
            "is {}, not the name of a bucket: 3 to 255 letters, digits, '.', '-' or '_'",
            shown(text)
        ));
    }
    Ok(text.to_owned())
}

/// `storage.region` and `storage.recycle_class`: a word that travels in a header.
pub(super) fn word(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if text.chars().all(allowed) && text.len() <= 64 {
        Ok(text.to_owned())
    } else {
        Err(format!("is {}, not a word of letters, digits, '-' or '_'", shown(text)))
    }
}

/// `broker.prefix`
pub(super) fn prefix(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if text.chars().all(allowed) && text.len() <= 200 {
        Ok(text.to_owned())
    } else {
        Err(format!("is {}, not 1 to 200 letters, digits, '.', '-' or '_'", shown(text)))
    }
}

/// The name of a schema, a table or a column.
pub(super) fn identifier(text: &str) -> Result<String, String> {
    if text.trim().is_empty() || text.len() > MAX_IDENTIFIER_BYTES || text.contains('\0') {
        return Err(format!(
            "is {}, not a name in PostgreSQL: 1 to {MAX_IDENTIFIER_BYTES} bytes",
            shown(text)
        ));
    }
    Ok(text.to_owned())
}

/// `http.token`: what a client can send in a header.
pub(super) fn token(text: &str) -> Result<String, String> {
    if text.is_empty() {
        Err("is empty: leave it out where nothing may change anything".to_owned())
    } else if text.chars().all(|c| c.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err("holds a space or a character that is not ASCII".to_owned())
    }
}

/// `retry.delays`, each as it is written, because it is part of a queue's name.
pub(super) fn delays(texts: Vec<String>) -> Result<Vec<Delay>, String> {
    if texts.len() > MAX_DELAYS {
        return Err(format!("has {} entries, more than {MAX_DELAYS}", texts.len()));
    }
    let mut delays: Vec<Delay> = Vec::with_capacity(texts.len());
    for text in texts {
        let duration = duration(&text).map_err(|problem| format!("has an entry that {problem}"))?;
        if duration.is_zero() || duration > MAX_DELAY {
            return Err(format!("has {}, not between 1ms and 49d", shown(&text)));
        }
        if delays.iter().any(|delay| delay.text == text) {
            return Err(format!("has {} twice: each names a queue", shown(&text)));
        }
        delays.push(Delay { text, duration });
    }
    Ok(delays)
}

/// A file that is there and can be opened.
pub(super) fn readable(path: &Path) -> Result<PathBuf, String> {
    let wrong = |problem: String| format!("names {}, which {problem}", path.display());
    let file = File::open(path).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    match file.metadata() {
        Ok(metadata) if metadata.is_file() => Ok(path.to_owned()),
        Ok(_) => Err(wrong("is not a file".to_owned())),
        Err(error) => Err(wrong(format!("cannot be read: {error}"))),
    }
}

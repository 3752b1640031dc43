//! The CRM's connection strings as a layer of settings: `s3Connection`, `db` and `messageBroker`.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::path::Path;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::zeroize::Zeroize;

use super::error::{Problem, Source};
use super::load::{Layer, read_bytes};
use super::value::Value;
use super::{ado, xml};

/// Largest `ConnectionStrings.config`, in bytes.
const MAX_BYTES: u64 = 1024 * 1024;
/// Everything that has a meaning in a URL is written as `%XX`.
const URL_PART: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The storage's keys, and what `s3Connection` calls them, in lower case.
const S3: [(&str, &str); 5] = [
    ("storage.service_url", "serviceurl"),
    ("storage.access_key", "accesskey"),
    ("storage.secret_key", "secretkey"),
    ("storage.object_bucket_name", "objectbucketname"),
    ("storage.recycle_bucket_name", "recyclebucketname"),
];

/// What is missing in the layers above and wanted from the file.
pub(super) struct Wanted<'a> {
    /// The layers above.
    pub(super) above: &'a Layer,
    /// Is `db` the database that we work on? Not with `crm.profile = "events"`: there it is the CRM's own.
    pub(super) database: bool,
}

/// What the file at `path` sets, which `crm.connection_strings` names at `named`. A string that is not
/// wanted is not looked at: it may well be encrypted or another product's.
pub(super) fn connection_strings(
    path: &Path,
    named: &Source,
    wanted: &Wanted<'_>,
    problems: &mut Vec<Problem>,
) -> Layer {
    let mut layer = Layer::new();
    let read = read_bytes(path, MAX_BYTES).and_then(|bytes| xml::connection_strings(&bytes));
    let strings = match read {
        Ok(strings) => strings,
        Err(problem) => {
            let problem = format!("names {}, which {problem}", path.display());
            problems.push(Problem::at("crm.connection_strings", named, problem));
            return layer;
        }
    };
    let lacks = |key: &str| !wanted.above.contains_key(key);
    let source = |name: &'static str| Source::ConnectionString { name, path: path.to_owned() };
    let wrong = |name: &str, problem: String| Problem::of(format!("{name} in {}", path.display()), problem);

    if let Some(string) = strings.get("s3connection").filter(|_| S3.iter().any(|(key, _)| lacks(key))) {
        match ado::parse(string) {
            Err(problem) => problems.push(wrong("s3Connection", problem)),
            Ok(mut pairs) => {
                layer.extend(S3.into_iter().filter_map(|(key, name)| {
                    pairs.remove(name).map(|value| (key, (Value::Plain(value), source("s3Connection"))))
                }));
                wipe(pairs);
            }
        }
    }
    if let Some(string) = strings.get("db").filter(|_| wanted.database && lacks("database.url")) {
        let url = ado::parse(string).and_then(|pairs| {
            let url = database_url(&pairs);
            wipe(pairs);
            url
        });
        match url {
            Err(problem) => problems.push(wrong("db", problem)),
            Ok(url) => drop(layer.insert("database.url", (Value::Plain(url), source("db")))),
        }
    }
    if let Some(url) = strings.get("messagebroker").map(|url| url.trim()).filter(|url| !url.is_empty()) {
        layer.insert("broker.url", (Value::Plain(url.to_owned()), source("messageBroker")));
    }
    wipe(strings);
    layer
}

/// Passwords are among the values.
fn wipe(mut values: BTreeMap<String, String>) {
    values.values_mut().for_each(Zeroize::zeroize);
}

/// The address that Npgsql would connect to, as a URL. Keys about pools and time-outs are its own affair.
pub(super) fn database_url(pairs: &BTreeMap<String, String>) -> Result<String, String> {
    let first = |names: &[&str]| names.iter().find_map(|name| pairs.get(*name));
    let encoded = |text: &str| utf8_percent_encode(text, URL_PART).to_string();

    let server =
        first(&["server", "host"]).ok_or("names no Server; is it a PostgreSQL connection string?")?;
    if server.contains(',') {
        return Err("names several servers; give the one to work on as database.url".to_owned());
    }
    let (host, own_port) = match server.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') && !host.is_empty() => (host, Some(port)),
        _ => (server.as_str(), None),
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let host = if bare.parse::<Ipv6Addr>().is_ok() { format!("[{bare}]") } else { encoded(host) };
    let port = match own_port.or(pairs.get("port").map(String::as_str)) {
        None => String::new(),
        Some(port) => {
            let port: u16 = port.parse().map_err(|_| "has a Port that is not a number from 0 to 65535")?;
            format!(":{port}")
        }
    };
    let password = first(&["password", "pwd", "psw"]).map(|password| format!(":{}", encoded(password)));
    let user = first(&["userid", "username", "user", "uid"])
        .map(|user| format!("{}{}@", encoded(user), password.unwrap_or_default()));
    let database = first(&["database", "db"]).ok_or("names no Database")?;
    if matches!(database.as_str(), "." | "..") {
        // In the path of an address these are steps, not names, however they are written.
        return Err(
            "names a Database that no address can carry; give it as database.url with ?dbname=".to_owned()
        );
    }

    let mut query = Vec::new();
    if let Some(mode) = pairs.get("sslmode") {
        query.push(format!("sslmode={}", ssl_mode(mode)?));
    }
    let files = [("rootcertificate", "sslrootcert"), ("sslcertificate", "sslcert"), ("sslkey", "sslkey")];
    for (name, parameter) in files {
        query.extend(pairs.get(name).map(|path| format!("{parameter}={}", encoded(path))));
    }
    let mark = if query.is_empty() { "" } else { "?" };
    Ok(format!(
        "postgres://{}{host}{port}/{}{mark}{}",
        user.unwrap_or_default(),
        encoded(database),
        query.join("&")
    ))
}

/// Npgsql's words for `SSL Mode` in those of PostgreSQL.
fn ssl_mode(mode: &str) -> Result<&'static str, String> {
    let word: String = mode.to_lowercase().chars().filter(|c| c.is_alphanumeric()).collect();
    match word.as_str() {
        "disable" => Ok("disable"),
        "allow" => Ok("allow"),
        "prefer" => Ok("prefer"),
        "require" => Ok("require"),
        "verifyca" => Ok("verify-ca"),
        "verifyfull" => Ok("verify-full"),
        _ => Err("has an SSL Mode that is not one of: Disable, Allow, Prefer, Require, VerifyCA, VerifyFull"
            .to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(string: &str) -> Result<String, String> {
        ado::parse(string).and_then(|pairs| database_url(&pairs))
    }

    #[test]
    fn an_npgsql_string_becomes_the_url_of_the_same_database() {
        for (string, expected) in [
            (
                "Server=db;Port=5432;Database=crm;User ID=app;password=s3cret;Timeout=500; CommandTimeout=400;MaxPoolSize=1024;",
                "postgres://app:s3cret@db:5432/crm",
            ),
            (
                "Host=db.example;Database=c r m;Username=a@b;Password='p:/?#[]@!%;\"é='",
                "postgres://a%40b:p%3A%2F%3F%23%5B%5D%40%21%25%3B%22%C3%A9%3D@db.example/c%20r%20m",
            ),
            (
                "host=db:6432;port=1;database=crm;user=app;SSL Mode=VerifyFull;Root Certificate=/etc/ca.pem",
                "postgres://app@db:6432/crm?sslmode=verify-full&sslrootcert=%2Fetc%2Fca.pem",
            ),
            ("Server=::1;Database=crm;Password=alone", "postgres://[::1]/crm"),
            ("Server=[::1];Port=5;Database=crm", "postgres://[::1]:5/crm"),
            ("Server=/var/run/postgresql;Database=crm", "postgres://%2Fvar%2Frun%2Fpostgresql/crm"),
        ] {
            assert_eq!(url(string).as_deref(), Ok(expected), "{string}");
        }
    }

    #[test]
    fn an_npgsql_string_that_names_no_one_database_is_refused() {
        for (string, problem) in [
            (
                "Data Source=mssql;Initial Catalog=crm",
                "names no Server; is it a PostgreSQL connection string?",
            ),
            ("Server=a,b;Database=crm", "names several servers; give the one to work on as database.url"),
            ("Server=a;Database=crm;Port=x", "has a Port that is not a number from 0 to 65535"),
            ("Server=a", "names no Database"),
            (
                "Server=a;Database=..",
                "names a Database that no address can carry; give it as database.url with ?dbname=",
            ),
            (
                "Server=a;Database=crm;SSL Mode=maybe",
                "has an SSL Mode that is not one of: Disable, Allow, Prefer, Require, VerifyCA, VerifyFull",
            ),
        ] {
            assert_eq!(url(string), Err(problem.to_owned()), "{string}");
        }
    }
}

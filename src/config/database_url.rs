//! `database.url`: what is in its query, and which TLS that means. Nothing that asks for protection is ignored.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;

use url::Url;

use super::validate::{readable, server_url};

const SSL_MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];
/// Those with which a connection may come about without TLS.
const WITHOUT_TLS: [&str; 3] = ["disable", "allow", "prefer"];
/// What the client library knows besides TLS.
const KNOWN: [&str; 9] = [
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
    "statement-cache-capacity",
];
/// What other programs set, and what changes nothing here: left out.
const WITHOUT_EFFECT: [&str; 13] = [
    "client_encoding",
    "connect_timeout",
    "fallback_application_name",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "krbsrvname",
    "load_balance_hosts",
    "sslcompression",
    "sslsni",
    "target_session_attrs",
    "tcp_user_timeout",
];

/// The same, as long as they ask for nothing: with another value they want a protection that there would not be.
const ASKS_NOTHING: [(&str, &[&str]); 3] = [
    ("channel_binding", &["disable", "prefer"]),
    ("gssencmode", &["disable", "prefer"]),
    ("sslnegotiation", &["postgres"]),
];

/// The variables by which PostgreSQL's own programs are told what an address leaves open, each with its parameter.
const VARIABLES: [(&str, &str); 4] = [
    ("PGSSLMODE", "sslmode"),
    ("PGSSLROOTCERT", "sslrootcert"),
    ("PGSSLCERT", "sslcert"),
    ("PGSSLKEY", "sslkey"),
];

/// The address as the client library gets it, with an `sslmode` in any case.
///
/// It has its own reading of `sslmode`: `require` would not look at an authority that is named, where PostgreSQL's own
/// programs do. What it does not know it ignores, and writes with its value to the log. And what the address does not
/// name it reads from the environment by itself, past every check: so that is taken here, before the checks.
pub(super) fn check(text: &str, environment: &[(String, String)]) -> Result<String, String> {
    let mut url = server_url(text, &["postgres", "postgresql"])?;
    let mut kept: Vec<Parameter> = Vec::new();
    let mut mode: Option<Parameter> = None;
    for parameter in parameters(&url, environment) {
        let Parameter { name, value, .. } = &parameter;
        match name.as_str() {
            _ if tls(name) == Some("sslmode") => {
                if !SSL_MODES.contains(&value.as_str()) {
                    return Err(format!("has an {parameter} that is not one of: {}", SSL_MODES.join(", ")));
                }
                mode = Some(parameter);
            }
            _ if tls(name).is_some() => {
                parameter.is_there()?;
                kept.push(parameter);
            }
            known if KNOWN.contains(&known) || known.starts_with("options[") => kept.push(parameter),
            known if WITHOUT_EFFECT.contains(&known) => {}
            known
                if ASKS_NOTHING.iter().any(|(name, values)| *name == known && values.contains(&&**value)) => {
            }
            // Not shown: it may be a piece of a password.
            _ => {
                return Err(format!(
                    "has a parameter after '?' that is not one of: sslmode, sslrootcert, sslcert, sslkey, {}",
                    KNOWN.join(", ")
                ));
            }
        }
    }
    let mode = match checked_mode(mode.as_ref(), &kept)? {
        Some(mode) => mode,
        // A socket in the file system knows no TLS.
        None if is_socket(&url) => "disable".to_owned(),
        None => "prefer".to_owned(),
    };
    rewrite(&mut url, &mode, &kept);
    Ok(url.into())
}

/// A parameter of the address, or what stands for it in the environment.
struct Parameter {
    name: String,
    value: String,
    variable: Option<&'static str>,
}

impl Parameter {
    /// A certificate or a key that is written out, or a file that can be read.
    fn is_there(&self) -> Result<(), String> {
        if self.value.is_empty() {
            // The client library would take it for a file without a name.
            return Err(format!("has an {self} that is empty: leave it out"));
        }
        if self.value.trim_start().starts_with("-----BEGIN") {
            return Ok(());
        }
        readable(Path::new(&self.value)).map_err(|problem| format!("has an {self} that {problem}"))?;
        Ok(())
    }
}

/// Never with a value: it may be a key.
impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.variable {
            None => f.write_str(&self.name),
            Some(variable) => write!(f, "{} (the environment's {variable})", self.name),
        }
    }
}

/// What is after the '?', and what the environment says of TLS where the address says nothing. As PostgreSQL's own
/// programs have it, that counts for nothing over a socket in the file system, or where the address wants no TLS.
fn parameters(url: &Url, environment: &[(String, String)]) -> Vec<Parameter> {
    let of_url = |(name, value): (Cow<'_, str>, Cow<'_, str>)| Parameter {
        name: name.into_owned(),
        value: value.into_owned(),
        variable: None,
    };
    let mut all: Vec<_> = url.query_pairs().map(of_url).collect();
    let mode = all.iter().rfind(|parameter| tls(&parameter.name) == Some("sslmode"));
    if is_socket(url) || mode.is_some_and(|mode| mode.value == "disable") {
        return all;
    }
    for (variable, name) in VARIABLES {
        let is_named = all.iter().any(|parameter| tls(&parameter.name) == Some(name));
        let set = environment.iter().find(|(known, _)| known == variable);
        if let (false, Some((_, value))) = (is_named, set) {
            all.push(Parameter { name: name.to_owned(), value: value.clone(), variable: Some(variable) });
        }
    }
    all
}

/// Is the server reached by a socket in the file system? For the client library one such host outweighs all others.
fn is_socket(url: &Url) -> bool {
    let of_url = url.host_str().is_some_and(|host| host.starts_with("%2F") || host.starts_with("%2f"));
    of_url || url.query_pairs().any(|(name, host)| name == "host" && host.starts_with('/'))
}

/// The mode that certificates ask for, or a refusal where they would be of no use.
fn checked_mode(mode: Option<&Parameter>, kept: &[Parameter]) -> Result<Option<String>, String> {
    let given = |what: &str| kept.iter().find(|parameter| tls(&parameter.name) == Some(what));
    let (authority, certificate, key) = (given("sslrootcert"), given("sslcert"), given("sslkey"));
    if let (Some(alone), None) | (None, Some(alone)) = (certificate, key) {
        let other = if certificate.is_some() { "sslkey" } else { "sslcert" };
        return Err(format!("has an {alone} without an {other}: give both or neither"));
    }
    let value = mode.map(|mode| mode.value.as_str());
    match (mode, authority.or(certificate)) {
        (Some(mode), Some(named)) if WITHOUT_TLS.contains(&mode.value.as_str()) => Err(format!(
            "has an {named}, and its {mode} is {}, which may do without TLS: write sslmode=verify-full",
            mode.value
        )),
        (None, Some(_)) => Ok(Some("verify-full".to_owned())),
        // As PostgreSQL's own programs have it.
        (Some(mode), Some(_)) if mode.value == "require" && authority.is_some() => {
            Ok(Some("verify-ca".to_owned()))
        }
        _ => Ok(value.map(str::to_owned)),
    }
}

/// What a parameter is for, by the usual name, where it is about TLS.
fn tls(name: &str) -> Option<&'static str> {
    match name {
        "sslmode" | "ssl-mode" => Some("sslmode"),
        "sslrootcert" | "ssl-root-cert" | "ssl-ca" => Some("sslrootcert"),
        "sslcert" | "ssl-cert" => Some("sslcert"),
        "sslkey" | "ssl-key" => Some("sslkey"),
        _ => None,
    }
}

fn rewrite(url: &mut Url, mode: &str, kept: &[Parameter]) {
    url.set_query(None);
    let mut query = url.query_pairs_mut();
    query.append_pair("sslmode", mode);
    query.extend_pairs(kept.iter().map(|parameter| (&parameter.name, &parameter.value)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> &'static str {
        concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")
    }

    fn checked(query: &str) -> Result<String, String> {
        checked_with(query, &[])
    }

    /// With variables in the environment.
    fn checked_with(query: &str, variables: &[(&str, &str)]) -> Result<String, String> {
        let query = query.replace("FILE", file());
        let variables =
            variables.iter().map(|(name, value)| ((*name).to_owned(), value.replace("FILE", file())));
        let url = check(&format!("postgres://u:p%3F@h/d{query}"), &variables.collect::<Vec<_>>())?;
        Ok(url
            .strip_prefix("postgres://u:p%3F@h/d")
            .expect("the rest is as it was")
            .replace(&encoded(), "FILE"))
    }

    fn encoded() -> String {
        url::form_urlencoded::byte_serialize(file().as_bytes()).collect()
    }

    #[test]
    fn certificates_are_used_or_refused_and_never_ignored() {
        for (query, becomes) in [
            ("", "?sslmode=prefer"),
            ("?sslmode=prefer", "?sslmode=prefer"),
            ("?sslmode=require", "?sslmode=require"),
            ("?sslmode=verify-full", "?sslmode=verify-full"),
            ("?sslrootcert=FILE", "?sslmode=verify-full&sslrootcert=FILE"),
            ("?ssl-ca=FILE", "?sslmode=verify-full&ssl-ca=FILE"),
            ("?sslcert=FILE&sslkey=FILE", "?sslmode=verify-full&sslcert=FILE&sslkey=FILE"),
            ("?sslmode=require&sslrootcert=FILE", "?sslmode=verify-ca&sslrootcert=FILE"),
            ("?sslrootcert=FILE&sslmode=verify-ca", "?sslmode=verify-ca&sslrootcert=FILE"),
            ("?connect_timeout=10&port=5", "?sslmode=prefer&port=5"),
            ("?connect_timeout=10", "?sslmode=prefer"),
            ("?gssencmode=disable&channel_binding=prefer&sslsni=1", "?sslmode=prefer"),
            ("?options[geqo]=off", "?sslmode=prefer&options%5Bgeqo%5D=off"),
        ] {
            assert_eq!(checked(query).as_deref(), Ok(becomes), "{query}");
        }
        for (query, problem) in [
            ("?sslmode=maybe", "has an sslmode that is not one of"),
            (
                "?sslmode=prefer&sslrootcert=FILE",
                "has an sslrootcert, and its sslmode is prefer, which may do without TLS",
            ),
            (
                "?sslmode=disable&sslcert=FILE&sslkey=FILE",
                "has an sslcert, and its sslmode is disable, which may do without TLS",
            ),
            (
                "?sslmode=allow&ssl-root-cert=FILE",
                "has an ssl-root-cert, and its sslmode is allow, which may do without TLS",
            ),
            ("?sslcert=FILE", "has an sslcert without an sslkey: give both or neither"),
            ("?sslmode=require&ssl-key=FILE", "has an ssl-key without an sslcert: give both or neither"),
            ("?sslrootcert=", "has an sslrootcert that is empty"),
            ("?sslrootcert=/nowhere.pem", "has an sslrootcert that names /nowhere.pem, which cannot be read"),
            ("?sslmod=verify-full", "has a parameter after '?'"),
            ("?channel_binding=require", "has a parameter after '?'"),
            ("?gssencmode=require", "has a parameter after '?'"),
        ] {
            let refused = checked(query).unwrap_err();
            assert!(refused.contains(problem), "{query}: {refused}");
        }
    }

    #[test]
    fn a_piece_of_a_password_after_a_question_mark_is_not_repeated() {
        let refused = check("postgres://host/d?s3cret", &[]).unwrap_err();
        assert!(refused.contains("after '?'") && !refused.contains("s3cret"), "{refused}");
    }

    #[test]
    fn what_the_address_leaves_open_comes_from_postgresqls_variables_by_the_same_rules() {
        const ROOT: (&str, &str) = ("PGSSLROOTCERT", "FILE");
        const CERT: (&str, &str) = ("PGSSLCERT", "FILE");
        const KEY: (&str, &str) = ("PGSSLKEY", "FILE");
        let mode = |mode| ("PGSSLMODE", mode);
        for (query, variables, becomes) in [
            ("", &[mode("verify-full")][..], "?sslmode=verify-full"),
            ("?sslmode=require", &[mode("verify-full")], "?sslmode=require"),
            ("?ssl-mode=require", &[mode("no mode")], "?sslmode=require"),
            ("", &[ROOT], "?sslmode=verify-full&sslrootcert=FILE"),
            ("", &[ROOT, mode("require")], "?sslmode=verify-ca&sslrootcert=FILE"),
            ("?sslmode=require", &[ROOT], "?sslmode=verify-ca&sslrootcert=FILE"),
            ("?ssl-ca=FILE", &[("PGSSLROOTCERT", "/nowhere.pem")], "?sslmode=verify-full&ssl-ca=FILE"),
            ("?sslcert=FILE", &[("PGSSLCERT", ""), KEY], "?sslmode=verify-full&sslcert=FILE&sslkey=FILE"),
            ("", &[CERT, KEY, mode("verify-ca")], "?sslmode=verify-ca&sslcert=FILE&sslkey=FILE"),
            // As PostgreSQL's own programs have it.
            ("?sslmode=disable", &[ROOT, CERT], "?sslmode=disable"),
            (
                "?host=/run/postgresql",
                &[ROOT, mode("verify-full")],
                "?sslmode=disable&host=%2Frun%2Fpostgresql",
            ),
            ("", &[("PGSSL", "x"), ("pgsslmode", "require")], "?sslmode=prefer"),
        ] {
            assert_eq!(checked_with(query, variables).as_deref(), Ok(becomes), "{query} {variables:?}");
        }
        for (query, variables, problem) in [
            (
                "?sslmode=prefer",
                &[ROOT][..],
                "has an sslrootcert (the environment's PGSSLROOTCERT), and its sslmode is prefer",
            ),
            (
                "?sslrootcert=FILE",
                &[mode("disable")],
                "and its sslmode (the environment's PGSSLMODE) is disable, which may do",
            ),
            ("", &[ROOT, mode("disable")], "may do without TLS"),
            ("", &[mode("")], "has an sslmode (the environment's PGSSLMODE) that is not one of"),
            ("", &[CERT], "has an sslcert (the environment's PGSSLCERT) without an sslkey"),
            ("?sslcert=FILE", &[ROOT], "has an sslcert without an sslkey"),
            (
                "",
                &[("PGSSLROOTCERT", "")],
                "has an sslrootcert (the environment's PGSSLROOTCERT) that is empty",
            ),
            ("", &[("PGSSLROOTCERT", "/nowhere.pem")], "that names /nowhere.pem, which cannot be read"),
        ] {
            let refused = checked_with(query, variables).unwrap_err();
            assert!(refused.contains(problem), "{query} {variables:?}: {refused}");
        }
    }

    #[test]
    fn a_key_that_is_written_out_is_not_taken_for_a_file_and_repeated() {
        let variables = [("PGSSLCERT", "\n-----BEGIN X-----"), ("PGSSLKEY", "\n-----BEGIN s3cret-----")];
        let url = checked_with("", &variables).unwrap();
        assert!(url.starts_with("?sslmode=verify-full&sslcert="), "{url}");
    }
}

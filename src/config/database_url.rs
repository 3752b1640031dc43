//! `database.url`: what is in its query, and which TLS that means. Nothing that asks for protection is ignored.

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

/// The address as the client library gets it.
///
/// It has its own reading of `sslmode`: `require` would not look at an authority that is named, where PostgreSQL's own
/// programs do. And what it does not know it ignores, and writes with its value to the log.
pub(super) fn check(text: &str) -> Result<String, String> {
    let mut url = server_url(text, &["postgres", "postgresql"])?;
    let mut kept: Vec<(String, String)> = Vec::new();
    let mut mode: Option<String> = None;
    for (name, value) in url.query_pairs() {
        match &*name {
            "sslmode" | "ssl-mode" if !SSL_MODES.contains(&&*value) => {
                return Err(format!("has an sslmode that is not one of: {}", SSL_MODES.join(", ")));
            }
            "sslmode" | "ssl-mode" => mode = Some(value.into_owned()),
            _ if certificate(&name).is_some() => {
                if !value.starts_with("-----BEGIN") {
                    readable(Path::new(&*value))
                        .map_err(|problem| format!("has an {name} that {problem}"))?;
                }
                kept.push((name.into_owned(), value.into_owned()));
            }
            known if KNOWN.contains(&known) || known.starts_with("options[") => {
                kept.push((name.into_owned(), value.into_owned()));
            }
            known if WITHOUT_EFFECT.contains(&known) => {}
            known
                if ASKS_NOTHING.iter().any(|(name, values)| *name == known && values.contains(&&*value)) => {}
            // Not shown: it may be a piece of a password.
            _ => {
                return Err(format!(
                    "has a parameter after '?' that is not one of: sslmode, sslrootcert, sslcert, sslkey, {}",
                    KNOWN.join(", ")
                ));
            }
        }
    }
    let given = |what: &str| kept.iter().any(|(name, _)| certificate(name) == Some(what));
    if given("sslcert") != given("sslkey") {
        return Err(
            "has an sslcert without an sslkey, or the other way round: give both or neither".to_owned()
        );
    }
    let authority = given("sslrootcert");
    let mode = match mode.as_deref() {
        Some(mode) if (authority || given("sslcert")) && WITHOUT_TLS.contains(&mode) => {
            return Err(format!(
                "names certificates, and its sslmode={mode} may do without TLS: write sslmode=verify-full"
            ));
        }
        None if authority || given("sslcert") => Some("verify-full"),
        // As PostgreSQL's own programs have it.
        Some("require") if authority => Some("verify-ca"),
        other => other,
    };
    rewrite(&mut url, mode, &kept);
    Ok(url.into())
}

/// Which certificate or key a parameter names, by the usual name.
fn certificate(name: &str) -> Option<&'static str> {
    match name {
        "sslrootcert" | "ssl-root-cert" | "ssl-ca" => Some("sslrootcert"),
        "sslcert" | "ssl-cert" => Some("sslcert"),
        "sslkey" | "ssl-key" => Some("sslkey"),
        _ => None,
    }
}

fn rewrite(url: &mut Url, mode: Option<&str>, kept: &[(String, String)]) {
    let is_empty = mode.is_none() && kept.is_empty();
    url.set_query(None);
    if !is_empty {
        let mut query = url.query_pairs_mut();
        query.extend_pairs(mode.map(|mode| ("sslmode", mode)));
        query.extend_pairs(kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> &'static str {
        concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")
    }

    fn checked(query: &str) -> Result<String, String> {
        let query = query.replace("FILE", file());
        let url = check(&format!("postgres://u:p%3F@h/d{query}"))?;
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
            ("", ""),
            ("?sslmode=prefer", "?sslmode=prefer"),
            ("?sslmode=require", "?sslmode=require"),
            ("?sslmode=verify-full", "?sslmode=verify-full"),
            ("?sslrootcert=FILE", "?sslmode=verify-full&sslrootcert=FILE"),
            ("?ssl-ca=FILE", "?sslmode=verify-full&ssl-ca=FILE"),
            ("?sslcert=FILE&sslkey=FILE", "?sslmode=verify-full&sslcert=FILE&sslkey=FILE"),
            ("?sslmode=require&sslrootcert=FILE", "?sslmode=verify-ca&sslrootcert=FILE"),
            ("?sslrootcert=FILE&sslmode=verify-ca", "?sslmode=verify-ca&sslrootcert=FILE"),
            ("?connect_timeout=10&port=5", "?port=5"),
            ("?connect_timeout=10", ""),
            ("?gssencmode=disable&channel_binding=prefer&sslsni=1", ""),
            ("?options[geqo]=off", "?options%5Bgeqo%5D=off"),
        ] {
            assert_eq!(checked(query).as_deref(), Ok(becomes), "{query}");
        }
        for (query, problem) in [
            ("?sslmode=maybe", "has an sslmode that is not one of"),
            ("?sslmode=prefer&sslrootcert=FILE", "its sslmode=prefer may do without TLS"),
            ("?sslmode=disable&sslcert=FILE&sslkey=FILE", "its sslmode=disable may do without TLS"),
            ("?sslmode=allow&ssl-root-cert=FILE", "its sslmode=allow may do without TLS"),
            ("?sslcert=FILE", "give both or neither"),
            ("?sslmode=require&ssl-key=FILE", "give both or neither"),
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
        let refused = check("postgres://host/d?s3cret").unwrap_err();
        assert!(refused.contains("after '?'") && !refused.contains("s3cret"), "{refused}");
    }
}

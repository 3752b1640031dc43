//! Which connections to other machines are not encrypted, or not to a server that is known to be the right one.

use secrecy::ExposeSecret as _;
use url::{Host, Url};

use super::Config;

impl Config {
    /// A sentence for each connection that leaves this machine and can be read or taken over on its way.
    pub fn unprotected(&self) -> Vec<String> {
        let parsed = |url: &secrecy::SecretString| Url::parse(url.expose_secret()).ok();
        let database = self.database.url.as_ref().and_then(parsed).as_ref().and_then(database);
        let broker = self.broker.url.as_ref().and_then(parsed).filter(leaves_this_machine);
        let broker = broker.filter(|url| url.scheme() == "amqp");
        let broker =
            broker.map(|_| "broker.url begins with amqp://: passwords and events travel in clear".to_owned());
        let storage = self
            .storage
            .service_url
            .as_ref()
            .filter(|url| leaves_this_machine(url) && url.scheme() == "http");
        let storage = storage.map(|_| {
            "storage.service_url begins with http://: the files' content travels in clear".to_owned()
        });
        database.into_iter().chain(broker).chain(storage).collect()
    }
}

fn database(url: &Url) -> Option<String> {
    let query = |wanted: &str| {
        url.query_pairs().find(|(name, _)| name == wanted).map(|(_, value)| value.into_owned())
    };
    let in_query = query("host").or_else(|| query("hostaddr"));
    let is_here = in_query.map_or_else(|| !leaves_this_machine(url), |host| is_local(&host));
    if is_here {
        return None;
    }
    match query("sslmode").as_deref() {
        Some("verify-full") => None,
        Some("verify-ca") => Some(
            "sslmode=verify-ca in database.url: any server with a certificate of that authority is accepted"
                .to_owned(),
        ),
        Some("require") => {
            Some("sslmode=require in database.url: it is encrypted, and any server is accepted".to_owned())
        }
        // Where none is named, that is what holds (`database_url.rs`).
        mode => Some(format!(
            "sslmode={} in database.url, or none: where the server, or somebody on the way, offers no TLS, the password \
             and all data travel in clear",
            mode.unwrap_or("prefer")
        )),
    }
}

fn leaves_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => !is_local(name),
        Some(Host::Ipv4(address)) => !address.is_loopback(),
        Some(Host::Ipv6(address)) => !address.is_loopback(),
        None => false,
    }
}

/// A socket in the file system, or a name or an address of this machine.
fn is_local(host: &str) -> bool {
    let loopback = host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    loopback || host == "localhost" || host.starts_with('/') || host.starts_with("%2F")
}

#[cfg(test)]
mod tests {
    use crate::config::{Sources, load};

    fn unprotected(settings: &[(&str, &str)]) -> Vec<String> {
        let environment = settings
            .iter()
            .map(|(key, value)| (format!("FILE_RECYCLER_{key}"), (*value).to_owned()))
            .collect();
        let sources = Sources { environment, directory: std::env::temp_dir(), ..Sources::default() };
        load(&sources).unwrap().config.unprotected()
    }

    #[test]
    fn what_leaves_this_machine_in_clear_or_to_an_unknown_server_is_named() {
        for (key, value, told) in [
            ("DATABASE__URL", "postgres://h/d", "sslmode=prefer in database.url, or none: where"),
            (
                "DATABASE__URL",
                "postgres://h/d?sslmode=prefer",
                "sslmode=prefer in database.url, or none: where",
            ),
            ("DATABASE__URL", "postgres://10.0.0.1/d?sslmode=require", "any server is accepted"),
            ("DATABASE__URL", "postgres://h/d?sslmode=verify-ca", "of that authority is accepted"),
            ("DATABASE__URL", "postgres://localhost/d?host=h", "sslmode=prefer"),
            ("DATABASE__URL", "postgres://h/d?sslmode=verify-full", ""),
            ("DATABASE__URL", "postgres://127.0.0.1/d", ""),
            ("DATABASE__URL", "postgres://[::1]/d", ""),
            ("DATABASE__URL", "postgres://%2Frun%2Fpostgresql/d", ""),
            ("DATABASE__URL", "postgres://h/d?host=/run/postgresql", ""),
            ("BROKER__URL", "amqp://u:p@h/", "broker.url begins with amqp://"),
            ("BROKER__URL", "amqps://u:p@h/", ""),
            ("BROKER__URL", "amqp://u:p@localhost/", ""),
            ("STORAGE__SERVICE_URL", "http://s3:9000", "storage.service_url begins with http://"),
            ("STORAGE__SERVICE_URL", "https://s3:9000", ""),
            ("STORAGE__SERVICE_URL", "http://127.0.0.7:9000", ""),
        ] {
            let found = unprotected(&[(key, value)]).join("; ");
            assert_eq!((found.contains(told), found.is_empty()), (true, told.is_empty()), "{value}: {found}");
        }
    }
}

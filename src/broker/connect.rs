//! Where the broker is and how to reach it: the address, TLS, and one bounded try to connect.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lapin::ConnectionProperties;
use lapin::tcp::{OwnedIdentity, OwnedTLSConfig};
use lapin::uri::AMQPUri;
use secrecy::{ExposeSecret, SecretString};
use tokio::io::AsyncReadExt;
use url::{Host, Url};

use super::alarm::Alarm;
use super::error::BrokerError;
use super::greeting::{self, Greeting};
use super::link::Link;
use super::mend::Mending;
use super::session::{Condition, Session};
use crate::config;

/// Seconds between heartbeats where the address does not say: a dead peer is noticed after twice as long.
const HEARTBEAT_SECONDS: u16 = 10;
/// Largest frame of a connection on which only our own messages travel, in bytes: it holds the headers of any of them.
const OUR_FRAME_BYTES: u32 = 32 * 1024;
/// Largest frame of a connection on which no message travels, in bytes: the least that a broker may insist on.
const BARE_FRAME_BYTES: u32 = 8 * 1024;
/// Longest certificate or key file, in bytes.
const MAX_PEM_BYTES: u64 = 1024 * 1024;

/// What travels on a connection. The client library holds 32 of the largest frames in each of two buffers, filled or not: with
/// the broker's usual 128 KiB that is 8 MiB for each connection, and was most of an idle process's memory. A message's
/// headers are one frame, whatever was agreed, and the library breaks a connection over one that is too large: so only where
/// nobody else's messages come, frames are small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Traffic {
    /// Messages of anybody come.
    Any,
    /// Our own messages are published, and come back where nobody takes them.
    Ours,
    /// No messages.
    Bare,
}

impl Traffic {
    /// The largest frame to ask for; nothing: the broker's.
    fn frame_bytes(self) -> Option<u32> {
        match self {
            Self::Any => None,
            Self::Ours => Some(OUR_FRAME_BYTES),
            Self::Bare => Some(BARE_FRAME_BYTES),
        }
    }
}

/// A RabbitMQ that can be connected to.
#[derive(Clone)]
pub struct Broker(Arc<Inner>);

struct Inner {
    url: SecretString,
    ca_file: Option<PathBuf>,
    client_certificate: Option<(PathBuf, PathBuf)>,
    name: String,
    alarm: Alarm,
    mending: Mending,
}

impl Broker {
    /// Checks the address; nothing is connected yet.
    pub fn new(config: &config::Broker) -> Result<Self, BrokerError> {
        let url = config.url.clone();
        let url = url.ok_or_else(|| BrokerError::Configuration("broker.url is not set".to_owned()))?;
        parse(&url)?;
        let host = gethostname::gethostname();
        Ok(Self(Arc::new(Inner {
            url,
            ca_file: config.ca_file.clone(),
            client_certificate: config.client_certificate.clone(),
            name: format!("file-recycler {} {}", host.to_string_lossy(), std::process::id()),
            alarm: Alarm::default(),
            mending: Mending::default(),
        })))
    }

    /// Connects, once, within ten seconds.
    pub async fn connect(&self) -> Result<Session, BrokerError> {
        self.session(Traffic::Any).await
    }

    /// The same, for publishing, declaring and asking how long queues are: no message is read on it.
    pub async fn connect_without_reading(&self) -> Result<Session, BrokerError> {
        self.session(Traffic::Bare).await
    }

    async fn session(&self, traffic: Traffic) -> Result<Session, BrokerError> {
        let condition = Condition::default();
        let link = self.link(&condition, traffic).await?;
        Ok(Session::new(self.clone(), link, condition))
    }

    /// The broker's reason for taking no messages at present (its memory or disk alarm), if it does not. It is
    /// known once a publisher of this `Broker` has tried.
    pub fn blocked(&self) -> Option<String> {
        self.0.alarm.reason()
    }

    /// What all connections together know of the broker's alarm.
    pub(super) fn alarm(&self) -> &Alarm {
        &self.0.alarm
    }

    /// One connection that reports to `condition`. Certificates are read each time: they get renewed.
    pub(super) async fn link(&self, condition: &Condition, traffic: Traffic) -> Result<Link, BrokerError> {
        let mut uri = parse(&self.0.url)?;
        uri.query.frame_max = traffic.frame_bytes().or(uri.query.frame_max);
        let tls = self.tls().await?;
        let properties = ConnectionProperties::default()
            .with_connection_name(self.0.name.clone().into())
            .with_client_property("product".into(), env!("CARGO_PKG_NAME").into())
            .with_client_property("version".into(), env!("CARGO_PKG_VERSION").into());
        let shared = (condition.clone(), self.0.alarm.ear(), self.0.mending.clone());
        Link::open(uri, tls, properties, shared).await
    }

    /// What the broker says of itself, on a connection that goes no further; within ten seconds.
    pub async fn greeting(&self) -> Result<Greeting, BrokerError> {
        greeting::ask(&parse(&self.0.url)?, &self.tls().await?).await
    }

    async fn tls(&self) -> Result<OwnedTLSConfig, BrokerError> {
        Ok(OwnedTLSConfig {
            identity: match &self.0.client_certificate {
                Some((certificate, key)) => Some(OwnedIdentity::PKCS8 {
                    pem: read("broker.client_certificate_file", certificate).await?,
                    key: read("broker.client_key_file", key).await?,
                }),
                None => None,
            },
            cert_chain: match &self.0.ca_file {
                Some(file) => Some(text("broker.ca_file", read("broker.ca_file", file).await?)?),
                None => None,
            },
        })
    }
}

/// Without the address: it holds a password.
impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").field("name", &self.0.name).finish_non_exhaustive()
    }
}

/// Reads the address. What is wrong is said without quoting it.
///
/// Two readings differ from the library's: an IPv6 host (which it takes for "no host" and connects to
/// localhost), and a lone slash as the path, which is the default virtual host as in the CRM's own client.
fn parse(url: &SecretString) -> Result<AMQPUri, BrokerError> {
    let wrong = |problem: &str| BrokerError::Configuration(format!("broker.url {problem}"));
    let read = Url::parse(url.expose_secret()).map_err(|error| wrong(&format!("is not a URL: {error}")))?;
    if !matches!(read.scheme(), "amqp" | "amqps") {
        return Err(wrong("does not start with amqp:// or amqps://"));
    }
    let mut uri: AMQPUri = url
        .expose_secret()
        .parse()
        .map_err(|_| wrong("is not an address as in amqp://user:password@host/vhost"))?;
    match read.host() {
        Some(Host::Ipv6(address)) => uri.authority.host = address.to_string(),
        Some(Host::Ipv4(address)) => uri.authority.host = address.to_string(),
        Some(Host::Domain("")) | None => return Err(wrong("names no host")),
        Some(Host::Domain(_)) => {}
    }
    if uri.vhost.is_empty() {
        "/".clone_into(&mut uri.vhost);
    }
    if uri.vhost.len() > 255 {
        return Err(wrong("names a virtual host of more than 255 bytes"));
    }
    uri.query.heartbeat = uri.query.heartbeat.filter(|seconds| *seconds > 0).or(Some(HEARTBEAT_SECONDS));
    Ok(uri)
}

async fn read(key: &str, path: &Path) -> Result<Vec<u8>, BrokerError> {
    let wrong = |error: io::Error| BrokerError::Configuration(format!("{key} {}: {error}", path.display()));
    let file = tokio::fs::File::open(path).await.map_err(wrong)?;
    let mut bytes = Vec::new();
    file.take(MAX_PEM_BYTES).read_to_end(&mut bytes).await.map_err(wrong)?;
    Ok(bytes)
}

fn text(key: &str, bytes: Vec<u8>) -> Result<String, BrokerError> {
    String::from_utf8(bytes).map_err(|_| BrokerError::Configuration(format!("{key} is not a PEM file")))
}

/// Bounds one exchange with the broker.
pub(super) async fn answered<T>(
    attempt: &str,
    within: Duration,
    answer: impl Future<Output = lapin::Result<T>>,
) -> Result<T, BrokerError> {
    match tokio::time::timeout(within, answer).await {
        Ok(answer) => answer.map_err(|error| BrokerError::from_lapin(attempt, &error)),
        Err(_) => Err(BrokerError::TimedOut { attempt: attempt.to_owned(), after: within }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(url: &str) -> Result<AMQPUri, BrokerError> {
        parse(&SecretString::from(url))
    }

    #[test]
    fn the_address_is_read_as_its_writer_means_it() {
        for (url, host, port, vhost) in [
            ("amqp://u:p@mq", "mq", 5672, "/"),
            ("amqp://u:p@mq/", "mq", 5672, "/"),
            ("amqp://u:p@mq/%2f", "mq", 5672, "/"),
            ("amqp://u:p@10.0.0.7:5673/crm", "10.0.0.7", 5673, "crm"),
            ("amqps://u:p@[2001:db8::7]/crm", "2001:db8::7", 5671, "crm"),
        ] {
            let read = uri(url).unwrap();
            assert_eq!((read.authority.host.as_str(), read.authority.port), (host, port), "{url}");
            assert_eq!(read.vhost, vhost, "{url}");
            assert_eq!(read.query.heartbeat, Some(10));
        }
        assert_eq!(uri("amqp://mq?heartbeat=0").unwrap().query.heartbeat, Some(10));
        assert_eq!(uri("amqp://mq?heartbeat=30").unwrap().query.heartbeat, Some(30));
        assert_eq!(uri("amqp://u:p%40ss@mq").unwrap().authority.userinfo.password, "p@ss");
    }

    #[test]
    fn a_wrong_address_is_refused_without_quoting_it() {
        for url in
            ["secret", "http://u:secret@mq", "amqp:secret", "amqp:///secret", "amqp://u:secret@mq:port/"]
        {
            let error = uri(url).unwrap_err().to_string();
            assert!(error.starts_with("broker.url ") && !error.contains("secret"), "{url}: {error}");
        }
    }

    #[test]
    fn the_password_is_not_in_the_debug_text() {
        let config = config::Broker {
            url: Some(SecretString::from("amqp://u:secret@mq/")),
            prefix: "p".to_owned(),
            ca_file: None,
            client_certificate: None,
        };
        assert!(!format!("{:?}", Broker::new(&config).unwrap()).contains("secret"));
    }
}

//! The configuration: typed, complete and checked before anything else starts.

mod ado;
mod build;
mod connection_strings;
mod database_url;
mod env;
mod error;
mod file;
mod keys;
mod load;
mod mapping;
mod read;
mod require;
mod show;
mod transport;
mod validate;
mod value;
mod xml;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};

use crate::file::{Bucket, Object, Recycle};
use crate::key_template::KeyTemplate;

pub use error::{ConfigErrors, Problem, Source};
pub use keys::{KEYS, Key};
pub use load::{Loaded, Sources, load};
pub use require::Needs;
pub use show::{HIDDEN, Setting};
pub use value::duration as parse_duration;

/// Every setting; see the table of keys in `docs/configuration.md`.
#[derive(Debug)]
pub struct Config {
    /// The CRM and its tables.
    pub crm: Crm,
    /// PostgreSQL. `None` where no address was given; commands that need it say so.
    pub database: Database,
    /// RabbitMQ.
    pub broker: Broker,
    /// The S3 server and the two buckets.
    pub storage: Storage,
    /// How files move.
    pub recycle: Recycling,
    /// How much the worker takes at once.
    pub worker: Worker,
    /// The waits between later tries.
    pub retry: Retry,
    /// Age of the oldest database backup that may ever be restored (`retention.database_backups`).
    pub retention_database_backups: Option<Duration>,
    /// How deletions are captured.
    pub listener: Listener,
    /// How long a stop waits for what is in flight.
    pub shutdown_timeout: Duration,
    /// Health, metrics and intake.
    pub http: Http,
}

/// What kind of application's database this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Creatio: file tables are discovered.
    Creatio,
    /// Any application on PostgreSQL: file tables are listed.
    Mapping(Vec<FileTable>),
    /// A CRM whose database we cannot ask: events come from outside.
    Events,
}

/// One `[[crm.file_table]]` of the mapping profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileTable {
    /// Name of the table.
    pub table: String,
    /// Column of the file's id.
    pub id: String,
    /// Where the record is named.
    pub record: Option<RecordLink>,
    /// Template over the row's columns that gives the object's key; default: the key template.
    pub key: Option<String>,
    /// `storage.key_template`: what gives the key where `key` does not.
    pub template: KeyTemplate,
    /// `(column, value)` of rows whose content is in S3; default: all rows.
    pub storage: Option<(String, String)>,
    /// Column of the size in bytes.
    pub size: Option<String>,
}

/// How a file's row names its record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordLink {
    /// A column with the id of a row of one table: `"document_id -> document"`.
    Column {
        /// The column.
        column: String,
        /// The table that it names.
        table: String,
    },
    /// A column with the table's name and one with the row's id: `"model, res_id"`.
    Weak {
        /// Column of the table's name.
        model: String,
        /// Column of the row's id.
        id: String,
        /// Names in that column that are not table names (`[crm.file_table.models]`).
        models: BTreeMap<String, String>,
    },
}

/// What to do with rows that hang on a record that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DanglingRows {
    /// Delete them, with their image in the ledger.
    Delete,
    /// Report them only.
    Leave,
}

/// `crm.*`
#[derive(Clone, Debug)]
pub struct Crm {
    /// `crm.profile`
    pub profile: Profile,
    /// PostgreSQL schema of the CRM's tables.
    pub schema: String,
    /// What to do with dangling rows.
    pub dangling_rows: DanglingRows,
    /// May an outside event have dangling rows deleted.
    pub trust_outside_events: bool,
    /// Codes of the CRM's storages that are ours.
    pub storage_codes: Vec<String>,
}

/// `database.*`
#[derive(Debug)]
pub struct Database {
    /// `postgres://…`
    pub url: Option<SecretString>,
}

impl Database {
    /// Host and port of its address, by which a person tells one environment from another.
    pub fn host(&self) -> String {
        let url = self.url.as_ref().and_then(|url| url::Url::parse(url.expose_secret()).ok());
        let host = url.as_ref().and_then(url::Url::host_str).unwrap_or("an unknown host");
        format!("{host}:{}", url.as_ref().and_then(url::Url::port).unwrap_or(5432))
    }
}

/// `broker.*`
#[derive(Debug)]
pub struct Broker {
    /// `amqp://…` or `amqps://…`
    pub url: Option<SecretString>,
    /// Names of exchange and queues start with it.
    pub prefix: String,
    /// Certificate authorities besides the system's.
    pub ca_file: Option<PathBuf>,
    /// Client certificate and its key (PEM).
    pub client_certificate: Option<(PathBuf, PathBuf)>,
}

/// Where the storage's credentials come from.
#[derive(Debug)]
pub enum Credentials {
    /// Access key and secret key from the configuration.
    Keys {
        /// Access key id.
        access_key: SecretString,
        /// Secret access key.
        secret_key: SecretString,
    },
    /// AWS's default chain: environment, profile, container, instance role.
    DefaultChain,
}

/// `storage.path_style`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathStyle {
    /// Virtual host for AWS, path otherwise.
    Auto,
    /// `https://server/bucket/key`
    Path,
    /// `https://bucket.server/key`
    VirtualHost,
}

/// `storage.*`
#[derive(Debug)]
pub struct Storage {
    /// Endpoint; `None` is AWS of the region.
    pub service_url: Option<url::Url>,
    /// Credentials.
    pub credentials: Credentials,
    /// The two buckets, which differ; `None` where they are not configured.
    pub buckets: Option<(Bucket<Object>, Bucket<Recycle>)>,
    /// Region; `us-east-1` where nothing else is known.
    pub region: String,
    /// How buckets are addressed.
    pub path_style: PathStyle,
    /// How a file's id becomes its key.
    pub key_template: KeyTemplate,
    /// Storage class of the copy; `None`: as the source.
    pub recycle_class: Option<String>,
    /// Time to connect.
    pub connect_timeout: Duration,
    /// Time for one try of a request.
    pub attempt_timeout: Duration,
    /// Time for a request with all its tries.
    pub operation_timeout: Duration,
    /// Certificate authorities besides the system's.
    pub ca_file: Option<PathBuf>,
}

/// `recycle.mode`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Files move.
    Move,
    /// Everything but the copy and the delete.
    Observe,
}

/// `recycle.*`
#[derive(Clone, Debug)]
pub struct Recycling {
    /// How long after its deletion was seen a file may move at the earliest.
    pub grace: Duration,
    /// Move or observe.
    pub mode: Mode,
    /// Files an hour above which the worker pauses itself; 0: none.
    pub brake: u64,
    /// Requests in flight to the storage.
    pub concurrency: usize,
}

/// `worker.*`
#[derive(Clone, Debug)]
pub struct Worker {
    /// Messages in flight.
    pub prefetch: u16,
}

/// `retry.*`
#[derive(Clone, Debug)]
pub struct Retry {
    /// The wait queues, as written (`"10s"`: it is part of the queue's name) and as a duration.
    pub delays: Vec<Delay>,
}

/// One wait queue's delay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delay {
    /// As it was written in the configuration.
    pub text: String,
    /// What it means.
    pub duration: Duration,
}

/// `listener.on_capture_error`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnCaptureError {
    /// The CRM's deletion goes through; the failure is counted.
    Skip,
    /// The CRM's deletion fails.
    Fail,
}

/// `listener.*`
#[derive(Clone, Debug)]
pub struct Listener {
    /// Installs and repairs triggers by itself.
    pub auto_install: bool,
    /// What happens when a deletion cannot be captured.
    pub on_capture_error: OnCaptureError,
    /// Slowest pace of the relay's poll.
    pub poll: Duration,
}

/// `http.*`
#[derive(Debug)]
pub struct Http {
    /// Where to listen; `None`: off.
    pub listen: Option<SocketAddr>,
    /// Bearer token for what changes something.
    pub token: Option<SecretString>,
}

#[cfg(test)]
mod tests;

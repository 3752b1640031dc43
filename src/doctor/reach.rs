//! First of all: does each server answer? What cannot be reached is told once, and the checks that need it say so.

use std::sync::Arc;

use time::OffsetDateTime;

use super::check::{Finding, Name};
use super::verdict;
use crate::broker::{Broker, BrokerError, Session, Topology};
use crate::clock::Clock;
use crate::config::Config;
use crate::db::schema::SchemaState;
use crate::db::server::ServerInfo;
use crate::db::{Db, DbError};
use crate::storage::{Kind, Storage, StorageError};

/// A server, with what its connection check says.
pub(super) struct Reached<T> {
    pub(super) finding: Finding,
    /// The server; else why checks that need it are left out.
    pub(super) server: Result<T, Away>,
}

/// Why a server is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Away {
    /// Nobody says where it is.
    NotConfigured,
    /// It does not answer, or not as it must.
    Silent,
    /// It answers, and refuses the keys, or a bucket is not there.
    Unusable,
    /// It refuses requests of our clock's time.
    OtherTime,
}

/// The database.
pub(super) struct Database {
    pub(super) db: Db,
    pub(super) info: ServerInfo,
    /// Our time, before and after it told its own.
    pub(super) asked: (OffsetDateTime, OffsetDateTime),
    pub(super) schema: Result<SchemaState, DbError>,
}

/// The broker.
pub(super) struct Queues {
    pub(super) session: Session,
    pub(super) topology: Topology,
}

impl<T> Reached<T> {
    fn not_configured(key: &str) -> Self {
        let finding = Finding::unchecked(&format!("{key} is not set"), Name::Configuration);
        Self { finding, server: Err(Away::NotConfigured) }
    }

    /// It did not even refuse within the time of a connection check.
    pub(super) fn silent(name: Name) -> Self {
        Self { finding: verdict::no_answer(name), server: Err(Away::Silent) }
    }
}

pub(super) async fn database(config: &Config, clock: &Clock) -> Reached<Database> {
    let Some(url) = &config.database.url else { return Reached::not_configured("database.url") };
    let before = clock.now();
    let connected = async {
        let db = Db::connect(url)?;
        let info = db.server_info().await?;
        Ok::<_, DbError>((db, info))
    };
    match connected.await {
        Ok((db, info)) => {
            let after = clock.now();
            let finding = verdict::database_connection(&info, &config.database.host());
            let schema = db.schema_state().await;
            Reached { finding, server: Ok(Database { db, info, asked: (before, after), schema }) }
        }
        Err(error) => {
            Reached { finding: verdict::database_away(&error.to_string()), server: Err(Away::Silent) }
        }
    }
}

pub(super) async fn broker(config: &Config) -> Reached<Queues> {
    if config.broker.url.is_none() {
        return Reached::not_configured("broker.url");
    }
    let connected = async {
        let broker = Broker::new(&config.broker)?;
        let (session, greeting) = tokio::join!(broker.connect(), broker.greeting());
        Ok::<_, BrokerError>((session?, greeting))
    };
    match connected.await {
        Ok((session, greeting)) => {
            let finding = verdict::broker_connection(greeting.as_ref());
            let topology =
                Topology { prefix: config.broker.prefix.clone(), delays: config.retry.delays.clone() };
            Reached { finding, server: Ok(Queues { session, topology }) }
        }
        Err(error) => {
            Reached { finding: verdict::broker_away(&error.to_string()), server: Err(Away::Silent) }
        }
    }
}

pub(super) async fn storage(config: &Config) -> Reached<Storage> {
    let Some((object, recycle)) = &config.storage.buckets else {
        return Reached::not_configured("storage.object_bucket_name");
    };
    let connected = async {
        let storage = Storage::connect(&config.storage, &config.recycle, Arc::new(|_, _| {})).await?;
        match storage.check().await {
            // Of a HEAD that is refused nobody says why: these keys may be no keys at all.
            Err(error) if error.kind == Kind::AccessDenied => match storage.marker().await {
                Err(error) if error.kind != Kind::AccessDenied => Err(error),
                // Who may not list a bucket is told so by the check of rights.
                _ => Ok(storage),
            },
            Err(error) => Err(error),
            Ok(()) => Ok::<_, StorageError>(storage),
        }
    };
    match connected.await {
        Ok(storage) => {
            let server = config.storage.service_url.as_ref().and_then(|url| url.host_str()).unwrap_or("AWS");
            let finding = Finding::ok(format!("the buckets {object} and {recycle} answer at {server}"));
            Reached { finding, server: Ok(storage) }
        }
        Err(error) => Reached { finding: verdict::storage_away(&error), server: Err(away(error.kind)) },
    }
}

fn away(kind: Kind) -> Away {
    match kind {
        Kind::ClockSkew => Away::OtherTime,
        Kind::BucketMissing
        | Kind::CredentialsInvalid
        | Kind::AccessDenied
        | Kind::WrongRegion
        | Kind::NotImplemented
        | Kind::SameBucket
        | Kind::Settings => Away::Unusable,
        Kind::NotFound
        | Kind::PreconditionFailed
        | Kind::ConcurrentRequest
        | Kind::SlowDown
        | Kind::ServerError
        | Kind::Timeout
        | Kind::Connection
        | Kind::Archived
        | Kind::Locked
        | Kind::KeyRefused
        | Kind::BadRequest
        | Kind::BadAnswer => Away::Silent,
    }
}

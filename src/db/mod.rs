//! The only room that talks to PostgreSQL: the outbox, the catalogue of the CRM's tables, the alive
//! check, dangling rows, the ledger, triggers and what operators decided about this environment.

pub mod alive;
mod beside;
pub mod catalog;
mod conditions;
pub mod contents;
pub mod dangling;
pub mod discarded;
pub mod environment;
pub mod erasure;
mod error;
pub mod explain;
pub mod failures;
pub mod features;
pub mod growth;
pub mod hanging;
pub mod held;
pub mod index;
pub mod inventory;
pub mod ledger;
pub mod low_water;
pub mod migrate;
pub mod nonce;
pub mod outbox;
pub mod pace;
pub mod process;
pub mod registry;
pub mod replay;
pub mod restore;
mod rights;
mod sample;
pub mod schema;
pub mod server;
pub mod silence;
mod sql;
pub mod suspect;
pub mod triggers;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, Connection as _, Postgres};

pub use error::{Class, DbError, Problem};
pub use sample::SampleFile;
pub use sql::TableName;

use error::Attempted;

/// Most connections at once.
const MAX_CONNECTIONS: u32 = 16;
/// Longest wait for a connection, connecting included.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest try to find out why there is none.
const REASON_TIMEOUT: Duration = Duration::from_secs(2);
/// What every connection is set to, as the server shows it. Names are always qualified, so that `search_path` cannot matter; a
/// policy that would hide rows is an error in place of an answer.
const SETTINGS: [(&str, &str); 8] = [
    ("search_path", "pg_catalog"),
    ("row_security", "off"),
    ("statement_timeout", "30s"),
    ("lock_timeout", "5s"),
    ("idle_in_transaction_session_timeout", "2min"),
    ("timezone", "UTC"),
    ("default_transaction_isolation", "read committed"),
    // Planning the alive check anew each time takes longer than running it.
    ("plan_cache_mode", "force_generic_plan"),
];

/// The database. Clones share the connections.
#[derive(Clone)]
pub struct Db {
    pool: PgPool,
}

impl fmt::Debug for Db {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Db").field("connections", &self.pool.size()).finish_non_exhaustive()
    }
}

/// Who changes something, and from where: for the trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The operator's name.
    pub who: String,
    /// The host that the change comes from.
    pub host: String,
}

impl Db {
    /// A pool for this address. Nothing is connected yet: a server that is down is an error of the first
    /// question, not of this.
    pub fn connect(url: &SecretString) -> Result<Self, DbError> {
        let options = PgConnectOptions::from_str(url.expose_secret())
            .map_err(|_| DbError::new("opening the database", Problem::Address))?
            .application_name("file-recycler")
            .statement_cache_capacity(64)
            .options(SETTINGS.into_iter().filter(|(name, _)| {
                *name != "row_security" || !crate::failpoint::removed("protection::row_security")
            }))
            .disable_statement_logging();
        let pool = PgPoolOptions::new()
            .max_connections(MAX_CONNECTIONS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_lazy_with(options);
        Ok(Self { pool })
    }

    /// Does the server answer?
    pub async fn ping(&self) -> Result<(), DbError> {
        const DOING: &str = "asking the database for a sign of life";
        let mut connection = self.connection().await.attempted(DOING)?;
        sqlx::query("SELECT 1").execute(&mut *connection).await.attempted(DOING)?;
        Ok(())
    }

    /// A connection, or why there is none: the pool itself tries again and again, and then only says that there was none
    /// in time.
    async fn connection(&self) -> sqlx::Result<PoolConnection<Postgres>> {
        let timed_out = match self.pool.acquire().await {
            Err(error @ sqlx::Error::PoolTimedOut) => error,
            other => return other,
        };
        let options = self.pool.connect_options();
        match tokio::time::timeout(REASON_TIMEOUT, options.connect()).await {
            Ok(Err(error)) => Err(located(error, &options)),
            Ok(Ok(connection)) => connection.close().await.and(Err(timed_out)),
            Err(_) => Err(timed_out),
        }
    }

    /// Closes every connection, after what is in flight.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// What the operating system says of a connection, with where it was tried.
fn located(error: sqlx::Error, options: &PgConnectOptions) -> sqlx::Error {
    match error {
        sqlx::Error::Io(error) if error.get_ref().is_none() => {
            let told = format!("{}:{}: {error}", options.get_host(), options.get_port());
            sqlx::Error::Io(std::io::Error::new(error.kind(), told))
        }
        other => other,
    }
}

/// Seconds of the server's clock as a duration; clocks that went back count as zero.
fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

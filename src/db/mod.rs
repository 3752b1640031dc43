//! The only room that talks to PostgreSQL: the outbox, the catalogue of the CRM's tables, the alive
//! check, dangling rows, the ledger, triggers and what operators decided about this environment.

pub mod alive;
mod beside;
pub mod catalog;
mod conditions;
mod connections;
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

use std::str::FromStr;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::ConnectOptions as _;
use sqlx::postgres::PgConnectOptions;

pub use error::{Class, DbError, Problem};
pub use sample::SampleFile;
pub use sql::TableName;

use connections::Connections;
use error::Attempted;

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
#[derive(Clone, Debug)]
pub struct Db {
    pool: Connections,
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
        Ok(Self { pool: Connections::new(options) })
    }

    /// Does the server answer?
    pub async fn ping(&self) -> Result<(), DbError> {
        const DOING: &str = "asking the database for a sign of life";
        sqlx::query("SELECT 1").execute(&self.pool).await.attempted(DOING)?;
        Ok(())
    }

    /// Closes every connection, after what is in flight.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// Seconds of the server's clock as a duration; clocks that went back count as zero.
fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

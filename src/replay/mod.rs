//! The dead-letter queue: look at it without losing anything, choose, send back to work, or take out for good.

mod discard;
mod now;
mod pace;
mod run;
mod select;
mod walk;

use crate::broker::BrokerError;
use crate::db::DbError;

pub use discard::{Discard, DiscardSummary};
pub use now::{FileNow, Now, Prospect, Would};
pub use pace::Wanted;
pub use run::{Replay, Summary};
pub use select::{DeadLetter, Selection};
pub use walk::Walk;

/// Why chosen messages are left although nothing went wrong.
const OUT_OF_REACH: &str =
    "the rest is in somebody else's hands, or the broker is slow; run it again to go on";

/// Why the dead-letter queue could not be worked on.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The broker's trouble.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The database's trouble.
    #[error(transparent)]
    Database(#[from] DbError),
}

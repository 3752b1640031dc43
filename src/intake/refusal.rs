//! Why an event was not taken, in words that repeat nothing of it.

use crate::broker::BrokerError;
use crate::event::Malformed;

/// Why an event was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is wrong, and stays so.
    #[error("{field}: {problem}")]
    Wrong {
        /// Path of the field, as in `data.files[3].file_id`; `event` for the whole document.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
    /// It is larger than an event may be.
    #[error("event: is larger than 1 MiB")]
    TooLarge,
    /// Not now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Why nothing can be taken now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// There is no connection to the broker.
    #[error("the broker cannot be reached")]
    Broker,
    /// A memory or disk alarm.
    #[error("the broker takes no messages at present")]
    Blocked,
    /// The broker's queues are missing, or not as they must be.
    #[error("the broker's queues are not as they must be")]
    Topology,
    /// The environment is not known, or is the wrong one.
    #[error("the environment guard refuses")]
    Guard,
    /// An operator has paused everything.
    #[error("an operator has paused everything")]
    Paused,
    /// The broker did not say in time that it has the event.
    #[error("the broker did not confirm the event; it may have it all the same")]
    Unconfirmed,
    /// Too many events are in hand.
    #[error("too many events are in hand")]
    Busy,
    /// The process stops.
    #[error("this process is stopping")]
    Stopping,
}

impl From<Malformed> for Refused {
    /// Without what the decoder quotes: nothing of an event is repeated here.
    fn from(Malformed { path, problem, .. }: Malformed) -> Self {
        Self::Wrong { field: path, problem }
    }
}

impl Unavailable {
    /// What a failed publication means for whoever handed the event over.
    pub(super) fn of(error: &BrokerError) -> Self {
        match error {
            BrokerError::Blocked(_) => Self::Blocked,
            BrokerError::Topology(_) | BrokerError::Unroutable { .. } => Self::Topology,
            BrokerError::TimedOut { .. } | BrokerError::Refused { .. } => Self::Unconfirmed,
            BrokerError::Configuration(_)
            | BrokerError::Connection { .. }
            | BrokerError::Closed { .. }
            | BrokerError::AccessRefused { .. }
            | BrokerError::Unreadable { .. } => Self::Broker,
        }
    }
}

//! What can go wrong with the broker, and what to do about it: decided by AMQP's reply codes, never by texts.

use std::error::Error as StdError;
use std::time::Duration;

use lapin::ErrorKind;
use lapin::protocol::{AMQPError, AMQPErrorKind, AMQPHardError, AMQPSoftError};

use crate::outcome::{Advice, Dependency, Failure};
use crate::trust;

/// Where TLS is set.
const TLS: trust::Settings = trust::Settings {
    address: "broker.url",
    authorities: "broker.ca_file",
    certificate: Some("broker.client_certificate_file and broker.client_key_file"),
};

/// An error of this room. Its text names queue or exchange and what was attempted, never an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokerError {
    /// The configuration does not say how to connect.
    #[error("{0}")]
    Configuration(String),
    /// The connection or its channel is not there, or broke.
    #[error("{attempt}: {cause}")]
    Connection {
        /// What was attempted on what.
        attempt: String,
        /// What came back.
        cause: String,
    },
    /// The broker closed a consumer's channel over one message: it was in hand for too long, or was acknowledged
    /// twice. The broker and everybody else are well.
    #[error("{attempt}: the broker closed the channel: {cause}")]
    Closed {
        /// What was attempted on what.
        attempt: String,
        /// The broker's own sentence.
        cause: String,
    },
    /// No answer in time.
    #[error("{attempt}: no answer within {after:?}")]
    TimedOut {
        /// What was attempted on what.
        attempt: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// The broker takes no messages until its memory or disk alarm ends.
    #[error("the broker takes no messages at present: {0}")]
    Blocked(String),
    /// The broker's user lacks a right, or could not log in.
    #[error("{attempt}: the broker refused access: {cause}")]
    AccessRefused {
        /// What was attempted on what.
        attempt: String,
        /// The broker's own sentence.
        cause: String,
    },
    /// A queue, an exchange or a binding is missing, or is not what it must be.
    #[error("{0}")]
    Topology(String),
    /// The broker sent a message that the client library cannot read; the next connection can.
    #[error(
        "{attempt}: a message has a property or a header name that is not UTF-8, and the connection broke over \
         it; the next connection reads such bytes as question marks"
    )]
    Unreadable {
        /// What was attempted on what.
        attempt: String,
    },
    /// The broker found no queue for the message and returned it: it was not stored anywhere.
    #[error("no queue takes messages for {target}: the message was returned")]
    Unroutable {
        /// Exchange and routing key, or the queue.
        target: String,
    },
    /// The broker did not take the message: the queue is full or has just lost its leader.
    #[error("the broker refused to store a message for {target}")]
    Refused {
        /// Exchange and routing key, or the queue.
        target: String,
    },
}

impl BrokerError {
    /// What to do next. Nothing here condemns a message: the broker's troubles are everybody's.
    pub const fn advice(&self) -> Advice {
        match self {
            Self::Configuration(_)
            | Self::Connection { .. }
            | Self::TimedOut { .. }
            | Self::AccessRefused { .. }
            | Self::Topology(_)
            | Self::Unreadable { .. }
            | Self::Unroutable { .. } => Advice::Outage(Dependency::Broker),
            Self::Refused { .. } | Self::Closed { .. } => Advice::Retry,
            // What needs no publication goes on: acknowledgements are what ends an alarm.
            Self::Blocked(_) => Advice::Hold,
        }
    }

    /// Names the permission without which this is refused: the broker's own sentence says on what it refused access,
    /// and (before 3.13) not which permission that wanted.
    pub(super) fn needing(self, permission: &str) -> Self {
        match self {
            Self::AccessRefused { attempt, cause } => {
                let cause = format!("{cause}; this needs {permission}: apply deploy/rights/broker.sh");
                Self::AccessRefused { attempt, cause }
            }
            other => other,
        }
    }

    /// `attempt` failed with what the client library reports.
    pub(super) fn from_lapin(attempt: impl Into<String>, error: &lapin::Error) -> Self {
        let attempt = attempt.into();
        match error.kind() {
            ErrorKind::ProtocolError(answer) => Self::from_reply(attempt, answer),
            ErrorKind::ParsingError(_) => Self::Unreadable { attempt },
            // Broken pipes, missed heartbeats, states: all say that there is no working connection.
            _ => Self::connection(attempt, error),
        }
    }

    /// There is no connection.
    pub(super) fn connection(attempt: String, error: &(dyn StdError + 'static)) -> Self {
        let cause = trust::explain(error, &TLS).unwrap_or_else(|| error.to_string());
        Self::Connection { attempt, cause }
    }

    /// A consumer ended with what the client library reports.
    pub(super) fn from_consumer(attempt: String, error: &lapin::Error) -> Self {
        if is_mismatch(error) {
            Self::Closed { attempt, cause: sentence(error) }
        } else {
            Self::from_lapin(attempt, error)
        }
    }

    fn from_reply(attempt: String, answer: &AMQPError) -> Self {
        let cause = answer.get_message().to_string();
        match answer.kind() {
            AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED)
            | AMQPErrorKind::Hard(AMQPHardError::INVALIDPATH | AMQPHardError::NOTALLOWED) => {
                Self::AccessRefused { attempt, cause }
            }
            AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND | AMQPSoftError::NOROUTE) => {
                Self::Topology(format!("{attempt}: {cause}"))
            }
            AMQPErrorKind::Soft(_) | AMQPErrorKind::Hard(_) => Self::Connection { attempt, cause },
        }
    }
}

impl From<BrokerError> for Failure {
    fn from(error: BrokerError) -> Self {
        Self::new(error.advice(), error.to_string())
    }
}

/// The reply code of a channel that the broker closed: another type or other arguments (406), or a queue
/// that belongs to another connection alone (405).
pub(super) fn is_mismatch(error: &lapin::Error) -> bool {
    matches!(soft(error), Some(AMQPSoftError::PRECONDITIONFAILED | AMQPSoftError::RESOURCELOCKED))
}

/// There is no such queue or exchange (404).
pub(super) fn is_missing(error: &lapin::Error) -> bool {
    matches!(soft(error), Some(AMQPSoftError::NOTFOUND))
}

/// The broker's own sentence about an error, where it gave one.
pub(super) fn sentence(error: &lapin::Error) -> String {
    match error.kind() {
        ErrorKind::ProtocolError(answer) => answer.get_message().to_string(),
        _ => error.to_string(),
    }
}

fn soft(error: &lapin::Error) -> Option<&AMQPSoftError> {
    match error.kind() {
        ErrorKind::ProtocolError(answer) => match answer.kind() {
            AMQPErrorKind::Soft(soft) => Some(soft),
            AMQPErrorKind::Hard(_) => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(kind: AMQPErrorKind) -> BrokerError {
        let error = ErrorKind::ProtocolError(AMQPError::new(kind, "the broker's words".into())).into();
        BrokerError::from_lapin("declaring queue 'q'", &error)
    }

    #[test]
    fn reply_codes_decide_and_every_trouble_of_the_broker_is_an_outage() {
        let refused = |cause: &str| BrokerError::AccessRefused {
            attempt: "declaring queue 'q'".into(),
            cause: cause.into(),
        };
        let connection = BrokerError::Connection {
            attempt: "declaring queue 'q'".into(),
            cause: "the broker's words".into(),
        };
        let table = [
            (AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED), refused("the broker's words")),
            (AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED), refused("the broker's words")),
            (
                AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND),
                BrokerError::Topology("declaring queue 'q': the broker's words".into()),
            ),
            (AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED), connection.clone()),
            (AMQPErrorKind::Hard(AMQPHardError::CONNECTIONFORCED), connection),
        ];
        for (kind, expected) in table {
            let error = reply(kind);
            assert_eq!(error, expected);
            assert_eq!(error.advice(), Advice::Outage(Dependency::Broker));
        }
    }

    #[test]
    fn a_refusal_names_the_permission_and_nothing_else_does() {
        let refused =
            reply(AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED)).needing("the read permission on it");
        assert_eq!(
            refused.to_string(),
            "declaring queue 'q': the broker refused access: the broker's words; this needs the read permission on \
             it: apply deploy/rights/broker.sh"
        );
        let missing = reply(AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND));
        assert_eq!(missing.clone().needing("the read permission on it"), missing);
    }

    #[test]
    fn a_consumer_that_held_a_message_for_too_long_is_no_outage() {
        let timed_out = AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED);
        let error = ErrorKind::ProtocolError(AMQPError::new(timed_out, "timed out".into())).into();
        let error = BrokerError::from_consumer("consuming queue 'q'".into(), &error);
        assert!(matches!(error, BrokerError::Closed { .. }), "{error:?}");
        assert_eq!(error.advice(), Advice::Retry);
    }

    #[test]
    fn an_alarm_is_no_outage_since_consuming_goes_on() {
        assert_eq!(BrokerError::Blocked("low on memory".into()).advice(), Advice::Hold);
    }

    #[test]
    fn a_message_that_was_refused_is_tried_again_and_one_that_was_returned_is_an_outage() {
        assert_eq!(BrokerError::Refused { target: "q".into() }.advice(), Advice::Retry);
        assert_eq!(
            BrokerError::Unroutable { target: "q".into() }.advice(),
            Advice::Outage(Dependency::Broker)
        );
    }
}

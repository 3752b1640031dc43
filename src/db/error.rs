//! What can go wrong with the database, and what to do then: the one place that reads SQLSTATEs.

use std::fmt;

use crate::outcome::{Advice, DeadReason, Dependency, Failure};
use crate::trust;

/// Where TLS is set.
const TLS: trust::Settings = trust::Settings {
    address: "database.url",
    authorities: "sslrootcert of database.url",
    certificate: Some("sslcert and sslkey of database.url"),
};
/// A connection that the server does not let in.
const NOT_LET_IN: &str = "28000";

/// An error of the database room: what was attempted, and what came back.
#[derive(Debug, thiserror::Error)]
#[error("{attempted}: {problem}")]
pub struct DbError {
    attempted: String,
    problem: Problem,
}

/// What came back. Its text never holds an address or a password.
#[derive(Debug, PartialEq, Eq)]
pub enum Problem {
    /// The server answered with an error.
    Server {
        /// What kind of error its SQLSTATE stands for.
        class: Class,
        /// The SQLSTATE.
        code: String,
        /// The server's message, without its detail (which can quote data).
        message: String,
    },
    /// There is no connection, or it broke.
    Connection(String),
    /// `database.url` cannot be used. The text does not quote it.
    Address,
    /// No `database.url` is configured.
    NoAddress,
    /// The database is not what it must be: a sentence that says why.
    NotReady(String),
    /// An operator has paused everything.
    Paused,
    /// The database keeps changing under the question.
    Unsettled,
    /// What was asked for does not exist yet.
    Unsupported(&'static str),
    /// Something that was counted on did not happen; the transaction was rolled back.
    Broken(String),
    /// An answer that does not fit the question: a fault of our own.
    Internal(String),
}

/// What an error of the server means, by its SQLSTATE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The server is going, coming, full or not letting anybody in.
    Unavailable,
    /// Rights are missing, or row-level security would hide rows.
    Blind,
    /// A table, column or function is not there (any more).
    Missing,
    /// The server takes no writes.
    ReadOnly,
    /// Another transaction was in the way.
    Contention,
    /// The statement took too long.
    TooLong,
    /// A foreign key, check or unique constraint, or a trigger, says no.
    Constraint,
    /// The server has a fault of its own.
    Fault,
    /// Anything else: the statement and the data do not fit.
    Data,
}

impl Class {
    /// The class of a SQLSTATE (PostgreSQL manual, appendix A).
    pub fn of(code: &str) -> Self {
        match (code.get(..2).unwrap_or_default(), code) {
            (_, "42501") => Self::Blind,
            (_, "42P01" | "42703" | "42883" | "42704" | "3F000") => Self::Missing,
            (_, "25006") => Self::ReadOnly,
            (_, "57014" | "25P03") => Self::TooLong,
            (_, "P0001") => Self::Constraint,
            ("40", _) | (_, "55P03" | "55006") => Self::Contention,
            // The last three: it takes no connections, or a pooler has mixed up our prepared statements.
            ("08" | "28" | "3D" | "53" | "57" | "58", _) | (_, "55000" | "26000" | "42P05") => {
                Self::Unavailable
            }
            ("23", _) => Self::Constraint,
            ("XX", _) => Self::Fault,
            _ => Self::Data,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server { code, message, class: Class::Blind } => write!(
                f,
                "{message} (SQLSTATE {code}); `file-recycler status` names missing rights, docs/rights.md says what each \
                 is for"
            ),
            Self::Server { code, message, .. } if code == NOT_LET_IN => write!(
                f,
                "{message} (SQLSTATE {code}); a server may let in only who comes with TLS (sslmode in database.url) or \
                 with a client certificate (sslcert and sslkey)"
            ),
            Self::Server { code, message, .. } => write!(f, "{message} (SQLSTATE {code})"),
            Self::Connection(why) => write!(f, "no connection to the database: {why}"),
            Self::Address => f.write_str("database.url cannot be read; it must be postgres://…"),
            Self::NoAddress => f.write_str("database.url is not configured"),
            Self::NotReady(why) | Self::Broken(why) | Self::Internal(why) => f.write_str(why),
            Self::Paused => f.write_str("an operator has paused this environment"),
            Self::Unsettled => f.write_str("the database's tables keep changing"),
            Self::Unsupported(what) => write!(f, "{what} is not supported yet"),
        }
    }
}

impl DbError {
    /// An error with its problem.
    pub(super) fn new(attempted: impl Into<String>, problem: Problem) -> Self {
        Self { attempted: attempted.into(), problem }
    }

    /// The same, with how many other things failed beside this one.
    pub(super) fn with_more(mut self, more: usize) -> Self {
        self.attempted = format!("{} (and {more} more in vain)", self.attempted);
        self
    }

    /// What came back.
    pub fn problem(&self) -> &Problem {
        &self.problem
    }

    /// What to do next.
    pub fn advice(&self) -> Advice {
        match &self.problem {
            Problem::Server { class, .. } => match class {
                Class::Unavailable | Class::Blind | Class::Missing | Class::ReadOnly => {
                    Advice::Outage(Dependency::Database)
                }
                Class::Contention | Class::TooLong | Class::Fault => Advice::Retry,
                Class::Constraint | Class::Data => Advice::GiveUp(DeadReason::Internal),
            },
            Problem::Connection(_) | Problem::Address | Problem::NoAddress | Problem::NotReady(_) => {
                Advice::Outage(Dependency::Database)
            }
            Problem::Paused => Advice::Hold,
            Problem::Unsettled | Problem::Broken(_) => Advice::Retry,
            Problem::Unsupported(_) => Advice::GiveUp(DeadReason::Unsupported),
            Problem::Internal(_) => Advice::GiveUp(DeadReason::Internal),
        }
    }

    /// Does the role lack a right, or would row-level security hide rows from it?
    pub fn is_denied(&self) -> bool {
        self.class() == Some(Class::Blind)
    }

    /// Is something not there that a newer version of the own schema has?
    pub fn is_missing(&self) -> bool {
        self.class() == Some(Class::Missing)
    }

    /// The same attempt with another reason.
    pub(super) fn because(self, problem: Problem) -> Self {
        Self { problem, ..self }
    }

    /// Is something of our own schema missing, or not allowed?
    pub fn is_of_schema(&self) -> bool {
        matches!(self.problem, Problem::Server { class: Class::Missing | Class::Blind, .. })
    }

    /// The class of the server's error, where it is one.
    pub(super) fn class(&self) -> Option<Class> {
        match &self.problem {
            Problem::Server { class, .. } => Some(*class),
            _ => None,
        }
    }
}

#[cfg(test)]
impl DbError {
    /// An error of a database that no test has to break.
    pub(crate) fn for_tests(problem: Problem) -> Self {
        Self::new("a test", problem)
    }
}

impl From<DbError> for Failure {
    fn from(error: DbError) -> Self {
        Self::new(error.advice(), error.to_string())
    }
}

/// Says what was attempted when sqlx failed.
pub(super) trait Attempted<T> {
    /// The result with a [`DbError`] in place of sqlx's.
    fn attempted(self, what: &str) -> Result<T, DbError>;
}

impl<T> Attempted<T> for Result<T, sqlx::Error> {
    fn attempted(self, what: &str) -> Result<T, DbError> {
        self.map_err(|error| DbError::new(what, problem(&error)))
    }
}

impl<T> Attempted<T> for Result<T, sqlx::migrate::MigrateError> {
    fn attempted(self, what: &str) -> Result<T, DbError> {
        use sqlx::migrate::MigrateError;
        self.map_err(|error| {
            let problem = match &error {
                MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => problem(error),
                other => Problem::NotReady(format!(
                    "the own schema is of another version of this program: {other}"
                )),
            };
            DbError::new(what, problem)
        })
    }
}

fn problem(error: &sqlx::Error) -> Problem {
    match error {
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default().into_owned();
            Problem::Server { class: Class::of(&code), code, message: error.message().to_owned() }
        }
        sqlx::Error::Configuration(_) => Problem::Address,
        sqlx::Error::Io(error) => {
            Problem::Connection(trust::explain(error, &TLS).unwrap_or_else(|| error.to_string()))
        }
        sqlx::Error::Tls(error) => {
            Problem::Connection(trust::explain(&**error, &TLS).unwrap_or_else(|| {
                format!("there is no TLS, which sslmode in database.url asks for: {error}")
            }))
        }
        sqlx::Error::Protocol(error) => Problem::Connection(error.clone()),
        sqlx::Error::PoolTimedOut => Problem::Connection("none within the time allowed".to_owned()),
        sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
            Problem::Connection("this program is stopping".to_owned())
        }
        sqlx::Error::BeginFailed => Problem::Connection("it is in an unexpected state".to_owned()),
        // sqlx's enum is open; what is left is about rows and columns that are not as our code reads them.
        other => Problem::Internal(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sqlstate_says_what_to_do() {
        let outage = Advice::Outage(Dependency::Database);
        let internal = Advice::GiveUp(DeadReason::Internal);
        for (code, advice, why) in [
            ("08006", outage, "connection failure"),
            ("28P01", outage, "wrong password"),
            ("3D000", outage, "no such database"),
            ("53300", outage, "too many connections"),
            ("53100", outage, "disk full"),
            ("57P01", outage, "shutdown"),
            ("57P03", outage, "starting up"),
            ("55000", outage, "the database takes no connections"),
            ("26000", outage, "a prepared statement that a pooler lost"),
            ("42P05", outage, "a prepared statement that a pooler has already"),
            ("58030", outage, "input/output error"),
            ("25006", outage, "read-only"),
            ("42P01", outage, "undefined table"),
            ("42501", outage, "rights, or row-level security"),
            ("40001", Advice::Retry, "serialization"),
            ("40P01", Advice::Retry, "deadlock"),
            ("55P03", Advice::Retry, "lock time-out"),
            ("57014", Advice::Retry, "statement time-out"),
            ("22P02", internal, "bad text"),
            ("23503", internal, "foreign key"),
            ("XX000", Advice::Retry, "internal error of the server"),
            ("", internal, "none"),
        ] {
            let error = DbError::new(
                "asking",
                Problem::Server { class: Class::of(code), code: code.into(), message: why.into() },
            );
            assert_eq!(error.advice(), advice, "{code} {why}");
        }
    }

    #[test]
    fn an_error_says_what_was_attempted_and_what_came_back() {
        let error: Result<(), _> = Err(sqlx::Error::PoolTimedOut);
        assert_eq!(
            error.attempted("reading the outbox").unwrap_err().to_string(),
            "reading the outbox: no connection to the database: none within the time allowed"
        );
    }
}

//! The next command to type: what an error, or an answer that is none, ends with.

use std::error::Error;
use std::fmt;

use crate::broker::BrokerError;
use crate::config::ConfigErrors;
use crate::db::{Class, DbError, Problem};
use crate::guard::Verdict;
use crate::outcome::{Advice, Failure};
use crate::storage::StorageError;

/// A command that leads on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Every check by name.
    Doctor,
    /// Where each value came from.
    Sources,
    /// Own schema and triggers.
    Install,
    /// What would be bound; changes nothing yet.
    Adopt,
    /// What each file and object is.
    Audit,
    /// One screen.
    Status,
    /// Starts the work.
    Run,
    /// What could not be done.
    DeadLetters,
    /// Why one file is where it is.
    Explain(String),
    /// The recycle bucket's rules.
    Retention,
    /// How a command is called, by its words.
    Help(Vec<String>),
}

impl fmt::Display for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("file-recycler ")?;
        match self {
            Self::Doctor => f.write_str("doctor"),
            Self::Sources => f.write_str("config show --sources"),
            Self::Install => f.write_str("listener install"),
            Self::Adopt => f.write_str("adopt"),
            Self::Audit => f.write_str("audit"),
            Self::Status => f.write_str("status"),
            Self::Run => f.write_str("run"),
            Self::DeadLetters => f.write_str("dlq list"),
            Self::Explain(id) => write!(f, "explain {id}"),
            Self::Retention => f.write_str("retention show"),
            Self::Help(words) => {
                words.iter().try_for_each(|word| write!(f, "{word} "))?;
                f.write_str("--help")
            }
        }
    }
}

impl Next {
    /// After an error of one of the rooms below; nothing after one that is none of theirs.
    pub(super) fn after(error: &(dyn Error + 'static)) -> Option<Self> {
        if let Some(error) = error.downcast_ref::<DbError>() {
            return Some(Self::after_database(error.problem()));
        }
        if let Some(failure) = error.downcast_ref::<Failure>() {
            return Self::after_failure(failure);
        }
        if error.is::<ConfigErrors>() {
            return Some(Self::Sources);
        }
        // Which server, which right, which queue: the check of that name says it.
        (error.is::<BrokerError>() || error.is::<StorageError>()).then_some(Self::Doctor)
    }

    fn after_database(problem: &Problem) -> Self {
        match problem {
            // The CRM's own tables are discovered before they are asked, so what is missing is ours.
            Problem::Server { class: Class::Missing, .. } => Self::Install,
            // Somebody stopped everything, for a reason: who and why is there, and no command that starts moves is at hand.
            Problem::Paused => Self::Status,
            Problem::Server { .. }
            | Problem::Connection(_)
            | Problem::Address
            | Problem::NoAddress
            | Problem::NotReady(_)
            | Problem::Unsettled
            | Problem::Unsupported(_)
            | Problem::Broken(_)
            | Problem::Internal(_) => Self::Doctor,
        }
    }

    fn after_failure(failure: &Failure) -> Option<Self> {
        match failure.advice {
            Advice::Retry | Advice::SlowDown => None,
            Advice::Outage(_) | Advice::GiveUp(_) => Some(Self::Doctor),
            Advice::Hold => Some(Self::Status),
        }
    }

    /// After the guard's refusal.
    pub(super) fn after_verdict(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Open(_) | Verdict::Paused(_) => Self::Status,
            // A look at both sides comes first: it changes nothing, and says whether a restore is due.
            Verdict::RestoreAlone | Verdict::Refused(_) => Self::Adopt,
            Verdict::Unknown(_) | Verdict::Foreign(_) => Self::Doctor,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;
    use uuid::Uuid;

    use super::super::arguments::{self, Arguments};
    use super::*;
    use crate::outcome::Dependency;
    use crate::storage::{Kind, Operation, Side};

    fn database(problem: Problem) -> Option<Next> {
        Next::after(&DbError::for_tests(problem))
    }

    fn server(code: &str) -> Option<Next> {
        database(Problem::Server { class: Class::of(code), code: code.into(), message: String::new() })
    }

    #[test]
    fn every_error_that_an_operator_meets_first_leads_on() {
        let storage =
            |kind| Next::after(&StorageError::for_tests(Operation::HeadBucket, Side::Object, "k", kind));
        let failure = |advice| Next::after(&Failure::new(advice, "why"));
        for (what, next, expected) in [
            ("nothing is configured", Next::after(&ConfigErrors(Vec::new())), Some(Next::Sources)),
            ("database down", database(Problem::Connection("refused".into())), Some(Next::Doctor)),
            ("no address", database(Problem::NoAddress), Some(Next::Doctor)),
            ("wrong password", server("28P01"), Some(Next::Doctor)),
            ("rights are missing", server("42501"), Some(Next::Doctor)),
            ("not installed", server("42P01"), Some(Next::Install)),
            ("older schema", server("42703"), Some(Next::Install)),
            ("wrong database", database(Problem::NotReady("no file table".into())), Some(Next::Doctor)),
            ("paused", database(Problem::Paused), Some(Next::Status)),
            ("broker down", Next::after(&BrokerError::Blocked("memory".into())), Some(Next::Doctor)),
            ("queue missing", Next::after(&BrokerError::Topology("no queue".into())), Some(Next::Doctor)),
            ("storage down", storage(Kind::Connection), Some(Next::Doctor)),
            ("wrong bucket", storage(Kind::BucketMissing), Some(Next::Doctor)),
            ("wrong keys", storage(Kind::CredentialsInvalid), Some(Next::Doctor)),
            ("an outage", failure(Advice::Outage(Dependency::Storage)), Some(Next::Doctor)),
            ("held", failure(Advice::Hold), Some(Next::Status)),
            ("a hiccup", failure(Advice::Retry), None),
            ("somebody else's error", Next::after(&fmt::Error), None),
        ] {
            assert_eq!(next, expected, "{what}");
        }
        for (verdict, expected) in [
            (Verdict::Refused("never adopted".into()), Next::Adopt),
            (Verdict::RestoreAlone, Next::Adopt),
            (Verdict::Paused("why".into()), Next::Status),
            (Verdict::Unknown("not asked yet"), Next::Doctor),
            (Verdict::Foreign("another environment's".into()), Next::Doctor),
            (Verdict::Open(Uuid::nil()), Next::Status),
        ] {
            assert_eq!(Next::after_verdict(&verdict), expected);
        }
    }

    #[test]
    fn whatever_is_suggested_is_a_command() {
        let words = vec!["dlq".to_owned(), "list".to_owned()];
        for next in [
            Next::Doctor,
            Next::Sources,
            Next::Install,
            Next::Adopt,
            Next::Audit,
            Next::Status,
            Next::Run,
            Next::DeadLetters,
            Next::Explain(Uuid::nil().to_string()),
            Next::Retention,
        ] {
            let line = next.to_string();
            arguments::parses(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
        assert_eq!(Next::Help(words).to_string(), "file-recycler dlq list --help");
        assert!(Arguments::command().find_subcommand("dlq").is_some());
    }
}

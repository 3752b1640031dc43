//! Which rules can be carried out where; any other would quietly do nothing.

use hyper::StatusCode;

use crate::operation::Operation;
use crate::rule::{Action, Rule, When};

/// Why a rule cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfit(String);

impl std::fmt::Display for Unfit {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for Unfit {}

/// Where rules are carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Server,
    Proxy {
        /// Whether it can sign a request that it had to change.
        signs: bool,
    },
}

impl Place {
    pub(crate) fn takes(self, rule: &Rule) -> Result<(), Unfit> {
        let only = |operation: Operation| match rule.operation {
            Some(given) if given == operation => Ok(()),
            _ => Err(Unfit(format!("only a rule for {} can do this", operation.name()))),
        };
        match (&rule.action, self) {
            (Action::Status { status, .. }, _) => match StatusCode::from_u16(*status) {
                // One below 200 is no end of a request.
                Ok(status) if !status.is_informational() => Ok(()),
                _ => Err(Unfit(format!("{status} is no HTTP status of an answer"))),
            },
            (Action::Corrupt { .. }, Self::Proxy { .. }) => {
                Err(Unfit("a proxy cannot change what the server behind it copies".to_owned()))
            }
            (Action::Corrupt { .. }, Self::Server) => only(Operation::CopyObject),
            (Action::KeyError { when: When::Before, .. }, Self::Proxy { signs: false })
                if rule.key.is_some() =>
            {
                Err(Unfit(
                    "a proxy without credentials cannot sign a DeleteObjects from which it took a key"
                        .to_owned(),
                ))
            }
            (Action::KeyError { .. }, _) => only(Operation::DeleteObjects),
            _ => Ok(()),
        }
    }
}

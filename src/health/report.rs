//! The states as `/readyz` shows them: its JSON is a contract.

use serde::Serialize;
use time::OffsetDateTime;

use crate::metrics::ListenerWord;
use crate::outcome::Dependency;

/// One state as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct State {
    /// Is it well?
    pub ok: bool,
    /// Since when it is, or is not.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// What is wrong; nothing where all is well.
    pub message: Option<String>,
}

/// The listener's state as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListenerReport {
    /// `installed`, `drift`, `silent`, `failing`, `not_installed`, `not_here` or `unknown`.
    pub state: ListenerWord,
    /// The rest, as everywhere.
    #[serde(flatten)]
    pub is: State,
}

/// An operator's pause as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Paused {
    /// The operator's reason.
    pub why: String,
    /// Since when we know.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
}

/// The dependencies by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Dependencies {
    /// PostgreSQL.
    pub database: State,
    /// RabbitMQ.
    pub broker: State,
    /// The S3 server.
    pub storage: State,
}

/// Everything that `/readyz` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Does everything work?
    pub ready: bool,
    /// Does it work, with something that an operator should put right?
    pub degraded: bool,
    /// Each dependency.
    pub dependencies: Dependencies,
    /// The triggers.
    pub listener: ListenerReport,
    /// The guard.
    pub guard: State,
    /// Exchange, queues and bindings.
    pub topology: State,
    /// An operator's pause.
    pub paused: Option<Paused>,
}

impl Report {
    /// What keeps it from being ready, in a line; nothing where it is.
    pub fn why(&self) -> Option<String> {
        let dependencies = Dependency::ALL.iter().map(|name| (name.as_str(), self.dependencies.of(*name)));
        let others = [("guard", &self.guard), ("topology", &self.topology), ("listener", &self.listener.is)];
        let not_well = dependencies.chain(others).filter(|(_, state)| !state.ok);
        let told =
            not_well.map(|(name, state)| format!("{name}: {}", state.message.as_deref().unwrap_or("-")));
        let told: Vec<_> = told.collect();
        (!told.is_empty()).then(|| told.join("; "))
    }
}

impl Dependencies {
    /// The state of one.
    pub fn of(&self, name: Dependency) -> &State {
        match name {
            Dependency::Database => &self.database,
            Dependency::Broker => &self.broker,
            Dependency::Storage => &self.storage,
        }
    }

    pub(super) fn of_mut(&mut self, name: Dependency) -> &mut State {
        match name {
            Dependency::Database => &mut self.database,
            Dependency::Broker => &mut self.broker,
            Dependency::Storage => &mut self.storage,
        }
    }
}

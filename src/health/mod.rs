//! What `/readyz` says: the state of every dependency, of the guard, the topology and the listener.
//!
//! Everybody writes here; each change is logged once, here. Not ready is: a dependency that is down or was
//! never asked, a broker that blocks publishing, a guard or a topology that refuses, a listener that is not
//! installed where this process runs it, deletions that could not be captured and that no operator has taken
//! note of. Triggers that drifted, or that nothing is heard of, leave it ready but degraded. An operator's
//! pause is shown and changes nothing else: it is what the operator wants, and no fault to be alarmed about.

mod report;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use time::OffsetDateTime;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::clock::Clock;
use crate::metrics::{ListenerWord, Looks, Metrics};
use crate::outcome::Dependency;

pub use report::{Dependencies, ListenerReport, Paused, Report, State};

/// What the message of a state says before its first check.
const NOT_CHECKED: &str = "not checked yet";
/// What the broker's message says while it takes no messages.
const BLOCKED: &str = "the broker blocks publishing: it is short of memory or disk";
/// Most characters of a message.
const MAX_MESSAGE_CHARS: usize = 500;

/// May anything move at all?
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GuardState {
    /// Not known yet: nothing may move.
    Unknown,
    /// Moves are allowed.
    Open,
    /// Moves are refused, for this reason.
    Refused(String),
}

/// The triggers of this process's listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenerState {
    /// Installed as this program would install them.
    Installed,
    /// Installed, but differently: what differs.
    Drift(String),
    /// Installed, but deletions could not be captured: how many, and what to do.
    Failing(String),
    /// Installed, but something is too quiet: what.
    Silent(String),
    /// Not installed: what to do.
    NotInstalled(String),
    /// This process runs no listener.
    NotOurs,
    /// Not checked yet.
    Unknown,
}

/// The shared state. A clone writes to the same one.
#[derive(Clone, Debug)]
pub struct Health(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    clock: Clock,
    metrics: Metrics,
    states: Mutex<States>,
    changes: watch::Sender<()>,
}

#[derive(Debug)]
struct States {
    dependencies: Dependencies,
    /// Is the broker blocking? It is up all the same: it answers.
    blocked: Option<OffsetDateTime>,
    listener: ListenerReport,
    guard: State,
    topology: State,
    paused: Option<Paused>,
    stale_nonce: Option<String>,
}

impl States {
    fn report(&self) -> Report {
        let mut dependencies = self.dependencies.clone();
        if let Some(since) = self.blocked.filter(|_| dependencies.broker.ok) {
            dependencies.broker = State { ok: false, since, message: Some(BLOCKED.to_owned()) };
        }
        let ready = Dependency::ALL.iter().all(|name| dependencies.of(*name).ok)
            && self.listener.is.ok
            && self.guard.ok
            && self.topology.ok;
        let mut guard = self.guard.clone();
        if guard.ok {
            guard.message.clone_from(&self.stale_nonce);
        }
        Report {
            ready,
            degraded: matches!(self.listener.state, ListenerWord::Drift | ListenerWord::Silent)
                || self.stale_nonce.is_some(),
            dependencies,
            listener: self.listener.clone(),
            guard,
            topology: self.topology.clone(),
            paused: self.paused.clone(),
        }
    }
}

impl Health {
    /// Nothing is well before it was checked. `metrics` gets `dependency_up` and `paused`, so that they
    /// never differ from what is reported here.
    pub fn new(clock: Clock, metrics: Metrics) -> Self {
        let state = State { ok: false, since: clock.now(), message: Some(NOT_CHECKED.to_owned()) };
        let states = States {
            dependencies: Dependencies {
                database: state.clone(),
                broker: state.clone(),
                storage: state.clone(),
            },
            blocked: None,
            listener: ListenerReport { state: ListenerWord::Unknown, is: state.clone() },
            guard: state.clone(),
            topology: state,
            paused: None,
            stale_nonce: None,
        };
        Self(Arc::new(Shared { clock, metrics, states: Mutex::new(states), changes: watch::Sender::new(()) }))
    }

    /// The dependency answers.
    pub fn up(&self, name: Dependency) {
        self.dependency(name, None);
    }

    /// The dependency does not answer; `message` says what was tried and what came back, without secrets.
    pub fn down(&self, name: Dependency, message: &str) {
        self.dependency(name, Some(message));
    }

    /// Did the dependency answer when it was last asked?
    pub fn is_up(&self, name: Dependency) -> bool {
        self.states().dependencies.of(name).ok
    }

    /// What the guard thinks.
    pub fn guard(&self, state: GuardState) {
        let message = match state {
            GuardState::Open => None,
            GuardState::Unknown => Some(NOT_CHECKED.to_owned()),
            GuardState::Refused(why) => Some(why),
        };
        self.set("guard", message.as_deref(), |states| &mut states.guard);
    }

    /// Is the topology as it must be?
    pub fn topology(&self, result: Result<(), String>) {
        self.set("topology", result.err().as_deref(), |states| &mut states.topology);
    }

    /// What the triggers are.
    pub fn listener(&self, state: ListenerState) {
        let (word, ok, message) = match state {
            ListenerState::Installed => (ListenerWord::Installed, true, None),
            ListenerState::Drift(what) => (ListenerWord::Drift, true, Some(what)),
            ListenerState::Failing(what) => (ListenerWord::Failing, false, Some(what)),
            ListenerState::Silent(what) => (ListenerWord::Silent, true, Some(what)),
            ListenerState::NotInstalled(what) => (ListenerWord::NotInstalled, false, Some(what)),
            ListenerState::NotOurs => (ListenerWord::NotHere, true, None),
            ListenerState::Unknown => (ListenerWord::Unknown, false, Some(NOT_CHECKED.to_owned())),
        };
        let message = message.map(|message| bounded(&message));
        let now = self.0.clock.now();
        let mut states = self.states();
        let listener = &mut states.listener;
        let changed = listener.state != word;
        let since = if changed { now } else { listener.is.since };
        *listener = ListenerReport { state: word, is: State { ok, since, message: message.clone() } };
        drop(states);
        if changed {
            self.0.changes.send_replace(());
            if let Some(message) = message {
                warn!(state = word.as_str(), message, "listener");
            } else {
                info!(state = word.as_str(), "listener");
            }
        }
    }

    /// Has an operator paused all work, and why?
    pub fn paused(&self, why: Option<String>) {
        let why = why.map(|why| bounded(&why));
        let now = self.0.clock.now();
        let mut states = self.states();
        if states.paused.as_ref().map(|paused| &paused.why) == why.as_ref() {
            return;
        }
        states.paused = why.clone().map(|why| Paused { why, since: now });
        self.0.metrics.paused(why.is_some());
        drop(states);
        if let Some(why) = why {
            warn!(why, "paused by an operator");
        } else {
            info!("no longer paused");
        }
    }

    /// Has nobody advanced the nonce for too long, and what does that mean?
    pub fn stale_nonce(&self, why: Option<String>) {
        let mut states = self.states();
        let changed = states.stale_nonce.is_some() != why.is_some();
        states.stale_nonce.clone_from(&why);
        drop(states);
        match why {
            Some(why) if changed => warn!("{why}"),
            None if changed => info!("the nonce is advanced again"),
            _ => {}
        }
    }

    /// Does the broker take no messages, for want of memory or disk?
    pub fn blocked(&self, blocked: bool) {
        let now = self.0.clock.now();
        let mut states = self.states();
        if states.blocked.is_some() == blocked {
            return;
        }
        states.blocked = blocked.then_some(now);
        drop(states);
        self.0.changes.send_replace(());
        if blocked {
            warn!("{BLOCKED}");
        } else {
            info!("the broker takes messages again");
        }
    }

    /// Hears when a state changes between well and not.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.0.changes.subscribe()
    }

    /// Everything, at one moment.
    pub fn report(&self) -> Report {
        self.states().report()
    }

    /// Says to the metrics what [`report`](Self::report) says, so that the two never differ. Called before they are read.
    pub fn tell_metrics(&self) {
        let states = self.states();
        let (report, nonce_stale) = (states.report(), states.stale_nonce.is_some());
        drop(states);
        for name in Dependency::ALL {
            // Also down for a broker that takes no messages, although it answers.
            self.0.metrics.dependency_up(*name, report.dependencies.of(*name).ok);
        }
        self.0.metrics.looks(Looks {
            ready: report.ready,
            degraded: report.degraded,
            nonce_stale,
            guard_open: report.guard.ok,
            topology_ok: report.topology.ok,
            listener: report.listener.state,
        });
    }

    fn dependency(&self, name: Dependency, message: Option<&str>) {
        self.0.metrics.dependency_up(name, message.is_none());
        self.set(name.as_str(), message, |states| states.dependencies.of_mut(name));
    }

    /// Sets one state, and logs it where it changed from well to not, or back. A message that changes
    /// while all is not well replaces the old one without a line: the trouble is the same.
    fn set(&self, name: &str, message: Option<&str>, of: impl FnOnce(&mut States) -> &mut State) {
        let ok = message.is_none();
        let message = message.map(bounded);
        let now = self.0.clock.now();
        let mut states = self.states();
        let state = of(&mut states);
        let first = state.message.as_deref() == Some(NOT_CHECKED) && message.as_deref() != Some(NOT_CHECKED);
        let changed = state.ok != ok || first;
        let since = if state.ok == ok { state.since } else { now };
        *state = State { ok, since, message: message.clone() };
        drop(states);
        if changed {
            self.0.changes.send_replace(());
            match message {
                // It is looked at again within a second, and then told.
                Some(message) if message == NOT_CHECKED => info!(name, message, "not well yet"),
                Some(message) => warn!(name, message, "not well"),
                None => info!(name, "well"),
            }
        }
    }

    /// A panic elsewhere while the lock was held leaves whole states: each is written at once.
    fn states(&self) -> MutexGuard<'_, States> {
        self.0.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bounded(message: &str) -> String {
    message.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_MESSAGE_CHARS).collect()
}

#[cfg(test)]
mod tests;

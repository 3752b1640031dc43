//! The rules in force, and the search for those that concern a request.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;

use crate::rule::{Action, Call, Rule, When};

/// A rule and what it has met so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The rule.
    pub rule: Rule,
    /// Matching requests, those let through included.
    pub seen: u64,
    /// Requests that the rule made go wrong.
    pub hits: u64,
}

/// How a request ends that a rule has met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    Status { status: u16, code: String },
    ErrorBody { code: String },
    Close,
    Stall,
}

/// An error to report for one key of DeleteObjects, or for every key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyFault {
    pub(crate) key: Option<String>,
    pub(crate) code: String,
    pub(crate) when: When,
}

/// Everything that the rules together do to one request.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) delay: Duration,
    pub(crate) keys: Vec<KeyFault>,
    pub(crate) ending: Option<(Ending, When)>,
}

/// The rules in force, in the order in which they were added.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    // Read on every request, so that a server without rules takes no lock.
    any: AtomicBool,
    rules: Mutex<Vec<Fault>>,
}

impl Faults {
    pub(crate) fn add(&self, rule: Rule) {
        self.lock().push(Fault { rule, seen: 0, hits: 0 });
        self.any.store(true, Ordering::Release);
    }

    pub(crate) fn clear(&self) {
        self.lock().clear();
        self.any.store(false, Ordering::Release);
    }

    pub(crate) fn read(&self) -> Vec<Fault> {
        self.lock().clone()
    }

    /// Asks the rules in turn. The first one that ends the request is the last one asked.
    pub(crate) fn judge(&self, call: &Call<'_>) -> Verdict {
        let mut verdict = Verdict::default();
        if !self.any.load(Ordering::Acquire) {
            return verdict;
        }
        for fault in self.lock().iter_mut().filter(|fault| fault.rule.concerns(call)) {
            fault.seen += 1;
            let spent = fault.rule.times != 0 && fault.hits >= fault.rule.times;
            if fault.seen <= fault.rule.skip || spent {
                continue;
            }
            fault.hits += 1;
            verdict.apply(&fault.rule);
            if verdict.ending.is_some() {
                break;
            }
        }
        verdict
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Fault>> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Verdict {
    fn apply(&mut self, rule: &Rule) {
        let end = |ending, when| Some((ending, when));
        match rule.action.clone() {
            Action::Delay { milliseconds } => self.delay += Duration::from_millis(milliseconds),
            Action::KeyError { code, when } => {
                self.keys.push(KeyFault { key: rule.key.clone(), code, when });
            }
            Action::Status { status, code, when } => {
                self.ending = end(Ending::Status { status, code }, when);
            }
            Action::ErrorBody { code, when } => self.ending = end(Ending::ErrorBody { code }, when),
            Action::Close { when } => self.ending = end(Ending::Close, when),
            Action::Stall { when } => self.ending = end(Ending::Stall, when),
        }
    }
}

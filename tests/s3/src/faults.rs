//! The rules in force, and the search for those that concern a request.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;

use crate::partial::Then;
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
    Body { bytes: u64, then: Then },
    Close,
    Stall,
}

impl Ending {
    /// Whether the client is answered, if not honestly.
    pub(crate) fn answers(&self) -> bool {
        matches!(self, Self::Status { .. } | Self::ErrorBody { .. })
    }

    /// Whether it comes in place of the honest answer.
    pub(crate) fn is_instead(&self) -> bool {
        !matches!(self, Self::Body { .. })
    }
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
    pub(crate) holds: Vec<When>,
    pub(crate) keys: Vec<KeyFault>,
    /// What a copy stores in place of its source's content.
    pub(crate) content: Option<String>,
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

    /// Whether there are rules at all.
    pub(crate) fn any(&self) -> bool {
        self.any.load(Ordering::Acquire)
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
        if !self.any() {
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
            Action::StallBody { bytes } => {
                self.ending = end(Ending::Body { bytes, then: Then::Silence }, When::After);
            }
            Action::CutBody { bytes } => {
                self.ending = end(Ending::Body { bytes, then: Then::Cut }, When::After);
            }
            Action::Hold { when } => self.holds.push(when),
            Action::Corrupt { content } => self.content = Some(content),
            Action::Close { when } => self.ending = end(Ending::Close, when),
            Action::Stall { when } => self.ending = end(Ending::Stall, when),
        }
    }
}

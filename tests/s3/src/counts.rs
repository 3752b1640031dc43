//! What was asked and how it was answered, so that a test can count requests.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use s3s::{HttpResponse, StdError};
use serde::Serialize;

use crate::operation::Operation;

/// How often each operation was asked for, and with what each was answered.
///
/// A request counts as soon as its operation is known, its answer when it has been given, so a
/// stalled request has the one and not the other. An answer that a rule cuts off on its way counts
/// with its status.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Requests per operation.
    pub requests: BTreeMap<Operation, u64>,
    /// Answers per operation and HTTP status; `closed` when the connection was dropped instead.
    pub answers: BTreeMap<Operation, BTreeMap<String, u64>>,
}

impl Counts {
    /// The number of requests for one operation.
    pub fn of(&self, operation: Operation) -> u64 {
        self.requests.get(&operation).copied().unwrap_or(0)
    }

    /// The number of answers to one operation with one status.
    pub fn answered(&self, operation: Operation, status: u16) -> u64 {
        let answers = self.answers.get(&operation);
        answers.and_then(|by| by.get(&status.to_string())).copied().unwrap_or(0)
    }

    /// The number of all requests.
    pub fn total(&self) -> u64 {
        self.requests.values().sum()
    }
}

/// The end of a request, as far as counting goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Answer {
    Status(u16),
    Closed,
}

impl Answer {
    /// How a request ended; an error is a closed connection.
    pub(crate) fn of(ended: &Result<HttpResponse, StdError>) -> Self {
        ended.as_ref().map_or(Self::Closed, |it| Self::Status(it.status().as_u16()))
    }
}

#[derive(Debug, Default)]
struct Tally {
    requests: BTreeMap<Operation, u64>,
    answers: BTreeMap<(Operation, Answer), u64>,
}

/// The running counters; one short-held lock, since each request touches it twice.
#[derive(Debug, Default)]
pub(crate) struct Counters(Mutex<Tally>);

impl Counters {
    pub(crate) fn asked(&self, operation: Operation) {
        *self.lock().requests.entry(operation).or_default() += 1;
    }

    pub(crate) fn answered(&self, operation: Operation, answer: Answer) {
        *self.lock().answers.entry((operation, answer)).or_default() += 1;
    }

    pub(crate) fn reset(&self) {
        *self.lock() = Tally::default();
    }

    pub(crate) fn read(&self) -> Counts {
        let tally = self.lock();
        let mut counts = Counts { requests: tally.requests.clone(), ..Counts::default() };
        for (&(operation, answer), &number) in &tally.answers {
            let label = match answer {
                Answer::Status(status) => status.to_string(),
                Answer::Closed => "closed".to_owned(),
            };
            counts.answers.entry(operation).or_default().insert(label, number);
        }
        counts
    }

    fn lock(&self) -> MutexGuard<'_, Tally> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

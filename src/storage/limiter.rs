//! Lets requests to the storage wait for their turn, first come first served, so that no more are in flight
//! than the server takes with profit.
//!
//! `control` chooses the limit, `window` measures what it brought; here is the waiting.

mod control;
mod window;

#[cfg(test)]
mod tests;

use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Semaphore;

use self::control::Control;
use super::{Kind, StorageError};
use crate::retry::Stopwatch;

/// How many ordinary requests an urgent one may find before it.
const ROW: usize = 8;

/// May a request wait behind all that were there before?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Urgency {
    /// It may.
    Ordinary,
    /// It may not: it rests on something that was looked at a moment ago.
    Urgent,
}

/// What the end of a request says about the pace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The server worked on it, whatever the answer.
    Answered,
    /// The server asked for a slower pace, or did not answer in time.
    Overloaded,
    /// Nothing: it never came to the server.
    Ignored,
}

impl Ended {
    pub(super) fn of<T>(result: &Result<T, StorageError>) -> Self {
        match result.as_ref().map_err(|error| error.kind) {
            Err(Kind::SlowDown | Kind::Timeout) => Self::Overloaded,
            Err(Kind::Connection | Kind::Settings) => Self::Ignored,
            Ok(_)
            | Err(
                Kind::NotFound
                | Kind::BucketMissing
                | Kind::PreconditionFailed
                | Kind::ConcurrentRequest
                | Kind::AccessDenied
                | Kind::CredentialsInvalid
                | Kind::ClockSkew
                | Kind::WrongRegion
                | Kind::ServerError
                | Kind::Archived
                | Kind::Locked
                | Kind::NotImplemented
                | Kind::KeyRefused
                | Kind::BadRequest
                | Kind::BadAnswer
                | Kind::SameBucket,
            ) => Self::Answered,
        }
    }
}

/// The bound on requests in flight, for all that share a client.
pub(super) struct Limiter {
    /// Gives out the places, in the order in which they were asked for. It is never closed.
    places: Semaphore,
    /// Only so many stand in that row; all others wait before it. So what is urgent waits for few.
    row: Semaphore,
    state: Mutex<State>,
    stopwatch: Stopwatch,
}

struct State {
    control: Control,
    /// Places that there are, taken or free. After a decrease they are more than the limit, until requests end.
    places: usize,
    in_flight: usize,
    waiting: usize,
}

impl Limiter {
    /// At most `max` requests in flight, and at least one.
    pub(super) fn new(max: usize, stopwatch: Stopwatch) -> Self {
        let control = Control::new(max);
        let places = control.limit();
        let state = State { control, places, in_flight: 0, waiting: 0 };
        Self { places: Semaphore::new(places), row: Semaphore::new(ROW), state: Mutex::new(state), stopwatch }
    }

    /// Waits for a place. Dropped before its end, it has waited for nothing and taken nothing.
    pub(super) async fn acquire(&self, urgency: Urgency) -> Permit<'_> {
        let waiting = Waiting::new(self);
        // The semaphore is never closed, and whoever has his place leaves the row.
        let _in_row = match urgency {
            Urgency::Ordinary => self.row.acquire().await.ok(),
            Urgency::Urgent => None,
        };
        if let Ok(place) = self.places.acquire().await {
            // From here on the place is the permit's, which decides whether it comes back.
            place.forget();
        }
        waiting.end();
        Permit { limiter: self, started: self.stopwatch.now(), ended: None }
    }

    /// A request that was answered told of overload all the same, for single keys.
    pub(super) fn overloaded(&self, started: Instant) {
        let mut state = self.state();
        let wanted = state.in_flight + state.waiting;
        state.control.ended(self.stopwatch.now(), started, Ended::Overloaded, wanted);
    }

    /// How many requests may be in flight now.
    pub(super) fn limit(&self) -> usize {
        self.state().control.limit()
    }

    /// How many are.
    pub(super) fn in_flight(&self) -> usize {
        self.state().in_flight
    }

    fn give_back(&self, started: Instant, ended: Option<Ended>) {
        let mut state = self.state();
        let before = state.control.limit();
        if let Some(ended) = ended {
            let wanted = state.in_flight + state.waiting;
            state.control.ended(self.stopwatch.now(), started, ended, wanted);
        }
        let limit = state.control.limit();
        state.in_flight -= 1;
        // The request's own place is gone with it; what is missing is made, what is too much and free goes.
        state.places -= 1;
        if state.places < limit {
            self.places.add_permits(limit - state.places);
            state.places = limit;
        } else {
            state.places -= self.places.forget_permits(state.places - limit);
        }
        let in_flight = state.in_flight;
        drop(state);
        if ended == Some(Ended::Overloaded) && limit < before {
            tracing::debug!(before, limit, in_flight, "the storage is overloaded: fewer requests at once");
        }
    }

    /// A panic elsewhere leaves whole numbers here: every change is one of a few additions.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of those that wait, counted as such until its turn comes or it is dropped.
struct Waiting<'a>(&'a Limiter);

impl<'a> Waiting<'a> {
    fn new(limiter: &'a Limiter) -> Self {
        limiter.state().waiting += 1;
        Self(limiter)
    }

    /// In flight from now on: at no time counted as both or as neither.
    fn end(self) {
        let mut state = self.0.state();
        state.waiting -= 1;
        state.in_flight += 1;
        mem::forget(self);
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.state().waiting -= 1;
    }
}

/// A place among the requests in flight. Dropped without a verdict it gives the place back and says nothing.
#[must_use]
pub(super) struct Permit<'a> {
    limiter: &'a Limiter,
    started: Instant,
    ended: Option<Ended>,
}

impl Permit<'_> {
    /// The request has ended.
    pub(super) fn end(mut self, ended: Ended) {
        self.ended = Some(ended);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.limiter.give_back(self.started, self.ended);
    }
}

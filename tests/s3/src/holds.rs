//! Requests held until a test lets them go, so that it can act in the gap.

use std::io;

use s3s::StdError;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Requests let go together share a round.
#[derive(Debug, Clone, Copy, Default)]
struct State {
    round: u64,
    held: usize,
}

/// The requests that are held.
#[derive(Debug, Default)]
pub(crate) struct Holds(watch::Sender<State>);

/// One held request; its client may go before it is let go.
struct Held<'a> {
    holds: &'a Holds,
    round: u64,
}

impl Holds {
    /// Returns when the request is let go; an error if the server stops first.
    pub(crate) async fn hold(&self, stop: &CancellationToken) -> Result<(), StdError> {
        let mut states = self.0.subscribe();
        let mut round = 0;
        self.0.send_modify(|state| {
            state.held += 1;
            round = state.round;
        });
        let _held = Held { holds: self, round };
        tokio::select! {
            // The sender is borrowed, so it cannot be gone.
            _ = states.wait_for(|state| state.round != round) => Ok(()),
            () = stop.cancelled() => Err(io::Error::other("held by a rule until the server stopped").into()),
        }
    }

    /// Lets go what is held now; what comes later is held anew.
    pub(crate) fn release(&self) {
        self.0.send_modify(|state| *state = State { round: state.round + 1, held: 0 });
    }

    pub(crate) fn number(&self) -> usize {
        self.0.borrow().held
    }

    /// Returns when at least one is held, at once if one is.
    pub(crate) async fn any(&self) {
        let _ = self.0.subscribe().wait_for(|state| state.held > 0).await;
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.holds.0.send_if_modified(|state| {
            let still = state.round == self.round;
            if still {
                state.held -= 1;
            }
            still
        });
    }
}

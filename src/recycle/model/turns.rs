//! Turns: every moment at which a worker meets the world waits here until it is let go.

use std::future::pending;

use tokio::sync::oneshot;

use super::world::Port;
use crate::storage::Kind;

/// How a request goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It never arrives.
    LostBefore,
    /// Its answer never arrives.
    LostAfter,
    /// 503.
    SlowDown,
    /// 412 out of the blue.
    Unmet,
    /// 409: somebody else's request was under way.
    Concurrent,
    /// 500, or one key's error among many.
    Broken,
    /// 403 for this one key.
    Denied,
}

impl Fault {
    /// What the storage calls it.
    pub(super) fn kind(self) -> Kind {
        match self {
            Self::LostBefore => Kind::Connection,
            Self::LostAfter => Kind::Timeout,
            Self::SlowDown => Kind::SlowDown,
            Self::Unmet => Kind::PreconditionFailed,
            Self::Concurrent => Kind::ConcurrentRequest,
            Self::Broken => Kind::ServerError,
            Self::Denied => Kind::AccessDenied,
        }
    }

    /// What the storage calls it where the buckets themselves were asked for.
    pub(super) fn bucket_kind(self) -> Kind {
        match self {
            Self::SlowDown => Kind::SlowDown,
            _ => Kind::Connection,
        }
    }

    /// Is it one key's own, in a request for many?
    pub(super) fn of_one_key(self) -> bool {
        match self {
            Self::Unmet | Self::Concurrent | Self::Broken | Self::Denied => true,
            Self::LostBefore | Self::LostAfter | Self::SlowDown => false,
        }
    }

    /// Can a request that has no condition meet it?
    pub(super) fn without_condition(self) -> bool {
        !matches!(self, Self::Unmet | Self::Concurrent)
    }
}

/// A request that waits for its turn.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) process: usize,
    pub(super) what: String,
    go: oneshot::Sender<Option<Fault>>,
}

impl Waiting {
    /// Lets it go on, with or without a fault.
    pub(super) fn go(self, fault: Option<Fault>) {
        // A request whose worker is gone is nobody's any more.
        let _ = self.go.send(fault);
    }
}

impl Port {
    /// Waits for the turn. In a process that has died it never comes.
    pub(super) async fn turn(&self, what: String) -> Option<Fault> {
        let turn = {
            let mut state = self.state();
            if state.died.contains(&self.process) {
                None
            } else {
                let (go, turn) = oneshot::channel();
                state.waiting.push(Waiting { process: self.process, what, go });
                Some(turn)
            }
        };
        match turn {
            Some(turn) => match turn.await {
                Ok(fault) => fault,
                Err(_) => pending().await,
            },
            None => pending().await,
        }
    }
}

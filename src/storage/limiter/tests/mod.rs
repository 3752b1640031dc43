//! Tests of the limiter: the choice of the limit against simulated servers in virtual time, and the waiting.

mod choosing;
mod simulation;
mod waiting;

use super::Ended;
use crate::storage::error::Asked;
use crate::storage::{Kind, Operation, Side, StorageError};

#[test]
fn only_a_server_that_asks_for_it_or_does_not_answer_slows_the_pace() {
    let asked = Asked { operation: Operation::CopyObject, side: Side::Recycle, key: Some("k") };
    for (kind, expected) in [
        (Kind::SlowDown, Ended::Overloaded),
        (Kind::Timeout, Ended::Overloaded),
        (Kind::Connection, Ended::Ignored),
        (Kind::NotFound, Ended::Answered),
        (Kind::ServerError, Ended::Answered),
    ] {
        assert_eq!(Ended::of::<()>(&Err(StorageError::new(asked, kind, ""))), expected, "{kind}");
    }
    assert_eq!(Ended::of(&Ok(())), Ended::Answered);
}

//! The relay: what the triggers captured becomes events, and leaves the outbox when the broker has them.

mod compose;
mod pace;
mod relay;

pub use compose::{Composed, compose};
pub use relay::{Gate, Observer, Relay, Relayed, Turn};

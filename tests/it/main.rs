//! Tests against real servers; the addresses come from the environment.

mod broker_deliveries;
mod broker_publishing;
mod broker_topology;
#[cfg(feature = "failpoints")]
mod relay_crash;
mod relay_outbox;
mod support;

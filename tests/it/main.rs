//! Tests against real servers; the addresses come from the environment.

mod broker_deliveries;
mod broker_publishing;
mod broker_topology;
mod support;

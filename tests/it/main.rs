//! Tests against real servers: PostgreSQL, RabbitMQ, and S3 servers that others wrote as well as our own.

#[cfg(feature = "failpoints")]
mod move_crash;
mod move_decides;
mod move_keys;
mod move_outage;
mod move_probe;
mod move_race;
mod support;

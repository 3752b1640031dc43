//! Tests against real servers: PostgreSQL, RabbitMQ, and S3 servers that others wrote as well as our own.

mod alerts;
mod audit;
mod beside;
mod book;
mod broker_deliveries;
mod broker_faults;
mod broker_faults_names;
mod broker_faults_node;
mod broker_faults_run;
mod broker_publishing;
mod broker_topology;
mod comfort;
mod conformance;
#[cfg(feature = "failpoints")]
mod crash_loop;
#[cfg(feature = "failpoints")]
mod crash_windows;
mod db_alive;
mod db_capture;
mod db_dangling;
mod db_environment;
mod db_outbox;
mod dlq_guard;
mod dlq_look;
#[cfg(feature = "failpoints")]
mod dlq_replay;
mod doctor;
mod drill;
mod erase;
mod events_profile;
mod explain;
mod fairness;
mod fuzz;
mod guide;
mod hostile;
mod intake;
mod logs;
mod mapping;
mod mapping_database;
mod mapping_events;
mod mapping_rows;
mod migrate;
#[cfg(feature = "failpoints")]
mod move_crash;
mod move_decides;
mod move_faults;
mod move_keys;
mod move_outage;
mod move_parts;
mod move_probe;
mod move_race;
#[cfg(feature = "failpoints")]
mod mutants;
mod nonce;
mod outage;
mod outage_database;
mod packages;
mod pause;
#[cfg(feature = "failpoints")]
mod relay_crash;
mod relay_outbox;
mod relay_size;
mod restore;
mod retention;
mod rights;
mod scale_out;
mod schemas;
mod secrets;
mod silence;
mod spine_bulk;
mod spine_configuration;
#[cfg(feature = "failpoints")]
mod spine_crash;
mod spine_dead_letters;
mod spine_links;
mod spine_service;
mod status;
mod support;
mod template;
mod tidy;
mod tls;
mod triggers;
mod upgrade;

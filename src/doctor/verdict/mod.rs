//! What each answer means, and what to do: pure functions.

mod broker;
mod buckets;
mod capture;
mod clock;
mod contents;
mod database;
mod environment;
mod setup;
mod storage;
#[cfg(test)]
mod tests;

pub(super) use broker::{
    Depths, broker_alarm, broker_away, broker_connection, broker_error, broker_policies, broker_rights,
    broker_rights_blocked, broker_topology, dead_letters, queues,
};
pub(super) use buckets::{
    Versions, archive_classes, encryption, object_lock, retention, retention_unknown, retention_unset,
    versioning,
};
pub(super) use capture::{capture_failures, outbox, processes, silence, triggers};
pub(super) use clock::{Skew, clock_refused, clocks};
pub(super) use contents::file_contents;
pub(super) use database::{
    database_away, database_connection, database_rights, database_role, own_schema, primary,
};
pub(super) use environment::{environment, key_template, not_compared, pause};
pub(super) use setup::{
    Powers, configuration, credentials, crm_profile, crm_settings, events_profile, no_crm, transport,
    unusable,
};
pub(super) use storage::{storage_away, storage_capabilities, storage_rights};

use super::check::{Finding, Name};

/// Of a check that took too long.
pub(super) fn no_answer(name: Name) -> Finding {
    Finding::fail(
        format!("{} did not answer within {} s", name.asks(), name.patience().as_secs()),
        "look whether the server is up, and what lies between it and this machine",
    )
}

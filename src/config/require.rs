//! What a command cannot do without.

use super::error::{ConfigErrors, Problem};
use super::{Config, keys};

/// The servers that a command works on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// `database.url`
    pub database: bool,
    /// `broker.url`
    pub broker: bool,
    /// Both buckets; the rest of the storage has defaults.
    pub storage: bool,
}

impl Needs {
    /// Everything, as `run` does.
    pub const ALL: Self = Self { database: true, broker: true, storage: true };
    /// Nothing yet: to be built on.
    pub const NONE: Self = Self { database: false, broker: false, storage: false };
    /// The database alone.
    pub const DATABASE: Self = Self { database: true, ..Self::NONE };
    /// The broker alone.
    pub const BROKER: Self = Self { broker: true, ..Self::NONE };
}

impl Config {
    /// Are the addresses there that a command needs? The error names every missing one and says how to
    /// give it.
    pub fn require(&self, needs: Needs) -> Result<(), ConfigErrors> {
        let buckets = self.storage.buckets.is_none() && needs.storage;
        let missing = [
            ("database.url", "db", self.database.url.is_none() && needs.database),
            ("broker.url", "messageBroker", self.broker.url.is_none() && needs.broker),
            ("storage.object_bucket_name", "s3Connection", buckets),
            ("storage.recycle_bucket_name", "s3Connection", buckets),
        ];
        let problems: Vec<Problem> = missing
            .into_iter()
            .filter(|(_, _, missing)| *missing)
            .map(|(key, string, _)| {
                let variable = keys::find(key).map(keys::Key::variable).unwrap_or_default();
                Problem::of(
                    key,
                    format!(
                        "is not set: give it as {variable}, as {key} in the configuration file, \
                         or by {string} in the CRM's ConnectionStrings.config"
                    ),
                )
            })
            .collect();
        if problems.is_empty() { Ok(()) } else { Err(ConfigErrors(problems)) }
    }
}

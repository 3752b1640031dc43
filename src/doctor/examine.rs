//! All checks at once: the servers are reached first, then everything else is asked side by side.

use futures_util::future::join_all;
use tokio::sync::OnceCell;

use super::ask::Judged;
use super::check::{Check, Finding, Name, Report};
use super::reach::{self, Database, Queues, Reached};
use super::verdict;
use crate::broker::{BrokerError, Examined};
use crate::clock::Clock;
use crate::config::{Config, Setting};
use crate::storage::{Lifecycle, Storage, StorageError, Tried};

/// Asks and judges. It changes nothing but its own probe objects in the buckets.
pub struct Doctor<'a> {
    config: &'a Config,
    settings: &'a [Setting],
    clock: Clock,
}

/// What the checks work with, once the servers were reached.
pub(super) struct Examination<'a> {
    pub(super) config: &'a Config,
    pub(super) settings: &'a [Setting],
    pub(super) clock: Clock,
    pub(super) database: Reached<Database>,
    pub(super) broker: Reached<Queues>,
    pub(super) storage: Reached<Storage>,
    /// What more than one check needs is asked once.
    pub(super) tried: OnceCell<Result<Tried, StorageError>>,
    pub(super) lifecycle: OnceCell<Result<Lifecycle, StorageError>>,
    pub(super) examined: OnceCell<Result<Vec<Examined>, BrokerError>>,
    pub(super) broker_rights: OnceCell<Result<Vec<String>, BrokerError>>,
}

impl<'a> Doctor<'a> {
    /// Nothing is asked yet. `settings` say where each value of `config` came from.
    pub fn new(config: &'a Config, settings: &'a [Setting], clock: Clock) -> Self {
        Self { config, settings, clock }
    }

    /// Every check, each within its own time.
    pub async fn examine(self) -> Report {
        let Self { config, settings, clock } = self;
        let (database, broker, storage) = tokio::join!(
            reached(Name::DatabaseConnection, reach::database(config, &clock)),
            reached(Name::BrokerConnection, reach::broker(config)),
            reached(Name::StorageConnection, reach::storage(config)),
        );
        let examination = Examination {
            config,
            settings,
            clock,
            database,
            broker,
            storage,
            tried: OnceCell::new(),
            lifecycle: OnceCell::new(),
            examined: OnceCell::new(),
            broker_rights: OnceCell::new(),
        };
        let checks = Name::ALL.iter().map(|name| examination.check(*name));
        let report = Report::new(join_all(checks).await);
        if let Ok(queues) = examination.broker.server {
            queues.session.close().await;
        }
        report
    }
}

async fn reached<T>(name: Name, reaching: impl Future<Output = Reached<T>>) -> Reached<T> {
    tokio::time::timeout(name.patience(), reaching).await.unwrap_or_else(|_| Reached::silent(name))
}

impl Examination<'_> {
    async fn check(&self, name: Name) -> Check {
        let asked = tokio::time::timeout(name.patience(), self.ask(name)).await;
        Check::new(name, asked.map_or_else(|_| verdict::no_answer(name), either))
    }
}

fn either(judged: Judged) -> Finding {
    judged.unwrap_or_else(|finding| finding)
}

/// Of a configuration that cannot be used: it is the one thing to put right, and nothing else could be looked at.
pub fn misconfigured(problems: &str) -> Report {
    let check = |name: Name| match name {
        Name::Configuration => verdict::unusable(problems),
        _ => Finding::unchecked("the configuration cannot be used", Name::Configuration),
    };
    Report::new(Name::ALL.iter().map(|name| Check::new(*name, check(*name))).collect())
}

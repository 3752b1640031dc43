//! `run`, `listen`, `work`: the service, or one of its halves, until it is told to stop.

use super::output::{Failed, Finding};
use crate::config::{Config, Needs};
use crate::service::{self, Halves};

pub(super) async fn run(config: Config, halves: Halves) -> Result<Finding, Failed> {
    config.require(Needs::ALL).map_err(Failed::configuration)?;
    service::run(config, halves).await?;
    Ok(Finding::Healthy)
}

//! `listener install`, `uninstall`, `status`: triggers and own schema.

use serde_json::json;

use super::arguments::Listener;
use super::output::{Failed, Finding, operator, print};
use super::parts;
use crate::config::{Config, Needs};
use crate::db::triggers;

pub(super) async fn run(config: &Config, command: Listener, json: bool) -> Result<Finding, Failed> {
    config.require(Needs::DATABASE).map_err(Failed::usage)?;
    match command {
        Listener::Install { dry_run: true } => {
            let sql = triggers::install_sql(&parts::database(config)?, config).await?;
            print_sql(json, &sql)
        }
        Listener::Install { dry_run: false } => install(config, json).await,
        Listener::Uninstall { dry_run: true, purge } => {
            let sql = triggers::uninstall_sql(&parts::database(config)?, config, purge).await?;
            print_sql(json, &sql)
        }
        Listener::Uninstall { dry_run: false, purge } => uninstall(config, purge, json).await,
        Listener::Status => status(config, json).await,
    }
}

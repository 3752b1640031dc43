//! `pause` and `resume`: stops everything of this environment, durably, and lets it go on.

use serde_json::json;

use super::output::{Failed, Finding, operator, print};
use super::parts;
use crate::config::{Config, Needs};

/// How soon every worker and relay has seen a pause, in words.
const SEEN_WITHIN: &str = "every worker and relay sees it within a second or two";

pub(super) async fn pause(config: &Config, why: &str, json: bool) -> Result<Finding, Failed> {
    config.require(Needs::DATABASE).map_err(Failed::configuration)?;
    if why.trim().is_empty() {
        return Err(Failed::usage("--why needs a reason: it is shown to everybody who asks"));
    }
    parts::database(config)?.pause(why, &operator()).await?;
    print(json, &json!({ "paused": true, "why": why }), || format!("Paused: {why}\n{SEEN_WITHIN}."))?;
    Ok(Finding::Healthy)
}

pub(super) async fn resume(config: &Config, json: bool) -> Result<Finding, Failed> {
    config.require(Needs::DATABASE).map_err(Failed::configuration)?;
    let was_paused = parts::database(config)?.resume(&operator()).await?;
    print(json, &json!({ "paused": false, "was_paused": was_paused }), || {
        let text = if was_paused { "Resumed" } else { "It was not paused" };
        format!("{text}; {SEEN_WITHIN}.")
    })?;
    Ok(Finding::Healthy)
}

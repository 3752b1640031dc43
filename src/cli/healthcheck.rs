//! `healthcheck`: is the process that serves on `http.listen` alive?

use std::time::Duration;

use serde_json::json;

use super::output::{Failed, Finding, print};
use crate::config::Config;
use crate::http;

/// Below the 5 s that a container's health check is commonly given.
const PATIENCE: Duration = Duration::from_secs(3);

pub(super) async fn run(config: &Config, json: bool) -> Result<Finding, Failed> {
    let Some(listen) = config.http.listen else {
        return Err(Failed::usage("http.listen is empty: a process without it cannot be asked"));
    };
    let told = http::alive(listen, PATIENCE).await;
    let (alive, message) = match &told {
        Ok(()) => (true, "alive"),
        Err(message) => (false, message.as_str()),
    };
    print(json, &json!({ "alive": alive, "message": message }), || message.to_owned())?;
    Ok(Finding::healthy_if(alive))
}

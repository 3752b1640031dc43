//! `status --watch`: one look after another, until somebody ends it.

use std::time::Duration;

use console::Term;

use super::words::text;
use super::{Status, look};
use crate::cli::output::{Failed, Finding, write};
use crate::cli::paint::Paint;
use crate::cli::parts;
use crate::config::Config;

/// Looks every so often; a look that takes longer makes the next one later. Ended by a signal it is done and healthy.
pub(super) async fn watch(config: &Config, every: Duration, json: bool) -> Result<Finding, Failed> {
    let stop = parts::listening(config)?;
    let mut turns = tokio::time::interval(every);
    turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let looked = async {
            turns.tick().await;
            look(config).await
        };
        let status = tokio::select! {
            looked = looked => looked?,
            () = stop.requested() => return Ok(Finding::Healthy),
        };
        if !show(&status, json)? {
            return Ok(Finding::Healthy);
        }
    }
}

/// Shows one look; `false` where nobody reads any more.
fn show(status: &Status, json: bool) -> Result<bool, Failed> {
    if json {
        return write(&serde_json::to_string(status)?);
    }
    let screen = text(status, Paint::of_stdout());
    let terminal = Term::stdout();
    if terminal.is_term() {
        terminal.clear_screen()?;
        return write(&screen);
    }
    write(&format!("{screen}\n"))
}

//! Tells the database how this process is, so that `status` sees it from anywhere: also what only its work has met,
//! such as a storage that answers everything but files.

use std::time::Duration;

use tracing::debug;

use super::{Halves, Parts, worker_name};
use crate::db::process::Process;
use crate::stop::Stop;

/// How often a process tells of itself where nothing changes; `status` takes a longer silence for its end.
const TELLS_EVERY: Duration = Duration::from_secs(2);
/// How often it tries where the schema does not have the place for it.
const TELLS_AGAIN: Duration = Duration::from_mins(1);
/// How long the last word may take.
const LAST_WORD: Duration = Duration::from_secs(2);

impl Parts {
    /// Tells at once what changes, until the stop. A database that cannot be told is its monitor's business.
    pub(super) async fn tell_of_itself(self, stop: Stop) {
        let name = worker_name();
        let mut changes = self.health.changes();
        while !stop.is_requested() {
            changes.mark_unchanged();
            let report = self.health.report();
            let process = Process {
                name: name.clone(),
                halves: halves(self.halves).to_owned(),
                ready: report.ready,
                why: report.why(),
            };
            let mut pause = TELLS_EVERY;
            if let Err(error) = self.db.tell_process(&process).await {
                debug!(%error, "the database could not be told how this process is");
                // A schema that is older than this program: no line in the server's log every other second.
                pause = if error.is_of_schema() { TELLS_AGAIN } else { pause };
            }
            tokio::select! {
                () = stop.requested() => {}
                _ = changes.changed() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        let forgotten = tokio::time::timeout(LAST_WORD, self.db.forget_process(&name)).await;
        debug!(?forgotten, "this process told that it ends");
    }
}

fn halves(halves: Halves) -> &'static str {
    match halves {
        Halves::Both => "run",
        Halves::Listener => "listen",
        Halves::Worker => "work",
    }
}

//! What is captured, what waits, and who works on it.

use std::time::Duration;

use crate::db::failures::capture_failures_told;
use crate::db::outbox::Backlog;
use crate::db::process::Process;
use crate::db::silence::Silent;
use crate::db::triggers::{CaptureState, CaptureStatus};
use crate::doctor::check::Finding;

pub(in crate::doctor) fn triggers(status: &CaptureStatus) -> Finding {
    const INSTALL: &str = "run `file-recycler listener install`";
    let told = |more: &[String]| {
        let all = format!("{} triggers are as they must be", status.expected);
        [&[all], more].concat().join("; ")
    };
    match status.state() {
        CaptureState::NotInstalled => {
            Finding::fail("no trigger is installed: deletions are not captured", INSTALL)
        }
        CaptureState::Drifted => Finding::fail(
            format!("some deletions are not captured, or not as they must be: {}", status.told()),
            format!("{INSTALL}, which puts them right; `file-recycler listener status` lists them all"),
        ),
        CaptureState::Installed if !status.hints.is_empty() => Finding::warn(
            told(&status.hints),
            "make the indexes that are named: the questions stay cheap then",
        ),
        CaptureState::Installed => Finding::ok(told(&status.remarks)),
    }
}

pub(in crate::doctor) fn capture_failures(all: u64, unseen: u64) -> Finding {
    match (all, unseen) {
        (0, _) => Finding::ok("every deletion could be captured"),
        (all, 0) => Finding::ok(format!(
            "the deletions of {all} statements could not be captured; note was taken of all"
        )),
        (_, unseen) => Finding::fail(
            capture_failures_told(unseen),
            "find the cause in the database's log, then run `file-recycler listener install`, which takes note",
        ),
    }
}

pub(in crate::doctor) fn silence(silent: Option<&Silent>) -> Finding {
    match silent {
        None => Finding::ok("no rows of files vanish unheard, as far as a running listener has seen"),
        Some(silent) => Finding::warn(
            silent.to_string(),
            "look for what passes by the triggers: a restore, another schema, session_replication_role (docs/capture.md)",
        ),
    }
}

pub(in crate::doctor) fn outbox(backlog: &Backlog, grace: Duration, paused: bool) -> Finding {
    let told = backlog.told(grace, paused);
    if told.is_empty() {
        let more = if backlog.capped { "more than " } else { "" };
        let oldest = backlog.oldest.unwrap_or_default().as_secs();
        return Finding::ok(match backlog.rows {
            0 => "nothing waits".to_owned(),
            rows => format!("{more}{rows} rows wait, the oldest for {oldest} s"),
        });
    }
    Finding::warn(told.join("; "), "start `file-recycler run` or `listen`, and look at its /readyz")
}

pub(in crate::doctor) fn processes(processes: &[Process]) -> Finding {
    let not_ready: Vec<String> = processes
        .iter()
        .filter(|process| !process.ready)
        .map(|process| {
            let why = process.why.as_deref().unwrap_or("it does not say why");
            format!("{} {} is not ready: {why}", process.halves, process.name)
        })
        .collect();
    if processes.is_empty() {
        return Finding::warn(
            "no process of this environment runs: events wait, and no file moves",
            "start `file-recycler run`",
        );
    }
    if not_ready.is_empty() {
        return Finding::ok(format!("{} run, and all are ready", processes.len()));
    }
    Finding::fail(not_ready.join("; "), "put right what each says; it goes on by itself")
}

//! What a run came to, for people and for programs.

use std::fmt;

use serde::Serialize;

use crate::check::{Findings, Invariant};
use crate::disturb::Cuts;
use crate::fleet::Counts;

/// A run.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Actions followed from it.
    pub seed: u64,
    /// How long it was disturbed.
    pub seconds: u64,
    /// How many workers there were usually.
    pub workers: usize,
    /// What happened to the processes.
    pub processes: Counts,
    /// What happened to their connections.
    pub cuts: Cuts,
    /// Records that were made.
    pub records: usize,
    /// Files that were made.
    pub files: usize,
    /// Statements that deleted, committed.
    pub deletions: u64,
    /// Transactions that deleted, rolled back.
    pub rolled_back: u64,
    /// How often it was checked meanwhile.
    pub checks_meanwhile: u64,
    /// How long the rest took; nothing where it never ended.
    pub quiet_after_seconds: Option<u64>,
    /// Lines of the logs that tell of a panic.
    pub panics: usize,
    /// Warnings in the logs.
    pub warnings: usize,
    /// Errors in the logs.
    pub errors: usize,
    /// What has to hold at every moment.
    pub meanwhile: Vec<Invariant>,
    /// What has to hold in the end.
    #[serde(flatten)]
    pub findings: Findings,
}

impl Summary {
    /// Was every promise kept?
    pub fn holds(&self) -> bool {
        self.findings.holds()
            && self.panics == 0
            && self.checks_meanwhile > 0
            && self.quiet_after_seconds.is_some()
            && self.meanwhile.iter().all(|invariant| invariant.violated == 0)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (counts, cuts) = (&self.processes, &self.cuts);
        writeln!(f, "seed {}, {} s, {} workers", self.seed, self.seconds, self.workers)?;
        writeln!(
            f,
            "processes: {} started, {} workers and {} relays killed, {} frozen, {} stopped cleanly, {} not, {} ended by themselves",
            counts.starts,
            counts.kills_of_workers,
            counts.kills_of_relays,
            counts.freezes,
            counts.clean_stops,
            counts.unclean_stops,
            counts.ended_by_themselves
        )?;
        writeln!(
            f,
            "cuts: database {}, broker {}, storage {}; {} sessions ended; workers added and removed: {:?}",
            cuts.database, cuts.broker, cuts.storage, cuts.sessions, cuts.workers_added_and_removed
        )?;
        writeln!(
            f,
            "{} records, {} files, {} deletions, {} rolled back, {} events in the ledger, {} files noted twice for one event",
            self.records,
            self.files,
            self.deletions,
            self.rolled_back,
            self.findings.events,
            self.findings.ledger_duplicates
        )?;
        if let Some(seconds) = self.quiet_after_seconds {
            writeln!(f, "quiet after {seconds} s; {} checks meanwhile", self.checks_meanwhile)?;
        } else {
            writeln!(f, "VIOLATED: it never became quiet")?;
        }
        let (panics, warnings, errors) = (self.panics, self.warnings, self.errors);
        writeln!(f, "logs: {panics} panics, {errors} errors, {warnings} warnings")?;
        self.meanwhile.iter().try_for_each(|invariant| invariant.fmt(f))?;
        self.findings.fmt(f)
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.invariants.iter().try_for_each(|invariant| invariant.fmt(f))
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, checked, violated, examples } = self;
        if *violated == 0 {
            return writeln!(f, "kept: {name} ({checked} checked)");
        }
        writeln!(f, "VIOLATED: {name} ({violated} of {checked})")?;
        examples.iter().try_for_each(|example| writeln!(f, "  {example}"))
    }
}

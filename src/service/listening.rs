//! Watches the capture: are the triggers as they must be, do rows of files vanish unheard, does the outbox's
//! first row find a relay? A look that fails says nothing about the database's health: that has a monitor of
//! its own.

use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use super::Parts;
use super::silence::{Silence, Stall};
use crate::db::catalog::Catalog;
use crate::db::failures::capture_failures_told;
use crate::db::schema::SchemaState;
use crate::db::triggers::{CaptureState, CaptureStatus};
use crate::db::{Actor, DbError, Problem};
use crate::failpoint;
use crate::gate::{self, Cause};
use crate::health::ListenerState;
use crate::outcome::Failure;
use crate::stop::Stop;

/// The catalogue is compared at the relay's slowest pace, but never more often than this; and it rests for
/// so many times of what a comparison took.
const COMPARE_EVERY: Duration = Duration::from_secs(1);
const COMPARE_REST: u32 = 5;
/// How often it is read which records weak files and links name, which is a scan of their tables, and how
/// much rest follows the time that it took.
const SCAN_EVERY: Duration = Duration::from_secs(10);
const SCAN_REST: u32 = 50;
/// How often deletions and the outbox are counted.
const COUNT_EVERY: Duration = Duration::from_secs(5);
/// How often `listener.auto_install` tries, where something stays wrong.
const INSTALL_EVERY: Duration = Duration::from_secs(10);
/// How often it looks, where only an operator can mend what is wrong.
const OPERATOR_EVERY: Duration = Duration::from_mins(1);
/// How often the ledger's partitions of the coming months are made.
const PARTITIONS_EVERY: Duration = Duration::from_hours(24);

/// Something that is done again after a while.
#[derive(Debug, Default)]
struct Again(Option<Instant>);

impl Again {
    fn is_due(&self) -> bool {
        self.0.is_none_or(|at| Instant::now() >= at)
    }

    fn after(&mut self, rest: Duration) {
        self.0 = Some(Instant::now() + rest);
    }
}

/// The last comparison.
struct Compared {
    fingerprint: String,
    catalog: Catalog,
    status: CaptureStatus,
}

/// What the watch remembers from look to look.
#[derive(Default)]
struct Listening {
    compared: Option<Compared>,
    scan: Again,
    count: Again,
    install: Again,
    partitions: Again,
    silence: Silence,
    stall: Stall,
    /// Capture failures of which nobody has taken note.
    failures: u64,
    /// How long the last installation took, since it was asked for.
    installed_for: Duration,
    /// Hints were told.
    hinted: bool,
    /// What the last count found too quiet.
    quiet: Vec<String>,
    unknown: u64,
}

impl Listening {
    /// Says once what makes the questions to the database slow.
    fn tell_hints(&mut self, status: &CaptureStatus) {
        if !std::mem::replace(&mut self.hinted, true) {
            status.hints.iter().for_each(|hint| warn!("{hint}"));
        }
    }
}

impl Parts {
    /// Looks again and again until the stop.
    pub(super) async fn watch_listener(self, stop: Stop) {
        if !self.halves.listens() {
            self.health.listener(ListenerState::NotOurs);
            return;
        }
        let mut listening = Listening::default();
        loop {
            let began = Instant::now();
            let looked = tokio::select! {
                () = stop.requested() => return,
                looked = self.look_at_listener(&mut listening) => looked,
            };
            let mut looked_for = began.elapsed().saturating_sub(std::mem::take(&mut listening.installed_for));
            if let Err(failure) = looked {
                info!(error = %failure, "the triggers could not be compared");
                // It was a connection that was waited for: nobody needs a rest from that.
                if self.gate.why_closed(&[Cause::Database]).is_some() {
                    looked_for = Duration::ZERO;
                }
            }
            let rest = self.config.listener.poll.max(COMPARE_EVERY).max(looked_for * COMPARE_REST);
            tokio::select! {
                () = stop.requested() => return,
                () = tokio::time::sleep(rest) => {}
            }
        }
    }

    async fn look_at_listener(&self, listening: &mut Listening) -> Result<(), Failure> {
        let policy = self.config.listener.on_capture_error;
        if failpoint::removed("protection::compare_at_each_poll")
            && listening.compared.is_some()
            && !listening.scan.is_due()
        {
            return Ok(());
        }
        let (catalog, mut status) = match self.compared(listening).await {
            Ok(compared) => compared,
            // The database is not what the configuration says: nobody's outage, and nothing is captured surely.
            Err(error) if matches!(error.problem(), Problem::NotReady(_)) => {
                self.gate.close(Cause::Listener, error.to_string());
                self.health.listener(ListenerState::NotInstalled(error.to_string()));
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        listening.tell_hints(&status);
        if status.state() != CaptureState::Installed
            && self.config.listener.auto_install
            && listening.install.is_due()
        {
            listening.install.after(INSTALL_EVERY);
            // It may take long where the CRM holds tables, and what is captured already need not wait for it.
            if status.state() == CaptureState::Drifted {
                self.gate.open(Cause::Listener);
            }
            let began = Instant::now();
            let actor = Actor { who: "listener.auto_install".to_owned(), host: super::worker_name() };
            match self.db.repair(&self.config.crm, policy, &actor).await {
                Ok(done) if done.tables.is_empty() => {}
                Ok(done) => info!(tables = done.tables.len(), "listener.auto_install repaired the triggers"),
                Err(error) => info!(%error, "listener.auto_install could not repair the triggers"),
            }
            listening.installed_for = began.elapsed();
            status = self.db.capture_status(&self.config.crm, policy).await?;
            if status.is_for_an_operator() {
                // Every try compares whole tables.
                listening.install.after(OPERATOR_EVERY.max(listening.installed_for * SCAN_REST));
            }
        }
        if status.state() == CaptureState::NotInstalled {
            let why = "the listener is not installed: run `file-recycler listener install`";
            self.gate.close(Cause::Listener, why);
            self.health.listener(ListenerState::NotInstalled(why.to_owned()));
            return Ok(());
        }
        self.gate.open(Cause::Listener);
        if listening.count.is_due() {
            listening.count.after(COUNT_EVERY);
            match self.count(listening, &catalog, status.schema).await {
                Ok(quiet) => listening.quiet = quiet,
                Err(error) => info!(%error, "deletions could not be counted"),
            }
        }
        self.health.listener(state_of(&status, listening.failures, &listening.quiet));
        if listening.partitions.is_due() {
            match self.db.make_partitions().await {
                Ok(()) => listening.partitions.after(PARTITIONS_EVERY),
                // The default partition takes what has no other place.
                Err(error) => info!(%error, "the ledger's coming partitions could not be made"),
            }
        }
        Ok(())
    }

    /// The tables that must have triggers, and how these are: compared anew where the catalogue has changed
    /// since the last look, and whenever it is time to read what weak files and links name.
    async fn compared(&self, listening: &mut Listening) -> Result<(Catalog, CaptureStatus), DbError> {
        let crm = &self.config.crm;
        let fingerprint = match &listening.compared {
            None => None,
            Some(last) => {
                let now = self.db.capture_fingerprint(crm).await?;
                if now == last.fingerprint && !listening.scan.is_due() {
                    return Ok((last.catalog.clone(), last.status.clone()));
                }
                Some(now)
            }
        };
        let known = listening.compared.as_ref().map(|last| &last.catalog);
        let catalog = match known {
            Some(known) if !listening.scan.is_due() => self.db.discover_like(crm, known).await?,
            known => {
                let began = Instant::now();
                let scanned = self.db.discover_all(crm).await;
                listening.scan.after(SCAN_EVERY.max(began.elapsed() * SCAN_REST));
                match (scanned, known) {
                    (Ok(catalog), _) => catalog,
                    (Err(error), Some(known)) => {
                        info!(%error, "it could not be read which records weak files and links name");
                        self.db.discover_like(crm, known).await?
                    }
                    (Err(error), None) => return Err(error),
                }
            }
        };
        let status = self.db.capture_status_of(&catalog, self.config.listener.on_capture_error).await?;
        listening.compared = Some(Compared {
            // Read before what it stands for; an empty one is like no other.
            fingerprint: fingerprint.unwrap_or_default(),
            catalog: catalog.clone(),
            status: status.clone(),
        });
        Ok((catalog, status))
    }

    /// Counts what was deleted, what was captured, and what waits; gives what is too quiet.
    async fn count(
        &self,
        listening: &mut Listening,
        catalog: &Catalog,
        schema: SchemaState,
    ) -> Result<Vec<String>, DbError> {
        let mut quiet = Vec::new();
        self.metrics.capture_failures(self.db.capture_failures().await?);
        if schema == SchemaState::Current {
            listening.failures = self.db.unseen_capture_failures().await?;
        }
        let backlog = self.db.backlog().await?;
        let may_relay = self.gate.why_closed(gate::RELAY).is_none();
        let settings = (self.config.recycle.grace, self.config.listener.poll);
        if let Some(waits) = listening.stall.look(backlog.head, may_relay, settings, Instant::now()) {
            let seconds = waits.as_secs();
            quiet.push(format!("the outbox's first row has waited for {seconds} s, and no relay takes it"));
        }
        self.metrics.outbox_unknown(backlog.unknown);
        if backlog.unknown > 0 {
            let what = format!(
                "{} outbox rows are of kinds that this version does not know: they wait for a newer one",
                backlog.unknown
            );
            if listening.unknown == 0 {
                warn!("{what}");
            }
            quiet.push(what);
        }
        listening.unknown = backlog.unknown;
        if schema == SchemaState::Current {
            quiet.extend(self.silent_deletions(&mut listening.silence, catalog).await?);
        }
        Ok(quiet)
    }

    /// The hint, shared by all listeners through the database.
    async fn silent_deletions(
        &self,
        silence: &mut Silence,
        catalog: &Catalog,
    ) -> Result<Option<String>, DbError> {
        let counts = self.db.deletion_counts(catalog).await?;
        if silence.is_new() {
            info!(tables = counts.tables.len(), "counting the deletions of files from here on");
        }
        let mut heard = silence.look(counts, Instant::now());
        if failpoint::removed("protection::silent_deletions") {
            heard.silent = None;
        }
        let before = self.db.silence().await?;
        match &heard.silent {
            Some((deletions, tables)) => self.db.note_silence(*deletions, tables).await?,
            None if heard.captured && before.is_some() => self.db.forget_silence().await?,
            None => {}
        }
        let noted = self.db.silence().await?;
        self.metrics.silent_deletions(noted.as_ref().map_or(0, |silent| silent.deletions));
        let hint = noted.map(|silent| silent.to_string());
        if let (None, Some(hint)) = (before, &hint) {
            // The note goes when something is captured; the trail stays.
            let actor = Actor { who: "listener".to_owned(), host: super::worker_name() };
            if let Err(error) = self.db.record_change(&actor, "silent deletions", hint).await {
                error!(%error, hint, "the hint could not be noted in the trail");
            }
        }
        Ok(hint)
    }
}

/// The worst of what was found gives the state its name; all of it is told.
fn state_of(status: &CaptureStatus, failures: u64, quiet: &[String]) -> ListenerState {
    let drifted = status.state() == CaptureState::Drifted;
    let failing = (failures > 0).then(|| capture_failures_told(failures));
    let drift = drifted.then(|| status.told());
    let told: Vec<_> = failing.into_iter().chain(drift).chain(quiet.iter().cloned()).collect();
    match (failures > 0, drifted, told.is_empty()) {
        (true, _, _) => ListenerState::Failing(told.join("; ")),
        (false, true, _) => ListenerState::Drift(told.join("; ")),
        (false, false, false) => ListenerState::Silent(told.join("; ")),
        (false, false, true) => ListenerState::Installed,
    }
}

//! What each monitor looks at: the database with its guard, triggers and backlog; the storage with its
//! marker; the broker with its topology and depths.

use std::time::Duration;

use tokio::task::JoinSet;
use tracing::info;

use super::Parts;
use super::monitor::Monitor;
use crate::broker::{BrokerError, Session};
use crate::db::Actor;
use crate::db::triggers::{CaptureState, CaptureStatus};
use crate::gate::Cause;
use crate::guard::{Verdict, marked_environment};
use crate::health::{GuardState, ListenerState};
use crate::metrics::QueueKind;
use crate::outcome::{Dependency, Failure};
use crate::stop::Stop;

/// How often the database is asked for its environment and a pause; an operator's pause holds within it.
const DATABASE_EVERY: Duration = Duration::from_secs(1);
/// How often the backlog is counted and the triggers are compared, in looks at the database.
const SLOW_LOOK: u32 = 5;
/// How often both buckets and the marker are read.
const STORAGE_EVERY: Duration = Duration::from_secs(5);
/// How often the queues are measured.
const BROKER_EVERY: Duration = Duration::from_secs(2);

/// Starts a monitor for each dependency.
pub(super) fn start(parts: &Parts, loops: &mut JoinSet<()>, stop: &Stop) {
    let (database, storage, broker) = (parts.clone(), parts.clone(), parts.clone());
    let monitor = |dependency, every| Monitor {
        dependency,
        every,
        gate: parts.gate.clone(),
        health: parts.health.clone(),
    };
    let run = monitor(Dependency::Database, DATABASE_EVERY);
    let stopped = stop.clone();
    loops.spawn(async move {
        let mut looks = 0_u32;
        run.run(stopped, async || {
            let slow = looks % SLOW_LOOK == 0;
            looks = looks.wrapping_add(1);
            database.look_at_database(slow).await
        })
        .await;
    });
    let run = monitor(Dependency::Storage, STORAGE_EVERY);
    let stopped = stop.clone();
    loops.spawn(async move { run.run(stopped, async || storage.look_at_storage().await).await });
    let run = monitor(Dependency::Broker, BROKER_EVERY);
    let stopped = stop.clone();
    loops.spawn(async move {
        let mut session = None;
        run.run(stopped, async || broker.look_at_broker(&mut session).await).await;
    });
}

impl Parts {
    async fn look_at_database(&self, slow: bool) -> Result<(), Failure> {
        self.guard.saw_database(self.db.environment().await?);
        self.tell_guard();
        if slow {
            self.look_at_listener().await?;
        }
        Ok(())
    }

    /// Says what the guard thinks now, to the gate and to health.
    pub(super) fn tell_guard(&self) {
        let verdict = self.guard.verdict();
        match &verdict {
            Verdict::Open(_) => self.gate.open(Cause::Guard),
            closed => self.gate.close(Cause::Guard, closed.to_string()),
        }
        self.health.paused(match &verdict {
            Verdict::Paused(why) => Some(why.clone()),
            _ => None,
        });
        match verdict {
            Verdict::Open(_) | Verdict::Paused(_) => self.health.guard(GuardState::Open),
            Verdict::Refused(why) | Verdict::Foreign(why) => self.health.guard(GuardState::Refused(why)),
        }
    }

    async fn look_at_listener(&self) -> Result<(), Failure> {
        if !self.halves.listens() {
            self.health.listener(ListenerState::NotOurs);
            return Ok(());
        }
        let policy = self.config.listener.on_capture_error;
        let mut status = self.db.capture_status(&self.config.crm, policy).await?;
        if status.state() != CaptureState::Installed && self.config.listener.auto_install {
            let actor = Actor { who: "listener.auto_install".to_owned(), host: super::worker_name() };
            let done = self.db.install(&self.config.crm, policy, &actor).await?;
            info!(tables = done.tables.len(), "listener.auto_install repaired the triggers");
            status = self.db.capture_status(&self.config.crm, policy).await?;
        }
        let state = state_of(&status);
        match &state {
            ListenerState::NotInstalled(why) => self.gate.close(Cause::Listener, why.clone()),
            _ => self.gate.open(Cause::Listener),
        }
        self.health.listener(state);
        if status.state() == CaptureState::NotInstalled {
            return Ok(());
        }
        let backlog = self.db.backlog().await?;
        self.metrics.outbox(backlog.rows, backlog.oldest.unwrap_or_default());
        self.metrics.capture_failures(self.db.capture_failures().await?);
        Ok(())
    }

    async fn look_at_storage(&self) -> Result<(), Failure> {
        self.storage.check().await?;
        let marker = self.storage.marker().await?;
        self.guard.saw_marker(marker.and_then(|marker| marked_environment(&marker.bytes)));
        self.tell_guard();
        Ok(())
    }

    async fn look_at_broker(&self, session: &mut Option<Session>) -> Result<(), Failure> {
        if self.gate.why_closed(&[Cause::Broker, Cause::Topology]).is_some() {
            // After trouble, everything is declared again: a binding may be gone.
            *session = None;
        }
        let result = self.measure_queues(session).await;
        match &result {
            Err(BrokerError::Topology(why)) => {
                self.gate.close(Cause::Topology, why.clone());
                self.health.topology(Err(why.clone()));
            }
            Err(_) => {}
            Ok(()) => {
                self.gate.open(Cause::Topology);
                self.health.topology(Ok(()));
            }
        }
        if result.is_err() {
            *session = None;
        }
        match result {
            // The broker itself is well; what it holds is not.
            Ok(()) | Err(BrokerError::Topology(_)) => Ok(()),
            Err(error) => Err(Failure::new(error.advice(), error.to_string())),
        }
    }

    async fn measure_queues(&self, session: &mut Option<Session>) -> Result<(), BrokerError> {
        if let Some(why) = session.as_ref().and_then(Session::ended) {
            *session = None;
            return Err(why);
        }
        let session = match session {
            Some(session) => session,
            None => {
                let opened = self.broker.connect().await?;
                opened.declare(&self.topology).await?;
                session.insert(opened)
            }
        };
        let depth = async |queue: &str| -> Result<u64, BrokerError> {
            let gone = || BrokerError::Topology(format!("queue '{queue}' is gone"));
            Ok(session.depth(queue).await?.ok_or_else(gone)?.messages)
        };
        let mut waiting = 0;
        for delay in &self.topology.delays {
            waiting += depth(&self.topology.wait(delay)).await?;
        }
        self.metrics.queue(QueueKind::Work, depth(&self.topology.work()).await?);
        self.metrics.queue(QueueKind::Wait, waiting);
        self.metrics.queue(QueueKind::Dead, depth(&self.topology.dead()).await?);
        self.health.blocked(session.blocked().is_some());
        Ok(())
    }
}

fn state_of(status: &CaptureStatus) -> ListenerState {
    match status.state() {
        CaptureState::Installed => ListenerState::Installed,
        CaptureState::NotInstalled => {
            let why = "the listener is not installed: run `file-recycler listener install`";
            ListenerState::NotInstalled(why.to_owned())
        }
        CaptureState::Drifted => ListenerState::Drift(status.told()),
    }
}

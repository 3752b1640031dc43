//! What each monitor looks at: the database with its guard and backlog; the storage with its
//! marker; the broker with its topology and depths.

use std::time::Duration;

use tokio::task::JoinSet;

use super::Parts;
use super::monitor::{Look, Monitor};
use crate::broker::{BrokerError, Session};
use crate::db::DbError;
use crate::gate::Cause;
use crate::guard::{Verdict, compare};
use crate::health::GuardState;
use crate::metrics::QueueKind;
use crate::outcome::{Advice, Dependency, Failure};
use crate::stop::Stop;

/// How often the database is asked for its environment and a pause; an operator's pause holds within it.
const DATABASE_EVERY: Duration = Duration::from_secs(1);
/// How often the backlog is counted, in looks at the database.
const BACKLOG_EVERY: u32 = 5;
/// Looks at the database after which a worker is under way.
const UNDER_WAY: u32 = 60;
/// How often the role's rights are looked at, in looks at the database; after trouble with it, each time.
const RIGHTS_EVERY: u32 = 30;
/// How often both buckets and the marker are read.
const STORAGE_EVERY: Duration = Duration::from_secs(5);
/// How often the queues are measured.
const BROKER_EVERY: Duration = Duration::from_secs(2);

/// Starts a monitor for each dependency.
pub(super) fn start(parts: &Parts, loops: &mut JoinSet<()>, stop: &Stop) {
    let monitor = |dependency, every| Monitor {
        dependency,
        every,
        gate: parts.gate.clone(),
        health: parts.health.clone(),
    };
    let database = Database { parts: parts.clone(), looks: 0 };
    loops.spawn(parts.clone().watch_listener(stop.clone()));
    loops.spawn(monitor(Dependency::Database, DATABASE_EVERY).run(stop.clone(), database));
    let storage = Storage(parts.clone());
    loops.spawn(monitor(Dependency::Storage, STORAGE_EVERY).run(stop.clone(), storage));
    let broker = Broker { parts: parts.clone(), session: None };
    loops.spawn(monitor(Dependency::Broker, BROKER_EVERY).run(stop.clone(), broker));
}

struct Database {
    parts: Parts,
    looks: u32,
}

impl Look for Database {
    /// A missing right is told by its name, before any work has missed it.
    async fn look(&mut self) -> Result<(), Failure> {
        let is_due = self.looks.is_multiple_of(RIGHTS_EVERY)
            || self.parts.gate.why_closed(&[Cause::Database]).is_some();
        let looked = self.look_once().await;
        if is_due && looked.is_ok() || looked.as_ref().is_err_and(DbError::is_denied) {
            // What keeps the rights from being looked at is told by whatever meets it.
            if let Ok(Some(why)) = self.parts.db.lacking(&self.parts.config.crm).await {
                return Err(Failure::new(Advice::Outage(Dependency::Database), why));
            }
        }
        Ok(looked?)
    }
}

impl Database {
    async fn look_once(&mut self) -> Result<(), DbError> {
        let parts = &self.parts;
        let asked = parts.guard.before_asking();
        parts.guard.saw_database(asked, parts.db.environment().await?);
        parts.tell_guard();
        // A worker that has just begun advances it by itself.
        if !parts.halves.works() || self.looks >= UNDER_WAY {
            parts.health.stale_nonce(parts.guard.stale_nonce());
        }
        // Also while the relay cannot work: that is when the backlog grows.
        let installed = parts.gate.why_closed(&[Cause::Listener]).is_none();
        if installed && self.looks.is_multiple_of(BACKLOG_EVERY) {
            let backlog = parts.db.backlog().await?;
            parts.metrics.outbox(backlog.rows, backlog.oldest.unwrap_or_default());
        }
        self.looks = self.looks.saturating_add(1);
        Ok(())
    }
}

struct Storage(Parts);

impl Look for Storage {
    async fn look(&mut self) -> Result<(), Failure> {
        let Self(parts) = self;
        let pace = parts.storage.pace();
        parts.metrics.storage_pace(pace.limit, pace.in_flight);
        parts.storage.check().await?;
        // A database that does not answer has a monitor of its own, and is not waited for here.
        if parts.health.is_up(Dependency::Database) || parts.guard.advances().is_none() {
            match compare(&parts.storage, &parts.db, &parts.guard).await {
                Err(failure) if failure.advice == Advice::Outage(Dependency::Database) => {}
                compared => drop(compared?),
            }
        } else {
            parts.storage.marker().await?;
        }
        parts.tell_guard();
        Ok(())
    }
}

struct Broker {
    parts: Parts,
    session: Option<Session>,
}

impl Look for Broker {
    async fn look(&mut self) -> Result<(), Failure> {
        let parts = &self.parts;
        if parts.gate.why_closed(&[Cause::Broker, Cause::Topology]).is_some() {
            // After trouble, everything is declared again: a binding may be gone.
            self.session = None;
        }
        let result = parts.measure_queues(&mut self.session).await;
        if result.is_err() {
            self.session = None;
        }
        match result {
            Ok(()) => {
                parts.gate.open(Cause::Topology);
                parts.health.topology(Ok(()));
                Ok(())
            }
            // The broker itself is well; what it holds is not.
            Err(BrokerError::Topology(why)) => {
                parts.gate.close(Cause::Topology, why.clone());
                parts.health.topology(Err(why));
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl Parts {
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
            Verdict::Unknown(_) => self.health.guard(GuardState::Unknown),
            alone @ Verdict::RestoreAlone => self.health.guard(GuardState::Refused(alone.to_string())),
            Verdict::Refused(why) | Verdict::Foreign(why) => self.health.guard(GuardState::Refused(why)),
        }
    }

    async fn measure_queues(&self, session: &mut Option<Session>) -> Result<(), BrokerError> {
        if let Some(why) = session.as_ref().and_then(Session::ended) {
            *session = None;
            return Err(why);
        }
        let session = if let Some(session) = session {
            session
        } else {
            let opened = self.broker.connect_without_reading().await?;
            opened.declare(&self.topology).await?;
            session.insert(opened)
        };
        let mut waiting = 0;
        for delay in &self.topology.delays {
            waiting += depth(session, &self.topology.wait(delay)).await?;
        }
        self.metrics.queue(QueueKind::Work, depth(session, &self.topology.work()).await?);
        self.metrics.queue(QueueKind::Wait, waiting);
        self.metrics.queue(QueueKind::Dead, depth(session, &self.topology.dead()).await?);
        self.health.blocked(self.broker.blocked().is_some());
        Ok(())
    }
}

async fn depth(session: &Session, queue: &str) -> Result<u64, BrokerError> {
    let gone = || BrokerError::Topology(format!("queue '{queue}' is gone"));
    Ok(session.depth(queue).await?.ok_or_else(gone)?.messages)
}

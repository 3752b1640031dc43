//! What happens to the processes and their connections: a sequence that follows from the seed.

use std::time::Duration;

use serde::Serialize;

use crate::Result;
use crate::fleet::{Fleet, Half, Ways};
use crate::scene::Scene;
use crate::seed::Seed;

/// One disturbance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disturbance {
    /// A worker gets SIGKILL and is started again.
    KillWorker(usize),
    /// The relay gets SIGKILL and is started again.
    KillRelay(usize),
    /// A process stands still for a while.
    Freeze(Half, usize, Duration),
    /// One more worker.
    AddWorker,
    /// A worker is stopped for good.
    RemoveWorker(usize),
    /// A process is stopped and started again, as in a rolling update.
    Restart(Half, usize),
    /// Connections to PostgreSQL are cut on the way.
    CutDatabase,
    /// Connections to RabbitMQ are cut on the way.
    CutBroker,
    /// Connections to the storage are cut on the way.
    CutStorage,
    /// PostgreSQL ends the program's sessions.
    EndSessions,
}

/// The next disturbance of this seed, and the pause before it.
pub fn next(seed: &mut Seed) -> (Duration, Disturbance) {
    let pause = Duration::from_millis(200 + seed.number() % 2_300);
    let (kind, number) = (seed.below(100), seed.below(1_000));
    let half = if number % 3 == 0 { Half::Listen } else { Half::Work };
    let disturbance = match kind {
        0..26 => Disturbance::KillWorker(number),
        26..40 => Disturbance::KillRelay(number),
        40..50 => Disturbance::Freeze(half, number, Duration::from_millis(500 + seed.number() % 4_500)),
        50..58 => Disturbance::AddWorker,
        58..66 => Disturbance::RemoveWorker(number),
        66..74 => Disturbance::Restart(half, number),
        74..81 => Disturbance::CutDatabase,
        81..88 => Disturbance::CutBroker,
        88..95 => Disturbance::CutStorage,
        _ => Disturbance::EndSessions,
    };
    (pause, disturbance)
}

/// How often connections were cut.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Cuts {
    /// To PostgreSQL, on the way.
    pub database: u64,
    /// To RabbitMQ, on the way.
    pub broker: u64,
    /// To the storage, on the way.
    pub storage: u64,
    /// Sessions that PostgreSQL ended.
    pub sessions: u64,
    /// Workers that were added, and removed.
    pub workers_added_and_removed: (u64, u64),
}

/// What is disturbed.
pub struct Victims<'a> {
    /// The run's part of the servers.
    pub scene: &'a Scene,
    /// The processes.
    pub fleet: &'a mut Fleet,
    /// Their connections.
    pub ways: &'a Ways,
    /// What was done to those.
    pub cuts: &'a mut Cuts,
    /// How many workers there are usually.
    pub workers: usize,
}

impl Victims<'_> {
    /// Does it.
    ///
    /// # Errors
    /// The chaos itself failed.
    pub async fn suffer(&mut self, disturbance: Disturbance) -> Result<()> {
        match disturbance {
            Disturbance::KillWorker(number) => self.kill(Half::Work, number).await?,
            Disturbance::KillRelay(number) => self.kill(Half::Listen, number).await?,
            Disturbance::Freeze(half, number, length) => self.fleet.freeze(half, number, length).await?,
            Disturbance::AddWorker if self.fleet.count(Half::Work) < self.workers + 2 => {
                self.cuts.workers_added_and_removed.0 += 1;
                self.fleet.start(Half::Work)?;
            }
            Disturbance::RemoveWorker(number) if self.fleet.count(Half::Work) > 1 => {
                self.cuts.workers_added_and_removed.1 += 1;
                self.fleet.stop(Half::Work, number).await?;
            }
            Disturbance::AddWorker | Disturbance::RemoveWorker(_) => {}
            Disturbance::Restart(half, number) => {
                self.fleet.stop(half, number).await?;
                self.fleet.start(half)?;
            }
            Disturbance::CutDatabase => {
                self.cuts.database += 1;
                self.ways.database.cut();
            }
            Disturbance::CutBroker => {
                self.cuts.broker += 1;
                self.ways.broker.cut();
            }
            Disturbance::CutStorage => {
                self.cuts.storage += 1;
                self.ways.storage.cut();
            }
            Disturbance::EndSessions => self.cuts.sessions += end_sessions(self.scene).await?,
        }
        Ok(())
    }

    async fn kill(&mut self, half: Half, number: usize) -> Result<()> {
        self.fleet.kill(half, number).await?;
        self.fleet.start(half)
    }
}

/// Those of this run's database, our own excepted.
async fn end_sessions(scene: &Scene) -> Result<u64> {
    let ended: i64 = sqlx::query_scalar(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
          WHERE datname = current_database() AND application_name <> 'chaos'
            AND backend_type = 'client backend'",
    )
    .fetch_one(&scene.crm)
    .await?;
    Ok(ended.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_disturbances_and_every_kind_comes() {
        let of = |seed: u64| -> Vec<_> {
            let mut seed = Seed::new(seed, 2);
            (0..500).map(|_| next(&mut seed)).collect()
        };
        assert_eq!(of(7), of(7));
        assert_ne!(of(7), of(8));
        let kinds: std::collections::HashSet<_> =
            of(7).iter().map(|(_, disturbance)| std::mem::discriminant(disturbance)).collect();
        assert_eq!(kinds.len(), 10);
    }
}

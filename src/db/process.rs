//! The running processes of an environment, as each tells of itself: memory for `status`, and for nothing else.

use std::time::Duration;

use super::Db;
use super::error::{Attempted, DbError};

/// A process that has told of itself lately.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, sqlx::FromRow)]
pub struct Process {
    /// Host name and process id.
    pub name: String,
    /// What it runs: `run`, `listen` or `work`.
    pub halves: String,
    /// Is it ready, by its own `/readyz`?
    pub ready: bool,
    /// Why it is not.
    pub why: Option<String>,
}

/// A process that has not told of itself for so long has ended: three times as long as one waits between two words.
pub const SILENT_AFTER: Duration = Duration::from_secs(6);

impl Process {
    /// Was it one of this machine, which has ended without a word?
    pub fn died_here(&self) -> bool {
        let host = gethostname::gethostname();
        self.name.rsplit_once(':').is_some_and(|(its_host, id)| {
            *its_host == *host.to_string_lossy()
                && id.bytes().all(|c| c.is_ascii_digit())
                && std::path::Path::new("/proc/self").exists()
                && !std::path::Path::new(&format!("/proc/{id}")).exists()
        })
    }
}

impl Db {
    /// Tells how this process is.
    pub async fn tell_process(&self, process: &Process) -> Result<(), DbError> {
        sqlx::query(
            "INSERT INTO file_recycler.process (name, halves, ready, why) VALUES ($1, $2, $3, $4)
             ON CONFLICT (name) DO UPDATE
                SET halves = excluded.halves, ready = excluded.ready, why = excluded.why,
                    seen_at = clock_timestamp()",
        )
        .bind(&process.name)
        .bind(&process.halves)
        .bind(process.ready)
        .bind(&process.why)
        .execute(&self.pool)
        .await
        .attempted("telling how this process is")?;
        Ok(())
    }

    /// This process ends; those that died without a word a day ago are forgotten along with it.
    pub async fn forget_process(&self, name: &str) -> Result<(), DbError> {
        sqlx::query(
            "DELETE FROM file_recycler.process
              WHERE name = $1 OR seen_at < clock_timestamp() - interval '1 day'",
        )
        .bind(name)
        .execute(&self.pool)
        .await
        .attempted("forgetting this process")?;
        Ok(())
    }

    /// The processes that have told of themselves within `lately`, by name.
    pub async fn processes(&self, lately: Duration) -> Result<Vec<Process>, DbError> {
        sqlx::query_as(
            "SELECT name, halves, ready, why FROM file_recycler.process
              WHERE seen_at > clock_timestamp() - make_interval(secs => $1) ORDER BY name",
        )
        .bind(lately.as_secs_f64())
        .fetch_all(&self.pool)
        .await
        .attempted("asking for the running processes")
    }
}

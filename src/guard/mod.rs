//! May anything move at all? The guard compares the database, the marker in the object bucket and the
//! configuration, and says no when they are not of one environment.
//!
//! It is asked by the monitors every second, and once more by every alive check, whose statement brings
//! the environment's id and the operator's pause along.

mod verdict;

use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;

use crate::db::environment::EnvironmentState;
use crate::failpoint;
use crate::outcome::{Advice, Failure};

pub use verdict::{Binding, Marker, Verdict, verdict};

/// The marker that says whose buckets these are: its content.
pub fn marker_of(environment: Uuid, database: &str) -> Vec<u8> {
    serde_json::json!({ "environment": environment, "database": database }).to_string().into_bytes()
}

/// The environment that a marker names; nothing where it cannot be read as one, which refuses everything.
pub fn marked_environment(marker: &[u8]) -> Option<Uuid> {
    let document: serde_json::Value = serde_json::from_slice(marker).ok()?;
    Uuid::try_parse(document.get("environment")?.as_str()?).ok()
}

/// The guard's memory of what was seen last. Cheap to clone; all clones are one guard.
#[derive(Clone, Debug)]
pub struct Guard {
    binding: Arc<Binding>,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    database: Option<EnvironmentState>,
    marker: Marker,
    foreign: Option<String>,
}

impl Guard {
    /// A guard for the buckets that are configured.
    pub fn new(binding: Binding) -> Self {
        Self { binding: Arc::new(binding), seen: Arc::default() }
    }

    /// Takes note of what the database says about itself.
    pub fn saw_database(&self, state: EnvironmentState) {
        self.lock().database = Some(state);
    }

    /// Takes note of the marker in the object bucket, or of its absence.
    pub fn saw_marker(&self, environment: Option<Uuid>) {
        self.lock().marker = environment.map_or(Marker::Absent, Marker::Names);
    }

    /// Takes note of an event that another environment's triggers captured: nothing moves until
    /// [`Guard::forgive_foreign`].
    pub fn saw_foreign_event(&self, event: &str, environment: Uuid) {
        self.lock().foreign = Some(format!(
            "event {event} is of environment {environment}, not of this one: another environment's events \
             are in this broker's queue"
        ));
    }

    /// Looks at the queue once more after a foreign event.
    pub fn forgive_foreign(&self) {
        self.lock().foreign = None;
    }

    /// The verdict on what was seen last.
    pub fn verdict(&self) -> Verdict {
        let seen = self.lock();
        if let Some(foreign) = &seen.foreign {
            return Verdict::Foreign(foreign.clone());
        }
        match verdict(&self.binding, seen.database.as_ref(), seen.marker) {
            Verdict::Paused(why) => match (failpoint::removed("protection::pause"), seen.marker) {
                (true, Marker::Names(environment)) => Verdict::Open(environment),
                _ => Verdict::Paused(why),
            },
            verdict => verdict,
        }
    }

    /// The environment's id, where everything may move; else a failure that holds the work.
    pub fn admitted(&self) -> Result<Uuid, Failure> {
        match self.verdict() {
            Verdict::Open(environment) => Ok(environment),
            closed => Err(Failure::new(Advice::Hold, closed.to_string())),
        }
    }

    /// The environment of the database that was seen last.
    pub fn environment(&self) -> Option<Uuid> {
        Some(self.lock().database.as_ref()?.environment.as_ref()?.id)
    }

    /// The name of the database that was seen last.
    pub fn database_name(&self) -> Option<String> {
        self.lock().database.as_ref().map(|database| database.identity.name.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        // Nothing in here can panic half way; what was seen stays true.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

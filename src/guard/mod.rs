//! May anything move at all? The guard compares the database, the marker in the object bucket and the
//! configuration, and says no when they are not of one environment.
//!
//! It is asked by the monitors every second, and once more by every alive check, whose statement brings
//! the environment's id and the operator's pause along.

mod compare;
mod marker;
mod template;
mod verdict;

use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;

use crate::db::environment::EnvironmentState;
use crate::db::nonce::Nonce;
use crate::failpoint;
use crate::outcome::{Advice, Failure};

pub use compare::compare;
pub use marker::Marked;
pub use template::{Fit, exists, fit, wrong_template};
pub use verdict::{Agreement, Binding, Marker, Verdict, verdict};

/// Seconds after which a nonce that nobody advances is told: five times as long as one lives.
const STALE: i64 = 600;

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
    agreement: Agreement,
    foreign: Option<String>,
    template: Option<String>,
    /// How often marker and database have been compared.
    comparisons: u64,
}

/// When the database was asked, in comparisons of it with the marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked(u64);

impl Guard {
    /// A guard for the buckets that are configured.
    pub fn new(binding: Binding) -> Self {
        Self { binding: Arc::new(binding), seen: Arc::default() }
    }

    /// To be called before the database is asked, for [`Guard::saw_database`].
    pub fn before_asking(&self) -> Asked {
        Asked(self.lock().comparisons)
    }

    /// Takes note of what the database says about itself, `asked` then.
    pub fn saw_database(&self, asked: Asked, state: EnvironmentState) {
        let mut seen = self.lock();
        let advances = state.environment.as_ref().map_or(0, |environment| environment.nonce.advances);
        // An answer of before the last comparison may be of before an advance.
        if let Agreement::Agreed { advances: before } = seen.agreement
            && advances < before
            && asked.0 == seen.comparisons
        {
            seen.agreement = Agreement::Differs { database: advances, marker: before };
        }
        seen.database = Some(state);
    }

    /// Takes note of the marker in the object bucket, or of its absence, and of what the database said *after* the
    /// marker was read: only so can the two be compared.
    pub fn saw_both(&self, marked: Option<Marked>, state: EnvironmentState) {
        let nonce =
            state.environment.as_ref().map(|environment| environment.nonce.clone()).unwrap_or_default();
        let mut seen = self.lock();
        seen.comparisons += 1;
        seen.marker = marked.map_or(Marker::Absent, |marked| Marker::Names(marked.environment));
        seen.agreement = match marked {
            Some(marked) if nonce.allows(marked.nonce) || failpoint::removed("protection::rolling_nonce") => {
                Agreement::Agreed { advances: nonce.advances }
            }
            Some(marked) => Agreement::Differs { database: nonce.advances, marker: marked.advances },
            None => Agreement::Unread,
        };
        seen.database = Some(state);
    }

    /// The nonce as the database had it last.
    pub fn nonce(&self) -> Option<Nonce> {
        Some(self.lock().database.as_ref()?.environment.as_ref()?.nonce.clone())
    }

    /// For how many seconds it has not been advanced.
    pub fn nonce_age(&self) -> Option<i64> {
        self.nonce()?.age
    }

    /// What an operator is told where nobody has advanced the nonce for too long; nothing where all is well, nothing was
    /// adopted, or the own schema is of before there were nonces.
    pub fn stale_nonce(&self) -> Option<String> {
        // Elsewhere nobody may.
        if !matches!(self.verdict(), Verdict::Open(_) | Verdict::Paused(_)) {
            return None;
        }
        let age = self.nonce_age().filter(|age| *age >= STALE)?;
        Some(format!(
            "nobody has advanced the nonce for {} minutes: a copy of this database that was taken since cannot be told from \
             it. Does a worker run, and may it write the marker?",
            age / 60
        ))
    }

    /// How often the nonce had been advanced when marker and database last agreed; a database that counts fewer is
    /// not the one that it was.
    pub fn advances(&self) -> Option<i64> {
        match self.lock().agreement {
            Agreement::Agreed { advances } => Some(advances),
            Agreement::Unread | Agreement::Differs { .. } => None,
        }
    }

    /// Takes note of an event that another environment's triggers captured: nothing moves until
    /// [`Guard::forgive_foreign`].
    pub fn saw_foreign_event(&self, event: &str, environment: Uuid) {
        self.lock().foreign = Some(format!(
            "event {event} is of environment {environment}, not of this one: another environment's events \
             are in this broker's queue"
        ));
    }

    /// Takes note of why the key template is not the right one; of nothing, where it is.
    pub fn saw_template(&self, wrong: Option<String>) {
        self.lock().template = wrong;
    }

    /// Is the key template known to be wrong?
    pub fn doubts_template(&self) -> bool {
        self.lock().template.is_some()
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
        match verdict(&self.binding, seen.database.as_ref(), seen.marker, seen.agreement) {
            Verdict::Paused(why) => match (failpoint::removed("protection::pause"), seen.marker) {
                (true, Marker::Names(environment)) => Verdict::Open(environment),
                _ => Verdict::Paused(why),
            },
            // As a pause: it must not hide a refusal that is worse.
            Verdict::Open(environment) => match &seen.template {
                Some(wrong) => Verdict::Refused(wrong.clone()),
                None => Verdict::Open(environment),
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

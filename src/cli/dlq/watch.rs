//! Beside a replay or a discard, which may take hours: where the guard shuts meanwhile, it ends as by Ctrl-C.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio_util::task::AbortOnDropHandle;

use super::super::output::Failed;
use super::super::parts;
use crate::config::Config;
use crate::db::Db;
use crate::failpoint;
use crate::guard::{Verdict, compare};
use crate::stop::Stop;

/// How often there is a look, as a worker's.
const EVERY: Duration = Duration::from_secs(1);

/// The looks; they end with it.
pub(super) struct Watch {
    shut: Arc<OnceLock<String>>,
    _looking: AbortOnDropHandle<()>,
}

impl Watch {
    /// Asks the guard, and goes on asking: `stop` is requested where it shuts.
    pub(super) async fn begin(config: &Config, db: &Db, stop: &Stop) -> Result<Self, Failed> {
        let storage = parts::storage(config).await?;
        let guard = parts::open(config, db, &storage).await?;
        let shut = Arc::new(OnceLock::new());
        let (db, stop, told) = (db.clone(), stop.clone(), Arc::clone(&shut));
        let looking = async move {
            loop {
                tokio::time::sleep(EVERY).await;
                // While a server is out, the last verdict holds.
                if compare(&storage, &db, &guard).await.is_err() {
                    continue;
                }
                match guard.verdict() {
                    Verdict::Open(_) => {}
                    _ if failpoint::removed("protection::guard_beside_replay") => {}
                    closed => {
                        // Said first: whoever is stopped asks why.
                        let _ = told.set(closed.to_string());
                        return stop.request();
                    }
                }
            }
        };
        Ok(Self { shut, _looking: AbortOnDropHandle::new(tokio::spawn(looking)) })
    }

    /// Why it was stopped, if it was by this.
    pub(super) fn shut(&self) -> Option<String> {
        self.shut.get().cloned()
    }
}

//! Beside a migration: it is the only one, and these are still the database and the buckets that belong together.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio_util::task::AbortOnDropHandle;

use super::super::output::Failed;
use crate::db::Db;
use crate::db::migrate::Lock;
use crate::guard::{Guard, Verdict, compare};
use crate::service::advance_old_nonce;
use crate::stop::Stop;
use crate::storage::{Capabilities, Storage};

/// How often there is a look, as a worker's.
const EVERY: Duration = Duration::from_secs(5);

/// The looks.
pub(super) struct Watch {
    end: oneshot::Sender<()>,
    looking: AbortOnDropHandle<Option<String>>,
}

impl Watch {
    /// Takes the lock of migrations, and begins to look; the nonce is advanced from time to time, whether or not a worker is
    /// running.
    pub(super) async fn begin(
        guard: Guard,
        db: &Db,
        storage: &Storage,
        server: Capabilities,
        stop: &Stop,
    ) -> Result<Self, Failed> {
        let lock = db.migration_lock().await?.ok_or_else(|| {
            Failed::new("nothing is changed: another migration is at work in this database; let it end, or stop it first")
        })?;
        let (end, ended) = oneshot::channel();
        let looking = look(guard, lock, (db.clone(), storage.clone(), server), stop.clone(), ended);
        Ok(Self { end, looking: AbortOnDropHandle::new(tokio::spawn(looking)) })
    }

    /// Lets go of the lock; why the run was stopped, if it was by this.
    pub(super) async fn end(self) -> Option<String> {
        let Self { end, looking } = self;
        // It may have ended by itself.
        let _ = end.send(());
        looking.await.unwrap_or_else(|_| Some("the look at the environment panicked".to_owned()))
    }
}

async fn look(
    guard: Guard,
    mut lock: Lock,
    (db, storage, server): (Db, Storage, Capabilities),
    stop: Stop,
    mut ended: oneshot::Receiver<()>,
) -> Option<String> {
    loop {
        tokio::select! {
            _ = &mut ended => {
                lock.release().await;
                return None;
            }
            () = tokio::time::sleep(EVERY) => {}
        }
        if let Some(why) = changed(&guard, &mut lock, &db, &storage).await {
            stop.request();
            return Some(why);
        }
        // What keeps it from that is met by the work as well, or by the next look.
        if let Err(failure) = advance_old_nonce(&storage, &db, &guard, &server).await {
            tracing::debug!(error = %failure, "the nonce could not be advanced");
        }
    }
}

/// Why nothing more may be done; nothing where it may, or where a server that is out keeps it from being known.
async fn changed(guard: &Guard, lock: &mut Lock, db: &Db, storage: &Storage) -> Option<String> {
    if !lock.is_held().await {
        match db.migration_lock().await {
            Ok(Some(again)) => *lock = again,
            Ok(None) => return Some("its connection broke or stood still, and the lock of migrations is taken: by another one, or by what is left of that connection".to_owned()),
            Err(_) => return None,
        }
    }
    compare(storage, db, guard).await.ok()?;
    match guard.verdict() {
        // A pause is waited for.
        Verdict::Open(_) | Verdict::Paused(_) => None,
        closed => Some(closed.to_string()),
    }
}

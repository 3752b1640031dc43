//! The rolling nonce: marker and database are compared, and advanced together.
//!
//! Pending in the database, then in the marker by a conditional write, then confirmed in the database: after a crash
//! anywhere the marker has what the database calls confirmed or pending. Whoever finds a pending one completes that
//! one; so any number of processes may advance at the same time.

use std::time::Duration;

use tracing::{debug, info, warn};
use uuid::Uuid;

use super::Parts;
use crate::db::Db;
use crate::failpoint::removed;
use crate::gate::{self, Cause};
use crate::guard::{Guard, Marked, Verdict, compare};
use crate::outcome::{Advice, Failure};
use crate::retry::{Pauses, UNTIL_BACK};
use crate::stop::Stop;
use crate::storage::{Capabilities, Expected, Kind, Storage};

/// How old a nonce becomes: so long after it was taken, a copy of the database is known for one.
const OLD: Duration = Duration::from_mins(2);
/// How often its age is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(20);
/// How long an advance may take: several statements and requests, each with bounds of its own unless the other end has gone
/// without a word.
const ADVANCES_WITHIN: Duration = Duration::from_mins(3);
/// What advancing needs. Neither the broker nor an operator's consent: a backup may be made of any time.
const NEEDS: &[Cause] = &[Cause::Database, Cause::Storage];
/// Writes until nobody is in the way.
const TRIES: usize = 8;

impl Parts {
    /// Advances the nonce before anything moves; `false` where the stop came first.
    pub(super) async fn advance_first(&self, server: &Capabilities, stop: &Stop) -> bool {
        let mut pauses = Pauses::system(UNTIL_BACK);
        loop {
            tokio::select! {
                () = stop.requested() => return false,
                () = self.gate.opened(gate::WORKER) => {}
            }
            let Err(failure) = self.advance(server).await else { return true };
            info!(error = %failure, "the nonce could not be advanced");
            self.gate.report(&failure);
            tokio::select! {
                () = stop.requested() => return false,
                () = tokio::time::sleep(pauses.next().unwrap_or(LOOK_EVERY)) => {}
            }
        }
    }

    /// Advances it again and again.
    pub(super) async fn keep_advancing(self, server: Capabilities, stop: Stop) {
        loop {
            tokio::select! {
                () = stop.requested() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            if is_old(&self.guard)
                && self.gate.why_closed(NEEDS).is_none()
                && let Err(failure) = self.advance(&server).await
            {
                info!(error = %failure, "the nonce could not be advanced");
            }
        }
    }

    async fn advance(&self, server: &Capabilities) -> Result<(), Failure> {
        let advanced = advance(&self.storage, &self.db, &self.guard, server).await;
        self.tell_guard();
        advanced
    }
}

/// Advances the nonce if it is an old one: for who works beside the worker, or without one.
pub(crate) async fn advance_if_old(
    storage: &Storage,
    db: &Db,
    guard: &Guard,
    server: &Capabilities,
) -> Result<(), Failure> {
    if is_old(guard) { advance(storage, db, guard, server).await } else { Ok(()) }
}

fn is_old(guard: &Guard) -> bool {
    let old = i64::try_from(OLD.as_secs()).unwrap_or(i64::MAX);
    guard.nonce_age().is_none_or(|age| age >= old)
}

/// Advances it once, or completes what another process has begun: before anything moves, so that a copy of the database
/// that was made earlier is known for one from now on.
pub(super) async fn advance(
    storage: &Storage,
    db: &Db,
    guard: &Guard,
    server: &Capabilities,
) -> Result<(), Failure> {
    let advanced = tokio::time::timeout(ADVANCES_WITHIN, tried(storage, db, guard, server)).await;
    // One that is cut off leaves what the next completes.
    advanced.unwrap_or_else(|_| Err(Failure::new(Advice::Retry, "to advance the nonce takes too long")))
}

async fn tried(storage: &Storage, db: &Db, guard: &Guard, server: &Capabilities) -> Result<(), Failure> {
    // Of which one counts only an advance that began after this did, whoever's it is.
    let mut begun = None;
    for _ in 0..TRIES {
        let marker = compare(storage, db, guard).await?;
        match guard.verdict() {
            Verdict::Open(_) | Verdict::Paused(_) => {}
            closed => return Err(Failure::new(Advice::Hold, closed.to_string())),
        }
        let Some(environment) = guard.environment() else { continue };
        let Some((marker, known)) = marker.zip(guard.nonce()) else { continue };
        let since = *begun.get_or_insert(known.advances + i64::from(known.pending.is_some()));
        if known.pending.is_none() && known.advances > since {
            debug!("the nonce was advanced by another process");
            return Ok(());
        }
        let next = known.pending.unwrap_or_else(Uuid::new_v4);
        if known.pending.is_none() {
            match db.propose_nonce(&known, next).await {
                Ok(true) => {}
                Ok(false) => continue,
                // An older version's schema: work goes on as it did there.
                Err(error) if error.is_missing() => {
                    warn!(%error, "the nonce is not advanced: run `file-recycler listener install`");
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
        crate::failpoint::reach("nonce::proposed");
        if Marked::read(&marker.bytes).and_then(|says| says.nonce) != Some(next) {
            let says = Marked { environment, nonce: Some(next), advances: known.advances + 1 };
            let bytes = says.bytes(&guard.database_name().unwrap_or_default());
            match storage.put_marker(bytes, &Expected::Unchanged(marker.etag), server).await {
                Ok(_) => {}
                Err(error) if error.kind == Kind::PreconditionFailed => continue,
                Err(error) => return Err(error.into()),
            }
        }
        crate::failpoint::reach("nonce::in_the_marker");
        db.confirm_nonce(next).await?;
        compare(storage, db, guard).await?;
        // What was pending before this began, a copy may have as well.
        if known.advances >= since || removed("protection::nonce_of_its_own") {
            debug!("the nonce was advanced");
            return Ok(());
        }
    }
    warn!("the marker keeps changing while the nonce is advanced: who else writes it?");
    Err(Failure::new(Advice::Retry, "the marker keeps changing"))
}

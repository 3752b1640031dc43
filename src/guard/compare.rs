//! Marker and database are read together: only so can they be compared.

use super::{Guard, Marked};
use crate::db::Db;
use crate::outcome::Failure;
use crate::storage::{Marker, Storage};

/// Reads until marker and database are of one time.
const TRIES: usize = 5;

/// Reads the marker and then the database, for the guard; gives the marker.
///
/// Another process may advance both in between: then the database is further than the marker that was read, and both
/// are read again.
pub async fn compare(storage: &Storage, db: &Db, guard: &Guard) -> Result<Option<Marker>, Failure> {
    for last in (0..TRIES).rev() {
        let marker = storage.marker().await?;
        let says = marker.as_ref().and_then(|marker| Marked::read(&marker.bytes));
        let state = db.environment().await?;
        let overtaken = says.zip(state.environment.as_ref()).is_some_and(|(says, environment)| {
            !environment.nonce.allows(says.nonce) && environment.nonce.advances > says.advances
        });
        if overtaken && last > 0 {
            continue;
        }
        guard.saw_both(says, state);
        return Ok(marker);
    }
    Ok(None)
}

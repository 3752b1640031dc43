//! The rolling nonce's half that is in the database: pending before the marker is written, confirmed after it.

use uuid::Uuid;

use super::Db;
use super::error::{Attempted, DbError};

/// What the database knows of the nonce.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nonce {
    /// The one that was confirmed last; none before the first.
    pub confirmed: Option<Uuid>,
    /// The one that may be in the marker already.
    pub pending: Option<Uuid>,
    /// How often it was advanced, the pending one not counted.
    pub advances: i64,
    /// For how many seconds it has not been advanced; none before the first.
    pub age: Option<i64>,
}

impl Nonce {
    /// Is this what the marker may say?
    pub fn allows(&self, marked: Option<Uuid>) -> bool {
        marked == self.confirmed || (marked.is_some() && marked == self.pending)
    }
}

impl Db {
    /// Makes `new` the pending nonce, where `known` is still what the database has and nothing is pending.
    pub async fn propose_nonce(&self, known: &Nonce, new: Uuid) -> Result<bool, DbError> {
        const DOING: &str = "proposing the next nonce";
        let mut transaction = self.pool.begin().await.attempted(DOING)?;
        // The marker is written next: a crash of the server must not take the proposal back.
        sqlx::query("SET LOCAL synchronous_commit = on").execute(&mut *transaction).await.attempted(DOING)?;
        let proposed = sqlx::query(
            "UPDATE file_recycler.environment SET pending_nonce = $2
              WHERE nonce IS NOT DISTINCT FROM $1 AND pending_nonce IS NULL AND adopted_at IS NOT NULL",
        )
        .bind(known.confirmed)
        .bind(new)
        .execute(&mut *transaction)
        .await
        .attempted(DOING)?;
        transaction.commit().await.attempted(DOING)?;
        Ok(proposed.rows_affected() == 1)
    }

    /// The marker has the pending nonce: it is confirmed. Nothing where another process has done so.
    pub async fn confirm_nonce(&self, nonce: Uuid) -> Result<(), DbError> {
        sqlx::query(
            "UPDATE file_recycler.environment
                SET nonce = pending_nonce, pending_nonce = NULL, advances = advances + 1,
                    advanced_at = clock_timestamp()
              WHERE pending_nonce = $1",
        )
        .bind(nonce)
        .execute(&self.pool)
        .await
        .attempted("confirming the nonce")?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marker_may_say_what_is_confirmed_or_pending_and_nothing_else() {
        let [a, b, c] = [1, 2, 3].map(|n| Some(Uuid::from_u128(n)));
        let nonce = |confirmed, pending| Nonce { confirmed, pending, ..Nonce::default() };
        for (known, marked, allowed) in [
            (nonce(None, None), None, true),
            (nonce(None, None), a, false),
            (nonce(None, a), None, true),
            (nonce(None, a), a, true),
            (nonce(a, None), a, true),
            (nonce(a, None), None, false),
            (nonce(a, None), b, false),
            (nonce(a, b), a, true),
            (nonce(a, b), b, true),
            (nonce(a, b), c, false),
            (nonce(a, b), None, false),
        ] {
            assert_eq!(known.allows(marked), allowed, "{known:?} {marked:?}");
        }
    }
}

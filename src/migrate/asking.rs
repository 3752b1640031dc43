//! Questions to both servers, with the tries and the patience that a run without a queue has.

use std::time::Duration;

use crate::db::DbError;
use crate::file::ObjectKey;
use crate::outcome::{Advice, DeadReason, Dependency, Failure};
use crate::retry::{ON_THE_WAY, Pauses, outlast};
use crate::storage::{Head, Kind, Side, StorageError};

use super::Migrator;

/// How long an answer of the database is waited for: it gives a statement about a large content ten minutes, and one whose
/// machine has gone without a word never answers.
const ANSWERED_WITHIN: Duration = Duration::from_mins(11);

impl Migrator {
    /// Asks the database, through an outage as well.
    pub(super) async fn database<T, F>(&self, ask: impl Fn() -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, DbError>>,
    {
        outlast(Pauses::system(ON_THE_WAY), || async {
            let answered = tokio::time::timeout(ANSWERED_WITHIN, ask()).await;
            let answered = answered.map_err(|_| {
                Failure::new(Advice::Outage(Dependency::Database), "the database does not answer")
            })?;
            answered.map_err(|error| {
                let lasts = error.is_denied() || error.is_missing();
                let failure = Failure::from(error);
                if lasts { Failure { advice: Advice::Hold, ..failure } } else { failure }
            })
        })
        .await
    }

    /// Asks the storage, through an outage as well. That an object is not there, is another one or cannot be read now is
    /// an answer.
    pub(super) async fn storage<T, F>(&self, ask: impl Fn() -> F) -> Result<Result<T, StorageError>, Failure>
    where
        F: Future<Output = Result<T, StorageError>>,
    {
        outlast(Pauses::system(ON_THE_WAY), || async {
            match ask().await {
                Ok(answer) => Ok(Ok(answer)),
                Err(error)
                    if matches!(error.kind, Kind::PreconditionFailed | Kind::NotFound | Kind::Archived) =>
                {
                    Ok(Err(error))
                }
                Err(error) => Err(Failure::from(self.parts.storage.judge(error).await)),
            }
        })
        .await
    }

    /// The object under a key; nothing where it is not there, while its bucket is.
    pub(super) async fn object(&self, key: &ObjectKey) -> Result<Option<Head>, Failure> {
        let head = self.storage(|| self.parts.storage.head(Side::Object, key)).await??;
        if head.is_none() {
            // Some servers say of a bucket that is away what they say of an object.
            self.storage(|| self.parts.storage.check()).await??;
        }
        Ok(head)
    }
}

/// A sentence about something that no try mends.
pub(super) fn lasting(why: impl Into<String>) -> Failure {
    Failure::new(Advice::GiveUp(DeadReason::Internal), why)
}

/// Is the trouble one of single rows: something in the database refuses what is asked for this one?
pub(super) fn is_of_rows(failure: &Failure) -> bool {
    matches!(failure.advice, Advice::GiveUp(_))
}

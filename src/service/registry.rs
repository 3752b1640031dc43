//! The recycler's questions to the database, answered only while the guard admits: the alive check's own
//! statement says whose environment it was and whether it is paused, so no answer is older than that.

use std::sync::Arc;

use super::template::Template;
use crate::db::registry::{Checked, Registry as DbRegistry};
use crate::db::{Db, ledger};
use crate::failpoint;
use crate::file::{Bucket, FileRef, Named, Object, Recycle};
use crate::fresh::Fresh;
use crate::guard::{Guard, Verdict, compare};
use crate::outcome::{Advice, Dependency, Failure, Liveness, Outcome};
use crate::recycle::{LedgerEntry, Registry};
use crate::retry::{Pauses, WITHIN_A_DELIVERY, retry};
use crate::storage::Storage;

/// The registry of one process.
pub(super) struct GuardedRegistry {
    pub(super) registry: Arc<DbRegistry>,
    pub(super) db: Db,
    pub(super) storage: Storage,
    pub(super) guard: Guard,
    pub(super) template: Arc<Template>,
    /// The comparison of marker and database, for all who miss an object at the same time.
    pub(super) compared: Fresh<Result<(), Failure>>,
    pub(super) object: Bucket<Object>,
    pub(super) recycle: Bucket<Recycle>,
    pub(super) elsewhere: Elsewhere,
}

/// What becomes of an object whose rows say that their content is not in S3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Elsewhere {
    /// It stays: nobody has asked for it.
    Stays,
    /// It goes, as one without a row would.
    Goes,
}

impl Elsewhere {
    fn of(self, liveness: Vec<Liveness>) -> Vec<Liveness> {
        let of = |one| match (one, self) {
            (Liveness::Elsewhere, Self::Goes) => Liveness::Dead,
            _ => one,
        };
        liveness.into_iter().map(of).collect()
    }
}

impl Registry for GuardedRegistry {
    async fn check(&self, files: Vec<Named>) -> Result<Vec<Liveness>, Failure> {
        let admitted = self.guard.admitted()?;
        // Before the question: an answer may be of before the next advance.
        let before = self.guard.advances();
        let asked =
            retry(Pauses::system(WITHIN_A_DELIVERY), || async { Ok(self.registry.liveness(&files).await?) });
        let Checked { liveness, environment, paused, advances } = asked.await.map_err(out)?;
        if paused && !failpoint::removed("protection::pause") {
            return Err(Failure::new(Advice::Hold, "an operator has paused this environment"));
        }
        if environment != Some(admitted) {
            let error = format!("the database is no longer environment {admitted}");
            return Err(Failure::new(Advice::Hold, error));
        }
        if before.is_none_or(|before| advances < before) {
            let error =
                "the database is not the one that it was: it has been set back, or replaced by a copy";
            return Err(Failure::new(Advice::Hold, error));
        }
        Ok(self.elsewhere.of(liveness))
    }

    /// Not held by a pause: what is noted here has happened already.
    async fn note(&self, entries: Vec<LedgerEntry>) -> Result<Vec<Liveness>, Failure> {
        self.proves_template(&entries);
        let rows: Vec<_> = entries.into_iter().map(|entry| self.row(entry)).collect();
        let noted =
            retry(Pauses::system(WITHIN_A_DELIVERY), || async { Ok(self.registry.note(&rows).await?) });
        Ok(self.elsewhere.of(noted.await.map_err(out)?.liveness))
    }

    async fn doubt_key(&self, file: &FileRef) -> Result<(), Failure> {
        if file.key.is_some()
            || self.template.is_proven()
            || failpoint::removed("protection::template_doubted")
        {
            return Ok(());
        }
        let Some(other) = self.template.found_under(&self.storage, file).await? else { return Ok(()) };
        let why = self.template.wrong(&other);
        if self.template.is_contradicted_by(&file.file_id) {
            self.guard.saw_template(Some(why.clone()));
            return Err(Failure::new(Advice::Hold, why));
        }
        // One odd object holds up nobody else.
        Err(Failure::new(Advice::Retry, why))
    }

    async fn confirm_environment(&self) -> Result<(), Failure> {
        // Many misses at once share one comparison, which began after each of them.
        self.compared
            .ask(|| async { compare(&self.storage, &self.db, &self.guard).await.map(|_| ()) })
            .await?;
        match self.guard.verdict() {
            Verdict::Open(_) => Ok(()),
            closed => Err(Failure::new(Advice::Hold, closed.to_string())),
        }
    }
}

impl GuardedRegistry {
    /// What is noted as moved was under its key.
    fn proves_template(&self, entries: &[LedgerEntry]) {
        if entries.iter().any(|entry| entry.outcome == Outcome::Moved && entry.file.key.is_none()) {
            self.template.prove();
        }
    }

    fn row(&self, entry: LedgerEntry) -> ledger::LedgerEntry {
        ledger::LedgerEntry {
            file_id: entry.file.file_id,
            schema: entry.file.schema,
            record: entry.event.record,
            key: entry.key,
            object_bucket: self.object.as_str().to_owned(),
            recycle_bucket: self.recycle.as_str().to_owned(),
            etag: entry.etag.map(|etag| etag.as_str().to_owned()),
            size: entry.size,
            event_id: entry.event.id,
            deleted_at: entry.event.deleted_at,
            recycled_at: entry.recycled_at,
            outcome: entry.outcome,
            detail: None,
        }
    }
}

fn out(failure: Failure) -> Failure {
    failure.of_everybody(Dependency::Database)
}

//! What is not there, and what is alive after all: a miss is believed only with care, and a living file gets
//! its object back.

use super::decision::may_be_read_as_another;
use super::mover::Shared;
use super::{Buckets, Counted, Job, Recycler, Registry, one_each};
use crate::config::Mode;
use crate::failpoint;
use crate::file::ObjectKey;
use crate::outcome::{Advice, Failure, Liveness, Outcome};
use crate::storage::{Head, Kind, Side};

impl<R: Registry, B: Buckets> Recycler<R, B> {
    pub(super) async fn already_moved(&self, job: &Job, copy: Head) -> Result<Outcome, Failure> {
        self.believe_the_miss().await?;
        let recycled_at = copy.last_modified.unwrap_or_else(|| self.shared().clock.now());
        let entry = job.entry(Outcome::AlreadyMoved, Some((&copy.etag, copy.size)), recycled_at);
        match self.notes.submit(entry).await? {
            Liveness::Dead | Liveness::Elsewhere => Ok(Outcome::AlreadyMoved),
            Liveness::Alive if self.shared().mode == Mode::Observe => Ok(Outcome::Alive),
            Liveness::Alive => self.shared().bring_back(job).await,
        }
    }

    /// In neither bucket.
    pub(super) async fn missing(&self, job: &Job) -> Result<Outcome, Failure> {
        let shared = self.shared();
        // The two looks went out together: the file may have moved after one of them and before the other.
        if let Some(copy) = shared.judged(shared.buckets.head(Side::Recycle, &job.key).await).await? {
            return self.already_moved(job, copy).await;
        }
        self.believe_the_miss().await?;
        shared.registry.doubt_key(&job.file).await?;
        tracing::warn!(
            event = job.event.id, file = %job.file.file_id, key = %job.key,
            "the file is in neither bucket"
        );
        self.notes.submit(job.entry(Outcome::Missing, None, self.shared().clock.now())).await?;
        Ok(Outcome::Missing)
    }

    /// That an object is not there is believed only after both buckets answered and are still this
    /// environment's: some servers say the same of a bucket that is away.
    async fn believe_the_miss(&self) -> Result<(), Failure> {
        if failpoint::removed("protection::doubt_of_a_miss") {
            return Ok(());
        }
        self.shared().buckets.check().await?;
        self.shared().registry.confirm_environment().await
    }

    /// A living file stays. Where an earlier try took its object away before the file was found alive, and
    /// died or failed before it could bring it back, that is done now.
    pub(super) async fn leave_alone(&self, job: &Job) -> Result<Outcome, Failure> {
        let shared = self.shared();
        let inexact = may_be_read_as_another(&job.key) && !shared.server.exact_keys;
        if shared.mode == Mode::Observe || inexact {
            return Ok(Outcome::Alive);
        }
        match self.look(&job.key).await {
            Ok((None, Some(copy))) => self.gone_though_alive(job, copy).await,
            // An object of a living file that we cannot handle is none of our business.
            Ok(_) | Err(Failure { advice: Advice::GiveUp(_), .. }) => Ok(Outcome::Alive),
            Err(failure) => Err(failure),
        }
    }

    /// It may have died since it was asked for, and another worker, by another event, may have moved it.
    async fn gone_though_alive(&self, job: &Job, copy: Head) -> Result<Outcome, Failure> {
        match self.checks.submit(job.named()).await? {
            Liveness::Alive => self.shared().bring_back(job).await,
            Liveness::Elsewhere => Ok(Outcome::Elsewhere),
            Liveness::Dead => self.already_moved(job, copy).await,
        }
    }
}

impl<R: Registry, B: Buckets> Shared<R, B> {
    async fn has_object(&self, key: &ObjectKey) -> Result<bool, Failure> {
        Ok(self.judged(self.buckets.head(Side::Object, key).await).await?.is_some())
    }

    /// Copies the object of a file that is alive after all back to where it belongs, never over a newer
    /// one. The copy in the recycle bucket stays.
    pub(super) async fn bring_back(&self, job: &Job) -> Result<Outcome, Failure> {
        let (event, file, key) = (&job.event.id, &job.file.file_id, &job.key);
        (self.meter)(Counted::AliveAfterMove);
        let copied = match self.buckets.head(Side::Recycle, key).await {
            Ok(Some(copy)) => self.buckets.copy_back(key, &copy, &self.server).await.map(drop),
            Ok(None) => {
                let error = format!("the copy of '{key}' is gone from the recycle bucket");
                tracing::error!(event, %file, %key, "a file is alive after its object moved, and its copy is gone");
                return Err(Failure::new(Advice::Retry, error));
            }
            Err(error) => Err(error),
        };
        match copied {
            Ok(()) => {
                tracing::error!(event, %file, %key, "a file is alive after its object moved: copied back");
            }
            Err(error) if error.kind == Kind::PreconditionFailed && self.has_object(key).await? => {
                tracing::error!(event, %file, %key, "a file is alive after its object moved: it has a newer one");
            }
            Err(error) => {
                let failure = self.judge(error).await;
                tracing::error!(event, %file, %key, %failure, "a file is alive after its object moved");
                // Until it is back, this must not end: the next try comes here again.
                let advice = match failure.advice {
                    Advice::Outage(_) | Advice::SlowDown | Advice::Hold => failure.advice,
                    Advice::Retry | Advice::GiveUp(_) => Advice::Retry,
                };
                return Err(Failure { advice, ..failure });
            }
        }
        self.is_alive_still(job).await
    }

    /// What died while it was brought back may have been looked for in vain by its own event: it moves by this one.
    async fn is_alive_still(&self, job: &Job) -> Result<Outcome, Failure> {
        let answer = one_each(self.registry.check(vec![job.named()]).await?, 1)?;
        match answer.first() {
            Some(Liveness::Dead) => {
                let error = format!("the file of '{}' died while its object was brought back", job.key);
                Err(Failure::new(Advice::Retry, error))
            }
            _ => Ok(Outcome::Alive),
        }
    }
}

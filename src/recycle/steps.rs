//! The copies of a move, each with its proof.

use std::sync::Arc;

use super::decision::Seen;
use super::mover::proven;
use super::progress::{Move, Try};
use super::{Buckets, Job, Recycler, Registry};
use crate::failpoint;
use crate::outcome::{Failure, Outcome};
use crate::storage::{Head, Kind, Over, Side, StorageError};

impl<R: Registry, B: Buckets> Recycler<R, B> {
    /// The two conditions are the proof: the copy goes over nothing, its answer names what was copied, and
    /// only that is deleted. Whatever is unusual about it, a look at both buckets tells more.
    pub(super) async fn copy_unseen(&self, file: &Move, this: &mut Try) -> Result<Option<Outcome>, Failure> {
        let job = &file.job;
        failpoint::reach("recycle::before_copy");
        let copied = match self.shared().buckets.copy_unseen(&job.key).await {
            Ok(copied) => copied,
            Err(error) if changed_meanwhile(&error) || error.kind == Kind::BadRequest => {
                this.look_again();
                return Ok(None);
            }
            Err(error) => {
                if error.kind == Kind::Timeout {
                    file.doubt();
                }
                return Err(self.shared().judge(error).await);
            }
        };
        failpoint::reach("recycle::after_copy");
        this.fresh = true;
        let size = this.intent.size.unwrap_or_default();
        let proven = proven(job, this, copied.etag.clone(), copied.etag, size);
        self.delete(file, this, proven).await
    }

    /// Where the size or the storage class leaves a doubt, one look removes it.
    pub(super) async fn look_at_source(&self, job: &Job, this: &mut Try) -> Result<Option<Outcome>, Failure> {
        let shared = self.shared();
        let source = shared.judged(shared.buckets.head(Side::Object, &job.key).await).await?;
        self.mind_class(source.as_ref());
        match source {
            Some(source) => this.seen = Seen::Source(source),
            None => this.look_again(),
        }
        Ok(None)
    }

    /// As without a look, only that the copy's answer has to name what was looked at.
    pub(super) async fn copy_seen(
        &self,
        file: &Move,
        this: &mut Try,
        source: Head,
    ) -> Result<Option<Outcome>, Failure> {
        let (job, shared) = (&file.job, self.shared());
        let copied = shared.buckets.copy_to_recycle(&job.key, &source, &Over::Nothing, &shared.server).await;
        match copied {
            Ok(copied) => {
                failpoint::reach("recycle::after_copy");
                this.fresh = true;
                if copied.etag == source.etag {
                    let proven = proven(job, this, source.etag, copied.etag, source.size);
                    return self.delete(file, this, proven).await;
                }
            }
            Err(error) if changed_meanwhile(&error) => {}
            Err(error) => return Err(shared.judge(error).await),
        }
        this.look_again();
        Ok(None)
    }

    pub(super) async fn copy(
        &self,
        job: &Arc<Job>,
        this: &mut Try,
        source: Head,
        over: &Over,
    ) -> Result<Option<Outcome>, Failure> {
        let shared = self.shared();
        match shared.buckets.copy_to_recycle(&job.key, &source, over, &shared.server).await {
            Ok(_) => {}
            // Our own earlier request whose answer was lost, another worker, the CRM: look again.
            Err(error) if changed_meanwhile(&error) => {
                this.look_again();
                return Ok(None);
            }
            Err(error) => return Err(shared.judge(error).await),
        }
        failpoint::reach("recycle::after_copy");
        this.fresh = true;
        // What the copy's answer claims is no proof.
        let copy = shared.judged(shared.buckets.head(Side::Recycle, &job.key).await).await?;
        this.seen = Seen::Both { source: Some(source), copy, equal: None, fresh: true };
        Ok(None)
    }

    pub(super) async fn compare(
        &self,
        job: &Arc<Job>,
        this: &mut Try,
        source: Head,
        copy: Head,
    ) -> Result<Option<Outcome>, Failure> {
        match self.shared().buckets.same_bytes(&job.key, &source, &copy).await {
            Ok(equal) => {
                let (source, copy) = (Some(source), Some(copy));
                this.seen = Seen::Both { source, copy, equal: Some(equal), fresh: this.fresh };
            }
            Err(error) if changed_meanwhile(&error) => this.look_again(),
            Err(error) => return Err(self.shared().judge(error).await),
        }
        Ok(None)
    }
}

fn changed_meanwhile(error: &StorageError) -> bool {
    matches!(error.kind, Kind::PreconditionFailed | Kind::ConcurrentRequest | Kind::NotFound)
}

//! Which kinds of requests are refused to these credentials? Each is tried by itself, so that all of them are named at once.

use time::OffsetDateTime;

use super::object::Probe;
use crate::clock::Clock;
use crate::storage::error::Asked;
use crate::storage::permission::needed;
use crate::storage::{Kind, Operation, Side, Storage, StorageError};

/// An upload that nobody began.
const NO_UPLOAD: &str = "file-recycler-no-such-upload";

/// What was refused, and what else a try told.
#[derive(Clone, Debug, Default)]
pub struct Tried {
    /// The permissions of requests that a move cannot do without, as IAM names them.
    pub lacking: Vec<String>,
    /// Those that make some things better.
    pub lacking_optional: Vec<String>,
    /// The storage's own time of a write, with this machine's time before and after it.
    pub written: Option<Written>,
}

/// When an object was written, by both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    /// By the storage's, to the second.
    pub at: OffsetDateTime,
    /// By ours, before the request.
    pub before: OffsetDateTime,
    /// By ours, after the answer.
    pub after: OffsetDateTime,
}

impl Storage {
    /// Tries every kind of request that a move needs on a throw-away object, and removes that again.
    ///
    /// # Errors
    /// What is no refusal: then nothing is known of the rights.
    pub async fn try_requests(&self, clock: &Clock) -> Result<Tried, StorageError> {
        let probe = Probe::new(self);
        let mut tried = Tried::default();
        let result = probe.try_all(&mut tried, clock).await;
        let (object, recycle) = probe.remove_from_both().await;
        result?;
        tried.allowed(object)?;
        tried.allowed(recycle)?;
        Ok(tried)
    }
}

impl Tried {
    /// The answer of a request, or nothing where it was refused for want of a right.
    fn allowed<T>(&mut self, answer: Result<T, StorageError>) -> Result<Option<T>, StorageError> {
        refused(answer, &mut self.lacking)
    }
}

fn refused<T>(answer: Result<T, StorageError>, lacking: &mut Vec<String>) -> Result<Option<T>, StorageError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.kind == Kind::AccessDenied => {
            let right = needed(error.operation, error.side).unwrap_or_else(|| error.operation.to_string());
            if !lacking.contains(&right) {
                lacking.push(right);
            }
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

impl Probe<'_> {
    async fn try_all(&self, tried: &mut Tried, clock: &Clock) -> Result<(), StorageError> {
        for side in [Side::Object, Side::Recycle] {
            // Of objects that do not exist, too: credentials that may not list get 403 for those.
            tried.allowed(self.storage.head_bucket(side).await)?;
            tried.allowed(self.head(side).await)?;
        }
        let before = clock.now();
        if tried.allowed(self.put(None).await)?.is_some() {
            let after = clock.now();
            let head = tried.allowed(self.found(Side::Object).await)?;
            tried.written = head.and_then(|head| head.last_modified).map(|at| Written { at, before, after });
            if tried.allowed(self.copy(None).await)?.is_some() {
                tried.allowed(self.found(Side::Recycle).await)?;
                self.try_tags(Side::Recycle, tried).await?;
            }
            // After the copy: with tags, that needs more.
            self.try_tags(Side::Object, tried).await?;
        }
        self.try_optional(&mut tried.lacking_optional).await
    }

    async fn try_tags(&self, side: Side, tried: &mut Tried) -> Result<(), StorageError> {
        if tried.allowed(self.read_tags(side).await)?.unwrap_or(true) {
            tried.allowed(self.write_tags(side).await)?;
        }
        Ok(())
    }

    /// Requests about an upload that does not exist change nothing: who may not ask is told so first.
    async fn try_optional(&self, lacking: &mut Vec<String>) -> Result<(), StorageError> {
        let side = Side::Object;
        let request = self.storage.client().get_bucket_lifecycle_configuration();
        let asked = Asked { operation: Operation::GetBucketLifecycleConfiguration, side, key: None };
        let answer = self.storage.send(asked, || request.bucket(self.storage.bucket(side)).send()).await;
        unimportant(answer.map(drop), lacking)?;
        let side = Side::Recycle;
        let request = self.storage.client().list_parts().bucket(self.storage.bucket(side));
        let asked = self.asked(Operation::ListParts, side);
        let answer = self.storage.send(asked, || request.key(&self.key).upload_id(NO_UPLOAD).send()).await;
        unimportant(answer.map(drop), lacking)?;
        for side in [Side::Object, Side::Recycle] {
            let request = self.storage.client().abort_multipart_upload().bucket(self.storage.bucket(side));
            let asked = self.asked(Operation::AbortMultipartUpload, side);
            let answer =
                self.storage.send(asked, || request.key(&self.key).upload_id(NO_UPLOAD).send()).await;
            unimportant(answer.map(drop), lacking)?;
        }
        Ok(())
    }
}

/// What is asked for does not exist, so that most answers are errors: only a refusal says something.
fn unimportant(answer: Result<(), StorageError>, lacking: &mut Vec<String>) -> Result<(), StorageError> {
    match answer {
        Err(error) if error.kind != Kind::AccessDenied && !error.may_pass() => Ok(()),
        answer => refused(answer, lacking).map(drop),
    }
}

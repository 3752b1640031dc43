//! What can this server do? Found out with throw-away objects, because a server that ignores a condition
//! does not say so.

mod beyond;
mod class;
mod object;
mod tried;

use futures_util::future::{join_all, try_join, try_join3};
use md5::{Digest, Md5};

use self::object::{Probe, WRONG_ETAG, Wrong};
pub use self::tried::{Tried, Written};
use super::{Capabilities, ETag, Kind, Operation, Side, Storage, StorageError, Support};

impl Storage {
    /// Finds out what the server can do, and with it whether these credentials may read, write and delete
    /// in both buckets. What it wrote it removes again, also when it fails.
    pub async fn probe(&self) -> Result<Capabilities, StorageError> {
        // Some servers make a bucket that is not there at the first write.
        self.check().await?;
        let probe = Probe::new(self);
        let result = probe.capabilities().await;
        let removed = probe.remove().await;
        let capabilities = result?;
        removed.map(|()| capabilities)
    }

    /// Every kind of request that a move needs, on a throw-away object: the control question.
    pub(super) async fn rehearse(&self) -> Result<(), StorageError> {
        let probe = Probe::new(self);
        let result = probe.rehearse().await;
        let removed = probe.remove().await;
        result.and(removed)
    }
}

impl Probe<'_> {
    async fn rehearse(&self) -> Result<(), StorageError> {
        // Of objects that do not exist, too: credentials that may not list get 403 for those.
        try_join(self.head(Side::Object), self.head(Side::Recycle)).await?;
        self.put(None).await?;
        try_join(self.found(Side::Object), self.copy(None)).await?;
        self.found(Side::Recycle).await?;
        Ok(())
    }

    /// What only reads goes side by side; conditional writes to one key do not, which a server may refuse for that
    /// alone (409).
    async fn capabilities(&self) -> Result<Capabilities, StorageError> {
        self.head(Side::Object).await?;
        self.put(None).await?;
        let (exact_keys, source, copy) =
            try_join3(self.exact_keys(), self.found(Side::Object), self.head(Side::Recycle)).await?;
        if copy.is_some() {
            let asked = self.asked(Operation::HeadObject, Side::Recycle);
            return Err(StorageError::new(asked, Kind::SameBucket, "an object put in one is in the other"));
        }
        let copy_source_if_match = self.support(&Wrong::CopySource).await?;
        self.copy(None).await?;
        let (copy, ()) = try_join(self.found(Side::Recycle), self.tags()).await?;
        let copies = async {
            let over_nothing = self.support(&Wrong::CopyOverNothing).await?;
            Ok((over_nothing, self.support(&Wrong::CopyOverOther).await?))
        };
        let puts = async {
            let over_nothing = self.support(&Wrong::PutOverNothing).await?;
            Ok((over_nothing, self.support(&Wrong::PutOverOther).await?))
        };
        let ((copy_if_none_match, copy_if_match), (put_if_none_match, put_if_match)) =
            try_join(copies, puts).await?;
        let md5 = <[u8; 16]>::from(Md5::digest(&self.body));
        Ok(Capabilities {
            copy_source_if_match,
            copy_if_none_match,
            copy_if_match,
            put_if_none_match,
            put_if_match,
            exact_keys,
            copy_keeps_etag: source.etag == copy.etag && source.etag.md5() == Some(md5),
            unseen_class: self.unseen_class().await?,
            object_versioned: self.keeps_versions(Side::Object).await?,
            recycle_versioned: self.keeps_versions(Side::Recycle).await?,
            // The last one: it deletes.
            delete_if_match: self.delete_support().await?,
        })
    }

    /// Looks for the object under keys that are not its own, but come near.
    async fn exact_keys(&self) -> Result<bool, StorageError> {
        let (folder, name) = self.key.rsplit_once('/').unwrap_or(("", &self.key));
        let keys = [
            format!("{folder}//{name}"),
            format!("{folder}/./{name}"),
            format!("{folder}/x/../{name}"),
            format!("{folder}\\{name}"),
            format!("/{folder}/{name}"),
            format!("{folder}/{name}/"),
        ];
        let looks = join_all(keys.iter().map(|key| self.storage.head_raw(Side::Object, key))).await;
        let mut exact = true;
        for look in looks {
            match look {
                Ok(None) => {}
                Ok(Some(_)) => exact = false,
                Err(error) => match error.kind {
                    Kind::Timeout | Kind::Connection | Kind::SlowDown => return Err(error),
                    // A key that the server will not hear of.
                    _ => exact = false,
                },
            }
        }
        Ok(exact)
    }

    /// Does the bucket keep versions? That an answer names one says nothing: Garage names one for every object
    /// and keeps none. So the object is written again, and the first version asked for. Credentials that may
    /// not read versions find none: then nothing is written on top of other content.
    async fn keeps_versions(&self, side: Side) -> Result<bool, StorageError> {
        // `null` is the id of what is written while versioning is suspended: the next overwrites it.
        let first = self.first_version(side).filter(|first| first != "null");
        let Some(first) = first else { return Ok(false) };
        match side {
            Side::Object => self.put(None).await?,
            Side::Recycle => self.copy(None).await?,
        }
        let request = self
            .storage
            .client()
            .head_object()
            .bucket(self.storage.bucket(side))
            .key(&self.key)
            .version_id(&first);
        match self.storage.send(self.asked(Operation::HeadObject, side), || request.send()).await {
            Ok(output) => Ok(output.version_id() == Some(&first)),
            Err(error) => match error.kind {
                Kind::Timeout | Kind::Connection | Kind::SlowDown | Kind::ServerError => Err(error),
                _ => Ok(false),
            },
        }
    }

    /// Sends a request whose condition does not hold, and sees what the server makes of it.
    async fn support(&self, wrong: &Wrong) -> Result<Support, StorageError> {
        let result = match wrong {
            Wrong::PutOverNothing | Wrong::PutOverOther => self.put(Some(wrong)).await,
            Wrong::CopySource | Wrong::CopyOverNothing | Wrong::CopyOverOther => self.copy(Some(wrong)).await,
        };
        match result {
            Ok(()) => Ok(Support::Ignored),
            Err(error) => refusal(error),
        }
    }

    async fn delete_support(&self) -> Result<Support, StorageError> {
        match self.delete(Side::Object, Some(&ETag::new(WRONG_ETAG))).await {
            // It says that it deleted: then it ignored the condition, or it tells what is not so.
            Ok(()) => return Ok(Support::Ignored),
            Err(error) => match refusal(error)? {
                Support::Honoured => {}
                other => return Ok(other),
            },
        }
        // A condition that is never met is not kept either: with the right ETag it has to go.
        let right = self.found(Side::Object).await?;
        match self.delete(Side::Object, Some(&right.etag)).await {
            Ok(()) if self.head(Side::Object).await?.is_none() => Ok(Support::Honoured),
            Ok(()) => Ok(Support::Refused),
            Err(error) => match refusal(error)? {
                Support::Honoured | Support::Refused | Support::Ignored => Ok(Support::Refused),
            },
        }
    }
}

/// Is the error the condition's, or a refusal of conditions? Anything else says nothing about either.
fn refusal(error: StorageError) -> Result<Support, StorageError> {
    match error.kind {
        Kind::PreconditionFailed => Ok(Support::Honoured),
        Kind::NotImplemented | Kind::BadRequest => Ok(Support::Refused),
        _ => Err(error),
    }
}

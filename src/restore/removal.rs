//! Removing the copy of a file that is where it belongs again: only on an operator's word, and only what is proven to be
//! there.

use futures_util::future::try_join;

use super::file::changed;
use super::origin::row;
use super::{FileResult, Restored, Restorer, Wanted};
use crate::failpoint;
use crate::file::Named;
use crate::outcome::{Failure, Liveness};
use crate::recycle::decision::same_content;
use crate::storage::{Head, MAX_COPY, Side};

impl Restorer {
    /// Removes the copy under its ETag, if it has the object's content. It stays where that cannot be proven, and the
    /// file's line says so.
    pub(super) async fn remove_copy(
        &self,
        wanted: &Wanted,
        seen: &Head,
        done: &mut FileResult,
    ) -> Result<(), Failure> {
        let (storage, server) = (&self.parts.storage, &self.parts.server);
        if !self.settings.apply {
            // What would be restored is the copy itself; of what is there already only the size is known.
            let same = done.result == Restored::Restored || done.size == Some(seen.size);
            done.copy_removed = same && row(wanted).is_some();
            done.estimate.removals += u64::from(done.copy_removed);
            return Ok(());
        }
        let looks =
            try_join(storage.head(Side::Object, &wanted.key), storage.head(Side::Recycle, &wanted.key));
        let (Some(object), Some(copy)) = looks.await? else { return Ok(()) };
        let same = failpoint::removed("protection::proof_before_removal")
            || same_content(server, &copy, &object)
            || self.equal_bytes(wanted, &object, &copy).await?;
        if !same {
            note(done, "its copy stays: it is not proven to have the object's content");
            return Ok(());
        }
        if let Err(why) = self.is_alive(wanted).await {
            note(done, &format!("its copy stays: {why}"));
            return Ok(());
        }
        failpoint::reach("restore::before_removal");
        match storage.remove_copy(&wanted.key, &copy.etag, server).await {
            Ok(_) => {
                done.copy_removed = true;
                done.estimate.removals += 1;
            }
            Err(error) if changed(&error) => note(done, "its copy stays: it was written again meanwhile"),
            Err(error) => note(done, &format!("its copy stays: {error}")),
        }
        Ok(())
    }

    /// Does the database name the file now? A file that was deleted meanwhile is a worker's: the copy may be the one that
    /// it has just made, and soon the only one.
    async fn is_alive(&self, wanted: &Wanted) -> Result<(), String> {
        let files = [Named { id: wanted.id.clone(), key: wanted.key.clone() }];
        let answer = self.parts.db.check(&self.questions, &files).await.map_err(|error| error.to_string())?;
        let checked = answer.of_the_primary(&self.parts.catalog).map_err(|error| error.to_string())?;
        if checked.liveness != [Liveness::Alive] {
            return Err("no row of the database names the file now".to_owned());
        }
        Ok(())
    }

    async fn equal_bytes(&self, wanted: &Wanted, object: &Head, copy: &Head) -> Result<bool, Failure> {
        if object.size != copy.size || object.size > MAX_COPY || copy.archived || object.archived {
            return Ok(false);
        }
        match self.parts.storage.same_bytes(&wanted.key, object, copy).await {
            Ok(equal) => Ok(equal),
            Err(error) if changed(&error) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

fn note(done: &mut FileResult, text: &str) {
    done.why = Some(match done.why.take() {
        Some(why) => format!("{why}; {text}"),
        None => text.to_owned(),
    });
}

//! What the listings of both buckets say is enough for most files: no request for one that is where it belongs, and one
//! for a small one that is not.

use super::decision::{Facts, Memory, Next, Place, Seen, Source, Versions, decide};
use super::file::{ended, estimate};
use super::origin::row;
use super::{FileResult, Restored, Restorer, Wanted};
use crate::failpoint;
use crate::outcome::Failure;
use crate::recycle::decision::MAX_UNSEEN;
use crate::storage::{Capabilities, Head, Listed, ListedClass, Origin, Over, Side, Support};

impl Restorer {
    /// Does with a file what the listings are enough for; nothing where it has to be looked at.
    pub(super) async fn by_listings(&self, wanted: &Wanted) -> Result<Option<FileResult>, Failure> {
        let Some(listed) = &wanted.listed else { return Ok(None) };
        if wanted.image.is_some() || self.settings.remove_copy {
            return Ok(None);
        }
        let old = self.parts.old_versions;
        let place = |listed: Option<&Listed>, versioned| Place {
            latest: listed.map(Seen::from),
            versions: if versioned { Versions::NotAsked } else { Versions::None },
        };
        let facts = Facts {
            row: row(wanted),
            force: self.settings.force,
            object: place(listed.object.as_ref(), old.object),
            keeps_overwritten: false,
            copy: place(listed.copy.as_ref(), old.recycle),
            backup_time: self.settings.backup_time,
            memory: Memory::NotAsked,
            kept: &self.parts.kept,
            now: self.parts.clock.now(),
        };
        match (decide(&facts), &listed.object, &listed.copy) {
            (Next::End(Restored::Present, why), Some(object), _) => {
                let done = ended(wanted, Restored::Present, why);
                Ok(Some(FileResult { size: Some(object.size), ..done }))
            }
            (Next::Copy(Source::Copy), None, Some(copy)) if self.settings.apply => {
                let known = proof_enough(&self.parts.server) && self.tells_all(copy);
                match Head::listed(copy).filter(|_| known) {
                    Some(copy) => Box::pin(self.put_back_listed(wanted, copy)).await,
                    None => Ok(None),
                }
            }
            _ => Ok(None),
        }
    }

    /// Is a copy of what this line of a listing names a copy of all that belongs to it? Of what is larger, of several
    /// parts or in a class of its own, a look says more.
    fn tells_all(&self, copy: &Listed) -> bool {
        let class = match copy.class {
            ListedClass::Standard => true,
            ListedClass::Infrequent => !self.parts.storage.classes_come_back(),
            ListedClass::Other => false,
        };
        class && copy.size <= MAX_UNSEEN && copy.etag.as_ref().is_some_and(|etag| etag.md5().is_some())
    }

    /// Copies what was listed, and only that, over nothing.
    async fn put_back_listed(&self, wanted: &Wanted, copy: Head) -> Result<Option<FileResult>, Failure> {
        let storage = &self.parts.storage;
        let origin = Origin { side: Side::Recycle, version: None, head: &copy };
        failpoint::reach("restore::before_listed_copy");
        let Some(copied) = self.copied(wanted, &origin, &Over::Nothing, false).await? else {
            return Ok(None);
        };
        failpoint::reach("restore::after_listed_copy");
        let mut size = copy.size;
        if copied.etag != copy.etag {
            // Its ETag is none of its content: it is encrypted in a way of its own, which the listing did not tell.
            let Some(head) = storage.head(Side::Recycle, &wanted.key).await? else { return Ok(None) };
            let origin = Origin { side: Side::Recycle, version: None, head: &head };
            if !self.put_back(wanted, &origin, &Over::Known(copied.etag)).await? {
                return Ok(None);
            }
            size = head.size;
        }
        let done = ended(wanted, Restored::Restored, None);
        Ok(Some(FileResult { size: Some(size), estimate: estimate(&copy), ..done }))
    }
}

/// Does the server itself refuse a copy over something, or of something else than was listed, and does its answer say
/// what it copied?
fn proof_enough(server: &Capabilities) -> bool {
    let kept = [server.copy_if_none_match, server.copy_if_match, server.copy_source_if_match];
    kept.iter().all(|support| *support == Support::Honoured) && server.copy_keeps_etag
}

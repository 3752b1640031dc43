//! What is known of one file while it is worked on: looks, versions, memory.

use futures_util::future::try_join;

use super::decision::{Facts, Memory, Place, Question, Seen, Versions};
use super::{Restorer, RowFacts, Wanted};
use crate::outcome::Failure;
use crate::storage::{Head, Side, StorageError, Version};

/// What has been looked at.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) object: Option<Head>,
    pub(super) copy: Option<Head>,
    object_versions: Option<Vec<Version>>,
    copy_versions: Option<Vec<Version>>,
    memory: Memory,
}

impl Look {
    pub(super) async fn at(restorer: &Restorer, wanted: &Wanted) -> Result<Self, StorageError> {
        let storage = &restorer.parts.storage;
        let (object, copy) =
            try_join(storage.head(Side::Object, &wanted.key), storage.head(Side::Recycle, &wanted.key))
                .await?;
        Ok(Self { object, copy, object_versions: None, copy_versions: None, memory: Memory::NotAsked })
    }

    /// Finds out what the decision wants to know.
    pub(super) async fn ask(
        &mut self,
        question: Question,
        restorer: &Restorer,
        wanted: &Wanted,
    ) -> Result<(), Failure> {
        let parts = &restorer.parts;
        match question {
            Question::ObjectVersions => {
                self.object_versions = Some(parts.storage.versions(Side::Object, &wanted.key).await?);
            }
            Question::CopyVersions => {
                self.copy_versions = Some(parts.storage.versions(Side::Recycle, &wanted.key).await?);
            }
            Question::Memory => {
                let remembered =
                    parts.db.last_recycled(&wanted.id, &wanted.key, &parts.recycle_bucket).await?;
                self.memory = remembered.map_or(Memory::Nothing, Memory::Recycled);
            }
        }
        Ok(())
    }

    pub(super) fn facts<'a>(&'a self, restorer: &'a Restorer, wanted: &Wanted) -> Facts<'a> {
        let old = restorer.parts.old_versions;
        Facts {
            row: row(wanted),
            force: restorer.settings.force,
            object: place(self.object.as_ref(), old.object, self.object_versions.as_deref()),
            keeps_overwritten: restorer.parts.server.object_versioned,
            copy: place(self.copy.as_ref(), old.recycle, self.copy_versions.as_deref()),
            backup_time: restorer.settings.backup_time,
            memory: self.memory,
            kept: &restorer.parts.kept,
            now: restorer.parts.clock.now(),
        }
    }
}

/// What its row says; one that is to come back counts.
pub(super) fn row(wanted: &Wanted) -> Option<RowFacts> {
    let image = || wanted.image.as_ref().map(|image| RowFacts { in_s3: true, size: image.size, data: 0 });
    wanted.row.or_else(image)
}

fn place<'a>(latest: Option<&Head>, versioned: bool, versions: Option<&'a [Version]>) -> Place<'a> {
    let versions = match (versioned, versions) {
        (false, _) => Versions::None,
        (true, None) => Versions::NotAsked,
        (true, Some(versions)) => Versions::Are(versions),
    };
    Place { latest: latest.map(Seen::from), versions }
}

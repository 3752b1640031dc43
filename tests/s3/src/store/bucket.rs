//! One bucket: its keys with their versions, its settings, and its uploads under way.

use std::collections::BTreeMap;
use std::sync::Arc;

use s3s::dto::{
    BucketLifecycleConfiguration, BucketVersioningStatus, ObjectLockConfiguration,
    ServerSideEncryptionConfiguration, StorageClass, Tag,
};
use s3s::{S3Result, s3_error};
use time::OffsetDateTime;

use super::{Object, Upload, now, random_id};

/// The version id of what was written while versioning was off or suspended.
const NULL: &str = "null";

/// One version of a key: an object, or a delete marker.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// None is the null version.
    version: Option<String>,
    pub(crate) modified: OffsetDateTime,
    /// None is a delete marker.
    pub(crate) object: Option<Arc<Object>>,
    pub(crate) tags: Vec<Tag>,
    /// It was asked out of the archive.
    pub(crate) recall: Option<Recall>,
}

/// An object of an archive class that somebody wants to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recall {
    /// It is on its way, for so many days.
    Ongoing { days: i32 },
    /// It can be read until then.
    Until(OffsetDateTime),
}

impl Recall {
    /// Readable from now on.
    pub(crate) fn of_days(days: i32) -> Self {
        Self::Until(now() + time::Duration::days(days.into()))
    }
}

impl Entry {
    /// Is it of a class out of which nothing is read at once?
    pub(crate) fn in_archive(&self) -> bool {
        let class = self.object.as_ref().and_then(|object| object.storage_class.as_ref());
        class
            .is_some_and(|class| matches!(class.as_str(), StorageClass::GLACIER | StorageClass::DEEP_ARCHIVE))
    }

    /// Can its content be read?
    pub(crate) fn is_readable(&self) -> bool {
        !self.in_archive() || matches!(self.recall, Some(Recall::Until(_)))
    }

    pub(crate) fn version_name(&self) -> &str {
        self.version.as_deref().unwrap_or(NULL)
    }
}

/// What a delete did.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Deletion {
    /// The id of the version removed, or of the marker made.
    pub(crate) version: Option<String>,
    /// Whether that is a delete marker.
    pub(crate) marker: bool,
}

/// One bucket.
#[derive(Debug)]
pub(crate) struct Bucket {
    pub(crate) created: OffsetDateTime,
    pub(crate) versioning: Option<BucketVersioningStatus>,
    pub(crate) lifecycle: Option<BucketLifecycleConfiguration>,
    pub(crate) encryption: Option<ServerSideEncryptionConfiguration>,
    pub(crate) object_lock: Option<ObjectLockConfiguration>,
    /// Versions oldest first; never an empty list.
    pub(crate) keys: BTreeMap<String, Vec<Entry>>,
    /// By key and upload id.
    pub(crate) uploads: BTreeMap<(String, String), Upload>,
}

impl Bucket {
    pub(crate) fn new(created: OffsetDateTime) -> Self {
        Self {
            created,
            versioning: None,
            lifecycle: None,
            encryption: None,
            object_lock: None,
            keys: BTreeMap::new(),
            uploads: BTreeMap::new(),
        }
    }

    /// The current entry of a key, unless it is a delete marker.
    pub(crate) fn current(&self, key: &str) -> Option<&Entry> {
        self.latest(key).filter(|entry| entry.object.is_some())
    }

    /// The current entry of a key, be it a delete marker.
    pub(crate) fn latest(&self, key: &str) -> Option<&Entry> {
        self.keys.get(key).and_then(|entries| entries.last())
    }

    /// One version of a key, be it a delete marker.
    pub(crate) fn version(&self, key: &str, version: &str) -> S3Result<&Entry> {
        let entries = self.keys.get(key).map(Vec::as_slice).unwrap_or_default();
        let found = entries.iter().find(|entry| entry.version_name() == version);
        found.ok_or_else(|| s3_error!(NoSuchVersion, "The specified version does not exist."))
    }

    /// The entry to change in place: the version asked for, or else the latest.
    pub(crate) fn entry_mut(&mut self, key: &str, version: Option<&str>) -> Option<&mut Entry> {
        let entries = self.keys.get_mut(key)?;
        match version {
            None => entries.last_mut(),
            Some(version) => entries.iter_mut().find(|entry| entry.version_name() == version),
        }
    }

    /// The keys that have a current object, in order.
    pub(crate) fn live(&self) -> impl Iterator<Item = &String> {
        let live = |entries: &Vec<Entry>| entries.last().is_some_and(|it| it.object.is_some());
        self.keys.iter().filter(move |(_, entries)| live(entries)).map(|(key, _)| key)
    }

    /// The id to name in answers: none as long as versioning has never been on.
    pub(crate) fn shown(&self, entry: &Entry) -> Option<String> {
        self.versioning.is_some().then(|| entry.version_name().to_owned())
    }

    /// Stores an object; answers the id to name in the answer.
    pub(crate) fn insert(&mut self, key: &str, object: Object, tags: Vec<Tag>) -> Option<String> {
        self.push(key, Some(Arc::new(object)), tags)
    }

    /// Deletes as S3 does: one version for good, or else the key, which in a bucket with
    /// versioning means a marker on top.
    pub(crate) fn delete(&mut self, key: &str, version: Option<&str>) -> Deletion {
        if let Some(version) = version {
            return self.remove_version(key, version);
        }
        if self.versioning.is_none() {
            self.keys.remove(key);
            return Deletion::default();
        }
        let version = self.push(key, None, Vec::new());
        Deletion { version, marker: true }
    }

    fn remove_version(&mut self, key: &str, version: &str) -> Deletion {
        let mut marker = false;
        if let Some(entries) = self.keys.get_mut(key) {
            if let Some(at) = entries.iter().position(|it| it.version_name() == version) {
                marker = entries.remove(at).object.is_none();
            }
            if entries.is_empty() {
                self.keys.remove(key);
            }
        }
        Deletion { version: Some(version.to_owned()), marker }
    }

    fn push(&mut self, key: &str, object: Option<Arc<Object>>, tags: Vec<Tag>) -> Option<String> {
        let enabled = BucketVersioningStatus::ENABLED;
        let keeps = self.versioning.as_ref().is_some_and(|status| status.as_str() == enabled);
        let version = keeps.then(random_id);
        let entry = Entry { version, modified: now(), object, tags, recall: None };
        let shown = self.shown(&entry);
        match self.keys.get_mut(key) {
            None => {
                self.keys.insert(key.to_owned(), vec![entry]);
            }
            Some(entries) => {
                if !keeps {
                    // There is one null version at most.
                    entries.retain(|it| it.version.is_some());
                }
                entries.push(entry);
            }
        }
        shown
    }
}

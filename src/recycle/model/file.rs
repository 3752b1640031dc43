//! One file of the model: what each bucket holds of it, whether it is alive, and what was seen of it when.

use std::collections::{HashMap, HashSet};

use super::server::{Content, Object};
use crate::file::{FileId, ObjectKey};
use crate::outcome::Liveness;
use crate::storage::Side;

/// One file of the world.
#[derive(Debug)]
pub(super) struct File {
    pub(super) id: FileId,
    pub(super) key: ObjectKey,
    pub(super) object: Option<Object>,
    pub(super) recycle: Option<Object>,
    /// Older versions, in a versioned recycle bucket.
    pub(super) below: Vec<Object>,
    pub(super) liveness: Liveness,
    /// Since when.
    pub(super) liveness_since: usize,
    /// What others than a worker took out of the recycle bucket.
    pub(super) taken: HashSet<Content>,
    /// What was copied to the recycle bucket since the file's deletion, by whomever.
    pub(super) copied: HashSet<Content>,
    /// When somebody else last took a copy out of the recycle bucket.
    pub(super) taken_at: Option<usize>,
    /// When a process last looked at a bucket.
    pub(super) looked: HashMap<(usize, Side), usize>,
    /// When a process last wrote a copy.
    pub(super) wrote: HashMap<usize, usize>,
    /// When a process last brought the object back.
    pub(super) brought_back: HashMap<usize, usize>,
    /// Whether it was alive when a process last noted what became of it.
    pub(super) noted_alive: HashMap<usize, bool>,
    /// The last step after which the object bucket did not have it.
    pub(super) gone_at: Option<usize>,
    /// The last step after which neither bucket had it.
    pub(super) nowhere_at: Option<usize>,
    /// The last step after which the two buckets held different contents.
    pub(super) differed_at: Option<usize>,
}

impl File {
    /// A file that is deleted, before anything is known of it.
    pub(super) fn dead(key: &str) -> Self {
        Self {
            id: FileId::try_from(key).expect("a short key"),
            key: ObjectKey::try_from(key).expect("a key"),
            object: None,
            recycle: None,
            below: Vec::new(),
            liveness: Liveness::Dead,
            liveness_since: 0,
            taken: HashSet::new(),
            copied: HashSet::new(),
            taken_at: None,
            looked: HashMap::new(),
            wrote: HashMap::new(),
            brought_back: HashMap::new(),
            noted_alive: HashMap::new(),
            gone_at: None,
            nowhere_at: None,
            differed_at: None,
        }
    }

    /// What a bucket holds of it.
    pub(super) fn side(&self, side: Side) -> Option<&Object> {
        match side {
            Side::Object => self.object.as_ref(),
            Side::Recycle => self.recycle.as_ref(),
        }
    }

    /// Is this content in the recycle bucket, in any version?
    pub(super) fn is_kept(&self, content: Content) -> bool {
        self.recycle.iter().chain(&self.below).any(|kept| kept.content == content)
    }
}

//! The world of the model: the server, the files, whoever waits for a turn, and what others do.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::file::File;
use super::invariants::Broken;
use super::lies::Lie;
use super::server::{Content, Object, Server, Shape};
use super::turns::Waiting;
use crate::file::ObjectKey;
use crate::outcome::Liveness;
use crate::storage::{ETag, Side};

/// All there is.
#[derive(Debug)]
pub(super) struct State {
    pub(super) server: Server,
    pub(super) lie: Option<Lie>,
    pub(super) files: Vec<File>,
    pub(super) waiting: Vec<Waiting>,
    /// Processes that have crashed.
    pub(super) died: HashSet<usize>,
    /// Processes that have dropped a delivery: its deletion goes on beside the next one.
    pub(super) dropped: HashSet<usize>,
    /// The number of the present step.
    pub(super) step: usize,
    /// What happened, for whoever has to understand it.
    pub(super) log: Vec<String>,
    /// The first invariant that did not hold.
    pub(super) broken: Option<Broken>,
    writes: usize,
}

/// A worker process's way to the world.
#[derive(Clone, Debug)]
pub(super) struct Port {
    pub(super) world: Arc<Mutex<State>>,
    pub(super) process: usize,
}

impl Port {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    pub(super) fn new(server: Server, lie: Option<Lie>) -> Self {
        Self {
            server,
            lie,
            files: Vec::new(),
            waiting: Vec::new(),
            died: HashSet::new(),
            dropped: HashSet::new(),
            step: 0,
            log: Vec::new(),
            broken: None,
            writes: 0,
        }
    }

    pub(super) fn add_file(&mut self, key: &str) {
        self.files.push(File::dead(key));
    }

    /// Which file has this key?
    pub(super) fn at(&self, key: &ObjectKey) -> usize {
        self.files.iter().position(|file| file.key == *key).expect("a key of the world's")
    }

    /// Notes that something happened, and what has been true since.
    pub(super) fn happened(&mut self, what: &str) {
        for file in &mut self.files {
            let (object, recycle) = (&file.object, &file.recycle);
            if object.is_none() {
                file.gone_at = Some(self.step);
            }
            if object.is_none() && recycle.is_none() {
                file.nowhere_at = Some(self.step);
            }
            if let (Some(object), Some(recycle)) = (object, recycle)
                && object.content != recycle.content
            {
                file.differed_at = Some(self.step);
            }
        }
        let line = format!("{:3} {what}", self.step);
        self.log.push(line);
        self.step += 1;
    }

    /// A new object; `stamp` is our note in it.
    pub(super) fn object(&mut self, content: Content, shape: Shape, stamp: Option<ETag>) -> Object {
        self.writes += 1;
        let etag = self.server.etag(content, shape, self.writes);
        Object { content, shape, etag, stamp, written: self.step }
    }

    /// Puts it in a bucket, over what is there.
    pub(super) fn put(&mut self, at: usize, side: Side, object: Object) {
        let versioned = self.server.can.recycle_versioned;
        let file = &mut self.files[at];
        match side {
            Side::Object => file.object = Some(object),
            Side::Recycle => {
                file.taken.remove(&object.content);
                let old = file.recycle.replace(object);
                file.below.extend(old.filter(|_| versioned));
            }
        }
    }

    /// Somebody other than a worker puts or removes the copy in the recycle bucket.
    pub(super) fn others_touch_the_copy(&mut self, at: usize, new: Option<Object>) {
        let versioned = self.server.can.recycle_versioned;
        if let Some(old) = &self.files[at].recycle
            && !versioned
        {
            let content = old.content;
            self.files[at].taken.insert(content);
        }
        if self.files[at].recycle.is_some() {
            self.files[at].taken_at = Some(self.step);
        }
        if let Some(new) = new {
            self.files[at].copied.insert(new.content);
            self.put(at, Side::Recycle, new);
        } else {
            let file = &mut self.files[at];
            let old = file.recycle.take();
            file.below.extend(old.filter(|_| versioned));
        }
    }

    pub(super) fn set_liveness(&mut self, at: usize, liveness: Liveness) {
        let since = self.step;
        let file = &mut self.files[at];
        if file.liveness != liveness {
            (file.liveness, file.liveness_since) = (liveness, since);
        }
    }
}

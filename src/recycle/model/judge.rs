//! What a worker does to the buckets, judged at the moment when it does it.

use super::invariants::Invariant;
use super::lies::Lie;
use super::server::Object;
use super::world::State;
use crate::outcome::Liveness;
use crate::storage::{Deleted, ETag, Kind, Side, Support};

impl State {
    /// A worker writes `new`. On a server without the condition, what others wrote since the worker's last
    /// look is not safe from it: that is the weaker form. Which look was whose is not known any more in a
    /// process that has dropped a delivery.
    pub(super) fn judge_write(&mut self, process: usize, at: usize, side: Side, new: &Object) {
        let can = self.server.can;
        let inexact = self.server.mixes_up(&self.files[at].key);
        self.hold(Invariant::InexactKeysAreLeft, !inexact, || format!("wrote {new:?}"));
        let file = &self.files[at];
        let dropped = self.dropped.contains(&process);
        let since_look = |looked_at: Side, object: Option<&Object>| {
            let look = file.looked.get(&(process, looked_at));
            dropped || object.is_none_or(|object| look.is_some_and(|look| object.written >= *look))
        };
        let old = file.side(side).cloned();
        let unsafe_over = can.copy_if_none_match != Support::Honoured
            || side == Side::Recycle && can.copy_if_match != Support::Honoured;
        let excused = unsafe_over && since_look(side, old.as_ref());
        match side {
            Side::Object => {
                let holds = old.is_none() || excused;
                let look = file.looked.get(&(process, Side::Object));
                // Without the condition it is looked at once more, right before.
                let dead = file.liveness == Liveness::Dead
                    && can.copy_if_none_match == Support::Honoured
                    && !dropped
                    && look.is_some_and(|look| file.liveness_since < *look);
                self.hold(Invariant::OnlyCopiedIsRemoved, holds, || format!("{old:?} copied over: {new:?}"));
                self.hold(Invariant::DeadFilesStayAway, !dead, || format!("brought back {new:?}"));
                let step = self.step;
                self.files[at].brought_back.insert(process, step);
            }
            Side::Recycle => {
                let unsafe_source = can.copy_source_if_match != Support::Honoured;
                let other_source = unsafe_source && since_look(Side::Object, file.object.as_ref());
                let equal = old.as_ref().is_none_or(|old| old.content == new.content);
                let holds = equal || can.recycle_versioned || excused || other_source;
                self.hold(Invariant::CopiesStay, holds, || format!("{old:?} copied over: {new:?}"));
                let step = self.step;
                if let (Some(old), false, false) = (&old, equal, can.recycle_versioned) {
                    // Excused, and gone all the same.
                    self.files[at].taken.insert(old.content);
                }
                let file = &mut self.files[at];
                file.copied.insert(new.content);
                file.wrote.insert(process, step);
            }
        }
    }

    /// A worker deletes a source, under a condition or (`etag` is nothing) without one.
    pub(super) fn delete(&mut self, process: usize, at: usize, etag: Option<&ETag>) -> Result<Deleted, Kind> {
        let Some(object) = self.files[at].object.clone() else { return Ok(Deleted::WasAbsent) };
        let unmet = etag.is_some_and(|etag| *etag != object.etag);
        if unmet && self.lie != Some(Lie::DeletesAnything) {
            return Err(Kind::PreconditionFailed);
        }
        if self.lie == Some(Lie::DeletesNothing) {
            return Ok(Deleted::Gone);
        }
        self.judge_delete(process, at, &object);
        self.files[at].object = None;
        Ok(Deleted::Gone)
    }

    /// On a server without the condition, what others wrote between the HEAD right before the deletion and the
    /// deletion is not safe from it; everything that was there at the HEAD is.
    fn judge_delete(&mut self, process: usize, at: usize, object: &Object) {
        let weak = self.server.can.delete_if_match != Support::Honoured;
        let inexact = self.server.mixes_up(&self.files[at].key);
        self.hold(Invariant::InexactKeysAreLeft, !inexact, || format!("deleted {object:?}"));
        let file = &self.files[at];
        let look = file.looked.get(&(process, Side::Object)).copied();
        let dropped = self.dropped.contains(&process);
        if weak && (dropped || look.is_some_and(|look| object.written >= look)) {
            return;
        }
        let content = object.content;
        let copied = file.copied.contains(&content);
        let kept = file.is_kept(content) || file.taken.contains(&content);
        let written = file.wrote.get(&process).copied();
        let alive_before = file.liveness == Liveness::Alive
            && written.is_some_and(|it| file.liveness_since < it)
            && !dropped;
        let old = file.recycle.as_ref().is_some_and(|copy| copy.content == content && copy.written == 0);
        self.hold(Invariant::RetentionIsRenewed, !old, || format!("deleted {object:?}"));
        self.hold(Invariant::ContentIsKept, kept, || format!("deleted {object:?}"));
        self.hold(Invariant::OnlyCopiedIsRemoved, copied, || format!("deleted {object:?}"));
        self.hold(Invariant::CheckedBeforeDelete, !alive_before, || format!("deleted {object:?}"));
    }
}

//! What must hold in every history, each with a name; and where a server is too weak for it, how much of it.

use super::file::File;
use super::world::State;
use crate::outcome::{DeadReason, Failure, Liveness, Outcome};
use crate::storage::Support;

/// The invariants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Invariant {
    /// What a worker takes out of the object bucket is in the recycle bucket.
    ContentIsKept,
    /// A worker removes and overwrites only what was copied since the deletion, never what was written then.
    OnlyCopiedIsRemoved,
    /// With nobody in its way, a dead file does not stay in the object bucket.
    DeadFilesMove,
    /// A conflict is one of contents that really differed.
    ConflictsAreReal,
    /// A living file has its object, if there is one at all.
    LivingFilesHaveTheirs,
    /// An object is brought back only for a file that was alive when it was seen to be gone; and one that died
    /// before it was back does not stay.
    DeadFilesStayAway,
    /// A copy in a recycle bucket without versions is not overwritten with other content.
    CopiesStay,
    /// "Moved" is said of what is gone from one bucket and is in the other.
    MovedIsTrue,
    /// "Missing" is said of what was in neither bucket.
    MissingIsTrue,
    /// A file that came alive before its copy was written is not deleted.
    CheckedBeforeDelete,
    /// What is deleted has a copy whose retention began with this deletion, not with an earlier one.
    RetentionIsRenewed,
    /// A key that the server takes for another one is not touched.
    InexactKeysAreLeft,
    /// It comes to an end.
    Ends,
}

/// An invariant that did not hold, and how.
#[derive(Clone, Debug)]
pub(super) struct Broken {
    pub(super) invariant: Invariant,
    pub(super) why: String,
}

impl State {
    /// Holds it or not? The first that does not is the one that is told.
    pub(super) fn hold(&mut self, invariant: Invariant, holds: bool, why: impl FnOnce() -> String) {
        if !holds && self.broken.is_none() {
            self.broken = Some(Broken { invariant, why: why() });
        }
    }

    /// Does it come to an end?
    pub(super) fn judge_steps(&mut self, most: usize) {
        let waiting: Vec<_> = self.waiting.iter().map(|waiting| waiting.what.clone()).collect();
        let step = self.step;
        self.hold(Invariant::Ends, step < most, || format!("{step} steps, and still: {waiting:?}"));
    }

    /// A delivery that began at `since` has come to its end.
    pub(super) fn judge_end(
        &mut self,
        at: usize,
        process: usize,
        since: usize,
        end: &Result<Outcome, Failure>,
    ) {
        let file = &self.files[at];
        let within = |step: Option<usize>| step.is_some_and(|step| step >= since);
        let gone = within(file.gone_at)
            && (file.recycle.is_some() || !file.taken.is_empty() || !file.below.is_empty());
        // A copy that expires between two looks was there for the one and not for the other.
        let nowhere = within(file.nowhere_at) || within(file.gone_at) && within(file.taken_at);
        let differed = within(file.differed_at) && !self.server.can.recycle_versioned;
        let back = file.brought_back.get(&process).filter(|step| **step >= since);
        let died = file.liveness == Liveness::Dead && back.is_some_and(|back| file.liveness_since < *back);
        let now = shown(file);
        if let Ok(Outcome::Moved | Outcome::AlreadyMoved) = end {
            let alive = file.noted_alive.get(&process) == Some(&true);
            self.hold(Invariant::LivingFilesHaveTheirs, !alive, || format!("alive when noted: {now}"));
        }
        match end {
            Ok(Outcome::Moved) => self.hold(Invariant::MovedIsTrue, gone, || now),
            Ok(Outcome::Alive) => self.hold(Invariant::DeadFilesStayAway, !died, || now),
            Ok(Outcome::Missing) => self.hold(Invariant::MissingIsTrue, nowhere, || now),
            Err(failure) if failure.advice == crate::outcome::Advice::GiveUp(DeadReason::Conflict) => {
                self.hold(Invariant::ConflictsAreReal, differed, || now);
            }
            Ok(_) | Err(_) => {}
        }
    }

    /// Everything is over, and the last delivery went through without anybody in its way.
    pub(super) fn judge_last(&mut self, at: usize, end: &Result<Outcome, Failure>) {
        use crate::outcome::Advice::GiveUp;
        let file = &self.files[at];
        let (object, recycle) = (file.object.as_ref(), file.recycle.as_ref());
        let differ = object.zip(recycle).is_some_and(|(one, other)| one.content != other.content);
        let refuses = self.server.can.copy_source_if_match == Support::Refused;
        let inexact = self.server.mixes_up(&file.key);
        let now = format!("{end:?}: {}", shown(file));
        match file.liveness {
            Liveness::Alive => {
                let holds = end == &Ok(Outcome::Alive) && (object.is_some() || recycle.is_none());
                self.hold(Invariant::LivingFilesHaveTheirs, holds || inexact || refuses, || now);
            }
            Liveness::Elsewhere => {}
            Liveness::Dead => {
                let holds = match end {
                    Ok(Outcome::Moved | Outcome::AlreadyMoved) => object.is_none() && recycle.is_some(),
                    Ok(Outcome::Missing) => object.is_none() && recycle.is_none(),
                    Ok(_) => false,
                    Err(failure) if failure.advice == GiveUp(DeadReason::Conflict) => {
                        differ && !self.server.can.recycle_versioned
                    }
                    Err(failure) => failure.advice == GiveUp(DeadReason::Unsupported) && (refuses || inexact),
                };
                self.hold(Invariant::DeadFilesMove, holds, || now);
            }
        }
    }
}

fn shown(file: &File) -> String {
    format!(
        "'{}' is {:?}; object bucket {:?}, recycle bucket {:?}",
        file.key, file.liveness, file.object, file.recycle
    )
}

//! The moments that a request consists of, each with a turn of its own: others may act between any two.

use super::lies::Lie;
use super::server::{Object, Shape, mixture};
use super::turns::Fault;
use super::world::{Port, State};
use crate::file::ObjectKey;
use crate::storage::{Capabilities, Copied, ETag, Head, Kind, Operation, Over, Side, StorageError, Support};

/// The conditions of a write: over nothing, or over this.
#[derive(Debug)]
pub(super) struct Conditions {
    pub(super) nothing: bool,
    pub(super) this: Option<ETag>,
}

impl Port {
    /// One moment: waits for its turn, has its effect, and answers; or goes wrong.
    async fn moment<T>(
        &self,
        operation: Operation,
        side: Side,
        key: &ObjectKey,
        effect: impl FnOnce(&mut State, usize) -> Result<T, Kind> + Send,
    ) -> Result<T, StorageError> {
        let what = format!("{} asks for {operation} of '{key}' in the {side} bucket", self.process);
        let reads = matches!(operation, Operation::HeadObject | Operation::GetObject);
        let fault = self.turn(what.clone()).await.filter(|fault| !reads || fault.without_condition());
        let mut state = self.state();
        let at = state.at(key);
        let result = match fault {
            Some(fault) if fault != Fault::LostAfter => Err(fault.kind()),
            None | Some(_) => effect(&mut state, at),
        };
        let answer = result.as_ref().err().map_or("done".to_owned(), |kind| format!("{kind:?}"));
        state.happened(&format!("{what}: {answer}{}", fault.map_or(String::new(), |f| format!(" ({f:?})"))));
        match (result, fault) {
            (Ok(_), Some(fault)) => Err(fault.kind()),
            (result, _) => result,
        }
        .map_err(|kind| StorageError::for_tests(operation, side, key.as_str(), kind))
    }

    /// Reads what is copied or compared, if it is what was looked at.
    pub(super) async fn read(
        &self,
        (operation, side): (Operation, Side),
        key: &ObjectKey,
        etag: Option<&ETag>,
        support: Support,
    ) -> Result<Object, StorageError> {
        self.moment(operation, side, key, |state, at| {
            let object = state.files[at].side(side).ok_or(Kind::NotFound)?;
            match support {
                Support::Refused => Err(Kind::NotImplemented),
                Support::Honoured if etag.is_some_and(|etag| *etag != object.etag) => {
                    Err(Kind::PreconditionFailed)
                }
                Support::Honoured | Support::Ignored => Ok(object.clone()),
            }
        })
        .await
    }

    pub(super) async fn write(
        &self,
        side: Side,
        key: &ObjectKey,
        conditions: &Conditions,
        (content, shape, stamp): (u8, Shape, Option<ETag>),
    ) -> Result<Copied, StorageError> {
        let process = self.process;
        self.moment(Operation::CopyObject, side, key, |state, at| {
            let there = state.files[at].side(side);
            let over_anything = state.lie == Some(Lie::CopiesOverAnything);
            let unmet = conditions.nothing && there.is_some()
                || conditions.this.as_ref().is_some_and(|etag| there.is_none_or(|it| it.etag != *etag));
            if unmet && !over_anything {
                return Err(Kind::PreconditionFailed);
            }
            let object = state.object(content, shape, stamp);
            let etag = object.etag.clone();
            state.judge_write(process, at, side, &object);
            state.put(at, side, object);
            Ok(Copied { etag })
        })
        .await
    }

    /// As `Storage` does it: in one piece, or in the parts of the source.
    pub(super) async fn transfer(
        &self,
        (from, to): (Side, Side),
        key: &ObjectKey,
        (source, stamp): (&Head, bool),
        over: &Over,
        server: &Capabilities,
    ) -> Result<Copied, StorageError> {
        let lie = self.state().lie;
        let support = match lie {
            Some(Lie::CopiesAnything) => Support::Ignored,
            _ => server.copy_source_if_match,
        };
        let conditions = Conditions {
            nothing: over.if_none_match(server).is_some(),
            this: over.if_match(server).map(ETag::new),
        };
        let etag = Some(&source.etag);
        let first = self.read((Operation::UploadPartCopy, from), key, etag, support).await?;
        let in_parts = source.etag.parts().is_some_and(|parts| parts > 1) && source.size > 0;
        let (content, shape) = if in_parts {
            let second = self.read((Operation::UploadPartCopy, from), key, etag, support).await?;
            let shape = if self.state().server.tells_parts { Shape::Parts } else { Shape::OnePart };
            (mixture(first.content, second.content), shape)
        } else {
            (first.content, if source.opaque_etag { Shape::Kms } else { Shape::Whole })
        };
        let stamp = match (stamp, in_parts) {
            (true, _) => Some(source.etag.clone()),
            (false, true) => source.copied_from.clone(),
            (false, false) => first.stamp,
        };
        self.write(to, key, &conditions, (content, shape, stamp)).await
    }

    pub(super) async fn look(&self, side: Side, key: &ObjectKey) -> Result<Option<Object>, StorageError> {
        let process = self.process;
        self.moment(Operation::HeadObject, side, key, |state, at| {
            let step = state.step;
            state.files[at].looked.insert((process, side), step);
            Ok(state.files[at].side(side).cloned())
        })
        .await
    }
}

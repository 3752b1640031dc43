//! Deletions of the model: many keys in one request, each with an answer of its own.

use std::collections::HashMap;

use super::lies::Lie;
use super::turns::Fault;
use super::world::Port;
use crate::file::ObjectKey;
use crate::storage::{Deleted, ETag, Kind, Operation, Side, StorageError};

impl Port {
    /// Deletes those of one request; a fault of one key is the last one's.
    pub(super) async fn delete(
        &self,
        doomed: &[(&ObjectKey, Option<&ETag>)],
    ) -> Vec<Result<Deleted, StorageError>> {
        let keys: Vec<_> = doomed.iter().map(|(key, _)| key.as_str()).collect();
        let fault = self.turn(format!("{} deletes {keys:?}", self.process)).await;
        let mut state = self.state();
        let last = doomed.len().saturating_sub(1);
        let mut answers = Vec::new();
        for (number, (key, etag)) in doomed.iter().enumerate() {
            let fault = fault.filter(|fault| !fault.of_one_key() || number == last);
            let at = state.at(key);
            let result = match fault {
                Some(fault) if fault != Fault::LostAfter => Err(fault.kind()),
                None | Some(_) => state.delete(self.process, at, *etag),
            };
            state.happened(&format!("{} deletes '{key}': {result:?} {fault:?}", self.process));
            let result = match (result, fault) {
                (Err(_), _) if state.lie == Some(Lie::ErrorsAreSuccess) => Ok(Deleted::Gone),
                (Ok(_), Some(fault)) => Err(fault.kind()),
                (result, _) => result,
            };
            answers.push(result.map_err(|kind| {
                StorageError::for_tests(Operation::DeleteObjects, Side::Object, key.as_str(), kind)
            }));
        }
        answers
    }

    /// Without the server's help: a look at each, then the deletion of those that are unchanged.
    pub(super) async fn look_and_delete(
        &self,
        sources: &[(&ObjectKey, &ETag)],
    ) -> Vec<Result<Deleted, StorageError>> {
        let mut answers = HashMap::new();
        let mut unchanged = Vec::new();
        for (key, etag) in sources {
            let answer = match self.look(Side::Object, key).await {
                Ok(Some(object)) if object.etag == **etag => {
                    unchanged.push((*key, None));
                    continue;
                }
                Ok(Some(_)) => Err(changed(key)),
                Ok(None) => Ok(Deleted::WasAbsent),
                Err(error) => Err(error),
            };
            answers.insert(key.as_str(), answer);
        }
        if !unchanged.is_empty() {
            let deleted = self.delete(&unchanged).await;
            answers.extend(unchanged.iter().map(|(key, _)| key.as_str()).zip(deleted));
        }
        sources.iter().map(|(key, _)| answers[key.as_str()].clone()).collect()
    }
}

pub(super) fn changed(key: &ObjectKey) -> StorageError {
    StorageError::for_tests(Operation::DeleteObjects, Side::Object, key.as_str(), Kind::PreconditionFailed)
}

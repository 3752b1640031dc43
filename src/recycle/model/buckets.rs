//! The two buckets of the model: what [`Storage`](crate::storage::Storage) does in each step, on a server of
//! the model.

use super::deletions::changed;
use super::lies::Lie;
use super::moments::Conditions;
use super::server::Shape;
use super::world::Port;
use crate::file::ObjectKey;
use crate::recycle::Buckets;
use crate::storage::{
    Capabilities, Copied, Deleted, ETag, Head, Kind, Operation, Over, Side, StorageError, Support,
    needs_stamp,
};

impl Buckets for Port {
    async fn head(&self, side: Side, key: &ObjectKey) -> Result<Option<Head>, StorageError> {
        let object = self.look(side, key).await?;
        let state = self.state();
        let head = object.map(|object| state.server.head(&object));
        let source = state.files[state.at(key)].object.as_ref();
        Ok(match (head, source) {
            (Some(head), Some(source)) if side == Side::Recycle && state.lie == Some(Lie::ProvesAnything) => {
                let source = state.server.head(source);
                Some(Head { size: source.size, copied_from: Some(source.etag), ..head })
            }
            (head, _) => head,
        })
    }

    async fn copy_unseen(&self, key: &ObjectKey) -> Result<Copied, StorageError> {
        let from = (Operation::UploadPartCopy, Side::Object);
        let source = self.read(from, key, None, Support::Honoured).await?;
        let conditions = Conditions { nothing: true, this: None };
        self.write(Side::Recycle, key, &conditions, (source.content, Shape::Whole, source.stamp)).await
    }

    async fn copy_to_recycle(
        &self,
        key: &ObjectKey,
        source: &Head,
        over: &Over,
        server: &Capabilities,
    ) -> Result<Copied, StorageError> {
        if let (Over::Known(etag), Some(Lie::NeverRenews)) = (over, self.state().lie) {
            return Ok(Copied { etag: etag.clone() });
        }
        let stamp = needs_stamp(source, server);
        self.transfer((Side::Object, Side::Recycle), key, (source, stamp), over, server).await
    }

    async fn same_bytes(&self, key: &ObjectKey, source: &Head, copy: &Head) -> Result<bool, StorageError> {
        let get = |side| (Operation::GetObject, side);
        let one = self.read(get(Side::Object), key, Some(&source.etag), Support::Honoured).await?;
        let other = self.read(get(Side::Recycle), key, Some(&copy.etag), Support::Honoured).await?;
        Ok(one.content == other.content)
    }

    async fn copy_back(
        &self,
        key: &ObjectKey,
        copy: &Head,
        server: &Capabilities,
    ) -> Result<Copied, StorageError> {
        let lie = self.state().lie;
        if lie == Some(Lie::NeverBringsBack) {
            return Ok(Copied { etag: copy.etag.clone() });
        }
        let mut server = *server;
        if lie == Some(Lie::BringsBackOverAnything) {
            server.copy_if_none_match = Support::Ignored;
        } else if server.copy_if_none_match != Support::Honoured
            && self.look(Side::Object, key).await?.is_some()
        {
            return Err(changed(key));
        }
        self.transfer((Side::Recycle, Side::Object), key, (copy, false), &Over::Nothing, &server).await
    }

    async fn delete_sources(
        &self,
        sources: &[(ObjectKey, ETag)],
        server: &Capabilities,
    ) -> Vec<Result<Deleted, StorageError>> {
        // One key under two ETags: the first is asked for, the others are of the past.
        let first = |key: &ObjectKey| sources.iter().find(|(other, _)| other == key).map(|(_, etag)| etag);
        let mut asked: Vec<(&ObjectKey, &ETag)> = Vec::new();
        for (key, etag) in sources {
            if asked.iter().all(|(other, _)| *other != key) {
                asked.push((key, etag));
            }
        }
        let answers = if asked.is_empty() {
            Vec::new()
        } else if server.delete_if_match == Support::Honoured {
            let conditional: Vec<_> = asked.iter().map(|(key, etag)| (*key, Some(*etag))).collect();
            self.delete(&conditional).await
        } else {
            self.look_and_delete(&asked).await
        };
        let answer = |key: &ObjectKey| asked.iter().position(|(asked, _)| *asked == key);
        sources
            .iter()
            .map(|(key, etag)| match answer(key) {
                Some(at) if first(key) == Some(etag) => answers[at].clone(),
                _ => Err(changed(key)),
            })
            .collect()
    }

    async fn check(&self) -> Result<(), StorageError> {
        match self.turn(format!("{} asks whether the buckets are there", self.process)).await {
            None => Ok(()),
            Some(fault) => {
                Err(StorageError::for_tests(Operation::HeadBucket, Side::Object, "", fault.bucket_kind()))
            }
        }
    }

    async fn judge(&self, error: StorageError) -> StorageError {
        if !error.could_be_everybodys() || matches!(error.kind, Kind::Connection) {
            return error;
        }
        error.of_this_key()
    }
}

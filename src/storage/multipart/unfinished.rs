//! Copies in parts that were begun and not finished: a note in the recycle bucket says of which source each is, so
//! that the next try goes on with the parts that are there, and what nobody goes on with is aborted. The same of uploads
//! in parts to the object bucket, which nobody goes on with.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::file::ObjectKey;
use crate::storage::copy::Transfer;
use crate::storage::error::Asked;
use crate::storage::head::moment;
use crate::storage::{ETag, Kind, Operation, Side, Storage, StorageError};

/// Notes of copies to the recycle bucket, below our own prefix in it.
const COPIES: &str = ".file-recycler/copies/";
/// Notes of uploads to the object bucket; also in the recycle bucket, where the rights to write our own notes are.
const UPLOADS: &str = ".file-recycler/uploads/";
/// The folders of notes, with the bucket that their uploads are in.
const FOLDERS: [(&str, Side); 2] = [(COPIES, Side::Recycle), (UPLOADS, Side::Object)];
/// How long a copy must have been idle before it counts as left behind. A copy that somebody works on gets a new
/// part far more often.
pub const IDLE: Duration = Duration::from_hours(24);
/// Most notes that one sweep looks at.
const MAX_NOTES: usize = 100_000;

/// What the note says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    key: String,
    upload: String,
    source_etag: String,
    size: u64,
    class: Option<String>,
}

/// Parts of an upload that the server has: number, and ETag with length in bytes.
pub(super) type Parts = HashMap<i32, (ETag, u64)>;

/// What a sweep found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// Copies that were begun and are not finished.
    pub unfinished: usize,
    /// Those of them that were idle for too long, and are aborted now.
    pub aborted: usize,
}

/// A copy in parts that was begun and not finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnfinishedCopy {
    note_key: String,
    upload: String,
    side: Side,
}

impl Note {
    fn of(transfer: &Transfer<'_>, upload: &str) -> Self {
        Self {
            key: transfer.key.to_owned(),
            upload: upload.to_owned(),
            source_etag: transfer.source.etag.as_str().to_owned(),
            size: transfer.source.size,
            class: transfer.class.as_ref().map(|class| class.as_str().to_owned()),
        }
    }
}

/// The folder of a key's notes, whatever characters the key has.
fn folder(below: &str, key: &str) -> String {
    format!("{below}{}/", Uuid::new_v5(&Uuid::NAMESPACE_OID, key.as_bytes()))
}

/// One note for each upload: to forget one leaves those of others.
fn note_key(below: &str, key: &str, upload: &str) -> String {
    format!("{}{}.json", folder(below, key), Uuid::new_v5(&Uuid::NAMESPACE_OID, upload.as_bytes()))
}

/// Is an upload that is not there what was wanted: finished by a request whose answer was lost, or aborted?
fn is_gone(error: &StorageError) -> bool {
    matches!(error.kind, Kind::ConcurrentRequest | Kind::NotFound)
}

impl Storage {
    /// The upload that an earlier try began for this very source, and the parts that it has; nothing where there
    /// is none, or where the server cannot tell.
    pub(super) async fn unfinished(
        &self,
        transfer: &Transfer<'_>,
    ) -> Result<Option<(String, Parts)>, StorageError> {
        for (note_key, _) in self.notes(&folder(COPIES, transfer.key)).await? {
            let Some(note) = self.read_note(&note_key).await? else { continue };
            let ours = Note::of(transfer, &note.upload);
            if (&note.source_etag, note.size) != (&ours.source_etag, ours.size) {
                // Of a source that is not there any more: its parts are of no use to anybody.
                self.drop_upload(transfer, &note.upload).await;
            }
            if note != ours {
                continue;
            }
            match self.list_parts(Side::Recycle, transfer.key, &note.upload).await {
                Ok((parts, _)) => return Ok(Some((note.upload, parts))),
                // It was finished or aborted, or cannot be looked at.
                Err(error) if is_gone(&error) || error.refuses() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Notes that this upload is of this source. Without the note it cannot be resumed, and is found by nobody.
    pub(super) async fn write_note(&self, transfer: &Transfer<'_>, upload: &str) -> Result<(), StorageError> {
        self.put_note(&note_key(COPIES, transfer.key, upload), &Note::of(transfer, upload)).await
    }

    /// Notes that an upload to this key of the object bucket was begun.
    pub(in crate::storage) async fn note_upload(
        &self,
        key: &ObjectKey,
        upload: &str,
    ) -> Result<(), StorageError> {
        let (key, upload) = (key.as_str(), upload.to_owned());
        let note_key = note_key(UPLOADS, key, &upload);
        let note = Note { key: key.to_owned(), upload, source_etag: String::new(), size: 0, class: None };
        self.put_note(&note_key, &note).await
    }

    async fn put_note(&self, key: &str, note: &Note) -> Result<(), StorageError> {
        let asked = Asked { operation: Operation::PutObject, side: Side::Recycle, key: Some(key) };
        let bytes = serde_json::to_vec(note)
            .map_err(|_| StorageError::new(asked, Kind::BadRequest, "cannot be built"))?;
        let request = self
            .client()
            .put_object()
            .bucket(self.bucket(Side::Recycle))
            .key(key)
            .content_type("application/json")
            .body(ByteStream::from(bytes));
        self.send(asked, || request.send()).await.map(drop)
    }

    /// Best effort: a note without its upload is swept later.
    pub(super) async fn forget(&self, key: &str, upload: &str) {
        self.forget_note(&note_key(COPIES, key, upload)).await;
    }

    /// As `forget`, of an upload.
    pub(in crate::storage) async fn forget_upload(&self, key: &ObjectKey, upload: &str) {
        self.forget_note(&note_key(UPLOADS, key.as_str(), upload)).await;
    }

    async fn forget_note(&self, note_key: &str) {
        if let Err(error) = self.delete_note(note_key).await {
            tracing::debug!(%error, "the note of a copy in parts stays behind");
        }
    }

    /// Aborts an upload to the object bucket, and forgets it.
    pub(in crate::storage) async fn abort_upload(
        &self,
        key: &ObjectKey,
        upload: &str,
    ) -> Result<(), StorageError> {
        let note_key = note_key(UPLOADS, key.as_str(), upload);
        self.abort_copy(key, &UnfinishedCopy { note_key, upload: upload.to_owned(), side: Side::Object })
            .await
    }

    /// Aborts all uploads to this key of the object bucket that were begun and not finished.
    pub(in crate::storage) async fn abort_uploads(&self, key: &ObjectKey) -> Result<(), StorageError> {
        for copy in self.unfinished_below(UPLOADS, Side::Object, key).await? {
            self.abort_copy(key, &copy).await?;
        }
        Ok(())
    }

    /// Aborts the copies in parts that nobody has gone on with for a day; only those that this program began.
    /// One that cannot be aborted keeps no other.
    pub async fn abort_leftovers(&self, now: OffsetDateTime) -> Result<Leftovers, StorageError> {
        let mut leftovers = Leftovers::default();
        for (below, side) in FOLDERS {
            for (note_key, written) in self.notes(below).await? {
                if let Err(error) = self.sweep(side, (&note_key, written), now, &mut leftovers).await {
                    if error.is_outage() {
                        return Err(error);
                    }
                    tracing::info!(%error, "a copy in parts that was left behind stays");
                }
            }
        }
        Ok(leftovers)
    }

    /// The copies in parts of this key that were begun and are not finished; a note and an upload for each.
    pub async fn unfinished_copies(&self, key: &ObjectKey) -> Result<Vec<UnfinishedCopy>, StorageError> {
        let mut copies = Vec::new();
        for (below, side) in FOLDERS {
            copies.extend(self.unfinished_below(below, side, key).await?);
        }
        Ok(copies)
    }

    async fn unfinished_below(
        &self,
        below: &str,
        side: Side,
        key: &ObjectKey,
    ) -> Result<Vec<UnfinishedCopy>, StorageError> {
        let mut copies = Vec::new();
        for (note_key, _) in self.notes(&folder(below, key.as_str())).await? {
            let note = self.read_note(&note_key).await?.filter(|note| note.key == key.as_str());
            copies.extend(note.map(|note| UnfinishedCopy { note_key, upload: note.upload, side }));
        }
        Ok(copies)
    }

    /// Aborts a copy in parts, whoever works on it: its parts hold the content.
    pub async fn abort_copy(&self, key: &ObjectKey, copy: &UnfinishedCopy) -> Result<(), StorageError> {
        let asked =
            Asked { operation: Operation::AbortMultipartUpload, side: copy.side, key: Some(key.as_str()) };
        match self.abort(asked, &copy.upload).await {
            Err(error) if !is_gone(&error) => Err(error),
            _ => self.delete_note(&copy.note_key).await,
        }
    }

    async fn sweep(
        &self,
        side: Side,
        (note_key, written): (&str, Option<OffsetDateTime>),
        now: OffsetDateTime,
        leftovers: &mut Leftovers,
    ) -> Result<(), StorageError> {
        let is_old = |last: Option<OffsetDateTime>| last.is_some_and(|last| now - last >= IDLE);
        let Some(note) = self.read_note(note_key).await? else {
            // It is gone, or nobody can read it.
            return if is_old(written) { self.delete_note(note_key).await } else { Ok(()) };
        };
        let last = match self.list_parts(side, &note.key, &note.upload).await {
            Ok((_, last)) => {
                leftovers.unfinished += 1;
                last.max(written)
            }
            Err(error) if is_gone(&error) => written,
            // Rights to list the parts of an upload are not everybody's: then its beginning tells how old it is. No upload of a
            // migration takes a day.
            Err(error) if side == Side::Object && error.refuses() => written,
            Err(error) => return Err(error),
        };
        if !is_old(last) {
            return Ok(());
        }
        let asked = Asked { operation: Operation::AbortMultipartUpload, side, key: Some(&note.key) };
        match self.abort(asked, &note.upload).await {
            Ok(()) => {
                leftovers.aborted += 1;
                tracing::info!(key = note.key, "a copy in parts that was left behind is aborted");
            }
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error),
        }
        self.delete_note(note_key).await
    }

    /// All notes below this prefix with the time at which each was written.
    async fn notes(&self, prefix: &str) -> Result<Vec<(String, Option<OffsetDateTime>)>, StorageError> {
        let asked = Asked { operation: Operation::ListObjectsV2, side: Side::Recycle, key: None };
        let (mut notes, mut token) = (Vec::new(), None);
        while notes.len() < MAX_NOTES {
            let request = self
                .client()
                .list_objects_v2()
                .bucket(self.bucket(Side::Recycle))
                .prefix(prefix)
                .set_continuation_token(token);
            let page = self.send(asked, || request.send()).await?;
            notes.extend(page.contents().iter().filter_map(|object| {
                Some((object.key()?.to_owned(), object.last_modified().copied().and_then(moment)))
            }));
            token = page.next_continuation_token;
            if token.is_none() {
                break;
            }
        }
        Ok(notes)
    }

    /// The note under this key; nothing where there is none, or one that cannot be read.
    async fn read_note(&self, key: &str) -> Result<Option<Note>, StorageError> {
        let bytes = self.read_own(Side::Recycle, key).await?.map(|own| own.bytes);
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    async fn delete_note(&self, key: &str) -> Result<(), StorageError> {
        let none = ETag::new("");
        let answers = self.delete_keys(Side::Recycle, &HashMap::from([(key, &none)]), false).await?;
        answers.into_values().try_for_each(|answer| answer.map(drop))
    }

    /// The parts that an upload has, and when the last of them came.
    async fn list_parts(
        &self,
        side: Side,
        key: &str,
        upload: &str,
    ) -> Result<(Parts, Option<OffsetDateTime>), StorageError> {
        let asked = Asked { operation: Operation::ListParts, side, key: Some(key) };
        let (mut parts, mut last, mut marker) = (Parts::new(), None, None);
        loop {
            let request = self
                .client()
                .list_parts()
                .bucket(self.bucket(side))
                .key(key)
                .upload_id(upload)
                .set_part_number_marker(marker);
            let page = self.send(asked, || request.send()).await?;
            for part in page.parts() {
                last = last.max(part.last_modified().copied().and_then(moment));
                let (number, etag, length) = (part.part_number(), part.e_tag(), part.size());
                if let (Some(number), Some(etag), Some(length)) = (number, etag, length) {
                    parts.insert(number, (ETag::new(etag), u64::try_from(length).unwrap_or_default()));
                }
            }
            marker = page.next_part_number_marker;
            if page.is_truncated != Some(true) || marker.is_none() {
                return Ok((parts, last));
            }
        }
    }
}

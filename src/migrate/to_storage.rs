//! From rows to the storage: the object first, proven; then the row, if it is still what was read.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use md5::{Digest as _, Md5};

use super::asking::lasting;
use super::groups::SMALL;
use super::proof::{Digest16, Same};
use super::switch::{Now, Statement};
use super::{FileResult, Migrated, Migrator};
use crate::db::migrate::{Candidate, Piece, Table};
use crate::failpoint;
use crate::file::ObjectKey;
use crate::outcome::{Failure, Outcome};
use crate::storage::{ETag, Head, PART, Side, Upload};

/// Parts of one object that are on their way at the same time.
const PARTS_AT_ONCE: usize = 3;
/// How often an object that appears and goes again is tried.
const TRIES: usize = 3;

/// How long a row in somebody's hands is waited for, look by look.
const IN_HAND: [Duration; 6] = [
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(400),
    Duration::from_millis(800),
    Duration::from_millis(1_500),
];

/// What is in the storage now.
enum Put {
    /// The row's content, written now, as this object.
    Written(ETag),
    /// The row's content, which was there as this object.
    Was(ETag),
    /// Not the row's content: why it could not be.
    Not(Migrated, Option<String>),
}

impl Migrator {
    /// A group of small files, or one large one.
    pub(super) async fn to_storage(
        &self,
        table: &Table,
        rows: Vec<Candidate>,
        results: &mut Vec<FileResult>,
    ) -> Result<(), Failure> {
        let mut ready = Vec::new();
        for row in rows {
            match self.unfit(table, &row) {
                Some(result) => results.push(result),
                None => ready.push(row),
            }
        }
        let (theirs, ready) = self.apart_from_others(ready).await?;
        let large = ready.iter().any(|row| row.length.unwrap_or_default().unsigned_abs() > SMALL);
        let mut put = if large {
            let mut put = Vec::new();
            for row in ready {
                let result = self.put_large(table, &row).await;
                put.push((row, result));
            }
            put
        } else {
            self.put_small(table, ready).await?
        };
        for row in theirs {
            let result = self.as_theirs(table, &row).await;
            put.push((row, result));
        }
        let (mut written, mut not) = (Vec::new(), Vec::new());
        for (row, result) in put {
            match result {
                Ok(Put::Written(etag)) => written.push((row, (Migrated::Migrated, etag))),
                Ok(Put::Was(etag)) => written.push((row, (Migrated::AlreadyThere, etag))),
                Ok(Put::Not(what, why)) => not.push((row, what, why)),
                Err(failure) => results.push(self.failed(table, &row, &failure)),
            }
        }
        failpoint::reach("migrate::object_written");
        self.switch(table, written, results).await?;
        results.extend(self.not(table, not).await?);
        Ok(())
    }

    /// Those of these rows under whose key is another row's object, and the others. Rows are copied with their ids; one that
    /// says S3 would give whatever were written there now.
    async fn apart_from_others(
        &self,
        rows: Vec<Candidate>,
    ) -> Result<(Vec<Candidate>, Vec<Candidate>), Failure> {
        let (db, migration) = (&self.parts.db, &self.parts.migration);
        let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
        let theirs = self.database(|| db.in_other_storage(migration, &ids)).await?;
        let is_theirs = |row: &Candidate| {
            theirs.contains(&row.id) && !failpoint::removed("protection::object_of_another_row")
        };
        Ok(rows.into_iter().partition(is_theirs))
    }

    /// Under its key is, or was, another row's object: nothing is written there.
    async fn as_theirs(&self, table: &Table, row: &Candidate) -> Result<Put, Failure> {
        let key = self.key(row.id, &table.schema)?;
        if let Some(put) = self.occupied(table, row, None, &key).await? {
            return Ok(put);
        }
        let why = "another row with this id says that its content is in S3, and no object is there: `explain` tells of both";
        Ok(Put::Not(Migrated::Differs, Some(why.to_owned())))
    }

    /// What keeps a row from being moved, by what it says itself.
    pub(super) fn unfit(&self, table: &Table, row: &Candidate) -> Option<FileResult> {
        let Some(length) = row.length else {
            return Some(self.told(table, row, Migrated::NoContent, None));
        };
        // Zero tells nothing: it is what an empty column says, too.
        let size = row.size.filter(|size| *size != 0 && *size != length)?;
        let why = format!("the row says {size} bytes, its content has {length}");
        Some(self.told(table, row, Migrated::SizeDiffers, Some(why)))
    }

    async fn put_small(
        &self,
        table: &Table,
        rows: Vec<Candidate>,
    ) -> Result<Vec<(Candidate, Result<Put, Failure>)>, Failure> {
        let bytes = rows.iter().filter_map(|row| row.length).sum::<i64>().unsigned_abs();
        let _room = self.budget.take(bytes).await;
        let versions: Vec<_> = rows.iter().map(Candidate::version).collect();
        let mut contents = self.database(|| self.parts.db.contents(table, &versions)).await?;
        let mut work = Vec::new();
        let mut done = Vec::new();
        for row in rows {
            match contents.iter().position(|(id, _)| *id == row.id).map(|at| contents.swap_remove(at).1) {
                Some(content) => work.push((row, content)),
                None => done.push((row, Ok(Put::Not(Migrated::Edited, None)))),
            }
        }
        let count = work.len().max(1);
        let put = work.into_iter().map(|(row, content)| async move {
            let result = self.put_whole(table, &row, content).await;
            (row, result)
        });
        let put: Vec<_> = put.collect();
        done.extend(stream::iter(put).buffer_unordered(count).collect::<Vec<_>>().await);
        Ok(done)
    }

    async fn put_whole(&self, table: &Table, row: &Candidate, content: Bytes) -> Result<Put, Failure> {
        let key = self.key(row.id, &table.schema)?;
        let md5: Digest16 = Md5::digest(&content).into();
        for _ in 0..TRIES {
            let (storage, server, mark) = (&self.parts.storage, &self.parts.server, &self.parts.mark);
            let put = self.storage(|| storage.put_new(&key, mark, (content.clone(), md5), server)).await?;
            match put {
                Ok(etag) if etag.proves_same_content(&ETag::of_md5(md5)) => return Ok(Put::Written(etag)),
                Ok(_) => return self.read_back(table, row, Some(md5), &key).await,
                Err(_) => {
                    if let Some(put) = self.occupied(table, row, Some(md5), &key).await? {
                        return Ok(put);
                    }
                }
            }
        }
        Err(lasting("the object under its key keeps changing"))
    }

    async fn put_large(&self, table: &Table, row: &Candidate) -> Result<Put, Failure> {
        let key = self.key(row.id, &table.schema)?;
        for _ in 0..TRIES {
            // Before hundreds of megabytes go out for nothing.
            if self.look(&key).await?.is_some()
                && let Some(put) = self.occupied(table, row, None, &key).await?
            {
                return Ok(put);
            }
            let length = row.length.unwrap_or_default().unsigned_abs();
            let put = if length > PART as u64 {
                self.put_parts(table, row, &key).await?
            } else {
                let _room = self.budget.take(length).await;
                let length = usize::try_from(length).unwrap_or(PART);
                match self.piece(table, &row.version(), row, 0, length).await? {
                    Some(content) => return Box::pin(self.put_whole(table, row, content.into())).await,
                    None => Some(Put::Not(Migrated::Edited, None)),
                }
            };
            if let Some(put) = put {
                return Ok(put);
            }
        }
        Err(lasting("the object under its key keeps changing"))
    }

    /// In parts; nothing where an object has appeared under the key meanwhile.
    async fn put_parts(
        &self,
        table: &Table,
        row: &Candidate,
        key: &ObjectKey,
    ) -> Result<Option<Put>, Failure> {
        let (storage, server) = (&self.parts.storage, &self.parts.server);
        let upload = self.storage(|| storage.begin_new(key, &self.parts.mark)).await??;
        let length = usize::try_from(row.length.unwrap_or_default()).unwrap_or_default();
        let parts: Vec<_> = (0..length)
            .step_by(PART)
            .zip(1..)
            .map(|(first, number)| {
                let (upload, size) = (&upload, PART.min(length - first));
                self.put_part(table, row, upload, number, Piece { first, length: size })
            })
            .collect();
        let parts = stream::iter(parts).buffered(PARTS_AT_ONCE).try_collect::<Vec<_>>().await;
        let parts = match parts {
            Ok(parts) => parts,
            Err(failure) => {
                storage.abort_new(&upload).await;
                return Err(failure);
            }
        };
        let Some(parts) = parts.into_iter().collect::<Option<Vec<_>>>() else {
            storage.abort_new(&upload).await;
            return Ok(Some(Put::Not(Migrated::Edited, None)));
        };
        let (etags, digests): (Vec<ETag>, Vec<Digest16>) = parts.into_iter().unzip();
        match self.storage(|| storage.complete_new(&upload, &etags, server)).await {
            Ok(Ok(etag)) if etag == ETag::of_parts(&digests) => Ok(Some(Put::Written(etag))),
            Ok(Ok(_)) => self.read_back(table, row, None, key).await.map(Some),
            Ok(Err(_)) => {
                storage.abort_new(&upload).await;
                Ok(None)
            }
            Err(failure) => {
                storage.abort_new(&upload).await;
                Err(failure)
            }
        }
    }

    /// One part; its ETag and its MD5. Nothing where the row is another version by now.
    async fn put_part(
        &self,
        table: &Table,
        row: &Candidate,
        upload: &Upload<'_>,
        number: i32,
        part: Piece,
    ) -> Result<Option<(ETag, Digest16)>, Failure> {
        self.gentle.clear().await;
        let _room = self.budget.take(part.length as u64).await;
        let Some(content) = self.piece(table, &row.version(), row, part.first, part.length).await? else {
            return Ok(None);
        };
        let content = Bytes::from(content);
        let md5: Digest16 = Md5::digest(&content).into();
        let storage = &self.parts.storage;
        let etag = self.storage(|| storage.put_part(upload, number, (content.clone(), md5))).await??;
        failpoint::reach("migrate::part_written");
        Ok(Some((etag, md5)))
    }

    /// An object is under the key: is it the row's content? Nothing where it is not there any more, and the row's content
    /// can be written.
    async fn occupied(
        &self,
        table: &Table,
        row: &Candidate,
        md5: Option<Digest16>,
        key: &ObjectKey,
    ) -> Result<Option<Put>, Failure> {
        let Some(head) = self.look(key).await? else { return Ok(None) };
        match self.same(table, row, md5, key, &head).await? {
            Same::Yes if head.archived => {
                let why = "its object is in an archive class: nobody could read it".to_owned();
                return Ok(Some(Put::Not(Migrated::Archived, Some(why))));
            }
            Same::Yes => return Ok(Some(Put::Was(head.etag))),
            Same::RowChanged => return Ok(Some(Put::Not(Migrated::Edited, None))),
            Same::ObjectChanged => return Ok(None),
            Same::No => {}
        }
        if !self.is_of_an_earlier_run(&head) && !failpoint::removed("protection::mark_of_migration") {
            let why = "an object with other content is under its key".to_owned();
            return Ok(Some(Put::Not(Migrated::Differs, Some(why))));
        }
        // Only for the very row whose content differs.
        let now = self.now(table, vec![row.clone()]).await?;
        if now.iter().any(|(_, now)| *now != Now::Same) {
            return Ok(Some(Put::Not(Migrated::Edited, None)));
        }
        let (db, migration) = (&self.parts.db, &self.parts.migration);
        if self.database(|| db.has_several_rows(migration, row.id)).await?
            && !failpoint::removed("protection::several_rows")
        {
            let why =
                "an object with other content is under its key, and another row has this id, too".to_owned();
            return Ok(Some(Put::Not(Migrated::Differs, Some(why))));
        }
        // What an earlier run wrote of a row that was edited before it was switched: no row has ever named it, unless it was
        // brought back to the database since; so it is kept for as long as a backup may name it.
        match self.put_away(row.id, &table.schema, key, &head.etag).await? {
            Some(Outcome::Moved | Outcome::AlreadyMoved | Outcome::Missing) | None => Ok(None),
            Some(other) => {
                let why = format!("an older content of it is under its key, and stays: {}", other.as_str());
                Ok(Some(Put::Not(Migrated::Differs, Some(why))))
            }
        }
    }

    /// The answer to a write does not prove what was written: reading it does.
    async fn read_back(
        &self,
        table: &Table,
        row: &Candidate,
        md5: Option<Digest16>,
        key: &ObjectKey,
    ) -> Result<Put, Failure> {
        let Some(head) = self.look(key).await? else {
            return Err(lasting("the object was written, and is not there"));
        };
        match self.same(table, row, md5, key, &head).await? {
            Same::Yes => Ok(Put::Written(head.etag)),
            Same::RowChanged => Ok(Put::Not(Migrated::Edited, None)),
            Same::No | Same::ObjectChanged => Err(lasting("the object is not what was written")),
        }
    }

    async fn look(&self, key: &ObjectKey) -> Result<Option<Head>, Failure> {
        Ok(self.storage(|| self.parts.storage.head(Side::Object, key)).await??)
    }

    /// The rows whose objects are there. One that is in somebody's hands is waited for a while: whoever deletes it leaves an
    /// object that nobody would come for.
    async fn switch(
        &self,
        table: &Table,
        mut written: Vec<(Candidate, (Migrated, ETag))>,
        results: &mut Vec<FileResult>,
    ) -> Result<(), Failure> {
        for pause in IN_HAND.into_iter().map(Some).chain([None]) {
            if written.is_empty() {
                return Ok(());
            }
            let switched = self.in_one_statement(table, Statement::ToStorage, written).await?;
            failpoint::reach("migrate::row_switched");
            let (mut left, mut objects) = (Vec::new(), Vec::new());
            for (row, (what, etag), end) in switched {
                match end {
                    Ok(true) => results.push(self.told(table, &row, what, None)),
                    Ok(false) => {
                        left.push(row);
                        objects.push((what, etag));
                    }
                    Err(failure) => results.push(self.failed(table, &row, &failure)),
                }
            }
            written = Vec::new();
            for ((row, now), object) in self.now(table, left).await?.into_iter().zip(objects) {
                match (now, pause) {
                    (Now::Gone, _) => results.push(self.left_by_the_gone(table, &row, &object.1).await),
                    (Now::Switched, _) => results.push(self.told(table, &row, Migrated::Migrated, None)),
                    (Now::Same, Some(_)) => written.push((row, object)),
                    (Now::Same | Now::Changed, _) => {
                        results.push(self.told(table, &row, Migrated::Edited, None));
                    }
                }
            }
            if let Some(pause) = pause.filter(|_| !written.is_empty()) {
                tokio::time::sleep(pause).await;
            }
        }
        Ok(())
    }
}

//! From the storage to rows: the content is compared with its digest on the way, and row and content change in one
//! statement. The object stays, unless it is wanted in the recycle bucket.

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, StreamExt as _};
use md5::{Digest as _, Md5};
use sha2::Sha256;
use uuid::Uuid;

use super::asking::{is_of_rows, lasting};
use super::away::written_since;
use super::groups::{SMALL, weight};
use super::proof::{Digest16, Parts, says};
use super::switch::Now;
use super::{FileResult, Migrated, Migrator};
use crate::db::migrate::{Arrival, Arrived, Candidate, Direction, Table};
use crate::failpoint;
use crate::file::ObjectKey;
use crate::outcome::Failure;
use crate::storage::{ETag, Head, Side, Small};

/// The longest content that a row gets, in bytes. A value may have a gibibyte (PostgreSQL manual, appendix K, "field size"),
/// but `pg_dump` and logical replication write it in two digits for each byte: with more than this the next backup would fail.
const LONGEST: u64 = 512 * 1024 * 1024 - 64 * 1024;

/// What came of one object.
enum Got {
    /// Its content, proven.
    Content(Bytes, Digest16, ETag),
    /// It is too large for a group.
    Large,
    /// Not its content: why.
    Not(Migrated, Option<String>),
}

impl Migrator {
    /// A group of small files, or one large one.
    pub(super) async fn to_database(
        &self,
        table: &Table,
        rows: Vec<Candidate>,
        results: &mut Vec<FileResult>,
    ) -> Result<(), Failure> {
        let bytes = rows.iter().map(|row| weight(row, Direction::ToDatabase)).sum();
        let (mut arrived, mut large) = (Vec::new(), Vec::new());
        let (mut not, mut objects) = (Vec::new(), Vec::new());
        {
            // A large one is streamed: what is held of it at once is two pieces.
            let _room = self.budget.take(u64::min(bytes, 2 * SMALL)).await;
            let got = rows.into_iter().map(|row| async move {
                let got = self.get(table, &row).await;
                (row, got)
            });
            let got: Vec<_> = got.collect();
            let got: Vec<_> = stream::iter(got).buffer_unordered(64).collect().await;
            for (row, got) in got {
                match got {
                    Ok(Got::Content(content, md5, etag)) => {
                        objects.push((row.id, etag));
                        arrived.push((row, content, md5));
                    }
                    Ok(Got::Large) => large.push(row),
                    Ok(Got::Not(what, why)) => not.push((row, what, why)),
                    Err(failure) => results.push(self.failed(table, &row, &failure)),
                }
            }
            failpoint::reach("migrate::content_read");
            self.give_rows(table, arrived, results).await?;
            results.extend(self.not(table, not).await?);
        }
        for row in large {
            let _place = self.budget.arrive().await;
            self.gentle.clear().await;
            let _room = self.budget.take(2 * SMALL).await;
            results.push(match self.stream_into_row(table, &row, &mut objects).await {
                Ok(result) => result,
                Err(failure) if matches!(failure.advice, crate::outcome::Advice::Hold) => {
                    return Err(failure);
                }
                Err(failure) => self.failed(table, &row, &failure),
            });
        }
        failpoint::reach("migrate::before_putting_away");
        *results = self.with_their_objects(table, std::mem::take(results), &objects).await;
        Ok(())
    }

    async fn get(&self, table: &Table, row: &Candidate) -> Result<Got, Failure> {
        let key = self.key(row.id, &table.schema)?;
        if weight(row, Direction::ToDatabase) > SMALL {
            return Ok(Got::Large);
        }
        let storage = &self.parts.storage;
        // No more than its row says: that is what there is room for.
        let most = weight(row, Direction::ToDatabase);
        let (etag, content) = match self.storage(|| storage.read_small(Side::Object, &key, most)).await? {
            Ok(Small::Whole(etag, content)) => (etag, content),
            Ok(Small::Larger) => return Ok(Got::Large),
            Ok(Small::Nothing) => {
                // Some servers say of a bucket that is away what they say of an object.
                self.storage(|| storage.check()).await??;
                let why =
                    "its object is not in the object bucket: `explain` tells where it may be".to_owned();
                return Ok(Got::Not(Migrated::Missing, Some(why)));
            }
            Err(error) if error.kind == crate::storage::Kind::Archived => {
                return Ok(Got::Not(Migrated::Archived, Some(error.to_string())));
            }
            Err(error) => return Err(error.into()),
        };
        if let Some(why) = other_size(row, content.len() as u64) {
            return Ok(Got::Not(Migrated::SizeDiffers, Some(why)));
        }
        let md5: Digest16 = Md5::digest(&content).into();
        if says(&etag, md5, None) == Some(true) || self.is_what_it_says(&key, &etag, &content, md5).await? {
            return Ok(Got::Content(content, md5, etag));
        }
        let why = "what was read is not what the object's ETag stands for, twice".to_owned();
        Ok(Got::Not(Migrated::Unproven, Some(why)))
    }

    /// The ETag does not stand for a content in one piece: for one in parts, or for none; then it is read once more.
    async fn is_what_it_says(
        &self,
        key: &ObjectKey,
        etag: &ETag,
        content: &Bytes,
        md5: Digest16,
    ) -> Result<bool, Failure> {
        let storage = &self.parts.storage;
        let head = self.storage(|| storage.head(Side::Object, key)).await??;
        let Some(head) = head.filter(|head| head.etag == *etag) else { return Ok(false) };
        if let Ok(Some(lengths)) = self.storage(|| storage.part_lengths(Side::Object, key, &head)).await? {
            let mut parts = Parts::new(lengths);
            parts.update(content);
            if says(etag, md5, Some(parts)) == Some(true) {
                return Ok(true);
            }
        }
        let again = self.storage(|| storage.read_small(Side::Object, key, SMALL)).await??;
        Ok(matches!(again, Small::Whole(again, second) if again == *etag && second == *content))
    }

    async fn give_rows(
        &self,
        table: &Table,
        arrived: Vec<(Candidate, Bytes, Digest16)>,
        results: &mut Vec<FileResult>,
    ) -> Result<(), Failure> {
        if arrived.is_empty() {
            return Ok(());
        }
        let contents: Vec<Arrived> = arrived
            .iter()
            .map(|(row, content, md5)| Arrived { row: row.version(), content: content.clone(), md5: *md5 })
            .collect();
        let (db, migration) = (&self.parts.db, &self.parts.migration);
        let mut left = Vec::new();
        match self.database(|| db.switch_to_database(migration, table, &contents)).await {
            Ok(done) => {
                for (row, ..) in arrived {
                    if done.contains(&row.id) {
                        results.push(self.told(table, &row, Migrated::Migrated, None));
                    } else {
                        left.push(row);
                    }
                }
            }
            // Something in the database refuses one of them.
            Err(failure) if is_of_rows(&failure) => {
                for ((row, ..), content) in arrived.into_iter().zip(&contents) {
                    let one = std::slice::from_ref(content);
                    match self.database(|| db.switch_to_database(migration, table, one)).await {
                        Ok(done) if done.is_empty() => left.push(row),
                        Ok(_) => results.push(self.told(table, &row, Migrated::Migrated, None)),
                        Err(failure) => results.push(self.failed(table, &row, &failure)),
                    }
                }
            }
            Err(failure) => return Err(failure),
        }
        failpoint::reach("migrate::content_in_row");
        results.extend(self.left(table, left).await?);
        Ok(())
    }

    /// A large one: piece by piece to the database's server, which puts them together.
    async fn stream_into_row(
        &self,
        table: &Table,
        row: &Candidate,
        objects: &mut Vec<(Uuid, ETag)>,
    ) -> Result<FileResult, Failure> {
        let key = self.key(row.id, &table.schema)?;
        let storage = &self.parts.storage;
        let not = |what, why: &str| Ok(self.told(table, row, what, Some(why.to_owned())));
        let Some(head) = self.object(&key).await? else {
            return not(
                Migrated::Missing,
                "its object is not in the object bucket: `explain` tells where it may be",
            );
        };
        if head.archived {
            return not(Migrated::Archived, "its object is in an archive class: ask for it first");
        }
        if head.size > LONGEST {
            return not(
                Migrated::TooLarge,
                "with so much in a row pg_dump would fail: it writes two digits for each byte, and no more than a gibibyte",
            );
        }
        if let Some(why) = other_size(row, head.size) {
            return not(Migrated::SizeDiffers, &why);
        }
        let lengths = self.storage(|| storage.part_lengths(Side::Object, &key, &head)).await?.ok().flatten();
        let mut arrival = self.database(|| self.parts.db.arrival()).await?;
        match self.read_proven(&key, &head, lengths, &mut arrival).await {
            Ok(true) => {}
            Ok(false) => {
                arrival.give_up().await;
                return not(Migrated::Unproven, "it was read twice, and came differently");
            }
            Err(failure) => {
                arrival.give_up().await;
                return Err(failure);
            }
        }
        failpoint::reach("migrate::content_read");
        let _place = self.budget.assemble().await;
        self.gentle.clear().await;
        // It took its time: is it still the object that was read?
        let still = self.storage(|| storage.head(Side::Object, &key)).await??;
        if still.is_none_or(|still| still.etag != head.etag) {
            arrival.give_up().await;
            return Ok(self.told(table, row, Migrated::Edited, None));
        }
        objects.push((row.id, head.etag));
        self.put_together(table, row, arrival).await
    }

    /// Not tried again by itself: the pieces go with the connection. The next run does it.
    async fn put_together(
        &self,
        table: &Table,
        row: &Candidate,
        arrival: Arrival,
    ) -> Result<FileResult, Failure> {
        let done = arrival.into_row(&self.parts.migration, table, &row.version()).await;
        failpoint::reach("migrate::content_in_row");
        match done {
            Ok(true) => Ok(self.told(table, row, Migrated::Migrated, None)),
            Ok(false) => {
                self.left(table, vec![row.clone()]).await?.pop().ok_or_else(|| lasting("a row has no end"))
            }
            Err(error) => {
                // Its answer may be lost, and it done.
                let now = self.now(table, vec![row.clone()]).await?;
                let switched = now.iter().any(|(_, now)| *now == Now::Switched);
                if switched { Ok(self.told(table, row, Migrated::Migrated, None)) } else { Err(error.into()) }
            }
        }
    }

    /// The object's content to the database's server; whether it is what the object is.
    async fn read_proven(
        &self,
        key: &ObjectKey,
        head: &Head,
        lengths: Option<Vec<u64>>,
        arrival: &mut Arrival,
    ) -> Result<bool, Failure> {
        if self.read_pieces(key, head, lengths, arrival).await? {
            return Ok(true);
        }
        // The ETag does not say: the same once more is proof enough that it came over as it is.
        let mut again = Sha256::new();
        let mut content = self.storage(|| self.parts.storage.open(Side::Object, key, head)).await??;
        while let Some(chunk) = content.next().await? {
            again.update(&chunk);
        }
        let again: [u8; 32] = again.finalize().into();
        Ok(again == arrival.sha256())
    }

    /// As `read_proven`, by reading once: does the ETag stand for what has come?
    async fn read_pieces(
        &self,
        key: &ObjectKey,
        head: &Head,
        lengths: Option<Vec<u64>>,
        arrival: &mut Arrival,
    ) -> Result<bool, Failure> {
        let mut content = self.storage(|| self.parts.storage.open(Side::Object, key, head)).await??;
        // An MD5 for each part, or one for all: not both.
        let mut digests =
            lengths.map_or_else(|| Arriving::Whole(Md5::new()), |all| Arriving::Parts(Parts::new(all)));
        let (mut piece, mut size) = (BytesMut::with_capacity(Arrival::STEP), 0);
        while let Some(chunk) = content.next().await? {
            digests.update(&chunk);
            size += chunk.len() as u64;
            let mut rest = &*chunk;
            while piece.len() + rest.len() >= Arrival::STEP {
                let (now, later) = rest.split_at(Arrival::STEP - piece.len());
                piece.extend_from_slice(now);
                arrival.add(&piece).await.map_err(Failure::from)?;
                piece.clear();
                rest = later;
            }
            piece.extend_from_slice(rest);
        }
        if size != head.size {
            return Err(lasting("the object's content ended before its end"));
        }
        if !piece.is_empty() {
            arrival.add(&piece).await.map_err(Failure::from)?;
        }
        Ok(digests.prove(&head.etag))
    }

    /// The objects of what is in the database now. They go to the recycle bucket, where that is wanted, by the worker's own
    /// move, which finds for each that no row says S3. Either way one that is another one by now is told: who saved the
    /// file while its content came writes the object first, and the row, which says "database" since, only then.
    async fn with_their_objects(
        &self,
        table: &Table,
        results: Vec<FileResult>,
        objects: &[(Uuid, ETag)],
    ) -> Vec<FileResult> {
        let moves: Vec<_> = results
            .into_iter()
            .map(|file| async move {
                let object = objects.iter().find(|(id, _)| *id == file.file_id);
                match (file.result, object, file.key.clone()) {
                    (Migrated::Migrated, Some((_, etag)), Some(key)) if self.settings.recycle_objects => {
                        self.without_its_object(table, file, &key, etag).await
                    }
                    (Migrated::Migrated, Some((_, etag)), Some(key)) => {
                        self.beside_its_object(file, &key, etag).await
                    }
                    _ => file,
                }
            })
            .collect();
        stream::iter(moves).buffer_unordered(64).collect().await
    }

    async fn beside_its_object(&self, file: FileResult, key: &ObjectKey, etag: &ETag) -> FileResult {
        match self.object(key).await {
            Ok(Some(head)) if head.etag != *etag => written_since(file),
            Ok(_) => file,
            Err(failure) => {
                let why =
                    format!("whether its object was written again meanwhile is not known: {}", failure.error);
                FileResult { why: Some(why), ..file }
            }
        }
    }
}

/// The MD5s that an object's ETag may be made of, as its content comes.
enum Arriving {
    Whole(Md5),
    Parts(Parts),
}

impl Arriving {
    fn update(&mut self, content: &[u8]) {
        match self {
            Self::Whole(md5) => md5.update(content),
            Self::Parts(parts) => parts.update(content),
        }
    }

    /// Does this ETag stand for what has come?
    fn prove(self, etag: &ETag) -> bool {
        match self {
            Self::Whole(md5) => etag.proves_same_content(&ETag::of_md5(md5.finalize().into())),
            Self::Parts(parts) => parts.etag() == *etag,
        }
    }
}

/// The row says another size than the object has. Zero tells none: it is what an empty column says, too.
fn other_size(row: &Candidate, size: u64) -> Option<String> {
    let said = row.size.and_then(|said| u64::try_from(said).ok()).filter(|said| *said > 0)?;
    (said != size).then(|| format!("the row says {said} bytes, its object has {size}"))
}

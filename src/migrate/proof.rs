//! Does an object have exactly a row's content? By its ETag where that is made of the content, else by reading both.

use bytes::BytesMut;
use md5::{Digest, Md5};

use super::Migrator;
use super::asking::lasting;
use super::groups::SMALL;
use crate::db::migrate::{Candidate, Piece, Table, Version};
use crate::file::ObjectKey;
use crate::outcome::Failure;
use crate::storage::{ETag, Head, Kind, PART, Side};

/// A content that is not compressed is read in steps of so many bytes.
const STEP: usize = 256 * 1024;

/// An MD5.
pub(super) type Digest16 = [u8; 16];

/// What was found out about a row's content and an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Same {
    /// They are equal.
    Yes,
    /// They are not.
    No,
    /// The row is another version by now.
    RowChanged,
    /// The object is another one by now.
    ObjectChanged,
}

/// MD5s of a content in parts of these lengths, as it comes.
#[derive(Clone, Debug)]
pub(super) struct Parts {
    lengths: std::vec::IntoIter<u64>,
    left: u64,
    part: Md5,
    done: Vec<Digest16>,
}

impl Parts {
    /// Nothing has come yet.
    pub(super) fn new(lengths: Vec<u64>) -> Self {
        let mut lengths = lengths.into_iter();
        let left = lengths.next().unwrap_or(u64::MAX);
        Self { lengths, left, part: Md5::new(), done: Vec::new() }
    }

    /// Adds what has come.
    pub(super) fn update(&mut self, mut content: &[u8]) {
        while !content.is_empty() {
            let take = usize::try_from(self.left).unwrap_or(usize::MAX).min(content.len());
            let (now, later) = content.split_at(take);
            self.part.update(now);
            self.left -= take as u64;
            if self.left == 0 {
                self.done.push(std::mem::take(&mut self.part).finalize().into());
                self.left = self.lengths.next().unwrap_or(u64::MAX);
            }
            content = later;
        }
    }

    /// The ETag that an object of these parts has, where ETags are made of contents.
    pub(super) fn etag(self) -> ETag {
        ETag::of_parts(&self.done)
    }
}

/// Is what `update` was told of the content that this ETag stands for? Nothing where the ETag does not say.
pub(super) fn says(etag: &ETag, whole: Digest16, parts: Option<Parts>) -> Option<bool> {
    if etag.proves_same_content(&ETag::of_md5(whole)) {
        return Some(true);
    }
    if etag.md5().is_some() {
        // Both are MD5s, or it is encrypted and says nothing: then reading tells.
        return None;
    }
    let parts = parts.map(Parts::etag)?;
    (parts == *etag).then_some(true)
}

impl Migrator {
    /// Does the object that `head` describes have the row's content? `whole` is the MD5 of that, where it is known.
    pub(super) async fn same(
        &self,
        table: &Table,
        row: &Candidate,
        whole: Option<Digest16>,
        key: &ObjectKey,
        head: &Head,
    ) -> Result<Same, Failure> {
        let length = row.length.and_then(|length| u64::try_from(length).ok()).unwrap_or_default();
        if head.size != length {
            return Ok(Same::No);
        }
        if whole.is_some_and(|md5| head.etag.proves_same_content(&ETag::of_md5(md5))) {
            return Ok(Same::Yes);
        }
        if whole.is_none() && length <= PART as u64 && head.etag.md5().is_some() && !head.opaque_etag {
            let (version, piece) = (row.version(), Piece { first: 0, length: PART });
            match self.database(|| self.parts.db.piece_digest(table, &version, piece)).await? {
                None => return Ok(Same::RowChanged),
                Some(md5) if head.etag == ETag::of_md5(md5) => return Ok(Same::Yes),
                Some(_) => {}
            }
        }
        if head.etag.parts().is_some_and(|parts| parts > 1) && !head.opaque_etag {
            match self.same_parts(table, row, key, head).await? {
                Some(Same::No) | None => {}
                Some(same) => return Ok(same),
            }
        }
        self.same_bytes(table, row, key, head).await
    }

    /// By the MD5s of the parts, which the database's server computes; nothing where nobody knows the parts.
    async fn same_parts(
        &self,
        table: &Table,
        row: &Candidate,
        key: &ObjectKey,
        head: &Head,
    ) -> Result<Option<Same>, Failure> {
        let told = self.storage(|| self.parts.storage.part_lengths(Side::Object, key, head)).await?;
        let count = head.etag.parts().map(u64::from);
        // Those that a migration makes.
        let ours = || (count == Some(head.size.div_ceil(PART as u64))).then(|| even(head.size));
        let Some(lengths) = told.ok().flatten().or_else(ours) else { return Ok(None) };
        let (version, mut first, mut digests) = (row.version(), 0, Vec::new());
        for length in lengths {
            let Ok(length) = usize::try_from(length) else { return Ok(None) };
            let piece = Piece { first, length };
            let digest = self.database(|| self.parts.db.piece_digest(table, &version, piece)).await?;
            let Some(digest) = digest else { return Ok(Some(Same::RowChanged)) };
            digests.push(digest);
            first += length;
        }
        Ok(Some(if ETag::of_parts(&digests) == head.etag { Same::Yes } else { Same::No }))
    }

    /// By reading both, side by side.
    async fn same_bytes(
        &self,
        table: &Table,
        row: &Candidate,
        key: &ObjectKey,
        head: &Head,
    ) -> Result<Same, Failure> {
        let _place = self.budget.compare().await;
        let mut content = match self.storage(|| self.parts.storage.open(Side::Object, key, head)).await? {
            Ok(content) => content,
            Err(error) if error.kind == Kind::Archived => return Err(error.into()),
            Err(_) => return Ok(Same::ObjectChanged),
        };
        let (version, at_once, mut first) =
            (row.version(), step(row).max(usize::try_from(SMALL).unwrap_or(PART)), 0);
        let mut read = BytesMut::new();
        loop {
            let chunk = content.next().await?;
            let is_end = chunk.is_none();
            read.extend_from_slice(&chunk.unwrap_or_default());
            if read.len() < at_once && !is_end {
                continue;
            }
            let Some(piece) = self.piece(table, &version, row, first, read.len()).await? else {
                return Ok(Same::RowChanged);
            };
            if piece != read {
                return Ok(Same::No);
            }
            first += read.len();
            read.clear();
            if is_end {
                break;
            }
        }
        let all = u64::try_from(first).is_ok_and(|first| first == head.size);
        if all { Ok(Same::Yes) } else { Err(lasting("the object's content ended before its end")) }
    }

    /// A piece of a row's content.
    pub(super) async fn piece(
        &self,
        table: &Table,
        version: &Version,
        row: &Candidate,
        first: usize,
        length: usize,
    ) -> Result<Option<Vec<u8>>, Failure> {
        if length == 0 {
            return Ok(Some(Vec::new()));
        }
        let (piece, step) = (Piece { first, length }, step(row));
        self.database(|| self.parts.db.piece(table, version, piece, step)).await
    }
}

/// How much of a row's content comes in one message: a connection's buffer has room for one. Of a compressed one the server has
/// to go through everything before a step, each time: fewer and larger ones then.
fn step(row: &Candidate) -> usize {
    if row.stored < row.length { PART } else { STEP }
}

/// The lengths of a migration's own parts.
pub(super) fn even(size: u64) -> Vec<u64> {
    let part = PART as u64;
    (0..size).step_by(PART).map(|first| part.min(size - first)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn md5(content: &[u8]) -> Digest16 {
        Md5::digest(content).into()
    }

    #[test]
    fn the_parts_digests_are_the_same_however_the_content_comes() {
        let expected = ETag::of_parts(&[md5(b"abc"), md5(b"def"), md5(b"g")]);
        for cut in 1..=7 {
            let mut parts = Parts::new(vec![3, 3, 1]);
            b"abcdefg".chunks(cut).for_each(|chunk| parts.update(chunk));
            assert_eq!(parts.etag(), expected, "in pieces of {cut}");
        }
    }

    #[test]
    fn an_etag_says_yes_or_nothing() {
        let (content, other) = (md5(b"content"), md5(b"other"));
        let parts = || {
            let mut parts = Parts::new(vec![3, 4]);
            parts.update(b"content");
            Some(parts)
        };
        let in_parts = ETag::of_parts(&[md5(b"con"), md5(b"tent")]);
        assert_eq!(says(&ETag::of_md5(content), content, None), Some(true));
        assert_eq!(says(&ETag::of_md5(other), content, None), None);
        assert_eq!(says(&in_parts, content, parts()), Some(true));
        assert_eq!(says(&in_parts, content, None), None);
        assert_eq!(says(&ETag::new("opaque"), content, parts()), None);
    }

    #[test]
    fn even_parts_cover_the_content() {
        let part = PART as u64;
        assert_eq!(even(2 * part + 1), [part, part, 1]);
        assert_eq!(even(part), [part]);
    }
}

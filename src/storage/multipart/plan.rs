//! Where to cut: the source's own boundaries, where they can be known, so that the copy's ETag is the source's.

use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::PARTS_AT_ONCE;
use crate::storage::copy::Transfer;
use crate::storage::error::Asked;
use crate::storage::{Kind, Operation, Side, Storage, StorageError};

/// Most parts of an object (Amazon S3 user guide, "multipart upload limits").
const MAX_PARTS: u64 = 10_000;
/// Size of a part where the source's own parts are not known, in bytes.
const PART_SIZE: u64 = 256 * 1024 * 1024;

/// One part of the source: its number from 1, its first and its last byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) number: i32,
    pub(super) first: u64,
    pub(super) last: u64,
}

impl Part {
    /// Its length in bytes.
    pub(super) fn length(self) -> u64 {
        self.last - self.first + 1
    }
}

/// An object whose parts are asked for.
#[derive(Clone, Copy, Debug)]
pub(in crate::storage) struct Whole<'a> {
    /// The bucket that has it.
    pub(in crate::storage) side: Side,
    /// Its key.
    pub(in crate::storage) key: &'a str,
    /// Its version, where it is not the latest that is meant.
    pub(in crate::storage) version: Option<&'a str>,
    /// Its size in bytes.
    pub(in crate::storage) size: u64,
}

impl Storage {
    /// The source's own parts, where it has several and the server tells; else even ones. Where they are not the
    /// source's, the copy's ETag comes out different, and the note in its metadata is the proof.
    pub(super) async fn plan(&self, transfer: &Transfer<'_>) -> Result<Vec<Part>, StorageError> {
        let size = transfer.source.size;
        let count = transfer.source.etag.parts().filter(|count| (2..=MAX_PARTS).contains(&u64::from(*count)));
        let own = match count {
            Some(count) => self.own_lengths(Whole::of(transfer), count).await?,
            None => None,
        };
        Ok(own.map_or_else(|| even(size, part_size(size)), |lengths| parts_of(&lengths)))
    }

    /// The lengths of the source's parts. Uploaders cut even parts, mostly: the first and the last one tell, and
    /// all are asked about only where those two do not fit.
    pub(in crate::storage) async fn own_lengths(
        &self,
        whole: Whole<'_>,
        count: u32,
    ) -> Result<Option<Vec<u64>>, StorageError> {
        let size = whole.size;
        let Some(first) = self.part_length(whole, 1).await? else { return Ok(None) };
        if first >= size {
            // It takes no notice of the number, and tells of the whole object.
            return Ok(None);
        }
        let before_last = first.saturating_mul(u64::from(count) - 1);
        if (size.saturating_sub(first)..size).contains(&before_last)
            && self.part_length(whole, count).await? == Some(size - before_last)
        {
            return Ok(Some(even(size, first).into_iter().map(Part::length).collect()));
        }
        let lengths: Vec<Option<u64>> = stream::iter(1..=count)
            .map(|number| self.part_length(whole, number))
            .buffered(PARTS_AT_ONCE)
            .try_collect()
            .await?;
        let lengths: Option<Vec<u64>> = lengths.into_iter().collect();
        Ok(lengths.filter(|lengths| lengths.iter().sum::<u64>() == size))
    }

    /// The length of one part of the source in bytes; nothing where the server does not tell.
    ///
    /// Without a condition: some servers answer with the part's own ETag and compare that. It is a hint; what
    /// is copied is under the condition of every part.
    async fn part_length(&self, whole: Whole<'_>, number: u32) -> Result<Option<u64>, StorageError> {
        let asked = Asked { operation: Operation::HeadObject, side: whole.side, key: Some(whole.key) };
        let request = self
            .client()
            .head_object()
            .bucket(self.bucket(whole.side))
            .key(whole.key)
            .set_version_id(whole.version.map(str::to_owned))
            .set_part_number(i32::try_from(number).ok());
        match self.send(asked, || request.send()).await {
            Ok(output) => Ok(output
                .content_length()
                .and_then(|length| u64::try_from(length).ok())
                .filter(|length| *length > 0)),
            Err(error) if matches!(error.kind, Kind::NotImplemented | Kind::BadRequest) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl<'a> Whole<'a> {
    /// What a transfer copies.
    fn of(transfer: &Transfer<'a>) -> Self {
        let Transfer { from: side, key, version, source, .. } = *transfer;
        Self { side, key, version, size: source.size }
    }
}

/// The size of even parts of our own choice, such that there are not too many.
fn part_size(size: u64) -> u64 {
    PART_SIZE.max(size.div_ceil(MAX_PARTS))
}

/// `size` bytes in parts of `length`, the last one shorter.
fn even(size: u64, length: u64) -> Vec<Part> {
    let firsts = (0..size).step_by(usize::try_from(length).unwrap_or(usize::MAX));
    firsts
        .zip(1..)
        .map(|(first, number)| Part { number, first, last: (first + length).min(size) - 1 })
        .collect()
}

/// Parts of these lengths, one after the other.
fn parts_of(lengths: &[u64]) -> Vec<Part> {
    let mut next = 0;
    let cut = |(length, number): (&u64, i32)| {
        let first = next;
        next += length;
        Part { number, first, last: next - 1 }
    };
    lengths.iter().zip(1..).map(cut).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers_every_byte_once(parts: &[Part], size: u64) {
        assert_eq!(parts[0].first, 0);
        assert_eq!(parts[parts.len() - 1].last, size - 1);
        assert!(parts.windows(2).all(|pair| pair[0].last + 1 == pair[1].first));
        assert!(parts.windows(2).all(|pair| pair[0].number + 1 == pair[1].number));
    }

    #[test]
    fn parts_cover_every_byte_once() {
        for (size, length) in [(1, 1), (10, 3), (9, 3), (5, 10), (3 * PART_SIZE + 1, PART_SIZE)] {
            covers_every_byte_once(&even(size, length), size);
        }
        let uneven = parts_of(&[5, 7, 5, 1]);
        covers_every_byte_once(&uneven, 18);
        assert_eq!(uneven.iter().map(|part| part.length()).collect::<Vec<_>>(), [5, 7, 5, 1]);
    }

    #[test]
    fn the_largest_object_has_no_more_parts_than_allowed() {
        const TIB: u64 = 1 << 40;
        for size in [5 << 30, 5 * TIB, 50 * TIB] {
            assert!(even(size, part_size(size)).len() as u64 <= MAX_PARTS, "{size}");
        }
    }
}

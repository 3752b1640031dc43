//! A server of the model: what it does with a condition, and which ETags it gives.

use md5::{Digest, Md5};

use crate::file::ObjectKey;
use crate::recycle::decision::may_be_read_as_another;
use crate::storage::{Capabilities, Checksum, ETag, Head};

/// What is in an object. 0 and 1 have the same size, 3 is empty; from 16 on it is a mixture of two.
pub(super) type Content = u8;

/// The size of some content, in bytes.
pub(super) fn size(content: Content) -> u64 {
    let first = if content < 16 { content } else { (content - 16) / 4 };
    [5, 5, 7, 0][usize::from(first % 4)]
}

/// What a copy in parts has whose source was written again between two of them.
pub(super) fn mixture(first: Content, second: Content) -> Content {
    if first == second { first } else { 16 + (first % 4) * 4 + second % 4 }
}

/// How an object was written, which is what its ETag depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// In one piece.
    Whole,
    /// As a multipart upload of one part.
    OnePart,
    /// As a multipart upload of two parts.
    Parts,
    /// Under a key of the customer's: the ETag has nothing to do with the content.
    Kms,
}

/// An object of the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) content: Content,
    pub(super) shape: Shape,
    pub(super) etag: ETag,
    /// Our note in its metadata.
    pub(super) stamp: Option<ETag>,
    /// At which step it was written; 0 is before the history.
    pub(super) written: usize,
}

/// What a server does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Server {
    /// What the probe finds; the server does just that, except where a test makes it lie.
    pub(super) can: Capabilities,
    /// It tells how long an object's parts are.
    pub(super) tells_parts: bool,
    /// It keeps a checksum over the whole content.
    pub(super) sums: bool,
}

impl Server {
    /// The ETag of what is written now; `unique` is a number that no other write has.
    pub(super) fn etag(&self, content: Content, shape: Shape, unique: usize) -> ETag {
        let hash = |bytes: &[u8]| <[u8; 16]>::from(Md5::digest(bytes));
        let hex = |hash: [u8; 16]| format!("{:032x}", u128::from_be_bytes(hash));
        let plain = hash(&[content]);
        ETag::new(match shape {
            // Servers of their own mind may well send something that looks like an MD5.
            _ if !self.can.copy_keeps_etag => format!("\"{}\"", hex(hash(&unique.to_be_bytes()))),
            Shape::Kms => format!("\"{}\"", hex(hash(&unique.to_be_bytes()))),
            Shape::Whole => format!("\"{}\"", hex(plain)),
            Shape::OnePart => format!("\"{}-1\"", hex(hash(&plain))),
            Shape::Parts => format!("\"{}-2\"", hex(hash(&[content, content]))),
        })
    }

    /// What a HEAD tells of an object.
    pub(super) fn head(&self, object: &Object) -> Head {
        let sum = || Checksum { algorithm: "SHA256", value: object.content.to_string() };
        Head {
            copied_from: object.stamp.clone(),
            opaque_etag: object.shape == Shape::Kms,
            checksum: self.sums.then(sum),
            ..Head::for_tests(object.etag.clone(), size(object.content))
        }
    }

    /// Does it read this key as another one?
    pub(super) fn mixes_up(&self, key: &ObjectKey) -> bool {
        !self.can.exact_keys && may_be_read_as_another(key)
    }
}

//! One stored object: content, ETag, parts, and the headers that come with it.

use std::sync::OnceLock;

use s3s::dto::{Checksum, Metadata, StorageClass, Timestamp};

use super::{Content, Md5Sum, Store, random_id};

/// What a client says about an object, apart from its tags and its storage class.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Described {
    pub(crate) cache_control: Option<String>,
    pub(crate) content_disposition: Option<String>,
    pub(crate) content_encoding: Option<String>,
    pub(crate) content_language: Option<String>,
    pub(crate) content_type: Option<String>,
    pub(crate) expires: Option<Timestamp>,
    pub(crate) metadata: Option<Metadata>,
    pub(crate) website_redirect_location: Option<String>,
}

/// One part of an object that was uploaded in parts.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) number: i32,
    pub(crate) size: u64,
    pub(crate) checksum: Checksum,
}

/// One immutable object. Its tags, which can change, lie beside it in the entry.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) content: Content,
    /// Without quotes.
    pub(crate) etag: String,
    /// Empty unless it was uploaded in parts.
    pub(crate) parts: Vec<Part>,
    pub(crate) checksum: Checksum,
    pub(crate) described: Described,
    pub(crate) storage_class: Option<StorageClass>,
    md5: OnceLock<Md5Sum>,
}

impl Object {
    /// An object put in one go, with its sum known.
    pub(crate) fn whole(content: Content, sum: Md5Sum, store: &Store) -> Self {
        let mut object = Self::unsummed(content, store.etag(sum));
        object.md5 = OnceLock::from(sum);
        object
    }

    /// The same with the sum taken here.
    pub(crate) fn simple(content: Content, store: &Store) -> Self {
        if !store.sums() {
            return Self::unsummed(content, random_id());
        }
        let sum = content.md5();
        Self::whole(content, sum, store)
    }

    /// The same content in one piece, whose sum is taken at most once.
    pub(crate) fn copied(&self, store: &Store) -> Self {
        if store.sums() {
            Self::whole(self.content.clone(), self.md5(), store)
        } else {
            Self::unsummed(self.content.clone(), random_id())
        }
    }

    /// An object whose ETag is not the sum of its content.
    pub(crate) fn unsummed(content: Content, etag: String) -> Self {
        Self {
            content,
            etag,
            parts: Vec::new(),
            checksum: Checksum::default(),
            described: Described::default(),
            storage_class: None,
            md5: OnceLock::new(),
        }
    }

    /// The sum of the content: at hand for a plain object, taken once for one in parts, so not
    /// to be called under the lock.
    pub(crate) fn md5(&self) -> Md5Sum {
        *self.md5.get_or_init(|| self.content.md5())
    }
}

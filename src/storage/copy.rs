//! Copying one object between the two buckets, under every condition that the server keeps.

use aws_sdk_s3::types::{MetadataDirective, StorageClass};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::error::Asked;
use super::head::SOURCE_ETAG;
use super::{Capabilities, ETag, Head, Kind, Operation, Side, Storage, StorageError, Support};
use crate::failpoint;
use crate::file::ObjectKey;

/// Largest object that one CopyObject request copies, in bytes (Amazon S3 API reference, CopyObject).
pub const MAX_COPY: u64 = 5 * 1024 * 1024 * 1024;
/// Largest object that is copied at all, in bytes: 10,000 parts (Amazon S3 user guide, "multipart upload limits").
pub const MAX_OBJECT: u64 = 5 * 1024 * 1024 * 1024 * 1024;

/// `x-amz-copy-source` is a header that servers decode, and the SDK does not encode it.
const COPY_SOURCE: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// Of a version's id, a slash is encoded, too.
const VERSION_ID: &AsciiSet = &COPY_SOURCE.add(b'/');

/// What is copied to the object bucket: from which side, which version of it (nothing: the latest), and what a look at
/// it said.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The bucket that has it.
    pub side: Side,
    /// Its version, where it is not the latest.
    pub version: Option<&'a str>,
    /// The object.
    pub head: &'a Head,
}

/// What the copy may be written over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Over {
    /// Nothing: there must be no object under the key.
    Nothing,
    /// This object and no other.
    Known(ETag),
}

/// What the server says that it wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// The copy's ETag.
    pub etag: ETag,
}

/// One copy: from where to where, of what, over what.
pub(super) struct Transfer<'a> {
    pub(super) from: Side,
    /// The source's version, where it is not the latest that is meant.
    pub(super) version: Option<&'a str>,
    pub(super) to: Side,
    pub(super) key: &'a str,
    pub(super) source: &'a Head,
    pub(super) over: &'a Over,
    pub(super) class: Option<StorageClass>,
    /// Note the source's ETag in the copy's metadata.
    pub(super) stamp: bool,
}

impl Storage {
    /// Copies whatever is under the key to the recycle bucket, if there is nothing under it there. Its answer's
    /// ETag is that of the copied content, where the probe found that copies keep their source's.
    ///
    /// Content type, metadata and tags come along; the storage class is `storage.recycle_class`, or what the
    /// server makes of none. [`Kind::PreconditionFailed`] says that there is an object in the recycle bucket,
    /// [`Kind::NotFound`] that there is none in the object bucket.
    pub async fn copy_unseen(&self, key: &ObjectKey) -> Result<Copied, StorageError> {
        let key = key.as_str();
        let asked = Asked { operation: Operation::CopyObject, side: Side::Recycle, key: Some(key) };
        let request = self
            .client()
            .copy_object()
            .copy_source(copy_source(self.bucket(Side::Object), key))
            .bucket(self.bucket(Side::Recycle))
            .key(key)
            .set_storage_class(self.recycle_class().cloned())
            .set_if_none_match(Over::star());
        let output = self.send(asked, || request.send()).await?;
        copied(asked, output.copy_object_result().and_then(|result| result.e_tag()))
    }

    /// Copies what `source` describes to the recycle bucket, and only that: a source that was written
    /// again is refused by the server, where the server can.
    ///
    /// Content type, metadata and tags come along; the storage class is `storage.recycle_class`, or the
    /// source's. [`Kind::PreconditionFailed`] says that source or destination changed meanwhile.
    pub async fn copy_to_recycle(
        &self,
        key: &ObjectKey,
        source: &Head,
        over: &Over,
        server: &Capabilities,
    ) -> Result<Copied, StorageError> {
        let class = self.recycle_class().or(source.attributes.storage_class.as_ref());
        let transfer = Transfer {
            from: Side::Object,
            version: None,
            to: Side::Recycle,
            key: key.as_str(),
            source,
            over,
            class: class.cloned(),
            stamp: needs_stamp(source, server),
        };
        self.transfer(&transfer, server).await
    }

    /// Copies what `copy` describes back to the object bucket, if there is nothing under the key.
    pub async fn copy_back(
        &self,
        key: &ObjectKey,
        copy: &Head,
        server: &Capabilities,
    ) -> Result<Copied, StorageError> {
        let from = Origin { side: Side::Recycle, version: None, head: copy };
        self.put_back(key, &from, &Over::Nothing, false, server).await
    }

    /// Copies what `from` describes to the object bucket, over what is known to be there and nothing else. With
    /// `stamp` the object gets a note of what it was made of, where its ETag will not say so.
    ///
    /// Content type, metadata and tags come along, and the copy's storage class, unless that is one of the recycle
    /// bucket's own (`storage.recycle_class`) or an archive, in which nothing could be read. On a server that does not
    /// keep the condition a HEAD right before stands in for it. [`Kind::PreconditionFailed`] says that something else
    /// is there, or that the source changed.
    pub async fn put_back(
        &self,
        key: &ObjectKey,
        from: &Origin<'_>,
        over: &Over,
        stamp: bool,
        server: &Capabilities,
    ) -> Result<Copied, StorageError> {
        let (to, key) = (Side::Object, key.as_str());
        self.look_before_writing(to, key, over, server).await?;
        let kept = from.side == Side::Object || self.classes_come_back();
        let class = kept.then(|| from.head.attributes.storage_class.clone()).flatten();
        let transfer = Transfer {
            from: from.side,
            version: from.version,
            to,
            key,
            source: from.head,
            over,
            class: class.filter(|class| !is_archive(class)),
            stamp: stamp && needs_stamp(from.head, server),
        };
        self.transfer(&transfer, server).await
    }

    /// Has a copy in the recycle bucket its original's storage class? Else it is one for that bucket only, and the
    /// original's is not known.
    pub fn classes_come_back(&self) -> bool {
        self.recycle_class().is_none()
    }

    /// A HEAD in place of the condition, on servers that do not keep it.
    async fn look_before_writing(
        &self,
        to: Side,
        key: &str,
        over: &Over,
        server: &Capabilities,
    ) -> Result<(), StorageError> {
        let kept = match over {
            Over::Nothing => server.copy_if_none_match,
            Over::Known(_) => server.copy_if_match,
        };
        if kept == Support::Honoured || failpoint::removed("protection::look_before_restore") {
            return Ok(());
        }
        let there = self.head_raw(to, key).await?.map(|head| head.etag);
        let as_known = match over {
            Over::Nothing => there.is_none(),
            Over::Known(etag) => there.as_ref() == Some(etag),
        };
        if as_known {
            return Ok(());
        }
        let asked = Asked { operation: Operation::CopyObject, side: to, key: Some(key) };
        Err(StorageError::new(asked, Kind::PreconditionFailed, "by a HEAD before it"))
    }

    async fn transfer(&self, transfer: &Transfer<'_>, server: &Capabilities) -> Result<Copied, StorageError> {
        let source = transfer.source;
        // The ETag of several parts can only come out again from the same parts.
        let in_parts = source.size > MAX_COPY || source.etag.parts().is_some_and(|parts| parts > 1);
        // An empty object has no range that a part could be copied from.
        if in_parts && source.size > 0 {
            return self.copy_in_parts(transfer, server).await;
        }
        self.copy_whole(transfer, server).await
    }

    async fn copy_whole(
        &self,
        transfer: &Transfer<'_>,
        server: &Capabilities,
    ) -> Result<Copied, StorageError> {
        let asked = transfer.asked(Operation::CopyObject);
        let mut request = self
            .client()
            .copy_object()
            .copy_source(self.copy_source(transfer))
            .bucket(self.bucket(transfer.to))
            .key(transfer.key)
            .set_storage_class(transfer.class.clone())
            // The one thing that a copy never takes over by itself.
            .set_website_redirect_location(transfer.source.attributes.website_redirect.clone())
            .set_copy_source_if_match(transfer.pin(server))
            .set_if_none_match(transfer.over.if_none_match(server))
            .set_if_match(transfer.over.if_match(server));
        let attributes = &transfer.source.attributes;
        if let Some((encryption, key)) = &attributes.kms {
            request = request.server_side_encryption(encryption.clone()).set_ssekms_key_id(key.clone());
        }
        if transfer.stamp {
            // To add to the metadata is to replace it: everything else is carried over by hand.
            request = request
                .metadata_directive(MetadataDirective::Replace)
                .set_metadata(Some(transfer.metadata()))
                .set_cache_control(attributes.cache_control.clone())
                .set_content_disposition(attributes.content_disposition.clone())
                .set_content_encoding(attributes.content_encoding.clone())
                .set_content_language(attributes.content_language.clone())
                .set_content_type(attributes.content_type.clone())
                .set_expires(attributes.expires);
        }
        let request = request.customize().config_override(self.copying());
        let output = self.send(asked, || request.send()).await?;
        let etag = output.copy_object_result().and_then(|result| result.e_tag());
        copied(asked, etag)
    }

    pub(super) fn copy_source(&self, transfer: &Transfer<'_>) -> String {
        let source = copy_source(self.bucket(transfer.from), transfer.key);
        transfer.version.map_or_else(|| source.clone(), |version| of_version(&source, version))
    }
}

impl<'a> Transfer<'a> {
    pub(super) fn asked(&self, operation: Operation) -> Asked<'a> {
        Asked { operation, side: self.to, key: Some(self.key) }
    }

    /// The condition that the source is still what was looked at; none for a server that refuses it.
    pub(super) fn pin(&self, server: &Capabilities) -> Option<String> {
        let pinned = server.copy_source_if_match != Support::Refused
            && !failpoint::removed("protection::pinned_source");
        pinned.then(|| self.source.etag.as_sent().to_owned())
    }

    /// The source's own metadata, and our note where there has to be one.
    pub(super) fn metadata(&self) -> std::collections::HashMap<String, String> {
        let mut metadata = self.source.attributes.metadata.clone();
        if self.stamp {
            metadata.insert(SOURCE_ETAG.to_owned(), self.source.etag.as_str().to_owned());
        }
        metadata
    }
}

/// The conditions of a write over what was known to be there. What the server does not keep was asked by a
/// HEAD before.
impl Over {
    pub(crate) fn if_none_match(&self, server: &Capabilities) -> Option<String> {
        let asks = *self == Self::Nothing && server.copy_if_none_match == Support::Honoured;
        asks.then(Self::star).flatten()
    }

    /// The condition that there is nothing.
    fn star() -> Option<String> {
        (!failpoint::removed("protection::condition_on_copy")).then(|| "*".to_owned())
    }

    pub(crate) fn if_match(&self, server: &Capabilities) -> Option<String> {
        match self {
            Self::Known(etag) if server.copy_if_match == Support::Honoured => Some(etag.as_sent().to_owned()),
            Self::Known(_) | Self::Nothing => None,
        }
    }
}

/// Can nothing be read in this class until it is asked for?
fn is_archive(class: &StorageClass) -> bool {
    matches!(class, StorageClass::Glacier | StorageClass::DeepArchive)
}

/// An answer of success that does not say what was written is no success.
pub(super) fn copied(asked: Asked<'_>, etag: Option<&str>) -> Result<Copied, StorageError> {
    match etag {
        Some(etag) if !etag.is_empty() => Ok(Copied { etag: ETag::new(etag) }),
        _ => Err(StorageError::new(asked, Kind::BadAnswer, "without the copy's ETag")),
    }
}

/// Will the copy's own ETag say nothing about its content? Then a note has to.
pub(crate) fn needs_stamp(source: &Head, server: &Capabilities) -> bool {
    let made_of_content = source.etag.md5().is_some() || source.etag.parts() == Some(1);
    // A large object of one piece is copied in parts, whose ETag is another.
    let becomes_parts = source.size > MAX_COPY;
    !server.copy_keeps_etag || source.opaque_etag || !made_of_content || becomes_parts
}

pub(super) fn copy_source(bucket: &str, key: &str) -> String {
    format!("{bucket}/{}", utf8_percent_encode(key, COPY_SOURCE))
}

/// The same, of one version. Its id may be anything, and must end where it ends.
fn of_version(source: &str, version: &str) -> String {
    format!("{source}?versionId={}", utf8_percent_encode(version, VERSION_ID))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_source_is_encoded_to_the_byte() {
        for (key, encoded) in [
            ("plain-_.~/x", "b/plain-_.~/x"),
            ("a b+c", "b/a%20b%2Bc"),
            ("a%20b", "b/a%2520b"),
            ("a%2Fb//c", "b/a%252Fb//c"),
            ("/ж?versionId=1", "b//%D0%B6%3FversionId%3D1"),
            ("🙂", "b/%F0%9F%99%82"),
        ] {
            assert_eq!(copy_source("b", key), encoded);
        }
        let version = of_version(&copy_source("b", "a?versionId=1"), "x/y&z ");
        assert_eq!(version, "b/a%3FversionId%3D1?versionId=x%2Fy%26z%20");
    }
}

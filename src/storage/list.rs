//! Listing a bucket, a page at a time, in ascending order of the keys' bytes.

use std::borrow::Cow;

use aws_sdk_s3::types::{EncodingType, Object, ObjectStorageClass};
use percent_encoding::percent_decode_str;
use time::OffsetDateTime;

use super::error::Asked;
use super::head::moment;
use super::{ETag, Kind, Operation, Side, Storage, StorageError};

/// An object as a listing names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its key, which need not be one of ours.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its ETag, where the listing has one.
    pub etag: Option<ETag>,
    /// When it was written.
    pub last_modified: Option<OffsetDateTime>,
    /// Its storage class.
    pub class: ListedClass,
}

/// What a listing says of an object's storage class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListedClass {
    /// STANDARD, or none.
    Standard,
    /// Another one whose objects can be read at any time.
    Infrequent,
    /// Another one: an archive, or one that a listing does not say enough of.
    Other,
}

/// One page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Objects in ascending order of their keys.
    pub objects: Vec<Listed>,
    /// Where the next page begins; nothing on the last.
    pub next: Option<String>,
}

impl Storage {
    /// Up to 1,000 objects: those after the key `after`, or, where a page before this one told, from `next` on.
    ///
    /// # Errors
    /// [`Kind::BadAnswer`], too, where the server's page is not in ascending order, or claims to have a next one and
    /// does not say where that begins: whoever reads on would miss objects without knowing.
    pub async fn list(
        &self,
        side: Side,
        after: Option<&str>,
        next: Option<&str>,
    ) -> Result<Page, StorageError> {
        let asked = Asked { operation: Operation::ListObjectsV2, side, key: None };
        let request = self
            .client()
            .list_objects_v2()
            .bucket(self.bucket(side))
            // Some keys are no XML.
            .encoding_type(EncodingType::Url)
            .set_start_after(after.filter(|after| !after.is_empty() && next.is_none()).map(str::to_owned))
            .set_continuation_token(next.map(str::to_owned));
        let output = self.send(asked, || request.send()).await.map_err(StorageError::of_bucket)?;
        let bad = |what: &str| StorageError::new(asked, Kind::BadAnswer, what.to_owned());
        let encoded = output.encoding_type() == Some(&EncodingType::Url);
        let next = match (output.is_truncated(), output.next_continuation_token.clone()) {
            (Some(true), None) => return Err(bad("more to list, and no word where")),
            (Some(false), _) => None,
            // Where only the token says it, there is more.
            (_, next) => next,
        };
        let mut objects = Vec::with_capacity(output.contents().len());
        for object in output.contents.unwrap_or_default() {
            objects.push(Listed::read(object, encoded).ok_or_else(|| bad("an object without key or size"))?);
        }
        let mut last = after.unwrap_or_default();
        for object in &objects {
            if object.key.as_str() < last {
                return Err(bad("keys that do not ascend"));
            }
            last = &object.key;
        }
        Ok(Page { objects, next })
    }
}

impl Listed {
    fn read(object: Object, encoded: bool) -> Option<Self> {
        Some(Self {
            key: key(&object.key?, encoded),
            size: u64::try_from(object.size?).ok()?,
            etag: object.e_tag.filter(|etag| !etag.is_empty()).map(|etag| ETag::new(&etag)),
            last_modified: object.last_modified.and_then(moment),
            class: match object.storage_class {
                None | Some(ObjectStorageClass::Standard) => ListedClass::Standard,
                Some(
                    ObjectStorageClass::StandardIa
                    | ObjectStorageClass::OnezoneIa
                    | ObjectStorageClass::GlacierIr,
                ) => ListedClass::Infrequent,
                Some(_) => ListedClass::Other,
            },
        })
    }
}

/// A key as it is: in listings a space is a plus, as in a form.
pub(super) fn key(listed: &str, encoded: bool) -> String {
    if !encoded {
        return listed.to_owned();
    }
    let spaced: Cow<'_, str> =
        if listed.contains('+') { Cow::Owned(listed.replace('+', " ")) } else { Cow::Borrowed(listed) };
    percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

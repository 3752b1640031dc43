//! Removing an object for good: each version and each delete marker by its id. For `erase` alone; a move deletes nothing
//! by version.

use std::collections::HashMap;

use aws_sdk_s3::operation::delete_objects::DeleteObjectsOutput;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use futures_util::{StreamExt as _, TryStreamExt as _};
use time::OffsetDateTime;

use super::error::Asked;
use super::{ETag, Head, Kind, MAX_KEYS, Operation, Side, Storage, StorageError};
use crate::file::ObjectKey;

/// Versions that are looked at side by side.
const LOOKED_AT: usize = 16;

/// Something that a bucket has under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The version; nothing in a bucket that keeps none.
    pub version: Option<String>,
    /// It is what a request without a version meets.
    pub latest: bool,
    /// Its size in bytes; nothing for a delete marker.
    pub size: Option<u64>,
    /// When it was written.
    pub last_modified: Option<OffsetDateTime>,
    /// A legal hold is on it.
    pub legal_hold: bool,
    /// Object Lock keeps it until then.
    pub retained_until: Option<OffsetDateTime>,
}

impl Stored {
    fn of(head: &Head, version: Option<String>) -> Self {
        Self {
            version,
            latest: true,
            size: Some(head.size),
            last_modified: head.last_modified,
            legal_hold: head.legal_hold,
            retained_until: head.retained_until,
        }
    }
}

impl Storage {
    /// Everything that a bucket has under exactly this key, each looked at for what protects it. Where it is nothing, the
    /// bucket has answered after the look.
    ///
    /// # Errors
    /// Also where a version cannot be looked at: then nobody knows whether it is protected.
    pub async fn stored(&self, side: Side, key: &ObjectKey) -> Result<Vec<Stored>, StorageError> {
        let versioned = match self.is_versioned(side).await {
            // Of a bucket that never kept any, some servers give no answer that can be read. A list tells them, too.
            Err(error) if error.kind == Kind::BadAnswer => true,
            other => other?,
        };
        let mut found = if versioned { self.stored_versions(side, key).await? } else { Vec::new() };
        if found.is_empty() {
            // Of a bucket that keeps versions: what the list may have passed over.
            let head = self.head(side, key).await?;
            let version = |head: &Head| head.version.clone().filter(|_| versioned);
            found.extend(head.iter().map(|head| Stored::of(head, version(head))));
        }
        if found.is_empty() {
            // Some servers say the same of a bucket that is away.
            self.check().await?;
        }
        Ok(found)
    }

    async fn stored_versions(&self, side: Side, key: &ObjectKey) -> Result<Vec<Stored>, StorageError> {
        let versions = self.versions(side, key).await?;
        let looks = versions.into_iter().map(|version| async move {
            let listed = Stored {
                latest: version.latest,
                size: version.content.as_ref().map(|content| content.size),
                last_modified: version.last_modified,
                legal_hold: false,
                retained_until: None,
                version: Some(version.id),
            };
            // A delete marker has nothing to look at. A version that went meanwhile is listed all the same: to remove it
            // once more changes nothing.
            let Some(id) = listed.version.as_deref().filter(|_| listed.size.is_some()) else {
                return Ok(listed);
            };
            // Not every server is asked by the id of an object that has none; without one, the latest is met.
            let head = if id == "null" && listed.latest {
                self.head(side, key).await?
            } else {
                self.head_version(side, key, id).await?
            };
            match head {
                Some(head) => {
                    Ok(Stored { legal_hold: head.legal_hold, retained_until: head.retained_until, ..listed })
                }
                None => Ok(listed),
            }
        });
        futures_util::stream::iter(looks).buffered(LOOKED_AT).try_collect().await
    }

    /// Removes these for good; an answer for each, in their order. What is not there any more counts as removed.
    pub async fn remove(
        &self,
        side: Side,
        key: &ObjectKey,
        stored: &[Stored],
    ) -> Vec<Result<(), StorageError>> {
        let mut answers = Vec::with_capacity(stored.len());
        for some in stored.chunks(MAX_KEYS) {
            match self.remove_some(side, key, some).await {
                Ok(some) => answers.extend(some),
                Err(error) => answers.extend(some.iter().map(|_| Err(error.clone()))),
            }
        }
        answers
    }

    async fn remove_some(
        &self,
        side: Side,
        key: &ObjectKey,
        stored: &[Stored],
    ) -> Result<Vec<Result<(), StorageError>>, StorageError> {
        let of_version = stored.iter().any(|one| one.version.is_some());
        if !of_version {
            let none = ETag::new("");
            let keys = HashMap::from([(key.as_str(), &none)]);
            let mut answers =
                self.delete_keys(side, &keys, false).await.map_err(|it| it.about(key.as_str()))?;
            return Ok(answers.remove(key.as_str()).into_iter().map(|answer| answer.map(drop)).collect());
        }
        let asked = Asked { operation: Operation::DeleteObjects, side, key: Some(key.as_str()) };
        let objects = stored.iter().map(|one| {
            ObjectIdentifier::builder().key(key.as_str()).set_version_id(one.version.clone()).build()
        });
        let delete = objects
            .collect::<Result<Vec<_>, _>>()
            .and_then(|objects| Delete::builder().set_objects(Some(objects)).quiet(false).build())
            .map_err(|_| StorageError::new(asked, Kind::BadRequest, "cannot be built"))?;
        let request = self.client().delete_objects().bucket(self.bucket(side)).delete(delete);
        let output = self
            .send(asked, || request.send())
            .await
            .map_err(|error| StorageError::of_bucket(error).of_version())?;
        Ok(stored.iter().map(|one| told(asked, one.version.as_deref(), stored.len() == 1, &output)).collect())
    }
}

/// What the answer says of one version. Some servers leave the version out of an error: of several, each is meant then.
fn told(
    asked: Asked<'_>,
    version: Option<&str>,
    alone: bool,
    output: &DeleteObjectsOutput,
) -> Result<(), StorageError> {
    let error =
        output.errors().iter().find(|error| error.version_id().is_none() || error.version_id() == version);
    if let Some(error) = error {
        let error = StorageError::for_key(asked, error.code()).of_version();
        return if error.kind == Kind::NotFound { Ok(()) } else { Err(error) };
    }
    let names = |named: Option<&str>| named.is_some() && named == version;
    let is_named = output.deleted().iter().any(|deleted| {
        names(deleted.version_id())
            || names(deleted.delete_marker_version_id())
            || alone && deleted.key() == asked.key
    });
    // A success that does not name the version is none.
    if is_named {
        Ok(())
    } else {
        Err(StorageError::new(asked, Kind::BadAnswer, "which says nothing about the version"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_s3::types::{DeletedObject, Error};

    fn output(deleted: &[&str], errors: &[(Option<&str>, &str)]) -> DeleteObjectsOutput {
        let deleted = deleted.iter().map(|id| DeletedObject::builder().key("k").version_id(*id).build());
        let errors = errors.iter().map(|(id, code)| {
            Error::builder().key("k").set_version_id(id.map(str::to_owned)).code(*code).build()
        });
        DeleteObjectsOutput::builder()
            .set_deleted(Some(deleted.collect()))
            .set_errors(Some(errors.collect()))
            .build()
    }

    #[test]
    fn each_version_has_an_answer_of_its_own_and_silence_is_none() {
        let asked = Asked { operation: Operation::DeleteObjects, side: Side::Recycle, key: Some("k") };
        let kind = |version, output| told(asked, Some(version), false, &output).map_err(|error| error.kind);
        for (version, output, expected) in [
            ("a", output(&["a", "b"], &[]), Ok(())),
            ("c", output(&["a", "b"], &[]), Err(Kind::BadAnswer)),
            ("b", output(&["a"], &[(Some("b"), "AccessDenied")]), Err(Kind::AccessDenied)),
            ("a", output(&["a"], &[(Some("b"), "AccessDenied")]), Ok(())),
            ("b", output(&["a"], &[(Some("b"), "NoSuchVersion")]), Ok(())),
            ("a", output(&["a"], &[(None, "AccessDenied")]), Err(Kind::AccessDenied)),
        ] {
            assert_eq!(kind(version, output), expected, "{version}");
        }
        let error = told(asked, Some("b"), false, &output(&[], &[(Some("b"), "AccessDenied")])).unwrap_err();
        assert!(error.to_string().contains("s3:DeleteObjectVersion on the recycle bucket"), "{error}");
    }
}

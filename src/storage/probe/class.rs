//! Which storage class has a copy for which none was asked?

use aws_sdk_s3::types::{ExpirationStatus, ObjectStorageClass, StorageClass};

use futures_util::future::try_join;

use super::object::Probe;
use crate::file::OWN_PREFIX;
use crate::storage::error::Asked;
use crate::storage::{Kind, Operation, Side, StorageError, UnseenClass};

impl Probe<'_> {
    /// Writes the probe object in a class of its own, and looks what its copy has. AWS makes it STANDARD:
    /// there, it is the right one only as long as the sources are STANDARD.
    pub(super) async fn unseen_class(&self) -> Result<UnseenClass, StorageError> {
        if self.storage.recycle_class().is_some() {
            return Ok(UnseenClass::Right);
        }
        // A class without a minimal time of storage, so that it costs nothing.
        let class = StorageClass::ReducedRedundancy;
        match self.put_in_class(class.clone()).await {
            Ok(()) => {}
            // It has no classes.
            Err(error) if matches!(error.kind, Kind::BadRequest | Kind::NotImplemented) => {
                return Ok(UnseenClass::Right);
            }
            // It may write no object of this class: nothing is known of the others.
            Err(error) if error.kind == Kind::AccessDenied => return Ok(UnseenClass::Lost),
            Err(error) => return Err(error),
        }
        self.copy(None).await?;
        let (source, copy) = try_join(self.found(Side::Object), self.found(Side::Recycle)).await?;
        let (source, copy) = (source.attributes.storage_class, copy.attributes.storage_class);
        if source != Some(class) || source == copy {
            return Ok(UnseenClass::Right);
        }
        let (changes, differ) = try_join(self.changes_classes(), self.lists_other_classes()).await?;
        if changes || differ { Ok(UnseenClass::Lost) } else { Ok(UnseenClass::AssumedStandard) }
    }

    /// Has the object bucket a lifecycle rule that moves objects to another class? One that cannot be read
    /// may have.
    async fn changes_classes(&self) -> Result<bool, StorageError> {
        let asked =
            Asked { operation: Operation::GetBucketLifecycleConfiguration, side: Side::Object, key: None };
        let bucket = self.storage.bucket(Side::Object);
        let request = self.storage.client().get_bucket_lifecycle_configuration().bucket(bucket);
        match self.storage.send(asked, || request.send()).await {
            Ok(output) => Ok(output
                .rules()
                .iter()
                .any(|rule| *rule.status() == ExpirationStatus::Enabled && !rule.transitions().is_empty())),
            // There are no rules.
            Err(error) if error.kind == Kind::NotFound => Ok(false),
            Err(error) if matches!(error.kind, Kind::AccessDenied | Kind::NotImplemented) => {
                tracing::info!(%error, "every file is looked at for its storage class");
                Ok(true)
            }
            Err(error) => Err(error),
        }
    }

    /// Are there objects of other classes among the first of the object bucket?
    async fn lists_other_classes(&self) -> Result<bool, StorageError> {
        let asked = Asked { operation: Operation::ListObjectsV2, side: Side::Object, key: None };
        let request = self.storage.client().list_objects_v2().bucket(self.storage.bucket(Side::Object));
        let page = self.storage.send(asked, || request.send()).await?;
        Ok(page
            .contents()
            .iter()
            .filter(|object| object.key().is_some_and(|key| !key.starts_with(OWN_PREFIX)))
            .any(|object| object.storage_class().is_some_and(|class| *class != ObjectStorageClass::Standard)))
    }
}

//! What the storage is asked. It writes nothing but probe objects under `.file-recycler/`, which it removes again.

use futures_util::future::try_join;

use super::ask::{Judged, refused, setting_refused};
use super::check::Finding;
use super::examine::Examination;
use super::verdict::{self, Versions};
use crate::retention::{Terms, versions_kept};
use crate::storage::{Kind, Lifecycle, Side, StorageError, Tried};

impl Examination<'_> {
    pub(super) async fn tried(&self) -> Result<&Tried, Finding> {
        let storage = self.buckets()?;
        let asked = self.tried.get_or_init(|| storage.try_requests(&self.clock)).await;
        asked.as_ref().map_err(refused)
    }

    /// The recycle bucket's lifecycle, as the storage answered.
    async fn lifecycle(&self) -> Result<&Result<Lifecycle, StorageError>, Finding> {
        let storage = self.buckets()?;
        Ok(self.lifecycle.get_or_init(|| storage.lifecycle()).await)
    }

    async fn rules(&self) -> Result<Vec<Terms>, Finding> {
        self.lifecycle().await?.as_ref().map(Lifecycle::terms).map_err(setting_refused)
    }

    pub(super) async fn storage_rights(&self) -> Judged {
        Ok(verdict::storage_rights(self.tried().await?))
    }

    pub(super) async fn storage_capabilities(&self) -> Judged {
        let server = self.buckets()?.probe().await;
        Ok(verdict::storage_capabilities(&server.map_err(|error| refused(&error))?))
    }

    pub(super) async fn retention(&self) -> Judged {
        let Some(backups) = self.config.retention_database_backups else {
            // Red whatever the storage says, and whether or not it answers.
            return Ok(verdict::retention_unset());
        };
        let storage = self.buckets()?;
        let rules = match self.lifecycle().await? {
            Ok(lifecycle) => lifecycle.terms(),
            Err(error) => return Ok(verdict::retention_unknown(error)),
        };
        let versioned = match storage.is_versioned(Side::Recycle).await {
            // Rules for versions count then, as if there were some.
            Err(error) if matches!(error.kind, Kind::AccessDenied | Kind::BadAnswer) => true,
            other => other.map_err(|error| refused(&error))?,
        };
        Ok(verdict::retention(&rules, versioned, backups))
    }

    pub(super) async fn archive_classes(&self) -> Judged {
        let recycle = self.rules().await?;
        // Of files that are archived before they are deleted. Who may not read these rules is not told of them.
        let object = self.buckets()?.lifecycle_of(Side::Object).await;
        let object = object.map(|rules| rules.terms()).unwrap_or_default();
        Ok(verdict::archive_classes(&recycle, &object, self.config.storage.recycle_class.as_deref()))
    }

    pub(super) async fn object_lock(&self) -> Judged {
        let storage = self.buckets()?;
        let asked = try_join(storage.object_lock(Side::Object), storage.object_lock(Side::Recycle));
        let (object, recycle) = asked.await.map_err(|error| setting_refused(&error))?;
        let rules = self.rules().await.unwrap_or_default();
        Ok(verdict::object_lock(object.as_ref(), recycle.as_ref(), &rules))
    }

    pub(super) async fn versioning(&self) -> Judged {
        let storage = self.buckets()?;
        let asked = try_join(storage.is_versioned(Side::Object), storage.is_versioned(Side::Recycle));
        let (object, recycle) = asked.await.map_err(|error| setting_refused(&error))?;
        let recycle = if recycle {
            Versions::Kept(versions_kept(&self.rules().await.unwrap_or_default()))
        } else {
            Versions::None
        };
        let object = if object {
            let rules = storage.lifecycle_of(Side::Object).await.map(|rules| rules.terms());
            Versions::Kept(versions_kept(&rules.unwrap_or_default()))
        } else {
            Versions::None
        };
        Ok(verdict::versioning(object, recycle))
    }

    pub(super) async fn encryption(&self) -> Judged {
        let asked = self.buckets()?.default_encryption(Side::Recycle).await;
        Ok(verdict::encryption(asked.map_err(|error| setting_refused(&error))?.as_ref()))
    }
}

//! Asking for an object that is in an archive class: a readable copy of it is there after minutes or hours, for some days.

use aws_sdk_s3::types::{GlacierJobParameters, RestoreRequest, StorageClass};

use super::error::Asked as Request;
use super::{Head, Kind, Operation, Side, Storage, StorageError};
use crate::file::ObjectKey;

/// How fast, and how dear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// Hours.
    Standard,
    /// Half a day, and the cheapest.
    Bulk,
    /// Minutes, where the class has it.
    Expedited,
}

/// What the server made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It is on its way.
    Now,
    /// It was on its way already.
    Before,
}

impl Storage {
    /// Asks for the object, or one version of it, for so many days.
    pub async fn ask_for_archived(
        &self,
        side: Side,
        key: &ObjectKey,
        version: Option<&str>,
        head: &Head,
        (tier, days): (Tier, u16),
    ) -> Result<Asked, StorageError> {
        use aws_sdk_s3::types::Tier as Named;
        let asked = Request { operation: Operation::RestoreObject, side, key: Some(key.as_str()) };
        let tier = match tier {
            Tier::Standard => Named::Standard,
            Tier::Bulk => Named::Bulk,
            Tier::Expedited => Named::Expedited,
        };
        let tier = GlacierJobParameters::builder()
            .tier(tier)
            .build()
            .map_err(|error| StorageError::new(asked, Kind::BadRequest, error.to_string()))?;
        // Such an object comes back to stay: a number of days is an error.
        let stays = head.attributes.storage_class == Some(StorageClass::IntelligentTiering);
        let wanted = RestoreRequest::builder()
            .set_days((!stays).then_some(i32::from(days)))
            .glacier_job_parameters(tier)
            .build();
        let request = self
            .client()
            .restore_object()
            .bucket(self.bucket(side))
            .key(key.as_str())
            .set_version_id(version.map(str::to_owned))
            .restore_request(wanted);
        match self.send(asked, || request.send()).await {
            Ok(_) => Ok(Asked::Now),
            // 409 RestoreAlreadyInProgress
            Err(error) if error.kind == Kind::ConcurrentRequest => Ok(Asked::Before),
            Err(error) => Err(error),
        }
    }
}

//! May these keys do what nobody but an operator's own should?

use uuid::Uuid;

use super::object::WRONG_ETAG;
use crate::storage::error::Asked;
use crate::storage::{Kind, Operation, Side, Storage, StorageError};

impl Storage {
    /// May files in the recycle bucket be deleted with these keys? Nothing where it was not asked, since asking could leave
    /// a trace: a bucket that keeps versions would note even the deletion of what is not there.
    ///
    /// Asked about a key that nobody has, on a condition that no object fulfils.
    pub async fn may_delete_copies(&self) -> Result<Option<bool>, StorageError> {
        if self.is_versioned(Side::Recycle).await? {
            return Ok(None);
        }
        let key = format!("file-recycler-asks-{}", Uuid::new_v4());
        let asked = Asked { operation: Operation::DeleteObject, side: Side::Recycle, key: Some(&key) };
        let request =
            self.client().delete_object().bucket(self.bucket(Side::Recycle)).key(&key).if_match(WRONG_ETAG);
        match self.send(asked, || request.send()).await {
            Ok(_) => Ok(Some(true)),
            Err(error) => match error.kind {
                Kind::AccessDenied => Ok(Some(false)),
                // It would have, were there something.
                Kind::NotFound | Kind::PreconditionFailed | Kind::NotImplemented => Ok(Some(true)),
                _ => Err(error),
            },
        }
    }
}

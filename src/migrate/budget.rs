//! What is in memory at the same time: contents are read only once there is room for them.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// All contents together, in bytes. Each is held once as a piece of the database's answer or the storage's, and once as
/// what is sent on.
const ALL: usize = 16 * 1024 * 1024;
/// The unit in which room is given.
const UNIT: usize = 1024;

/// Contents that are compared at the same time, each by two pieces of up to a mebibyte.
const COMPARED: usize = 2;

/// Room for contents.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    all: Arc<Semaphore>,
    /// Apart: whoever has room may have to compare, and must not wait for those who wait for its room.
    compared: Arc<Semaphore>,
    /// The database's server takes twice a content's size where it puts its pieces together: one at a time.
    assembled: Arc<Semaphore>,
}

impl Default for Budget {
    fn default() -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        Self { all: places(ALL / UNIT), compared: places(COMPARED), assembled: places(1) }
    }
}

impl Budget {
    /// Waits for room for so many bytes; all there is for more than that. Whoever has some does not wait for more: so
    /// nobody waits for ever.
    pub(super) async fn take(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        let units = usize::try_from(bytes).unwrap_or(ALL).div_ceil(UNIT).clamp(1, ALL / UNIT);
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        // The semaphore is never closed.
        Arc::clone(&self.all).acquire_many_owned(units).await.ok()
    }

    /// Waits until no other content is put together.
    pub(super) async fn assemble(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.assembled).acquire_owned().await.ok()
    }

    /// Waits for a place to compare two contents.
    pub(super) async fn compare(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.compared).acquire_owned().await.ok()
    }
}

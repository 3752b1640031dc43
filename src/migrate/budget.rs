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

/// Large contents on their way into rows at the same time,
const ARRIVING: usize = 4;
/// and those of them that become a row's.
const ASSEMBLED: usize = 2;

/// Room for contents.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    all: Arc<Semaphore>,
    /// Apart: whoever has room may have to compare, and must not wait for those who wait for its room.
    compared: Arc<Semaphore>,
    /// The pieces of contents on their way into a row are on the database's disk, beside what they become.
    arriving: Arc<Semaphore>,
    /// The database's server takes twice a content's size in memory where it puts its pieces together.
    assembled: Arc<Semaphore>,
}

impl Budget {
    /// One content at a time becomes a row's where what that writes is bounded: else it would be paid off in one sum.
    pub(super) fn new(is_log_bounded: bool) -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        Self {
            all: places(ALL / UNIT),
            compared: places(COMPARED),
            arriving: places(ARRIVING),
            assembled: places(if is_log_bounded { 1 } else { ASSEMBLED }),
        }
    }

    /// Waits for room for so many bytes; all there is for more than that. Whoever has some does not wait for more: so
    /// nobody waits for ever.
    pub(super) async fn take(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        let units = usize::try_from(bytes).unwrap_or(ALL).div_ceil(UNIT).clamp(1, ALL / UNIT);
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        // The semaphore is never closed.
        Arc::clone(&self.all).acquire_many_owned(units).await.ok()
    }

    /// Waits for a place to bring a large content over.
    pub(super) async fn arrive(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.arriving).acquire_owned().await.ok()
    }

    /// Waits for a place to put a large content together.
    pub(super) async fn assemble(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.assembled).acquire_owned().await.ok()
    }

    /// Waits for a place to compare two contents.
    pub(super) async fn compare(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.compared).acquire_owned().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use futures_util::FutureExt as _;

    use super::*;

    fn budget() -> Budget {
        Budget::new(true)
    }

    /// Whoever is not through by then waits for ever.
    async fn ends<T>(work: impl Future<Output = T>) -> T {
        tokio::time::timeout(Duration::from_mins(1), work).await.expect("somebody waits for ever")
    }

    #[tokio::test]
    async fn there_is_never_more_than_there_is_room_for_and_everybody_has_a_turn() {
        let (budget, held) = (budget(), Arc::new(AtomicUsize::new(0)));
        let sizes = [0, 1, 1_000, 1_024, 5 << 20, ALL as u64 - 1, ALL as u64, ALL as u64 + 1, u64::MAX];
        let all = (0..200).map(|at| {
            let (budget, held, bytes) = (budget.clone(), Arc::clone(&held), sizes[at % sizes.len()]);
            tokio::spawn(async move {
                let room = budget.take(bytes).await.expect("it is never closed");
                let counted = usize::try_from(bytes).unwrap_or(ALL).min(ALL);
                let now = held.fetch_add(counted, Ordering::SeqCst) + counted;
                assert!(now <= ALL, "{now} bytes at the same time");
                for _ in 0..=at % 7 {
                    tokio::task::yield_now().await;
                }
                held.fetch_sub(counted, Ordering::SeqCst);
                drop(room);
            })
        });
        ends(futures_util::future::try_join_all(all)).await.unwrap();
        assert_eq!(held.load(Ordering::SeqCst), 0);
        // All of it is given back.
        drop(ends(budget.take(u64::MAX)).await);
    }

    #[tokio::test]
    async fn a_large_one_is_not_overtaken_for_ever_by_small_ones() {
        let budget = budget();
        let first = budget.take(1).await;
        let large = tokio::spawn({
            let budget = budget.clone();
            async move { budget.take(u64::MAX).await.is_some() }
        });
        tokio::task::yield_now().await;
        assert!(budget.take(1).now_or_never().is_none(), "it came later, and waits");
        drop(first);
        assert!(ends(large).await.unwrap());
    }

    #[tokio::test]
    async fn who_has_room_compares_though_nobody_else_has_any() {
        let budget = budget();
        let room = budget.take(u64::MAX).await;
        let places = ends(async { [budget.compare().await, budget.compare().await] }).await;
        assert!(
            tokio::time::timeout(Duration::from_secs(1), budget.compare()).await.is_err(),
            "two at a time"
        );
        drop(places);
        drop(ends(budget.compare()).await);
        let _place = ends(budget.assemble()).await;
        drop(room);
    }
}

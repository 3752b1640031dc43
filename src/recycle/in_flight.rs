//! One move at a time for each key: two deliveries of one event in this process must not both count.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use crate::file::ObjectKey;

/// The keys that are on their way now.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    keys: Mutex<HashSet<ObjectKey>>,
    landed: Notify,
}

/// Holds a key until it is dropped.
pub(super) struct Held<'a> {
    in_flight: &'a InFlight,
    key: &'a ObjectKey,
}

impl InFlight {
    /// Waits until nobody else holds the key, and takes it.
    pub(super) async fn hold<'a>(&'a self, key: &'a ObjectKey) -> Held<'a> {
        loop {
            // Listens first: a key that lands between the look and the wait is heard.
            let landed = self.landed.notified();
            if self.lock().insert(key.clone()) {
                return Held { in_flight: self, key };
            }
            landed.await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<ObjectKey>> {
        // A set of keys is whole whatever panicked.
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.in_flight.lock().remove(self.key);
        self.in_flight.landed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn a_key_is_held_by_one_and_then_by_the_next() {
        let in_flight = Arc::new(InFlight::default());
        let (one, other) = (ObjectKey::try_from("one").unwrap(), ObjectKey::try_from("other").unwrap());
        let held = in_flight.hold(&one).await;
        drop(in_flight.hold(&other).await);
        let waiting = tokio::spawn({
            let (in_flight, one) = (Arc::clone(&in_flight), one.clone());
            async move { drop(in_flight.hold(&one).await) }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(held);
        waiting.await.unwrap();
    }
}

//! One move at a time for each key: two deliveries of one event in this process must not both count.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::file::ObjectKey;

/// The keys that are on their way now.
#[derive(Clone, Debug, Default)]
pub(super) struct InFlight(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    keys: Mutex<HashSet<ObjectKey>>,
    landed: Notify,
}

/// Holds a key until it is dropped.
#[derive(Debug)]
pub(super) struct Held {
    in_flight: InFlight,
    key: ObjectKey,
}

impl InFlight {
    /// Waits until nobody else holds the key, and takes it.
    pub(super) async fn hold(&self, key: &ObjectKey) -> Held {
        loop {
            // Listens first: a key that lands between the look and the wait is heard.
            let landed = self.0.landed.notified();
            if self.lock().insert(key.clone()) {
                return Held { in_flight: self.clone(), key: key.clone() };
            }
            landed.await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<ObjectKey>> {
        // A set of keys is whole whatever panicked.
        self.0.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.in_flight.lock().remove(&self.key);
        self.in_flight.0.landed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_key_is_held_by_one_and_then_by_the_next() {
        let in_flight = InFlight::default();
        let (one, other) = (ObjectKey::try_from("one").unwrap(), ObjectKey::try_from("other").unwrap());
        let held = in_flight.hold(&one).await;
        drop(in_flight.hold(&other).await);
        let waiting = tokio::spawn({
            let (in_flight, one) = (in_flight.clone(), one.clone());
            async move { drop(in_flight.hold(&one).await) }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(held);
        waiting.await.unwrap();
    }
}

//! How many requests a command has made.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::storage::Observe;

/// Counts requests by operation.
#[derive(Clone, Default)]
pub(super) struct Requests(Arc<Mutex<BTreeMap<&'static str, u64>>>);

impl Requests {
    /// To be called by the storage.
    pub(super) fn observe(&self) -> Observe {
        let requests = self.clone();
        Arc::new(move |operation, _| {
            *requests.lock().entry(operation.as_str()).or_default() += 1;
        })
    }

    /// By operation.
    pub(super) fn counted(&self) -> BTreeMap<&'static str, u64> {
        self.lock().clone()
    }

    /// All of them.
    pub(super) fn total(&self) -> u64 {
        self.lock().values().sum()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, u64>> {
        // Counts are whole whatever panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! The handle by which a test looks into a running server and disturbs it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;

use crate::counts::{Counters, Counts};
use crate::faults::{Fault, Faults};
use crate::rule::Rule;
use crate::store::{Content, Object, Store};

/// What the requests and the handle share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) counters: Counters,
    pub(crate) faults: Faults,
    latency_micros: AtomicU64,
}

impl Shared {
    pub(crate) fn new(store: Store) -> Self {
        Self {
            store,
            counters: Counters::default(),
            faults: Faults::default(),
            latency_micros: AtomicU64::new(0),
        }
    }
}

/// The handle by which a test looks into a running server and disturbs it. Cheap to clone; it
/// outlives the server.
#[derive(Debug, Clone)]
pub struct Control(pub(crate) Arc<Shared>);

impl Control {
    /// What has been asked and answered since the start or the last reset.
    pub fn counts(&self) -> Counts {
        self.0.counters.read()
    }

    /// Sets all counts to zero and takes all rules away. Latency and content stay.
    pub fn reset(&self) {
        self.0.counters.reset();
        self.0.faults.clear();
    }

    /// Adds a rule after those there are.
    pub fn fault(&self, rule: Rule) {
        self.0.faults.add(rule);
    }

    /// The rules in force and what each has met.
    pub fn faults(&self) -> Vec<Fault> {
        self.0.faults.read()
    }

    /// Takes all rules away.
    pub fn clear_faults(&self) {
        self.0.faults.clear();
    }

    /// How long every request waits before anything else happens.
    pub fn latency(&self) -> Duration {
        Duration::from_micros(self.0.latency_micros.load(Ordering::Relaxed))
    }

    /// Makes every further request wait so long.
    pub fn set_latency(&self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.0.latency_micros.store(micros, Ordering::Relaxed);
    }

    /// Puts an object without a request, for arranging many quickly. Answers its ETag, without
    /// quotes, or nothing if there is no such bucket.
    pub fn put(&self, bucket: &str, key: &str, content: impl Into<Bytes>) -> Option<String> {
        let object = Object::simple(Content::from(content.into()), &self.0.store);
        let etag = object.etag.clone();
        let mut buckets = self.0.store.lock();
        buckets.get_mut(bucket)?.insert(key, object, Vec::new());
        Some(etag)
    }

    /// The same with content that is one piece again and again, which costs the memory of one piece.
    pub fn put_repeated(
        &self,
        bucket: &str,
        key: &str,
        piece: &Bytes,
        times: usize,
        rest: usize,
    ) -> Option<String> {
        let mut pieces = vec![piece.clone(); times];
        pieces.push(piece.slice(..rest.min(piece.len())));
        let object = Object::simple(Content::from_pieces(pieces), &self.0.store);
        let etag = object.etag.clone();
        self.0.store.lock().get_mut(bucket)?.insert(key, object, Vec::new());
        Some(etag)
    }

    /// The content of an object's current version, without a request.
    pub fn get(&self, bucket: &str, key: &str) -> Option<Vec<u8>> {
        let object = self.0.store.lock().get(bucket)?.current(key)?.object.clone()?;
        Some(object.content.to_vec())
    }

    /// The keys of a bucket's current objects in order, without a request.
    pub fn keys(&self, bucket: &str) -> Vec<String> {
        let buckets = self.0.store.lock();
        buckets.get(bucket).map(|bucket| bucket.live().cloned().collect()).unwrap_or_default()
    }
}

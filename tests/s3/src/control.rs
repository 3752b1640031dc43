//! The handle by which a test looks into a running server and disturbs it.

use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;

use crate::policy::Policy;
use crate::store::{Content, Object, Recall, Store};
use crate::switches::Switches;
use crate::users::Users;

/// The handle by which a test looks into a running server and disturbs it, all the
/// [`Switches`] included. Cheap to clone; it outlives the server.
#[derive(Debug, Clone)]
pub struct Control {
    pub(crate) switches: Switches,
    pub(crate) store: Arc<Store>,
    pub(crate) users: Users,
}

impl Deref for Control {
    type Target = Switches;

    fn deref(&self) -> &Switches {
        &self.switches
    }
}

impl Control {
    /// Lets requests be signed with these keys too, and allows them what the policy does; a second time with another
    /// policy, that one holds from now on.
    pub fn user(&self, access_key: &str, secret_key: &str, policy: Policy) {
        self.users.set(access_key, secret_key, Some(policy));
    }

    /// Puts an object without a request, for arranging many quickly. Answers its ETag, without
    /// quotes, or nothing if there is no such bucket.
    pub fn put(&self, bucket: &str, key: &str, content: impl Into<Bytes>) -> Option<String> {
        let object = Object::simple(Content::from(content.into()), &self.store);
        let etag = object.etag.clone();
        let mut buckets = self.store.lock();
        buckets.get_mut(bucket)?.insert(key, object, Vec::new());
        Some(etag)
    }

    /// The same with so many bytes of one piece repeated, which costs the memory of one piece.
    pub fn put_repeated(&self, bucket: &str, key: &str, piece: &Bytes, size: u64) -> Option<String> {
        let (mut pieces, mut left) = (Vec::new(), size);
        while left > 0 {
            let length = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
            pieces.push(piece.slice(..length));
            left -= length as u64;
        }
        let object = Object::simple(Content::from_pieces(pieces), &self.store);
        let etag = object.etag.clone();
        self.store.lock().get_mut(bucket)?.insert(key, object, Vec::new());
        Some(etag)
    }

    /// Lets everything that was asked out of an archive arrive.
    pub fn deliver_from_archive(&self) {
        let mut buckets = self.store.lock();
        let entries = buckets.values_mut().flat_map(|bucket| bucket.keys.values_mut()).flatten();
        for entry in entries {
            if let Some(Recall::Ongoing { days }) = entry.recall {
                entry.recall = Some(Recall::of_days(days));
            }
        }
    }

    /// The content of an object's current version, without a request.
    pub fn get(&self, bucket: &str, key: &str) -> Option<Vec<u8>> {
        let object = self.store.lock().get(bucket)?.current(key)?.object.clone()?;
        Some(object.content.to_vec())
    }

    /// The keys of a bucket's current objects in order, without a request.
    pub fn keys(&self, bucket: &str) -> Vec<String> {
        let buckets = self.store.lock();
        buckets.get(bucket).map(|bucket| bucket.live().cloned().collect()).unwrap_or_default()
    }
}

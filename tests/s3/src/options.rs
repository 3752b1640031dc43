//! What a server is started with.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// What a server is started with.
#[derive(Debug, Clone)]
pub struct Options {
    /// The address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The access key that clients sign with.
    pub access_key: String,
    /// The secret key that clients sign with.
    pub secret_key: String,
    /// Buckets that exist from the start.
    pub buckets: Vec<String>,
    /// How long every request waits before anything else happens.
    pub latency: Duration,
    /// What happens to the newer conditions: those on the destination of a copy and on deletes.
    pub conditions: Conditions,
    /// The smallest part of a multipart upload, but for the last (AWS: 5 MiB).
    pub min_part_size: u64,
    /// The largest source of one copy request (AWS: 5 GiB).
    pub max_copy_size: u64,
    /// Whether ETags are random rather than MD5 sums, as under SSE-KMS: a copy then has another
    /// ETag than its source although the content is equal.
    pub opaque_etags: bool,
    /// Whether answers name a version for what is written to a bucket that keeps none, and a version asked
    /// for is taken no notice of, as on Garage.
    pub made_up_versions: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            access_key: "test".to_owned(),
            secret_key: "test-secret".to_owned(),
            buckets: Vec::new(),
            latency: Duration::ZERO,
            conditions: Conditions::Honour,
            min_part_size: 5 << 20,
            max_copy_size: 5 << 30,
            opaque_etags: false,
            made_up_versions: false,
        }
    }
}

/// What a server does with the conditions that many S3 look-alikes lack: `If-Match` and
/// `If-None-Match` on CopyObject, `If-Match` on DeleteObject, ETags in DeleteObjects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Conditions {
    /// Does as they say, like AWS.
    #[default]
    Honour,
    /// Takes no notice and says nothing.
    Ignore,
    /// Answers 501 NotImplemented.
    Refuse,
}

//! The server against what AWS documents, over the wire.
#![allow(missing_docs, reason = "a test's name says what it shows")]

mod basics;
mod client;
mod control;
mod copying;
mod deleting;
mod faults;
mod holding;
mod listing;
mod multipart;
mod partial;
mod policies;
mod proxied;
mod proxy_batches;
mod proxy_faults;
mod proxy_passing;
mod proxy_switches;
mod recalling;
mod versioning;
mod writing;

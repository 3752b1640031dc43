//! Shared helpers: servers, scenes, proxies.

pub mod broker;
pub mod outbox;
pub mod proxy;

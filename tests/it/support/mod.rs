//! Shared helpers: servers, scenes, proxies.

pub mod broker;
pub mod proxy;

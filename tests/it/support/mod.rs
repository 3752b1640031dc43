//! What the tests are arranged with.

pub mod registry;
pub mod storage;

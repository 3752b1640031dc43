//! What the tests are arranged with.

pub mod authority;
pub mod broker;
pub mod cluster;
pub mod crm;
pub mod database;
pub mod folder;
pub mod front;
pub mod mapped;
pub mod migrated;
pub mod node;
pub mod outbox;
pub mod own;
pub mod parts;
pub mod pooler;
pub mod process;
pub mod prometheus;
pub mod proxy;
pub mod registry;
pub mod roles;
pub mod servers;
pub mod storage;
pub mod thief;
pub mod told;
pub mod tools;
pub mod weed;
pub mod world;

//! Moves the files of deleted CRM records to the recycle bucket, and back.
//!
//! `ARCHITECTURE.md` at the root of the repository shows the data's way through these modules.
//! Imports point one way: binary, `cli`, loops (`listener`, `worker`, `replay`, `http`), business
//! (`guard`, `resolve`, `recycle`), adapters (`db`, `broker`, `storage`), pure values.

pub mod broker;
pub mod capture;
pub mod clock;
pub mod config;
pub mod db;
pub mod event;
pub mod failpoint;
pub mod file;
pub mod history;
pub mod key_template;
pub mod listener;
pub mod outcome;

//! Moves the files of deleted CRM records to the recycle bucket, and back.
//!
//! `ARCHITECTURE.md` at the root of the repository shows the data's way through these modules.
//! Imports point one way: binary, `cli`, `service` and `explain`, loops (`listener`, `worker`, `replay`,
//! `restore`, `http`), business (`guard`, `intake`, `resolve`, `recycle`), adapters (`db`, `broker`, `storage`), shared
//! state, pure values.

pub mod audit;
pub mod batch;
pub mod broker;
pub mod capture;
pub mod circuit;
pub mod cli;
pub mod clock;
pub mod config;
pub mod db;
pub mod doctor;
pub mod erase;
pub mod event;
pub mod explain;
pub mod failpoint;
pub mod file;
mod fresh;
pub mod gate;
pub mod guard;
pub mod health;
pub mod history;
pub mod http;
pub mod intake;
pub mod inventory;
pub mod key_template;
pub mod listener;
pub mod logging;
pub mod metrics;
pub mod migrate;
pub mod outcome;
pub mod recycle;
pub mod replay;
pub mod resolve;
pub mod restore;
pub mod retention;
pub mod retry;
pub mod service;
pub mod stop;
pub mod storage;
mod trust;
pub mod worker;

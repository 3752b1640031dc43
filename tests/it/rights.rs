//! With exactly the rights of `deploy/rights` everything works, and one that is missing is named.

mod broker;
mod database;
mod erase;
mod grants;
mod migrate;
mod retention;
mod settings;
mod storage;

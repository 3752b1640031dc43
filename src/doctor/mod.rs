//! Every check that has ever explained a support case: gathers from database, broker and storage side by side, each with
//! a bound, and judges. It changes nothing but its own probe objects.

mod ask;
mod broker;
mod check;
mod database;
mod examine;
mod reach;
mod storage;
mod verdict;

pub use check::{Check, Finding, Grade, Name, Report};
pub use examine::{Doctor, misconfigured};

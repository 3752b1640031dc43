//! An in-memory S3 server with AWS's documented semantics and switches for faults, latency and
//! counting.
//!
//! [`Server::start`] serves on the current runtime; [`Control`] disturbs and observes it. The same switches are there over HTTP for loopback
//! clients, under a prefix that no bucket can have: `GET /-/counts`, `POST /-/reset`, `GET`, `POST`
//! and `DELETE /-/faults`, `GET /-/held`, `POST /-/release`, `PUT /-/latency`.

mod api;
mod control;
mod counts;
mod ending;
mod faults;
mod fit;
mod gate;
mod holds;
mod listen;
mod operation;
mod options;
mod partial;
mod plane;
mod rule;
mod server;
mod store;
mod switches;
mod wire;

pub use control::Control;
pub use counts::Counts;
pub use faults::Fault;
pub use fit::Unfit;
pub use operation::Operation;
pub use options::{Conditions, Options};
pub use rule::{Action, Rule, When};
pub use server::Server;
pub use switches::Switches;

//! An in-memory S3 server with AWS's documented semantics, a proxy to a server of another make, and
//! switches for faults, latency, bandwidth and counting in both.
//!
//! [`Server::start`] and [`Proxy::start`] serve on the current runtime; [`Control`] and
//! [`ProxyControl`] disturb and observe. The same switches are there over HTTP for loopback
//! clients, under a prefix that no bucket can have: `GET /-/counts`, `POST /-/reset`, `GET`, `POST`
//! and `DELETE /-/faults`, `GET /-/held`, `POST /-/release`, `PUT /-/latency`,
//! `PUT /-/bandwidth`.

mod api;
mod bandwidth;
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
mod permissions;
mod plane;
mod policy;
mod proxy;
mod rule;
mod server;
mod store;
mod switches;
mod users;
mod wire;

pub use control::Control;
pub use counts::Counts;
pub use faults::Fault;
pub use fit::Unfit;
pub use operation::Operation;
pub use options::{Conditions, Options};
pub use policy::Policy;
pub use proxy::{Credentials, Proxy, ProxyControl, ProxyOptions};
pub use rule::{Action, Rule, When};
pub use server::Server;
pub use switches::Switches;

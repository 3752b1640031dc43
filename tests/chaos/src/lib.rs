//! Chaos from outside: real processes of the program are killed, stopped and cut off at random moments while a CRM
//! deletes records, and then the servers alone are asked whether a promise was broken.
//!
//! It shares no code with the program: it has its own SQL, its own idea of which file is alive ([`model`]), and
//! reads only PostgreSQL, RabbitMQ and the buckets ([`check`]).

pub mod check;
pub mod disturb;
pub mod fleet;
pub mod model;
pub mod proxy;
pub mod run;
pub mod scene;
pub mod seed;
pub mod summary;
pub mod workload;

/// Whatever stops the chaos itself: a server that does not answer it, a wrong argument.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
/// A result of the chaos itself; what the program does wrong is a violation, not an error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

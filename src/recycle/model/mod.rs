//! The mover on a model: the real code, between two buckets and a database that are played, in histories
//! that are made up. No history may lose content, leave a dead file for good, or destroy a newer one.
//!
//! Every request of a worker, and each of the moments that one consists of, waits for its turn. Whoever
//! drives the history ([`drive`]) gives one turn at a time: to a request, which may go wrong, or to somebody
//! else (a writer, the CRM, a lifecycle rule, a crash). There is no time and no chance in it: the same
//! history always runs the same way, and proptest can make it smaller.
//!
//! Where a server does not keep a condition, the invariants hold in a weaker form: [`judge`] says which.
//!
//! Limits: a request has its effect before its answer or never (not long after it was given up); a worker's
//! database tells the truth; objects have no size that matters; object buckets without versions.

mod actors;
mod buckets;
mod deletions;
mod deliver;
mod drive;
mod file;
mod found;
mod history;
mod invariants;
mod judge;
mod lies;
mod moments;
mod registry;
mod server;
mod tests;
mod turns;
mod world;

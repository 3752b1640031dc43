//! RabbitMQ: topology, confirmed publishing, deliveries. The only room that knows the client library.
//!
//! A session that broke is dropped and opened anew by its loop; the library's own recovery is off. It would
//! replay half of what a loop has to do anyway (declare, verify, consume, forget unsettled deliveries) and
//! hide from the loop that unacknowledged messages are coming again.

mod alarm;
mod connect;
mod consume;
mod declare;
mod error;
mod examine;
mod greeting;
mod link;
mod mend;
mod message;
mod publish;
mod read;
mod session;
mod topology;
mod window;

pub use connect::Broker;
pub use consume::{Browser, Consumer, Delivery};
pub use error::BrokerError;
pub use examine::{Declared, Examined};
pub use greeting::Greeting;
pub use message::Outgoing;
pub use publish::{Publisher, Target};
pub use read::Reader;
pub use session::{Depth, Session};
pub use topology::{Argument, Binding, Queue, Topology};

//! Everything that is known of one file or record, what would happen to it now, and why. It asks database, storage and
//! broker side by side, each with a bound, and changes nothing.

mod age;
mod at_work;
mod found;
mod gather;
mod letters;
mod named;
mod record;
mod verdict;
mod went;

pub use age::{ago, moment, when};
pub use found::{
    Environment, Foretold, Found, Hanging, Hold, Message, Names, Object, Objects, Origin, OtherKey, Queues,
    Row,
};
pub use gather::keyed::{Keyed, KeyedFile, KeyedObjects, KeyedQuestion};
pub use gather::{Explainer, Question, Servers};
pub use verdict::{Kind, Verdict, Would, judge};

use serde::Serialize;

/// The whole answer.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// What would happen, and why.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// What was found.
    #[serde(flatten)]
    pub found: Found,
}

//! `dlq list|show|replay|discard`: the dead-letter queue. None of them holds it in memory. The last two change it only
//! where a worker might work.

mod change;
mod look;
mod watch;
mod words;

pub(super) use change::{discard, replay};
pub(super) use look::{list, show};

use time::OffsetDateTime;

use super::arguments::Filter;
use crate::replay::Selection;

fn selection(filter: Filter, now: OffsetDateTime) -> Selection {
    Selection {
        ids: filter.id,
        reason: filter.reason,
        schema: filter.schema,
        since: filter.since.map(|since| since.resolve(now)),
        limit: filter.limit.unwrap_or(usize::MAX),
    }
}

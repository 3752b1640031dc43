//! How far the clocks are apart.

use time::{Duration, OffsetDateTime};

use crate::doctor::check::Finding;

/// Differences up to here are harmless.
const NOTED: Duration = Duration::seconds(5);
/// An S3 server refuses requests that were signed so long before or after, by its own clock.
const REFUSED: Duration = Duration::minutes(15);

/// How far another clock is ahead of ours, at least; negative where it is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::doctor) struct Skew(pub(in crate::doctor) Duration);

impl Skew {
    /// Of a time that the other clock showed at some moment between two of ours; `whole` where it shows whole seconds.
    pub(in crate::doctor) fn of(
        other: OffsetDateTime,
        (before, after): (OffsetDateTime, OffsetDateTime),
        whole: bool,
    ) -> Self {
        let latest = if whole { other + Duration::seconds(1) } else { other };
        Self(if latest < before {
            latest - before
        } else if other > after {
            other - after
        } else {
            Duration::ZERO
        })
    }

    fn told(self, whose: &str) -> String {
        let seconds = self.0.abs().whole_seconds();
        match (seconds, self.0.is_negative()) {
            (0, _) => format!("the {whose}'s agrees"),
            (_, true) => format!("the {whose}'s is {seconds} s behind"),
            (_, false) => format!("the {whose}'s is {seconds} s ahead"),
        }
    }
}

const ADVICE: &str = "let all machines take their time from the same source (NTP), this one included";

/// Nothing for a server that did not tell its time.
pub(in crate::doctor) fn clocks(database: Option<Skew>, storage: Option<Skew>) -> Finding {
    let both = [("database", database), ("storage", storage)];
    let told: Vec<String> = both
        .iter()
        .map(|(whose, skew)| {
            skew.map_or_else(|| format!("the {whose}'s is not known"), |skew| skew.told(whose))
        })
        .collect();
    let told = format!("by this machine's clock, {}", told.join(" and "));
    let worst = both.iter().filter_map(|(_, skew)| Some(skew.as_ref()?.0.abs())).max();
    match worst {
        None => Finding::warn(told, "put the servers right first"),
        Some(worst) if worst >= REFUSED => {
            Finding::fail(format!("{told}: a storage refuses requests that are 15 minutes off"), ADVICE)
        }
        Some(worst) if worst > NOTED => {
            Finding::warn(format!("{told}: grace, ages and lifecycle rules are off by as much"), ADVICE)
        }
        Some(_) => Finding::ok(told),
    }
}

/// The storage has said so itself.
pub(in crate::doctor) fn clock_refused() -> Finding {
    Finding::fail(
        "this machine's clock and the storage's differ so much that it refuses every request",
        ADVICE,
    )
}

//! `dlq`: which messages, and what to do with them.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};

use super::PointInTime;
use crate::outcome::DeadReason;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Dlq {
    /// A line per message
    List(Filter),
    /// Everything about the chosen messages
    Show(Filter),
    /// Sends the chosen messages back to work; a dry run until --apply
    Replay(Replay),
    /// Takes the chosen messages out for good, and keeps them in the database; a dry run until --apply
    Discard(Discard),
}

#[derive(Args, Clone, Debug, Default)]
pub(in crate::cli) struct Filter {
    /// Only this message; may be repeated
    #[arg(long, value_name = "ID")]
    pub(in crate::cli) id: Vec<String>,
    /// Only messages that are dead for this reason
    #[arg(long, value_parser = reason())]
    pub(in crate::cli) reason: Option<DeadReason>,
    /// Only messages about records or files of this schema
    #[arg(long)]
    pub(in crate::cli) schema: Option<String>,
    /// Only messages that failed last at this time or later (RFC 3339, or a duration back from now)
    #[arg(long, value_name = "TIME")]
    pub(in crate::cli) since: Option<PointInTime>,
    /// At most so many messages, the first to die (default: all)
    #[arg(long, value_name = "N")]
    pub(in crate::cli) limit: Option<usize>,
}

#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct Replay {
    #[command(flatten)]
    pub(in crate::cli) filter: Filter,
    /// Does it; not while the guard refuses or somebody has paused
    #[arg(long)]
    pub(in crate::cli) apply: bool,
    /// At most so many messages a second, as in 10/s
    #[arg(long, value_name = "N/s", value_parser = rate)]
    pub(in crate::cli) rate: Option<f64>,
    /// Starts with one message a second, doubles while they succeed, halves when one fails
    #[arg(long)]
    pub(in crate::cli) ramp: bool,
    /// Stops when so many messages have failed again
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(in crate::cli) max_failures: Option<u32>,
}

#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct Discard {
    #[command(flatten)]
    pub(in crate::cli) filter: Filter,
    /// Why; kept with the messages
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(in crate::cli) why: String,
    /// Does it; not while the guard refuses or somebody has paused
    #[arg(long)]
    pub(in crate::cli) apply: bool,
}

/// The reasons by name, so that help and shells know them.
fn reason() -> impl TypedValueParser<Value = DeadReason> {
    let words = DeadReason::ALL.iter().map(|reason| reason.as_str());
    PossibleValuesParser::new(words).try_map(|word| word.parse::<DeadReason>())
}

/// `10/s`, or `0.5/s`.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix("/s").and_then(|number| number.parse::<f64>().ok());
    number
        .filter(|rate| rate.is_finite() && *rate > 0.0)
        .ok_or_else(|| "it must be a number above 0 and /s, as in 10/s".to_owned())
}

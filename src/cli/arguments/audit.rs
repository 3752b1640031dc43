//! `audit`: what is compared, and what is done about orphans.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

/// Objects without a row are not judged before this age.
const YOUNGEST: Duration = Duration::from_hours(1);

#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct Audit {
    /// From when an object without a row is an orphan; at least 1h
    #[arg(long, value_name = "DURATION", default_value = "7d", value_parser = age)]
    pub(in crate::cli) older_than: Duration,
    /// What to put right: orphans go to the recycle bucket, each by the same proven move as ever; a dry run until --apply
    #[arg(long, value_name = "WHAT")]
    pub(in crate::cli) fix: Option<Fix>,
    /// With --fix: none at all where there are more orphans than this
    #[arg(long, value_name = "N", default_value_t = 1_000, requires = "fix")]
    pub(in crate::cli) max: usize,
    /// With --fix: none at all where orphans are more than this share of the bucket's objects
    #[arg(long, value_name = "PERCENT", default_value_t = 5.0, requires = "fix", value_parser = percent)]
    pub(in crate::cli) max_percent: f64,
    /// With --fix: does it
    #[arg(long, requires = "fix")]
    pub(in crate::cli) apply: bool,
    /// Writes a line of JSON for every file and every other object; CSV where the name ends in .csv
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) report: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Fix {
    /// Objects without a row
    Orphans,
}

fn age(text: &str) -> Result<Duration, String> {
    let age = crate::config::parse_duration(text)?;
    if age < YOUNGEST {
        return Err("an object is written before its row: it must be at least 1h".to_owned());
    }
    Ok(age)
}

fn percent(text: &str) -> Result<f64, String> {
    let number = text.trim_end_matches('%').parse::<f64>().ok();
    number
        .filter(|percent| (0.0..=100.0).contains(percent))
        .ok_or_else(|| "it must be a number from 0 to 100".to_owned())
}

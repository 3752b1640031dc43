//! How long the recycle bucket keeps files, by its own lifecycle rules, and whether that covers the database backups:
//! pure.

use std::time::Duration;

use serde::Serialize;

#[cfg(test)]
mod tests;

const DAY: Duration = Duration::from_hours(24);

/// Which objects a rule is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// All of them.
    Everything,
    /// Those whose key begins like this.
    Prefix(String),
    /// Some, by tags or size.
    Some,
}

/// What one lifecycle rule says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Terms {
    /// Its id; may be empty.
    pub id: String,
    /// `retention set` writes this one.
    pub ours: bool,
    /// It is in force.
    pub enabled: bool,
    /// Which objects it is for.
    pub scope: Scope,
    /// Days after which an object goes, counted from its last write.
    pub days: Option<u32>,
    /// The date on which every object goes, as the storage writes it.
    pub date: Option<String>,
    /// Days after which a version goes that was replaced or deleted.
    pub noncurrent_days: Option<u32>,
    /// Days after which the parts of an unfinished upload go.
    pub unfinished_days: Option<u32>,
    /// Storage classes to which objects move before.
    pub classes: Vec<String>,
}

/// How long files stay, as far as the rules tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// No rule removes any: for ever, and the bucket grows without end.
    ForEver,
    /// This rule removes all of them, or some, after so many days; no other is sooner.
    Days {
        /// Full days.
        days: u32,
        /// Which rule.
        rule: String,
    },
    /// This rule removes everything on one day.
    Until {
        /// The day, as the storage writes it.
        date: String,
        /// Which rule.
        rule: String,
    },
}

/// How long files stay under these rules.
pub fn kept(rules: &[Terms]) -> Kept {
    let in_force = || rules.iter().filter(|rule| rule.enabled && concerns_files(rule));
    if let Some((rule, date)) = in_force().find_map(|rule| Some((rule, rule.date.as_ref()?))) {
        return Kept::Until { date: date.clone(), rule: rule.id.clone() };
    }
    let days = in_force().filter_map(|rule| Some((rule.days?, rule)));
    days.min_by_key(|(days, _)| *days)
        .map_or(Kept::ForEver, |(days, rule)| Kept::Days { days, rule: rule.id.clone() })
}

/// The shortest time that a rule leaves a version that was replaced or deleted.
pub fn versions_kept(rules: &[Terms]) -> Option<u32> {
    rules
        .iter()
        .filter(|rule| rule.enabled && concerns_files(rule))
        .filter_map(|rule| rule.noncurrent_days)
        .min()
}

/// Rules for our own objects alone say nothing of files.
fn concerns_files(rule: &Terms) -> bool {
    !matches!(&rule.scope, Scope::Prefix(prefix) if prefix.starts_with(crate::file::OWN_PREFIX))
}

/// Is a file kept at least as long as the backups, and a version of it that was `replaced` by other content, too? Nothing
/// where nobody says how old those get.
pub fn covers(kept: &Kept, replaced: Option<u32>, backups: Option<Duration>) -> Option<bool> {
    let backups = days_of(backups?);
    if replaced.is_some_and(|days| u64::from(days) < backups) {
        return Some(false);
    }
    Some(match kept {
        Kept::ForEver => true,
        Kept::Days { days, .. } => u64::from(*days) >= backups,
        Kept::Until { .. } => false,
    })
}

/// Full days, a begun one as a whole.
pub fn days_of(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(DAY.as_nanos())).unwrap_or(u64::MAX)
}

/// What keeps a number of days from being set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Backups get older than that; `--force` sets it all the same.
    TooShort {
        /// How old backups get, in days.
        backups: u64,
    },
    /// Another rule removes files sooner, or on a date, so that ours would not hold.
    Sooner(Kept),
    /// Another rule removes versions that were replaced after so many days.
    Versions(u32),
}

/// May our rule have so many days, with these others beside it?
pub fn may_set(days: u16, others: &[Terms], backups: Option<Duration>, force: bool) -> Result<(), Refused> {
    if let Some(backups) = backups.map(days_of).filter(|backups| *backups > u64::from(days) && !force) {
        return Err(Refused::TooShort { backups });
    }
    let others: Vec<Terms> = others.iter().filter(|rule| !rule.ours).cloned().collect();
    if let Some(sooner) = versions_kept(&others).filter(|sooner| *sooner < u32::from(days)) {
        return Err(Refused::Versions(sooner));
    }
    match kept(&others) {
        Kept::Days { days: sooner, .. } if sooner >= u32::from(days) => Ok(()),
        Kept::ForEver => Ok(()),
        sooner => Err(Refused::Sooner(sooner)),
    }
}

/// What the recycle bucket holds and will hold, by the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Forecast {
    /// Files that are there now.
    pub files_now: u64,
    /// Their bytes.
    pub bytes_now: u64,
    /// Files of a day, over the days that were looked at.
    pub files_per_day: f64,
    /// Their bytes.
    pub bytes_per_day: f64,
    /// Bytes once as many go as come; nothing where nothing goes.
    pub bytes_at_plateau: Option<f64>,
    /// Days that the pace is of.
    pub days: f64,
}

/// What comes of the pace of the last `days` days.
pub fn forecast(now: (u64, u64), came: (u64, u64), days: f64, kept: &Kept) -> Forecast {
    #[allow(clippy::cast_precision_loss)] // Forecasts are no accounts.
    let per_day = |count: u64| if days > 0.0 { count as f64 / days } else { 0.0 };
    let bytes_per_day = per_day(came.1);
    Forecast {
        files_now: now.0,
        bytes_now: now.1,
        files_per_day: per_day(came.0),
        bytes_per_day,
        bytes_at_plateau: match kept {
            Kept::Days { days, .. } => Some(bytes_per_day * f64::from(*days)),
            Kept::ForEver | Kept::Until { .. } => None,
        },
        days,
    }
}

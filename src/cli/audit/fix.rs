//! `audit --fix orphans`: by the worker's own move, and only within its bounds.

use std::collections::BTreeMap;

use futures_util::StreamExt as _;
use serde::Serialize;

use super::Arguments;
use crate::audit::{Class, Found, Orphan};
use crate::cli::output::{Failed, operator};
use crate::cli::parts;
use crate::config::{Config, Profile};
use crate::db::Db;
use crate::file::FileRef;
use crate::outcome::{Failure, Outcome};
use crate::recycle::{EventContext, Job};
use crate::service::Once;
use crate::stop::Stop;
use crate::storage::{Side, Storage};

/// Files in work at the same time.
const AT_ONCE: usize = 256;
/// Failures that are told one by one.
const TOLD: usize = 20;

/// What was done about orphans.
#[derive(Debug, Default, Serialize)]
pub(super) struct Fixed {
    pub(super) applied: bool,
    /// Orphans that would be, or were, taken on.
    pub(super) orphans: u64,
    /// Their bytes.
    pub(super) bytes: u64,
    /// Why none was touched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) refused: Option<String>,
    /// What became of them.
    pub(super) outcomes: BTreeMap<&'static str, u64>,
    /// The first failures.
    pub(super) failures: Vec<String>,
}

impl Fixed {
    /// Is none left?
    pub(super) fn is_done(&self) -> bool {
        let well =
            |outcome: &str| outcome != Outcome::Failed.as_str() && outcome != Outcome::WouldMove.as_str();
        self.applied
            && self.refused.is_none()
            && self.outcomes.values().sum::<u64>() == self.orphans
            && self.outcomes.iter().all(|(outcome, files)| well(outcome) || *files == 0)
    }
}

/// What orphans are moved with.
pub(super) struct With<'a> {
    pub(super) config: &'a Config,
    pub(super) db: Db,
    /// Only with `--apply`.
    pub(super) once: Option<Once>,
}

/// Asks the guard, and advances the nonce. Unlike other commands on an operator's word, this one does the worker's job: a
/// pause stops it.
pub(super) async fn begin(config: &Config, db: &Db, storage: &Storage) -> Result<Once, Failed> {
    parts::open(config, db, storage).await?;
    Once::new(config, db.clone(), storage.clone()).await.map_err(|failure| unchanged(&failure))
}

fn unchanged(failure: &Failure) -> Failed {
    Failed::new(format!("nothing is changed: {}", failure.error))
}

pub(super) async fn orphans(
    with: With<'_>,
    found: &Found,
    arguments: &Arguments,
    stop: &Stop,
) -> Result<Fixed, Failed> {
    let With { config, db, once } = with;
    let mut fixed = Fixed {
        orphans: found.count(Class::Orphan),
        bytes: found.classes.get(&Class::Orphan).map_or(0, |total| total.bytes),
        refused: refused(found, arguments.max, arguments.max_percent),
        ..Fixed::default()
    };
    let Some(once) = once.filter(|_| fixed.refused.is_none() && !found.orphans.is_empty()) else {
        fixed.applied = arguments.apply && fixed.refused.is_none();
        return Ok(fixed);
    };
    // The walk may have taken hours.
    once.asked_again().await.map_err(|failure| unchanged(&failure))?;
    let run = uuid::Uuid::new_v4();
    let detail = format!("{} orphans, {} bytes, as event audit-{run}", fixed.orphans, fixed.bytes);
    if matches!(config.crm.profile, Profile::Mapping(_)) && !once.exact_keys() {
        let why = "this storage reads one key as another: what it lists under one key may be a living file's under another";
        fixed.refused = Some(why.to_owned());
        return Ok(fixed);
    }
    db.record_change(&operator(), "audit --fix orphans", &detail).await?;
    fixed.applied = true;
    let orphan_before = super::orphan_before(arguments.older_than);
    let moves = found.orphans.iter().map(|orphan| {
        let once = &once;
        async move { (orphan, once.recycle_if_older(job(orphan, run), orphan_before).await) }
    });
    let stopped = Box::pin(stop.requested());
    let mut ends = futures_util::stream::iter(moves).take_until(stopped).buffer_unordered(AT_ONCE);
    loop {
        let end = tokio::select! {
            end = ends.next() => end,
            () = stop.at_once() => None,
        };
        let Some((orphan, end)) = end else { break };
        fixed.add(orphan, end);
    }
    Ok(fixed)
}

/// Why no orphan may be touched; nothing where they may.
fn refused(found: &Found, max: usize, max_percent: f64) -> Option<String> {
    let orphans = found.count(Class::Orphan);
    let objects = found.bucket(Side::Object).files;
    #[allow(clippy::cast_precision_loss)] // A share, for a bound.
    let percent = orphans as f64 * 100.0 / objects.max(1) as f64;
    if !found.is_complete() {
        let why = found.missing.first().map_or("", String::as_str);
        Some(format!("not everything was seen ({why}): what looks like an orphan may be none"))
    } else if orphans > max as u64 {
        Some(format!("{orphans} orphans are more than --max {max}"))
    } else if percent > max_percent {
        Some(format!(
            "{orphans} orphans are {percent:.1} % of the {objects} objects, more than --max-percent {max_percent}: is \
             this the right database?"
        ))
    } else {
        None
    }
}

fn job(orphan: &Orphan, run: uuid::Uuid) -> Job {
    let file = FileRef { file_id: orphan.file.clone(), schema: None, size: Some(orphan.size), key: None };
    let event = EventContext { id: format!("audit-{run}"), record: None, deleted_at: None };
    Job { file, key: orphan.key.clone(), event }
}

impl Fixed {
    fn add(&mut self, orphan: &Orphan, end: Result<Outcome, Failure>) {
        let outcome = match end {
            Ok(outcome) => outcome,
            Err(failure) => {
                if self.failures.len() < TOLD {
                    self.failures.push(format!("{}: {}", orphan.key, failure.error));
                }
                Outcome::Failed
            }
        };
        *self.outcomes.entry(outcome.as_str()).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Total;

    fn found(orphans: u64, objects: u64, complete: bool) -> Found {
        let mut found = Found::default();
        found.classes.insert(Class::Orphan, Total { files: orphans, bytes: 0 });
        found.buckets[0] = Total { files: objects, bytes: 0 };
        found.missing = if complete { Vec::new() } else { vec!["cut".to_owned()] };
        found
    }

    #[test]
    fn orphans_are_touched_only_within_all_bounds() {
        for (orphans, objects, complete, told) in [
            (5, 100, true, None),
            (0, 0, true, None),
            (5, 100, false, Some("not everything was seen (cut)")),
            (11, 1_000, true, Some("more than --max 10")),
            (6, 100, true, Some("6.0 % of the 100 objects")),
        ] {
            let refused = refused(&found(orphans, objects, complete), 10, 5.0);
            match told {
                None => assert_eq!(refused, None, "{orphans} of {objects}"),
                Some(told) => assert!(refused.as_ref().is_some_and(|why| why.contains(told)), "{refused:?}"),
            }
        }
    }

    #[test]
    fn it_is_done_when_nothing_is_left() {
        let done = |applied, outcomes: &[(&'static str, u64)]| {
            let orphans = 2;
            Fixed { applied, orphans, outcomes: outcomes.iter().copied().collect(), ..Fixed::default() }
                .is_done()
        };
        assert!(done(true, &[("moved", 1), ("alive", 1)]));
        assert!(!done(false, &[]));
        assert!(!done(true, &[("moved", 1)]));
        assert!(!done(true, &[("moved", 1), ("failed", 1)]));
        assert!(!done(true, &[("would_move", 2)]));
    }
}

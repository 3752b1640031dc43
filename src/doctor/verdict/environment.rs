//! Do database and buckets belong together, and may anything move?

use crate::db::environment::Pause;
use crate::doctor::check::{Finding, Name};
use crate::guard::{Fit, Verdict, wrong_template};
use crate::key_template::KeyTemplate;

pub(in crate::doctor) fn environment(verdict: &Verdict, stale: Option<String>) -> Finding {
    match (verdict, stale) {
        (Verdict::Open(_) | Verdict::Paused(_), Some(stale)) => {
            Finding::warn(stale, "start `file-recycler run` or `work`, and look at its /readyz")
        }
        (Verdict::Open(environment), None) => Finding::ok(format!(
            "database and buckets are those that were adopted (environment {environment})"
        )),
        (Verdict::Paused(_), None) => Finding::ok("database and buckets are those that were adopted"),
        (Verdict::Unknown(why), _) => Finding::warn(*why, "run `file-recycler doctor` again"),
        (alone @ Verdict::RestoreAlone, _) => Finding::fail(
            format!("{alone}; nothing moves"),
            "bring the files back (`file-recycler restore --to-match-database`), and then run `file-recycler adopt --apply`",
        ),
        (Verdict::Refused(why) | Verdict::Foreign(why), _) => Finding::fail(
            format!("{why}; nothing moves"),
            "run `file-recycler adopt`: it shows database and buckets and what was adopted, and --apply binds them",
        ),
    }
}

/// Database and storage could not be looked at together.
pub(in crate::doctor) fn not_compared(error: &str) -> Finding {
    Finding::warn(
        format!("not checked: {error}"),
        format!(
            "put {}, {} and {} right first",
            Name::DatabaseRights,
            Name::StorageRights,
            Name::StorageConnection
        ),
    )
}

pub(in crate::doctor) fn pause(pause: Option<&Pause>) -> Finding {
    match pause {
        None => Finding::ok("nobody has paused this environment"),
        Some(pause) => Finding::warn(
            format!(
                "{} has paused this environment from {} on {}: {}; nothing moves",
                pause.by,
                pause.from,
                pause.at.date(),
                pause.why
            ),
            "run `file-recycler resume` when it is over",
        ),
    }
}

pub(in crate::doctor) fn key_template(template: &KeyTemplate, fit: &Fit, rows: usize) -> Finding {
    match fit {
        Fit::Fits => Finding::ok(format!("objects are where {template} says")),
        Fit::Ours => {
            Finding::ok(format!("objects are where {template} says, and a migration has put them there"))
        }
        Fit::Empty => Finding::ok("no row is in S3 yet, so that it cannot be compared with anything"),
        Fit::Nowhere => Finding::warn(
            format!(
                "none of the {rows} newest rows has its object in the object bucket, under no known template"
            ),
            "look whether these are the right buckets, and what the keys of the objects are made of",
        ),
        Fit::Other(right) => Finding::fail(
            format!("{}; nothing moves", wrong_template(template, right)),
            format!("set storage.key_template = \"{right}\""),
        ),
    }
}

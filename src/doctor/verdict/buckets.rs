//! The buckets' settings: retention, archives, locks, versions, encryption.

use std::time::Duration;

use crate::doctor::check::{Finding, Name};
use crate::retention::{Kept, Terms, covers, days_of, kept, versions_kept};
use crate::storage::{Encryption, Kind, ObjectLock, StorageError};

/// Classes out of which an object must be brought back before it can be read.
const ARCHIVES: &[&str] = &["GLACIER", "DEEP_ARCHIVE"];

/// Promise 11: red, until files are known to stay at least as long as backups.
pub(in crate::doctor) fn retention(rules: &[Terms], versioned: bool, backups: Duration) -> Finding {
    let days = days_of(backups);
    let kept = kept(rules);
    let replaced = if versioned { versions_kept(rules) } else { None };
    let stays = match &kept {
        Kept::ForEver => "no rule removes a file".to_owned(),
        Kept::Days { days, rule } => {
            format!("a file stays {days} days from its last deletion (rule '{rule}')")
        }
        Kept::Until { date, rule } => {
            format!("rule '{rule}' removes every file on {date}, and new ones at once from then on")
        }
    };
    if covers(&kept, replaced, Some(backups)) != Some(true) {
        let versions = match replaced {
            Some(replaced) if u64::from(replaced) < days => {
                format!(", and a version that was replaced {replaced} days")
            }
            _ => String::new(),
        };
        return Finding::fail(
            format!(
                "{stays}{versions}: shorter than the {days} days of retention.database_backups. A restored backup would \
                 not find its files"
            ),
            format!(
                "run `file-recycler retention set --days {days} --apply`, and change rules of others that are shorter \
                 (`file-recycler retention show`)"
            ),
        );
    }
    let told = format!("{stays}: that covers the database backups, which are kept {days} days");
    match kept {
        Kept::ForEver => Finding::warn(
            format!("{told}; but the bucket grows without end"),
            format!("run `file-recycler retention set --days {days}` to see the rule, --apply to write it"),
        ),
        Kept::Days { .. } | Kept::Until { .. } => Finding::ok(told),
    }
}

/// The same, until it is known how old those get.
pub(in crate::doctor) fn retention_unset() -> Finding {
    Finding::fail(
        "retention.database_backups is not set: nobody can tell whether the recycle bucket keeps files as long as a \
         database backup may need them",
        "set it to the age of the oldest backup that may ever be restored, monthly and yearly ones included \
         (docs/retention.md)",
    )
}

/// The rules could not be read.
pub(in crate::doctor) fn retention_unknown(error: &StorageError) -> Finding {
    match error.kind {
        Kind::NotImplemented => Finding::warn(
            "the server knows no lifecycle rules: files stay until somebody removes them",
            "remove files by hand that are older than the oldest database backup, or let the bucket grow",
        ),
        Kind::AccessDenied => Finding::fail(
            format!("whether files stay long enough cannot be told: {error}"),
            "grant it, as the optional statements of deploy/rights/iam-run.json do",
        ),
        _ => Finding::fail(error.to_string(), format!("see {}", Name::StorageConnection)),
    }
}

pub(in crate::doctor) fn archive_classes(
    recycle: &[Terms],
    object: &[Terms],
    copies: Option<&str>,
) -> Finding {
    let archives = |rules: &[Terms]| -> Vec<String> {
        rules
            .iter()
            .filter(|rule| rule.enabled)
            .flat_map(|rule| &rule.classes)
            .filter(|class| ARCHIVES.contains(&class.as_str()))
            .cloned()
            .collect()
    };
    let mut told = Vec::new();
    let mut to: Vec<String> = archives(recycle);
    to.extend(copies.filter(|class| ARCHIVES.contains(class)).map(str::to_owned));
    if !to.is_empty() {
        told.push(format!(
            "files in the recycle bucket go to {}: to bring one back takes hours and costs",
            to.join(", ")
        ));
    }
    let from = archives(object);
    if !from.is_empty() {
        told.push(format!(
            "living files in the object bucket go to {}: those cannot be copied, and end in the dead-letter queue as \
             archived when they are deleted",
            from.join(", ")
        ));
    }
    if told.is_empty() {
        return Finding::ok("no rule moves files to an archive");
    }
    Finding::warn(
        told.join("; "),
        "take a class that can be read at once (STANDARD_IA, GLACIER_IR), or plan the hours into every restore",
    )
}

pub(in crate::doctor) fn object_lock(
    object: Option<&ObjectLock>,
    recycle: Option<&ObjectLock>,
    rules: &[Terms],
) -> Finding {
    let mut told = Vec::new();
    match object.map(|lock| lock.default.as_ref()) {
        None => {}
        Some(None) => told.push(
            "the object bucket has Object Lock: files under a retention or a legal hold cannot move, and end in the \
             dead-letter queue as locked"
                .to_owned(),
        ),
        Some(Some(lock)) => told.push(format!(
            "the object bucket locks every new file for {} days ({}): one that is deleted before cannot move, and ends \
             in the dead-letter queue as locked",
            lock.days, lock.mode
        )),
    }
    match recycle.map(|lock| lock.default.as_ref()) {
        None => {}
        Some(None) => told.push(
            "the recycle bucket has Object Lock: no file is locked unless somebody locks it".to_owned(),
        ),
        Some(Some(lock)) => {
            let longer = matches!(kept(rules), Kept::Days { days, .. } if lock.days > days);
            let but = if longer { ", longer than its lifecycle rule keeps them" } else { "" };
            told.push(format!(
                "the recycle bucket locks every file for {} days ({}){but}: nobody can remove one before, `erase` \
                 neither, and our own probe objects stay as versions",
                lock.days, lock.mode
            ));
        }
    }
    if told.is_empty() {
        return Finding::ok("neither bucket has Object Lock");
    }
    Finding::warn(
        told.join("; "),
        "for the object bucket a lock shorter than a file's life is needed; replay `locked` dead letters when it has ended",
    )
}

/// The versions that a bucket keeps.
#[derive(Clone, Copy, Debug)]
pub(in crate::doctor) enum Versions {
    /// It keeps none.
    None,
    /// It does; a rule removes replaced ones after so many days, if any does.
    Kept(Option<u32>),
}

pub(in crate::doctor) fn versioning(object: Versions, recycle: Versions) -> Finding {
    let of = |name: &str, kept: Versions, what: &str| match kept {
        Versions::None => None,
        Versions::Kept(Some(days)) => {
            Some((false, format!("the {name} bucket keeps versions: {what}, and goes after {days} days")))
        }
        Versions::Kept(None) => Some((
            true,
            format!(
                "the {name} bucket keeps versions: {what}, and no rule removes it: it is paid for for ever"
            ),
        )),
    };
    let both = [
        of("object", object, "a move leaves a delete marker, and the content as a version below it"),
        of("recycle", recycle, "content that a later deletion replaced stays as a version"),
    ];
    let told: Vec<(bool, String)> = both.into_iter().flatten().collect();
    if told.is_empty() {
        return Finding::ok("neither bucket keeps versions");
    }
    let endless = told.iter().any(|(endless, _)| *endless);
    let told = told.into_iter().map(|(_, told)| told).collect::<Vec<_>>().join("; ");
    if endless {
        Finding::warn(
            told,
            "give the bucket a lifecycle rule for noncurrent versions (docs/doctor.md#versioning)",
        )
    } else {
        Finding::ok(told)
    }
}

pub(in crate::doctor) fn encryption(default: Option<&Encryption>) -> Finding {
    match default {
        None => Finding::ok("the recycle bucket encrypts nothing by itself, or does not tell"),
        Some(Encryption::Storage) => {
            Finding::ok("the recycle bucket encrypts with keys of the storage: ETags stay proofs of content")
        }
        Some(Encryption::KeyService(algorithm)) => Finding::warn(
            format!(
                "the recycle bucket encrypts by {algorithm}: an ETag proves nothing there, so files take the careful path \
                 (a checksum, a note, or the content itself is compared)"
            ),
            "nothing, if it is meant; the keys need kms:Decrypt and kms:GenerateDataKey on that key (docs/rights.md)",
        ),
    }
}

//! Where the contents of files are. Both places are right: so it is told, with what would change it, and is no warning.

use indicatif::HumanBytes;

use crate::db::contents::{Amount, Contents};
use crate::db::features::ActiveStorage;
use crate::doctor::check::Finding;

/// `contents` is nothing where counting would have taken too long.
pub(in crate::doctor) fn file_contents(contents: Option<&Contents>, active: &ActiveStorage) -> Finding {
    let new = match active {
        ActiveStorage::Ours(code) | ActiveStorage::Other(code) => format!("new ones go to {code}"),
        ActiveStorage::Unknown => "where new ones go is unknown".to_owned(),
        ActiveStorage::Denied => {
            "where new ones go is unknown, since this role may not read it (crm-settings)".to_owned()
        }
    };
    let Some(contents) = contents else {
        return Finding::ok(format!(
            "not counted in time: a dry run of `file-recycler migrate --to storage` takes its time and counts; {new}"
        ));
    };
    let Contents { database, ours, others, unknown, left } = contents;
    let mut where_they_are = format!("{} in the database, {} in S3", counted(*database), counted(*ours));
    for (amount, what) in [(others, "in other storages"), (unknown, "of which the row does not tell")] {
        if amount.files > 0 {
            where_they_are = format!("{where_they_are}, {} {what}", counted(*amount));
        }
    }
    let mut told = vec![where_they_are, new];
    if matches!(active, ActiveStorage::Ours(_)) && database.files > 0 {
        told.push(
            "`file-recycler migrate --to storage` would bring those in the database there, too (a dry run until --apply)"
                .to_owned(),
        );
    }
    match left {
        Some(left) if left.files > 0 => told.push(format!(
            "{} of the rows in S3 still have content in the database, {}: `file-recycler migrate --reclaim` frees it",
            left.files,
            HumanBytes(left.bytes)
        )),
        None if ours.files > 0 => {
            told.push(
                "what rows in S3 still have in \"Data\" was not counted: the role may not read it".to_owned(),
            );
        }
        Some(_) | None => {}
    }
    Finding::ok(told.join("; "))
}

fn counted(amount: Amount) -> String {
    let files = if amount.files == 1 { "file" } else { "files" };
    format!("{} {files} ({})", amount.files, HumanBytes(amount.bytes))
}

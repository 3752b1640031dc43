//! What a person is told of an audit.

use indicatif::HumanBytes;

use super::Document;
use crate::audit::{Class, Finding};

pub(super) fn text(document: &Document, shown: &[Finding]) -> String {
    let mut lines = Vec::new();
    for class in Class::ALL {
        let files = document.counts.get(class.as_str()).copied().unwrap_or_default();
        if files > 0 || matches!(class, Class::Ok | Class::Restorable | Class::Lost | Class::Orphan) {
            let bytes = document.bytes.get(class.as_str()).copied().unwrap_or_default();
            let (name, bytes) = (class.as_str(), HumanBytes(bytes).to_string());
            lines.push(format!("{name:12} {files:>10}  {bytes:>12}  {}", meaning(*class)));
        }
    }
    lines.extend(in_rows(document));
    for (bucket, total) in &document.buckets {
        let bytes = HumanBytes(total.bytes).to_string();
        lines.push(format!(
            "{:12} {:>10}  {bytes:>12}  objects in all",
            format!("{bucket} bkt"),
            total.files
        ));
    }
    if document.other_size > 0 {
        lines.push(format!("{} objects have another size than their row says.", document.other_size));
    }
    for finding in shown {
        let file = finding.file.as_ref().map_or("", crate::file::FileId::as_str);
        let key = if file == finding.key { "" } else { finding.key.as_str() };
        let saved = finding.class == Class::Lost && finding.data_in_row().is_some();
        let saved = if saved { " (its content is in its row)" } else { "" };
        lines.push(format!("  {:10} {file} {}{saved}", finding.class.as_str(), key.escape_debug()));
    }
    let bad: u64 = Class::ALL
        .iter()
        .filter(|class| class.is_bad())
        .filter_map(|class| document.counts.get(class.as_str()))
        .sum();
    if bad > shown.len() as u64 {
        lines.push(format!("  … and {} more: --report FILE has all of them", bad - shown.len() as u64));
    }
    if !document.complete {
        lines.push(format!("NOT COMPLETE: {}", document.missing.join("; ")));
    }
    lines.extend(fixed(document));
    lines.join("\n")
}

/// Content that rows have although they say that it is in S3.
fn in_rows(document: &Document) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(saved) = document.lost_with_data.filter(|saved| saved.files > 0) {
        lines.push(format!(
            "{} of the lost files have their content ({}) in their rows, so that it is not gone: file-recycler explain ID \
             gives the statement by which the CRM reads it from there.",
            saved.files,
            HumanBytes(saved.bytes)
        ));
    }
    if let Some(left) = document.data_left.as_ref().filter(|left| left.total.files > 0) {
        lines.push(format!(
            "{} rows in S3 still have {} of content in the database: file-recycler migrate --reclaim frees what is proven.",
            left.total.files,
            HumanBytes(left.total.bytes)
        ));
    }
    lines
}

fn meaning(class: Class) -> &'static str {
    match class {
        Class::Ok => "a row names it, and the object is there",
        Class::Restorable => "the object is in the recycle bucket only: file-recycler restore brings it back",
        Class::Lost => "a row names it, and it is in neither bucket",
        Class::Dangling => "the record that the row names is not there",
        Class::Parentless => "the row names no record",
        Class::Orphan => "an object without a row: --fix orphans moves it to the recycle bucket",
        Class::Young => "an object without a row, too young to say",
        Class::Linked => "an object without a row that a link still names",
        Class::LeftBehind => {
            "the row says that the content is elsewhere, and an object is still there, as a migration leaves it: file-recycler \
             migrate --to database --recycle-objects puts away what is proven"
        }
        Class::Pending => "its deletion is captured, and waits",
        Class::Recycled => "in the recycle bucket, as it has to be",
        Class::Unknown => "the key is none of a file's",
    }
}

fn fixed(document: &Document) -> Vec<String> {
    let Some(fix) = &document.fix else { return Vec::new() };
    if let Some(why) = &fix.refused {
        return vec![format!("No orphan is touched: {why}.")];
    }
    if !fix.applied {
        let bytes = HumanBytes(fix.bytes);
        return vec![format!(
            "{} orphans, {bytes}, would be moved. Nothing is changed yet: --apply does it.",
            fix.orphans
        )];
    }
    let outcomes: Vec<String> =
        fix.outcomes.iter().map(|(outcome, files)| format!("{files} {outcome}")).collect();
    let said = if outcomes.is_empty() { "none".to_owned() } else { outcomes.join(", ") };
    std::iter::once(format!("Orphans: {said}."))
        .chain(fix.failures.iter().map(|failure| format!("  failed     {failure}")))
        .collect()
}

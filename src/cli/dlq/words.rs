//! Dead letters, and what was done with them, in words for people.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::outcome::DeadReason;
use crate::replay::{DeadLetter, DiscardSummary, Now, Summary};

pub(super) fn line(letter: &DeadLetter) -> String {
    format!(
        "{}  {:<18}  {} attempts, last {}  {}",
        letter.id,
        word(letter),
        letter.attempts,
        shown(letter.last_failure),
        letter.error.as_deref().unwrap_or("no error text")
    )
}

fn word(letter: &DeadLetter) -> &'static str {
    letter.reason.map_or("unknown", DeadReason::as_str)
}

fn shown(time: Option<OffsetDateTime>) -> String {
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_else(|| "unknown".to_owned())
}

pub(super) fn in_words(letter: &DeadLetter, now: &Now) -> String {
    let about = match (&letter.schema, &letter.record_id) {
        (Some(schema), Some(record)) => format!("{schema} {record}"),
        (Some(schema), None) => format!("files of {schema}"),
        _ if !letter.files.is_empty() => "files, whose schema it does not say".to_owned(),
        _ => "unknown: the message is no event".to_owned(),
    };
    let files = now.files.iter().map(|file| format!("\n          {}: {}", file.file_id, file.why));
    format!(
        "message   {}\nreason    {}: {}\nerror     {}\ntype      {}\nabout     {about}\nfiles     \
         {}\nattempts  {}, first {}, last {}\nworker    {}\nnow       {}{}\nafter the repair: file-recycler dlq \
         replay --id '{}' --apply",
        letter.id,
        word(letter),
        letter.reason.map_or("the broker moved it here by itself", DeadReason::meaning),
        letter.error.as_deref().unwrap_or("none"),
        letter.kind.as_deref().unwrap_or("unknown"),
        if letter.files.is_empty() { "none".to_owned() } else { letter.files.join(", ") },
        letter.attempts,
        shown(letter.first_failure),
        shown(letter.last_failure),
        letter.worker.as_deref().unwrap_or("unknown"),
        now.why,
        files.collect::<String>(),
        letter.id,
    )
}

pub(super) fn replayed(summary: &Summary) -> String {
    if !summary.applied {
        return format!(
            "{} messages would go back to work. Nothing is changed yet: --apply does it.",
            summary.selected
        );
    }
    let mut lines = vec![format!(
        "{} of {} messages went back to work: {} done, {} failed again, {} left in the dead-letter queue.",
        summary.replayed, summary.selected, summary.succeeded, summary.failed, summary.left
    )];
    if summary.finished_earlier > 0 {
        lines.push(format!(
            "{} of them had gone back to work in a replay that was cut off: they were only removed.",
            summary.finished_earlier
        ));
    }
    if summary.maybe_twice > 0 {
        lines.push(format!(
            "{} may have been replayed twice: an earlier replay was cut off while it sent them.",
            summary.maybe_twice
        ));
    }
    lines.extend(summary.same_reason.iter().map(|(reason, count)| {
        format!("WARNING: {count} are dead again for the same reason ({reason}): its cause is still there.")
    }));
    lines.extend(summary.stopped.iter().map(|why| format!("Stopped: {why}")));
    lines.join("\n")
}

pub(super) fn discarded(summary: &DiscardSummary) -> String {
    if !summary.applied {
        return format!(
            "{} messages would be discarded. Nothing is changed yet: --apply does it.",
            summary.selected
        );
    }
    let mut text = format!(
        "{} of {} messages were discarded; they are kept in file_recycler.discarded. {} are left.",
        summary.discarded, summary.selected, summary.left
    );
    if let Some(why) = &summary.stopped {
        text.push_str("\nStopped: ");
        text.push_str(why);
    }
    text
}

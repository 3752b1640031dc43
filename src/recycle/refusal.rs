//! Why the truth table gives a file up, in words that tell the operator what to do.

use crate::file::ObjectKey;
use crate::outcome::{Advice, DeadReason, Failure};
use crate::storage::{Head, MAX_OBJECT};

/// The failure of a file that is given up for this reason.
pub(super) fn refused(
    key: &ObjectKey,
    reason: DeadReason,
    source: Option<&Head>,
    copy: Option<&Head>,
) -> Failure {
    let error = match (reason, source) {
        (DeadReason::Locked, _) => format!(
            "the object '{key}' is under Object Lock or a legal hold; nothing was touched. Replay when it is free"
        ),
        (DeadReason::Archived, _) => {
            format!(
                "the object '{key}' is archived; nothing was touched. Restore it from the archive, then replay"
            )
        }
        (DeadReason::Unsupported, Some(source)) if source.size > MAX_OBJECT => format!(
            "the object '{key}' has {} bytes, more than the 5 TiB that can be copied; nothing was touched",
            source.size
        ),
        (DeadReason::Unsupported, _) => {
            format!("this server may take '{key}' for another key; nothing was touched")
        }
        _ => format!(
            "under '{key}' the recycle bucket holds what is not proven to be the same content ({}) as in the \
             object bucket ({}); nothing was touched. Compare the two, remove or rename the one that is not \
             needed, then replay",
            shown(copy),
            shown(source)
        ),
    };
    Failure::new(Advice::GiveUp(reason), error)
}

fn shown(head: Option<&Head>) -> String {
    head.map_or_else(|| "nothing".to_owned(), |head| format!("{} bytes, ETag {}", head.size, head.etag))
}

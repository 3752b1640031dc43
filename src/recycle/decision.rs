//! The truth table: what is to be done with one file, from what the server can do, what is known of both
//! buckets, and what is meant to be done. Pure.

use time::OffsetDateTime;

use crate::failpoint;
use crate::file::ObjectKey;
use crate::outcome::DeadReason;
use crate::storage::{Capabilities, Head, MAX_COPY, MAX_OBJECT, Over, Support, UnseenClass};

/// Largest object that is copied without a look, in bytes: larger ones may be of several parts, whose copy
/// in one piece has another ETag, and to them one look more is nothing.
pub const MAX_UNSEEN: u64 = 5 * 1024 * 1024;

/// What is known of the two buckets.
#[derive(Clone, Debug, Default)]
#[allow(
    clippy::large_enum_variant,
    reason = "there is one for each file in flight, and most files look once"
)]
pub enum Seen {
    /// Nothing: nobody has looked.
    #[default]
    Nothing,
    /// The object in the object bucket; nobody has looked at the other.
    Source(Head),
    /// What a look at both found.
    Both {
        /// The object in the object bucket.
        source: Option<Head>,
        /// The object in the recycle bucket.
        copy: Option<Head>,
        /// Whether the two were found equal to the byte; nothing where nobody has compared them.
        equal: Option<bool>,
        /// This very try has written the copy: its retention has just begun.
        fresh: bool,
    },
}

/// What is to be done, apart from what the buckets hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intent {
    /// The object's size in bytes, as the database has it.
    pub size: Option<u64>,
    /// Some servers take the key for another one ([`may_be_read_as_another`]).
    pub odd_key: bool,
    /// What has to be looked at first, whatever the server can do.
    pub look: Look,
}

/// What has to be looked at before anything is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Look {
    /// Nothing.
    Not,
    /// The source: its storage class may be one that a copy without a look would lose.
    AtSource,
    /// Both: somebody only observes, or an earlier step met something unusual.
    AtBoth,
}

/// What to do next with a file that is dead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Copy it over nothing, without a look; then delete the source if it is what was copied.
    CopyUnseen,
    /// Look at the source alone.
    LookAtSource,
    /// Copy what was looked at over nothing, and then delete it, if the copy's answer says that it was copied.
    CopySeen,
    /// Look at both buckets.
    Look,
    /// Read both objects and compare them: nothing else tells whether they are the same.
    Compare,
    /// Copy it over what is (or is not) there, and look at the copy.
    Copy(Over),
    /// The copy is proven: delete the source, if it is still what was copied.
    Delete,
    /// Nothing: it is in the recycle bucket already.
    AlreadyMoved,
    /// Nothing: it is in neither bucket, if the buckets themselves are there.
    Missing,
    /// Nothing: an operator has to look.
    GiveUp(DeadReason),
}

/// The truth table of the move, for a file that is dead.
///
/// | source | recycle bucket | action |
/// |---|---|---|
/// | not seen | not seen | copy unseen or look at the source, where the server's conditions are proof enough; else look |
/// | present, of one piece | not seen | copy what was seen |
/// | absent, or unusual | not seen | look |
/// | locked, archived, or larger than an object may be | any | give up |
/// | present | absent | copy over nothing |
/// | present | same content, written by this try | delete the source |
/// | present | same content | copy over the known copy: its retention starts again |
/// | present | perhaps the same content | compare |
/// | present | other content | conflict; in a versioned recycle bucket: copy on top |
/// | absent | present | already moved |
/// | absent | absent | missing |
///
/// Content that cannot be proven to be the same counts as other content.
pub fn decide(server: &Capabilities, seen: &Seen, intent: Intent, now: OffsetDateTime) -> Action {
    if intent.odd_key && !server.exact_keys {
        return Action::GiveUp(DeadReason::Unsupported);
    }
    let (source, copy, equal, fresh) = match seen {
        Seen::Nothing => return before_a_look(server, intent),
        Seen::Source(source) => {
            let copies = is_plain(server, source) && source.size <= MAX_COPY;
            let next = if copies { Action::CopySeen } else { Action::Look };
            return given_up(source, now).unwrap_or(next);
        }
        Seen::Both { source, copy, equal, fresh } => (source.as_ref(), copy.as_ref(), *equal, *fresh),
    };
    if let Some(given_up) = source.and_then(|source| given_up(source, now)) {
        return given_up;
    }
    match (source, copy) {
        (Some(_), None) => Action::Copy(Over::Nothing),
        (Some(source), Some(copy)) => beside_a_copy(server, source, copy, equal, fresh),
        (None, Some(_)) => Action::AlreadyMoved,
        (None, None) => Action::Missing,
    }
}

/// Where the server's own conditions are the whole proof (the copy goes over nothing, its answer names what was
/// copied, and only that is deleted), at most the source is looked at.
fn before_a_look(server: &Capabilities, intent: Intent) -> Action {
    let proof_enough = server.copy_if_none_match == Support::Honoured
        && server.delete_if_match == Support::Honoured
        && server.copy_keeps_etag
        && !server.object_versioned
        && !server.recycle_versioned;
    if !proof_enough || intent.look == Look::AtBoth {
        return Action::Look;
    }
    let small = intent.size.is_some_and(|size| size <= MAX_UNSEEN);
    if small && intent.look == Look::Not && server.unseen_class != UnseenClass::Lost {
        Action::CopyUnseen
    } else {
        Action::LookAtSource
    }
}

/// What cannot be deleted or copied is not touched, whatever the recycle bucket holds.
fn given_up(source: &Head, now: OffsetDateTime) -> Option<Action> {
    let reason = if source.legal_hold || source.retained_until.is_some_and(|until| until > now) {
        DeadReason::Locked
    } else if source.archived {
        DeadReason::Archived
    } else if source.size > MAX_OBJECT {
        DeadReason::Unsupported
    } else {
        return None;
    };
    Some(Action::GiveUp(reason))
}

/// Is its ETag the MD5 of its content, which a copy in one piece has too?
fn is_plain(server: &Capabilities, head: &Head) -> bool {
    server.copy_keeps_etag && !head.opaque_etag && head.etag.md5().is_some()
}

fn beside_a_copy(
    server: &Capabilities,
    source: &Head,
    copy: &Head,
    equal: Option<bool>,
    fresh: bool,
) -> Action {
    let same = equal.unwrap_or_else(|| same_content(server, source, copy));
    if same && fresh {
        return Action::Delete;
    }
    let in_doubt = equal.is_none() && source.size == copy.size && !proves_other_content(server, source, copy);
    // What goes on top of an older version needs no proof of what lies below.
    let needs_proof = fresh || !server.recycle_versioned;
    if !same && in_doubt && needs_proof && source.size <= MAX_COPY && !copy.archived {
        return Action::Compare;
    }
    if same || server.recycle_versioned {
        return Action::Copy(Over::Known(copy.etag.clone()));
    }
    Action::GiveUp(DeadReason::Conflict)
}

/// Is it proven that the copy has the source's content? `false` means not proven.
///
/// The sizes must be equal, and one of: equal ETags (or what multipart arithmetic makes of them), equal
/// checksums over the whole content, or our own note in the copy that it was made of this very source.
/// The note travels with the content and cannot outlive it: to write an object again is to lose it. It proves
/// nothing on a server that copies whatever is there, whichever source was asked for.
pub fn same_content(server: &Capabilities, source: &Head, copy: &Head) -> bool {
    let noted =
        server.copy_source_if_match == Support::Honoured && copy.copied_from.as_ref() == Some(&source.etag);
    failpoint::removed("protection::proof_of_copy")
        || source.size == copy.size
            && (noted
                || source.etag.proves_same_content(&copy.etag)
                || source.checksum.is_some() && source.checksum == copy.checksum)
}

/// Is it proven that the two differ? `false` means not proven.
fn proves_other_content(server: &Capabilities, source: &Head, copy: &Head) -> bool {
    let sums_differ = match (&source.checksum, &copy.checksum) {
        (Some(one), Some(other)) => one.algorithm == other.algorithm && one.value != other.value,
        _ => false,
    };
    sums_differ || is_plain(server, source) && is_plain(server, copy) && source.etag != copy.etag
}

/// Is this a key that some servers normalise before they look?
pub fn may_be_read_as_another(key: &ObjectKey) -> bool {
    let key = key.as_str();
    key.contains('\\') || key.split('/').any(|segment| matches!(segment, "" | "." | ".."))
}

#[cfg(test)]
mod tests;

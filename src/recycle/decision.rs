//! The truth table: what is to be done with one file, from what both buckets hold. Pure.

use time::OffsetDateTime;

use crate::outcome::DeadReason;
use crate::storage::{Capabilities, Head, Over};

/// What to do with a file that is dead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Copy it over what is (or is not) there, prove the copy, delete the source.
    Move(Over),
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
/// | locked, or archived | any | give up |
/// | present | absent | move over nothing |
/// | present | same content | move over the known copy: its retention starts again |
/// | present | other content | conflict; in a versioned recycle bucket: move on top |
/// | absent | present | already moved |
/// | absent | absent | missing |
///
/// Content that cannot be proven to be the same counts as other content.
pub fn decide(
    source: Option<&Head>,
    copy: Option<&Head>,
    server: &Capabilities,
    now: OffsetDateTime,
) -> Action {
    match (source, copy) {
        (Some(source), _) if source.legal_hold || source.retained_until.is_some_and(|until| until > now) => {
            Action::GiveUp(DeadReason::Locked)
        }
        (Some(source), _) if source.archived => Action::GiveUp(DeadReason::Archived),
        (Some(_), None) => Action::Move(Over::Nothing),
        (Some(source), Some(copy)) if same_content(source, copy) || server.recycle_versioned => {
            Action::Move(Over::Known(copy.etag.clone()))
        }
        (Some(_), Some(_)) => Action::GiveUp(DeadReason::Conflict),
        (None, Some(_)) => Action::AlreadyMoved,
        (None, None) => Action::Missing,
    }
}

/// Is it proven that the copy has the source's content? `false` means not proven.
///
/// The sizes must be equal, and one of: equal ETags (or what multipart arithmetic makes of them), equal
/// checksums over the whole content, or our own note in the copy that it was made of this very source.
/// The note travels with the content and cannot outlive it: to write an object again is to lose it.
pub fn same_content(source: &Head, copy: &Head) -> bool {
    source.size == copy.size
        && (source.etag.proves_same_content(&copy.etag)
            || source.checksum.is_some() && source.checksum == copy.checksum
            || copy.copied_from.as_ref() == Some(&source.etag))
}

#[cfg(test)]
mod tests {
    use time::Duration;
    use time::macros::datetime;

    use super::*;
    use crate::storage::{Checksum, ETag, Support};

    const NOW: OffsetDateTime = datetime!(2026-11-23 10:00 UTC);
    const ONE: &str = "\"5d41402abc4b2a76b9719d911017c592\"";
    const OTHER: &str = "\"7d793037a0760186574b0282f2f435e7\"";
    /// MD5 of the MD5 in `ONE`, as a multipart upload in one part would have it.
    const ONE_IN_ONE_PART: &str = "\"62109206880d38a4010a98e11243924a-1\"";

    fn server() -> Capabilities {
        Capabilities {
            copy_if_none_match: Support::Honoured,
            copy_if_match: Support::Honoured,
            copy_source_if_match: Support::Honoured,
            delete_if_match: Support::Honoured,
            put_if_none_match: Support::Honoured,
            put_if_match: Support::Honoured,
            copy_keeps_etag: true,
            exact_keys: true,
            object_versioned: false,
            recycle_versioned: false,
        }
    }

    fn head(etag: &str, size: u64) -> Head {
        Head::for_tests(ETag::new(etag), size)
    }

    fn summed(value: &str, head: Head) -> Head {
        Head { checksum: Some(Checksum { algorithm: "SHA256", value: value.to_owned() }), ..head }
    }

    #[test]
    fn every_row_of_the_truth_table() {
        let over_copy = Action::Move(Over::Known(ETag::new(ONE)));
        let conflict = Action::GiveUp(DeadReason::Conflict);
        for (source, copy, versioned, action) in [
            (Some(head(ONE, 5)), None, false, Action::Move(Over::Nothing)),
            (Some(head(ONE, 5)), Some(head(ONE, 5)), false, over_copy.clone()),
            (Some(head(OTHER, 5)), Some(head(ONE, 5)), false, conflict.clone()),
            (Some(head(OTHER, 5)), Some(head(ONE, 5)), true, over_copy),
            (Some(head(ONE, 5)), Some(head(ONE, 0)), false, conflict),
            (None, Some(head(ONE, 5)), false, Action::AlreadyMoved),
            (None, None, false, Action::Missing),
        ] {
            let server = Capabilities { recycle_versioned: versioned, ..server() };
            assert_eq!(decide(source.as_ref(), copy.as_ref(), &server, NOW), action, "{source:?} {copy:?}");
        }
    }

    #[test]
    fn what_cannot_be_deleted_or_read_is_not_touched_whatever_the_recycle_bucket_holds() {
        let held = Head { legal_hold: true, ..head(ONE, 5) };
        let retained = Head { retained_until: Some(NOW + Duration::SECOND), ..head(ONE, 5) };
        let archived = Head { archived: true, ..head(ONE, 5) };
        for (source, reason) in
            [(held, DeadReason::Locked), (retained, DeadReason::Locked), (archived, DeadReason::Archived)]
        {
            for copy in [None, Some(head(ONE, 5)), Some(head(OTHER, 5))] {
                assert_eq!(decide(Some(&source), copy.as_ref(), &server(), NOW), Action::GiveUp(reason));
            }
        }
        let over = Head { retained_until: Some(NOW), ..head(ONE, 5) };
        assert_eq!(decide(Some(&over), None, &server(), NOW), Action::Move(Over::Nothing));
    }

    #[test]
    fn only_proof_makes_the_content_the_same() {
        let kms = |etag: &str| Head { opaque_etag: true, ..head(etag, 5) };
        let multipart = head("\"5d41402abc4b2a76b9719d911017c592-3\"", 5);
        let noted = |etag: &str| Head { copied_from: Some(ETag::new(etag)), ..head("opaque", 5) };
        for (source, copy, same) in [
            (head(ONE, 5), head(ONE, 5), true),
            (head(ONE, 5), head(ONE, 6), false),
            (head(ONE, 5), head(OTHER, 5), false),
            (multipart.clone(), multipart.clone(), true),
            (multipart.clone(), head(ONE, 5), false),
            (multipart, noted("5d41402abc4b2a76b9719d911017c592-3"), true),
            (head(ONE_IN_ONE_PART, 5), head(ONE, 5), true),
            (head(ONE_IN_ONE_PART, 5), head(OTHER, 5), false),
            (kms(ONE), kms(OTHER), false),
            (kms(ONE), noted(ONE), true),
            (kms(ONE), noted(OTHER), false),
            (kms(ONE), Head { size: 6, ..noted(ONE) }, false),
            (summed("a", kms(ONE)), summed("a", kms(OTHER)), true),
            (summed("a", kms(ONE)), summed("b", kms(OTHER)), false),
            (summed("a", kms(ONE)), kms(OTHER), false),
        ] {
            assert_eq!(same_content(&source, &copy), same, "{source:?} {copy:?}");
        }
    }
}

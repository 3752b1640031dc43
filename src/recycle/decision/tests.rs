//! Every row of the truth table, and what proves what.

use time::Duration;
use time::macros::datetime;

use super::*;
use crate::storage::{Checksum, ETag};

const NOW: OffsetDateTime = datetime!(2026-11-23 10:00 UTC);
const ONE: &str = "\"5d41402abc4b2a76b9719d911017c592\"";
const OTHER: &str = "\"7d793037a0760186574b0282f2f435e7\"";
/// MD5 of the MD5 in `ONE`, as a multipart upload in one part would have it.
const ONE_IN_ONE_PART: &str = "\"62109206880d38a4010a98e11243924a-1\"";
const IN_PARTS: &str = "\"5d41402abc4b2a76b9719d911017c592-3\"";

const INTENT: Intent = Intent { size: Some(5), odd_key: false, look: Look::Not };

fn server() -> Capabilities {
    Capabilities::of_aws()
}

fn head(etag: &str, size: u64) -> Head {
    Head::for_tests(ETag::new(etag), size)
}

fn summed(value: &str, head: Head) -> Head {
    Head { checksum: Some(Checksum { algorithm: "SHA256", value: value.to_owned() }), ..head }
}

fn kms(etag: &str) -> Head {
    Head { opaque_etag: true, ..head(etag, 5) }
}

fn both(source: Option<Head>, copy: Option<Head>) -> Seen {
    Seen::Both { source, copy, equal: None, fresh: false }
}

fn decided(server: &Capabilities, seen: &Seen) -> Action {
    decide(server, seen, INTENT, NOW)
}

#[test]
fn only_what_the_servers_conditions_prove_is_copied_unseen() {
    assert_eq!(decided(&server(), &Seen::Nothing), Action::CopyUnseen);
    for (why, server) in [
        ("no condition on the copy", Capabilities { copy_if_none_match: Support::Ignored, ..server() }),
        ("refused on the copy", Capabilities { copy_if_none_match: Support::Refused, ..server() }),
        ("no condition on the delete", Capabilities { delete_if_match: Support::Ignored, ..server() }),
        ("refused on the delete", Capabilities { delete_if_match: Support::Refused, ..server() }),
        ("ETags of its own", Capabilities { copy_keeps_etag: false, ..server() }),
        ("versions of sources", Capabilities { object_versioned: true, ..server() }),
        ("versions of copies", Capabilities { recycle_versioned: true, ..server() }),
    ] {
        assert_eq!(decided(&server, &Seen::Nothing), Action::Look, "{why}");
    }
    let lost = Capabilities { unseen_class: UnseenClass::Lost, ..server() };
    assert_eq!(decided(&lost, &Seen::Nothing), Action::LookAtSource, "a class that would be lost");
    for (why, intent, action) in [
        ("the largest", Intent { size: Some(MAX_UNSEEN), ..INTENT }, Action::CopyUnseen),
        ("an empty one", Intent { size: Some(0), ..INTENT }, Action::CopyUnseen),
        ("too large", Intent { size: Some(MAX_UNSEEN + 1), ..INTENT }, Action::LookAtSource),
        ("of unknown size", Intent { size: None, ..INTENT }, Action::LookAtSource),
        ("its turn to be looked at", Intent { look: Look::AtSource, ..INTENT }, Action::LookAtSource),
        ("something unusual", Intent { look: Look::AtBoth, ..INTENT }, Action::Look),
        ("an odd key, exact here", Intent { odd_key: true, ..INTENT }, Action::CopyUnseen),
    ] {
        assert_eq!(decide(&server(), &Seen::Nothing, intent, NOW), action, "{why}");
    }
}

#[test]
fn a_source_of_one_piece_that_was_looked_at_is_copied_by_what_was_seen() {
    for (why, source, action) in [
        ("of one piece", head(ONE, MAX_UNSEEN + 1), Action::CopySeen),
        ("the largest of one copy", head(ONE, MAX_COPY), Action::CopySeen),
        ("too large for one copy", head(ONE, MAX_COPY + 1), Action::Look),
        ("of several parts", head(IN_PARTS, 5), Action::Look),
        ("of a single part", head(ONE_IN_ONE_PART, 5), Action::Look),
        ("KMS", kms(ONE), Action::Look),
        ("held", Head { legal_hold: true, ..head(ONE, 5) }, Action::GiveUp(DeadReason::Locked)),
        ("archived", Head { archived: true, ..head(ONE, 5) }, Action::GiveUp(DeadReason::Archived)),
    ] {
        assert_eq!(decided(&server(), &Seen::Source(source)), action, "{why}");
    }
}

#[test]
fn a_key_that_the_server_may_take_for_another_is_refused_before_any_look() {
    let server = Capabilities { exact_keys: false, ..server() };
    let odd = Intent { odd_key: true, ..INTENT };
    let refused = Action::GiveUp(DeadReason::Unsupported);
    for seen in [Seen::Nothing, both(Some(head(ONE, 5)), None), both(None, None)] {
        assert_eq!(decide(&server, &seen, odd, NOW), refused);
    }
    assert_eq!(decided(&server, &Seen::Nothing), Action::CopyUnseen, "a plain key is exact everywhere");
}

#[test]
fn every_row_of_the_truth_table() {
    let over_copy = Action::Copy(Over::Known(ETag::new(ONE)));
    let conflict = Action::GiveUp(DeadReason::Conflict);
    for (source, copy, versioned, action) in [
        (Some(head(ONE, 5)), None, false, Action::Copy(Over::Nothing)),
        (Some(head(ONE, 5)), Some(head(ONE, 5)), false, over_copy.clone()),
        (Some(head(OTHER, 5)), Some(head(ONE, 5)), false, conflict.clone()),
        (Some(head(OTHER, 5)), Some(head(ONE, 5)), true, over_copy),
        (Some(head(ONE, 5)), Some(head(ONE, 0)), false, conflict),
        (None, Some(head(ONE, 5)), false, Action::AlreadyMoved),
        (None, None, false, Action::Missing),
    ] {
        let server = Capabilities { recycle_versioned: versioned, ..server() };
        let seen = both(source, copy);
        assert_eq!(decided(&server, &seen), action, "{seen:?}");
    }
}

#[test]
fn a_source_is_deleted_only_beside_a_copy_that_this_try_wrote_and_that_is_proven() {
    let over_copy = Action::Copy(Over::Known(ETag::new(ONE)));
    let seen =
        |source, copy, equal, fresh| Seen::Both { source: Some(source), copy: Some(copy), equal, fresh };
    for (seen, action) in [
        (seen(head(ONE, 5), head(ONE, 5), None, true), Action::Delete),
        (seen(head(ONE, 5), head(ONE, 5), None, false), over_copy.clone()),
        (seen(head(ONE_IN_ONE_PART, 5), head(ONE, 5), None, true), Action::Delete),
        (seen(kms(OTHER), head(ONE, 5), None, true), Action::Compare),
        (seen(kms(OTHER), head(ONE, 5), Some(true), true), Action::Delete),
        (seen(kms(OTHER), head(ONE, 5), Some(true), false), over_copy),
        (seen(kms(OTHER), head(ONE, 5), Some(false), true), Action::GiveUp(DeadReason::Conflict)),
        (seen(head(OTHER, 5), head(ONE, 5), None, true), Action::GiveUp(DeadReason::Conflict)),
        (seen(head(ONE, 5), head(ONE, 4), None, true), Action::GiveUp(DeadReason::Conflict)),
    ] {
        assert_eq!(decided(&server(), &seen), action, "{seen:?}");
    }
    let versioned = Capabilities { recycle_versioned: true, ..server() };
    let rewritten = seen(head(OTHER, 5), head(ONE, 5), None, true);
    assert_eq!(decided(&versioned, &rewritten), Action::Copy(Over::Known(ETag::new(ONE))));
}

#[test]
fn what_is_neither_proven_equal_nor_proven_different_is_compared_once() {
    let own_etags = Capabilities { copy_keeps_etag: false, ..server() };
    let archived = Head { archived: true, ..kms(OTHER) };
    let huge = |etag| Head { opaque_etag: true, ..head(etag, MAX_COPY + 1) };
    let conflict = Action::GiveUp(DeadReason::Conflict);
    for (why, server, source, copy, action) in [
        ("KMS", server(), kms(ONE), head(OTHER, 5), Action::Compare),
        ("a copy in one piece", server(), head(IN_PARTS, 5), head(ONE, 5), Action::Compare),
        ("ETags of the server's own", own_etags, head(ONE, 5), head(OTHER, 5), Action::Compare),
        ("two MD5s", server(), head(ONE, 5), head(OTHER, 5), conflict.clone()),
        ("two sizes", server(), kms(ONE), head(OTHER, 6), conflict.clone()),
        ("two checksums", server(), summed("a", kms(ONE)), summed("b", kms(OTHER)), conflict.clone()),
        ("a copy out of reach", server(), kms(ONE), archived, conflict.clone()),
        ("too large to read", server(), huge(ONE), huge(OTHER), conflict.clone()),
    ] {
        let over = Action::Copy(Over::Known(copy.etag.clone()));
        assert_eq!(decided(&server, &both(Some(source.clone()), Some(copy.clone()))), action, "{why}");
        if action == Action::Compare {
            let compared = |equal| Seen::Both {
                source: Some(source.clone()),
                copy: Some(copy.clone()),
                equal: Some(equal),
                fresh: false,
            };
            assert_eq!(decided(&server, &compared(true)), over, "{why}");
            assert_eq!(decided(&server, &compared(false)), conflict, "{why}");
        }
    }
}

#[test]
fn what_cannot_be_deleted_or_copied_is_not_touched_whatever_the_recycle_bucket_holds() {
    let held = Head { legal_hold: true, ..head(ONE, 5) };
    let retained = Head { retained_until: Some(NOW + Duration::SECOND), ..head(ONE, 5) };
    let archived = Head { archived: true, ..head(ONE, 5) };
    let too_large = head(ONE, MAX_OBJECT + 1);
    for (source, reason) in [
        (held, DeadReason::Locked),
        (retained, DeadReason::Locked),
        (archived, DeadReason::Archived),
        (too_large, DeadReason::Unsupported),
    ] {
        for copy in [None, Some(head(ONE, 5)), Some(head(OTHER, 5))] {
            let seen = both(Some(source.clone()), copy);
            assert_eq!(decided(&server(), &seen), Action::GiveUp(reason));
        }
    }
    let over = Head { retained_until: Some(NOW), ..head(ONE, 5) };
    assert_eq!(decided(&server(), &both(Some(over), None)), Action::Copy(Over::Nothing));
}

#[test]
fn only_proof_makes_the_content_the_same() {
    let multipart = head(IN_PARTS, 5);
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
        assert_eq!(same_content(&server(), &source, &copy), same, "{source:?} {copy:?}");
    }
    let ignores = Capabilities { copy_source_if_match: Support::Ignored, ..server() };
    assert!(!same_content(&ignores, &kms(ONE), &noted(ONE)), "it may have copied something else");
    assert!(same_content(&ignores, &head(ONE, 5), &head(ONE, 5)));
}

#[test]
fn keys_that_a_server_may_normalise_are_recognised() {
    for (key, odd) in [
        ("0f8fad5b-d9cb-469f-a165-70867728950e", false),
        ("a/b/c.pdf", false),
        ("a..b/.c", false),
        ("a//b", true),
        ("/a", true),
        ("a/", true),
        ("a/../b", true),
        ("./a", true),
        ("a\\b", true),
    ] {
        assert_eq!(may_be_read_as_another(&ObjectKey::try_from(key).unwrap()), odd, "{key}");
    }
}

//! Files that nothing names any more, and those whose content is elsewhere.

use uuid::Uuid;

use super::made::*;
use super::table;
use crate::db::explain::{FileRow, RowType};
use crate::explain::found::{Environment, Foretold, Found, Hold, Names, Object, Row};
use crate::explain::verdict::{Kind, Would, judge};
use crate::outcome::{DeadReason, Outcome};

#[test]
fn a_dead_file_moves_and_where_its_deletion_waits_is_told() {
    let file = Kind::File;
    let would_move = |change: fn(&mut Found)| {
        ends(Outcome::WouldMove, |it| {
            it.objects = Some(objects(true, false));
            change(it);
        })
    };
    table(vec![
        (
            "waits in the outbox",
            would_move(|it| it.outbox = Some(vec![waits("files", ID, None)])),
            file,
            Would::Move,
            "its deletion has waited in the outbox since",
        ),
        (
            "the grace period keeps it",
            would_move(|it| {
                it.outbox = Some(vec![waits("files", ID, None)]);
                it.environment.as_mut().unwrap().grace_seconds = 900;
            }),
            file,
            Would::Move,
            "where recycle.grace keeps it until 2026-11-25T10:15:00Z",
        ),
        (
            "its message is dead",
            would_move(|it| it.messages = Some(vec![letter(Names::File, 1)])),
            file,
            Would::Move,
            "(conflict): after the repair, file-recycler dlq replay --id 'm-1' --apply",
        ),
        (
            "may be in a queue",
            would_move(|it| it.queues.as_mut().unwrap().wait = 4),
            file,
            Would::Move,
            "among the 4 messages",
        ),
        ("nothing is on its way", would_move(|_| {}), file, Would::Move, "no event about it is on its way"),
        ("the broker is down", would_move(|it| it.queues = None), file, Would::Move, "could not be seen"),
        (
            "copied and not deleted",
            ends(Outcome::WouldMove, |it| it.objects = Some(objects(true, true))),
            file,
            Would::Move,
            "It would move",
        ),
    ]);
}

#[test]
fn a_file_that_has_moved_or_cannot_is_told_with_what_the_ledger_knows() {
    let file = Kind::File;
    let in_recycle = |change: fn(&mut Found)| {
        ends(Outcome::AlreadyMoved, |it| {
            it.objects = Some(objects(false, true));
            change(it);
        })
    };
    let moved = |outcome| Some(vec![noted(outcome, ID, None)]);
    table(vec![
        (
            "recycled by us",
            in_recycle(|it| it.ledger = Some(vec![noted(Outcome::Moved, ID, None)])),
            file,
            Would::Nothing,
            "since 2026-11-22T10:00:00Z (3 days ago), moved by event e-1; nothing would happen",
        ),
        (
            "recycled by the CRM",
            in_recycle(|it| it.ledger = Some(vec![noted(Outcome::AlreadyMoved, ID, None)])),
            file,
            Would::Nothing,
            "the CRM, or an earlier try, had moved it",
        ),
        (
            "recycled by nobody knows",
            in_recycle(|_| {}),
            file,
            Would::Nothing,
            "the ledger does not say by which event",
        ),
        (
            "expired",
            with(|it| it.ledger = moved(Outcome::Moved)),
            file,
            Would::Nothing,
            "it has expired there",
        ),
        (
            "was never there",
            with(|it| it.ledger = moved(Outcome::Missing)),
            file,
            Would::Nothing,
            "found it in neither bucket",
        ),
        (
            "is under another template's key",
            with(|it| it.objects = Some(under_another(true))),
            file,
            Would::Nothing,
            "by storage.key_template '{file_id}', so nothing would move; but the object bucket has an object of it under \
             'AB-1', as '{file_id:upper}' gives it; file-recycler doctor says whether the template is the right one. The ledger has nothing about it.",
        ),
        (
            "was recycled under another template's key",
            with(|it| it.objects = Some(under_another(false))),
            file,
            Would::Nothing,
            "but the recycle bucket has an object of it under 'AB-1'",
        ),
        (
            "only its row is remembered",
            with(|it| it.images = Some(vec![image()])),
            file,
            Would::Nothing,
            "The ledger has nothing about it",
        ),
        (
            "a conflict",
            with(|it| {
                it.objects = Some(objects(true, true));
                it.foretold =
                    Some(Foretold::Fails(Some(DeadReason::Conflict), "other content is there".into()));
                it.messages = Some(vec![letter(Names::File, 1)]);
            }),
            file,
            Would::Stay,
            "(conflict): other content is there. Now its message is in the dead-letter queue",
        ),
        (
            "locked",
            with(|it| {
                it.objects = Some(objects(true, false));
                it.foretold = Some(Foretold::Fails(Some(DeadReason::Locked), "it is locked.".into()));
            }),
            file,
            Would::Stay,
            "(locked): it is locked.",
        ),
    ]);
}

#[test]
fn content_that_is_not_in_s3_stays_and_what_a_migration_left_is_told() {
    let stays = |row: Row, object: bool| {
        ends(Outcome::Elsewhere, |it| {
            it.rows = Some(vec![row]);
            it.objects = Some(objects(object, false));
        })
    };
    let typed = |kind, storage: &str| {
        let Row::File(row) = elsewhere(RowType::File) else { unreachable!("it is a file's") };
        Row::File(FileRow { kind, storage: Some(storage.into()), ..row })
    };
    let marked = |row: Row, by: Uuid| {
        let mut found = stays(row, true);
        found.environment = Some(Environment { id: Some(OWNER), ..environment(None) });
        let both = found.objects.as_mut().unwrap();
        both.object = Some(Object { migrated_by: Some(by.to_string()), ..object() });
        found
    };
    table(vec![
        (
            "in the database",
            stays(elsewhere(RowType::File), false),
            Kind::File,
            Would::Stay,
            "in storage 'Database'",
        ),
        (
            "migrated",
            stays(elsewhere(RowType::File), true),
            Kind::File,
            Would::Stay,
            "as a migration leaves it; it is left alone",
        ),
        (
            "migrated by others",
            marked(elsewhere(RowType::File), OTHER),
            Kind::File,
            Would::Stay,
            "file-recycler migrate --to storage switches the row to it",
        ),
        (
            "our own migration was cut off",
            marked(elsewhere(RowType::File), OWNER),
            Kind::File,
            Would::Stay,
            "file-recycler migrate --to storage goes on where it was cut off",
        ),
        (
            "without a type",
            stays(typed(None, "S3_storage"), true),
            Kind::File,
            Would::Stay,
            "It stays: its row in ContactFile is no file by its type, because its TypeId is empty; its storage is 'S3_storage'. \
             An object under its key is in the object bucket all the same; it is left alone.",
        ),
        (
            "of an unknown type, in the database",
            stays(typed(Some(RowType::Unknown), "Database"), true),
            Kind::File,
            Would::Stay,
            "its TypeId is none that we know; its storage is 'Database'. An object under its key is in the object bucket all the \
             same; it is left alone.",
        ),
        (
            "in another storage",
            stays(typed(Some(RowType::File), "Archive"), true),
            Kind::File,
            Would::Stay,
            "in storage 'Archive'. An object under its key is in the object bucket all the same; it is left alone.",
        ),
        (
            "a web link with an object",
            marked(elsewhere(RowType::WebLink), OWNER),
            Kind::File,
            Would::Stay,
            "all the same; it is left alone.",
        ),
        (
            "a web link",
            stays(elsewhere(RowType::WebLink), false),
            Kind::File,
            Would::Stay,
            "a web link, which has no content",
        ),
        (
            "a link to an entity",
            stays(elsewhere(RowType::EntityLink), false),
            Kind::File,
            Would::Stay,
            "a link to an entity, which has no content",
        ),
    ]);
}

#[test]
fn nobody_at_work_is_told_where_something_would_move_and_nothing_else_holds_it_up() {
    let moves = |hold| {
        ends(Outcome::WouldMove, |it| {
            it.objects = Some(objects(true, false));
            it.environment = Some(environment(hold));
            it.processes = Some(Vec::new());
        })
    };
    let said = |found: &Found| judge(found, NOW).verdict;
    assert!(said(&moves(None)).ends_with("file-recycler run starts one."), "{}", said(&moves(None)));
    assert!(!said(&moves(Some(Hold::Observes))).contains("Nobody"));
    let mut stays = nothing();
    stays.processes = Some(Vec::new());
    assert!(!said(&stays).contains("Nobody"));
}

#[test]
fn what_holds_everything_up_is_told_before_what_would_move() {
    let held = |hold| {
        ends(Outcome::WouldMove, |it| {
            it.objects = Some(objects(true, false));
            it.environment = Some(environment(Some(hold)));
        })
    };
    let paused = || Hold::Paused("the storage moves".into());
    table(vec![
        (
            "paused",
            held(paused()),
            Kind::File,
            Would::Nothing,
            "Nothing would move now because the environment is paused: the storage moves; when it is resumed, it would move",
        ),
        (
            "refused",
            held(Hold::Refused("never adopted".into())),
            Kind::File,
            Would::Nothing,
            "because the guard refuses: never adopted; when that is put right, it would move",
        ),
        (
            "not all asked",
            held(Hold::Unknown("the marker has not been read yet".into())),
            Kind::File,
            Would::Nothing,
            "because the guard could not ask everybody: the marker has not been read yet; when it can, it would move",
        ),
        ("observed", held(Hold::Observes), Kind::File, Would::Nothing, "recycle.mode is observe"),
        (
            "what stays, stays",
            ends(Outcome::Alive, |it| {
                it.rows = Some(vec![row("ContactFile", None)]);
                it.environment = Some(environment(Some(paused())));
            }),
            Kind::File,
            Would::Stay,
            "The file stays",
        ),
    ]);
    assert_eq!(judge(&held(paused()), NOW).then, Some(Would::Move));
    assert_eq!(judge(&nothing(), NOW).then, None);
}

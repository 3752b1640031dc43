//! What changes under the move's hands: the object, the file's liveness, the process itself.

use std::sync::Arc;

use file_recycler::outcome::{Advice, DeadReason, Dependency, Failure, Outcome};
use file_recycler::recycle::Move;
use file_recycler::storage::{Capabilities, Side};
use recycler_test_s3::{Action, Conditions, Operation, Options, Rule, When};

use crate::support::registry::{Ask, Script, job, paths, recycler};
use crate::support::storage::TestStorage;

const KEY: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";

/// Every server on which a rewritten file has to survive, by both paths: with the condition on the delete, and
/// without.
async fn servers() -> Vec<(TestStorage, Capabilities)> {
    let mut servers = Vec::new();
    for path in 0..3 {
        let mut worlds = TestStorage::all().await;
        for conditions in [Conditions::Ignore, Conditions::Refuse] {
            worlds.push(TestStorage::embedded(Options { conditions, ..Options::default() }).await);
        }
        for world in worlds {
            let server = paths(world.storage.probe().await.unwrap())[path];
            servers.push((world, server));
        }
    }
    servers
}

#[tokio::test]
async fn case_12_a_file_rewritten_between_copy_and_delete_survives() {
    for (world, server) in servers().await {
        let (world, script) = (Arc::new(world), Script::default());
        world.put(Side::Object, KEY, b"old").await;
        let recycler = recycler(&world.storage, server, &script);
        let rewrites = Arc::clone(&world);
        script.before_answers(move |ask| {
            let world = Arc::clone(&rewrites);
            Box::pin(async move {
                if ask == Ask::Check(2) {
                    world.put(Side::Object, KEY, b"new").await;
                }
            })
        });
        // The look that follows sees two contents, and leaves both to the operator.
        let failure = recycler.recycle(job(KEY)).await.unwrap_err();
        assert_eq!(failure.advice, Advice::GiveUp(DeadReason::Conflict), "{}", world.name);
        world.holds(KEY, Some(b"new"), Some(b"old")).await;
        assert_eq!(script.ledger(), []);
    }
}

#[tokio::test]
async fn case_46_a_file_that_comes_alive_after_the_copy_is_not_deleted() {
    for (world, server) in servers().await {
        let script = Script::default();
        script.alive_from(KEY, Ask::Check(2));
        world.put(Side::Object, KEY, b"content").await;
        let recycler = recycler(&world.storage, server, &script);
        assert_eq!(recycler.recycle(job(KEY)).await, Ok(Outcome::Alive), "{}", world.name);
        world.holds(KEY, Some(b"content"), Some(b"content")).await;
        assert_eq!(script.ledger(), []);
        assert_eq!(script.alive_after_move(), 0, "its object has never moved");
    }
}

#[tokio::test]
async fn case_46_a_file_that_comes_alive_after_the_delete_is_copied_back_at_once() {
    for (world, server) in servers().await {
        let script = Script::default();
        script.alive_from(KEY, Ask::Note(1));
        world.put(Side::Object, KEY, b"content").await;
        let recycler = recycler(&world.storage, server, &script);
        assert_eq!(recycler.recycle(job(KEY)).await, Ok(Outcome::Alive), "{}", world.name);
        world.holds(KEY, Some(b"content"), Some(b"content")).await;
        assert_eq!(script.alive_after_move(), 1, "an alert is made of it");
    }
}

#[tokio::test]
async fn a_file_that_comes_alive_with_a_newer_object_keeps_the_newer_one() {
    for (world, server) in servers().await {
        let (world, script) = (Arc::new(world), Script::default());
        world.put(Side::Object, KEY, b"old").await;
        script.alive_from(KEY, Ask::Note(1));
        let writes = Arc::clone(&world);
        script.before_answers(move |ask| {
            let world = Arc::clone(&writes);
            Box::pin(async move {
                if ask == Ask::Note(1) {
                    world.put(Side::Object, KEY, b"new").await;
                }
            })
        });
        let recycler = recycler(&world.storage, server, &script);
        assert_eq!(recycler.recycle(job(KEY)).await, Ok(Outcome::Alive), "{}", world.name);
        world.holds(KEY, Some(b"new"), Some(b"old")).await;
    }
}

#[tokio::test]
async fn a_file_found_alive_after_a_failed_note_is_brought_back_by_the_next_try() {
    for world in TestStorage::both().await {
        let (script, away) = (Script::default(), Failure::new(Advice::Outage(Dependency::Database), "away"));
        script.fails(Ask::Note(1), away.clone());
        script.alive_from(KEY, Ask::Check(3));
        world.put(Side::Object, KEY, b"content").await;
        let recycler = recycler(&world.storage, world.storage.probe().await.unwrap(), &script);
        assert_eq!(recycler.recycle(job(KEY)).await, Err(away), "{}", world.name);
        world.holds(KEY, None, Some(b"content")).await;
        assert_eq!(recycler.recycle(job(KEY)).await, Ok(Outcome::Alive), "{}", world.name);
        world.holds(KEY, Some(b"content"), Some(b"content")).await;
    }
}

#[tokio::test]
async fn a_move_that_could_not_be_noted_is_noted_by_the_next_try() {
    for world in TestStorage::both().await {
        let (script, away) = (Script::default(), Failure::new(Advice::Outage(Dependency::Database), "away"));
        script.fails(Ask::Note(1), away.clone());
        world.put(Side::Object, KEY, b"content").await;
        let recycler = recycler(&world.storage, world.storage.probe().await.unwrap(), &script);
        assert_eq!(recycler.recycle(job(KEY)).await, Err(away), "{}", world.name);
        assert_eq!(recycler.recycle(job(KEY)).await, Ok(Outcome::AlreadyMoved), "{}", world.name);
        assert_eq!(script.ledger(), [(KEY.to_owned(), Outcome::AlreadyMoved)]);
    }
}

#[tokio::test]
async fn a_check_that_fails_before_the_delete_deletes_nothing() {
    for world in TestStorage::both().await {
        let (script, away) = (Script::default(), Failure::new(Advice::Outage(Dependency::Database), "away"));
        script.fails(Ask::Check(2), away.clone());
        world.put(Side::Object, KEY, b"content").await;
        let recycler = recycler(&world.storage, world.storage.probe().await.unwrap(), &script);
        assert_eq!(recycler.recycle(job(KEY)).await, Err(away), "{}", world.name);
        world.holds(KEY, Some(b"content"), Some(b"content")).await;
        assert_eq!(recycler.recycle(job(KEY)).await, Ok(Outcome::Moved), "{}", world.name);
        world.holds(KEY, None, Some(b"content")).await;
    }
}

/// Somebody writes the copy's key after the look, or without one: a conflict, or its content is lost.
#[tokio::test]
async fn an_object_that_appears_in_the_recycle_bucket_is_never_overwritten() {
    for (world, server) in servers().await {
        let (world, script) = (Arc::new(world), Script::default());
        world.put(Side::Object, KEY, b"ours").await;
        world.put(Side::Recycle, KEY, b"theirs").await;
        let recycler = recycler(&world.storage, server, &script);
        let failure = recycler.recycle(job(KEY)).await.unwrap_err();
        assert_eq!(failure.advice, Advice::GiveUp(DeadReason::Conflict), "{}", world.name);
        world.holds(KEY, Some(b"ours"), Some(b"theirs")).await;
    }
}

/// The look found one content, and the copy would take another.
#[tokio::test]
async fn a_source_that_changes_before_the_copy_is_not_taken_for_the_one_that_was_looked_at() {
    let world = TestStorage::embedded(Options::default()).await;
    let server = paths(world.storage.probe().await.unwrap())[1];
    world.put(Side::Object, KEY, b"old").await;
    let recycler = recycler(&world.storage, server, &Script::default());
    world.control().fault(Rule::new(Operation::CopyObject, Action::Hold { when: When::Before }).times(1));
    let moving = tokio::spawn(async move { recycler.recycle(job(KEY)).await });
    world.control().held().await;
    world.put(Side::Object, KEY, b"new").await;
    // Lets it go.
    world.control().reset();
    assert_eq!(moving.await.unwrap(), Ok(Outcome::Moved));
    world.holds(KEY, None, Some(b"new")).await;
    assert_eq!(world.control().counts().answered(Operation::CopyObject, 412), 1, "the first copy is refused");
}

/// A conditional copy and a delete that were done, and whose answers were lost, are repeated: by us, or by the SDK.
#[tokio::test]
async fn case_50_a_repeated_copy_or_delete_is_no_conflict() {
    for operation in [Operation::CopyObject, Operation::DeleteObjects] {
        for path in 0..3 {
            let world = TestStorage::embedded(Options::default()).await;
            let server = paths(world.storage.probe().await.unwrap())[path];
            world.put(Side::Object, KEY, b"content").await;
            let lost = Action::Close { when: When::After };
            world.control().fault(Rule::new(operation, lost).key(KEY).times(1));
            let (recycler, one) =
                (recycler(&world.storage, server, &Script::default()), Move::from(job(KEY)));
            let mut ended = recycler.attempt(&one).await;
            if let Err(failure) = &ended {
                assert_eq!(failure.advice, Advice::Retry, "{failure}");
                ended = recycler.attempt(&one).await;
            }
            assert_eq!(ended, Ok(Outcome::Moved), "{operation:?}");
            world.holds(KEY, None, Some(b"content")).await;
        }
    }
}

/// The copy was made, only its answer was lost: our own copy is no conflict.
#[tokio::test]
async fn case_50_a_copy_whose_answer_was_lost_is_not_taken_for_a_conflict() {
    for opaque_etags in [false, true] {
        let world = TestStorage::embedded(Options { opaque_etags, ..Options::default() }).await;
        let server = world.storage.probe().await.unwrap();
        world.put(Side::Object, KEY, b"content").await;
        let lost = Action::Close { when: When::After };
        world.control().fault(Rule::new(Operation::CopyObject, lost).key(KEY).times(1));
        let recycler = recycler(&world.storage, server, &Script::default());
        assert_eq!(recycler.recycle(job(KEY)).await.unwrap_err().advice, Advice::Retry);
        world.holds(KEY, Some(b"content"), Some(b"content")).await;
        assert_eq!(recycler.recycle(job(KEY)).await, Ok(Outcome::Moved));
        world.holds(KEY, None, Some(b"content")).await;
    }
}

#[tokio::test]
async fn case_50_a_delete_whose_answer_was_lost_is_already_moved_at_the_next_try() {
    let world = TestStorage::embedded(Options::default()).await;
    let server = world.storage.probe().await.unwrap();
    world.put(Side::Object, KEY, b"content").await;
    let lost = Action::Close { when: When::After };
    world.control().fault(Rule::new(Operation::DeleteObjects, lost).key(KEY).times(1));
    let recycler = recycler(&world.storage, server, &Script::default());
    let failure = recycler.recycle(job(KEY)).await.unwrap_err();
    assert!(matches!(failure.advice, Advice::Retry | Advice::Outage(Dependency::Storage)), "{failure}");
    assert_eq!(recycler.recycle(job(KEY)).await, Ok(Outcome::AlreadyMoved));
    world.holds(KEY, None, Some(b"content")).await;
}

#[tokio::test]
async fn case_50_concurrent_writers_of_one_copy_are_looked_at_again() {
    let world = TestStorage::embedded(Options::default()).await;
    let server = world.storage.probe().await.unwrap();
    world.put(Side::Object, KEY, b"content").await;
    let conflict = |code: &str, status| Action::Status { status, code: code.to_owned(), when: When::Before };
    let copy = |action| Rule::new(Operation::CopyObject, action).key(KEY).times(1);
    world.control().fault(copy(conflict("ConditionalRequestConflict", 409)));
    world.control().fault(copy(conflict("PreconditionFailed", 412)));
    let recycler = recycler(&world.storage, server, &Script::default());
    assert_eq!(recycler.recycle(job(KEY)).await, Ok(Outcome::Moved));
    world.holds(KEY, None, Some(b"content")).await;
}

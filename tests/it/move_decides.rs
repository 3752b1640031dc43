//! The move of a file by the truth table, on the server that others wrote and on the embedded one.

use std::time::Duration;

use aws_sdk_s3::types::{
    BucketVersioningStatus, ObjectLockLegalHold, ObjectLockLegalHoldStatus, Tag, Tagging,
    VersioningConfiguration,
};
use file_recycler::config::Mode;
use file_recycler::outcome::{Advice, DeadReason, Failure, Outcome};
use file_recycler::storage::{Capabilities, Side};
use futures_util::future::join_all;
use recycler_test_s3::{Action, Operation, Options, Rule, When};

use crate::support::parts::put_in_parts;
use crate::support::registry::{Ask, Script, job, job_of, recycler, recycler_in};
use crate::support::storage::{TestStorage, connect};

const KEY: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";

async fn recycle(world: &TestStorage, script: &Script, key: &str) -> Result<Outcome, Failure> {
    let server = world.storage.probe().await.unwrap();
    recycler(&world.storage, server, script).recycle(job(key)).await
}

#[tokio::test]
async fn a_dead_files_object_moves_and_is_noted() {
    for world in TestStorage::both().await {
        let script = Script::default();
        world.put(Side::Object, KEY, b"content").await;
        assert_eq!(recycle(&world, &script, KEY).await, Ok(Outcome::Moved), "{}", world.name);
        world.holds(KEY, None, Some(b"content")).await;
        let entry = &script.entries()[0];
        assert_eq!((entry.outcome, entry.size, entry.etag.is_some()), (Outcome::Moved, Some(7), true));
    }
}

#[tokio::test]
async fn an_empty_object_moves() {
    for world in TestStorage::both().await {
        world.put(Side::Object, KEY, b"").await;
        assert_eq!(recycle(&world, &Script::default(), KEY).await, Ok(Outcome::Moved), "{}", world.name);
        world.holds(KEY, None, Some(b"")).await;
    }
}

#[tokio::test]
async fn case_08_content_type_metadata_and_tags_survive_the_move() {
    for world in TestStorage::both().await {
        world.put(Side::Object, KEY, b"content").await;
        let put = world.client.put_object().bucket(&world.object).key(KEY).body(b"content".to_vec().into());
        put.content_type("text/x-test").metadata("colour", "blue").tagging("a=b").send().await.unwrap();
        assert_eq!(recycle(&world, &Script::default(), KEY).await, Ok(Outcome::Moved));
        let head = world.client.head_object().bucket(&world.recycle).key(KEY).send().await.unwrap();
        assert_eq!(head.content_type(), Some("text/x-test"));
        assert_eq!(head.metadata().unwrap()["colour"], "blue");
        let tags = world.client.get_object_tagging().bucket(&world.recycle).key(KEY).send().await.unwrap();
        assert_eq!(tags.tag_set(), [Tag::builder().key("a").value("b").build().unwrap()]);
    }
}

#[tokio::test]
async fn a_living_files_object_is_left_alone() {
    for world in TestStorage::both().await {
        let script = Script::default();
        script.alive_from(KEY, Ask::Check(1));
        world.put(Side::Object, KEY, b"content").await;
        assert_eq!(recycle(&world, &script, KEY).await, Ok(Outcome::Alive), "{}", world.name);
        world.holds(KEY, Some(b"content"), None).await;
        assert_eq!(script.ledger(), []);
    }
}

#[tokio::test]
async fn case_10_other_content_in_the_recycle_bucket_is_a_conflict_and_nothing_is_touched() {
    for world in TestStorage::both().await {
        world.put(Side::Object, KEY, b"the new one").await;
        world.put(Side::Recycle, KEY, b"an old one").await;
        let failure = recycle(&world, &Script::default(), KEY).await.unwrap_err();
        assert_eq!(failure.advice, Advice::GiveUp(DeadReason::Conflict), "{}", world.name);
        world.holds(KEY, Some(b"the new one"), Some(b"an old one")).await;
    }
}

#[tokio::test]
async fn other_content_in_a_versioned_recycle_bucket_gets_the_new_copy_on_top() {
    for world in TestStorage::both().await {
        let versioned = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
        let request = world.client.put_bucket_versioning().bucket(&world.recycle);
        request.versioning_configuration(versioned).send().await.unwrap();
        world.put(Side::Object, KEY, b"the new one").await;
        world.put(Side::Recycle, KEY, b"an old one").await;
        assert_eq!(recycle(&world, &Script::default(), KEY).await, Ok(Outcome::Moved), "{}", world.name);
        world.holds(KEY, None, Some(b"the new one")).await;
        let versions = world.client.list_object_versions().bucket(&world.recycle).prefix(KEY);
        assert_eq!(versions.send().await.unwrap().versions().len(), 2, "{}", world.name);
    }
}

/// Garage names a version for every object, and keeps none: what is written on top is lost.
#[tokio::test]
async fn versions_that_a_server_names_and_does_not_keep_are_no_reason_to_write_on_top() {
    let world = TestStorage::embedded(Options { made_up_versions: true, ..Options::default() }).await;
    let put = world.client.put_object().bucket(&world.recycle).key(KEY).body(b"an old one".to_vec().into());
    assert!(put.send().await.unwrap().version_id.is_some());
    world.put(Side::Object, KEY, b"the new one").await;
    let failure = recycle(&world, &Script::default(), KEY).await.unwrap_err();
    assert_eq!(failure.advice, Advice::GiveUp(DeadReason::Conflict));
    world.holds(KEY, Some(b"the new one"), Some(b"an old one")).await;
}

#[tokio::test]
async fn case_18_the_latest_version_moves_out_of_a_versioned_bucket_and_a_delete_marker_stays() {
    for world in TestStorage::both().await {
        let versioned = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
        let request = world.client.put_bucket_versioning().bucket(&world.object);
        request.versioning_configuration(versioned).send().await.unwrap();
        world.put(Side::Object, KEY, b"first").await;
        world.put(Side::Object, KEY, b"latest").await;
        assert_eq!(recycle(&world, &Script::default(), KEY).await, Ok(Outcome::Moved), "{}", world.name);
        world.holds(KEY, None, Some(b"latest")).await;
        let versions = world.client.list_object_versions().bucket(&world.object).prefix(KEY);
        let versions = versions.send().await.unwrap();
        assert_eq!((versions.versions().len(), versions.delete_markers().len()), (2, 1), "{}", world.name);

        world.delete(Side::Recycle, KEY).await;
        let again = recycle(&world, &Script::default(), KEY).await;
        assert_eq!(again, Ok(Outcome::Missing), "{}: a delete marker is no object", world.name);
    }
}

#[tokio::test]
async fn case_11_the_same_content_in_the_recycle_bucket_is_renewed_and_then_the_source_goes() {
    for world in TestStorage::both().await {
        world.put(Side::Object, KEY, b"content").await;
        world.put(Side::Recycle, KEY, b"content").await;
        let before = world.client.head_object().bucket(&world.recycle).key(KEY).send().await.unwrap();
        let before = before.last_modified().unwrap().secs();
        // Times of objects are in whole seconds: wait for the next one.
        while time::OffsetDateTime::now_utc().unix_timestamp() <= before {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(recycle(&world, &Script::default(), KEY).await, Ok(Outcome::Moved), "{}", world.name);
        world.holds(KEY, None, Some(b"content")).await;
        let after = world.client.head_object().bucket(&world.recycle).key(KEY).send().await.unwrap();
        assert!(after.last_modified().unwrap().secs() > before, "{}: retention starts again", world.name);
    }
}

#[tokio::test]
async fn what_the_crm_moved_itself_is_already_moved() {
    for world in TestStorage::both().await {
        let script = Script::default();
        world.put(Side::Recycle, KEY, b"content").await;
        assert_eq!(recycle(&world, &script, KEY).await, Ok(Outcome::AlreadyMoved), "{}", world.name);
        world.holds(KEY, None, Some(b"content")).await;
        assert_eq!(script.ledger(), [(KEY.to_owned(), Outcome::AlreadyMoved)]);
    }
}

#[tokio::test]
async fn case_49_a_file_in_neither_bucket_is_missing_and_the_environment_was_confirmed_before() {
    for world in TestStorage::both().await {
        let script = Script::default();
        assert_eq!(recycle(&world, &script, KEY).await, Ok(Outcome::Missing), "{}", world.name);
        assert_eq!(script.environment_asked(), 1);
        assert_eq!(script.ledger(), [(KEY.to_owned(), Outcome::Missing)]);

        let doubt = Failure::new(Advice::Retry, "another environment");
        script.fails(Ask::Environment, doubt.clone());
        assert_eq!(recycle(&world, &script, KEY).await, Err(doubt), "{}", world.name);
        assert_eq!(script.ledger().len(), 1);
    }
}

#[tokio::test]
async fn to_observe_touches_nothing() {
    for world in TestStorage::both().await {
        world.put(Side::Object, KEY, b"content").await;
        let (script, server) = (Script::default(), world.storage.probe().await.unwrap());
        let observer = recycler_in(&world.storage, server, &script, Mode::Observe);
        assert_eq!(observer.recycle(job(KEY)).await, Ok(Outcome::WouldMove), "{}", world.name);
        world.holds(KEY, Some(b"content"), None).await;
    }
}

#[tokio::test]
async fn case_16_one_bad_file_among_five_hundred_is_the_only_one_that_stays() {
    let world = TestStorage::embedded(Options::default()).await;
    let server = world.storage.probe().await.unwrap();
    let keys: Vec<String> = (0..500).map(|n| format!("file-{n}")).collect();
    for key in &keys {
        world.control().put(&world.object, key, "content");
    }
    let error = Action::KeyError { code: "InternalError".to_owned(), when: When::Before };
    world.control().fault(Rule::new(Operation::DeleteObjects, error).key("file-77"));
    let recycler = recycler(&world.storage, server, &Script::default());
    let outcomes = join_all(keys.iter().map(|key| recycler.recycle(job(key)))).await;
    for (key, outcome) in keys.iter().zip(outcomes) {
        match key.as_str() {
            "file-77" => assert_eq!(outcome.unwrap_err().advice, Advice::Retry),
            _ => assert_eq!(outcome, Ok(Outcome::Moved), "{key}"),
        }
    }
    assert_eq!(world.control().keys(&world.object), ["file-77"]);
    assert_eq!(world.control().keys(&world.recycle).len(), 500);
    world.control().clear_faults();
    assert_eq!(recycler.recycle(job("file-77")).await, Ok(Outcome::Moved), "retried alone");
}

#[tokio::test]
async fn five_hundred_files_move_on_the_server_that_others_wrote() {
    let world = TestStorage::foreign().await;
    let server = world.storage.probe().await.unwrap();
    let keys: Vec<String> = (0..500).map(|n| format!("file-{n}")).collect();
    join_all(keys.iter().map(|key| world.put(Side::Object, key, key.as_bytes()))).await;
    let recycler = recycler(&world.storage, server, &Script::default());
    for outcome in join_all(keys.iter().map(|key| recycler.recycle(job(key)))).await {
        assert_eq!(outcome, Ok(Outcome::Moved));
    }
    assert_eq!(world.keys(Side::Object).await, Vec::<String>::new());
    assert_eq!(world.keys(Side::Recycle).await.len(), 500);
}

#[tokio::test]
async fn case_08_an_object_of_several_parts_moves_part_by_part_with_its_metadata_and_its_tags() {
    const MIB: usize = 1024 * 1024;
    for world in TestStorage::both().await {
        let parts = [vec![b'a'; 6 * MIB], vec![b'b'; 6 * MIB], vec![b'c'; MIB]];
        put_in_parts(&world, KEY, &parts).await;
        let source = world.client.head_object().bucket(&world.object).key(KEY).send().await.unwrap();
        let recycler = recycler(&world.storage, world.storage.probe().await.unwrap(), &Script::default());
        let size = parts.concat().len() as u64;
        let outcome = recycler.recycle(job_of(KEY, Some(size))).await;
        assert_eq!(outcome, Ok(Outcome::Moved), "{}", world.name);
        assert_eq!(world.get(Side::Object, KEY).await, None);
        assert!(world.get(Side::Recycle, KEY).await.unwrap() == parts.concat());
        let copy = world.client.head_object().bucket(&world.recycle).key(KEY).send().await.unwrap();
        // The other server's parts have ETags of their own when they are copied: there, the note in the
        // copy's metadata is the proof.
        let noted = copy.metadata().unwrap()["fr-source-etag"].as_str();
        assert_eq!(Some(noted), source.e_tag().map(|etag| etag.trim_matches('"')));
        if world.name == "embedded" {
            assert_eq!(copy.e_tag(), source.e_tag());
        }
        assert_eq!(copy.content_type(), Some("text/x-test"));
        assert_eq!(copy.metadata().unwrap()["colour"], "blue");
        let tags = world.client.get_object_tagging().bucket(&world.recycle).key(KEY).send().await.unwrap();
        let tag = |key: &str, value: &str| Tag::builder().key(key).value(value).build().unwrap();
        let tags = Tagging::builder().set_tag_set(Some(tags.tag_set)).build().unwrap();
        assert_eq!(tags.tag_set(), [tag("a", "b"), tag("c d", "e")], "{}", world.name);
    }
}

#[tokio::test]
async fn an_object_uploaded_in_a_single_part_is_proven_by_arithmetic() {
    for world in TestStorage::both().await {
        put_in_parts(&world, KEY, &[b"content".to_vec()]).await;
        assert_eq!(recycle(&world, &Script::default(), KEY).await, Ok(Outcome::Moved), "{}", world.name);
        world.holds(KEY, None, Some(b"content")).await;
    }
}

/// A copy made without a look may lack what only a look tells of (the encryption under the customer's key): where
/// its source turns out to be unusual, it is made again from what was seen.
#[tokio::test]
async fn case_08_a_copy_without_a_look_of_an_unusual_source_is_made_again_after_one() {
    let world = TestStorage::embedded(Options::default()).await;
    put_in_parts(&world, KEY, &[b"content".to_vec()]).await;
    let server = world.storage.probe().await.unwrap();
    world.control().reset();
    let outcome = recycler(&world.storage, server, &Script::default()).recycle(job(KEY)).await;
    assert_eq!(outcome, Ok(Outcome::Moved));
    assert_eq!(world.control().counts().of(Operation::CopyObject), 2);
    world.holds(KEY, None, Some(b"content")).await;
}

#[tokio::test]
async fn objects_whose_etags_say_nothing_move_and_a_repeated_move_knows_its_own_copy() {
    let world = TestStorage::embedded(Options { opaque_etags: true, ..Options::default() }).await;
    let server = world.storage.probe().await.unwrap();
    assert!(!server.copy_keeps_etag);
    let (script, failure) = (Script::default(), Failure::new(Advice::Retry, "the database is away"));
    world.put(Side::Object, KEY, b"content").await;
    // The copy is made, the second question fails: the next try finds source and copy.
    script.fails(Ask::Check(2), failure.clone());
    let recycler = recycler(&world.storage, server, &script);
    assert_eq!(recycler.recycle(job(KEY)).await, Err(failure));
    world.holds(KEY, Some(b"content"), Some(b"content")).await;
    assert_eq!(recycler.recycle(job(KEY)).await, Ok(Outcome::Moved));
    world.holds(KEY, None, Some(b"content")).await;

    // Somebody else's copy is read: an equal one is renewed, another of the same size is a conflict.
    for (key, copy) in [("equal", &b"content"[..]), ("other", b"CONTENT")] {
        world.put(Side::Object, key, b"content").await;
        world.put(Side::Recycle, key, copy).await;
    }
    assert_eq!(recycler.recycle(job("equal")).await, Ok(Outcome::Moved));
    world.holds("equal", None, Some(b"content")).await;
    let failure = recycler.recycle(job("other")).await.unwrap_err();
    assert_eq!(failure.advice, Advice::GiveUp(DeadReason::Conflict));
    world.holds("other", Some(b"content"), Some(b"CONTENT")).await;
}

#[tokio::test]
async fn case_17_an_object_under_a_legal_hold_is_given_up_at_once_and_moves_when_it_is_free() {
    let mut world = TestStorage::foreign().await;
    let remove = world.client.delete_bucket().bucket(&world.object).send().await;
    remove.unwrap();
    let create = world.client.create_bucket().bucket(&world.object);
    create.object_lock_enabled_for_bucket(true).send().await.unwrap();
    world.storage = connect(&world.settings(), Mode::Move).await;
    world.put(Side::Object, KEY, b"content").await;
    for (status, outcome) in [
        (ObjectLockLegalHoldStatus::On, Err(Advice::GiveUp(DeadReason::Locked))),
        (ObjectLockLegalHoldStatus::Off, Ok(Outcome::Moved)),
    ] {
        let hold = ObjectLockLegalHold::builder().status(status).build();
        let put = world.client.put_object_legal_hold().bucket(&world.object).key(KEY);
        put.legal_hold(hold).send().await.unwrap();
        let result = recycle(&world, &Script::default(), KEY).await;
        assert_eq!(result.map_err(|failure| failure.advice), outcome);
    }
    world.holds(KEY, None, Some(b"content")).await;
}

/// A move relies on nothing that the server does not keep.
#[tokio::test]
async fn files_move_on_servers_that_ignore_or_refuse_conditions() {
    for conditions in [recycler_test_s3::Conditions::Ignore, recycler_test_s3::Conditions::Refuse] {
        let world = TestStorage::embedded(Options { conditions, ..Options::default() }).await;
        world.put(Side::Object, KEY, b"content").await;
        let server: Capabilities = world.storage.probe().await.unwrap();
        let recycler = recycler(&world.storage, server, &Script::default());
        assert_eq!(recycler.recycle(job(KEY)).await, Ok(Outcome::Moved), "{conditions:?}");
        world.holds(KEY, None, Some(b"content")).await;
        world.put(Side::Object, KEY, b"content").await;
        assert_eq!(recycler.recycle(job(KEY)).await, Ok(Outcome::Moved), "renewed, {conditions:?}");
        world.holds(KEY, None, Some(b"content")).await;
    }
}

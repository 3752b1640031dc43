//! Keys that a careless client spoils: each moves to the byte, or is refused with its object untouched.

use file_recycler::file::{NameError, ObjectKey};
use file_recycler::outcome::{Advice, DeadReason, Outcome};
use file_recycler::storage::Side;

use crate::support::registry::{Script, job, recycler};
use crate::support::storage::TestStorage;

#[tokio::test]
async fn case_04_keys_with_special_characters_move_to_the_byte() {
    let long = "ж".repeat(100);
    for world in TestStorage::all().await {
        let recycler = recycler(&world.storage, world.storage.probe().await.unwrap(), &Script::default());
        for key in
            ["a b+c", "a%20b", "a%2Fb", "a?versionId=1&b", "Привет", "🙂", "x/y#z", "a'b\"c<d>&e", &long]
        {
            world.put(Side::Object, key, key.as_bytes()).await;
            assert_eq!(recycler.recycle(job(key)).await, Ok(Outcome::Moved), "{}: {key}", world.name);
            world.holds(key, None, Some(key.as_bytes())).await;
        }
    }
}

#[tokio::test]
async fn case_04_a_key_of_the_greatest_length_moves() {
    let world = TestStorage::embedded(recycler_test_s3::Options::default()).await;
    let key = "k".repeat(1_024);
    world.put(Side::Object, &key, b"content").await;
    let recycler = recycler(&world.storage, world.storage.probe().await.unwrap(), &Script::default());
    assert_eq!(recycler.recycle(job(&key)).await, Ok(Outcome::Moved));
    world.holds(&key, None, Some(b"content")).await;
}

/// AWS keeps such keys apart; other servers read them as other keys, or refuse them.
#[tokio::test]
async fn case_04_keys_that_a_server_normalises_move_to_the_byte_or_are_refused_with_nothing_touched() {
    for world in TestStorage::all().await {
        let recycler = recycler(&world.storage, world.storage.probe().await.unwrap(), &Script::default());
        for key in ["a//b", "/lead", "x/../y", "p/./q", "back\\slash"] {
            let put = world.client.put_object().bucket(&world.object).key(key);
            if put.body(key.as_bytes().to_vec().into()).send().await.is_err() {
                continue;
            }
            let (before, exact) = (world.keys(Side::Object).await, world.name != "SeaweedFS");
            match recycler.recycle(job(key)).await {
                Ok(Outcome::Moved) => world.holds(key, None, Some(key.as_bytes())).await,
                Err(failure) if !exact => {
                    assert_eq!(failure.advice, Advice::GiveUp(DeadReason::Unsupported), "{key}: {failure}");
                    assert_eq!(world.keys(Side::Object).await, before, "{key}");
                }
                other => panic!("{}: {key}: {other:?}", world.name),
            }
        }
    }
}

#[tokio::test]
async fn case_04_a_living_neighbour_of_a_key_that_a_server_normalises_stays() {
    for world in TestStorage::all().await {
        let recycler = recycler(&world.storage, world.storage.probe().await.unwrap(), &Script::default());
        world.put(Side::Object, "folder/living", b"content").await;
        for key in ["folder//living", "/folder/living", "folder/./living", "x/../folder/living"] {
            // Whatever the outcome is, it is none of the neighbour's.
            let outcome = recycler.recycle(job(key)).await;
            assert_ne!(outcome, Ok(Outcome::Moved), "{}: {key}", world.name);
            world.holds("folder/living", Some(b"content"), None).await;
        }
    }
}

#[test]
fn case_04_keys_of_nothing_but_dots_and_slashes_and_empty_ones_are_no_keys() {
    assert_eq!(ObjectKey::try_from(""), Err(NameError::Empty));
    for key in [".", "..", "/", "//", "../.."] {
        assert_eq!(ObjectKey::try_from(key), Err(NameError::DotsAndSlashes), "{key}");
    }
}

//! What the probe finds out about servers, and that it leaves nothing behind.

use file_recycler::config::{Mode, Storage as Settings};
use file_recycler::file::Bucket;
use file_recycler::outcome::{Advice, Dependency};
use file_recycler::storage::{Expected, Kind, Side, Support};
use recycler_test_s3::{Action, Conditions, Operation, Options, Rule, When};

use crate::support::storage::{TestStorage, connect};

#[tokio::test]
async fn what_a_server_keeps_is_found_out_and_nothing_is_left_behind() {
    for (conditions, expected) in [
        (Conditions::Honour, Support::Honoured),
        (Conditions::Ignore, Support::Ignored),
        (Conditions::Refuse, Support::Refused),
    ] {
        let world = TestStorage::embedded(Options { conditions, ..Options::default() }).await;
        let server = world.storage.probe().await.unwrap();
        let found = [server.copy_if_none_match, server.copy_if_match, server.delete_if_match];
        assert_eq!(found, [expected; 3], "{conditions:?}");
        assert_eq!(server.copy_source_if_match, Support::Honoured);
        assert!(
            server.exact_keys
                && server.copy_keeps_etag
                && !server.object_versioned
                && !server.recycle_versioned
        );
        for side in [Side::Object, Side::Recycle] {
            assert_eq!(world.keys(side).await, Vec::<String>::new(), "{conditions:?}, {side}");
        }
    }
}

#[tokio::test]
async fn the_server_that_others_wrote_keeps_the_conditions_of_the_move() {
    let world = TestStorage::foreign().await;
    let server = world.storage.probe().await.unwrap();
    assert_eq!(server.copy_if_none_match, Support::Honoured);
    assert!(!server.exact_keys, "it reads a//b as a/b");
    assert_eq!(server.copy_source_if_match, Support::Honoured);
    assert_eq!(server.delete_if_match, Support::Honoured);
    for side in [Side::Object, Side::Recycle] {
        assert_eq!(world.keys(side).await, Vec::<String>::new(), "{side}");
    }
}

#[tokio::test]
async fn a_bucket_that_does_not_exist_is_an_outage() {
    for world in TestStorage::both().await {
        for (object, recycle) in [("none-such", world.recycle.as_str()), (world.object.as_str(), "none-such")]
        {
            let buckets = Some((Bucket::new(object), Bucket::new(recycle)));
            let storage = connect(&Settings { buckets, ..world.settings() }, Mode::Move).await;
            for error in [storage.check().await.unwrap_err(), storage.probe().await.unwrap_err()] {
                assert_eq!(error.advice(), Advice::Outage(Dependency::Storage), "{}: {error}", world.name);
            }
        }
    }
}

#[tokio::test]
async fn case_15_keys_that_are_revoked_are_an_outage_and_never_in_an_error() {
    for world in TestStorage::both().await {
        let credentials = file_recycler::config::Credentials::Keys {
            access_key: "revoked-key".to_owned().into(),
            secret_key: "hidden-secret".to_owned().into(),
        };
        let storage = connect(&Settings { credentials, ..world.settings() }, Mode::Move).await;
        let error = storage.probe().await.unwrap_err();
        assert_eq!(error.advice(), Advice::Outage(Dependency::Storage), "{}: {error}", world.name);
        let shown = format!("{error} {error:?} {storage:?}");
        assert!(!shown.contains("hidden") && !shown.contains("revoked"), "{shown}");
    }
}

#[tokio::test]
async fn credentials_that_may_not_delete_are_found_at_the_probe() {
    let world = TestStorage::embedded(Options::default()).await;
    let denied = Action::KeyError { code: "AccessDenied".to_owned(), when: When::Before };
    world.control().fault(Rule::new(Operation::DeleteObjects, denied).bucket(&world.object));
    assert_eq!(world.storage.probe().await.unwrap_err().kind, Kind::AccessDenied);
}

#[tokio::test]
async fn the_marker_is_written_only_over_what_was_expected() {
    for conditions in [None, Some(Conditions::Honour), Some(Conditions::Ignore)] {
        let world = match conditions {
            Some(conditions) => TestStorage::embedded(Options { conditions, ..Options::default() }).await,
            None => TestStorage::foreign().await,
        };
        let (storage, server) = (&world.storage, world.storage.probe().await.unwrap());
        assert_eq!(storage.marker().await, Ok(None));
        let first = storage.put_marker(b"1".to_vec(), &Expected::Absent, &server).await.unwrap();
        let second = storage.put_marker(b"2".to_vec(), &Expected::Unchanged(first.clone()), &server).await;
        let second = second.unwrap();
        for expected in [Expected::Absent, Expected::Unchanged(first)] {
            let error = storage.put_marker(b"3".to_vec(), &expected, &server).await.unwrap_err();
            assert_eq!(error.kind, Kind::PreconditionFailed, "{conditions:?} {expected:?}");
        }
        let marker = storage.marker().await.unwrap().unwrap();
        assert_eq!((marker.bytes, marker.etag), (b"2".to_vec(), second));
    }
}

//! The cases of the truth table, of outages, and of versions.

use std::sync::Arc;

use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use file_recycler::config::{Credentials, Mode, Storage as Settings};
use file_recycler::file::Bucket;
use file_recycler::outcome::{Advice, DeadReason, Dependency, Failure, Outcome};
use file_recycler::storage::Side;

use super::Finding;
use crate::support::registry::{Ask, Script, job, recycler};
use crate::support::servers::Server;
use crate::support::storage::{TestStorage, connect};

pub const KEY: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";
const OUTAGE: Advice = Advice::Outage(Dependency::Storage);

/// One try of the file under `KEY`.
pub async fn recycle(world: &TestStorage, script: &Script) -> Result<Outcome, Failure> {
    let server = world.storage.probe().await.unwrap();
    recycler(&world.storage, server, script).recycle(job(KEY)).await
}

pub async fn probe_leaves_nothing(server: Server) -> Finding {
    let world = server.world().await;
    world.storage.probe().await.unwrap();
    for side in [Side::Object, Side::Recycle] {
        assert_eq!(world.keys(side).await, Vec::<String>::new(), "{side}");
    }
    Finding::Passed
}

pub async fn moves(server: Server) -> Finding {
    let (world, script) = (server.world().await, Script::default());
    world.put(Side::Object, KEY, b"content").await;
    assert_eq!(recycle(&world, &script).await, Ok(Outcome::Moved));
    world.holds(KEY, None, Some(b"content")).await;
    let entries = script.entries();
    assert_eq!(entries.len(), 1);
    assert_eq!((entries[0].outcome, entries[0].size), (Outcome::Moved, Some(7)));
    Finding::Passed
}

pub async fn moves_nothing_at_all(server: Server) -> Finding {
    let world = server.world().await;
    world.put(Side::Object, KEY, b"").await;
    assert_eq!(recycle(&world, &Script::default()).await, Ok(Outcome::Moved));
    world.holds(KEY, None, Some(b"")).await;
    Finding::Passed
}

/// The copy is written anew, so that its retention begins again: it comes with the source's metadata.
pub async fn renews(server: Server) -> Finding {
    let world = server.world().await;
    for (bucket, from) in [(&world.object, "source"), (&world.recycle, "before")] {
        let put = world.client.put_object().bucket(bucket).key(KEY).metadata("from", from);
        put.body(b"content".to_vec().into()).send().await.unwrap();
    }
    assert_eq!(recycle(&world, &Script::default()).await, Ok(Outcome::Moved));
    world.holds(KEY, None, Some(b"content")).await;
    let copy = world.client.head_object().bucket(&world.recycle).key(KEY).send().await.unwrap();
    assert_eq!(copy.metadata().unwrap()["from"], "source", "the copy is the one from before");
    Finding::Passed
}

pub async fn conflict(server: Server) -> Finding {
    let world = server.world().await;
    world.put(Side::Object, KEY, b"the new one").await;
    world.put(Side::Recycle, KEY, b"an old one").await;
    let failure = recycle(&world, &Script::default()).await.unwrap_err();
    assert_eq!(failure.advice, Advice::GiveUp(DeadReason::Conflict), "{failure}");
    world.holds(KEY, Some(b"the new one"), Some(b"an old one")).await;
    Finding::Passed
}

pub async fn already_moved(server: Server) -> Finding {
    let (world, script) = (server.world().await, Script::default());
    world.put(Side::Recycle, KEY, b"content").await;
    assert_eq!(recycle(&world, &script).await, Ok(Outcome::AlreadyMoved));
    world.holds(KEY, None, Some(b"content")).await;
    assert_eq!(script.ledger(), [(KEY.to_owned(), Outcome::AlreadyMoved)]);
    Finding::Passed
}

pub async fn missing(server: Server) -> Finding {
    let (world, script) = (server.world().await, Script::default());
    assert_eq!(recycle(&world, &script).await, Ok(Outcome::Missing));
    assert_eq!(script.environment_asked(), 1);
    assert_eq!(script.ledger(), [(KEY.to_owned(), Outcome::Missing)]);
    Finding::Passed
}

pub async fn rewritten(server: Server) -> Finding {
    let (world, script) = (Arc::new(server.world().await), Script::default());
    world.put(Side::Object, KEY, b"old").await;
    let writes = Arc::clone(&world);
    script.before_answers(move |ask| {
        let world = Arc::clone(&writes);
        Box::pin(async move {
            if ask == Ask::Check(2) {
                world.put(Side::Object, KEY, b"new").await;
            }
        })
    });
    let failure = recycle(&world, &script).await.unwrap_err();
    assert_eq!(failure.advice, Advice::GiveUp(DeadReason::Conflict), "{failure}");
    world.holds(KEY, Some(b"new"), Some(b"old")).await;
    assert_eq!(script.ledger(), []);
    Finding::Passed
}

pub async fn versions(server: Server) -> Finding {
    let world = server.world().await;
    let versioned = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    let request = world.client.put_bucket_versioning().bucket(&world.object);
    if request.versioning_configuration(versioned).send().await.is_err() {
        return Finding::Cannot("it keeps no versions: the only one moves".to_owned());
    }
    world.put(Side::Object, KEY, b"first").await;
    world.put(Side::Object, KEY, b"latest").await;
    assert_eq!(recycle(&world, &Script::default()).await, Ok(Outcome::Moved));
    world.holds(KEY, None, Some(b"latest")).await;
    let versions = world.client.list_object_versions().bucket(&world.object).prefix(KEY);
    let versions = versions.send().await.unwrap();
    assert_eq!((versions.versions().len(), versions.delete_markers().len()), (2, 1));

    world.delete(Side::Recycle, KEY).await;
    let again = recycle(&world, &Script::default()).await;
    assert_eq!(again, Ok(Outcome::Missing), "a delete marker is no object");
    Finding::Passed
}

/// One that was never there is found out at the probe, and one that vanishes while files move is no reason
/// to believe that they are missing.
pub async fn missing_bucket(server: Server) -> Finding {
    let world = server.world().await;
    for (object, recycle) in [("none-such", world.recycle.as_str()), (world.object.as_str(), "none-such")] {
        let buckets = Some((Bucket::new(object), Bucket::new(recycle)));
        let storage = connect(&Settings { buckets, ..world.settings() }, Mode::Move).await;
        for error in [storage.check().await.unwrap_err(), storage.probe().await.unwrap_err()] {
            assert_eq!(error.advice(), OUTAGE, "{error}");
        }
    }
    let (server, script) = (world.storage.probe().await.unwrap(), Script::default());
    let recycler = recycler(&world.storage, server, &script);
    world.put(Side::Object, KEY, b"content").await;
    world.client.delete_bucket().bucket(&world.recycle).send().await.unwrap();
    let failure = recycler.recycle(job(KEY)).await.unwrap_err();
    assert_eq!(failure.advice, OUTAGE, "without the recycle bucket: {failure}");
    assert_eq!(world.get(Side::Object, KEY).await.as_deref(), Some(&b"content"[..]));

    world.delete(Side::Object, KEY).await;
    world.client.delete_bucket().bucket(&world.object).send().await.unwrap();
    let failure = recycler.recycle(job(KEY)).await.unwrap_err();
    assert_eq!(failure.advice, OUTAGE, "without both buckets: {failure}");
    assert_eq!(script.ledger(), []);
    Finding::Passed
}

pub async fn revoked_keys(server: Server) -> Finding {
    let world = server.world().await;
    let credentials = Credentials::Keys {
        access_key: "revoked-key".to_owned().into(),
        secret_key: "hidden-secret".to_owned().into(),
    };
    let storage = connect(&Settings { credentials, ..world.settings() }, Mode::Move).await;
    match storage.probe().await {
        Ok(_) => Finding::Cannot("it checks no signature: that keys were revoked is not noticed".to_owned()),
        Err(error) => {
            assert_eq!(error.advice(), OUTAGE, "{error}");
            Finding::Passed
        }
    }
}

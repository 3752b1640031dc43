//! Which environment this is, who stopped it, and what became of replayed messages.

use file_recycler::db::environment::{BucketNames, same_database};
use file_recycler::db::registry::Registry;
use file_recycler::outcome::Outcome;
use uuid::Uuid;

use crate::support::database::{TestDatabase, actor, crm, ids};

fn buckets() -> BucketNames {
    BucketNames { service_url: None, object_bucket: "objects".into(), recycle_bucket: "recycle".into() }
}

#[tokio::test]
async fn a_database_says_who_it_is_before_anything_is_installed() {
    let database = TestDatabase::create().await;

    let state = database.db().environment().await.unwrap();

    assert_eq!((state.installed, state.row, state.primary), (false, None, true));
    assert_eq!(state.identity.database_name, database.name());
    assert!(state.identity.server_version >= 140_000);
}

#[tokio::test]
async fn an_adopted_and_paused_environment_is_seen_by_every_check_and_leaves_a_trail() {
    let database = TestDatabase::installed().await;
    let db = database.db();
    let registry = Registry::new(db.clone(), crm());
    let check = async || registry.liveness(&ids(&[Uuid::new_v4()])).await.unwrap();

    db.pause("before adoption", &actor()).await.unwrap();
    assert_eq!((check().await.environment, check().await.paused), (None, true));
    let id = Uuid::new_v4();
    db.adopt(id, &buckets(), &actor()).await.unwrap();
    assert_eq!(
        (check().await.environment, check().await.paused),
        (Some(id), true),
        "adopting does not resume"
    );
    assert_eq!(db.paused().await.unwrap().unwrap().why, "before adoption");
    assert!(db.resume(&actor()).await.unwrap());
    assert!(!db.resume(&actor()).await.unwrap());
    assert!(!check().await.paused);

    let state = db.environment().await.unwrap();
    let adopted = state.row.unwrap().adopted.unwrap();
    assert!(same_database(&adopted, &state.identity));
    assert_eq!((adopted.buckets, adopted.by), (buckets(), actor()));
    let trail: String = database
        .value("SELECT string_agg(action, ',' ORDER BY id) FROM file_recycler.trail WHERE who = 'tester'")
        .await;
    assert_eq!(trail, "listener install,pause,adopt,resume,resume");
}

#[tokio::test]
async fn a_replay_knows_what_became_of_each_message() {
    let database = TestDatabase::installed().await;
    let db = database.db();
    let replay = Uuid::new_v4();
    let messages = ["a".to_owned(), "b".to_owned()];

    db.begin_replay(replay, &messages, &actor()).await.unwrap();
    db.replay_published(replay, "a").await.unwrap();
    db.replay_finished(replay, "a", Outcome::Failed, Some("no")).await.unwrap();
    db.begin_replay(replay, &messages, &actor()).await.unwrap();
    db.replay_finished(replay, "unknown", Outcome::Moved, None).await.unwrap();

    let outcomes = db.replay_outcomes(replay).await.unwrap();
    let said: Vec<_> = outcomes
        .iter()
        .map(|row| (row.message_id.as_str(), row.published_at.is_some(), row.outcome()))
        .collect();
    assert_eq!(
        said,
        [("a", true, Some(Outcome::Failed)), ("b", false, None), ("unknown", false, Some(Outcome::Moved))]
    );
}

//! Which environment this is, who stopped it, and what became of replayed messages.

use file_recycler::db::environment::{Buckets, NewBinding, Purpose};
use file_recycler::db::registry::Registry;
use file_recycler::db::replay::{ReplayOutcomes, Replayed};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::support::database::{TestDatabase, actor, crm, ids};

fn buckets() -> Buckets {
    Buckets { service_url: String::new(), object: "objects".into(), recycle: "recycle".into() }
}

#[tokio::test]
async fn a_database_says_who_it_is_before_anything_is_installed() {
    let database = TestDatabase::create().await;

    let state = database.db().environment().await.unwrap();

    assert_eq!((state.environment, state.is_primary), (None, true));
    assert_eq!(state.identity.name, database.name());
}

#[tokio::test]
async fn an_adopted_and_paused_environment_is_seen_by_every_check_and_leaves_a_trail() {
    let database = TestDatabase::installed().await;
    let db = database.db();
    let registry = Registry::new(db.clone(), crm());
    let check = async || registry.liveness(&ids(&[Uuid::new_v4()])).await.unwrap();

    db.pause("before adoption", &actor()).await.unwrap();
    assert_eq!((check().await.environment, check().await.paused), (None, true));
    let (id, identity) = (Uuid::new_v4(), db.environment().await.unwrap().identity);
    let buckets = buckets();
    let binding = NewBinding {
        id,
        identity: &identity,
        buckets: &buckets,
        purpose: Purpose::Work,
        nonce: Uuid::new_v4(),
        advances: 1,
    };
    db.adopt(&binding, &actor()).await.unwrap();
    assert_eq!(
        (check().await.environment, check().await.paused),
        (Some(id), true),
        "adopting does not resume"
    );
    assert!(db.resume(&actor()).await.unwrap());
    assert!(!db.resume(&actor()).await.unwrap());
    assert!(!check().await.paused);

    let state = db.environment().await.unwrap();
    let adopted = state.environment.unwrap().adopted.unwrap();
    assert_eq!((adopted.identity, adopted.buckets), (state.identity, buckets));
    let changes = "SELECT count(*) FROM file_recycler.trail WHERE action IN ('pause', 'adopt', 'resume')";
    assert_eq!(database.value::<i64>(changes).await, 3);
}

#[tokio::test]
async fn the_first_end_of_a_replayed_message_counts() {
    let database = TestDatabase::installed().await;
    let db = database.db();
    let (replay, now) = (Uuid::new_v4(), OffsetDateTime::now_utc());
    // One event, dead for two reasons: two messages under one id.
    let tokens = [Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4()];
    let messages = tokens.map(|token| Replayed {
        token,
        id: "one id".to_owned(),
        fingerprint: Uuid::from_u128(1),
        was_reason: Some("conflict"),
    });
    for _ in 0..2 {
        db.replay_begin(replay, &messages, &actor()).await.unwrap();
    }
    db.replay_published(&tokens[..1], now).await.unwrap();
    db.replay_finished(tokens[0], None, None, now).await.unwrap();
    db.replay_finished(tokens[1], Some("it waits again"), None, now).await.unwrap();
    db.replay_finished(tokens[1], None, None, now).await.unwrap();
    db.replay_finished(tokens[2], Some("still there"), Some("conflict"), now).await.unwrap();

    let outcomes = db.replay_outcomes(replay).await.unwrap();

    let same_reason = vec![("conflict".to_owned(), 1)];
    assert_eq!(outcomes, ReplayOutcomes { succeeded: 1, failed: 2, same_reason });
}

//! Tests of what needs no broker: whose event it is, and what is said while nothing can be published.

use serde_json::json;

use super::*;
use crate::config;
use crate::db::environment::{Adopted, Buckets, Environment, EnvironmentState, Identity, Pause, Purpose};
use crate::db::nonce::Nonce;
use crate::event::Malformed;
use crate::guard::Marked;
use crate::outcome::{Advice, DeadReason, Dependency};
use time::macros::datetime;

const OURS: Uuid = Uuid::from_u128(1);

fn event(environment: Option<Uuid>) -> Event {
    let document = json!({
        "specversion": "1.0", "id": "1", "source": "crm", "type": "crm.file.deleted.v1",
        "environment": environment, "extension": "x",
        "data": { "files": [{ "file_id": Uuid::from_u128(7), "name": "a secret name" }] }
    });
    Event::decode(document.to_string().as_bytes(), IdKind::Uuid).unwrap()
}

#[test]
fn an_event_may_name_its_environment_and_is_published_as_nobodys() {
    for named in [None, Some(OURS)] {
        let published = outside(event(named), OURS).unwrap();
        assert_eq!(published, event(None), "no worker can take it for one of our triggers'");
        let text = String::from_utf8(published.encode()).unwrap();
        assert!(!text.contains("secret") && !text.contains("extension"), "{text}");
    }
    let refused = outside(event(Some(Uuid::from_u128(2))), OURS).unwrap_err();
    assert_eq!(refused.to_string(), "environment: is not this environment's");
}

#[test]
fn a_refusal_repeats_nothing_of_the_event() {
    let malformed = Malformed {
        path: "data.files[3].file_id".to_owned(),
        quoted: Some("a secret name".to_owned()),
        problem: "is not a UUID".to_owned(),
        reason: DeadReason::Malformed,
    };
    assert_eq!(malformed.to_string(), "data.files[3].file_id: 'a secret name' is not a UUID");
    assert_eq!(Refused::from(malformed).to_string(), "data.files[3].file_id: is not a UUID");
}

#[test]
fn what_the_broker_says_is_told_by_what_the_sender_can_do() {
    let text = || String::from("x");
    for (error, told) in [
        (BrokerError::Blocked(text()), Unavailable::Blocked),
        (BrokerError::Unroutable { target: text() }, Unavailable::Topology),
        (BrokerError::Topology(text()), Unavailable::Topology),
        (BrokerError::Refused { target: text() }, Unavailable::Unconfirmed),
        (BrokerError::TimedOut { attempt: text(), after: PAUSE }, Unavailable::Unconfirmed),
        (BrokerError::Connection { attempt: text(), cause: text() }, Unavailable::Broker),
        (BrokerError::AccessRefused { attempt: text(), cause: text() }, Unavailable::Broker),
    ] {
        assert_eq!(Unavailable::of(&error), told, "{error:?}");
    }
}

/// An intake whose broker is nowhere, and what decides over it.
pub(crate) fn intake() -> (Intake, Guard, Gate) {
    let broker = config::Broker {
        url: Some("amqp://127.0.0.1:1".into()),
        prefix: "p".to_owned(),
        ca_file: None,
        client_certificate: None,
    };
    let buckets = Buckets { service_url: "s".into(), object: "o".into(), recycle: "r".into() };
    let (guard, gate) = (Guard::new(buckets), Gate::default());
    let topology = Topology { prefix: "p".to_owned(), delays: Vec::new() };
    let broker = Broker::new(&broker).unwrap();
    (Intake::new(broker, topology, IdKind::Uuid, guard.clone(), gate.clone()), guard, gate)
}

fn adopted(paused: bool) -> EnvironmentState {
    let identity = Identity { system_identifier: "7".into(), oid: 1, name: "crm".into() };
    let buckets = Buckets { service_url: "s".into(), object: "o".into(), recycle: "r".into() };
    let at = datetime!(2026-11-23 10:00 UTC);
    let pause = Pause { at, by: "ann".into(), from: "host".into(), why: "a move".into() };
    EnvironmentState {
        environment: Some(Environment {
            id: OURS,
            adopted: Some(Adopted { identity: identity.clone(), buckets, at, purpose: Purpose::Work }),
            paused: paused.then_some(pause),
            nonce: Nonce::default(),
        }),
        identity,
        is_primary: true,
    }
}

#[tokio::test]
async fn nothing_is_taken_while_nothing_may_be_published_and_the_reason_is_told() {
    let (intake, guard, gate) = intake();
    assert_eq!(intake.0.open(), Err(Unavailable::Broker), "nothing was looked at yet");
    gate.open(Cause::Broker);
    assert_eq!(intake.0.open(), Err(Unavailable::Topology));
    gate.open(Cause::Topology);
    assert_eq!(intake.0.open(), Err(Unavailable::Guard));
    guard.saw_both(Some(Marked { environment: OURS, nonce: None, advances: 0 }), adopted(true));
    assert_eq!(intake.0.open(), Err(Unavailable::Paused));
    guard.saw_database(guard.before_asking(), adopted(false));
    gate.open(Cause::Guard);
    assert_eq!(intake.0.open(), Ok(OURS), "the database and the storage are not asked");
    gate.report(&Failure::new(Advice::Outage(Dependency::Broker), "out"));
    assert_eq!(intake.0.open(), Err(Unavailable::Broker));
}

#[tokio::test]
async fn places_are_bounded_and_gone_with_the_stop() {
    let (intake, _, _) = intake();
    let soon = || Instant::now() + Duration::from_millis(10);
    let mut places = Vec::new();
    for _ in 0..PLACES {
        places.push(intake.place(soon()).await.ok().unwrap());
    }
    assert_eq!(intake.place(soon()).await.err(), Some(Unavailable::Busy));
    let stop = Stop::new(Duration::from_secs(20));
    stop.request();
    let running = tokio::spawn(intake.clone().run(stop));
    tokio::task::yield_now().await;
    assert!(!running.is_finished(), "it waits for what is in hand");
    drop(places);
    tokio::time::timeout(Duration::from_secs(20), running).await.unwrap().unwrap();
    assert_eq!(intake.place(soon()).await.err(), Some(Unavailable::Stopping));
}

//! The connection to the broker, disturbed in each of its states: every wait ends, nothing is lost, and a new
//! session goes on.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use file_recycler::broker::{BrokerError, Depth, Outgoing, Target, Topology};
use file_recycler::config::Delay;
use file_recycler::event::EventType;
use file_recycler::history::History;
use lapin::BasicProperties;
use tokio::time::timeout;

use crate::support::broker::{SOON, Scene, broker_through, event, outgoing, put, scene, until_depth};
use crate::support::proxy::{Proxy, Weather};

/// No state may last longer than this: the broker's heartbeats come every second here, and a request is waited for
/// ten seconds; the rest is for a machine that is busy.
const BOUND: Duration = Duration::from_secs(30);
/// Messages that are in the work queue beforehand.
const BEFORE: u8 = 10;

#[derive(Clone, Copy, Debug)]
enum State {
    Connecting,
    Declaring,
    Consuming,
    Publishing,
    Acknowledging,
}

/// Bodies of messages that must be in the work queue afterwards.
type Expected = HashSet<Bytes>;

fn before() -> Expected {
    (0..BEFORE).map(|number| Bytes::from(vec![number])).collect()
}

impl State {
    const ALL: [Self; 5] =
        [Self::Connecting, Self::Declaring, Self::Consuming, Self::Publishing, Self::Acknowledging];

    /// Brings a session into the state, turns the weather in the middle of it, and waits until that was noticed.
    async fn disturbed(self, scene: &Scene, proxy: &Proxy, weather: Weather) -> Expected {
        let broker = broker_through(proxy);
        if matches!(self, Self::Connecting) {
            proxy.turn_after(20, weather);
            let error = broker.connect().await.err().expect("half a handshake is no connection");
            noticed(&error);
            return before();
        }
        let session = broker.connect().await.unwrap();
        let work = scene.topology.work();
        match self {
            Self::Connecting => unreachable!("see above"),
            Self::Declaring => {
                proxy.turn_after(300, weather);
                noticed(&session.declare(&scene.topology).await.unwrap_err());
            }
            Self::Consuming => {
                let mut consumer = session.consume(&work, BEFORE.into()).await.unwrap();
                for _ in 0..BEFORE {
                    consumer.next().await.unwrap().unwrap();
                }
                proxy.set(weather);
                noticed(&consumer.next().await.unwrap().unwrap_err());
            }
            Self::Publishing => {
                let publisher = session.publisher(&scene.topology, 2 * BOUND).await.unwrap();
                let messages = |range: std::ops::Range<u128>| {
                    range.map(|number| outgoing(EventType::FileDeleted, number)).collect::<Vec<_>>()
                };
                let first = publisher.publish_all(messages(0..100)).await;
                assert!(first.iter().all(Result::is_ok));
                proxy.turn_after(50_000, weather);
                let answers = publisher.publish_all(messages(100..1_000)).await;
                noticed(answers.iter().find_map(|answer| answer.as_ref().err()).expect("some must fail"));
                noticed(&session.closed().await);
                let confirmed = first.iter().chain(&answers).zip(0..).filter(|(answer, _)| answer.is_ok());
                let body = |(_, number)| event(EventType::FileDeleted, number).encode().into();
                return before().into_iter().chain(confirmed.map(body)).collect();
            }
            Self::Acknowledging => {
                let mut consumer = session.consume(&work, BEFORE.into()).await.unwrap();
                let mut held = Vec::new();
                for _ in 0..BEFORE {
                    held.push(consumer.next().await.unwrap().unwrap());
                }
                proxy.set(weather);
                let mut expected = before();
                for delivery in held {
                    let body = delivery.body.clone();
                    match delivery.ack().await {
                        // It was sent, and may arrive when the network is well again.
                        Ok(()) => drop(expected.remove(&body)),
                        Err(error) => noticed(&error),
                    }
                }
                noticed(&session.closed().await);
                return expected;
            }
        }
        noticed(&session.closed().await);
        before()
    }
}

/// A connection that is lost is known as such, whichever way it went.
fn noticed(error: &BrokerError) {
    assert!(
        matches!(error, BrokerError::Connection { .. } | BrokerError::TimedOut { .. }),
        "this is no lost connection: {error:?}"
    );
}

/// One state in one weather, on queues of its own.
async fn survives(state: State, weather: Weather) {
    scene(move |scene| async move {
        let what = format!("{state:?} in {weather:?}");
        let session = scene.session().await;
        let work = scene.topology.work();
        for number in 0..BEFORE {
            put(&work, &[number], BasicProperties::default()).await;
        }
        let (broker, proxy) = scene.proxied().await;
        let expected = timeout(BOUND, state.disturbed(&scene, &proxy, weather)).await;
        let expected = expected.unwrap_or_else(|_| panic!("{what}: not noticed"));

        proxy.set(Weather::Fair);
        let again = broker.connect().await.unwrap_or_else(|error| panic!("{what}: {error}"));
        again.declare(&scene.topology).await.unwrap();
        let publisher = scene.publisher(&again).await;
        let (target, message) = outgoing(EventType::RecordDeleted, 77);
        publisher.publish(target, message).await.unwrap();
        let there = timeout(BOUND, async {
            let mut there = HashSet::new();
            let mut consumer = session.consume(&work, 2_000).await.unwrap();
            while !expected.is_subset(&there) {
                there.insert(consumer.next().await.unwrap().unwrap().body);
            }
        });
        there.await.unwrap_or_else(|_| panic!("{what}: something was lost"));
    })
    .await;
}

async fn survives_everywhere(weather: Weather) {
    let all = State::ALL.map(|state| tokio::spawn(survives(state, weather)));
    for one in all {
        if let Err(error) = one.await {
            std::panic::resume_unwind(error.into_panic());
        }
    }
}

#[tokio::test]
async fn case_24_a_connection_that_ends_in_any_state_is_opened_anew_and_nothing_is_lost() {
    survives_everywhere(Weather::Cut).await;
}

#[tokio::test]
async fn case_24_a_connection_that_is_reset_in_any_state_is_opened_anew_and_nothing_is_lost() {
    survives_everywhere(Weather::Reset).await;
}

#[tokio::test]
async fn case_24_a_connection_that_falls_silent_in_any_state_is_noticed_and_nothing_is_lost() {
    survives_everywhere(Weather::BlackHole).await;
}

/// RabbitMQ takes a message that is to return to a queue out of which it expired before, by its `x-death`, for one
/// that goes in a circle, and drops it or holds it for ever. It need not have been by us: here the publisher's own
/// expiry sent it to the dead, and a replay brought it back.
#[tokio::test]
async fn case_20_fifty_rounds_through_a_wait_queue_are_no_cycle() {
    let delay = Delay { text: "50ms".to_owned(), duration: Duration::from_millis(50) };
    let mut made = Scene::new();
    made.topology = Topology { delays: vec![delay.clone()], ..made.topology };
    crate::support::broker::run_scene(Arc::new(made), move |scene| async move {
        let session = scene.session().await;
        let publisher = scene.publisher(&session).await;
        let work = scene.topology.work();
        for number in 0..5_u8 {
            put(&work, &[number], BasicProperties::default().with_expiration("1".into())).await;
        }
        until_depth(&session, &scene.topology.dead(), 5).await;
        let mut dead = session.consume(&scene.topology.dead(), 8).await.unwrap();
        for _ in 0..5 {
            let delivery = dead.next().await.unwrap().unwrap();
            let replayed = Outgoing::again(&delivery, None, &History::default());
            publisher.publish(Target::Work, replayed).await.unwrap();
            delivery.ack().await.unwrap();
        }
        let mut consumer = session.consume(&work, 8).await.unwrap();
        let mut rounds = [0_u32; 5];
        while rounds.iter().any(|rounds| *rounds < 55) {
            let delivery = timeout(SOON, consumer.next()).await;
            let delivery = delivery.unwrap_or_else(|_| panic!("it went missing after {rounds:?}"));
            let delivery = delivery.unwrap().unwrap();
            let number = usize::from(delivery.body[0]);
            assert_eq!(delivery.history.attempts, rounds[number], "each round counts once");
            rounds[number] += 1;
            let history = History { attempts: rounds[number], ..delivery.history.clone() };
            let again = Outgoing::again(&delivery, None, &history);
            publisher.publish(Target::Wait(&delay), again).await.unwrap();
            delivery.ack().await.unwrap();
        }
        consumer.cancel().await.unwrap();
        drop(consumer);
        until_depth(&session, &work, 5).await;
    })
    .await;
}

#[tokio::test]
async fn an_empty_queue_of_a_distant_broker_is_told_as_one() {
    scene(|scene| async move {
        drop(scene.session().await);
        let (broker, proxy) = scene.proxied().await;
        let session = broker.connect().await.unwrap();
        proxy.set(Weather::Distant);
        // A broker nearby that took so long would have meant: no answer.
        let depth = session.depth(&scene.topology.work()).await.unwrap();
        assert_eq!(depth, Some(Depth { messages: 0, consumers: 0 }));
    })
    .await;
}

//! A confirmed message is in a queue; one that is not says so.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use file_recycler::broker::{BrokerError, Outgoing, Target};
use file_recycler::event::{CONTENT_TYPE, EventType};
use file_recycler::outcome::Advice;
use lapin::options::{BasicGetOptions, ExchangeDeleteOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};

use crate::support::broker::{
    SOON, broker_at, depth, event, long, outgoing, plain, put_queue, scene, short_delay, url_through,
};
use crate::support::proxy::Weather;

#[tokio::test]
async fn an_event_arrives_persistent_with_its_id_and_content_type() {
    scene(|scene| async move {
        let session = scene.session().await;
        let publisher = scene.publisher(&session).await;
        let event = event(EventType::RecordDeleted, 7);
        let target = Target::Event(EventType::RecordDeleted);
        publisher.publish(target, Outgoing::fresh_event(&event)).await.unwrap();

        let (_connection, channel) = plain().await;
        let got = channel.basic_get(scene.topology.work().into(), BasicGetOptions::default()).await.unwrap();
        let got = got.expect("the event is in the work queue");
        assert_eq!(got.data, event.encode());
        let properties = &got.properties;
        assert_eq!(properties.content_type().as_ref().unwrap().as_str(), CONTENT_TYPE);
        assert_eq!(properties.message_id().as_ref().unwrap().as_str(), event.id);
        assert_eq!(*properties.delivery_mode(), Some(2));
        assert_eq!(got.exchange.as_str(), scene.topology.events());
        assert_eq!(got.routing_key.as_str(), "record.deleted");
    })
    .await;
}

/// The client library hands returned messages to other messages' confirms: nothing may slip through.
#[tokio::test]
async fn events_without_a_queue_are_told_from_those_among_them_that_have_one() {
    scene(|scene| async move {
        let session = scene.session().await;
        let publisher = scene.publisher(&session).await;
        let (_connection, channel) = plain().await;
        let (queue, exchange) = (scene.topology.work(), scene.topology.events());
        channel
            .queue_unbind(
                queue.clone().into(),
                exchange.into(),
                "record.deleted".into(),
                FieldTable::default(),
            )
            .await
            .unwrap();
        let kinds = |index: usize| {
            if index.is_multiple_of(3) { EventType::RecordDeleted } else { EventType::FileDeleted }
        };
        let messages = (0..3_000).map(|index| outgoing(kinds(index), index as u128)).collect();
        let answers = publisher.publish_all(messages).await;
        for (index, answer) in answers.iter().enumerate() {
            match kinds(index) {
                EventType::RecordDeleted => {
                    assert!(matches!(answer, Err(BrokerError::Unroutable { .. })), "{index}: {answer:?}");
                }
                EventType::FileDeleted => assert_eq!(*answer, Ok(()), "{index}"),
            }
        }
        assert_eq!(session.ended(), None, "a missing binding does not end the session");
        assert_eq!(scene.drain(&queue).await.len(), 2_000);

        // Put right, it goes on.
        session.declare(&scene.topology).await.unwrap();
        let (target, message) = outgoing(EventType::RecordDeleted, 1);
        publisher.publish(target, message).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_binding_that_is_lost_between_messages_never_makes_a_lost_message_confirmed() {
    scene(|scene| async move {
        let session = scene.session().await;
        let publisher = scene.publisher(&session).await;
        let (_connection, channel) = plain().await;
        let (queue, exchange) = (scene.topology.work(), scene.topology.events());
        let mut confirmed = HashSet::new();
        let (mut returned, mut first) = (0, 0);
        // A binding that goes after the last message tells nothing: then it is taken away among others.
        while returned == 0 {
            session.declare(&scene.topology).await.unwrap();
            let there_before = confirmed.len() as u64;
            let tasks: Vec<_> = (first..first + 4_000_u128)
                .map(|number| {
                    let publisher = publisher.clone();
                    tokio::spawn(async move {
                        let (target, message) = outgoing(EventType::FileDeleted, number);
                        let body = event(EventType::FileDeleted, number).encode();
                        (body, publisher.publish(target, message).await)
                    })
                })
                .collect();
            first += 4_000;
            while depth(&session, &queue).await.unwrap().messages < there_before + 100 {
                tokio::task::yield_now().await;
            }
            let (from, key) = (exchange.clone().into(), "file.deleted".into());
            channel.queue_unbind(queue.clone().into(), from, key, FieldTable::default()).await.unwrap();
            for task in tasks {
                match task.await.unwrap() {
                    (body, Ok(())) => assert!(confirmed.insert(body)),
                    (_, Err(BrokerError::Unroutable { .. })) => returned += 1,
                    (_, Err(other)) => panic!("{other}"),
                }
            }
        }
        let there: HashSet<Vec<u8>> = scene.drain(&queue).await.into_iter().map(Vec::from).collect();
        assert!(confirmed.is_subset(&there), "{} confirmed, {} there", confirmed.len(), there.len());
    })
    .await;
}

#[tokio::test]
async fn a_message_for_a_wait_queue_that_is_gone_is_unroutable() {
    scene(|scene| async move {
        let session = scene.session().await;
        let publisher = scene.publisher(&session).await;
        let (_connection, channel) = plain().await;
        let queue = scene.topology.wait(&short_delay());
        channel.queue_delete(queue.clone().into(), QueueDeleteOptions::default()).await.unwrap();
        let message = Outgoing::fresh("1", "{}".into());
        let error = publisher.publish(Target::Wait(&short_delay()), message).await.unwrap_err();
        assert_eq!(error, BrokerError::Unroutable { target: format!("queue '{queue}'") });
    })
    .await;
}

#[tokio::test]
async fn an_exchange_that_is_gone_ends_the_session_and_says_so() {
    scene(|scene| async move {
        let session = scene.session().await;
        let publisher = scene.publisher(&session).await;
        let (_connection, channel) = plain().await;
        let exchange = scene.topology.events();
        channel.exchange_delete(exchange.clone().into(), ExchangeDeleteOptions::default()).await.unwrap();
        let (target, message) = outgoing(EventType::FileDeleted, 1);
        let error = publisher.publish(target, message).await.unwrap_err();
        assert!(matches!(&error, BrokerError::Topology(text) if text.contains(&exchange)), "{error:?}");
        let why = tokio::time::timeout(SOON, session.closed()).await.unwrap();
        assert_eq!(why, error);
        let (target, message) = outgoing(EventType::FileDeleted, 2);
        assert_eq!(publisher.publish(target, message).await, Err(error), "later ones hear the same reason");
    })
    .await;
}

#[tokio::test]
async fn a_full_queue_refuses_and_the_message_may_be_tried_again() {
    scene(|scene| async move {
        let dead = scene.topology.dead();
        let one = AMQPValue::LongLongInt(1);
        put_queue(&dead, true, &[("x-max-length", one), ("x-overflow", long("reject-publish"))]).await;
        let session = scene.broker.connect().await.unwrap();
        let publisher = scene.publisher(&session).await;
        publisher.publish(Target::Dead, Outgoing::fresh("1", "{}".into())).await.unwrap();
        let error = publisher.publish(Target::Dead, Outgoing::fresh("2", "{}".into())).await.unwrap_err();
        assert_eq!(error, BrokerError::Refused { target: format!("queue '{dead}'") });
        assert_eq!(error.advice(), Advice::Retry);
        assert_eq!(session.ended(), None);
    })
    .await;
}

#[tokio::test]
async fn five_thousand_messages_are_confirmed_and_there() {
    scene(|scene| async move {
        let session = scene.session().await;
        let publisher = scene.publisher(&session).await;
        let messages = (0..5_000).map(|number| outgoing(EventType::FileDeleted, number)).collect();
        let answers = publisher.publish_all(messages).await;
        assert_eq!(answers.len(), 5_000);
        assert!(answers.iter().all(Result::is_ok));
        let there: HashSet<_> = scene.drain(&scene.topology.work()).await.into_iter().collect();
        assert_eq!(there.len(), 5_000);
    })
    .await;
}

#[tokio::test]
async fn a_connection_cut_while_publishing_loses_no_confirmed_message() {
    scene(|scene| async move {
        scene.session().await.close().await;
        let (broker, proxy) = scene.proxied().await;
        let session = broker.connect().await.unwrap();
        let publisher = Arc::new(session.publisher(&scene.topology, SOON).await.unwrap());
        let tasks: Vec<_> = (0..5_000_u128)
            .map(|number| {
                let publisher = publisher.clone();
                tokio::spawn(async move {
                    let (target, message) = outgoing(EventType::FileDeleted, number);
                    (event(EventType::FileDeleted, number).encode(), publisher.publish(target, message).await)
                })
            })
            .collect();
        while proxy.sent() < 1_000_000 {
            tokio::task::yield_now().await;
        }
        proxy.set(Weather::Cut);
        let mut confirmed = HashSet::new();
        let mut failed = 0;
        for task in tasks {
            match task.await.unwrap() {
                (body, Ok(())) => assert!(confirmed.insert(body)),
                (_, Err(error)) => {
                    assert!(matches!(error, BrokerError::Connection { .. }), "{error:?}");
                    failed += 1;
                }
            }
        }
        assert!(!confirmed.is_empty() && failed > 0, "{} confirmed, {failed} failed", confirmed.len());
        tokio::time::timeout(SOON, session.closed()).await.expect("the session knows that it is over");
        let there: HashSet<Vec<u8>> =
            scene.drain(&scene.topology.work()).await.into_iter().map(Vec::from).collect();
        assert!(confirmed.is_subset(&there), "{} confirmed, {} there", confirmed.len(), there.len());

        proxy.set(Weather::Fair);
        let session = broker.connect().await.unwrap();
        let publisher = session.publisher(&scene.topology, SOON).await.unwrap();
        let (target, message) = outgoing(EventType::FileDeleted, 1);
        publisher.publish(target, message).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_broker_that_falls_silent_is_noticed_within_the_time_outs() {
    scene(|scene| async move {
        scene.session().await.close().await;
        let (_, proxy) = scene.proxied().await;
        // With the usual heartbeats: those of every second could be missed first.
        let mut url = url_through(&proxy);
        url.set_query(None);
        let broker = broker_at(&url);
        let session = broker.connect().await.unwrap();
        let publisher = session.publisher(&scene.topology, Duration::from_secs(1)).await.unwrap();
        proxy.set(Weather::BlackHole);

        let (target, message) = outgoing(EventType::FileDeleted, 1);
        let error = publisher.publish(target, message).await.unwrap_err();
        assert!(matches!(error, BrokerError::TimedOut { .. }), "{error:?}");
        // The next one waits for the first one's confirm, in vain, and the session is over.
        let (target, message) = outgoing(EventType::FileDeleted, 2);
        let error = publisher.publish(target, message).await.unwrap_err();
        // Missed heartbeats can be noticed first.
        let noticed = |error: &BrokerError| {
            matches!(error, BrokerError::TimedOut { .. } | BrokerError::Connection { .. })
        };
        assert!(noticed(&error), "{error:?}");
        let end = session.closed().await;
        assert!(noticed(&end), "{end:?}");

        let error = broker.connect().await.err().expect("nobody answers");
        assert!(matches!(error, BrokerError::TimedOut { .. }), "{error:?}");
    })
    .await;
}

#[tokio::test]
async fn a_silent_connection_is_over_after_two_missed_heartbeats() {
    scene(|scene| async move {
        let (broker, proxy) = scene.proxied().await;
        let session = broker.connect().await.unwrap();
        proxy.set(Weather::BlackHole);
        let why = tokio::time::timeout(Duration::from_secs(30), session.closed()).await.unwrap();
        assert!(matches!(why, BrokerError::Connection { .. }), "{why:?}");
    })
    .await;
}

#[tokio::test]
async fn nobody_listening_is_an_outage_that_names_host_and_port_only() {
    let url = "amqp://somebody:secret@127.0.0.1:1/vhost".parse().unwrap();
    let error = crate::support::broker::broker_at(&url).connect().await.err().expect("nobody listens");
    assert!(matches!(error, BrokerError::Connection { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("127.0.0.1:1") && !text.contains("secret") && !text.contains("somebody"), "{text}");
}

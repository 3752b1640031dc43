//! What came can be acknowledged, given back, sent to wait or to the dead; looking hurts nothing.

use std::collections::HashSet;

use bytes::Bytes;
use file_recycler::broker::{BrokerError, Outgoing, Target};
use file_recycler::event::EventType;
use file_recycler::history::{self, History};
use file_recycler::metrics::Metrics;
use file_recycler::outcome::DeadReason;
use lapin::BasicProperties;
use lapin::options::{BasicGetOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldArray};
use time::macros::datetime;

use crate::support::broker::{
    SOON, event, long, next, outgoing, plain, put, scene, short_delay, table, until_depth,
};

/// A broker that saw its own old `x-death` would take the way back for a cycle and drop the message.
#[tokio::test]
async fn a_message_comes_back_from_its_wait_queue_round_after_round() {
    scene(|scene| async move {
        let session = scene.session().await;
        let publisher = scene.publisher(&session).await;
        let work = scene.topology.work();
        let headers = table(&[("tenant", long("a")), ("x-custom", AMQPValue::Boolean(true))]);
        let properties = BasicProperties::default()
            .with_message_id("outside-1".into())
            .with_app_id("other".into())
            .with_headers(headers);
        put(&work, b"\x00 not JSON \xff", properties).await;

        let mut consumer = session.consume(&work, 8).await.unwrap();
        let now = datetime!(2026-11-23 10:00 UTC);
        for round in 0..8 {
            let delivery = tokio::time::timeout(SOON, consumer.next()).await.expect("it came back");
            let delivery = delivery.unwrap().unwrap();
            assert_eq!(delivery.history.attempts, round, "each round counts once");
            assert_eq!(&delivery.body[..], b"\x00 not JSON \xff");
            assert_eq!(delivery.id.as_deref(), Some("outside-1"));
            let failed = delivery.history.failed(now, "not yet", "worker 1");
            let again = Outgoing::again(&delivery, None, &failed);
            publisher.publish(Target::Wait(&short_delay()), again).await.unwrap();
            delivery.ack().await.unwrap();
        }
        drop(consumer);

        let (_connection, channel) = plain().await;
        until_depth(&session, &work, 1).await;
        let got = channel.basic_get(work.into(), BasicGetOptions::default()).await.unwrap().unwrap();
        let headers = got.properties.headers().as_ref().unwrap().inner();
        assert_eq!(headers.get("tenant"), Some(&long("a")));
        assert_eq!(headers.get("x-custom"), Some(&AMQPValue::Boolean(true)));
        assert_eq!(headers.get(history::ATTEMPTS), Some(&AMQPValue::LongInt(8)));
        assert_eq!(headers.get(history::FIRST_FAILURE), Some(&long("2026-11-23T10:00:00Z")));
        assert_eq!(got.properties.app_id().as_ref().unwrap().as_str(), "other");
        let Some(AMQPValue::FieldArray(deaths)) = headers.get("x-death") else { panic!("{headers:?}") };
        assert_eq!(deaths.as_slice().len(), 1, "only the last round's, none from before");
    })
    .await;
}

/// Nearly one whole frame of the broker's, and more than one of those that we publish in.
#[tokio::test]
async fn headers_of_100_kilobytes_arrive_and_are_left_behind_when_it_is_published_again() {
    scene(|scene| async move {
        let session = scene.session().await;
        let publisher = scene.publisher(&session).await;
        let work = scene.topology.work();
        let headers = table(&[("large", long(&"x".repeat(100_000))), ("tenant", long("a"))]);
        let properties = BasicProperties::default().with_headers(headers);
        put(&work, &vec![b'y'; 300_000], properties).await;
        let (_browser, delivery) = next(&session, &work).await;
        assert_eq!(delivery.body.len(), 300_000);
        let now = datetime!(2026-11-23 10:00 UTC);
        let dead = delivery.history.failed(now, "why", "host 1").dead(DeadReason::Malformed);
        publisher.publish(Target::Dead, Outgoing::again(&delivery, None, &dead)).await.unwrap();
        delivery.ack().await.unwrap();

        let (_connection, channel) = plain().await;
        let got = channel.basic_get(scene.topology.dead().into(), BasicGetOptions::default()).await.unwrap();
        let got = got.unwrap();
        let headers = got.properties.headers().as_ref().unwrap().inner();
        assert_eq!(got.data.len(), 300_000);
        assert_eq!(headers.get(history::REASON), Some(&long("malformed")));
        assert_eq!((headers.get("large"), headers.get("tenant")), (None, None));
        session.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_dead_letter_says_why_in_its_headers() {
    scene(|scene| async move {
        let session = scene.session().await;
        let publisher = scene.publisher(&session).await;
        let (target, message) = outgoing(EventType::RecordDeleted, 1);
        publisher.publish(target, message).await.unwrap();
        let (_browser, delivery) = next(&session, &scene.topology.work()).await;
        let now = datetime!(2026-11-23 10:00 UTC);
        let dead =
            delivery.history.failed(now, "other content is there", "host 1").dead(DeadReason::Conflict);
        let body = Some(Bytes::from_static(b"{\"what\":\"is left\"}"));
        publisher.publish(Target::Dead, Outgoing::again(&delivery, body, &dead)).await.unwrap();
        delivery.ack().await.unwrap();

        let (_connection, channel) = plain().await;
        let got = channel.basic_get(scene.topology.dead().into(), BasicGetOptions::default()).await.unwrap();
        let got = got.expect("it is dead");
        assert_eq!(got.data, b"{\"what\":\"is left\"}");
        assert_eq!(
            got.properties.message_id().as_ref().unwrap().as_str(),
            event(EventType::RecordDeleted, 1).id
        );
        assert_eq!(*got.properties.delivery_mode(), Some(2));
        let headers = got.properties.headers().as_ref().unwrap().inner();
        for (name, value) in [
            ("x-fr-reason", long("conflict")),
            ("x-fr-error", long("other content is there")),
            ("x-fr-attempts", AMQPValue::LongInt(1)),
            ("x-fr-first-failure", long("2026-11-23T10:00:00Z")),
            ("x-fr-last-failure", long("2026-11-23T10:00:00Z")),
            ("x-fr-worker", long("host 1")),
        ] {
            assert_eq!(headers.get(name), Some(&value), "{name}");
        }
        drop(got);
        channel.close(200, "OK".into()).await.unwrap();
        assert_eq!(next(&session, &scene.topology.dead()).await.1.history, dead, "and we read what we wrote");
    })
    .await;
}

/// Properties by which a publisher could harm its own message, everybody's channel, or the broker.
#[tokio::test]
async fn properties_that_the_broker_would_obey_do_not_travel_on() {
    scene(|scene| async move {
        let session = scene.session().await;
        let publisher = scene.publisher(&session).await;
        let (work, dead) = (scene.topology.work(), scene.topology.dead());
        let copies = AMQPValue::FieldArray(FieldArray::from(vec![long(&dead)]));
        let big = long(&"x".repeat(120_000));
        let user = crate::support::broker::broker_url().username().to_owned();
        let harmful = BasicProperties::default()
            .with_user_id(user.as_str().into())
            .with_headers(table(&[("CC", copies), ("big", big)]));
        put(&work, b"1", harmful).await;
        until_depth(&session, &dead, 1).await;
        let (_browser, delivery) = next(&session, &work).await;
        let history = History { attempts: 1, error: Some("e".repeat(1_000)), ..History::default() };
        publisher.publish(Target::Work, Outgoing::again(&delivery, None, &history)).await.unwrap();
        delivery.ack().await.unwrap();
        until_depth(&session, &work, 1).await;
        // All queues have it by now: no second copy by CC, which would stay.
        until_depth(&session, &dead, 1).await;
        assert_eq!(session.ended(), None);
    })
    .await;
}

#[tokio::test]
async fn a_dead_letter_outlives_the_expiry_that_its_publisher_gave_it() {
    scene(|scene| async move {
        let session = scene.session().await;
        let publisher = scene.publisher(&session).await;
        let work = scene.topology.work();
        let mut consumer = session.consume(&work, 1).await.unwrap();
        put(&work, b"1", BasicProperties::default().with_expiration("1000".into())).await;
        let delivery = consumer.next().await.unwrap().unwrap();
        publisher.publish(Target::Dead, Outgoing::again(&delivery, None, &History::default())).await.unwrap();
        delivery.ack().await.unwrap();
        let (_connection, channel) = plain().await;
        let got = channel.basic_get(scene.topology.dead().into(), BasicGetOptions::default()).await.unwrap();
        assert_eq!(*got.expect("it is dead").properties.expiration(), None);
    })
    .await;
}

#[tokio::test]
async fn what_is_given_back_comes_again_and_is_counted() {
    scene(|scene| async move {
        let session = scene.session().await;
        let work = scene.topology.work();
        put(&work, b"1", BasicProperties::default()).await;
        let mut consumer = session.consume(&work, 1).await.unwrap();
        for round in 0..30 {
            let delivery = tokio::time::timeout(SOON, consumer.next()).await.unwrap().unwrap().unwrap();
            assert_eq!(delivery.delivery_count, round);
            assert_eq!(delivery.redelivered, round > 0);
            assert_eq!(delivery.id, None);
            delivery.give_back().await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn what_a_vanished_consumer_held_comes_again() {
    scene(|scene| async move {
        let work = scene.topology.work();
        let session = scene.session().await;
        put(&work, b"1", BasicProperties::default()).await;
        let (browser, delivery) = next(&session, &work).await;
        drop((browser, session));
        let error = delivery.ack().await.unwrap_err();
        assert!(matches!(error, BrokerError::Connection { .. }), "an acknowledgement too late: {error:?}");
        let session = scene.broker.connect().await.unwrap();
        assert!(next(&session, &work).await.1.redelivered);
    })
    .await;
}

#[tokio::test]
async fn looking_at_the_dead_letter_queue_a_hundred_times_loses_nothing() {
    scene(|scene| async move {
        let session = scene.session().await;
        let dead = scene.topology.dead();
        for number in 0..5_u8 {
            put(&dead, &[number], BasicProperties::default()).await;
        }
        for round in 0..100 {
            let mut browser = session.browse(&dead).await.unwrap();
            let mut seen = HashSet::new();
            while let Some(delivery) = browser.next().await.unwrap() {
                seen.insert(delivery.body[0]);
            }
            assert_eq!(seen.len(), 5, "round {round}");
            browser.close().await.unwrap();
            // The broker says that the channel is closed a moment before the queue has everything back.
            until_depth(&session, &dead, 5).await;
        }
        assert_eq!(scene.drain(&dead).await.len(), 5);
    })
    .await;
}

#[tokio::test]
async fn a_cancelled_consumer_hands_over_what_is_on_its_way_and_then_ends() {
    scene(|scene| async move {
        let session = scene.session().await;
        let work = scene.topology.work();
        for number in 0..3_u8 {
            put(&work, &[number], BasicProperties::default()).await;
        }
        let mut consumer = session.consume(&work, 2).await.unwrap();
        until_depth(&session, &work, 1).await;
        consumer.cancel().await.unwrap();
        for number in 0..2 {
            let delivery = consumer.next().await.unwrap().unwrap();
            assert_eq!(delivery.body[0], number);
            delivery.ack().await.unwrap();
        }
        assert!(consumer.next().await.is_none());
        until_depth(&session, &work, 1).await;
    })
    .await;
}

#[tokio::test]
async fn a_queue_that_is_deleted_ends_its_consumer_with_an_error() {
    scene(|scene| async move {
        let session = scene.session().await;
        let work = scene.topology.work();
        let mut consumer = session.consume(&work, 2).await.unwrap();
        let (_connection, channel) = plain().await;
        channel.queue_delete(work.into(), QueueDeleteOptions::default()).await.unwrap();
        let ended = tokio::time::timeout(SOON, consumer.next()).await.unwrap();
        assert!(matches!(ended, Some(Err(BrokerError::Connection { .. }))), "{ended:?}");
    })
    .await;
}

#[tokio::test]
async fn a_consumer_holds_no_more_than_its_prefetch() {
    scene(|scene| async move {
        let session = scene.session().await;
        let work = scene.topology.work();
        for number in 0..5_u8 {
            put(&work, &[number], BasicProperties::default()).await;
        }
        let consumer = session.consume(&work, 3).await.unwrap();
        until_depth(&session, &work, 2).await;
        drop(consumer);
        until_depth(&session, &work, 5).await;
    })
    .await;
}

#[tokio::test]
async fn a_delivery_counts_as_in_hand_until_it_is_acknowledged_given_back_or_dropped() {
    scene(|scene| async move {
        let session = scene.session().await;
        let work = scene.topology.work();
        for number in 0..3_u8 {
            put(&work, &[number], BasicProperties::default()).await;
        }
        let metrics = Metrics::new();
        let in_hand = |count: u8| {
            let line = format!("\nfile_recycler_deliveries_in_hand {count}\n");
            assert!(metrics.render().contains(&line), "not {count}");
        };
        let mut consumer = session.consume(&work, 3).await.unwrap().counted(&metrics);
        in_hand(0);
        let mut taken = Vec::new();
        for _ in 0..3 {
            taken.push(consumer.next().await.unwrap().unwrap());
        }
        in_hand(3);
        // Before anything goes back to it.
        consumer.cancel().await.unwrap();
        taken.remove(0).ack().await.unwrap();
        in_hand(2);
        taken.remove(0).give_back().await.unwrap();
        in_hand(1);
        drop(taken);
        in_hand(0);
        drop(consumer);
        until_depth(&session, &work, 2).await;
    })
    .await;
}

//! The topology is made as the contract says, and anything else under its names is refused.

use file_recycler::broker::{BrokerError, Depth};
use file_recycler::outcome::{Advice, Dependency};
use lapin::ExchangeKind;
use lapin::options::ExchangeDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};

use crate::support::broker::{long, plain, put_queue, scene, table};

#[tokio::test]
async fn the_topology_is_made_and_making_it_again_changes_nothing() {
    scene(|scene| async move {
        let session = scene.session().await;
        session.declare(&scene.topology).await.unwrap();
        for queue in scene.topology.queues() {
            let depth = session.depth(&queue.name).await.unwrap();
            assert_eq!(depth, Some(Depth { messages: 0, consumers: 0 }), "{}", queue.name);
        }
        session.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_queue_that_is_not_there_has_no_depth_and_the_session_goes_on() {
    scene(|scene| async move {
        let session = scene.broker.connect().await.unwrap();
        assert_eq!(session.depth(&scene.topology.work()).await.unwrap(), None);
        session.declare(&scene.topology).await.unwrap();
        assert!(session.depth(&scene.topology.work()).await.unwrap().is_some());
    })
    .await;
}

/// What differs, the queue, whether it is durable, and its arguments (`P.` stands for the prefix).
type Case = (&'static str, &'static str, bool, Vec<(&'static str, AMQPValue)>);

/// Each of these would lose messages sooner or later.
#[tokio::test]
async fn a_queue_of_another_type_or_with_other_arguments_is_refused_by_name() {
    let number = AMQPValue::LongLongInt;
    let limit = || ("x-delivery-limit", number(1_000_000_000));
    let quorum = || ("x-queue-type", long("quorum"));
    let strategy = || ("x-dead-letter-strategy", long("at-least-once"));
    let overflow = || ("x-overflow", long("reject-publish"));
    let exchange = || ("x-dead-letter-exchange", long(""));
    let cases: Vec<Case> = vec![
        ("classic", "dead", true, vec![("x-queue-type", long("classic"))]),
        ("not durable", "dead", false, vec![]),
        ("no delivery limit", "dead", true, vec![quorum()]),
        ("a low delivery limit", "dead", true, vec![quorum(), ("x-delivery-limit", number(20))]),
        ("an expiry of messages", "dead", true, vec![quorum(), limit(), ("x-message-ttl", number(1_000))]),
        ("an expiry of the queue", "dead", true, vec![quorum(), limit(), ("x-expires", number(60_000))]),
        ("a bound that drops", "dead", true, vec![quorum(), limit(), ("x-max-length", number(10))]),
        ("no way to the dead", "work", true, vec![quorum(), limit()]),
        (
            "dead-lettering at most once",
            "work",
            true,
            vec![quorum(), limit(), exchange(), ("x-dead-letter-routing-key", long("P.dead")), overflow()],
        ),
        (
            "an overflow that drops",
            "work",
            true,
            vec![quorum(), limit(), exchange(), ("x-dead-letter-routing-key", long("P.dead")), strategy()],
        ),
        (
            "no way back",
            "wait.200ms",
            true,
            vec![quorum(), limit(), ("x-message-ttl", number(200)), strategy(), overflow()],
        ),
        (
            "another delay",
            "wait.200ms",
            true,
            vec![
                quorum(),
                limit(),
                ("x-message-ttl", number(300)),
                exchange(),
                ("x-dead-letter-routing-key", long("P.work")),
                strategy(),
                overflow(),
            ],
        ),
    ];
    for (what, queue, durable, arguments) in cases {
        scene(|scene| async move {
            let name = format!("{}.{queue}", scene.topology.prefix);
            let arguments: Vec<_> = arguments
                .into_iter()
                .map(|(key, value)| match &value {
                    AMQPValue::LongString(text) if text.as_bytes().starts_with(b"P.") => {
                        (key, long(&text.to_string().replacen('P', &scene.topology.prefix, 1)))
                    }
                    _ => (key, value),
                })
                .collect();
            put_queue(&name, durable, &arguments).await;
            let session = scene.broker.connect().await.unwrap();
            let error = session.declare(&scene.topology).await.expect_err(what);
            assert!(
                matches!(&error, BrokerError::Topology(text) if text.contains(&name)),
                "{what}: {error:?}"
            );
            assert_eq!(error.advice(), Advice::Outage(Dependency::Broker), "{what}");
            assert_eq!(session.ended(), None, "{what}: the session can look again");
        })
        .await;
    }
}

#[tokio::test]
async fn an_exchange_of_another_type_is_refused_by_name() {
    scene(|scene| async move {
        let (_connection, channel) = plain().await;
        let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        let name = scene.topology.events();
        channel
            .exchange_declare(name.as_str().into(), ExchangeKind::Direct, options, FieldTable::default())
            .await
            .unwrap();
        let session = scene.broker.connect().await.unwrap();
        let error = session.declare(&scene.topology).await.unwrap_err();
        assert!(matches!(&error, BrokerError::Topology(text) if text.contains(&name)), "{error:?}");
    })
    .await;
}

/// An alternate exchange would take unroutable messages somewhere else, and `mandatory` would not tell.
#[tokio::test]
async fn an_exchange_with_an_alternate_exchange_is_refused() {
    scene(|scene| async move {
        let (_connection, channel) = plain().await;
        let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        let arguments = table(&[("alternate-exchange", long("amq.fanout"))]);
        let name = scene.topology.events().into();
        channel.exchange_declare(name, ExchangeKind::Topic, options, arguments).await.unwrap();
        let session = scene.broker.connect().await.unwrap();
        let error = session.declare(&scene.topology).await.unwrap_err();
        assert!(matches!(error, BrokerError::Topology(_)), "{error:?}");
    })
    .await;
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_virtual_host_are_refused_access_without_saying_the_password() {
    let mut wrong = crate::support::broker::broker_url();
    wrong.set_password(Some("not-the-password")).unwrap();
    let mut nowhere = crate::support::broker::broker_url();
    nowhere.set_path("/no-such-virtual-host");
    for url in [wrong, nowhere] {
        let error = crate::support::broker::broker_at(&url).connect().await.err().expect("must be refused");
        assert!(matches!(error, BrokerError::AccessRefused { .. }), "{error:?}");
        assert!(!error.to_string().contains("not-the-password"), "{error}");
    }
}

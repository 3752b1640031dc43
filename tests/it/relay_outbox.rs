//! A row leaves the outbox only when the broker has every event that it went into.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use file_recycler::broker::Publisher;
use file_recycler::db::Db;
use file_recycler::db::outbox::Backlog;
use file_recycler::event::{Event, IdKind};
use file_recycler::listener::{Observer, Relay, Relayed, Turn};
use file_recycler::outcome::{Advice, Dependency};
use lapin::types::FieldTable;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::support::broker::{SOON, plain, scene};
use crate::support::outbox::{Outbox, outbox};
use crate::support::proxy::Weather;

const ENVIRONMENT: Uuid = Uuid::from_u128(0xe);

#[derive(Default)]
struct Heard {
    relayed: Mutex<Relayed>,
    backlogs: Mutex<Vec<Backlog>>,
}

impl Observer for Heard {
    fn relayed(&self, relayed: &Relayed) {
        let mut all = self.relayed.lock().unwrap();
        all.rows += relayed.rows;
        all.record_events += relayed.record_events;
        all.file_events += relayed.file_events;
    }

    fn backlog(&self, backlog: &Backlog) {
        self.backlogs.lock().unwrap().push(*backlog);
    }
}

fn relay(db: &Db) -> Relay {
    Relay::new(db.clone(), ENVIRONMENT, "crm", Duration::ZERO)
}

async fn turn(outbox: &Outbox, publisher: &Publisher) -> Result<Turn, file_recycler::outcome::Failure> {
    relay(&outbox.db).once(publisher, &Heard::default()).await
}

fn ids(range: std::ops::Range<u128>) -> Vec<Uuid> {
    range.map(Uuid::from_u128).collect()
}

fn decoded(bodies: &[bytes::Bytes]) -> Vec<Event> {
    bodies.iter().map(|body| Event::decode(body, IdKind::Uuid).unwrap()).collect()
}

#[tokio::test]
async fn what_was_captured_reaches_the_work_queue_and_leaves_the_outbox() {
    scene(|scene| {
        outbox(|outbox| async move {
            let session = scene.session().await;
            let publisher = scene.publisher(&session).await;
            outbox.capture_records(&ids(1..4)).await;
            outbox.capture_files(&ids(100..2_300)[..1_000]).await;
            let heard = Heard::default();
            let mut relay = relay(&outbox.db);
            let relayed = Relayed { rows: 2, record_events: 3, file_events: 1 };
            assert_eq!(relay.once(&publisher, &heard).await.unwrap(), Turn::Relayed(relayed));
            assert_eq!(relay.once(&publisher, &heard).await.unwrap(), Turn::Idle);
            assert_eq!(*heard.relayed.lock().unwrap(), relayed);
            assert_eq!(outbox.rows().await, 0);
            let events = decoded(&scene.drain(&scene.topology.work()).await);
            assert_eq!(events.len(), 4);
            assert!(events.iter().all(|e| e.source == "/crm/crm" && e.environment == Some(ENVIRONMENT)));
            assert_eq!(events.iter().map(|event| event.data.files().len()).sum::<usize>(), 1_000);
        })
    })
    .await;
}

#[tokio::test]
async fn a_broker_that_is_gone_leaves_every_row_and_is_an_outage() {
    scene(|scene| {
        outbox(|outbox| async move {
            scene.session().await.close().await;
            let (broker, proxy) = scene.proxied().await;
            let session = broker.connect().await.unwrap();
            let publisher = session.publisher(&scene.topology, SOON).await.unwrap();
            outbox.capture_records(&ids(1..101)).await;
            proxy.set(Weather::Cut);
            let failure = turn(&outbox, &publisher).await.unwrap_err();
            assert_eq!(failure.advice, Advice::Outage(Dependency::Broker), "{failure}");
            assert_eq!(outbox.rows().await, 1);

            // Past the proxy: through it heartbeats come each second, and a connection ends where this process is slow.
            let session = scene.session().await;
            let publisher = scene.publisher(&session).await;
            turn(&outbox, &publisher).await.unwrap();
            assert_eq!(outbox.rows().await, 0);
            assert_eq!(scene.drain(&scene.topology.work()).await.len(), 100);
        })
    })
    .await;
}

#[tokio::test]
async fn a_row_whose_event_was_unroutable_stays_and_the_others_go() {
    scene(|scene| {
        outbox(|outbox| async move {
            let session = scene.session().await;
            let publisher = scene.publisher(&session).await;
            let (_connection, channel) = plain().await;
            let (queue, exchange) = (scene.topology.work().into(), scene.topology.events().into());
            let key = "record.deleted".into();
            channel.queue_unbind(queue, exchange, key, FieldTable::default()).await.unwrap();
            outbox.capture_records(&ids(1..3)).await;
            outbox.capture_files(&ids(100..102)).await;
            outbox.capture_records(&ids(3..5)).await;
            let failure = turn(&outbox, &publisher).await.unwrap_err();
            assert_eq!(failure.advice, Advice::Outage(Dependency::Broker), "{failure}");
            assert_eq!(outbox.rows().await, 2, "both rows of records, not the one of files");

            session.declare(&scene.topology).await.unwrap();
            turn(&outbox, &publisher).await.unwrap();
            assert_eq!(outbox.rows().await, 0);
            assert_eq!(scene.drain(&scene.topology.work()).await.len(), 5, "each event once");
        })
    })
    .await;
}

#[tokio::test]
async fn several_relays_share_the_outbox_without_a_loss() {
    scene(|scene| {
        outbox(|outbox| async move {
            let session = scene.session().await;
            for start in 0..60 {
                outbox.capture_files(&ids(start * 50..(start + 1) * 50)).await;
            }
            let stop = CancellationToken::new();
            let mut relays = Vec::new();
            for _ in 0..4 {
                let publisher = scene.publisher(&session).await;
                let (mut relay, stop) = (relay(&outbox.db), stop.clone());
                relays.push(tokio::spawn(async move {
                    let heard = Heard::default();
                    let poll = Duration::from_millis(50);
                    relay.run(&publisher, poll, &|| async { true }, &heard, &stop).await.unwrap();
                    let counted = heard.backlogs.into_inner().unwrap().len();
                    (counted, heard.relayed.into_inner().unwrap().rows)
                }));
            }
            let emptied = async {
                while outbox.rows().await > 0 {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            tokio::time::timeout(SOON, emptied).await.unwrap();
            stop.cancel();
            // One that begins when all is done counts nothing any more.
            let (mut counted, mut rows) = (0, 0);
            for relay in relays {
                let (its_counts, its_rows) = relay.await.unwrap();
                counted += its_counts;
                rows += its_rows;
            }
            assert!(counted > 0);
            assert_eq!(rows, 60);
            let files: HashSet<String> = decoded(&scene.drain(&scene.topology.work()).await)
                .iter()
                .flat_map(|event| event.data.files().to_vec())
                .map(|file| file.file_id.to_string())
                .collect();
            assert_eq!(files.len(), 3_000);
        })
    })
    .await;
}

#[tokio::test]
async fn a_closed_gate_publishes_nothing_and_an_opened_one_goes_on() {
    static OPEN: AtomicBool = AtomicBool::new(false);
    static ASKED: AtomicBool = AtomicBool::new(false);
    scene(|scene| {
        outbox(|outbox| async move {
            let session = scene.session().await;
            let publisher = scene.publisher(&session).await;
            outbox.capture_records(&ids(1..2)).await;
            let stop = CancellationToken::new();
            let (mut relay, stopped) = (relay(&outbox.db), stop.clone());
            let running = tokio::spawn(async move {
                let gate = || async {
                    ASKED.store(true, Ordering::SeqCst);
                    OPEN.load(Ordering::SeqCst)
                };
                let poll = Duration::from_millis(20);
                relay.run(&publisher, poll, &gate, &Heard::default(), &stopped).await
            });
            let until = |wanted: fn() -> bool| async move {
                while !wanted() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            until(|| ASKED.swap(false, Ordering::SeqCst)).await;
            until(|| ASKED.swap(false, Ordering::SeqCst)).await;
            assert_eq!(outbox.rows().await, 1);
            OPEN.store(true, Ordering::SeqCst);
            while outbox.rows().await > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            stop.cancel();
            running.await.unwrap().unwrap();
        })
    })
    .await;
}

#[tokio::test]
async fn a_database_that_is_gone_is_an_outage_of_the_database() {
    scene(|scene| async move {
        let session = scene.session().await;
        let publisher = scene.publisher(&session).await;
        let url = secrecy::SecretString::from("postgres://somebody:secret@127.0.0.1:1/crm");
        let mut relay = relay(&Db::connect(&url).unwrap());
        let failure = relay.once(&publisher, &Heard::default()).await.unwrap_err();
        assert_eq!(failure.advice, Advice::Outage(Dependency::Database));
        assert!(!failure.to_string().contains("secret"), "{failure}");
    })
    .await;
}

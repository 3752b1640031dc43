//! A relay that dies between the broker's confirm and its own commit repeats the same events.

use std::collections::HashSet;
use std::process::Command;
use std::time::Duration;

use file_recycler::broker::Topology;
use file_recycler::db::Db;
use file_recycler::db::outbox::Backlog;
use file_recycler::event::{Event, IdKind};
use file_recycler::listener::{Observer, Relay, Relayed};
use secrecy::SecretString;
use uuid::Uuid;

use crate::support::broker::{SOON, broker_at, broker_url, scene};
use crate::support::outbox::outbox;

const DATABASE: &str = "FILE_RECYCLER_TEST_CRASH_DATABASE";
const PREFIX: &str = "FILE_RECYCLER_TEST_CRASH_PREFIX";

struct Deaf;

impl Observer for Deaf {
    fn relayed(&self, _: &Relayed) {}
    fn backlog(&self, _: &Backlog) {}
}

/// The other process: it takes one batch, and dies where the failpoint says.
#[tokio::test]
#[ignore = "started by the test below, in a process of its own"]
async fn a_relay_of_its_own() {
    let scenario = fail::FailScenario::setup();
    let topology = Topology { prefix: std::env::var(PREFIX).unwrap(), delays: Vec::new() };
    let session = broker_at(&broker_url()).connect().await.unwrap();
    let publisher = session.publisher(&topology, SOON).await.unwrap();
    let db = Db::connect(&SecretString::from(std::env::var(DATABASE).unwrap())).unwrap();
    Relay::new(db, Uuid::from_u128(0xe), "crm", Duration::ZERO).once(&publisher, &Deaf).await.unwrap();
    scenario.teardown();
}

#[tokio::test]
async fn a_relay_killed_between_publish_and_commit_repeats_the_same_events() {
    for point in ["relay::after_publish", "relay::before_commit"] {
        scene(move |scene| {
            outbox(move |outbox| async move {
                scene.session().await.close().await;
                outbox.capture_records(&(1..40).map(Uuid::from_u128).collect::<Vec<_>>()).await;
                outbox.capture_files(&(100..200).map(Uuid::from_u128).collect::<Vec<_>>()).await;
                let relay = || {
                    let mut command = Command::new(std::env::current_exe().unwrap());
                    command
                        .args(["--exact", "relay_crash::a_relay_of_its_own", "--ignored"])
                        .env(DATABASE, outbox.url.as_str())
                        .env(PREFIX, &scene.topology.prefix);
                    command
                };
                let died = relay().env("FAILPOINTS", format!("{point}=return")).output().unwrap();
                assert!(!died.status.success(), "{point}: it must die there");
                let first = scene.drain(&scene.topology.work()).await;
                assert_eq!(first.len(), 40, "{point}: everything was published before it died");
                assert_eq!(outbox.rows().await, 2, "{point}: nothing was deleted");
                // The server lets the dead one's rows go when it notices, and the next relay passes over what is locked.
                let free =
                    "SELECT count(*) FROM (SELECT FROM file_recycler.outbox FOR UPDATE SKIP LOCKED) AS free";
                while sqlx::query_scalar::<_, i64>(free).fetch_one(&outbox.plain).await.unwrap() < 2 {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }

                let lived = relay().env_remove("FAILPOINTS").output().unwrap();
                assert!(lived.status.success(), "{}", String::from_utf8_lossy(&lived.stdout));
                assert_eq!(outbox.rows().await, 0);
                let again = scene.drain(&scene.topology.work()).await;
                let ids = |bodies: &[bytes::Bytes]| -> HashSet<String> {
                    bodies.iter().map(|body| Event::decode(body, IdKind::Uuid).unwrap().id).collect()
                };
                assert_eq!(ids(&first), ids(&again), "{point}");
                assert_eq!(ids(&first).len(), 40);
            })
        })
        .await;
    }
}

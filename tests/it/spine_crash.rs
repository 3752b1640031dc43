//! The worker and the relay are killed in the middle: nothing is lost, nothing is done twice.

use std::sync::Arc;

use file_recycler::storage::Side;
use uuid::Uuid;

use crate::support::process::{Service, eventually};
use crate::support::world::{S3, World, world};

/// A record with two hard files and a weak one, deleted while a process that dies at `failpoint` is at work.
async fn dies_at(world: Arc<World>, half: &str, failpoint: &str) {
    let (record, mut files) = world.record_with_files("Contact", "ContactFile", 2).await;
    let weak = world.crm.weak_file("SysFile", "Contact", record).await;
    world.upload(weak).await;
    files.push(weak);
    let bystander = world.record_with_files("Contact", "ContactFile", 1).await.1[0];

    let mut doomed = world.doomed(half, failpoint).await;
    let other = match half {
        "listen" => Some(Service::start(&world.environment, &["work"]).await),
        "work" => Some(Service::start(&world.environment, &["listen"]).await),
        _ => None,
    };
    world.crm.delete("Contact", record).await;
    assert_eq!(doomed.ended().await, None, "{failpoint}: a signal ends it, at that very point");
    for file in &files {
        let kept = world.object(Side::Object, *file).await.is_some();
        let copied = world.object(Side::Recycle, *file).await.is_some();
        assert!(kept || copied, "{failpoint}: a file is in neither bucket");
    }

    let service = world.run().await;
    for file in &files {
        world.recycled(*file).await;
    }
    world.quiet(&service).await;
    everything_once(&world, &files).await;
    world.is_untouched(bystander).await;
    drop((service, other, doomed));
}

/// Every file is in the ledger once for its event, and the dead-letter queue is empty.
async fn everything_once(world: &World, files: &[Uuid]) {
    for file in files {
        let rows = format!("SELECT count(*) FROM file_recycler.ledger WHERE file_id = '{file}'");
        eventually("the file is in the ledger", async || (world.crm.number(&rows).await == 1).then_some(()))
            .await;
    }
    assert_eq!(world.cli(&["dlq", "list", "--json"]).await.expect(0).json()["total"], 0);
}

macro_rules! dies_at {
    ($($test:ident: $half:literal, $failpoint:literal;)+) => {
        $(#[tokio::test]
        async fn $test() {
            world(S3::Embedded, async |world| dies_at(world, $half, $failpoint).await).await;
        })+
    };
}

dies_at! {
    a_relay_that_dies_after_publishing_publishes_again: "listen", "relay::after_publish";
    a_relay_that_dies_before_its_commit_publishes_again: "listen", "relay::before_commit";
    a_worker_that_dies_with_a_message_in_hand_gets_it_again: "work", "worker::delivered";
    a_worker_that_dies_after_the_check_begins_again: "work", "recycle::after_check";
    a_worker_that_dies_after_the_copy_finishes_the_move: "work", "recycle::after_copy";
    a_worker_that_dies_before_the_delete_finishes_the_move: "work", "recycle::before_delete";
    a_worker_that_dies_after_the_delete_notes_the_move: "work", "recycle::after_delete";
    a_worker_that_dies_after_the_note_notes_nothing_twice: "work", "recycle::after_note";
    a_worker_that_dies_before_the_acknowledgement_finds_all_done: "work", "worker::before_ack";
    a_sidecar_that_dies_after_an_acknowledgement_goes_on_with_the_rest: "run", "worker::after_ack";
}

#[tokio::test]
async fn processes_killed_at_random_moments_lose_nothing_and_do_nothing_twice() {
    world(S3::Embedded, async |world| {
        let mut files = Vec::new();
        let mut records = Vec::new();
        for _ in 0..40 {
            let (record, its) = world.record_with_files("Account", "AccountFile", 2).await;
            records.push(record);
            files.extend(its);
        }
        let mut service = world.run().await;
        for (number, record) in records.iter().enumerate() {
            world.crm.delete("Account", *record).await;
            if number % 8 == 7 {
                service.kill().await;
                service = Service::start(&world.environment, &["run"]).await;
            }
        }
        for file in &files {
            world.recycled(*file).await;
        }
        world.quiet(&service).await;
        everything_once(&world, &files).await;
    })
    .await;
}

#[tokio::test]
async fn a_stop_finishes_what_is_in_flight_and_exits_with_zero() {
    world(S3::Embedded, async |world| {
        world.storage.control().set_latency(std::time::Duration::from_millis(100));
        let mut service = world.run().await;
        let (record, files) = world.record_with_files("Contact", "ContactFile", 20).await;
        world.crm.delete("Contact", record).await;
        eventually("the copies have begun", async || {
            // The storage's probe has objects there, too.
            let keys = world.storage.control().keys(&world.storage.recycle);
            (keys.iter().filter(|key| !key.starts_with(".file-recycler/")).count() > 1).then_some(())
        })
        .await;
        assert_eq!(service.stop().await, Some(0));
        for file in &files {
            assert!(world.object(Side::Object, *file).await.is_none(), "it was in flight, and is finished");
        }
    })
    .await;
}

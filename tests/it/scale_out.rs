//! Four workers on one queue share the work and do nothing twice, while workers join and are killed.

use std::collections::BTreeSet;
use std::time::Duration;

use file_recycler::storage::Side;
use recycler_test_s3::{Action, Operation, Rule, When};

use crate::support::process::{Service, eventually, eventually_within};
use crate::support::world::{S3, World, takes_messages, world};

/// What the ledger says: files, and rows.
async fn noted(world: &World) -> (i64, i64) {
    let of = |what: &str| {
        format!("SELECT count({what}) FROM file_recycler.ledger WHERE outcome IN ('moved', 'already_moved')")
    };
    (world.crm.number(of("DISTINCT file_id")).await, world.crm.number(of("*")).await)
}

/// A worker that takes few messages at a time, so that none takes all.
async fn worker(world: &World) -> Service {
    Service::start(&world.with(&[("WORKER__PREFETCH", "16")]), &["work"]).await
}

/// Waits until all of them are in the recycle bucket only.
async fn everything_moves(world: &World, ids: &[String]) {
    let control = world.storage.control();
    eventually_within(Duration::from_mins(3), "every file is recycled", async || {
        let recycled: BTreeSet<_> = control.keys(&world.storage.recycle).into_iter().collect();
        let left: BTreeSet<_> = control.keys(&world.storage.object).into_iter().collect();
        ids.iter().all(|id| recycled.contains(id) && !left.contains(id)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn four_workers_share_one_queue_and_each_file_costs_one_copy_and_is_deleted_once() {
    world(S3::Embedded, async |world| {
        const FILES: usize = 600;
        let ids = world.many(FILES).await;
        let listener = Service::start(&world.environment, &["listen"]).await.ready().await;
        let mut workers = Vec::new();
        for _ in 0..4 {
            workers.push(worker(&world).await);
        }
        for worker in &workers {
            // The probe of the storage, which comes earlier, copies and deletes too.
            takes_messages(worker).await;
        }
        let control = world.storage.control();
        // Their probes are over, and one worker alone must not be through before the others have begun.
        control.reset();
        control.set_latency(Duration::from_millis(20));
        world.delete_one_by_one().await;
        everything_moves(&world, &ids).await;
        world.quiet(&listener).await;
        let count = i64::try_from(FILES).unwrap();
        eventually("every file is in the ledger", async || (noted(&world).await.0 == count).then_some(()))
            .await;
        assert_eq!(noted(&world).await.1, count, "each once");

        let counts = control.counts();
        assert_eq!(counts.of(Operation::CopyObject), FILES as u64, "one copy for a file: {counts:?}");
        assert_eq!(counts.answered(Operation::CopyObject, 200), FILES as u64);
        // Counted after the acknowledgement.
        let shares = eventually("each file is counted by one worker", async || {
            let mut shares = Vec::new();
            for worker in &workers {
                shares.push(worker.metric(r#"file_recycler_files_total{outcome="moved"}"#).await);
            }
            (shares.iter().sum::<u64>() == FILES as u64).then_some(shares)
        })
        .await;
        assert!(shares.iter().all(|share| *share > 0), "a worker did nothing: {shares:?}");
        drop((workers, listener));
    })
    .await;
}

/// The same every time: which worker dies, and when one joins.
fn sequence(seed: u64) -> impl Iterator<Item = usize> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 40).unwrap()
    })
}

#[tokio::test]
async fn workers_that_join_and_are_killed_at_random_note_no_file_twice() {
    world(S3::Embedded, async |world| {
        const FILES: usize = 240;
        let ids = world.many(FILES).await;
        let bystander = world.record_with_files("Account", "AccountFile", 1).await.1[0];
        let listener = Service::start(&world.environment, &["listen"]).await.ready().await;
        let mut workers = Vec::new();
        for _ in 0..4 {
            workers.push(worker(&world).await);
        }
        let control = world.storage.control();
        control.set_latency(Duration::from_millis(10));
        world.delete_one_by_one().await;
        let mut done = 0;
        for (round, number) in sequence(5).take(8).enumerate() {
            let expected = (round + 1) * FILES / 12;
            eventually("some more are done", async || {
                done = control.keys(&world.storage.recycle).len();
                (done >= expected).then_some(())
            })
            .await;
            let at = number % workers.len();
            workers.swap_remove(at).kill().await;
            workers.push(worker(&world).await);
            if number % 3 == 0 {
                workers.push(worker(&world).await);
            }
        }
        control.set_latency(Duration::ZERO);
        everything_moves(&world, &ids).await;
        world.quiet(&listener).await;
        let count = i64::try_from(FILES).unwrap();
        eventually("every file is in the ledger", async || (noted(&world).await.0 == count).then_some(()))
            .await;
        assert_eq!(noted(&world).await.1, count, "each once");
        world.is_untouched(bystander).await;
        assert!(world.object(Side::Recycle, bystander).await.is_none());
        assert_eq!(world.cli(&["dlq", "list", "--json"]).await.expect(0).json()["total"], 0);
        drop((workers, listener));
    })
    .await;
}

/// A worker that hangs has emptied the queue into its hands: without this figure nobody would see what waits.
#[tokio::test]
async fn what_is_in_a_workers_hands_is_counted_until_it_is_settled() {
    const IN_HAND: &str = "file_recycler_deliveries_in_hand";
    const ENDED: &str = "file_recycler_events_total{type=\"crm.record.deleted.v1\"}";
    world(S3::Embedded, async |world| {
        const FILES: usize = 5;
        let ids = world.many(FILES).await;
        let service = world.run().await;
        takes_messages(&service).await;
        assert_eq!(service.metric(IN_HAND).await, 0);
        let control = world.storage.control();
        control.fault(Rule::new(Operation::CopyObject, Action::Hold { when: When::Before }));
        world.delete_one_by_one().await;
        eventually("every copy is held", async || (control.holding() == FILES).then_some(())).await;
        assert_eq!(service.metric(IN_HAND).await, FILES as u64);
        assert_eq!(service.metric(ENDED).await, 0);
        control.clear_faults();
        control.release();
        everything_moves(&world, &ids).await;
        world.quiet(&service).await;
        eventually("nothing is in hand", async || (service.metric(IN_HAND).await == 0).then_some(())).await;
        // Counted after the acknowledgement.
        eventually("all are counted", async || (service.metric(ENDED).await == FILES as u64).then_some(()))
            .await;
    })
    .await;
}

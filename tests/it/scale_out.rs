//! Four workers on one queue share the work and do nothing twice, while workers join and are killed.

use std::collections::BTreeSet;
use std::time::Duration;

use file_recycler::storage::Side;
use recycler_test_s3::Operation;

use crate::support::process::{Service, eventually};
use crate::support::world::{S3, World, world};

/// What the ledger says: files, and rows.
async fn noted(world: &World) -> (i64, i64) {
    let of = |what: &str| {
        format!("SELECT count({what}) FROM file_recycler.ledger WHERE outcome IN ('moved', 'already_moved')")
    };
    (world.crm.number(of("DISTINCT file_id")).await, world.crm.number(of("*")).await)
}

async fn started(world: &World) -> Service {
    Service::start(&world.environment, &["work"]).await.ready().await
}

#[tokio::test]
async fn four_workers_share_one_queue_and_each_file_costs_one_copy_and_is_deleted_once() {
    world(S3::Embedded, async |world| {
        const FILES: usize = 1_500;
        let ids = world.many(FILES).await;
        let listener = Service::start(&world.environment, &["listen"]).await.ready().await;
        let mut workers = Vec::new();
        for _ in 0..4 {
            workers.push(started(&world).await);
        }
        let control = world.storage.control();
        // So that one worker alone is not through before the others have begun.
        control.set_latency(Duration::from_millis(20));
        // Their probes are over.
        control.reset();
        control.set_latency(Duration::from_millis(20));
        world.delete_one_by_one().await;
        eventually("every file is recycled", async || {
            let recycled: BTreeSet<_> = control.keys(&world.storage.recycle).into_iter().collect();
            let left: BTreeSet<_> = control.keys(&world.storage.object).into_iter().collect();
            ids.iter().all(|id| recycled.contains(id) && !left.contains(id)).then_some(())
        })
        .await;
        world.quiet(&listener).await;
        let count = i64::try_from(FILES).unwrap();
        eventually("every file is in the ledger", async || (noted(&world).await.0 == count).then_some(()))
            .await;
        assert_eq!(noted(&world).await.1, count, "each once");

        let counts = control.counts();
        assert_eq!(counts.of(Operation::CopyObject), FILES as u64, "one copy for a file: {counts:?}");
        assert_eq!(counts.answered(Operation::CopyObject, 200), FILES as u64);
        let mut total = 0;
        for worker in &workers {
            let moved = worker.metric(r#"file_recycler_files_total{outcome="moved"}"#).await;
            assert!(moved > 0, "a worker did nothing");
            total += moved;
        }
        assert_eq!(total, FILES as u64, "each file is counted by one worker");
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
        const FILES: usize = 600;
        let ids = world.many(FILES).await;
        let bystander = world.record_with_files("Account", "AccountFile", 1).await.1[0];
        let listener = Service::start(&world.environment, &["listen"]).await.ready().await;
        let mut workers = Vec::new();
        for _ in 0..4 {
            workers.push(Service::start(&world.environment, &["work"]).await);
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
            workers.push(Service::start(&world.environment, &["work"]).await);
            if number % 3 == 0 {
                workers.push(Service::start(&world.environment, &["work"]).await);
            }
        }
        control.set_latency(Duration::ZERO);
        for id in &ids {
            world.recycled(id.parse().unwrap()).await;
        }
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

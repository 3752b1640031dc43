//! Nothing newer is ever overwritten, whenever it appears.

use file_recycler::storage::Side;
use recycler_test_s3::{Action, Credentials, Operation, Proxy, ProxyOptions, Rule, Switches, When};
use serde_json::json;

use super::{counts, put, restore_with, row};
use crate::support::world::{S3, World, bare_world};

/// A world behind a proxy that can be disturbed.
async fn disturbed(s3: S3, test: impl AsyncFnOnce(&World, &[(String, String)], Switches)) {
    bare_world(s3, async |world| {
        let (access_key, secret_key) = world.storage.credentials();
        let credentials = Some(Credentials { access_key, secret_key });
        let options = ProxyOptions { credentials, ..ProxyOptions::to(world.storage.endpoint()) };
        let proxy = Proxy::start(options).await.unwrap();
        let environment = world.with(&[("STORAGE__SERVICE_URL", &proxy.endpoint())]);
        for line in [&["listener", "install"][..], &["adopt", "--apply"]] {
            crate::support::process::run(&environment, line).await.expect(0);
        }
        test(&world, &environment, Switches::clone(&proxy.control())).await;
    })
    .await;
}

#[tokio::test]
async fn case_39_an_object_that_appears_between_the_look_and_the_copy_is_not_overwritten() {
    // moto takes no notice of conditions: there it is the look right before the copy that finds it.
    for (s3, rule) in [
        (S3::Embedded, Rule::new(Operation::CopyObject, Action::Hold { when: When::Before })),
        (S3::Foreign, Rule::new(Operation::CopyObject, Action::Hold { when: When::Before })),
        (S3::Moto, Rule::new(Operation::HeadObject, Action::Hold { when: When::Before }).skip(1)),
    ] {
        disturbed(s3, async |world, environment, switches| {
            let file = row(world).await;
            let key = file.to_string();
            put(world, Side::Recycle, file).await;
            switches.fault(rule.bucket(&world.storage.object).key(&key).times(1));
            let running = tokio::spawn({
                let (environment, key) = (environment.to_vec(), key.clone());
                async move { restore_with(&environment, &["--file", &key, "--apply"], 1).await }
            });
            let held = tokio::time::timeout(crate::support::process::PATIENCE, switches.held()).await;
            held.unwrap_or_else(|_| panic!("{s3:?}: nothing was looked at or copied"));
            world.storage.put(Side::Object, &key, b"newer").await;
            switches.release();
            let done = running.await.unwrap();
            assert_eq!(counts(&done), json!({ "differs": 1 }), "{s3:?}: {done}");
            world.storage.holds(&key, Some(b"newer"), Some(key.as_bytes())).await;
        })
        .await;
    }
}

#[tokio::test]
async fn an_outage_that_passes_is_waited_for_and_one_that_does_not_fails_with_its_reason() {
    disturbed(S3::Embedded, async |world, environment, switches| {
        let [soon, never] = [row(world).await, row(world).await];
        for file in [soon, never] {
            put(world, Side::Recycle, file).await;
        }
        let down = |code: &str| Action::Status { status: 503, code: code.into(), when: When::Before };
        switches.fault(Rule::new(Operation::CopyObject, down("SlowDown")).key(soon.to_string()).times(2));
        switches.fault(Rule::new(Operation::HeadObject, down("SlowDown")).key(never.to_string()));
        let line = ["--file", &soon.to_string(), &never.to_string(), "--apply"];
        let done = restore_with(environment, &line, 1).await;
        assert_eq!(counts(&done), json!({ "restored": 1, "failed": 1 }), "{done}");
    })
    .await;
}

#[tokio::test]
async fn a_storage_that_is_out_for_everybody_ends_it_before_thousands_have_failed() {
    disturbed(S3::Embedded, async |world, environment, switches| {
        world
            .crm
            .sql(
                "INSERT INTO file_recycler.ledger (file_id, key, event_id, outcome, deleted_at)
                 SELECT id, id, 'e', 'moved', clock_timestamp()
                   FROM (SELECT gen_random_uuid()::text AS id FROM generate_series(1, 1500)) AS made",
            )
            .await;
        let down = Action::Status { status: 503, code: "SlowDown".into(), when: When::Before };
        switches.fault(Rule::new(Operation::HeadObject, down).bucket(&world.storage.recycle));
        let done = restore_with(environment, &["--deleted-since", "1h", "--force"], 1).await;
        assert!(done["stopped"].as_str().unwrap().contains("slower pace"), "{done}");
        assert!(done["counts"]["failed"].as_u64().unwrap() < 500, "{done}");
    })
    .await;
}

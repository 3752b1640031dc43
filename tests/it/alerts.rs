//! Alerts, dashboard and their pages: each alert fires for the real thing, and every name is one that is scraped.

mod dashboard;
mod pages;

use std::collections::BTreeSet;

use file_recycler::storage::Side;
use lapin::BasicProperties;
use recycler_test_s3::{Action, Operation, Rule, When};

use crate::support::broker;
use crate::support::process::{Service, eventually, get};
use crate::support::prometheus::{Prometheus, deployed, promtool};
use crate::support::world::{S3, World, bare_world};

/// The names of all alerts, in their order.
fn alerts() -> Vec<String> {
    let rules = std::fs::read_to_string(deployed("prometheus/alerts.yml")).unwrap();
    let names = rules.lines().filter_map(|line| line.trim_start().strip_prefix("- alert: "));
    let names: Vec<_> = names.map(str::to_owned).collect();
    assert!(names.len() > 20, "{names:?}");
    names
}

/// A world whose recycle bucket forgets before the backups do.
async fn watched_world(test: impl AsyncFnOnce(&World, &mut Service, &Prometheus)) {
    bare_world(S3::Embedded, async |world| {
        world.cli(&["listener", "install"]).await.expect(0);
        world.cli(&["adopt", "--apply"]).await.expect(0);
        world.cli(&["retention", "set", "--days", "30", "--apply"]).await.expect(0);
        let environment = world.with(&[("RETENTION__DATABASE_BACKUPS", "90d")]);
        let mut service = Service::start(&environment, &["run"]).await.ready().await;
        let prometheus = Prometheus::start(service.http).await;
        test(&world, &mut service, &prometheus).await;
    })
    .await;
}

/// Waits until exactly these alerts fire.
async fn fires(prometheus: &Prometheus, what: &str, expected: &[&str]) {
    let expected: BTreeSet<String> = expected.iter().map(|name| (*name).to_owned()).collect();
    let mut last = BTreeSet::new();
    let mut met = async || {
        last = prometheus.firing().await;
        (last == expected).then_some(())
    };
    let deadline = tokio::time::Instant::now() + crate::support::process::PATIENCE;
    while met().await.is_none() {
        if tokio::time::Instant::now() > deadline {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(last, expected, "{what}");
}

#[tokio::test]
async fn promtool_accepts_rules_and_configuration_and_every_test_of_them_holds() {
    for (arguments, file) in [
        (&["check", "rules"][..], "prometheus/alerts.yml"),
        (&["check", "config"], "prometheus/prometheus.yml"),
        (&["test", "rules"], "prometheus/rules.test.yml"),
    ] {
        let file = deployed(file);
        let said = promtool(&[arguments, &[file.to_str().unwrap()]].concat(), "").await;
        assert!(said.success && said.stdout.contains("SUCCESS"), "{said:?}");
    }
}

#[test]
fn every_alert_is_tested_for_what_is_wrong_and_for_what_is_well() {
    let tests = std::fs::read_to_string(deployed("prometheus/rules.test.yml")).unwrap();
    // One test, from its name to the next.
    let tests: Vec<&str> = tests.split("  - name: ").skip(1).collect();
    let mut known = 0;
    for alert in alerts() {
        let of = |how: &str| {
            let name = format!("{alert} {how}\n");
            let found: Vec<_> = tests.iter().filter(|test| test.starts_with(&name)).collect();
            assert!(!found.is_empty(), "no test: {name}");
            for test in &found {
                assert!(test.contains(&format!("alertname: {alert}\n")), "{test}");
                assert_eq!(test.contains("exp_alerts: []"), how == "does not fire", "{test}");
            }
            found.len()
        };
        known += of("fires") + of("does not fire");
    }
    assert_eq!(tests.len(), known, "a test of no alert");
}

#[tokio::test]
async fn real_trouble_fires_its_alert_and_nothing_else() {
    const ALWAYS: &str = "FileRecyclerRetentionTooShort";
    const DEAD: &str = "FileRecyclerDeadLetters";
    watched_world(async |world, service, prometheus| {
        service.expects(&[
            "paused by an operator",
            "dead-lettered",
            "not well",
            "could not be probed",
            "listener",
        ]);
        world.moves_a_file().await;
        fires(prometheus, "all is well but the lifecycle rule", &[ALWAYS]).await;

        world.cli(&["pause", "--why", "a test"]).await.expect(0);
        fires(prometheus, "paused", &[ALWAYS, "FileRecyclerPaused"]).await;
        world.cli(&["resume"]).await.expect(0);
        fires(prometheus, "resumed", &[ALWAYS]).await;

        broker::put(&world.queues.topology.work(), b"no event", BasicProperties::default()).await;
        fires(prometheus, "a dead letter", &[ALWAYS, DEAD]).await;

        world.crm.sql(r#"ALTER TABLE "Contact" DISABLE TRIGGER USER"#).await;
        fires(prometheus, "a trigger is off", &[ALWAYS, DEAD, "FileRecyclerListenerDrift"]).await;
        world.crm.sql(r#"ALTER TABLE "Contact" ENABLE TRIGGER USER"#).await;
        world.cli(&["listener", "install"]).await.expect(0);
        fires(prometheus, "the triggers are mended", &[ALWAYS, DEAD]).await;

        let down = || Action::Status { status: 503, code: "ServiceUnavailable".into(), when: When::Before };
        for operation in [Operation::HeadBucket, Operation::GetObject, Operation::HeadObject] {
            world.storage.control().fault(Rule::new(operation, down()));
        }
        let outage = [ALWAYS, DEAD, "FileRecyclerDependencyDown storage", "FileRecyclerNotReady"];
        fires_at_least(prometheus, "the storage is down", &outage).await;
        world.storage.control().clear_faults();
        eventually("the storage is back", async || {
            let firing = prometheus.firing().await;
            (!firing.iter().any(|name| name.contains("Dependency") || name.contains("NotReady")))
                .then_some(())
        })
        .await;

        world.storage.delete(Side::Object, ".file-recycler/environment.json").await;
        let refused = ["FileRecyclerGuardRefuses", "FileRecyclerNotReady"];
        fires_at_least(prometheus, "the marker vanished", &refused).await;

        service.kill().await;
        fires_at_least(prometheus, "nobody answers", &["FileRecyclerDown"]).await;
    })
    .await;
}

async fn fires_at_least(prometheus: &Prometheus, what: &str, expected: &[&str]) {
    eventually(what, async || {
        let firing = prometheus.firing().await;
        expected.iter().all(|name| firing.contains(*name)).then_some(())
    })
    .await;
}

/// The classic text of `/metrics`, of a service that has moved a file.
async fn scraped(service: &Service) -> String {
    let (status, text) = get(service.http, "/metrics").await.unwrap();
    assert_eq!(status, 200);
    text
}

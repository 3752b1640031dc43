//! The dashboard: whole by its structure, and every question of it has an answer at a real Prometheus.

use std::collections::BTreeSet;

use serde_json::Value;

use super::watched_world;
use crate::support::process::eventually;
use crate::support::prometheus::deployed;

/// Figures that only trouble has.
const EMPTY_WHERE_ALL_IS_WELL: &[&str] = &["ALERTS"];

fn dashboard() -> Value {
    serde_json::from_str(&std::fs::read_to_string(deployed("grafana/dashboard.json")).unwrap()).unwrap()
}

fn panels(dashboard: &Value) -> Vec<Value> {
    dashboard["panels"].as_array().unwrap().clone()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn the_four_questions_are_its_rows_and_its_panels_are_whole() {
    let dashboard = dashboard();
    let panels = panels(&dashboard);
    let rows: Vec<_> =
        panels.iter().filter(|panel| panel["type"] == "row").map(|panel| &panel["title"]).collect();
    assert_eq!(rows, ["Is it working?", "Is it behind?", "What is stuck?", "What will it cost?"]);
    let ids: BTreeSet<_> = panels.iter().map(|panel| number(&panel["id"])).collect();
    assert_eq!(ids.len(), panels.len(), "ids are unique");

    let mut taken = BTreeSet::new();
    for panel in &panels {
        let (place, title) = (&panel["gridPos"], &panel["title"]);
        assert!(title.as_str().is_some_and(|title| !title.is_empty()), "{panel}");
        for x in number(&place["x"])..number(&place["x"]) + number(&place["w"]) {
            assert!(x < 24, "{title} is beside the grid");
            for y in number(&place["y"])..number(&place["y"]) + number(&place["h"]) {
                assert!(taken.insert((x, y)), "{title} covers another panel");
            }
        }
        if panel["type"] != "row" {
            let targets = panel["targets"].as_array().unwrap();
            assert!(!targets.is_empty(), "{title}");
            let refs: BTreeSet<_> = targets.iter().map(|target| target["refId"].as_str().unwrap()).collect();
            assert_eq!(refs.len(), targets.len(), "{title}");
            for with_source in targets.iter().chain([panel]) {
                assert_eq!(with_source["datasource"]["uid"], "${datasource}", "{title}");
            }
            assert!(panel["description"].as_str().is_some_and(|text| !text.is_empty()), "{title}");
        }
    }
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let source = variables.iter().find(|variable| variable["name"] == "datasource").unwrap();
    assert_eq!((&source["type"], &source["query"]), (&"datasource".into(), &"prometheus".into()));
    assert!(variables.iter().any(|variable| variable["name"] == "job"));
}

#[test]
fn grafana_is_told_where_prometheus_and_the_dashboard_are() {
    let read = |name: &str| std::fs::read_to_string(deployed("grafana/provisioning").join(name)).unwrap();
    let source = read("datasources/prometheus.yml");
    for line in ["type: prometheus", "url: http://prometheus:9090", "isDefault: true"] {
        assert!(source.contains(line), "{line}");
    }
    let provider = read("dashboards/file-recycler.yml");
    for line in ["type: file", "path: /var/lib/grafana/dashboards"] {
        assert!(provider.contains(line), "{line}");
    }
}

#[tokio::test]
async fn every_panel_has_an_answer_at_a_real_prometheus() {
    watched_world(async |world, _, prometheus| {
        world.moves_a_file().await;
        eventually("there are rates", async || {
            let moved = "rate(file_recycler_files_total{outcome=\"moved\"}[1m])";
            (!prometheus.query(moved).await.is_empty()).then_some(())
        })
        .await;
        let mut asked = 0;
        for panel in panels(&dashboard()) {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let expression = target["expr"].as_str().unwrap();
                let question = expression
                    .replace("$__rate_interval", "1m")
                    .replace("$__range", "1m")
                    .replace("$price_requests", "0.005")
                    .replace("$price_gb_month", "0.0125")
                    .replace("$job", "file-recycler");
                assert!(!question.contains('$'), "{question}");
                let may_be_empty = EMPTY_WHERE_ALL_IS_WELL.iter().any(|part| question.contains(part));
                // What has come with the move may have been scraped once, and a rate needs two.
                eventually(&format!("{}: {question}", panel["title"]), async || {
                    let answer = prometheus.query(&question).await;
                    (may_be_empty || !answer.is_empty()).then_some(())
                })
                .await;
                asked += 1;
            }
        }
        assert!(asked > 20, "{asked} questions");
        assert_eq!(prometheus.rules().await.len(), super::alerts().len());
    })
    .await;
}

//! The pages of alerts and metrics are complete, and what they name is scraped.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{alerts, scraped, watched_world};
use crate::support::prometheus::{deployed, promtool};

fn page(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)).unwrap()
}

#[test]
fn every_alert_has_its_section_and_its_link_leads_there() {
    let page = page("alerts.md");
    let sections: Vec<&str> = page.split("\n### ").skip(1).collect();
    let titles: Vec<&str> = sections.iter().map(|section| section.lines().next().unwrap()).collect();
    assert_eq!(titles, alerts(), "the sections are in the order of the alerts");
    for section in &sections {
        for part in ["**Means.**", "**Check.**", "**Do.**"] {
            assert!(section.contains(part), "{part} is missing: {section}");
        }
    }
    let rules = std::fs::read_to_string(deployed("prometheus/alerts.yml")).unwrap();
    let links: Vec<&str> =
        rules.lines().filter_map(|line| line.trim_start().strip_prefix("runbook_url: ")).collect();
    // The anchor of a title is its small letters.
    let link =
        |title: &&str| format!("\"{{{{ $externalLabels.guide }}}}docs/alerts.md#{}\"", title.to_lowercase());
    assert_eq!(links, titles.iter().map(link).collect::<Vec<_>>());
}

/// Series of a scrape: each name with its labels.
fn series(text: &str) -> Vec<(String, BTreeMap<String, String>)> {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|line| {
            let (series, _) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let labels = labels.trim_end_matches('}').split(',').filter_map(|label| label.split_once('='));
            let labels = labels.map(|(key, value)| (key.to_owned(), value.trim_matches('"').to_owned()));
            (name.to_owned(), labels.collect())
        })
        .collect()
}

/// Names of ours in an expression, each with the labels that it asks for.
fn asked(text: &str) -> BTreeSet<(String, Option<(String, String)>)> {
    let mut asked = BTreeSet::new();
    for start in ["file_recycler_", "process_"] {
        for (at, _) in text.match_indices(start) {
            let is_in_a_word = text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
            let rest = &text[at..];
            let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
            if is_in_a_word {
                continue;
            }
            let (name, rest) = rest.split_at(end);
            asked.insert((name.to_owned(), None));
            let Some((labels, _)) = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) else {
                continue;
            };
            for (label, words) in labels.split(',').filter_map(|label| label.split_once('=')) {
                if !label.ends_with('!') && label.trim() != "job" && !words.contains('$') {
                    let words = words.trim_start_matches('~').trim_matches(['"', '\\']);
                    let word =
                        |word: &str| (name.to_owned(), Some((label.trim().to_owned(), word.to_owned())));
                    asked.extend(words.split('|').map(word));
                }
            }
        }
    }
    asked
}

#[tokio::test]
async fn what_is_scraped_passes_promtool_is_in_the_page_and_is_all_that_alerts_and_dashboard_ask_for() {
    watched_world(async |world, service, _| {
        world.moves_a_file().await;
        let text = scraped(service).await;
        let said = promtool(&["check", "metrics"], &text).await;
        assert!(said.success && said.stdout.is_empty() && said.stderr.is_empty(), "{said:?}");

        let series = series(&text);
        for file in ["prometheus/alerts.yml", "grafana/dashboard.json"] {
            let names = asked(&std::fs::read_to_string(deployed(file)).unwrap());
            assert!(names.len() > 20, "{file}: {names:?}");
            for (name, label) in names {
                let of = |(found, labels): &&(String, BTreeMap<String, String>)| {
                    *found == name && label.as_ref().is_none_or(|(key, word)| labels.get(key) == Some(word))
                };
                assert!(
                    series.iter().find(of).is_some(),
                    "{file} asks for {name} {label:?}, which is not scraped"
                );
            }
        }

        // Each family with its labels is a row of the page.
        let mut families: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for family in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
            let (name, _) = family.split_once(' ').unwrap();
            let is_of = |found: &str| {
                found.strip_prefix(name).is_some_and(|end| ["", "_bucket", "_sum", "_count"].contains(&end))
            };
            let labels = series
                .iter()
                .filter(|(found, _)| is_of(found))
                .flat_map(|(_, labels)| labels.keys().cloned());
            families.insert(name.to_owned(), labels.filter(|label| label != "le").collect());
        }
        let page = page("metrics.md");
        let rows = page
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
            .filter(|(name, _)| name.starts_with("file_recycler_") || name.starts_with("process_"));
        let told: BTreeMap<String, BTreeSet<String>> = rows
            .map(|(name, rest)| {
                let labels = rest.split('|').nth(1).unwrap().split('`').skip(1).step_by(2);
                (name.to_owned(), labels.map(str::to_owned).collect())
            })
            .collect();
        assert_eq!(told, families, "docs/metrics.md");
    })
    .await;
}

#[test]
fn names_and_labels_of_an_expression_are_found() {
    let text = r#"sum(rate(file_recycler_a_total{job="x", kind=~"p|q", no!="r"}[5m])) - process_b"#;
    let label = |word: &str| ("file_recycler_a_total".to_owned(), Some(("kind".to_owned(), word.to_owned())));
    let name = |name: &str| (name.to_owned(), None);
    let expected = [name("file_recycler_a_total"), label("p"), label("q"), name("process_b")];
    assert_eq!(asked(text), expected.into_iter().collect());
}

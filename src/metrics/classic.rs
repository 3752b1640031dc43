//! From OpenMetrics to the classic Prometheus text format, for scrapers that ask for that.
//!
//! The samples are the same. The comments differ: there a counter is declared with its `_total`, an info
//! metric is a gauge with its `_info`, and `# UNIT` and `# EOF` do not exist.

use std::collections::BTreeMap;

pub(super) fn from_open_metrics(text: &str) -> String {
    let types: BTreeMap<&str, &str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    let mut classic = String::with_capacity(text.len());
    for line in text.lines() {
        let comment = line.strip_prefix("# ").and_then(|comment| {
            let (kind, rest) = comment.split_once(' ')?;
            let (name, rest) = rest.split_once(' ')?;
            Some((kind, name, rest))
        });
        match comment {
            Some((kind @ ("HELP" | "TYPE"), name, rest)) => {
                let (suffix, rest) = match (types.get(name).copied(), kind) {
                    (Some("counter"), _) => ("_total", rest),
                    (Some("info"), "TYPE") => ("_info", "gauge"),
                    (Some("info"), _) => ("_info", rest),
                    _ => ("", rest),
                };
                classic.push_str(&["# ", kind, " ", name, suffix, " ", rest, "\n"].concat());
            }
            _ if line.starts_with('#') => {}
            _ => classic.push_str(&[line, "\n"].concat()),
        }
    }
    classic
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn counters_and_infos_are_declared_by_the_names_of_their_samples() {
        let open = "# HELP a Things.\n# TYPE a counter\na_total{x=\"y\"} 1\n# HELP b Build.\n# TYPE b info\n\
                    b_info{v=\"1\"} 1\n# HELP c Seconds.\n# TYPE c gauge\n# UNIT c seconds\nc 2\n# EOF\n";
        let classic = "# HELP a_total Things.\n# TYPE a_total counter\na_total{x=\"y\"} 1\n\
                       # HELP b_info Build.\n# TYPE b_info gauge\nb_info{v=\"1\"} 1\n\
                       # HELP c Seconds.\n# TYPE c gauge\nc 2\n";
        assert_eq!(from_open_metrics(open), classic);
    }

    /// A parser as strict as Prometheus's own: each sample belongs to the family declared last.
    #[test]
    fn every_sample_belongs_to_the_family_declared_before_it() {
        let text = Metrics::new().render_classic();
        let mut families = BTreeSet::new();
        let (mut family, mut kind) = ("", "");
        for line in text.lines() {
            if let Some(declared) = line.strip_prefix("# TYPE ") {
                (family, kind) = declared.split_once(' ').unwrap();
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert!(families.insert(family), "{family} is declared twice");
            } else if !line.starts_with("# HELP ") {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let name = series.split('{').next().unwrap();
                let suffixes: &[&str] =
                    if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
                assert!(suffixes.iter().any(|suffix| name == family.to_owned() + suffix), "{line}");
                value.parse::<f64>().unwrap();
            }
        }
        assert_eq!(families.len(), 39);
    }
}

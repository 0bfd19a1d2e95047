//! What dashboards and alerts ask for is there: names, labels, and a section of the run book.
use super::Metrics;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Labels that Prometheus adds.
const ADDED: [&str; 3] = ["instance", "job", "le"];

fn file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn dashboards() -> Vec<(String, serde_json::Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docker/grafana/dashboards");
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        (path.display().to_string(), serde_json::from_str(&text).unwrap())
    };
    paths.into_iter().map(read).collect()
}

/// Every text that stands under this key, however deep.
fn under<'v>(key: &str, value: &'v serde_json::Value, found: &mut Vec<&'v str>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_str() {
                    Some(text) if name == key => found.push(text),
                    _ => under(key, value, found),
                }
            }
        }
        serde_json::Value::Array(values) => values.iter().for_each(|v| under(key, v, found)),
        _ => {}
    }
}

/// What a query of PromQL names: `(metric, labels of its selector)`, and labels of `by (…)`.
///
/// Words of PromQL are functions and aggregations; what is left of the words begins with `weir_` or is `up`.
fn named(query: &str) -> (Vec<(String, Vec<String>)>, Vec<String>) {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let (mut metrics, mut groups) = (Vec::new(), Vec::new());
    let mut rest = query;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '"') {
        rest = &rest[start..];
        if let Some(text) = rest.strip_prefix('"') {
            rest = &text[text.find('"').unwrap() + 1..];
            continue;
        }
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(end);
        rest = behind;
        let inside = |open: char, close: char| {
            let text = behind.trim_start().strip_prefix(open)?;
            Some(&text[..text.find(close).unwrap()])
        };
        if word.starts_with("weir_") || word == "up" {
            let matchers = inside('{', '}').unwrap_or_default();
            let labels = matchers.split("\", ").flat_map(|part| part.split('=').next());
            let labels = labels.map(|label| label.trim_matches(['!', '~', ' ']).to_owned());
            metrics.push((word.to_owned(), labels.filter(|label| !label.is_empty()).collect()));
            if let Some(end) = rest.find('}').filter(|_| rest.starts_with('{')) {
                rest = &rest[end..];
            }
        } else if word == "by" {
            let labels = inside('(', ')').unwrap();
            groups.extend(labels.split(',').map(|label| label.trim().to_owned()));
            rest = &rest[rest.find(')').unwrap()..];
        }
    }
    (metrics, groups)
}

/// The labels of a metric of weir's, whichever part of a histogram is asked for.
fn labels_of(metric: &str) -> Option<&'static [&'static str]> {
    let parts = ["", "_bucket", "_count", "_sum"];
    let names = parts.iter().filter_map(|part| metric.strip_suffix(part)).collect::<Vec<_>>();
    let found = Metrics::ALL.iter().find(|(name, ..)| names.contains(name));
    found.map(|(_, labels, _)| *labels)
}

fn check(place: &str, query: &str) {
    let (metrics, groups) = named(query);
    assert!(!metrics.is_empty(), "{place}: {query} names no metric");
    let mut known = BTreeSet::from(ADDED);
    for (metric, asked) in metrics {
        if metric == "up" {
            continue;
        }
        let labels = labels_of(&metric).unwrap_or_else(|| panic!("{place}: no {metric}\n{query}"));
        known.extend(labels);
        for label in asked {
            let is_known = labels.contains(&label.as_str()) || ADDED.contains(&label.as_str());
            assert!(is_known, "{place}: {metric} has no label {label}\n{query}");
        }
    }
    for label in groups {
        assert!(known.contains(label.as_str()), "{place}: no label {label}\n{query}");
    }
}

#[test]
fn a_query_is_taken_apart() {
    let (metrics, groups) = named(
        "histogram_quantile(0.9, sum by (le, shard) (rate(weir_a_bucket{x=~\"weir_b|c\", y!=\"d\"}[5m]))) / weir_e",
    );
    let metrics: Vec<_> =
        metrics.iter().map(|(name, labels)| (&**name, labels.join(" "))).collect();
    assert_eq!(metrics, [("weir_a_bucket", "x y".to_owned()), ("weir_e", String::new())]);
    assert_eq!(groups, ["le", "shard"]);
}

#[test]
fn dashboards_ask_for_metrics_and_labels_that_exist() {
    let dashboards = dashboards();
    assert!(dashboards.len() >= 3);
    for (path, dashboard) in &dashboards {
        let mut queries = Vec::new();
        under("expr", dashboard, &mut queries);
        assert!(queries.len() > 10, "{path}");
        queries.iter().for_each(|query| check(path, query));
        for variable in dashboard["templating"]["list"].as_array().unwrap() {
            let Some(query) = variable["definition"].as_str() else { continue };
            let inner = query.strip_prefix("label_values(").and_then(|q| q.strip_suffix(')'));
            let (selector, label) = inner.unwrap().rsplit_once(", ").unwrap();
            check(path, &format!("sum by ({label}) ({selector})"));
        }
        let mut sources = Vec::new();
        under("uid", dashboard, &mut sources);
        let own = dashboard["uid"].as_str().unwrap();
        assert!(sources.iter().all(|uid| *uid == "${datasource}" || *uid == own), "{path}");
    }
}

#[test]
fn alerts_ask_for_what_exists_and_each_has_its_section_of_the_run_book() {
    let (alerts, book) = (file("docker/prometheus/alerts.yml"), file("docs/runbook.md"));
    let sections: BTreeSet<&str> =
        book.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let value = |line: &str, key: &str| {
        let line = line.trim_start().trim_start_matches("- ");
        line.strip_prefix(key).map(|value| value.trim().trim_matches('"').to_owned())
    };
    let mut names = BTreeSet::new();
    for line in alerts.lines() {
        if let Some(name) = value(line, "alert:") {
            assert!(sections.contains(name.as_str()), "docs/runbook.md has no section {name}");
            names.insert(name);
        } else if let Some(query) = value(line, "expr:") {
            check("alerts.yml", &query);
        } else if let Some(link) = value(line, "runbook_url:") {
            let anchor = link.rsplit_once("/docs/runbook.md#").expect(&link).1.to_owned();
            assert!(names.iter().any(|name| name.to_lowercase() == anchor), "{link}");
        }
    }
    let names: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(sections, names, "sections and alerts");
}

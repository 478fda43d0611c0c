//! `docs/prometheus.md` lists exactly the metrics of the source code, `docs/alerts.md` has a section for each alert,
//! both agree with the rule file, and each alert has a test that it fires and one that it is silent.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_yaml::Value;

const RULES: &str = "manifests/helm/fantail/files/rules.yaml";

/// The prefixes of fantail's metrics.
const PREFIXES: [&str; 5] = ["fantail_", "promtail_", "logentry_", "process_", "prometheus_sd_"];

#[test]
fn every_metric_of_the_sources_is_on_the_page_and_no_other() {
    let named: BTreeSet<String> =
        rows("## Metrics").into_iter().map(|row| row[0].trim_matches('`').to_owned()).collect();
    let ours = metrics_of_the_sources();
    assert!(ours.len() > 40, "the search finds {} metrics only", ours.len());
    let missing: Vec<_> = ours.difference(&named).collect();
    assert!(missing.is_empty(), "docs/prometheus.md does not name {missing:?}");
    let gone: Vec<_> = named.difference(&ours).collect();
    assert!(gone.is_empty(), "docs/prometheus.md names what the sources do not: {gone:?}");
}

#[test]
fn every_alert_is_on_both_pages_with_its_severity() {
    let runbooks = read("docs/alerts.md");
    let on_the_page: BTreeMap<String, String> =
        rows("## Alerts").into_iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    let mut expected = BTreeMap::new();
    for (name, rule) in alerts() {
        let anchor = name.to_lowercase();
        let severity = rule["labels"]["severity"].as_str().unwrap_or_default().to_owned();
        assert!(["critical", "warning", "info"].contains(&severity.as_str()), "{name}: severity {severity:?}");
        let annotation = |key: &str| rule["annotations"][key].as_str().unwrap_or_default().to_owned();
        assert!(!annotation("summary").is_empty(), "{name} has no summary");
        assert!(annotation("description").len() > 30 || name == "PromtailFileMissing", "{name} has no description");
        assert_eq!(annotation("runbook"), format!("docs/alerts.md#{anchor}"), "{name}");
        let (_, section) = runbooks
            .split_once(&format!("\n## {name}\n"))
            .unwrap_or_else(|| panic!("docs/alerts.md has no section {name}"));
        let section = section.split("\n## ").next().unwrap_or_default();
        for part in ["**Means.**", "**Look at**"] {
            assert!(section.contains(part), "docs/alerts.md, {name}: {part} is missing");
        }
        expected.insert(format!("[{name}](alerts.md#{anchor})"), severity);
    }
    assert_eq!(on_the_page, expected, "the table of alerts in docs/prometheus.md");
}

#[test]
fn every_alert_has_a_test_that_it_fires_and_one_that_it_is_silent() {
    let (mut fires, mut silent) = (BTreeSet::new(), BTreeSet::new());
    for entry in fs::read_dir(root().join("tests/prometheus")).expect("tests/prometheus is there") {
        let path = entry.expect("it can be read").path();
        let file: Value = serde_yaml::from_str(&fs::read_to_string(&path).expect("a file")).expect("YAML");
        for test in list(&file["tests"]).iter().flat_map(|test| list(&test["alert_rule_test"])) {
            let name = test["alertname"].as_str().expect("a name").to_owned();
            if list(&test["exp_alerts"]).is_empty() {
                silent.insert(name)
            } else {
                fires.insert(name)
            };
        }
    }
    let all: BTreeSet<String> = alerts().into_iter().map(|(name, _)| name).collect();
    assert_eq!(fires, all, "tests that an alert fires");
    assert_eq!(silent, all, "tests that an alert is silent");
}

#[test]
fn every_dashboard_is_on_the_page_with_its_uid() {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(root().join("manifests/helm/fantail/files/dashboards")).expect("dashboards are there") {
        let text = fs::read_to_string(entry.expect("it can be read").path()).expect("a file");
        let dashboard: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let of = |key: &str| dashboard[key].as_str().expect("a text").to_owned();
        found.insert(of("title"), format!("`{}`", of("uid")));
    }
    let named: BTreeMap<_, _> = rows("## Dashboards").into_iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    assert_eq!(named, found);
}

#[test]
fn panels_say_what_they_show_in_which_unit_and_cover_no_other() {
    let dashboards: Vec<serde_json::Value> = fs::read_dir(root().join("manifests/helm/fantail/files/dashboards"))
        .expect("dashboards are there")
        .map(|entry| fs::read_to_string(entry.expect("it can be read").path()).expect("a file"))
        .map(|text| serde_json::from_str(&text).expect("JSON"))
        .collect();
    let uids: Vec<&str> = dashboards.iter().filter_map(|dashboard| dashboard["uid"].as_str()).collect();
    assert_eq!(uids.len(), 3);
    for dashboard in &dashboards {
        let title = dashboard["title"].as_str().expect("a title");
        assert!(dashboard["tags"].as_array().is_some_and(|tags| tags.contains(&"fantail".into())), "{title}: tags");
        let links = dashboard["links"].as_array().expect("links");
        assert!(!links.is_empty(), "{title} leads nowhere");
        for url in links.iter().filter_map(|link| link["url"].as_str()).filter(|url| !url.is_empty()) {
            let uid = url.trim_start_matches("/d/").split('?').next().unwrap_or_default();
            assert!(uids.contains(&uid), "{title}: a link to nothing: {url}");
        }
        let (mut ids, mut covered) = (BTreeSet::new(), BTreeSet::new());
        for panel in dashboard["panels"].as_array().expect("panels") {
            let what = format!("{title}, {}", panel["title"]);
            assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{what}: the id is taken");
            let side = |name: &str| panel["gridPos"][name].as_u64().expect("a number");
            assert!(side("x") + side("w") <= 24, "{what}: wider than the page");
            for cell in (side("x")..side("x") + side("w")).flat_map(|x| (0..side("h")).map(move |dy| (x, dy))) {
                assert!(covered.insert((cell.0, side("y") + cell.1)), "{what}: it covers another panel");
            }
            if panel["type"] == "row" {
                continue;
            }
            assert!(panel["description"].as_str().is_some_and(|text| !text.is_empty()), "{what}: no description");
            let unit = &panel["fieldConfig"]["defaults"]["unit"];
            assert!(panel["type"] == "logs" || unit.is_string(), "{what}: no unit");
            let source = &panel["datasource"]["uid"];
            assert!(["${prometheus}", "${loki}"].contains(&source.as_str().unwrap_or_default()), "{what}: {source}");
            for target in panel["targets"].as_array().expect("targets") {
                assert_eq!(&target["datasource"]["uid"], source, "{what}: a target of another data source");
            }
        }
    }
}

/// The cells of each row of the first table after this heading.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let page = read("docs/prometheus.md");
    let (_, section) = page.split_once(heading).unwrap_or_else(|| panic!("docs/prometheus.md has no {heading}"));
    let table = section.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    let rows: Vec<Vec<String>> = table.skip(2).map(cells).collect();
    assert!(!rows.is_empty(), "{heading} has no table");
    rows
}

fn alerts() -> Vec<(String, Value)> {
    let rules: Value = serde_yaml::from_str(&read(RULES)).expect("YAML");
    let rules = list(&rules["groups"]).iter().flat_map(|group| list(&group["rules"]));
    let alerts: Vec<_> = rules.filter_map(|rule| Some((rule["alert"].as_str()?.to_owned(), rule.clone()))).collect();
    assert!(alerts.len() > 20, "{RULES} has {} alerts only", alerts.len());
    alerts
}

/// All quoted texts in the source code, without tests, that have the form of a metric name.
fn metrics_of_the_sources() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![root().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("src/ can be read") {
            let path = entry.expect("src/ can be read").path();
            if path.is_dir() && path.file_name().is_none_or(|name| name != "tests") {
                folders.push(path);
            } else if path.is_file() && path.file_name().is_none_or(|name| name != "tests.rs" && name != "testing.rs") {
                let source = fs::read_to_string(&path).expect("sources are UTF-8");
                let code = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
                let literals = code.split('"').filter(|text| PREFIXES.iter().any(|prefix| text.starts_with(prefix)));
                let names = literals.filter(|text| text.chars().all(|c| c.is_ascii_lowercase() || c == '_'));
                // The prefix of users' own metrics is not a metric.
                found.extend(names.filter(|name| !name.ends_with('_')).map(str::to_owned));
            }
        }
    }
    found
}

fn list(value: &Value) -> &[Value] {
    value.as_sequence().map_or(&[], Vec::as_slice)
}

fn read(path: &str) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

//! Runs the queries of a dashboard without Grafana.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::loki::{Tenant, nanoseconds};
use crate::prometheus::Prometheus;
use crate::wait::wait_for;

#[derive(Clone, Copy)]
pub(crate) struct DataSources<'s> {
    pub(crate) prometheus: &'s Prometheus,
    pub(crate) tenant: &'s Tenant,
}

/// The chart's dashboards and rules.
pub(crate) fn files() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/helm/fantail/files")
}

/// Runs all queries of a dashboard of the chart, and returns their number. `go_on` changes the data that the queries
/// return.
pub(crate) fn ask_dashboard(data_sources: DataSources, file: &str, go_on: &mut dyn FnMut()) -> usize {
    let path = files().join(format!("dashboards/{file}.json"));
    let text_of_file = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let dashboard: Value = serde_json::from_str(&text_of_file).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut values: BTreeMap<String, String> =
        [("__rate_interval", "10s"), ("__range", "10m"), ("__interval", "1m")].map(own).into();
    let mut asked = 0;
    for variable in list(&dashboard["templating"]["list"]) {
        let name = text(&variable["name"]);
        let value = match text(&variable["type"]) {
            "datasource" => {
                assert_eq!(variable["query"], name, "{file}: ${name} is called as what it asks");
                name.to_owned()
            }
            "textbox" => text(&variable["query"]).to_owned(),
            "custom" => text(&variable["allValue"]).to_owned(),
            "query" => {
                asked += 1;
                let found = wait_for(&format!("{file}: ${name}"), Duration::from_secs(60), || {
                    let found = ask_variable(data_sources, variable, &values)?;
                    found.first().cloned().ok_or_else(|| "no values".into())
                });
                variable["allValue"].as_str().map_or(found, str::to_owned)
            }
            other => panic!("{file}: ${name} is of a type that nobody tests: {other}"),
        };
        values.insert(name.to_owned(), value);
    }
    for panel in list(&dashboard["panels"]).iter().filter(|panel| panel["type"] != "row") {
        let title = text(&panel["title"]);
        let targets = list(&panel["targets"]);
        assert!(!targets.is_empty(), "{file}: {title} asks nothing");
        for target in targets {
            asked += 1;
            let query = replaced(text(&target["expr"]), &values);
            let what = format!("{file}, {title}: {query}");
            let series = wait_for(&what, Duration::from_secs(60), || {
                // The panel shows a rate per second.
                go_on();
                let series = ask_query(data_sources, text(&target["datasource"]["uid"]), &query)?;
                if series.is_empty() { Err("no data, or nothing but NaN".into()) } else { Ok(series) }
            });
            assert_legend(&what, target["legendFormat"].as_str().unwrap_or_default(), &series);
        }
    }
    asked
}

fn ask_variable(
    data_sources: DataSources,
    variable: &Value,
    values: &BTreeMap<String, String>,
) -> Result<Vec<String>, String> {
    match text(&variable["datasource"]["uid"]) {
        "${prometheus}" => {
            let query = replaced(text(&variable["query"]["query"]), values);
            let (selector, label) = query
                .strip_prefix("label_values(")
                .and_then(|query| query.strip_suffix(')')?.rsplit_once(", "))
                .unwrap_or_else(|| panic!("a variable that nobody can ask: {query}"));
            data_sources.prometheus.label_values(label, selector)
        }
        "${loki}" => {
            let (label, stream) =
                (text(&variable["query"]["label"]), replaced(text(&variable["query"]["stream"]), values));
            let found = data_sources.tenant.ask(&format!("label/{label}/values"), &[("query", &stream)])?;
            Ok(list(&found).iter().map(|value| text(value).to_owned()).collect())
        }
        other => panic!("a variable of no data source: {other}"),
    }
}

/// The labels of each series that has a value.
fn ask_query(data_sources: DataSources, source: &str, query: &str) -> Result<Vec<Value>, String> {
    let found = match source {
        "${prometheus}" => Value::Array(data_sources.prometheus.query(query)?),
        "${loki}" => {
            let (now, hour) = (nanoseconds(SystemTime::now()), 3_600_000_000_000);
            let (start, end) = ((now - hour).to_string(), (now + 60_000_000_000).to_string());
            // A log query has no instant form. A metric query of a time series panel has both forms.
            let instant = query.starts_with("sum") && query.ends_with("vector(0)");
            let endpoint = if instant { "query" } else { "query_range" };
            let range = [("query", query), ("start", &start), ("end", &end), ("step", "60"), ("limit", "100")];
            data_sources.tenant.ask(endpoint, if instant { &range[..1] } else { &range })?["result"].clone()
        }
        other => panic!("a query of no data source: {other}"),
    };
    let is_number = |value: &Value| value[1].as_str().is_some_and(|number| number != "NaN");
    let has_value = |series: &&Value| match &series["stream"] {
        Value::Null => is_number(&series["value"]) || list(&series["values"]).iter().any(is_number),
        _ => !list(&series["values"]).is_empty(),
    };
    Ok(list(&found).iter().filter(has_value).map(|series| series["metric"].clone()).collect())
}

/// Checks that at least one series has each label that a legend uses.
#[track_caller]
fn assert_legend(what: &str, legend: &str, series: &[Value]) {
    for label in legend.split("{{").skip(1).filter_map(|rest| rest.split("}}").next()) {
        // Promtail shows an entry without a tenant with an empty label, which Prometheus treats as no label.
        let is_there = series.iter().any(|labels| labels.get(label).is_some()) || label == "tenant";
        assert!(is_there, "{what}: no series has the label {label} of the legend {legend}: {series:?}");
    }
}

/// Replaces Grafana's variables, written as `$name`, by their values.
#[track_caller]
fn replaced(query: &str, values: &BTreeMap<String, String>) -> String {
    let mut parts = query.split('$');
    let mut done = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let name = identifier(part);
        done += values.get(&name).unwrap_or_else(|| panic!("{query}: there is no variable ${name}"));
        done += &part[name.len()..];
    }
    done
}

pub(crate) fn identifier(text: &str) -> String {
    text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
}

fn own((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[track_caller]
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

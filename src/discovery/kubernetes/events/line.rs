//! Turns an event of the API into a line with a time and labels.

use jiff::Timestamp;
use serde_json::Value;

use super::config::{Config, Format};
use super::progress::Version;
use crate::model::{LabelSet, Labels, loki_label_name, quote_go};
use crate::relabel::{Rules, Verdict};

/// An event as a line. The same event gives the same line, so Loki stores it once if it is sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Unix nanoseconds.
    pub time: Option<i64>,
    pub labels: LabelSet,
    pub text: String,
    /// The version at which the next run continues once this line is delivered. None: this line does not change it.
    pub cursor: Option<Version>,
}

#[derive(Debug)]
pub(super) struct Lines {
    job: String,
    format: Format,
    labels: Labels,
    rules: Rules,
}

impl Lines {
    pub fn new(job: &str, config: &Config, rules: Rules) -> Self {
        Self { job: job.into(), format: config.format, labels: config.labels.clone(), rules }
    }

    /// The line of an event. None: a rule drops it.
    pub fn line(&self, mut event: Value) -> Option<Line> {
        let labels = self.labels(&event)?;
        let time = time(&event);
        let text = match self.format {
            Format::Logfmt => logfmt(&event),
            Format::Json => {
                if let Some(metadata) = event.get_mut("metadata").and_then(Value::as_object_mut) {
                    metadata.remove("managedFields");
                }
                event.to_string()
            }
        };
        Some(Line { time, labels, text, cursor: version(&event) })
    }

    fn labels(&self, event: &Value) -> Option<LabelSet> {
        let mut labels = self.labels.clone();
        let own = [
            ("namespace", namespace(event)),
            ("kind", text(event, "/involvedObject/kind")),
            ("reason", text(event, "/reason")),
            ("type", text(event, "/type")),
            ("__kubernetes_event_name", text(event, "/involvedObject/name")),
            ("__kubernetes_event_component", component(event)),
            ("__kubernetes_event_node", text(event, "/source/host")),
        ];
        for (name, value) in own.into_iter().filter(|(_, value)| !value.is_empty()) {
            labels.entry(name.into()).or_insert_with(|| value.into());
        }
        if matches!(self.rules.apply(&mut labels), Verdict::Drop { .. }) {
            return None;
        }
        labels.retain(|name, value| !name.starts_with("__") && !value.is_empty());
        if labels.is_empty() {
            // Loki may drop a stream without labels and answer that all is well.
            labels.insert("job".into(), self.job.clone());
        }
        Some(LabelSet::new(labels.iter().map(|(name, value)| (loki_label_name(name), value))))
    }
}

/// The resource version of an object.
pub(super) fn version(object: &Value) -> Option<Version> {
    text(object, "/metadata/resourceVersion").parse().ok()
}

fn text<'v>(event: &'v Value, pointer: &str) -> &'v str {
    event.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn first<'v>(event: &'v Value, pointers: &[&str]) -> &'v str {
    pointers.iter().map(|pointer| text(event, pointer)).find(|text| !text.is_empty()).unwrap_or_default()
}

/// Events about a node or another object without namespace are in the namespace `default`.
fn namespace(event: &Value) -> &str {
    first(event, &["/involvedObject/namespace", "/metadata/namespace"])
}

fn component(event: &Value) -> &str {
    first(event, &["/source/component", "/reportingComponent"])
}

/// The time of its last occurrence.
fn time(event: &Value) -> Option<i64> {
    let times =
        ["/series/lastObservedTime", "/lastTimestamp", "/eventTime", "/firstTimestamp", "/metadata/creationTimestamp"];
    let time: Timestamp = first(event, &times).parse().ok()?;
    i64::try_from(time.as_nanosecond()).ok()
}

fn logfmt(event: &Value) -> String {
    let count = ["/series/count", "/count"].iter().find_map(|at| event.pointer(at)?.as_i64());
    let count = count.map(|count| count.to_string()).unwrap_or_default();
    let mut line = String::new();
    for (key, value) in [
        ("type", text(event, "/type")),
        ("reason", text(event, "/reason")),
        ("kind", text(event, "/involvedObject/kind")),
        ("namespace", namespace(event)),
        ("name", text(event, "/involvedObject/name")),
        ("fieldPath", text(event, "/involvedObject/fieldPath")),
        ("action", text(event, "/action")),
        ("component", component(event)),
        ("node", text(event, "/source/host")),
        ("count", &count),
        ("message", text(event, "/message")),
    ] {
        if value.is_empty() {
            continue;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(key);
        line.push('=');
        match value.bytes().all(|b| b.is_ascii_graphic() && !b"\"=".contains(&b)) {
            true => line.push_str(value),
            false => quote_go(&mut line, value),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lines(yaml: &str, rules: &str) -> Lines {
        let rules: Vec<crate::relabel::Config> = serde_yaml::from_str(rules).expect(rules);
        Lines::new("events", &crate::yaml::from_str(yaml).expect(yaml), Rules::compile(&rules).expect("rules"))
    }

    fn event() -> Value {
        json!({
            "metadata": {"name": "web.1", "namespace": "shop", "resourceVersion": "77", "managedFields": [{"manager": "kubelet"}],
                         "creationTimestamp": "2026-11-27T09:00:00Z"},
            "involvedObject": {"kind": "Pod", "namespace": "shop", "name": "web-1", "fieldPath": "spec.containers{app}"},
            "reason": "BackOff", "type": "Warning", "message": "Back-off \"app\"\nagain", "count": 3,
            "source": {"component": "kubelet", "host": "n1"}, "lastTimestamp": "2026-11-27T10:00:00Z", "eventTime": null,
        })
    }

    #[test]
    fn the_most_important_fields_or_all() {
        let line = lines("{labels: {job: events}}", "[]").line(event()).expect("kept");
        assert_eq!(
            line.text,
            "type=Warning reason=BackOff kind=Pod namespace=shop name=web-1 fieldPath=spec.containers{app} component=kubelet \
             node=n1 count=3 message=\"Back-off \\\"app\\\"\\nagain\""
        );
        assert_eq!(
            line.labels.to_string(),
            "{job=\"events\", kind=\"Pod\", namespace=\"shop\", reason=\"BackOff\", type=\"Warning\"}"
        );
        assert_eq!((line.time, line.cursor), (Some(1_795_773_600_000_000_000), Some(77)));

        let line = lines("{format: json}", "[]").line(event()).expect("kept");
        let mut all: Value = serde_json::from_str(&line.text).expect("JSON");
        assert!(!line.text.contains("managedFields") && !line.text.contains('\n'), "{}", line.text);
        all["metadata"]["managedFields"] = event()["metadata"]["managedFields"].clone();
        assert_eq!(all, event());
    }

    #[test]
    fn rules_see_the_labels_and_may_drop_the_event() {
        let drops = "[{source_labels: [type], regex: Normal, action: drop}, {source_labels: [__kubernetes_event_component], \
                     target_label: component}, {regex: reason|kind, action: labeldrop}]";
        let lines = lines("{}", drops);
        let line = lines.line(event()).expect("kept");
        assert_eq!(line.labels.to_string(), "{component=\"kubelet\", namespace=\"shop\", type=\"Warning\"}");
        let mut normal = event();
        normal["type"] = "Normal".into();
        assert_eq!(lines.line(normal), None);
        let none = self::lines("{}", "[{regex: .*, action: labeldrop}]");
        assert_eq!(none.line(event()).expect("kept").labels.to_string(), "{job=\"events\"}");
    }

    /// Events of the API `events.k8s.io/v1` have other fields, and any field may be missing or of another type.
    #[test]
    fn the_time_and_odd_events() {
        let lines = lines("{}", "[]");
        let time = |event: Value| lines.line(event).expect("kept").time;
        let series = json!({"series": {"lastObservedTime": "2026-11-27T10:00:00.000001Z", "count": 2},
                            "eventTime": "2026-11-27T09:00:00.000000Z", "lastTimestamp": null});
        assert_eq!(time(series), Some(1_795_773_600_000_001_000));
        assert_eq!(time(json!({"eventTime": "2026-11-27T10:00:00.5Z"})), Some(1_795_773_600_500_000_000));
        for odd in [
            json!({}),
            json!([]),
            json!(null),
            json!({"metadata": 5, "message": {}, "count": "x", "eventTime": "soon"}),
        ] {
            let line = lines.line(odd.clone()).expect("kept");
            assert_eq!((line.time, line.cursor, line.text.as_str()), (None, None, ""), "{odd}");
        }
    }
}

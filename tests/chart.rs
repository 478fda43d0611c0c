//! Checks the Helm chart without Helm: its files agree with each other and with Cargo.toml. `tests/e2e/helm.rs` checks
//! the rendered objects.
//!
//! `FANTAIL_WRITE_DOCS=1 cargo test --test chart` writes `files/known.yaml` and the table of the chart's README.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;
use serde_yaml::Value as Yaml;

const WRITE: &str = "FANTAIL_WRITE_DOCS";

/// The part of the page after this line is made from values.yaml.
const MARK: &str = "<!-- From here on this is made of values.yaml. -->\n";

/// Keys that only users of the chart write: the condition of a parent chart, and the layout of loki-stack.
const NOT_IN_VALUES: [&str; 2] = ["enabled", "promtail"];

#[test]
fn versions_are_those_of_the_program() {
    let chart = yaml("Chart.yaml");
    for key in ["version", "appVersion"] {
        assert_eq!(chart[key].as_str(), Some(env!("CARGO_PKG_VERSION")), "{key} of Chart.yaml");
    }
}

/// The kustomize component has the same rules as the chart.
#[test]
fn the_component_for_monitoring_has_the_rules_of_the_chart() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/monitoring/prometheusrule.yaml");
    let example = fs::read_to_string(example).expect("the example is read");
    let rule: Yaml = serde_yaml::from_str(&example).expect("it is YAML");
    assert_eq!(rule["spec"]["groups"], yaml("files/rules.yaml")["groups"]);
    assert!(rule["spec"]["groups"].as_sequence().is_some_and(|groups| !groups.is_empty()));
}

/// Three files have the keys: values.yaml with the defaults, the schema with the types, and known.yaml for the
/// templates, which cannot read the schema.
#[test]
fn the_schema_has_the_keys_of_the_values() {
    let comments = comments(&read("values.yaml"));
    let mut described = BTreeMap::new();
    let schema = schema();
    describe(&values_of(&schema), "", &mut described);
    for key in NOT_IN_VALUES {
        described.remove(key);
    }
    for (key, comment) in &comments {
        assert_eq!(described.get(key), Some(comment), "{key}: values.schema.json says it otherwise than values.yaml");
    }
    for key in described.keys() {
        assert!(comments.contains_key(key), "{key} is in values.schema.json and not described in values.yaml");
    }
    let mut keys = Vec::new();
    leaves(&yaml("values.yaml"), &values_of(&schema), "", &mut keys);
    for (key, _) in keys {
        let is_described = comments.keys().any(|known| key == *known || key.starts_with(&format!("{known}.")));
        assert!(is_described, "{key} in values.yaml has no comment `# -- …`");
    }
}

#[test]
fn known_keys_are_those_of_the_schema() {
    let head = "# The keys that values.schema.json knows, for templates/_unknown.tpl. A test makes this file: see tests/chart.rs.\n";
    let keys = known(&values_of(&schema()));
    let made = format!("{head}{}", serde_yaml::to_string(&keys).expect("it is YAML"));
    compare("files/known.yaml", &made);
}

#[test]
fn the_readme_lists_every_value() {
    let page = read("README.md");
    let mark = page.find(MARK).unwrap_or_else(|| panic!("the chart's README has lost its line `{}`", MARK.trim()));
    let comments = comments(&read("values.yaml"));
    let mut keys = Vec::new();
    leaves(&yaml("values.yaml"), &values_of(&schema()), "", &mut keys);
    let mut table = String::from("\n| key | default | |\n|---|---|---|\n");
    for (key, default) in keys {
        let comment = comments.get(&key).map(String::as_str).unwrap_or_default().replace('|', "\\|");
        let default = serde_json::to_string(&default).expect("it is JSON").replace('|', "\\|");
        let default = if default.len() > 60 { "see values.yaml".to_owned() } else { format!("`{default}`") };
        table.push_str(&format!("| `{key}` | {default} | {comment} |\n"));
    }
    compare("README.md", &format!("{}{table}", &page[..mark + MARK.len()]));
}

/// The comments that start with `# -- `, by the path of their key.
fn comments(values: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut above: Vec<(usize, &str)> = Vec::new();
    let mut comment: Option<String> = None;
    for line in values.lines() {
        let text = line.trim_start();
        let indent = line.len() - text.len();
        if let Some(first) = text.strip_prefix("# -- ") {
            comment = Some(first.to_owned());
        } else if let (Some(so_far), Some(more)) = (&mut comment, text.strip_prefix("# ")) {
            so_far.push(' ');
            so_far.push_str(more);
        } else if let Some((key, _)) = text.split_once(':').filter(|(key, _)| !key.starts_with(['#', '-'])) {
            above.retain(|(of, _)| *of < indent);
            above.push((indent, key));
            if let Some(comment) = comment.take() {
                let path: Vec<&str> = above.iter().map(|(_, key)| *key).collect();
                found.insert(path.join("."), comment);
            }
        } else {
            comment = None;
        }
    }
    found
}

fn describe(schema: &Json, path: &str, found: &mut BTreeMap<String, String>) {
    for (key, below) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        if let Some(description) = below["description"].as_str() {
            found.insert(path.clone(), description.to_owned());
        }
        describe(below, &path, found);
    }
}

/// The keys of values.yaml, down to the level that the schema describes.
fn leaves(values: &Yaml, schema: &Json, path: &str, found: &mut Vec<(String, Yaml)>) {
    for (key, value) in values.as_mapping().into_iter().flatten() {
        let key = key.as_str().expect("keys are strings");
        let below = &schema["properties"][key];
        assert!(!below.is_null(), "{path}{key} is in values.yaml and not in values.schema.json");
        let path = format!("{path}{key}");
        if below["properties"].is_object() {
            leaves(value, below, &format!("{path}."), found);
        } else {
            found.push((path, value.clone()));
        }
    }
}

/// A map for a value with known keys, `*` for any key, and false if all keys are allowed.
fn known(schema: &Json) -> Json {
    if let Some(properties) = schema["properties"].as_object() {
        let keys = properties.iter().map(|(key, below)| (key.clone(), known(below)));
        // A parent chart may pass any global values.
        let any = (schema["additionalProperties"] == true).then(|| ("*".to_owned(), Json::Bool(false)));
        return Json::Object(keys.chain(any).collect());
    }
    let any = &schema["additionalProperties"];
    if any["properties"].is_object() { serde_json::json!({ "*": known(any) }) } else { Json::Bool(false) }
}

fn schema() -> Json {
    serde_json::from_str(&read("values.schema.json")).expect("values.schema.json is JSON")
}

fn values_of(schema: &Json) -> Json {
    schema["definitions"]["values"].clone()
}

#[track_caller]
fn compare(name: &str, made: &str) {
    if std::env::var_os(WRITE).is_some() {
        fs::write(chart().join(name), made).unwrap_or_else(|e| panic!("{name}: {e}"));
    } else {
        assert!(read(name) == made, "{name} of the chart is behind: {WRITE}=1 cargo test --test chart");
    }
}

fn yaml(name: &str) -> Yaml {
    serde_yaml::from_str(&read(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn read(name: &str) -> String {
    let path = chart().join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/helm/fantail")
}

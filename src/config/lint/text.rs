//! Values that were typed or copied wrongly: variables that are not replaced, typographic quotes, `~`.

use serde_yaml::Value;

use super::Lint;
use crate::config::{Request, first_existing};
use crate::model::{KeyPath, Step};
use crate::yaml;

/// Variables that the environment does not have, and that have no default.
pub(super) fn unset_variables(request: &Request, env: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
    let Ok((file, text)) = first_existing(request) else { return Vec::new() };
    if !request.expand_env {
        return Vec::new();
    }
    let (mut warnings, file) = (Vec::new(), file.unwrap_or_default());
    for (n, line) in text.lines().enumerate() {
        let code = line.split(" #").next().unwrap_or_default();
        if code.trim_start().starts_with('#') {
            continue;
        }
        for name in variables(code).filter(|name| env(name).is_none_or(|value| value.is_empty())) {
            warnings.push(format!(
                "{file}:{}: the variable {name} is not set, or is empty: set it, or write a default: ${{{name}:-default}}",
                n + 1
            ));
        }
    }
    warnings
}

/// The names in `${NAME}`, without those that have a default.
fn variables(line: &str) -> impl Iterator<Item = &str> {
    let parts = line.split("${").zip(line.split("${").skip(1));
    let name = |(before, after): (&'_ str, &'_ str)| -> Option<usize> {
        let end = after.find('}')?;
        let is_name = end > 0
            && after[..end].chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && !after.starts_with(|c: char| c.is_ascii_digit())
            && !before.ends_with('$');
        is_name.then_some(end)
    };
    parts.filter_map(move |(before, after)| name((before, after)).map(|end| &after[..end]))
}

pub(super) fn lint(lint: &mut Lint<'_>, expands: bool) {
    let config = &lint.loaded.config;
    // Rules and stages have `${1}` and `${name}` of their own.
    let statics = config.scrape_configs.iter().enumerate().flat_map(|(i, job)| {
        let path = KeyPath::from(format!("scrape_configs[{i}].static_configs").as_str());
        let files = KeyPath::from(format!("scrape_configs[{i}].file_sd_configs").as_str());
        [(path, yaml::to_value(&job.static_configs)), (files, yaml::to_value(&job.file_sd_configs))]
    });
    let clients = config.clients.iter().enumerate().flat_map(|(i, client)| {
        let path = KeyPath::from(format!("clients[{i}]").as_str());
        let labels = (path.then("external_labels"), yaml::to_value(&client.external_labels));
        [(path.then("url"), Value::from(client.url.expose())), labels]
    });
    let positions = (KeyPath::from("positions.filename"), Value::from(config.positions.filename.as_str()));
    let all: Vec<(KeyPath, Value)> = statics.chain(clients).chain([positions]).collect();
    let mut texts = Vec::new();
    all.iter().for_each(|(path, value)| collect(path, value, &mut texts));
    for (path, text) in texts {
        if !expands && variables(&text).next().is_some() {
            let name = variables(&text).next().unwrap_or_default().to_string();
            lint.warn(
                path,
                format!("${{{name}}} is not replaced: start with -config.expand-env=true, or write the value"),
            );
        } else if text.contains(['\u{2018}', '\u{2019}', '\u{201c}', '\u{201d}']) {
            lint.warn(path, "has typographic quotes, which are part of the value: write plain quotes, or none");
        } else if text.starts_with("~/") && is_path(&path) {
            lint.warn(path, "~ is not replaced: write the whole path of the home directory");
        }
    }
}

fn is_path(path: &KeyPath) -> bool {
    let last = path.steps().iter().rev().find_map(|step| match step {
        Step::Key(key) => Some(key.as_str()),
        Step::Index(_) => None,
    });
    matches!(last, Some("__path__" | "__path_exclude__" | "filename" | "files"))
}

/// All texts in a value, with their paths.
fn collect(path: &KeyPath, value: &Value, texts: &mut Vec<(KeyPath, String)>) {
    match value {
        Value::String(text) => texts.push((path.clone(), text.clone())),
        Value::Sequence(items) => items.iter().enumerate().for_each(|(i, item)| collect(&path.then(i), item, texts)),
        Value::Mapping(map) => {
            for (key, value) in map {
                if let Some(key) = key.as_str() {
                    collect(&path.then(key), value, texts);
                }
            }
        }
        _ => {}
    }
}

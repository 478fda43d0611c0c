//! Values that were typed or copied wrongly: typographic quotes, `~`.

use serde_yaml::Value;

use super::Lint;
use crate::model::{KeyPath, Step};
use crate::yaml;

pub(super) fn lint(lint: &mut Lint<'_>) {
    let config = &lint.loaded.config;
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
        if text.contains(['\u{2018}', '\u{2019}', '\u{201c}', '\u{201d}']) {
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

//! Values that were typed or copied wrongly: variables that are not replaced, typographic quotes, `~`.

use std::collections::HashSet;

use serde_yaml::Value;

use super::Lint;
use crate::config::{Config, Request};
use crate::model::{KeyPath, Step};
use crate::yaml::{self, Content, Node};

/// A warning for each text of the file with `${NAME}`, which is not replaced. The value may be a secret, so only the names
/// of the variables are said.
pub(super) fn unreplaced(request: &Request, env: &dyn Fn(&str) -> Option<String>) -> Vec<yaml::Error> {
    if request.expand_env {
        return Vec::new();
    }
    let Ok((mut document, _)) = Config::document(request, env) else { return Vec::new() };
    let (mut texts, mut notes, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
    with_variables(&KeyPath::default(), document.root_mut(), &mut texts);
    for (path, names) in texts {
        let (last, others) = match names.as_slice() {
            [] => continue,
            [last] => (last, String::new()),
            [others @ .., last] => (last, format!("{} and ", others.join(", "))),
        };
        let (are, values) = if others.is_empty() { ("is", "the value") } else { ("are", "the values") };
        let note = document.note(
            &path,
            format!("{others}{last} {are} not replaced: start with -config.expand-env=true, or write {values}"),
        );
        // A part that is merged into several others is one text.
        if seen.insert(note.to_string()) {
            notes.push(note);
        }
    }
    notes
}

/// The texts that have variables, with the variables. Rules and stages have `${1}` and `${name}` of their own.
fn with_variables(path: &KeyPath, node: &Node, texts: &mut Vec<(KeyPath, Vec<String>)>) {
    match &node.content {
        Content::Map(entries) => {
            let entries =
                entries.iter().filter(|(key, _)| !matches!(key.as_str(), "relabel_configs" | "pipeline_stages"));
            entries.for_each(|(key, value)| with_variables(&path.then(key.as_str()), value, texts));
        }
        Content::List(items) => {
            items.iter().enumerate().for_each(|(i, item)| with_variables(&path.then(i), item, texts));
        }
        _ => {
            let mut names: Vec<String> = Vec::new();
            for name in names_in(&node.raw).map(|name| format!("${{{name}}}")) {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
            if !names.is_empty() {
                texts.push((path.clone(), names));
            }
        }
    }
}

/// The names in `${NAME}` and `${NAME:-default}`.
fn names_in(text: &str) -> impl Iterator<Item = &str> {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split("${").skip(1).filter_map(move |after| {
        let end = after.find(|c| !is_of_name(c))?;
        let is_name = end > 0 && !after.starts_with(|c: char| c.is_ascii_digit());
        (is_name && after[end..].starts_with(['}', ':', '='])).then_some(&after[..end])
    })
}

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

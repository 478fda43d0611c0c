//! Variables in a config that is read without `-config.expand-env`.

use std::collections::HashSet;

use crate::model::KeyPath;
use crate::yaml::{Content, Document, Error, Node};

/// A warning for each text of the file with `${NAME}`, which is not replaced. The value may be a secret, so only the names
/// of the variables are said.
pub(super) fn unreplaced(document: &mut Document) -> Vec<Error> {
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

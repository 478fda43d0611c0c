//! `<<`: merges the keys of other mappings. Keys of the mapping itself take precedence.

use super::MERGE_KEY;
use super::tree::{Content, Node};
use crate::model::{ConfigError, KeyPath};

/// Merges in `node` and everything below it. Merged nodes keep their origin, so errors point to where they are written.
pub(super) fn apply(node: &mut Node) -> Result<(), ConfigError> {
    merge(node, &KeyPath::default())
}

fn merge(node: &mut Node, path: &KeyPath) -> Result<(), ConfigError> {
    match &mut node.content {
        Content::List(items) => {
            for (i, item) in items.iter_mut().enumerate() {
                merge(item, &path.then(i))?;
            }
        }
        Content::Map(entries) => {
            for (key, value) in entries.iter_mut() {
                merge(value, &path.then(key.as_str()))?;
            }
            let (merges, mut merged): (Vec<_>, Vec<_>) =
                std::mem::take(entries).into_iter().partition(|(k, _)| k == MERGE_KEY);
            for (_, value) in merges {
                let from = mappings(value);
                let from = from.ok_or_else(|| {
                    ConfigError::at(path.then(MERGE_KEY), "`<<` merges a mapping, or a list of mappings")
                })?;
                for (key, value) in from.into_iter().flatten() {
                    if !merged.iter().any(|(k, _)| *k == key) {
                        merged.push((key, value));
                    }
                }
            }
            *entries = merged;
        }
        _ => {}
    }
    Ok(())
}

type Mapping = Vec<(String, Node)>;

fn mappings(value: Node) -> Option<Vec<Mapping>> {
    match value.content {
        Content::Null => Some(Vec::new()),
        Content::Map(entries) => Some(vec![entries]),
        Content::List(items) => items
            .into_iter()
            .map(|item| match item.content {
                Content::Map(entries) => Some(entries),
                _ => None,
            })
            .collect(),
        _ => None,
    }
}

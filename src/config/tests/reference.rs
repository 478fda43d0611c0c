//! docs/configuration.md: each key with its type, its default and its meaning.
//!
//! Types and meanings are in `reference.yaml`, states in docs/support.md, defaults and the list of keys in the code.
//! `FANTAIL_WRITE_DOCS=1 cargo test --lib reference` writes the page.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde::Deserialize;
use serde_yaml::{Mapping, Value};

use super::support::{Path, Shape, required, walk};
use super::*;
use crate::config::uses::pages::{Pages, Support, Supported};

const SOURCE: &str = include_str!("reference.yaml");
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");

/// Blocks with the same keys.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Blocks {
    /// The name of a group of keys that other blocks have too.
    #[serde(default)]
    name: String,
    blocks: Vec<String>,
    about: String,
    /// Whether the keys of the group `http` are among those of these blocks.
    #[serde(default)]
    http: bool,
    /// Type and meaning.
    keys: Mapping,
}

fn source() -> Vec<Blocks> {
    serde_yaml::from_str(SOURCE).expect("reference.yaml")
}

impl Blocks {
    fn keys(&self) -> Vec<(String, [String; 2])> {
        let own = self.keys.iter().map(|(name, entry)| {
            let name = name.as_str().expect("a name").to_string();
            (name, serde_yaml::from_value(entry.clone()).expect("a type and a meaning"))
        });
        let http = source().into_iter().filter(|blocks| self.http && blocks.name == "http");
        own.chain(http.flat_map(|blocks| blocks.keys())).collect()
    }
}

fn place(block: &str, name: &str) -> String {
    if block.is_empty() { name.to_string() } else { format!("{block}.{name}") }
}

/// The config with this block, with what the block always needs.
fn with_block(block: &str, inner: Value) -> Result<Value, String> {
    let path = Path::parse(block);
    let value = match path.shape() {
        Shape::Plain => inner,
        Shape::List => Value::Sequence(vec![inner]),
        Shape::AnyName => Value::Mapping(Mapping::from_iter([("x".into(), inner)])),
    };
    let text = if block.is_empty() { "clients: [{url: 'http://l'}]".to_string() } else { path.config(value) };
    Case::new(&text).load().map(|(config, _)| yaml::to_value(&config))
}

/// The default of each key of a block, as YAML. Keys without a default are left out.
fn defaults(block: &str) -> BTreeMap<String, String> {
    let needed = required(block);
    // Some blocks cannot be empty. Their keys have no defaults.
    let Ok(config) = with_block(block, needed.clone()) else { return BTreeMap::new() };
    let path = Path::parse(block);
    let mut at = &config;
    for (name, shape) in path.steps().filter(|(name, _)| !name.is_empty()) {
        at = &at[name];
        at = match shape {
            Shape::Plain => at,
            Shape::List => &at[0],
            Shape::AnyName => &at["x"],
        };
    }
    let mut defaults = BTreeMap::new();
    for (name, value) in at.as_mapping().into_iter().flatten() {
        let name = name.as_str().expect("a name");
        let shown = match value {
            Value::Bool(_) | Value::Number(_) => serde_yaml::to_string(value).expect("YAML").trim().to_string(),
            Value::String(text) => text.clone(),
            Value::Sequence(items) => {
                items.iter().map(|item| item.as_str().unwrap_or_default()).collect::<Vec<_>>().join(", ")
            }
            _ => String::new(),
        };
        if !shown.is_empty() && needed.get(name).is_none() && !block.is_empty() {
            defaults.insert(name.to_string(), format!("`{shown}`"));
        }
    }
    for name in needed.as_mapping().into_iter().flat_map(Mapping::keys) {
        let mut others = needed.clone();
        others.as_mapping_mut().expect("a mapping").remove(name);
        let name = name.as_str().expect("a name");
        if with_block(block, others).is_err_and(|why| why.contains(&format!(".{name}"))) {
            defaults.insert(name.to_string(), "required".to_string());
        }
    }
    defaults
}

fn page() -> String {
    let pages = Pages::read();
    let mut page = String::from(
        "# All keys of the config\n\nThis page is generated from the code. It lists the keys in the order of a config file. \
         [support.md](support.md) compares them with\nPromtail's, and [stages.md](stages.md) describes the stages.\n\n\
         - `[]` is each entry of a list, and `*` any name.\n\
         - A duration is written as `250ms`, `30s`, `5m` or `1h30m`. A size is a number of bytes, or written as `256KB`, \
         `16MB` or `1GB`, where\n  1KB is 1024 bytes.\n\
         - A default that is not shown is empty: the key has no effect until it is set.\n\
         - *new* marks a key that Promtail does not have.\n",
    );
    for blocks in source().iter().filter(|blocks| blocks.name.is_empty()) {
        let names: Vec<String> = blocks.blocks.iter().map(|block| format!("`{block}`")).collect();
        match blocks.blocks[0].as_str() {
            "" => page.push_str("\n## The top level\n"),
            first => _ = write!(page, "\n## {first}\n"),
        }
        let _ = write!(page, "\n{}\n", blocks.about);
        if names.len() > 1 {
            let _ = write!(page, "\nThe same keys are in {}.\n", names[1..].join(", "));
        }
        page.push_str("\n| key | type | default | |\n|---|---|---|---|\n");
        let first = &blocks.blocks[0];
        let defaults = defaults(first);
        let mut rows = BTreeSet::new();
        for (name, [kind, meaning]) in blocks.keys() {
            let support = blocks.blocks.iter().find_map(|block| pages.support.get(&place(block, &name)));
            // A group may have keys that are refused in this block.
            let Some(support) = support.filter(|s| [Support::Yes, Support::Added].contains(&s.state)) else { continue };
            let new = if support.state == Support::Added { " *new*" } else { "" };
            let default = defaults.get(&name).map_or("", String::as_str);
            let _ = writeln!(page, "| `{name}` | {kind} | {default} | {meaning}{new} |");
            rows.insert(name);
        }
        for (state, title) in [(Support::NoEffect, "Accepted without effect"), (Support::Refused, "Refused")] {
            let others = pages.support.iter().filter_map(|(key, support)| {
                let name = key.strip_prefix(first.as_str())?;
                let name = if first.is_empty() { name } else { name.strip_prefix('.')? };
                (support.state == state && !name.contains('.') && !rows.contains(name)).then_some((name, support))
            });
            let mut by_note: Vec<(&str, Vec<String>)> = Vec::new();
            for (name, Supported { note, .. }) in others {
                match by_note.iter_mut().find(|(other, _)| other == note) {
                    Some((_, names)) => names.push(format!("`{name}`")),
                    None => by_note.push((note.as_str(), vec![format!("`{name}`")])),
                }
            }
            for (note, names) in by_note {
                let note = if note.is_empty() { String::new() } else { format!(": {note}") };
                let _ = write!(page, "\n{title}: {}{note}.\n", names.join(", "));
            }
        }
    }
    page
}

#[test]
fn the_page_is_that_of_the_code() {
    let page = page();
    if std::env::var_os("FANTAIL_WRITE_DOCS").is_some() {
        fs::write(PAGE, &page).expect("the page is written");
    }
    let written = fs::read_to_string(PAGE).unwrap_or_default();
    let differs = page.lines().zip(written.lines()).find(|(new, old)| new != old);
    assert!(
        page == written,
        "docs/configuration.md is not that of the code: FANTAIL_WRITE_DOCS=1 cargo test --lib reference writes it; {differs:?}"
    );
}

/// Each key of the code has a meaning, or a reason why it is refused or has no effect; and no key is made up.
#[test]
fn each_key_has_a_meaning() {
    let pages = Pages::read();
    let mut known = Vec::new();
    walk(&Path::default(), &mut known);
    let known: BTreeSet<String> = known.into_iter().collect();
    let mut described = BTreeSet::new();
    for blocks in source() {
        for (name, [kind, meaning]) in blocks.keys() {
            let starts = meaning.starts_with(|c: char| c.is_uppercase() || c == '`');
            assert!(starts && meaning.ends_with('.') && !meaning.contains('|'), "{name}: {meaning}");
            assert!(!kind.is_empty() && blocks.about.ends_with('.'), "{name}");
            let places: Vec<String> = blocks.blocks.iter().map(|block| place(block, &name)).collect();
            let exists = |key: &String| known.contains(key) || pages.support.contains_key(key);
            assert!(places.is_empty() || blocks.http || places.iter().any(exists), "no block has {places:?}");
            described.extend(places);
        }
    }
    let needs = |key: &&String| {
        let state = pages.support.get(*key).map(|support| support.state);
        !described.contains(*key) && !matches!(state, Some(Support::NoEffect | Support::Refused))
    };
    let missing: Vec<&String> = known.iter().filter(needs).collect();
    assert!(missing.is_empty(), "describe these keys in src/config/tests/reference.yaml: {missing:?}");
}

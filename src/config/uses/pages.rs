//! Reads the tables of the documentation. Tests compare these pages with the code.

use std::collections::BTreeMap;

const SUPPORT: &str = include_str!("../../../docs/support.md");
const DIFFERENCES: &str = include_str!("../../../docs/differences.md");
const STAGES: &str = include_str!("../../../docs/stages.md");

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    Yes,
    Added,
    NoEffect,
    Refused,
}

#[derive(Clone, Debug)]
pub struct Supported {
    pub state: Support,
    pub note: String,
}

/// A row of the table of differences.
struct Difference {
    /// The keys that its topic names.
    keys: Vec<String>,
    /// It exists only if the key is not set.
    if_not_set: bool,
    text: String,
}

pub struct Pages {
    pub support: BTreeMap<String, Supported>,
    /// What each stage does unlike Promtail's.
    pub stages: BTreeMap<String, Option<String>>,
    differences: Vec<Difference>,
}

impl Pages {
    pub fn read() -> Self {
        Self { support: support(), stages: stages(), differences: differences() }
    }

    /// Whether there are keys below this block.
    pub fn has_block(&self, block: &str) -> bool {
        let prefix = format!("{block}.");
        self.support.range(prefix.clone()..).next().is_some_and(|(key, _)| key.starts_with(&prefix))
    }

    /// The intended differences whose topic names the key, or its last parts.
    pub fn differences_of(&self, key: &str, is_set: bool) -> impl Iterator<Item = String> {
        let key = key.replace("[]", "");
        let names = move |name: &String| key == *name || key.strip_suffix(name).is_some_and(|rest| rest.ends_with('.'));
        let holds = move |row: &&Difference| row.keys.iter().any(&names) && !(is_set && row.if_not_set);
        self.differences.iter().filter(holds).map(|row| row.text.clone())
    }

    /// The differences that exist only if a key is not set, with the key.
    pub fn differences_if_not_set(&self) -> Vec<(String, String)> {
        let rows = self.differences.iter().filter(|row| row.if_not_set);
        rows.filter_map(|row| Some((row.keys.first()?.clone(), row.text.clone()))).collect()
    }
}

fn support() -> BTreeMap<String, Supported> {
    let (_, page) = SUPPORT.split_once("\n## All keys\n").unwrap_or_default();
    let mut keys = BTreeMap::new();
    for cells in rows(page) {
        let [blocks, names, state, note] = cells[..] else { continue };
        let state = match state {
            "yes" => Support::Yes,
            "added" => Support::Added,
            "no effect" => Support::NoEffect,
            "refused" => Support::Refused,
            _ => continue,
        };
        let blocks = if blocks == "top level" { vec![""] } else { codes(blocks) };
        let names = codes(names);
        // A note about a key that works belongs to the keys that it names, such as `max_retries: 0`.
        let named: Vec<&str> = codes(note).into_iter().filter_map(|code| code.split(':').next()).collect();
        for block in blocks {
            for name in &names {
                let key = if block.is_empty() { name.to_string() } else { format!("{block}.{name}") };
                let belongs = state != Support::Yes || names.len() == 1 || named.contains(name);
                keys.insert(key, Supported { state, note: if belongs { note.to_string() } else { String::new() } });
            }
        }
    }
    keys
}

fn differences() -> Vec<Difference> {
    let row = |cells: Vec<&str>| {
        let [topic, _, fantail] = cells[..] else { return None };
        let keys = codes(topic).into_iter().map(String::from).collect();
        Some(Difference { keys, if_not_set: topic.ends_with("` not set"), text: format!("{topic}: {fantail}") })
    };
    rows(DIFFERENCES).filter_map(row).collect()
}

/// The section of each stage, and the paragraph that begins with "Unlike Promtail".
fn stages() -> BTreeMap<String, Option<String>> {
    let section = |section: &str| {
        let (name, text) = section.split_once('\n')?;
        let difference = text.split("\n\n").find_map(|paragraph| paragraph.trim().strip_prefix("Unlike Promtail: "));
        Some((name.trim().to_string(), difference.map(|text| text.replace('\n', " "))))
    };
    STAGES.split("\n## ").skip(1).filter_map(section).collect()
}

/// The cells of the rows of the first table.
fn rows(page: &str) -> impl Iterator<Item = Vec<&str>> {
    let rows = page.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    let rows = rows.take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect())
}

/// The words in backquotes.
fn codes(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// The text without Markdown's links: `[security.md](security.md)` becomes `docs/security.md`.
pub fn plain(text: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, name, target, after)) = link(rest) {
        out.push_str(before);
        let page = if target.contains("://") { target.to_string() } else { format!("docs/{target}") };
        out.push_str(&if name == target { page } else { format!("{name} ({page})") });
        rest = after;
    }
    out + rest
}

/// The first link of a text: what is before it, its name, its target, and what is behind it.
fn link(text: &str) -> Option<(&str, &str, &str, &str)> {
    let (head, tail) = text.split_once("](")?;
    let (before, name) = head.rsplit_once('[')?;
    let (target, after) = tail.split_once(')')?;
    Some((before, name, target, after))
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn links_become_names_of_pages() {
        for (text, want) in [
            ("no link [0]", "no link [0]"),
            ("a host ([security.md](security.md)). More", "a host (docs/security.md). More"),
            ("see [this](loki.md#x) and [b.md](b.md)", "see this (docs/loki.md#x) and docs/b.md"),
            ("[Loki](https://l/x)", "Loki (https://l/x)"),
        ] {
            assert_eq!(plain(text), want);
        }
    }
}

//! The parts of Promtail's config that a file uses, and what fantail does with each. The facts come from `docs/support.md`,
//! `docs/differences.md` and `docs/stages.md`, which tests compare with the code.

pub(super) mod pages;

use std::collections::BTreeMap;

use serde::Serialize;

use self::pages::{Pages, Support};
use super::{Config, Error, Request, unsupported};
use crate::model::KeyPath;
use crate::yaml::{Content, Document, Node};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Works as in Promtail.
    Same,
    /// Works, with the differences that the notes name.
    Differs,
    /// Promtail does not have it.
    Added,
    /// Accepted without effect.
    Ignored,
    /// Refused: the agent does not start with it.
    Refused,
}

/// A key that the file uses, or a stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Part {
    /// `scrape_configs[].syslog.labels`, or `pipeline_stages: cri`.
    pub key: String,
    pub verdict: Verdict,
    /// The differences, the reason why it has no effect, or what to use instead.
    pub notes: Vec<String>,
    /// The lines of the file that use it.
    pub lines: Vec<usize>,
}

/// The parts that a file uses, in the order of the file. Mistakes in it are [`lint`](super::lint)'s.
pub fn uses(request: &Request, env: &dyn Fn(&str) -> Option<String>) -> Result<Vec<Part>, Error> {
    let mut document = Config::text(request, env)?;
    let root = document.root_mut().clone();
    let mut walk = Walk { pages: Pages::read(), document: &document, parts: Vec::new(), at: BTreeMap::new() };
    walk.block("", &KeyPath::default(), &root);
    Ok(walk.parts)
}

struct Walk<'d> {
    pages: Pages,
    document: &'d Document,
    parts: Vec<Part>,
    /// The index of each part.
    at: BTreeMap<String, usize>,
}

impl Walk<'_> {
    /// `key` is the block's, with `[]` for an entry of a list and `*` for any name.
    fn block(&mut self, key: &str, path: &KeyPath, node: &Node) {
        match &node.content {
            Content::Map(entries) => {
                for (name, child) in entries {
                    let child_key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                    let any_name = format!("{key}.*");
                    if self.key(&child_key, &path.then(name.as_str())) {
                        self.block(&child_key, &path.then(name.as_str()), child);
                    } else if self.pages.has_block(&any_name) {
                        self.block(&any_name, &path.then(name.as_str()), child);
                    }
                }
            }
            Content::List(items) if key.ends_with(".pipeline_stages") => self.stages(path, items),
            Content::List(items) => {
                for (i, item) in items.iter().enumerate() {
                    self.block(&format!("{key}[]"), &path.then(i), item);
                }
            }
            _ => {}
        }
    }

    /// Notes a key. False: no page has it. It is the user's own name, such as that of a label, or a mistake.
    fn key(&mut self, key: &str, path: &KeyPath) -> bool {
        let Some(support) = self.pages.support.get(key) else { return false };
        let differences = || self.pages.differences_of(key).collect::<Vec<_>>();
        let note = Some(&support.note).filter(|note| !note.is_empty()).cloned();
        let (verdict, notes) = match support.state {
            Support::Yes => {
                let notes: Vec<String> = note.into_iter().chain(differences()).collect();
                (if notes.is_empty() { Verdict::Same } else { Verdict::Differs }, notes)
            }
            Support::Added => (Verdict::Added, note.into_iter().collect()),
            Support::NoEffect => (Verdict::Ignored, note.into_iter().collect()),
            Support::Refused => {
                let kind = key.strip_prefix("scrape_configs[].").and_then(unsupported::instead);
                (Verdict::Refused, kind.or(note).into_iter().collect())
            }
        };
        self.note(key.to_string(), verdict, notes, path);
        true
    }

    /// Also the stages inside of `match`.
    fn stages(&mut self, path: &KeyPath, stages: &[Node]) {
        for (i, stage) in stages.iter().enumerate() {
            let Content::Map(entries) = &stage.content else { continue };
            for (name, options) in entries {
                let path = path.then(i).then(name.as_str());
                if let Some(difference) = self.pages.stages.get(name) {
                    let notes: Vec<String> = difference.iter().cloned().collect();
                    let verdict = if notes.is_empty() { Verdict::Same } else { Verdict::Differs };
                    self.note(format!("pipeline_stages: {name}"), verdict, notes, &path);
                }
                let Content::Map(options) = &options.content else { continue };
                let inner = options.iter().find(|(option, _)| option.eq_ignore_ascii_case("stages"));
                if let Some((option, Node { content: Content::List(inner), .. })) = inner {
                    self.stages(&path.then(option.as_str()), inner);
                }
            }
        }
    }

    fn note(&mut self, key: String, verdict: Verdict, notes: Vec<String>, path: &KeyPath) {
        let line = self.document.note(path, "").position().map(|(line, _)| line);
        match self.at.get(&key) {
            Some(at) => self.parts[*at].lines.extend(line),
            None => {
                self.at.insert(key.clone(), self.parts.len());
                self.parts.push(Part { key, verdict, notes, lines: line.into_iter().collect() });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(config: &str) -> Vec<Part> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("promtail.yaml");
        std::fs::write(&file, config).expect("a file");
        let request = Request { files: file.display().to_string(), ..Request::default() };
        uses(&request, &|_| None).expect("parts")
    }

    fn part<'p>(parts: &'p [Part], key: &str) -> &'p Part {
        parts.iter().find(|part| part.key == key).unwrap_or_else(|| panic!("{key}: {parts:?}"))
    }

    #[test]
    fn each_part_has_a_verdict_and_its_lines() {
        let parts = found(
            "clients:
- url: http://l/push
  backoff_config: {max_retries: 3}
  external_labels: {url: mine}
wal: {enabled: true}
target_config: {logs_limit: 5}
scrape_configs:
- job_name: a
  pipeline_stages:
  - cri: {}
  - match: {selector: '{a=\"b\"}', stages: [{regex: {expression: x}}, {cri: }]}
  static_configs: [{labels: {__path__: /x}}]
- job_name: b
  kafka: {brokers: [x]}
- job_name: c
  static_configs: []
",
        );
        for (key, verdict, lines) in [
            ("clients[].url", Verdict::Same, &[2][..]),
            ("clients[].backoff_config.max_retries", Verdict::Differs, &[3]),
            ("wal.enabled", Verdict::Ignored, &[5]),
            ("target_config.logs_limit", Verdict::Added, &[6]),
            ("scrape_configs[].job_name", Verdict::Same, &[8, 13, 15]),
            ("pipeline_stages: cri", Verdict::Differs, &[10, 11]),
            ("pipeline_stages: regex", Verdict::Same, &[11]),
            ("scrape_configs[].kafka", Verdict::Refused, &[14]),
        ] {
            let part = part(&parts, key);
            assert_eq!((part.verdict, part.lines.as_slice()), (verdict, lines), "{part:?}");
            assert_eq!(part.notes.is_empty(), [Verdict::Same, Verdict::Added].contains(&verdict), "{part:?}");
        }
        // Labels of the user are not keys, whatever their names are.
        assert!(parts.iter().all(|part| !part.key.contains("external_labels.") && !part.key.contains("__path__")));
        assert!(part(&parts, "scrape_configs[].kafka").notes[0].contains("loki.source.kafka"));
    }

    #[test]
    fn the_pages_are_read_completely() {
        let pages = Pages::read();
        assert!(pages.support.len() > 400, "{}", pages.support.len());
        assert!(pages.stages.len() > 20, "{:?}", pages.stages.keys());
        assert!(pages.stages["cri"].is_some() && pages.stages["output"].is_none());
        let retries: Vec<String> = pages.differences_of("clients[].backoff_config.max_retries").collect();
        assert!(retries.iter().any(|note| note.starts_with("`max_retries` not set: ")), "{retries:?}");
        assert_eq!(pages.differences_of("clients[].url").count(), 0);
    }
}

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
    /// The config has a mistake there. Only [`mark`] gives it.
    Mistake,
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
    if !walk.parts.is_empty() {
        walk.what_is_not_set(request);
    }
    Ok(walk.parts)
}

/// Marks the parts that have a mistake at one of these paths, such as `clients[0].batchwait`. What is refused stays so.
pub fn mark(parts: &mut [Part], mistaken: &[String]) {
    for path in mistaken {
        let path = without_indices(path);
        let stage = path.rfind("stages[].").map(|at| &path[at + "stages[].".len()..]);
        let stage = stage.and_then(|rest| rest.split(['.', '[']).next()).map(|name| format!("pipeline_stages: {name}"));
        // A value inside of a block belongs to the block, such as a label, and an entry to its list, such as a stage.
        let belongs = |rest: &str| rest.is_empty() || rest == "[]" || rest.starts_with('.');
        let is_at = |key: &str| path.strip_prefix(key).is_some_and(belongs);
        let nearest = parts.iter().map(|part| &part.key).filter(|key| is_at(key)).max_by_key(|key| key.len()).cloned();
        let Some(key) = stage.or(nearest) else { continue };
        let marked = parts.iter_mut().find(|part| part.key == key && part.verdict != Verdict::Refused);
        if let Some(part) = marked {
            part.verdict = Verdict::Mistake;
        }
    }
}

/// `clients[0].url` as `clients[].url`.
fn without_indices(path: &str) -> String {
    let mut parts = path.split('[');
    let first = parts.next().unwrap_or_default().to_string();
    parts.fold(first, |path, part| format!("{path}[{}", part.trim_start_matches(|c: char| c.is_ascii_digit())))
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
                    if self.key(&child_key, &path.then(name.as_str()), child.content != Content::Null) {
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
    fn key(&mut self, key: &str, path: &KeyPath, is_set: bool) -> bool {
        let Some(support) = self.pages.support.get(key) else { return false };
        let differences = || self.pages.differences_of(key, is_set).collect::<Vec<_>>();
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

    /// The differences of keys that neither the file nor a flag sets.
    fn what_is_not_set(&mut self, request: &Request) {
        for (name, text) in self.pages.differences_if_not_set() {
            let is = |key: &str| key == name || key.strip_suffix(&name).is_some_and(|rest| rest.ends_with('.'));
            let used = self.parts.iter().any(|part| is(&part.key));
            if used || request.settings.iter().any(|setting| is(setting.key)) {
                continue;
            }
            let keys = self.pages.support.keys().filter(|key| is(key) && !key.starts_with(['-']));
            let key = keys.max_by_key(|key| key.starts_with("clients[]")).cloned().unwrap_or(name);
            self.parts.push(Part {
                key,
                verdict: Verdict::Differs,
                notes: vec![pages::plain(&text)],
                lines: Vec::new(),
            });
        }
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
                let notes = notes.iter().map(|note| pages::plain(note)).collect();
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
        let retries: Vec<String> = pages.differences_of("clients[].backoff_config.max_retries", false).collect();
        assert!(retries.iter().any(|note| note.starts_with("`max_retries` not set: ")), "{retries:?}");
        assert_eq!(pages.differences_of("clients[].url", true).count(), 0);
    }

    #[test]
    fn what_holds_for_a_key_that_is_not_set_is_said_of_no_other() {
        let client = "clients: [{url: 'http://l/push'}]\n";
        let not_set = found(client);
        let listens = part(&not_set, "server.http_listen_address");
        assert_eq!((listens.verdict, listens.lines.as_slice()), (Verdict::Differs, &[][..]));
        assert!(listens.notes[0].contains("on 127.0.0.1 on a host (docs/security.md)"), "{listens:?}");
        part(&not_set, "clients[].backoff_config.max_retries");
        let set = found(&format!("{client}server: {{http_listen_address: 0.0.0.0}}\n"));
        let listens = part(&set, "server.http_listen_address");
        assert!(listens.notes.iter().all(|note| !note.contains("not set")), "{listens:?}");
        assert_eq!(listens.lines, [2]);
        assert_eq!(found(""), []);
    }

    #[test]
    fn parts_with_a_mistake_are_marked() {
        let mut parts = found(
            "clients: [{url: 'http://l/push', batchwait: 5, headers: {a: b}}]
scrape_configs:
- kafka: {brokers: 1}
- job_name: a
  pipeline_stages: [{json: }, {match: {selector: x, stages: [{regex: {expression: '('}}]}}]
",
        );
        let mistaken = [
            "clients[0].batchwait",
            "clients[0].headers.a",
            "scrape_configs[0].kafka",
            "scrape_configs[1].pipeline_stages[1].match.stages[0].regex.expression",
            "scrape_configs[1].pipeline_stages[2]",
            "",
        ];
        mark(&mut parts, &mistaken.map(String::from));
        let marked: Vec<&str> =
            parts.iter().filter(|part| part.verdict == Verdict::Mistake).map(|part| part.key.as_str()).collect();
        let stages = ["scrape_configs[].pipeline_stages", "pipeline_stages: regex"];
        assert_eq!(marked, [&["clients[].batchwait", "clients[].headers"], &stages[..]].concat(), "{parts:?}");
        assert_eq!(part(&parts, "scrape_configs[].kafka").verdict, Verdict::Refused);
    }
}

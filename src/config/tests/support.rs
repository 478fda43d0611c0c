//! The table of docs/support.md and the keys that the config has.

use std::collections::BTreeMap;

use serde_yaml::{Mapping, Value};

use super::*;
use crate::config::unsupported;

/// The page's entry about a key.
#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Served,
    NoEffect,
    Refused,
}

/// Fails for a key of the code that the page lacks, and for a key of the page that the code does not know.
#[test]
fn the_page_has_each_key_of_the_code_and_no_other() {
    let page = page();
    let known = keys();
    assert!(known.len() > 300, "{}", known.len());
    let missing: Vec<&String> = known.iter().filter(|key| !page.contains_key(*key)).collect();
    assert!(missing.is_empty(), "add these keys to the table of docs/support.md: {missing:?}");
    let unsupported = unsupported::kinds();
    for name in &unsupported {
        let key = format!("scrape_configs[].{name}");
        assert_eq!(page.get(&key), Some(&State::Refused), "{key}");
    }
    let is_unsupported =
        |key: &str| key.strip_prefix("scrape_configs[].").is_some_and(|key| unsupported.iter().any(|name| name == key));
    // The deprecated block is moved into `clients`.
    let gone: Vec<&String> =
        page.keys().filter(|key| !known.contains(key) && !is_unsupported(key) && *key != "client").collect();
    assert!(gone.is_empty(), "docs/support.md has keys that the code does not know: {gone:?}");
}

#[test]
fn each_key_does_what_the_page_says() {
    let page = page();
    let mut wrong = Vec::new();
    for (key, state) in &page {
        let has_keys = |form: &str| page.keys().any(|other| other.starts_with(&format!("{key}{form}.")));
        let block = [("", required(key)), ("[]", Value::Sequence(vec![required(&format!("{key}[]"))]))];
        let block = block.into_iter().filter(|(form, _)| has_keys(form)).map(|(_, value)| value);
        let said: Vec<Said> =
            VALUES.iter().map(|value| yaml(value)).chain(block).map(|value| Said::of(key, value)).collect();
        let is_right = match state {
            State::Served => said.contains(&Said::Nothing) && !said.contains(&Said::Ignored),
            State::NoEffect => said.contains(&Said::Ignored),
            State::Refused => said.contains(&Said::Unsupported),
        };
        if !is_right {
            let said: Vec<String> =
                said.iter().map(|said| format!("{said:?}")).filter(|said| !said.contains("expected")).collect();
            wrong.push(format!(
                "docs/support.md says {state:?} of {key}, the program: {}",
                said[..said.len().min(5)].join(" ")
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Values that suit one key or another.
const VALUES: &[&str] = &[
    "true",
    "false",
    "7",
    "7s",
    "500",
    "64KB",
    "20MB",
    "{url: 'http://x'}",
    "{cert_file: /c, key_file: /k}",
    "text",
    "[text]",
    "{a: b}",
    "{a: [b]}",
    "http://h",
    "[{}]",
    "tcp4",
    "loopback",
    "debug",
    "json",
    "unix:///s",
    "TLS12",
    "TLS13",
    ":1514",
    "udp",
    "node",
    "pod",
    "a=b",
    "replace",
    "[/x/a.json]",
    "utf-8",
    "gz",
    "client_credentials",
    "NoClientCert",
    "A=b",
    "/x",
    "Bearer",
    "rfc3164",
    "https",
    "tasks",
    "SRV",
    "end",
];

#[derive(Debug, PartialEq)]
enum Said {
    /// The value is accepted.
    Nothing,
    /// A warning says that the key has no effect.
    Ignored,
    /// The value is refused, because the key is not supported.
    Unsupported,
    /// The value does not fit.
    Other(String),
}

impl Said {
    fn of(key: &str, value: Value) -> Self {
        let path = Path::parse(key);
        let text = path.config(value);
        let place = key.replace("[]", "[0]").replace("*", "x");
        // A warning may be about the whole block.
        let block = place.rsplit_once('.').map_or(place.as_str(), |(block, _)| block);
        let names =
            |message: &String| message.contains(&format!(": {place}: ")) || message.contains(&format!(": {block}: "));
        match Case::new(&text).load() {
            Err(message) if !message.contains(&place) => Self::Other(message),
            Err(message) if message.contains("support") && !message.contains("only") => Self::Unsupported,
            Err(message) => Self::Other(message),
            Ok((_, warnings)) => {
                let no_effect = |w: &&String| ["no effect", "ignored"].iter().any(|word| w.contains(word));
                // Other keys of an ignored block need no warnings of their own.
                let of_block = |w: &String| key.starts_with("wal.") && w.contains(": wal.enabled: ");
                match warnings.iter().filter(no_effect).any(|w| names(w) || of_block(w)) {
                    true => Self::Ignored,
                    false => Self::Nothing,
                }
            }
        }
    }
}

/// The keys of the table and their states. A row has blocks, keys, and one state.
fn page() -> BTreeMap<String, State> {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/support.md")).expect("the page");
    let table = text.split_once("\n## All keys\n").expect("the table").1;
    let mut keys = BTreeMap::new();
    for row in
        table.lines().skip_while(|line| !line.starts_with("|---")).skip(1).take_while(|line| line.starts_with('|'))
    {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [blocks, names, state, _] = cells[..] else { panic!("four cells: {row}") };
        let state = match state {
            "yes" | "added" => State::Served,
            "no effect" => State::NoEffect,
            "refused" => State::Refused,
            _ => panic!("yes, added, no effect or refused: {row}"),
        };
        let code = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_string).collect::<Vec<_>>();
        let blocks = if blocks == "top level" { vec![String::new()] } else { code(blocks) };
        for block in &blocks {
            for name in code(names) {
                let key = if block.is_empty() { name } else { format!("{block}.{name}") };
                assert_eq!(keys.insert(key.clone(), state), None, "{key} is there twice");
            }
        }
    }
    keys
}

/// The place of a key: `clients[].tls_config.ca_file`. A block may be in a list (`[]`) or under any name (`*`).
#[derive(Clone, Default)]
pub(super) struct Path(Vec<(String, Shape)>);

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Shape {
    Plain,
    List,
    AnyName,
}

const PROBE: &str = "@@@@@@@@@@@@@@@@@@@@";

/// All keys of the code.
pub(super) fn keys() -> Vec<String> {
    let mut known = Vec::new();
    walk(&Path::default(), &mut known);
    known
}

/// Adds the keys that serde knows below `path`.
pub(super) fn walk(path: &Path, keys: &mut Vec<String>) {
    for name in path.known().unwrap_or_default() {
        let at = |shape: Shape| Path(path.0.iter().cloned().chain([(name.clone(), shape)]).collect());
        keys.push(at(Shape::Plain).to_string());
        for shape in [Shape::Plain, Shape::List, Shape::AnyName] {
            walk(&at(shape), keys);
        }
    }
}

impl Path {
    pub(super) fn parse(key: &str) -> Self {
        let mut steps: Vec<(String, Shape)> = Vec::new();
        for step in key.split('.') {
            match (step, step.strip_suffix("[]")) {
                ("*", _) => steps.last_mut().expect("a name").1 = Shape::AnyName,
                (_, Some(name)) => steps.push((name.to_string(), Shape::List)),
                (name, None) => steps.push((name.to_string(), Shape::Plain)),
            }
        }
        Self(steps)
    }

    /// The names and shapes from the top level.
    pub(super) fn steps(&self) -> impl Iterator<Item = (&String, Shape)> {
        self.0.iter().map(|(name, shape)| (name, *shape))
    }

    pub(super) fn shape(&self) -> Shape {
        self.0.last().map_or(Shape::Plain, |(_, shape)| *shape)
    }

    /// The keys of the block at this place. None: there is no block.
    fn known(&self) -> Option<Vec<String>> {
        let error = Case::new(&self.wrapped(&format!("{{'{PROBE}': 1}}"))).load().err()?;
        let (place, known) = error.split_once(": unknown key; known here: ")?;
        place
            .contains(PROBE)
            .then(|| known.lines().next().unwrap_or_default().split(", ").map(str::to_string).collect())
    }

    fn wrapped(&self, leaf: &str) -> String {
        self.0.iter().rev().fold(leaf.to_string(), |inner, (name, shape)| match shape {
            Shape::Plain => format!("{{{name}: {inner}}}"),
            Shape::List => format!("{{{name}: [{inner}]}}"),
            Shape::AnyName => format!("{{{name}: {{x: {inner}}}}}"),
        })
    }

    /// A config that can run and has `value` at this place.
    pub(super) fn config(&self, value: Value) -> String {
        let mut root = yaml("clients: [{url: 'http://l'}]");
        let mut block = &mut root;
        let mut place = String::new();
        for (i, (name, shape)) in self.0.iter().enumerate() {
            place = format!("{place}{}{name}", if i == 0 { "" } else { "." });
            let map = block.as_mapping_mut().expect("a mapping");
            if i + 1 == self.0.len() {
                map.insert(name.as_str().into(), value);
                let block = place.rsplit_once('.').map_or("", |(block, _)| block);
                for (name, value) in beside(block, name) {
                    map.insert((*name).into(), yaml(value));
                }
                break;
            }
            place.push_str(["", "[]", ".*"][*shape as usize]);
            let inner = required(&place);
            let outer = match shape {
                Shape::Plain => inner,
                Shape::List => Value::Sequence(vec![inner]),
                Shape::AnyName => Value::Mapping(Mapping::from_iter([("x".into(), inner)])),
            };
            let there = map.entry(name.as_str().into()).or_insert(Value::Null);
            if there.is_null() || place.starts_with("clients") || name == "server" {
                *there = outer;
            }
            block = match shape {
                Shape::Plain => there,
                Shape::List => &mut there[0],
                Shape::AnyName => &mut there["x"],
            };
        }
        let job = root.get_mut("scrape_configs").and_then(|jobs| jobs.get_mut(0));
        if let Some(job) = job.and_then(|job| job.as_mapping_mut())
            && !job.keys().any(|key| key.as_str().is_some_and(|key| KINDS_HERE.contains(&key)))
        {
            job.insert("static_configs".into(), yaml("[{labels: {__path__: /x}}]"));
        }
        serde_yaml::to_string(&root).expect("yaml")
    }
}

impl std::fmt::Display for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = |(name, shape): &(String, Shape)| format!("{name}{}", ["", "[]", ".*"][*shape as usize]);
        f.write_str(&self.0.iter().map(shown).collect::<Vec<_>>().join("."))
    }
}

const KINDS_HERE: &[&str] = &[
    "static_configs",
    "kubernetes_sd_configs",
    "file_sd_configs",
    "http_sd_configs",
    "docker_sd_configs",
    "dockerswarm_sd_configs",
    "consul_sd_configs",
    "consulagent_sd_configs",
    "dns_sd_configs",
    "journal",
    "syslog",
    "loki_push_api",
    "kubernetes_events",
];

/// The keys that the block at this place always needs.
pub(super) fn required(place: &str) -> Value {
    let last = place.rsplit('.').next().unwrap_or_default();
    yaml(match last {
        "clients[]" => "{url: 'http://l'}",
        "scrape_configs[]" => "{job_name: a}",
        "kubernetes_sd_configs[]" => "{role: pod, api_server: 'http://k'}",
        "kubernetes_events" => "{api_server: 'http://k'}",
        "docker_sd_configs[]" => "{host: 'unix:///s'}",
        "http_sd_configs[]" => "{url: 'http://h'}",
        "dockerswarm_sd_configs[]" => "{host: 'unix:///s', role: tasks}",
        "dns_sd_configs[]" => "{names: [a]}",
        "filters[]" => "{name: a, values: [b]}",
        "file_sd_configs[]" => "{files: [/x/a.json]}",
        "syslog" => "{listen_address: ':1514'}",
        "server" if place.contains("loki_push_api") => "{http_listen_port: 3500}",
        "loki_push_api" => "{server: {http_listen_port: 3500}}",
        "oauth2" => "{client_id: a, token_url: 'http://t'}",
        "relabel_configs[]" => "{target_label: a}",
        "journal" => "{labels: {a: b}}",
        "wal" => "{enabled: true}",
        _ => "{}",
    })
}

/// The keys that a key needs beside it in the block at `place`.
fn beside(place: &str, name: &str) -> &'static [(&'static str, &'static str)] {
    match name {
        "kubeconfig_file" => &[("api_server", "''")],
        "receive_buffer" => &[("listen_protocol", "udp")],
        _ if place.ends_with("kubernetes_sd_configs[]") || place.ends_with("kubernetes_events") => &[],
        "no_proxy" | "proxy_connect_header" => &[("proxy_url", "http://p")],
        "cert" | "cert_file" => &[("key_file", "/k")],
        "key" | "key_file" => &[("cert_file", "/c")],
        "ca_file" if place.ends_with("syslog.tls_config") => &[("cert_file", "/c"), ("key_file", "/k")],
        "client_ca" | "client_ca_file" if place.ends_with("http_tls_config") => {
            &[("cert_file", "/c"), ("key_file", "/k"), ("client_auth_type", "RequireAndVerifyClientCert")]
        }
        "tls_min_version" => &[("http_tls_config", "{cert_file: /c, key_file: /k}")],
        "readline_rate" | "readline_burst" | "readline_rate_drop" => &[("readline_rate_enabled", "true")],
        "max_line_size_truncate" => &[("max_line_size", "64KB")],
        "modulus" => &[("action", "hashmod")],
        _ if place.ends_with("http_tls_config") => &[("cert_file", "/c"), ("key_file", "/k")],
        _ => &[],
    }
}

fn yaml(text: &str) -> Value {
    serde_yaml::from_str(text).expect("yaml")
}

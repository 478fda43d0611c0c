//! The files, directories and ports that a config needs. The kernel then refuses the agent all others.
//!
//! Files and ports are found by the names of their keys in the printed config, so that no new key can be forgotten.
//! `needs/tests.rs` checks that such keys have these names.

mod paths;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_yaml::Value;

use super::Config;
use crate::server;

/// The files and addresses that a run needs. If a need cannot be known, a text says why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Directories that contain logs, or will.
    pub logs: BTreeSet<PathBuf>,
    /// Existing directories of container runtimes. Links in `logs` lead to them.
    pub runtimes: BTreeSet<PathBuf>,
    /// Files that are read again when they change.
    pub files: BTreeSet<PathBuf>,
    /// The config file. A reload reads it again.
    pub config_files: BTreeSet<PathBuf>,
    /// Logs that are named without wildcards.
    pub named_logs: BTreeSet<PathBuf>,
    /// Reasons why logs may be anywhere.
    pub anywhere: Vec<String>,
    /// Reasons why other files may be anywhere.
    pub unknown_files: Vec<String>,
    /// The positions file.
    pub positions: PathBuf,
    /// TCP ports to connect to.
    pub ports: BTreeSet<u16>,
    /// Reasons why any port may be needed.
    pub any_port: Vec<String>,
    /// TCP ports to listen on. 0: any.
    pub listens: BTreeSet<u16>,
    /// A program may be run (`kubeconfig_exec`). Its needs are not known.
    pub runs_programs: bool,
}

impl Config {
    /// The needs of a run of this config.
    pub fn needs(&self, env: &dyn Fn(&str) -> Option<String>) -> Needs {
        let mut needs = Needs {
            positions: PathBuf::from(&self.positions.filename),
            listens: (!self.server.disable).then_some(self.server.http_listen_port).into_iter().collect(),
            // DNS uses TCP for long answers.
            ports: [53].into(),
            ..Needs::default()
        };
        needs.walk(&crate::yaml::to_value(self), env);
        needs.files.extend(self.server.files());
        needs.files.extend(self.positions.import_from.iter().map(PathBuf::from));
        for client in &self.clients {
            // A redirect may lead to HTTPS on the same host.
            if client.follow_redirects && client.url.scheme() == "http" {
                needs.ports.insert(443);
            }
        }
        // With standard input, nothing is discovered.
        if !self.target_config.stdin {
            for job in &self.scrape_configs {
                needs.job(job, env);
                if let Some(receives) = job.receives() {
                    needs.listens.extend(receives.tcp_port());
                    needs.files.extend(receives.files());
                }
            }
        }
        let written = self.target_config.link_roots.iter().chain(&self.target_config.read_roots);
        needs.logs.extend(written.map(PathBuf::from));
        if !self.target_config.read_roots.is_empty() {
            needs.anywhere.clear();
        }
        needs
    }

    /// The needs of a reload to this config: without the files that are only read at the start.
    pub fn needs_at_reload(&self, env: &dyn Fn(&str) -> Option<String>) -> Needs {
        let mut config = self.clone();
        // Only a start opens the port of the pages.
        config.server = server::Config::default();
        config.server.disable = true;
        config.positions.import_from.clear();
        config.needs(env)
    }
}

impl Needs {
    fn walk(&mut self, value: &Value, env: &dyn Fn(&str) -> Option<String>) {
        match value {
            Value::Mapping(entries) => {
                for (key, value) in entries {
                    match (key.as_str().unwrap_or_default(), value) {
                        // The keys in these blocks are the user's, or the block is ignored. `positions` is also
                        // written.
                        (key, _) if NOT_KEYS.contains(&key) => {}
                        ("pipeline_stages", stages) => self.stages(stages),
                        ("proxy_from_environment", Value::Bool(true)) => self.proxies(env),
                        (_, Value::Mapping(_)) => self.walk(value, env),
                        (key, value) if is_path(key) => self.files.extend(texts(value).map(PathBuf::from)),
                        (key, value) if is_url(key) => texts(value).for_each(|url| self.connects(key, url)),
                        _ => self.walk(value, env),
                    }
                }
            }
            Value::Sequence(items) => items.iter().for_each(|item| self.walk(item, env)),
            _ => {}
        }
    }

    /// Many keys in stages are the user's own. So a key only counts if its value is an existing file.
    fn stages(&mut self, value: &Value) {
        match value {
            Value::Mapping(entries) => {
                for (key, value) in entries {
                    let is_path = key.as_str().is_some_and(is_path);
                    self.files.extend(texts(value).map(PathBuf::from).filter(|path| is_path && path.is_file()));
                    self.stages(value);
                }
            }
            Value::Sequence(items) => items.iter().for_each(|item| self.stages(item)),
            _ => {}
        }
    }

    fn proxies(&mut self, env: &dyn Fn(&str) -> Option<String>) {
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            for name in [name.to_string(), name.to_lowercase()] {
                if let Some(url) = env(&name).filter(|url| !url.is_empty()) {
                    self.connects(&name, &url);
                }
            }
        }
    }

    fn connects(&mut self, key: &str, url: &str) {
        match port(url) {
            Some(port) => drop(self.ports.insert(port)),
            // The URL may contain a password, so it is not shown.
            None => self.any_port.push(format!("the port of the URL in {key} is not known")),
        }
    }
}

/// Blocks that contain none of our keys.
const NOT_KEYS: [&str; 10] = [
    "labels",
    "external_labels",
    "relabel_configs",
    "headers",
    "endpoint_params",
    "node_meta",
    "proxy_connect_header",
    "positions",
    "wal",
    "external_url",
];

/// Whether the key's values are paths of files to read.
fn is_path(key: &str) -> bool {
    matches!(key, "file" | "files" | "filename" | "db") || key.ends_with("_file") || key.ends_with("_files")
}

/// Whether the key's value is a URL to connect to.
fn is_url(key: &str) -> bool {
    matches!(key, "url" | "api_server") || key.ends_with("_url") || key.ends_with("_urls")
}

fn texts(value: &Value) -> impl Iterator<Item = &str> {
    let items = match value {
        Value::Sequence(items) => items.as_slice(),
        value => std::slice::from_ref(value),
    };
    items.iter().filter_map(Value::as_str).filter(|text| !text.is_empty())
}

/// The port of `scheme://user@host:port/…`, or the default port of the scheme.
fn port(url: &str) -> Option<u16> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let behind = host.rsplit_once(']').map_or(host, |(_, behind)| behind);
    match behind.split_once(':') {
        Some((_, port)) if !port.is_empty() => port.parse().ok(),
        _ => match scheme.to_ascii_lowercase().as_str() {
            "http" => Some(80),
            "https" => Some(443),
            scheme if scheme.starts_with("socks") => Some(1080),
            _ => None,
        },
    }
}

//! Finds what is allowed in a config and probably wrong: a path that matches no file, a variable that was not replaced, a
//! time layout of another language. Each finding says what to write.

mod files;
mod jobs;
mod layouts;
mod text;

use std::collections::BTreeMap;

use super::check::check_all;
use super::{Config, Error, Loaded, Partial, Request};
use crate::http_client::check_url;
use crate::model::{KeyPath, is_valid_label_name, nearest};
use crate::tail::Mounts;
use crate::yaml;

/// All mistakes and warnings of a config, each with its place and what to do.
#[derive(Debug, Default)]
pub struct Findings {
    pub mistakes: Vec<String>,
    pub warnings: Vec<String>,
    /// What can be done about several of the mistakes at once.
    pub advice: Vec<String>,
    /// The paths of the keys that have the mistakes, without keys that nothing knows.
    pub mistaken: Vec<String>,
    /// Neither the file nor a flag sets a client.
    pub no_client: bool,
}

/// Checks a config completely: all mistakes, and all warnings. Reads names of files, and the first bytes of files.
pub fn lint(request: &Request, env: &dyn Fn(&str) -> Option<String>) -> Findings {
    lint_on(request, env, &Mounts::now())
}

/// The same with these mounts.
fn lint_on(request: &Request, env: &dyn Fn(&str) -> Option<String>, mounts: &Mounts) -> Findings {
    let Partial { loaded, mut mistakes, warnings: unchecked, advice, no_client } =
        Config::load_what_is_right(request, env);
    let checked = loaded.as_ref().map(check_all);
    let (more, warnings) = checked.unwrap_or_default();
    mistakes.extend(more);
    let hint = yaml::take_hint(&mut mistakes).map(String::from);
    let mut findings = Findings {
        mistakes: mistakes.iter().map(Error::to_string).collect(),
        warnings: unchecked.iter().map(Error::to_string).collect(),
        advice: advice.into_iter().chain(hint).collect(),
        mistaken: mistakes
            .iter()
            .filter(|mistake| mistake.unknown_key().is_none())
            .map(|mistake| mistake.path().to_string())
            .collect(),
        no_client,
    };
    findings.warnings.extend(jobs::documents(request));
    findings.warnings.extend(warnings);
    let Some(loaded) = loaded else { return findings };
    let mut lint = Lint { loaded: &loaded, found: Vec::new() };
    lint.clients();
    lint.jobs();
    files::lint(&mut lint, mounts);
    jobs::lint(&mut lint);
    text::lint(&mut lint);
    let mut notes = lint.notes();
    notes.sort_by_key(Error::position);
    findings.warnings.extend(notes.iter().map(Error::to_string));
    findings
}

/// Where Loki takes lines.
const PUSH: &str = "/loki/api/v1/push";

/// What is wrong with the path of a URL for pushes. Other paths may be those of a gateway.
fn fault_of_push_path(path: &str) -> Option<&'static str> {
    let bare = path.trim_end_matches('/');
    if bare.is_empty() {
        return Some("has no path");
    }
    if bare.ends_with("/api/prom/push") {
        return Some("has the path of old versions, which Loki 4 does not have any more");
    }
    if bare.ends_with("/otlp/v1/logs") {
        return Some("has the path for OpenTelemetry, which fantail does not speak");
    }
    if bare.ends_with(PUSH) {
        return (bare != path).then_some("has a slash at the end");
    }
    let is_begun = ["/loki", "/loki/api", "/loki/api/v1"].contains(&bare);
    (is_begun || path.contains("/loki/api/v1/")).then_some("is not where Loki takes lines")
}

/// What stands before a path of Loki, for instance of a gateway.
fn prefix_of_push_path(path: &str) -> &str {
    let begin = ["/loki", "/api/prom/", "/otlp/"].iter().filter_map(|part| path.rfind(part)).min();
    &path[..begin.unwrap_or(0)]
}

struct Lint<'l> {
    loaded: &'l Loaded,
    found: Vec<(KeyPath, String)>,
}

/// Names of values that differ from line to line. As labels, each value makes a stream of its own in Loki.
const MANY_VALUES: &[&str] = &[
    "client_ip",
    "correlation_id",
    "duration",
    "email",
    "id",
    "ip",
    "latency",
    "message",
    "msg",
    "order_id",
    "path",
    "remote_addr",
    "request_id",
    "requestid",
    "session_id",
    "sessionid",
    "span_id",
    "spanid",
    "time",
    "timestamp",
    "trace_id",
    "traceid",
    "ts",
    "uri",
    "url",
    "user_id",
    "userid",
    "uuid",
    "x_request_id",
];

impl Lint<'_> {
    fn warn(&mut self, path: KeyPath, message: impl Into<String>) {
        self.found.push((path, message.into()));
    }

    fn notes(self) -> Vec<Error> {
        let note = |(path, message): &(KeyPath, String)| self.loaded.document.note(path, message);
        self.found.iter().map(note).collect()
    }

    fn clients(&mut self) {
        for (i, client) in self.loaded.config.clients.iter().enumerate() {
            let path = KeyPath::from(format!("clients[{i}]").as_str());
            let is_url = check_url(&client.url).is_ok();
            let url_path = client.url.path();
            if let Some(fault) = fault_of_push_path(url_path).filter(|_| is_url) {
                let url = client.redacted_url();
                let base = url.strip_suffix(url_path).unwrap_or(&url);
                let prefix = prefix_of_push_path(url_path);
                self.warn(path.then("url"), format!("{fault}: write {base}{prefix}{PUSH}"));
            }
        }
    }

    fn jobs(&mut self) {
        let loaded = self.loaded;
        for (i, job) in loaded.config.scrape_configs.iter().enumerate() {
            let path = KeyPath::from(format!("scrape_configs[{i}]").as_str());
            for (n, targets) in job.static_configs.iter().enumerate() {
                self.near_misses(&path.then("static_configs").then(n).then("labels"), &targets.labels);
            }
            for (n, rule) in job.relabel_configs.iter().enumerate() {
                let target = rule.target_label.as_deref().unwrap_or_default();
                self.many_values(path.then("relabel_configs").then(n).then("target_label"), target);
            }
            for (n, stage) in job.pipeline_stages.iter().enumerate() {
                self.stage(&path.then("pipeline_stages").then(n), stage);
            }
        }
    }

    /// Labels that are probably meant to be `__path__` or `__path_exclude__`.
    fn near_misses(&mut self, path: &KeyPath, labels: &BTreeMap<String, String>) {
        const KNOWN: [&str; 3] = ["__path__", "__path_exclude__", "__host__"];
        for name in labels.keys().filter(|name| !KNOWN.contains(&name.as_str())) {
            let bare = name.trim_matches('_').to_ascii_lowercase();
            let meant = KNOWN.into_iter().find(|known| known.trim_matches('_') == bare && name.starts_with('_'));
            let meant = meant.or_else(|| nearest(name, KNOWN).filter(|_| name.starts_with("__")));
            if let Some(meant) = meant {
                self.warn(path.then(name.as_str()), format!("has no meaning: write {meant}"));
            }
        }
        if let Some(value) =
            labels.get("path").filter(|value| value.starts_with('/') && !labels.contains_key("__path__"))
        {
            self.warn(path.then("path"), format!("is an ordinary label: write __path__: {value} to read these files"));
        }
    }

    fn many_values(&mut self, path: KeyPath, label: &str) {
        if MANY_VALUES.contains(&label.to_ascii_lowercase().as_str()) {
            let message = format!(
                "the label {label} probably has many values, and each makes a stream of its own: put {label} into \
                 structured_metadata instead of labels"
            );
            self.warn(path, message);
        }
    }

    fn stage(&mut self, path: &KeyPath, stage: &serde_yaml::Value) {
        let Some((name, options)) = stage.as_mapping().and_then(|map| map.iter().next()) else { return };
        let Some(name) = name.as_str() else { return };
        let path = path.then(name);
        match name {
            "labels" => {
                let names = options.as_mapping().into_iter().flatten().filter_map(|(name, _)| name.as_str());
                for name in names.filter(|name| is_valid_label_name(name)) {
                    self.many_values(path.then(name), name);
                }
            }
            "timestamp" => {
                let format = options.get("format").and_then(serde_yaml::Value::as_str);
                if let Some(problem) = format.and_then(layouts::problem) {
                    self.warn(path.then("format"), problem);
                }
            }
            "match" => {
                let stages = options.get("stages").and_then(serde_yaml::Value::as_sequence);
                for (n, stage) in stages.into_iter().flatten().enumerate() {
                    self.stage(&path.then("stages").then(n), stage);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;

//! The paths where a job's logs may be: the paths of its static targets, and the paths that its rules can make.

use std::path::{Path, PathBuf};

use super::Needs;
use crate::config::ScrapeConfig;
use crate::journal::MACHINE_ID;
use crate::relabel::{self, Action, Rules};
use crate::tail::Glob;

const PATH: &str = "__path__";

/// The logs of a pod's target if no rule sets its path.
const POD_LOGS: &str = "/var/log/pods/*/*/*.log";

/// Where Docker keeps the logs of containers, unless its data are elsewhere.
const CONTAINER_LOGS: &str = "/var/lib/docker/containers/*/*-json.log";

/// The values that a rule may write into `__path__`.
#[derive(Debug, PartialEq, Eq)]
enum Written {
    Nothing,
    /// A path with this prefix.
    Under(String),
    Anything,
}

impl Needs {
    pub(super) fn job(&mut self, job: &ScrapeConfig, env: &dyn Fn(&str) -> Option<String>) {
        let name = &job.job_name;
        if let Ok(rules) = Rules::compile(&job.relabel_configs) {
            for labels in job.static_configs.iter().flat_map(|config| config.targets()) {
                let mut labels = labels.to_labels();
                let is_pod = labels.keys().any(|label| label.starts_with("__meta_kubernetes_"));
                let _ = rules.apply(&mut labels);
                match labels.get(PATH) {
                    Some(path) => self.reads(name, path),
                    None if is_pod => self.reads(name, POD_LOGS),
                    None => {}
                }
            }
        }
        if let Some(journal) = job.journal() {
            self.logs.extend(journal.folders());
            self.files.insert(MACHINE_ID.into());
        }
        if !job.file_sd_configs.is_empty() {
            self.anywhere.push(format!("the targets of job {name:?} come from files that may name any path"));
        }
        if !job.http_sd_configs.is_empty() {
            self.anywhere.push(format!("the targets of job {name:?} come from a server that may name any path"));
        }
        // A redirect may lead to HTTPS on the same host.
        if job.http_sd_configs.iter().any(|config| config.follow_redirects && config.url.scheme() == "http") {
            self.ports.insert(443);
        }
        // Their URLs are checked before.
        let catalogs = job.consul_sd_configs.iter().filter_map(|config| config.url().ok());
        let agents = job.consulagent_sd_configs.iter().filter_map(|config| config.url().ok());
        self.ports.extend(catalogs.chain(agents).filter_map(|url| url.port_or_known_default()));
        let events = job.kubernetes_events.iter().map(|events| events.access());
        for config in job.kubernetes_sd_configs.iter().cloned().chain(events) {
            self.runs_programs |= config.kubeconfig_exec;
            match config.reach(env) {
                Ok(reach) => {
                    self.files.extend(reach.files);
                    reach.urls.iter().for_each(|url| self.connects("the server of the kubeconfig", url));
                }
                Err(why) => {
                    self.unknown_files.push(format!("the files that job {name:?} needs are not known: {why}"));
                    self.any_port.push(format!("the API server of job {name:?} is not known: {why}"));
                }
            }
        }
        for config in &job.docker_sd_configs {
            self.ports.extend(config.tcp_port());
            self.reads(name, CONTAINER_LOGS);
        }
        for config in &job.dockerswarm_sd_configs {
            self.ports.extend(config.tcp_port());
            self.reads(name, CONTAINER_LOGS);
        }
        let are_known =
            job.kubernetes_sd_configs.is_empty() && job.file_sd_configs.is_empty() && job.http_sd_configs.is_empty();
        if are_known && !job.has_discovery_by_rules() {
            return;
        }
        if !are_known {
            self.reads(name, POD_LOGS);
        }
        for (i, rule) in job.relabel_configs.iter().enumerate() {
            match written(rule) {
                Written::Nothing => {}
                Written::Under(path) => self.reads(name, &path),
                Written::Anything => self.anywhere.push(format!(
                    "relabel_configs[{i}] of job {name:?} may make any path from the labels of a target"
                )),
            }
        }
    }

    fn reads(&mut self, job: &str, path: &str) {
        // Text that is not a path is never read.
        let Ok(glob) = Glob::new(path) else { return };
        if glob.folders().iter().any(|folder| folder == Path::new("/")) {
            self.anywhere.push(format!("a path of job {job:?} has a wildcard in its first name"));
        }
        self.runtimes.extend(glob.allowed(&[]).leads_to());
        self.named_logs.extend(glob.names());
        self.logs.extend(glob.folders().into_iter().filter(|folder: &PathBuf| folder != Path::new("/")));
    }
}

fn written(rule: &relabel::Config) -> Written {
    let target = rule.target_label.as_deref().unwrap_or_default();
    let replacement = rule.replacement.as_deref().unwrap_or("$1");
    match rule.action {
        Action::Keep | Action::Drop | Action::KeepEqual | Action::DropEqual => Written::Nothing,
        Action::LabelDrop | Action::LabelKeep => Written::Nothing,
        Action::Replace if !may_be_path(target) => Written::Nothing,
        Action::Replace => under(replacement),
        Action::HashMod | Action::Lowercase | Action::Uppercase if !may_be_path(target) => Written::Nothing,
        Action::HashMod | Action::Lowercase | Action::Uppercase => Written::Anything,
        // `labelmap` with the whole name never makes `__path__`: a Kubernetes key starts and ends with a letter or
        // digit.
        Action::LabelMap if matches!(replacement, "$1" | "${1}") => Written::Nothing,
        Action::LabelMap if may_be_path(replacement) => Written::Anything,
        Action::LabelMap => Written::Nothing,
    }
}

/// Whether this template can make the name `__path__`.
fn may_be_path(template: &str) -> bool {
    let Some((before, rest)) = template.split_once('$') else { return template == PATH };
    let last = rest.rsplit('$').next().unwrap_or_default();
    let after = match last.strip_prefix('{') {
        Some(braced) => braced.split_once('}').map_or("", |(_, after)| after),
        None => last.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_'),
    };
    PATH.starts_with(before) && PATH.ends_with(after)
}

/// The paths that a template can make: all start with its text before the first `$`.
fn under(template: &str) -> Written {
    match template.split_once('$') {
        None => Written::Under(template.into()),
        Some((before, _)) => match Glob::new(&format!("{before}*")) {
            Ok(glob) if before.starts_with('/') && !before.contains('{') => {
                match glob.folders().iter().any(|folder| folder == Path::new("/")) {
                    true => Written::Anything,
                    false => Written::Under(format!("{before}*")),
                }
            }
            _ => Written::Anything,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(yaml: &str) -> Written {
        written(&serde_yaml::from_str(yaml).expect(yaml))
    }

    #[test]
    fn what_a_rule_can_make_of_a_path() {
        let under = |path: &str| Written::Under(path.into());
        for (yaml, expected) in [
            ("{target_label: __path__, replacement: /var/log/pods/*$1/*.log}", under("/var/log/pods/**")),
            ("{target_label: __path__, replacement: '/host${1}/x.log'}", Written::Anything),
            ("{target_label: __path__, replacement: '/host/log/${1}/x.log'}", under("/host/log/*")),
            ("{target_label: __path__, replacement: /srv/a.log}", under("/srv/a.log")),
            ("{target_label: __path__, replacement: ''}", under("")),
            ("{target_label: __path__, source_labels: [x]}", Written::Anything),
            ("{target_label: __path__, replacement: '$1/x.log'}", Written::Anything),
            ("{target_label: __path__, replacement: '{/var/log/$1,/b}'}", Written::Anything),
            ("{target_label: __path__, replacement: 'logs/$1'}", Written::Anything),
            ("{target_label: __path_exclude__, replacement: '$1'}", Written::Nothing),
            ("{target_label: '__${1}__', replacement: /srv/x/y.log}", under("/srv/x/y.log")),
            ("{target_label: '__${1}__', replacement: '$2'}", Written::Anything),
            ("{target_label: 'x_$1', replacement: '$2'}", Written::Nothing),
            ("{target_label: '$1_x', replacement: '$2'}", Written::Anything),
            ("{target_label: '${1}_x', replacement: '$2'}", Written::Nothing),
            ("{action: lowercase, source_labels: [x], target_label: __path__}", Written::Anything),
            ("{action: hashmod, source_labels: [x], target_label: tmp}", Written::Nothing),
            ("{action: labelmap, regex: __meta_kubernetes_pod_label_(.+)}", Written::Nothing),
            ("{action: labelmap, regex: 'x_(.+)', replacement: '__$1'}", Written::Anything),
            ("{action: labelmap, regex: 'x_(.+)', replacement: 'pod_$1'}", Written::Nothing),
            ("{action: keep, source_labels: [__path__], regex: x}", Written::Nothing),
            ("{action: labeldrop, regex: __path__}", Written::Nothing),
        ] {
            assert_eq!(of(yaml), expected, "{yaml}");
        }
    }
}

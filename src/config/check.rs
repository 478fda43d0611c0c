//! Checks whether a config can run: builds everything that needs no network, and discards it.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use super::{Error, LimitsConfig, Loaded, ScrapeConfig, all_with_unset};
use crate::model::{ConfigError, Encoding, KeyPath, Step};
use crate::{receive, relabel, stages, tail};

/// Problems that do not prevent the config from running.
pub type Warnings = Vec<String>;

/// Returns all mistakes as one error, with their places in the file.
pub fn check(loaded: &Loaded) -> Result<Warnings, Error> {
    let (mistakes, warnings) = check_all(loaded);
    if mistakes.is_empty() { Ok(warnings) } else { Err(all_with_unset(mistakes, None, &loaded.unset)) }
}

/// Returns all mistakes, in the order of the blocks. Of one block or rule, only the first is found.
pub(super) fn check_all(loaded: &Loaded) -> (Vec<Error>, Warnings) {
    let warnings = loaded.unset.iter().chain(&loaded.warnings).map(Error::to_string).collect();
    let mut check = Check { loaded, warnings, mistakes: Vec::new() };
    let first = [Check::server, Check::files, Check::limits].map(|part| part(&mut check));
    check.mistakes.extend(first.into_iter().filter_map(Result::err));
    check.accepted();
    check.clients();
    check.jobs();
    (check.mistakes, check.warnings)
}

struct Check<'a> {
    loaded: &'a Loaded,
    warnings: Warnings,
    mistakes: Vec<Error>,
}

impl Check<'_> {
    fn server(&mut self) -> Result<(), Error> {
        let server = &self.loaded.config.server;
        let place = |e: ConfigError| e.within("server");
        server.validate().map_err(|e| self.refuse(place(e)))?;
        server.warnings().into_iter().for_each(|e| self.warn_of(place(e)));
        Ok(())
    }

    fn files(&mut self) -> Result<(), Error> {
        let config = &self.loaded.config;
        if config.positions.filename.is_empty() {
            return Err(self.error("positions.filename", "must name a file, such as /var/log/positions.yaml"));
        }
        let filename = Path::new(&config.positions.filename);
        if filename.is_dir() {
            let (directory, file) = (filename.display(), filename.join("positions.yaml"));
            let message = format!("{directory} is a directory: write {}", file.display());
            return Err(self.error("positions.filename", &message));
        }
        let watch = &config.global.file_watch_config;
        for (path, period) in [
            ("positions.sync_period", config.positions.sync_period),
            ("target_config.sync_period", config.target_config.sync_period),
            ("global.file_watch_config.min_poll_frequency", watch.min_poll_frequency),
            (
                "global.file_watch_config.max_poll_frequency",
                watch.max_poll_frequency.unwrap_or(watch.min_poll_frequency),
            ),
        ] {
            if period.0 == Duration::ZERO {
                return Err(self.error(path, "must be longer than 0"));
            }
        }
        if let Some(most) = watch.max_poll_frequency.filter(|most| watch.min_poll_frequency > *most) {
            let path = "global.file_watch_config.min_poll_frequency";
            let message = format!("{} is longer than max_poll_frequency, {most}", watch.min_poll_frequency);
            return Err(self.error(path, &message));
        }
        Ok(())
    }

    fn limits(&mut self) -> Result<(), Error> {
        let limits = &self.loaded.config.limits_config;
        if limits.readline_rate.is_nan() {
            return Err(self.error("limits_config.readline_rate", "must be a number"));
        }
        let positive = limits.readline_rate.is_finite() && limits.readline_rate > 0.0;
        if limits.readline_rate_enabled && !positive {
            return Err(self.error("limits_config.readline_rate", "must be more than 0 lines per second"));
        }
        if limits.readline_rate_enabled && limits.readline_burst == 0 {
            return Err(self.error("limits_config.readline_burst", "must be at least 1 line"));
        }
        if limits.readline_rate_enabled && stages::quota(limits.readline_rate, limits.readline_burst).is_none() {
            let message = "is too low: readline_burst lines would take longer than 100 years";
            return Err(self.error("limits_config.readline_rate", message));
        }
        let defaults = LimitsConfig::default();
        for (key, changed) in [
            ("readline_rate", limits.readline_rate != defaults.readline_rate),
            ("readline_burst", limits.readline_burst != defaults.readline_burst),
            ("readline_rate_drop", limits.readline_rate_drop != defaults.readline_rate_drop),
        ] {
            if changed && !limits.readline_rate_enabled {
                self.warn(&format!("limits_config.{key}"), "has no effect without readline_rate_enabled: true");
            }
        }
        if limits.max_line_size_truncate && limits.max_line_size.0 == 0 {
            self.warn("limits_config.max_line_size_truncate", "has no effect without max_line_size");
        }
        if limits.max_streams > 0 {
            let message = "ignored: fantail limits what is in flight by bytes, not the number of streams; \
                           Loki's own per-tenant limit still holds";
            self.warn("limits_config.max_streams", message);
        }
        Ok(())
    }

    /// Blocks that Promtail uses and fantail ignores.
    fn accepted(&mut self) {
        let config = &self.loaded.config;
        if config.options.stream_lag_labels.is_some() {
            self.warn("options.stream_lag_labels", "ignored: Promtail 3 has removed it too");
        }
        if config.tracing.enabled == Some(true) {
            self.warn("tracing.enabled", "ignored: fantail sends no traces");
        }
        if config.wal.enabled {
            let message =
                "ignored: fantail needs no write-ahead log, because it saves positions after Loki's acknowledgement";
            self.warn("wal.enabled", message);
        }
    }

    fn clients(&mut self) {
        let clients = &self.loaded.config.clients;
        if clients.is_empty() && !self.loaded.dry_run {
            self.mistakes.push(self.error(
                "clients",
                "at least one client config must be provided: set `clients: [{url: http://…/loki/api/v1/push}]` or -client.url",
            ));
        }
        let mut seen: HashMap<String, usize> = HashMap::new();
        for (i, client) in clients.iter().enumerate() {
            let path = format!("clients[{i}]");
            let place = |e: ConfigError| e.within(i).within("clients");
            if let Err(e) = client.validate() {
                self.mistakes.push(self.refuse(place(e)));
                continue;
            }
            client.warnings().into_iter().for_each(|e| self.warn_of(place(e)));
            // Positions are stored under this name.
            if let Some(first) = seen.insert(client.name(), i) {
                let (path, message) = match client.name.as_str() {
                    "" => (
                        path,
                        format!(
                            "goes to the same place as clients[{first}], as the same tenant and with the same labels: \
                             remove one, or give each a `name` of its own"
                        ),
                    ),
                    name => (
                        format!("{path}.name"),
                        format!("{name:?} is the name of clients[{first}] too: write another one"),
                    ),
                };
                self.mistakes.push(self.error(&path, &message));
            }
        }
    }

    fn jobs(&mut self) {
        let mut seen: HashMap<&str, usize> = HashMap::new();
        for (i, job) in self.loaded.config.scrape_configs.iter().enumerate() {
            let path = format!("scrape_configs[{i}]");
            if job.job_name.is_empty() {
                self.mistakes.push(self.error(&path, "job_name is required"));
            } else if let Some(first) = seen.insert(&job.job_name, i) {
                let message =
                    format!("{:?} is scrape_configs[{first}]'s already: job names must be unique", job.job_name);
                self.mistakes.push(self.error(&format!("{path}.job_name"), &message));
            }
            if let Err(e) = self.job(i, job) {
                self.mistakes.push(e);
            }
            self.rules(i, job);
            self.stages(i, job);
        }
    }

    fn rules(&mut self, i: usize, job: &ScrapeConfig) {
        for (rule, config) in job.relabel_configs.iter().enumerate() {
            let place = |e: ConfigError| e.within(i).within("scrape_configs");
            match relabel::Rules::compile(std::slice::from_ref(config)) {
                Ok(_) => {
                    let warnings = config.warnings().into_iter().map(|e| e.within(rule).within("relabel_configs"));
                    warnings.for_each(|e| self.warn_of(place(e)));
                }
                Err(e) => self.mistakes.push(self.refuse(place(at_index(e, "relabel_configs", rule)))),
            }
        }
    }

    fn stages(&mut self, i: usize, job: &ScrapeConfig) {
        for (stage, config) in job.pipeline_stages.iter().enumerate() {
            let place = |e: ConfigError| {
                let e = e.within("pipeline_stages");
                at_index(e, "pipeline_stages", stage).within(i).within("scrape_configs")
            };
            match stages::compile(std::slice::from_ref(config)) {
                Ok(program) => program.warnings().iter().for_each(|e| self.warn_of(place(e.clone()))),
                Err(mistakes) => {
                    let mistakes: Vec<Error> = mistakes.into_iter().map(|e| self.refuse(place(e))).collect();
                    self.mistakes.extend(mistakes);
                }
            }
        }
    }

    fn job(&mut self, i: usize, job: &ScrapeConfig) -> Result<(), Error> {
        let (place, path) = (|e: ConfigError| e.within(i).within("scrape_configs"), format!("scrape_configs[{i}]"));
        // Standard input is a target too.
        if !job.has_targets() && job.receives().is_none() && !self.loaded.config.target_config.stdin {
            let (name, kinds) = (&job.job_name, super::scrape::KINDS);
            return Err(self.error(&path, &format!("job {name:?} has no targets: give it one of {kinds}")));
        }
        job.discovery().validate().map_err(|e| self.refuse(place(e)))?;
        job.discovery().warnings().into_iter().for_each(|e| self.warn_of(place(e)));
        if let Some(receives) = job.receives() {
            self.receiver(i, job, &receives)?;
        }
        for (i, targets) in job.static_configs.iter().enumerate() {
            let place = |e: ConfigError| place(e.within(i).within("static_configs"));
            targets.warnings().into_iter().for_each(|e| self.warn_of(place(e)));
            for key in ["__path__", "__path_exclude__"] {
                if let Some(glob) = targets.labels.get(key).filter(|glob| !glob.is_empty()) {
                    let refuse = |problem: String| ConfigError::new(key, problem).within("labels");
                    tail::Glob::new(glob).map_err(|e| self.refuse(place(refuse(e.to_string()))))?;
                }
            }
        }
        self.journal(&path, job)?;
        self.events(i, job)?;
        // As in Promtail, only the files of this job are not read. The agent starts.
        if !job.encoding.is_empty() && Encoding::new(&job.encoding).is_none() {
            let message = format!("{:?} is not a known encoding: the files of this job are not read", job.encoding);
            self.warn(&format!("{path}.encoding"), &message);
        }
        if job.start_at.is_some() && (job.decompression.enabled || !job.has_discovery()) {
            let message = "has no effect: it is for files that grow, and this job has none";
            self.warn(&format!("{path}.start_at"), message);
        }
        let format = &job.decompression.format;
        if job.decompression.enabled && !["gz", "z", "bz2", "xz", "zst"].contains(&format.as_str()) {
            let message =
                format!("{format:?} is not supported: use gz, z, bz2, xz or zst; the files of this job are not read");
            self.warn(&format!("{path}.decompression.format"), &message);
        }
        Ok(())
    }

    fn receiver(&mut self, i: usize, job: &ScrapeConfig, receives: &receive::Config) -> Result<(), Error> {
        let place = |e: ConfigError| e.within(i).within("scrape_configs");
        let key = receives.key();
        if job.has_targets() || job.syslog.is_some() && job.loki_push_api.is_some() {
            // Promtail takes one kind of the job, and says nothing about the other.
            let problem = "a job has targets, or syslog, or loki_push_api: give each a job of its own";
            return Err(self.refuse(place(ConfigError::new(key, problem))));
        }
        receives.validate().map_err(|e| self.refuse(place(e)))?;
        receives.warnings().into_iter().for_each(|e| self.warn_of(place(e)));
        let server = &self.loaded.config.server;
        let is_of_server = |port: u16| port == server.http_listen_port && port != 0 && !server.disable;
        if receives.tcp_port().is_some_and(is_of_server) && receives.listens_at(&server.address_here()) {
            let problem =
                "listens where the server of the agent does: give it another port, or set server.http_listen_port";
            return Err(self.refuse(place(ConfigError::new(key, problem))));
        }
        let others = &self.loaded.config.scrape_configs[..i];
        let same = others.iter().find(|other| other.receives().is_some_and(|other| other.shares_socket_with(receives)));
        if let Some(other) = same {
            let problem = format!("listens where job {:?} does: give each its own address or port", other.job_name);
            return Err(self.refuse(place(ConfigError::new(key, problem))));
        }
        Ok(())
    }

    fn journal(&mut self, path: &str, job: &ScrapeConfig) -> Result<(), Error> {
        let Some(journal) = &job.journal else {
            return Ok(());
        };
        let path = format!("{path}.journal");
        if job.has_discovery() {
            let message = "ignored, as in Promtail: a job with static_configs or *_sd_configs reads no journal; write a job of \
                           its own for the journal";
            self.warn(&path, message);
        }
        let refuse = |e: ConfigError| self.error(&format!("{path}.{}", e.path), &e.problem);
        journal.validate().map_err(refuse)?;
        if journal.labels.is_empty() && job.relabel_configs.is_empty() {
            let message = "no entry has a label, and Loki takes none without: every entry is dropped; write labels, or \
                           relabel_configs that make labels of __journal_*";
            self.warn(&path, message);
        }
        Ok(())
    }

    fn events(&self, i: usize, job: &ScrapeConfig) -> Result<(), Error> {
        let Some(events) = &job.kubernetes_events else {
            return Ok(());
        };
        let place = |e: ConfigError| e.within(i).within("scrape_configs");
        if job.has_discovery() || job.journal.is_some() {
            let problem = "a job has the events, or other targets, or a journal: give each a job of its own";
            return Err(self.refuse(place(ConfigError::new("kubernetes_events", problem))));
        }
        events.validate().map_err(|e| self.refuse(place(e.within("kubernetes_events"))))
    }

    fn refuse(&self, error: ConfigError) -> Error {
        self.loaded.document.error(&error.path, error.problem)
    }

    fn warn_of(&mut self, warning: ConfigError) {
        self.warnings.push(self.loaded.document.note(&warning.path, warning.problem).to_string());
    }

    fn error(&self, path: &str, message: &str) -> Error {
        self.loaded.document.error(&KeyPath::from(path), message)
    }

    fn warn(&mut self, path: &str, message: &str) {
        self.warnings.push(self.loaded.document.note(&KeyPath::from(path), message).to_string());
    }
}

/// The path of an error in a list of which only the element `index` was checked.
fn at_index(error: ConfigError, list: &str, index: usize) -> ConfigError {
    let rest = error.path.steps().get(2..).unwrap_or_default();
    let path = KeyPath::new(vec![Step::from(list), Step::from(index)]).join(rest);
    ConfigError { path, ..error }
}

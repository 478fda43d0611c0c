//! One entry of `scrape_configs`: a job.

use serde::{Deserialize, Serialize};
use serde_yaml::Value;

use crate::discovery::{self, StaticConfig};
use crate::model::StartAt;
use crate::model::units::GoDuration;
use crate::{journal, receive, relabel, yaml};

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScrapeConfig {
    pub job_name: String,
    /// Unchanged YAML. `stages` compiles it.
    pub pipeline_stages: Vec<Value>,
    #[serde(deserialize_with = "yaml::nulls_are_values")]
    pub relabel_configs: Vec<relabel::Config>,
    /// IANA name. Empty: UTF-8.
    pub encoding: String,
    pub decompression: Decompression,
    /// Where files begin that existed before the first start. None: as `target_config` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_at: Option<StartAt>,
    pub static_configs: Vec<StaticConfig>,
    pub kubernetes_sd_configs: Vec<discovery::kubernetes::Config>,
    pub file_sd_configs: Vec<discovery::file::Config>,
    pub journal: Option<journal::Config>,
    pub docker_sd_configs: Vec<discovery::docker::Config>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub http_sd_configs: Vec<discovery::http::Config>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub consul_sd_configs: Vec<discovery::consul::Config>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub consulagent_sd_configs: Vec<discovery::consul::agent::Config>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns_sd_configs: Vec<discovery::dns::Config>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dockerswarm_sd_configs: Vec<discovery::docker::swarm::Config>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubernetes_events: Option<discovery::kubernetes::events::Config>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loki_push_api: Option<receive::push::Config>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub syslog: Option<receive::syslog::Config>,
}

impl ScrapeConfig {
    /// The sources of this job's targets.
    pub fn discovery(&self) -> discovery::Config {
        discovery::Config {
            static_configs: self.static_configs.clone(),
            kubernetes: self.kubernetes_sd_configs.clone(),
            file: self.file_sd_configs.clone(),
            docker: self.docker_sd_configs.clone(),
            http: self.http_sd_configs.clone(),
            consul: self.consul_sd_configs.clone(),
            consul_agent: self.consulagent_sd_configs.clone(),
            dns: self.dns_sd_configs.clone(),
            docker_swarm: self.dockerswarm_sd_configs.clone(),
        }
    }

    /// The receiver of this job. None: the job has no receiver.
    pub fn receives(&self) -> Option<receive::Config> {
        let push = self.loki_push_api.clone().map(|config| receive::Config::Push(Box::new(config)));
        push.or_else(|| self.syslog.clone().map(|config| receive::Config::Syslog(Box::new(config))))
    }

    /// The journal that it reads. As in Promtail, a job with discovered targets reads none.
    pub fn journal(&self) -> Option<&journal::Config> {
        self.journal.as_ref().filter(|_| !self.has_discovery())
    }

    /// Whether the job has targets to read. A receiver is no target.
    pub fn has_targets(&self) -> bool {
        self.has_discovery() || self.journal.is_some() || self.kubernetes_events.is_some()
    }

    /// Whether targets are discovered whose paths come from the rules.
    pub fn has_discovery_by_rules(&self) -> bool {
        let absent = [
            self.docker_sd_configs.is_empty(),
            self.consul_sd_configs.is_empty(),
            self.consulagent_sd_configs.is_empty(),
            self.dns_sd_configs.is_empty(),
            self.dockerswarm_sd_configs.is_empty(),
        ];
        absent.contains(&false)
    }

    pub fn has_discovery(&self) -> bool {
        !self.static_configs.is_empty() || self.asks_for_targets()
    }

    /// Whether targets come from elsewhere than this config.
    pub fn asks_for_targets(&self) -> bool {
        let absent = [
            self.kubernetes_sd_configs.is_empty(),
            self.file_sd_configs.is_empty(),
            self.docker_sd_configs.is_empty(),
            self.http_sd_configs.is_empty(),
            self.consul_sd_configs.is_empty(),
            self.consulagent_sd_configs.is_empty(),
            self.dns_sd_configs.is_empty(),
            self.dockerswarm_sd_configs.is_empty(),
        ];
        absent.contains(&false)
    }
}

/// For files that are compressed as a whole and read once.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Decompression {
    pub enabled: bool,
    pub initial_delay: GoDuration,
    pub format: String,
}

/// All supported kinds of targets, for error messages.
pub(super) const KINDS: &str = "static_configs, kubernetes_sd_configs, file_sd_configs, http_sd_configs, \
                                docker_sd_configs, dockerswarm_sd_configs, consul_sd_configs, consulagent_sd_configs, \
                                dns_sd_configs, journal, syslog and loki_push_api";

//! The service discovery of a job as the config has it, and the things around it.

use serde::Serialize;

use super::{Lists, StaticConfig, consul, dns, docker, file, http, kubernetes};
use crate::model::ConfigError;

/// The service discovery configs of one job.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Config {
    pub static_configs: Vec<StaticConfig>,
    pub kubernetes: Vec<kubernetes::Config>,
    pub file: Vec<file::Config>,
    pub docker: Vec<docker::Config>,
    pub http: Vec<http::Config>,
    pub consul: Vec<consul::Config>,
    pub consul_agent: Vec<consul::agent::Config>,
    pub dns: Vec<dns::Config>,
    pub docker_swarm: Vec<docker::swarm::Config>,
}

impl Config {
    /// Checks the config without reading files or using the network.
    pub fn validate(&self) -> Result<(), ConfigError> {
        each("static_configs", &self.static_configs, StaticConfig::validate)?;
        each("kubernetes_sd_configs", &self.kubernetes, kubernetes::Config::validate)?;
        each("file_sd_configs", &self.file, file::Config::validate)?;
        each("docker_sd_configs", &self.docker, docker::Config::validate)?;
        each("http_sd_configs", &self.http, http::Config::validate)?;
        each("consul_sd_configs", &self.consul, consul::Config::validate)?;
        each("consulagent_sd_configs", &self.consul_agent, consul::agent::Config::validate)?;
        each("dns_sd_configs", &self.dns, dns::Config::validate)?;
        each("dockerswarm_sd_configs", &self.docker_swarm, docker::swarm::Config::validate)
    }

    /// Settings without effect.
    pub fn warnings(&self) -> Vec<ConfigError> {
        let of = |(i, config): (usize, &docker::Config)| {
            config.warnings().into_iter().map(move |e| e.within(i).within("docker_sd_configs"))
        };
        self.docker.iter().enumerate().flat_map(of).collect()
    }
}

/// Checks the configs of the list under `key`. Returns the first error.
fn each<T>(key: &str, configs: &[T], check: impl Fn(&T) -> Result<(), ConfigError>) -> Result<(), ConfigError> {
    configs.iter().enumerate().try_for_each(|(i, config)| check(config).map_err(|e| e.within(i).within(key)))
}

/// The places outside this module that discovery needs.
#[derive(Clone, Debug, Default)]
pub struct Around {
    /// The directories of pods' logs, to find pods by them.
    pub places: Option<kubernetes::Places>,
    /// For containers of Docker. None: no job discovers containers.
    pub containers: Option<docker::Outside>,
    /// The last lists of servers, kept over a reload.
    pub lists: Lists,
}

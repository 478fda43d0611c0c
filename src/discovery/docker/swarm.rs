//! `dockerswarm_sd_configs`: services, tasks or nodes of a Docker swarm.
//!
//! ```yaml
//! dockerswarm_sd_configs:
//!   - host: unix:///var/run/docker.sock
//!     role: tasks
//! ```
//! Only a manager of the swarm knows them.

mod api;
mod labels;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use self::labels::{BYTES, Swarm, TARGETS};
use super::config::{Config as DockerConfig, Filter};
use super::engine::{Engine, Failure};
use crate::discovery::few::Few;
use crate::discovery::http_settings::with_http_settings;
use crate::discovery::refresh::{Ask, Asked, Refresh};
use crate::discovery::{Known, Metrics};
use crate::http_client::Url;
use crate::model::units::PromDuration;
use crate::model::{ConfigError, Labels, TargetGroup};

/// The id of the group of all targets of a config.
const GROUP: &str = "swarm";

with_http_settings! {
    /// One entry of `dockerswarm_sd_configs`.
    pub struct Config {
        /// As in `docker_sd_configs`.
        pub host: Url = Url::default(),
        /// `services`, `tasks` or `nodes`.
        pub role: String = String::new(),
        /// The port in `__address__` of targets without ports.
        pub port: u16 = 80,
        pub filters: Vec<Filter> = Vec::new(),
        pub refresh_interval: PromDuration = PromDuration(Duration::from_secs(60)),
    }
}

impl Config {
    pub fn validate(&self) -> Result<(), ConfigError> {
        if !matches!(self.role.as_str(), "services" | "tasks" | "nodes") {
            return Err(ConfigError::new("role", "is required: services, tasks or nodes"));
        }
        self.http(&self.host).validate()?;
        self.docker().validate()
    }

    /// The TCP port that is connected to. None: the host is a Unix socket.
    pub fn tcp_port(&self) -> Option<u16> {
        self.docker().tcp_port()
    }

    /// The same access to Docker.
    fn docker(&self) -> DockerConfig {
        DockerConfig {
            host: self.host.clone(),
            filters: self.filters.clone(),
            refresh_interval: self.refresh_interval,
            basic_auth: self.basic_auth.clone(),
            authorization: self.authorization.clone(),
            oauth2: self.oauth2.clone(),
            bearer_token: self.bearer_token.clone(),
            bearer_token_file: self.bearer_token_file.clone(),
            tls_config: (!self.tls_config.is_default()).then(|| self.tls_config.clone()),
            proxy_url: self.proxy_url.clone(),
            no_proxy: self.no_proxy.clone(),
            proxy_from_environment: self.proxy_from_environment,
            proxy_connect_header: self.proxy_connect_header.clone(),
            follow_redirects: self.follow_redirects,
            ..DockerConfig::default()
        }
    }
}

/// Tells of the targets until it is dropped. `unlisted` is dropped when they are known.
pub(in crate::discovery) async fn run(
    config: Config,
    known: Known,
    metrics: Metrics,
    unlisted: mpsc::Sender<Infallible>,
) {
    let (server, every) = (config.host.redacted(), config.refresh_interval.0);
    let refresh = Refresh { known, metrics, mechanism: "dockerswarm", server, every, unlisted };
    refresh.run(Manager { config, engine: None }).await;
}

/// Docker on a manager of the swarm.
struct Manager {
    config: Config,
    /// None: not made yet, for instance because a certificate file cannot be read.
    engine: Option<Engine>,
}

impl Ask for Manager {
    async fn ask(&mut self) -> Asked {
        self.targets().await.map(|targets| vec![TargetGroup::new(GROUP.into(), targets)]).into()
    }
}

impl Manager {
    async fn targets(&mut self) -> Result<Vec<Labels>, String> {
        let docker = self.config.docker();
        if self.engine.is_none() {
            self.engine = Some(Engine::with_headers(&docker, &self.config.http_headers).map_err(|e| e.to_string())?);
        }
        let filters = docker.filters();
        let role = self.config.role.as_str();
        let query = |of: &str| if of == role { filters.as_str() } else { "{}" };
        let mut swarm = Swarm { port: self.config.port, ..Swarm::default() };
        if role != "nodes" {
            swarm.networks = self.list("networks", "{}").await?;
            swarm.services = self.list("services", query("services")).await?;
        }
        if role != "services" {
            swarm.nodes = self.list("nodes", query("nodes")).await?;
        }
        let targets = match role {
            "services" => swarm.of_services(),
            "nodes" => swarm.of_nodes(),
            _ => swarm.of_tasks(&self.list::<api::Task>("tasks", query("tasks")).await?),
        };
        match targets.is_over {
            true => Err(format!("more than {TARGETS} targets, or {BYTES} bytes of labels: set filters")),
            false => Ok(targets.found),
        }
    }

    async fn list<T: DeserializeOwned>(&self, what: &str, filters: &str) -> Result<Vec<T>, String> {
        let Some(engine) = &self.engine else { return Err("there is no HTTP client".into()) };
        let path = format!("/{what}");
        let query = [("filters", filters)];
        let list = engine.json::<Few<T>>(&path, &query).await;
        list.map(|Few(items)| items).map_err(|failure| match failure {
            Failure::Refused { status: 503, text } => {
                format!("{path}: status 503: {text} (only a manager of a swarm knows its services, tasks and nodes)")
            }
            failure => format!("{path}: {failure}"),
        })
    }
}

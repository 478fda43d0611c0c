//! `consulagent_sd_configs`: the services that are registered with one agent of Consul, usually that of this node.
//!
//! ```yaml
//! consulagent_sd_configs:
//!   - server: localhost:8500
//! ```
//! The agent itself answers, without the servers of Consul.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::address::{Access, base};
use super::api::{Agent, Check, Service, health};
use super::labels::{Namer, NodeFacts};
use super::requests::{group_id, json};
use crate::discovery::http_settings::{HttpClient, HttpSettings, TIMEOUT};
use crate::discovery::refresh::{Ask, Asked, Refresh};
use crate::discovery::{Known, Metrics};
use crate::http_client::{Credentials, HttpHeaders, ParsedUrl, Proxy, TlsConfig, Url};
use crate::model::units::{PromDuration, Secret};
use crate::model::{ConfigError, Labels, TargetGroup, bounded};

/// The most targets, and the most bytes of memory for their labels: each has those of the node.
const TARGETS: usize = 10_000;
const BYTES: usize = 64 << 20;

/// The beginning of the names of all labels.
const PREFIX: &str = "__meta_consulagent_";

/// One entry of `consulagent_sd_configs`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `host:port`.
    pub server: String,
    #[serde(skip_serializing_if = "Secret::is_empty")]
    pub token: Secret,
    /// Empty: that of the agent.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub datacenter: String,
    pub tag_separator: String,
    pub scheme: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub username: String,
    #[serde(skip_serializing_if = "Secret::is_empty")]
    pub password: Secret,
    pub refresh_interval: PromDuration,
    /// The services that are discovered. Empty: all.
    pub services: Vec<String>,
    /// The tags that a service must have, all of them.
    pub tags: Vec<String>,
    #[serde(skip_serializing_if = "TlsConfig::is_default")]
    pub tls_config: TlsConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server: "localhost:8500".into(),
            token: Secret::default(),
            datacenter: String::new(),
            tag_separator: ",".into(),
            scheme: "http".into(),
            username: String::new(),
            password: Secret::default(),
            refresh_interval: PromDuration(Duration::from_secs(30)),
            services: Vec::new(),
            tags: Vec::new(),
            tls_config: TlsConfig::default(),
        }
    }
}

impl Config {
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.refresh_interval.0.is_zero() {
            return Err(ConfigError::new("refresh_interval", "must be more than 0, for instance 30s"));
        }
        self.url()?;
        self.with_http(|access, http| access.validate(&http))
    }

    /// The URL that all requests begin with.
    pub fn url(&self) -> Result<ParsedUrl, ConfigError> {
        base(&self.server, &self.scheme, "")
    }

    fn client(&self) -> Result<HttpClient, ConfigError> {
        self.with_http(|access, http| access.client(http))
    }

    fn with_http<T>(&self, then: impl FnOnce(Access<'_>, HttpSettings<'_>) -> T) -> T {
        let (url, token, headers, connect) = (Url::default(), Secret::default(), HttpHeaders::new(), BTreeMap::new());
        let credentials = Credentials {
            url: &url,
            basic_auth: None,
            authorization: None,
            oauth2: None,
            bearer_token: &token,
            bearer_token_file: "",
        };
        let proxy = Proxy { url: &url, no_proxy: "", from_environment: false, connect_header: &connect };
        let access = Access { username: &self.username, password: &self.password, token: &self.token };
        then(
            access,
            HttpSettings { credentials, tls: &self.tls_config, proxy, headers: &headers, follow_redirects: true },
        )
    }

    fn takes(&self, service: &Service) -> bool {
        let is_named = self.services.is_empty() || self.services.contains(&service.service);
        is_named && self.tags.iter().all(|tag| service.tags.contains(tag))
    }
}

/// Tells of the services until it is dropped. `unlisted` is dropped when they are known.
pub(in crate::discovery) async fn run(
    config: Config,
    known: Known,
    metrics: Metrics,
    unlisted: mpsc::Sender<Infallible>,
) {
    let (server, every) = (config.server.clone(), config.refresh_interval.0);
    let refresh = Refresh { known, metrics: metrics.clone(), mechanism: "consulagent", server, every, unlisted };
    refresh.run(OneAgent { config, client: None, metrics }).await;
}

struct OneAgent {
    config: Config,
    /// None: not made yet, for instance because a certificate file cannot be read.
    client: Option<HttpClient>,
    metrics: Metrics,
}

impl Ask for OneAgent {
    async fn ask(&mut self) -> Asked {
        let groups = self.groups().await;
        if groups.is_err() {
            self.metrics.consul_failed();
        }
        groups.into()
    }
}

impl OneAgent {
    async fn groups(&mut self) -> Result<Vec<TargetGroup>, String> {
        if self.client.is_none() {
            self.client = Some(self.config.client().map_err(|e| e.to_string())?);
        }
        let agent: Agent = self.get("self").await?;
        let services: BTreeMap<String, Service> = self.get("services").await?;
        let checks: BTreeMap<String, Check> = self.get("checks").await?;
        let datacenter = &self.config.datacenter;
        let node = NodeFacts {
            name: &agent.config.node_name,
            address: &agent.member.addr,
            datacenter: if datacenter.is_empty() { &agent.config.datacenter } else { datacenter },
            meta: &agent.meta,
            tagged_addresses: &agent.debug_config.tagged_addresses,
        };
        // A check without a service is one of the node, and so of all services.
        let mut by_service: BTreeMap<&str, Vec<&Check>> = BTreeMap::new();
        checks.values().for_each(|check| by_service.entry(&check.service).or_default().push(check));
        let of_service = |id: &str| by_service.get(id).into_iter().flatten().copied();
        let namer = Namer { prefix: PREFIX, tag_separator: &self.config.tag_separator };
        let (mut groups, mut bytes): (BTreeMap<&str, Vec<Labels>>, usize) = Default::default();
        for service in services.values().filter(|service| self.config.takes(service)).take(TARGETS + 1) {
            let health = health(of_service("").chain(of_service(&service.id).filter(|_| !service.id.is_empty())));
            let labels = namer.labels(service, &node, health);
            bytes += bounded::labels_memory(&labels);
            if bytes > BYTES {
                return Err(format!("the services have more than {BYTES} bytes of labels: set services or tags"));
            }
            groups.entry(&service.service).or_default().push(labels);
        }
        if groups.values().map(Vec::len).sum::<usize>() > TARGETS {
            return Err(format!("the agent has more than {TARGETS} services: set services or tags"));
        }
        Ok(groups.into_iter().map(|(name, targets)| TargetGroup::new(group_id(name), targets)).collect())
    }

    async fn get<T: DeserializeOwned>(&self, what: &str) -> Result<T, String> {
        let Some(client) = &self.client else { return Err("there is no HTTP client".into()) };
        let url = base(&self.config.server, &self.config.scheme, &format!("v1/agent/{what}"));
        let answer = json(client, &url.map_err(|e| e.to_string())?, &self.config.token, TIMEOUT).await;
        answer.map(|(value, _)| value).map_err(|why| format!("/v1/agent/{what}: {why}"))
    }
}

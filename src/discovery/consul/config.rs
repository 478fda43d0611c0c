//! What the user writes under `consul_sd_configs`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::address::{Access, base};
use crate::discovery::http_settings::{HttpClient, with_http_settings};
use crate::http_client::{ParsedUrl, Url};
use crate::model::ConfigError;
use crate::model::units::{PromDuration, Secret};

with_http_settings! {
    /// One entry of `consul_sd_configs`.
    pub struct Config {
        /// `host:port`.
        pub server: String = "localhost:8500".into(),
        /// Before the paths of the API, for a Consul behind a proxy.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub path_prefix: String = String::new(),
        #[serde(skip_serializing_if = "Secret::is_empty")]
        pub token: Secret = Secret::default(),
        /// Empty: that of the agent that is asked.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub datacenter: String = String::new(),
        #[serde(skip_serializing_if = "String::is_empty")]
        pub namespace: String = String::new(),
        #[serde(skip_serializing_if = "String::is_empty")]
        pub partition: String = String::new(),
        pub tag_separator: String = ",".into(),
        pub scheme: String = "http".into(),
        #[serde(skip_serializing_if = "String::is_empty")]
        pub username: String = String::new(),
        #[serde(skip_serializing_if = "Secret::is_empty")]
        pub password: Secret = Secret::default(),
        /// Whether any server of Consul may answer, and not only the leader.
        pub allow_stale: bool = true,
        /// The pause between an answer and the next request. The answer to that comes when something has changed.
        pub refresh_interval: PromDuration = PromDuration(Duration::from_secs(30)),
        /// The services that are discovered. Empty: all.
        pub services: Vec<String> = Vec::new(),
        /// The tags that a service must have, all of them.
        pub tags: Vec<String> = Vec::new(),
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        pub node_meta: BTreeMap<String, String> = BTreeMap::new(),
        /// A filter expression of Consul for the list of services.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub filter: String = String::new(),
        /// A filter expression of Consul for the instances of a service.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub health_filter: String = String::new(),
    }
}

impl Config {
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.refresh_interval.0.is_zero() {
            return Err(ConfigError::new("refresh_interval", "must be more than 0, for instance 30s"));
        }
        self.url()?;
        let url = Url::default();
        self.access().validate(&self.http(&url))
    }

    /// The URL that all requests begin with.
    pub fn url(&self) -> Result<ParsedUrl, ConfigError> {
        base(&self.server, &self.scheme, &self.path_prefix)
    }

    /// Reads the certificate files.
    pub(super) fn client(&self) -> Result<HttpClient, ConfigError> {
        let url = Url::default();
        self.access().client(self.http(&url))
    }

    fn access(&self) -> Access<'_> {
        Access { username: &self.username, password: &self.password, token: &self.token }
    }

    /// Whether the list of services is needed. It is not if all services are named, and nothing is asked of them.
    pub(super) fn lists_services(&self) -> bool {
        let asks = !self.tags.is_empty() || !self.node_meta.is_empty() || !self.filter.is_empty();
        self.services.is_empty() || asks
    }

    /// Whether a service of this name and with these tags is discovered.
    pub(super) fn takes(&self, name: &str, tags: &[String]) -> bool {
        let is_named = self.services.is_empty() || self.services.iter().any(|service| service == name);
        is_named && self.tags.iter().all(|tag| tags.contains(tag))
    }
}

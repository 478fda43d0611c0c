//! Requests to Consul's API.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::address::token_header;
use super::api::Instance;
use super::config::Config;
use super::labels::Namer;
use crate::discovery::few::Few;
use crate::discovery::http_settings::{HttpClient, TIMEOUT};
use crate::http_client::ParsedUrl;
use crate::model::units::Secret;
use crate::model::{Labels, TargetGroup, bounded};

/// How long Consul may wait for a change before it answers a request with an index.
const WAIT: &str = "120s";

/// Consul waits up to a sixteenth longer.
const WAIT_TIMEOUT: Duration = Duration::from_secs(150);

/// The largest answer in bytes: a list of services, or the instances of one.
pub(super) const LARGEST: usize = 8 << 20;

/// The most bytes of memory that a parsed answer may take.
const MEMORY: usize = 56 << 20;

/// The beginning of the names of all labels.
const PREFIX: &str = "__meta_consul_";

/// Consul, as one config asks it.
pub(super) struct Consul {
    pub config: Config,
    client: Mutex<Option<std::sync::Arc<HttpClient>>>,
}

/// What Consul knows, and the state of Consul that it is from.
#[derive(Debug)]
pub(super) struct Answer<T> {
    pub value: T,
    /// 0: not known.
    pub index: u64,
}

impl Consul {
    pub fn new(config: Config) -> Self {
        Self { config, client: Mutex::new(None) }
    }

    /// The names of the services that are discovered. With an index, the answer comes when something has changed.
    pub async fn services(&self, index: u64) -> Result<Answer<Vec<String>>, String> {
        let mut url = self.url(&["v1", "catalog", "services"], index)?;
        if !self.config.filter.is_empty() {
            url.query_pairs_mut().append_pair("filter", &self.config.filter);
        }
        let Answer { value, index } = self.get::<BTreeMap<String, Option<Vec<String>>>>(&url, index).await?;
        let taken =
            value.into_iter().filter(|(name, tags)| self.config.takes(name, tags.as_deref().unwrap_or_default()));
        Ok(Answer { value: taken.map(|(name, _)| name).collect(), index })
    }

    /// The instances of a service. With an index, the answer comes when something has changed.
    pub async fn instances(&self, name: &str, index: u64) -> Result<Answer<TargetGroup>, String> {
        let mut url = self.url(&["v1", "health", "service", name], index)?;
        for tag in &self.config.tags {
            url.query_pairs_mut().append_pair("tag", tag);
        }
        if !self.config.health_filter.is_empty() {
            url.query_pairs_mut().append_pair("filter", &self.config.health_filter);
        }
        let Answer { value: Few(value), index } = self.get::<Few<Instance>>(&url, index).await?;
        let namer = Namer { prefix: PREFIX, tag_separator: &self.config.tag_separator };
        let targets = value.iter().map(|instance| {
            let mut labels: Labels = namer.of_catalog(instance);
            labels.insert(format!("{PREFIX}service"), name.to_string());
            labels
        });
        Ok(Answer { value: TargetGroup::new(group_id(name), targets), index })
    }

    fn url(&self, path: &[&str], index: u64) -> Result<ParsedUrl, String> {
        let mut url = self.config.url().map_err(|e| e.to_string())?;
        let Ok(mut segments) = url.path_segments_mut() else { return Err("the URL has no path".into()) };
        segments.pop_if_empty().extend(path);
        drop(segments);
        let config = &self.config;
        let mut query = url.query_pairs_mut();
        for (key, value) in [("dc", &config.datacenter), ("ns", &config.namespace), ("partition", &config.partition)] {
            if !value.is_empty() {
                query.append_pair(key, value);
            }
        }
        for (name, value) in &config.node_meta {
            query.append_pair("node-meta", &format!("{name}:{value}"));
        }
        if config.allow_stale {
            query.append_pair("stale", "");
        }
        if index > 0 {
            query.append_pair("index", &index.to_string()).append_pair("wait", WAIT);
        }
        drop(query);
        if url.query() == Some("") {
            url.set_query(None);
        }
        Ok(url)
    }

    async fn get<T: DeserializeOwned>(&self, url: &ParsedUrl, index: u64) -> Result<Answer<T>, String> {
        let timeout = if index > 0 { WAIT_TIMEOUT } else { TIMEOUT };
        let client = self.client()?;
        let (value, next) = json(&client, url, &self.config.token, timeout).await?;
        // An index that goes back is from another history of Consul, for instance after a snapshot was restored.
        Ok(Answer { value, index: if next < index { 0 } else { next } })
    }

    /// It is made when it is first needed, and again if that failed, for instance because a certificate file cannot be
    /// read.
    fn client(&self) -> Result<std::sync::Arc<HttpClient>, String> {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = client.as_ref() {
            return Ok(client.clone());
        }
        let made = std::sync::Arc::new(self.config.client().map_err(|e| e.to_string())?);
        *client = Some(made.clone());
        Ok(made)
    }
}

/// The answer of Consul, and its index.
pub(super) async fn json<T: DeserializeOwned>(
    client: &HttpClient,
    url: &ParsedUrl,
    token: &Secret,
    timeout: Duration,
) -> Result<(T, u64), String> {
    let answered = client.get(url, &token_header(token), timeout, LARGEST).await?;
    let value = bounded::json(&answered.body, MEMORY).map_err(|e| format!("cannot understand the answer: {e}"))?;
    Ok((value, answered.header("x-consul-index").parse().unwrap_or(0)))
}

/// The name of a service's group of targets.
pub(super) fn group_id(service: &str) -> String {
    format!("service/{service}")
}

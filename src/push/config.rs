//! One entry of `clients`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use super::backoff::BackoffConfig;
use super::headers;
use super::pace::RateLimits;
use crate::batch;
use crate::http_client::{
    Authorization, BasicAuth, Credentials, HttpHeaders, OAuth2, Proxy, TlsConfig, Url, check_url,
};
use crate::model::units::{ByteSize, GoDuration, Secret};
use crate::model::{Labels, MAX_TENANT, is_valid_label_name};

pub use crate::model::ConfigError as Error;

pub(super) const BATCHWAIT: GoDuration = GoDuration(Duration::from_secs(1));
pub(super) const BATCHSIZE: usize = 1 << 20;
pub(super) const REPLAY_WINDOW: ByteSize = ByteSize(64 << 10);
pub(super) const BUFFER_SIZE: ByteSize = ByteSize(16 << 20);
pub(super) const TIMEOUT: GoDuration = GoDuration(Duration::from_secs(10));

/// Where to send entries, with which credentials, and how fast.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    pub url: Url,
    pub batchwait: GoDuration,
    pub batchsize: usize,
    pub timeout: GoDuration,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub tenant_id: String,
    #[serde(skip_serializing_if = "Labels::is_empty")]
    pub external_labels: Labels,
    /// Often credentials (an API gateway's key), so never shown.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Secret>,
    pub drop_rate_limited_batches: bool,
    pub backoff_config: BackoffConfig,

    /// Bytes of a stream that may be sent but not yet acknowledged. This is the most that a crash or a lost answer can
    /// make the agent send again. Grows with the round trip, up to `batchsize`, if the stream could not keep up
    /// otherwise.
    pub replay_window: ByteSize,
    /// Bytes of lines held in memory for this client. While this much waits for Loki, files are not read.
    pub buffer_size: ByteSize,
    #[serde(skip_serializing_if = "RateLimits::is_default")]
    pub rate_limits: RateLimits,

    #[serde(skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuth>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization: Option<Authorization>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oauth2: Option<OAuth2>,
    #[serde(skip_serializing_if = "Secret::is_empty")]
    pub bearer_token: Secret,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub bearer_token_file: String,

    pub tls_config: TlsConfig,
    #[serde(skip_serializing_if = "Url::is_empty")]
    pub proxy_url: Url,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub no_proxy: String,
    pub proxy_from_environment: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub proxy_connect_header: BTreeMap<String, Vec<Secret>>,
    pub follow_redirects: bool,
    /// Ignored, as in Promtail: pushes use HTTP/1.1.
    pub enable_http2: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub http_headers: HttpHeaders,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: String::new(),
            url: Url::default(),
            batchwait: BATCHWAIT,
            batchsize: BATCHSIZE,
            timeout: TIMEOUT,
            tenant_id: String::new(),
            external_labels: Labels::new(),
            headers: BTreeMap::new(),
            drop_rate_limited_batches: false,
            backoff_config: BackoffConfig::default(),
            replay_window: REPLAY_WINDOW,
            buffer_size: BUFFER_SIZE,
            rate_limits: RateLimits::default(),
            basic_auth: None,
            authorization: None,
            oauth2: None,
            bearer_token: Secret::default(),
            bearer_token_file: String::new(),
            tls_config: TlsConfig::default(),
            proxy_url: Url::default(),
            no_proxy: String::new(),
            proxy_from_environment: false,
            proxy_connect_header: BTreeMap::new(),
            follow_redirects: true,
            enable_http2: true,
            http_headers: BTreeMap::new(),
        }
    }
}

impl Config {
    /// Refuses settings that cannot work.
    pub fn validate(&self) -> Result<(), Error> {
        self.check_target()?;
        self.credentials().validate()?;
        self.tls_config.validate().map_err(|e| e.within("tls_config"))?;
        self.rate_limits.validate().map_err(|e| e.within("rate_limits"))?;
        self.check_sizes()?;
        if self.tenant_id.len() > MAX_TENANT {
            let problem =
                format!("Loki takes a tenant of at most {MAX_TENANT} bytes, and this has {}", self.tenant_id.len());
            return Err(Error::new("tenant_id", problem));
        }
        self.proxy().validate()?;
        headers::validate(&self.headers, &self.http_headers)
    }

    fn check_sizes(&self) -> Result<(), Error> {
        let least = |key: &str, size: ByteSize, least: u64| match size.0 < least {
            true => Err(Error::new(key, format!("must be at least {}", ByteSize(least)))),
            false => Ok(()),
        };
        least("replay_window", self.replay_window, 4 << 10)?;
        least("buffer_size", self.buffer_size, self.replay_window.0.max(1 << 20))
    }

    /// Settings that work, but perhaps not as intended.
    pub fn warnings(&self) -> Vec<Error> {
        let mut warnings = headers::ignored(&self.headers, !self.tenant_id.is_empty());
        if self.url.has_user() && self.credentials().are_set() {
            let problem = "the user in the URL is used instead of basic_auth, authorization, oauth2 or bearer_token";
            warnings.push(Error::new("url", problem));
        }
        warnings.extend(self.tls_config.warnings().map(|w| w.within("tls_config")));
        if self.backoff_config.attempts().is_some() {
            let lost = Error::new("max_retries", "lines are lost if an outage lasts longer: remove this key");
            warnings.push(lost.within("backoff_config"));
        }
        warnings
    }

    /// The configured name, or six hexadecimal digits derived from the destination and the sender. Positions are stored
    /// under it, so it does not change with a timeout or a password.
    pub fn name(&self) -> String {
        if !self.name.is_empty() {
            return self.name.clone();
        }
        let user = self.basic_auth.as_ref().map_or("", |basic| basic.username.as_str());
        let mut hash = Xxh3::new();
        let mut add = |text: &str| {
            hash.update(text.as_bytes());
            hash.update(&[0xff]);
        };
        [self.url.redacted().as_str(), self.url.user(), self.tenant_id.as_str(), user].into_iter().for_each(&mut add);
        self.external_labels.iter().flat_map(|(n, v)| [n.as_str(), v]).for_each(&mut add);
        self.headers.iter().flat_map(|(n, v)| [n.as_str(), v.expose()]).for_each(&mut add);
        format!("{:06x}", hash.digest() >> 40)
    }

    /// `host[:port]` of `url`, for the `host` label of the metrics.
    pub fn host(&self) -> &str {
        self.url.host()
    }

    /// The URL without user, password and query.
    pub fn redacted_url(&self) -> String {
        self.url.redacted()
    }

    /// The settings for batching.
    pub fn batching(&self, limits: batch::Limits) -> batch::Config {
        batch::Config {
            batchsize: self.batchsize,
            batchwait: self.batchwait.0,
            tenant_id: (!self.tenant_id.is_empty()).then(|| Arc::from(self.tenant_id.as_str())),
            external_labels: self.external_labels.clone(),
            limits,
            replay_window: self.replay_window.0 as usize,
            buffer: self.buffer_size.0 as usize,
        }
    }

    pub(super) fn proxy(&self) -> Proxy<'_> {
        Proxy {
            url: &self.proxy_url,
            no_proxy: &self.no_proxy,
            from_environment: self.proxy_from_environment,
            connect_header: &self.proxy_connect_header,
        }
    }

    pub(super) fn credentials(&self) -> Credentials<'_> {
        Credentials {
            url: &self.url,
            basic_auth: self.basic_auth.as_ref(),
            authorization: self.authorization.as_ref(),
            oauth2: self.oauth2.as_ref(),
            bearer_token: &self.bearer_token,
            bearer_token_file: &self.bearer_token_file,
        }
    }

    fn check_target(&self) -> Result<(), Error> {
        if self.url.is_empty() {
            return Err(Error::new("url", "is required, for instance http://loki:3100/loki/api/v1/push"));
        }
        check_url(&self.url).map_err(|problem| Error::new("url", problem))?;
        if self.batchsize == 0 {
            return Err(Error::new("batchsize", "must be over 0"));
        }
        if self.timeout.0.is_zero() {
            return Err(Error::new("timeout", "must be over 0, because no push would be answered in time"));
        }
        let backoff = &self.backoff_config;
        if backoff.min_period.0.is_zero() || backoff.min_period > backoff.max_period {
            let error = Error::new("min_period", "must be over 0 and at most max_period");
            return Err(error.within("backoff_config"));
        }
        match self.external_labels.keys().find(|name| !is_valid_label_name(name)) {
            Some(name) => Err(Error::new("external_labels", format!("{name:?} is not a valid label name"))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
